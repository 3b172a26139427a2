"""Pictures from outside are checked before they are decoded, and each refusal names the file and the remedy."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.commands.pictures import find_pictures, read_mask, read_picture
from runtime.errors import PictureError


@pytest.fixture
def picture():
    rows, columns = np.mgrid[0:48, 0:64]
    return np.dstack([rows * 3, columns * 3, rows + columns]).astype(np.uint8)


def png_header(width, height):
    """A PNG that only claims to be so large."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)), struct.pack(">I", len(data) - 4) + data + b"\0\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_lossless_picture_comes_back_as_it_is(tmp_path, picture):
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    assert np.array_equal(read_picture(tmp_path / "a.png"), picture)


def test_grey_sixteen_bit_and_alpha_become_8_bit_bgr(tmp_path, picture):
    grey = picture[:, :, 1]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    assert np.array_equal(read_picture(tmp_path / "grey.png"), np.dstack([grey] * 3))
    cv2.imwrite(str(tmp_path / "deep.png"), picture.astype(np.uint16) * 257)
    assert np.array_equal(read_picture(tmp_path / "deep.png"), picture)
    alpha = np.full(grey.shape, 255, np.uint8)
    alpha[:, :32] = 0
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([picture, alpha]))
    laid = read_picture(tmp_path / "alpha.png")
    assert (laid[:, :32] == 255).all()
    assert np.array_equal(laid[:, 32:], picture[:, 32:])


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("absent.jpg", None, "no such file"),
        ("empty.jpg", b"", "empty file"),
        ("text.jpg", b"not a picture at all" * 50, "not an image"),
        ("bomb.png", png_header(60_000, 60_000), "not an image .*bomb"),
        ("large.png", png_header(6000, 5000), "30.0 megapixels, more than 24"),
        ("dot.png", png_header(1, 1), "too small"),
        ("headless.png", png_header(640, 480), "truncated or corrupt"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_what_is_no_picture_is_refused_by_name(tmp_path, name, data, says):
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(PictureError, match=says) as refused:
        read_picture(path)
    assert str(path) in str(refused.value)
    assert ": " in str(refused.value).removeprefix(str(path)), "the message says what and how to mend it"


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(PictureError, match="cannot be read"):
        read_picture(tmp_path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0.02, 0.95))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_truncated_picture_is_refused_wherever_it_is_cut(tmp_path, picture, suffix, cut):
    whole = cv2.imencode(suffix, cv2.resize(picture, (320, 240)))[1].tobytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(PictureError):
        read_picture(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400), magic=st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"RIFF"]))
def test_arbitrary_bytes_never_come_out_as_another_error(tmp_path, data, magic):
    path = tmp_path / "noise.jpg"
    path.write_bytes(magic + data)
    with pytest.raises(PictureError):
        read_picture(path)


def test_a_folder_gives_its_pictures_without_masks_and_other_files(tmp_path, picture):
    for name in ("b.png", "a.png", "a_mask.png", "lonely_mask.png"):
        cv2.imwrite(str(tmp_path / name), picture)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.png").mkdir()
    found, complaints = find_pictures([tmp_path])
    assert [p.name for p in found] == ["a.png", "b.png", "lonely_mask.png"]
    assert not complaints


def test_an_empty_folder_is_complained_of(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    assert find_pictures([tmp_path])[0] == []
    assert "no picture in this folder" in find_pictures([tmp_path])[1][0]


def test_a_mask_of_another_size_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((10, 20), np.uint8))
    assert read_mask(tmp_path / "m.png", 20, 10).shape == (10, 20)
    with pytest.raises(PictureError, match="the mask is 20×10 px, its picture 64×48"):
        read_mask(tmp_path / "m.png", 64, 48)
