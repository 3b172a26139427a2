import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import __version__
from runtime.bundles import writer
from runtime.bundles.errors import BundleError
from runtime.bundles.manifest import MAX_MANIFEST_BYTES, Roles, json_schema
from runtime.bundles.reader import parse_manifest, read_bundle
from runtime.bundles.writer import entries, write_bundle
from tests.runtime.bundle_samples import GOLDEN, MODEL, changed_manifest, segmenter_role, write_sample


def test_what_was_written_is_read(tmp_path):
    written = write_sample(tmp_path / "bundle", release=3)
    read = read_bundle(tmp_path / "bundle")
    assert read.manifest == written.manifest
    assert read.content == written.content
    assert read.id == written.id
    assert read.id.startswith("dark/3+")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle"]


def test_a_bundle_is_replaced_as_a_whole(tmp_path):
    write_sample(tmp_path / "bundle", release=1)
    (tmp_path / "bundle" / "stray").write_text("old")
    write_sample(tmp_path / "bundle", release=2)
    assert read_bundle(tmp_path / "bundle").manifest.release == 2
    assert sorted(p.name for p in (tmp_path / "bundle").iterdir()) == ["manifest.json", GOLDEN, MODEL]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle"]


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(BundleError, match="is no bundle"):
        write_sample(tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def _flip(folder: Path) -> None:
    data = bytearray((folder / MODEL).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / MODEL).write_bytes(data)


def _truncate(folder: Path) -> None:
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:-7])


def _lengthen(folder: Path) -> None:
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes() + b"more")


def _link(folder: Path) -> None:
    (folder / MODEL).rename(folder / "elsewhere")
    (folder / MODEL).symlink_to(folder / "elsewhere")


def _pipe(folder: Path) -> None:
    (folder / MODEL).unlink()
    os.mkfifo(folder / MODEL)


def _folder(folder: Path) -> None:
    (folder / MODEL).unlink()
    (folder / MODEL).mkdir()


def _named(name: str):
    def change(folder: Path) -> None:
        file = entries({MODEL: (folder / MODEL).read_bytes()})[0].model_dump() | {"name": name}
        roles = json.loads((folder / "manifest.json").read_text())["roles"]
        roles["segmenter"]["model"] = name
        changed_manifest(folder, files=[file], roles=roles)

    return change


def _role(**changes: object):
    def change(folder: Path) -> None:
        roles = json.loads((folder / "manifest.json").read_text())["roles"]
        roles["segmenter"] |= changes
        changed_manifest(folder, roles=roles)

    return change


def _trust(**changes: object):
    def change(folder: Path) -> None:
        roles = json.loads((folder / "manifest.json").read_text())["roles"]
        roles["segmenter"]["trust"] |= changes
        changed_manifest(folder, roles=roles)

    return change


def _text(content: bytes):
    return lambda folder: (folder / "manifest.json").write_bytes(content)


def _change(**changes: object):
    return lambda folder: changed_manifest(folder, **changes)


SHA = "0" * 64
BAD = {
    "a flipped bit": (_flip, "SHA-256"),
    "a truncated file": (_truncate, "bytes, the manifest says"),
    "a longer file": (_lengthen, "at most"),
    "a missing file": (lambda folder: (folder / MODEL).unlink(), "No such file"),
    "a missing manifest": (lambda folder: (folder / "manifest.json").unlink(), "No such file"),
    "a link instead of a file": (_link, MODEL),
    "a pipe instead of a file": (_pipe, "not a plain file"),
    "a folder instead of a file": (_folder, "not a plain file"),
    "a path out of the bundle": (_named("../segmenter.onnx"), "pattern"),
    "an absolute path": (_named("/etc/passwd"), "pattern"),
    "a hidden name": (_named(".segmenter"), "pattern"),
    "no JSON": (_text(b"{"), "not valid JSON"),
    "an empty manifest": (_text(b""), "not valid JSON"),
    "no text": (_text(b"\xff\xfe\x00"), "not valid JSON"),
    "a huge manifest": (_text(b" " * (MAX_MANIFEST_BYTES + 1)), "at most"),
    "a deep manifest": (_text(b"[" * 5000), "nested deeper"),
    "a list": (_text(b"[]"), "the whole"),
    "a key twice": (_text(b'{"name": "a", "name": "b"}'), "twice"),
    "not a number": (_role(threshold=float("nan")), "threshold"),
    "another schema": (_change(schema="trichoscope/bundle/3"), "schema"),
    "an unknown key": (_change(colour="red"), "colour"),
    "release zero": (_change(release=0), "release"),
    "a newer program's": (_change(minimum_version="9999.0"), r"minimum_version.*update the program"),
    "a program's of a later patch": (_change(minimum_version=f"{__version__}.1"), "minimum_version"),
    "a release in words": (_change(release="1"), "release"),
    "no files": (_change(files=[]), "files"),
    "a file listed twice": (_change(files=[{"name": MODEL, "sha256": SHA, "size": 1}] * 2), "twice"),
    "the manifest among its files": (_change(files=[{"name": "manifest.json", "sha256": SHA, "size": 1}]), "lists itself"),
    "a giant file": (_change(files=[{"name": MODEL, "sha256": SHA, "size": 10**12}]), "size"),
    "a model that is not there": (_role(model="other.onnx"), "not among the files"),
    "a crooked row of axes": (_trust(feature_axes=[[1.0]]), "feature_axes"),
    "no spread": (_trust(unfamiliar_above=0.0), "unfamiliar_above"),
    "a threshold of two": (_role(threshold=2.0), "threshold"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_bundle_is_refused_by_name(tmp_path, what):
    damage, message = BAD[what]
    write_sample(tmp_path / "bundle")
    damage(tmp_path / "bundle")
    with pytest.raises(BundleError, match=message) as refused:
        read_bundle(tmp_path / "bundle")
    assert str(tmp_path) in str(refused.value)


def test_a_bundle_for_this_program_or_an_older_one_is_taken(tmp_path):
    write_sample(tmp_path / "bundle")
    for version in ("0.0", "0.0.99.99", __version__, ".".join(__version__.split(".")[:2])):
        changed_manifest(tmp_path / "bundle", minimum_version=version)
        assert read_bundle(tmp_path / "bundle").manifest.minimum_version == version


def test_a_manifest_that_nobody_could_read_is_not_written(tmp_path):
    write_sample(tmp_path / "bundle", release=1)
    for name, release, message in (("Dark Hair", 2, "small letters"), ("dark", 0, "release"), ("dark", 2**40, "release")):
        with pytest.raises(BundleError, match=message):
            write_bundle(
                tmp_path / "bundle",
                {MODEL: b"x"},
                name=name,
                release=release,
                minimum_version="0.1.0",
                roles=Roles(segmenter=segmenter_role()),
            )
    with pytest.raises(BundleError, match="size"):
        write_sample(tmp_path / "bundle", model=b"")
    assert read_bundle(tmp_path / "bundle").manifest.release == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["Ctrl-C", "a full disk"])
@pytest.mark.parametrize("at", ["_write", "_sync", "rename"])
def test_a_bundle_that_could_not_be_replaced_stays(tmp_path, monkeypatch, at, failure):
    write_sample(tmp_path / "bundle", release=1)
    rename = Path.rename

    def fail(path, *rest):
        if at == "rename" and rest[0] != tmp_path / "bundle":
            return rename(path, *rest)
        monkeypatch.undo()  # once
        raise failure

    monkeypatch.setattr(*((Path, "rename", fail) if at == "rename" else (writer, at, fail)))
    with pytest.raises(KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else BundleError):
        write_sample(tmp_path / "bundle", release=2)
    assert read_bundle(tmp_path / "bundle").manifest.release == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle"]


def test_a_folder_that_may_not_be_looked_into(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched, pytest.raises(BundleError, match="Permission denied"):
        patched.setattr(Path, "is_dir", refuse)
        read_bundle(tmp_path / "bundle")


def test_no_folder(tmp_path):
    with pytest.raises(BundleError, match="no such bundle"):
        read_bundle(tmp_path / "absent")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_a_bundle_error(text):
    with pytest.raises(BundleError):
        parse_manifest(text, "here")


def test_the_schema_names_what_a_manifest_must_have():
    assert {"name", "release", "roles", "files"} <= set(json_schema()["required"])


def test_a_reference_that_may_be_anything_proves_nothing(tmp_path):
    golden = segmenter_role().golden
    wide = golden.model_copy(update={"tolerances": tuple(each.model_copy(update={"absolute": 0.5}) for each in golden.tolerances)})
    with pytest.raises(BundleError, match=r"a tolerance above 0\.01"):
        write_sample(tmp_path / "bundle", role=segmenter_role(golden=wide))
    assert not (tmp_path / "bundle").exists()
