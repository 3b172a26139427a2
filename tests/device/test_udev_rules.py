"""The udev rules, as far as they can be checked without udev: every word is one that udev knows, and each rule matches before it sets."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "systemd" / "70-trichoscope.rules"
TOKEN = re.compile(r'([A-Z]+)(?:\{([^}"]+)\})?(==|!=|\+=|-=|:=|=)"((?:[^"\\]|\\.)*)"')
MATCHED = {"ACTION", "SUBSYSTEM", "SUBSYSTEMS", "KERNEL", "ENV", "ATTR", "TEST"}
ASSIGNED = {"SYMLINK", "GROUP", "MODE", "ENV", "ATTR"}
RULES = [line for line in FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def _tokens(rule: str) -> list[tuple[str, str, str, str]]:
    found = [match.groups(default="") for match in TOKEN.finditer(rule)]
    assert ", ".join(match.group(0) for match in TOKEN.finditer(rule)) == rule, f"not understood: {rule}"
    return [(key, name, sign, value) for key, name, sign, value in found]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_made_of_what_udev_knows(rule: str) -> None:
    tokens = _tokens(rule)
    compared = [token for token in tokens if token[2] in ("==", "!=")]
    assigned = tokens[len(compared) :]
    assert compared and assigned and tokens == compared + assigned  # no match behind an assignment
    assert {key for key, *_ in compared} <= MATCHED and {key for key, *_ in assigned} <= ASSIGNED
    assert all(name for key, name, *_ in tokens if key in ("ENV", "ATTR"))
    assert any(key == "SUBSYSTEM" for key, *_ in compared)


def test_no_rule_is_for_everything() -> None:
    for rule in RULES:
        subsystem = {key: value for key, _, sign, value in _tokens(rule) if sign == "=="}["SUBSYSTEM"]
        assert subsystem in ("video4linux", "tty", "usb")


@pytest.mark.parametrize(
    ("attributes", "ignored"),
    [
        ({"product": "Trichoscope Handpiece"}, True),
        ({"product": "handpiece v2"}, True),
        ({"idVendor": "0403", "idProduct": "6001", "product": "FT232R USB UART"}, True),
        ({"idVendor": "1a86", "idProduct": "7523", "product": "USB Serial"}, True),
        ({"idVendor": "12d1", "idProduct": "1506", "product": "HUAWEI Mobile"}, False),
    ],
)
def test_modem_manager_leaves_the_handpiece_alone_and_modems_not(attributes: dict[str, str], ignored: bool) -> None:
    hits = 0
    for rule in RULES:
        tokens = _tokens(rule)
        if ("ENV", "ID_MM_DEVICE_IGNORE", "=", "1") not in tokens:
            continue
        asked = [(name, value) for key, name, sign, value in tokens if key == "ATTR" and sign == "=="]
        assert asked
        hits += all(any(fnmatch.fnmatchcase(attributes.get(name, ""), each) for each in value.split("|")) for name, value in asked)
    assert (hits > 0) == ignored
