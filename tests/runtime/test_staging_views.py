import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from runtime.errors import PictureError
from runtime.staging import views
from runtime.staging.views import find_views, read_upright, read_views, upright
from tests.runtime.staging_samples import grey_views


def test_views_are_found_in_their_order_and_other_files_named(tmp_path):
    grey_views(tmp_path, {"left": 10, "front": 20, "top": 30})
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "side.png").write_bytes(b"x")
    (tmp_path / "back").mkdir()
    found, complaints = find_views(tmp_path)
    assert list(found) == ["front", "top", "left"]
    assert len(complaints) == 3
    assert all(any(name in line for line in complaints) for name in ("notes.txt", "side.png", "back"))


def test_capital_names_and_jpeg(tmp_path):
    cv2.imwrite(str(tmp_path / "Front.JPG"), np.full((80, 80, 3), 9, np.uint8))
    cv2.imwrite(str(tmp_path / "BACK.jpeg"), np.full((80, 80, 3), 9, np.uint8))
    assert list(find_views(tmp_path)[0]) == ["front", "back"]


def test_two_files_of_one_view_are_refused(tmp_path):
    grey_views(tmp_path, {"front": 1})
    grey_views(tmp_path, {"front": 1}, ".jpg")
    with pytest.raises(PictureError, match=r"front\.jpg and front\.png are both the front view: leave one"):
        find_views(tmp_path)


def test_no_folder_no_view_too_many_files(tmp_path, monkeypatch):
    with pytest.raises(PictureError, match="no such folder"):
        find_views(tmp_path / "none")
    with pytest.raises(PictureError, match="no view of a head"):
        find_views(tmp_path)
    monkeypatch.setattr(views, "MAX_FILES", 2)
    grey_views(tmp_path, {"front": 1, "top": 1, "back": 1})
    with pytest.raises(PictureError, match="more than 2 files"):
        find_views(tmp_path)


def test_a_damaged_view_is_named_and_the_others_stay(tmp_path):
    grey_views(tmp_path, {"front": 1, "top": 2})
    data = (tmp_path / "top.png").read_bytes()
    (tmp_path / "top.png").write_bytes(data[: len(data) // 2])
    found = read_views(tmp_path)
    assert list(found.pictures) == ["front"] and found.failed == ("top",)
    assert len(found.complaints) == 1 and "top.png" in found.complaints[0]
    (tmp_path / "front.png").write_bytes(b"not a picture")
    with pytest.raises(PictureError, match=r"front\.png.*not an image"):
        read_views(tmp_path)


def test_sizes_are_checked_before_anything_is_decoded(tmp_path, monkeypatch):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "front.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + crc)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(PictureError, match=r"front\.png"):
        read_upright(tmp_path / "front.png")


def test_a_tiny_picture_is_refused(tmp_path):
    grey_views(tmp_path, {"front": 1}, side=40)
    with pytest.raises(PictureError, match="too small for a head"):
        read_upright(tmp_path / "front.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_camera_says(tmp_path, orientation):
    image = np.zeros((70, 90, 3), np.uint8)
    image[:20, :30] = 255
    exif = Image.Exif()
    exif[views.ORIENTATION] = orientation
    Image.fromarray(image).save(tmp_path / "front.png", exif=exif)
    expected = cv2.imread(str(tmp_path / "front.png"), cv2.IMREAD_COLOR)  # OpenCV turns it itself where it is not told otherwise
    np.testing.assert_array_equal(read_upright(tmp_path / "front.png"), expected)


@given(orientation=st.integers(-5, 300))
def test_any_orientation_keeps_every_pixel(orientation):
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    turned = upright(image, orientation)
    assert sorted(turned.reshape(-1, 3).tolist()) == sorted(image.reshape(-1, 3).tolist())
    if not 2 <= orientation <= 8:
        np.testing.assert_array_equal(turned, image)
