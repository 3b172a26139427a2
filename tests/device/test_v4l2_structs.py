"""The layouts and request numbers against what a C compiler makes of <linux/videodev2.h> on 64-bit Linux (x86-64; aarch64 is alike)."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.v4l2 import structs

SIZES = {
    structs.Capability: 104,
    structs.FormatDescription: 64,
    structs.Format: 208,
    structs.FrameSize: 44,
    structs.FrameInterval: 52,
    structs.StreamParameters: 204,
    structs.RequestBuffers: 20,
    structs.Buffer: 88,
    structs.ControlDescription: 232,
    structs.MenuItem: 44,
    structs.ControlValue: 8,
}
REQUESTS = {
    structs.QUERYCAP: 0x80685600,
    structs.ENUM_FMT: 0xC0405602,
    structs.G_FMT: 0xC0D05604,
    structs.S_FMT: 0xC0D05605,
    structs.REQBUFS: 0xC0145608,
    structs.QUERYBUF: 0xC0585609,
    structs.QBUF: 0xC058560F,
    structs.DQBUF: 0xC0585611,
    structs.STREAMON: 0x40045612,
    structs.STREAMOFF: 0x40045613,
    structs.G_PARM: 0xC0CC5615,
    structs.S_PARM: 0xC0CC5616,
    structs.G_CTRL: 0xC008561B,
    structs.S_CTRL: 0xC008561C,
    structs.QUERYMENU: 0xC02C5625,
    structs.ENUM_FRAMESIZES: 0xC02C564A,
    structs.ENUM_FRAMEINTERVALS: 0xC034564B,
    structs.QUERY_EXT_CTRL: 0xC0E85667,
}


@pytest.mark.parametrize("structure", SIZES, ids=lambda s: s.__name__)
def test_a_structure_is_as_large_as_the_kernels(structure: type[ctypes.Structure]) -> None:
    assert ctypes.sizeof(structure) == SIZES[structure]


def test_requests_have_the_kernels_numbers() -> None:
    assert [hex(r) for r in REQUESTS] == [hex(r) for r in REQUESTS.values()]


def test_members_lie_where_the_kernel_looks_for_them() -> None:
    found = {name: getattr(structs.Buffer, name).offset for name in ("timestamp", "sequence", "memory", "m", "length")}
    assert found == {"timestamp": 24, "sequence": 56, "memory": 60, "m": 64, "length": 72}
    assert (structs.Format.pix.offset, structs.StreamParameters.timeperframe.offset) == (8, 12)


@given(st.text(st.characters(min_codepoint=48, max_codepoint=90), min_size=4, max_size=4))
def test_a_code_survives_its_number(code: str) -> None:
    assert structs.fourcc_name(structs.fourcc(code)) == code


@given(st.binary(max_size=32))
def test_names_of_drivers_can_be_shown(raw: bytes) -> None:
    shown = structs.text(raw)
    assert shown.isprintable() and shown == shown.strip()
    assert structs.fourcc_name(int.from_bytes(raw[:4], "little")).isascii()
