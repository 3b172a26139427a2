"""The page's files: what is vendored is what was recorded, and nothing is fetched or written inline."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from runtime import kiosk

FOLDER = Path(kiosk.__file__).parent
VENDOR = FOLDER / "vendor"
RECORDED = json.loads((VENDOR / "VENDORED.json").read_text())
OWN_SCRIPTS = sorted(FOLDER.glob("*.js"))
LONGEST_FILE = 400


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: entry["file"])
def test_a_vendored_file_is_the_one_that_was_recorded(entry):
    path = VENDOR / entry["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    assert entry["version"] and entry["name"] == path.parent.name
    assert {"MIT": "MIT License", "Apache-2.0": "Apache License"}[entry["licence"]].lower() in _licence(path.parent).lower()


def _licence(folder):
    text = (folder / "LICENSE").read_text()
    return text if "license" in text[:200].lower() else "MIT License " * ("Permission is hereby granted" in text)


def test_nothing_is_vendored_without_a_record():
    present = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    recorded = {entry["file"] for entry in RECORDED} | {f"{entry['name']}/LICENSE" for entry in RECORDED}
    assert present == recorded | {"VENDORED.json"}


@pytest.mark.parametrize("script", OWN_SCRIPTS, ids=lambda path: path.name)
def test_a_script_opens_with_what_it_is_for_and_has_one_subject(script):
    text = script.read_text()
    assert text.startswith("/**")
    assert text.count("\n") < LONGEST_FILE
    for imported in re.findall(r"(?:from|import)\s*\(?'([^']+)'", text):
        assert imported.startswith("./"), imported  # relative: no import map, nothing from elsewhere
        assert (FOLDER / imported).is_file(), imported
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
    assert not re.search(r"\beval\(|new Function|innerHTML", text)


def test_the_page_has_neither_inline_scripts_nor_inline_styles():
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith("/static/")
        assert (FOLDER / address.removeprefix("/static/")).is_file(), address
    assert "url(" not in (FOLDER / "kiosk.css").read_text()
