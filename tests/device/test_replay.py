from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import reel
from device.camera import CameraUri, make_camera, parse_uri
from device.errors import CameraEndedError, CameraLostError, CameraNotFoundError, DeviceError
from device.frame import Frame
from device.picturefile import NotAPictureError, inspect_picture
from device.reel import natural_key, read_scales
from device.replay import ReplayCamera
from tests.device.pictures import number_in, picture, write_folder, write_video


def _replay(path: Path | str, **options: str) -> ReplayCamera:
    camera = make_camera(str(CameraUri("replay", str(path), {"fps": "240", **options})))
    assert isinstance(camera, ReplayCamera)
    return camera


def _read_until(camera: ReplayCamera, wanted: Callable[[Frame], bool]) -> None:
    """Read until a frame is as wanted; a camera that goes round skips what a loaded machine comes too late for."""
    assert any(wanted(camera.read(5.0)) for _ in range(500))


def _all(camera: ReplayCamera) -> list[tuple[str, int]]:
    shown = []
    with camera, pytest.raises(CameraEndedError, match="last picture"):
        while True:
            frame = camera.read(5.0)
            shown.append((Path(frame.source).name, number_in(frame.image)))
    return shown


def test_pictures_come_as_people_count_and_masks_do_not(tmp_path: Path) -> None:
    for number, name in enumerate(("a2.jpg", "a10.jpg", "b1.png", "a2_mask.png", ".hidden.jpg", "notes.txt"), 1):
        (tmp_path / name).write_bytes(bytes(cv2.imencode(".jpg" if name.endswith("jpg") else ".png", picture(number))[1]))
    (tmp_path / "folder.jpg").mkdir()
    assert _all(_replay(tmp_path, loop="0")) == [("a2.jpg", 1), ("a10.jpg", 2), ("b1.png", 3)]


def test_a_folder_goes_round(tmp_path: Path) -> None:
    with _replay(write_folder(tmp_path)) as camera:
        for number in (1, 2, 3, 1):
            _read_until(camera, lambda frame, wanted=number: number_in(frame.image) == wanted)


def test_a_jpeg_is_handed_on_byte_by_byte_and_others_get_a_preview(tmp_path: Path) -> None:
    write_folder(tmp_path, 1)
    assert cv2.imwrite(str(tmp_path / "b.png"), picture(7))
    with _replay(tmp_path, loop="0") as camera:
        jpeg, png = camera.read(5.0), camera.read(5.0)
    assert jpeg.jpeg == (tmp_path / "a1.jpg").read_bytes()
    assert png.jpeg is not None and png.jpeg.startswith(b"\xff\xd8")
    assert np.array_equal(png.image, picture(7))


def test_scales_are_stated_picture_by_picture(tmp_path: Path) -> None:
    write_folder(tmp_path, 3)
    (tmp_path / "scales.csv").write_text("image,um_per_px\na1.jpg,6.5\na3.jpg,nonsense\nelse.jpg,3\n")
    with _replay(tmp_path, loop="0") as camera:
        assert [camera.read(5.0).stated_um_per_px for _ in range(3)] == [6.5, None, None]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"", b"\xff\xfe\x00"])
def test_a_table_of_another_kind_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scales.csv").write_bytes(content)
    with pytest.raises(DeviceError, match=r"scales\.csv"):
        read_scales(tmp_path / "scales.csv")


def test_bad_files_are_skipped_and_told_once(tmp_path: Path) -> None:
    write_folder(tmp_path, 3)
    whole = (tmp_path / "a2.jpg").read_bytes()
    (tmp_path / "a2.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a4.jpg").write_bytes(b"GIF89a no picture")
    (tmp_path / "a5.png").write_bytes(b"")
    camera = _replay(tmp_path, loop="0")
    assert _all(camera) == [("a1.jpg", 1), ("a3.jpg", 3)]
    assert {path.name for path in camera.bad_files} == {"a2.jpg", "a4.jpg", "a5.png"}
    assert all(camera.bad_files.values())


def test_a_bad_first_file_does_not_hide_the_others(tmp_path: Path) -> None:
    write_folder(tmp_path, 2)
    (tmp_path / "a0.jpg").write_bytes(b"\xff\xd8 short")
    assert _all(_replay(tmp_path, loop="0")) == [("a1.jpg", 1), ("a2.jpg", 2)]


def test_a_file_replaced_by_a_good_one_is_used(tmp_path: Path) -> None:
    write_folder(tmp_path, 1)
    (tmp_path / "a2.jpg").write_bytes(b"short")
    with _replay(tmp_path) as camera:
        _read_until(camera, lambda _: bool(camera.bad_files))
        (tmp_path / "a2.jpg").write_bytes(bytes(cv2.imencode(".jpg", picture(9))[1]))
        _read_until(camera, lambda frame: number_in(frame.image) == 9)
        assert not camera.bad_files


def test_a_folder_without_pictures_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    (tmp_path / "x.jpg").write_bytes(b"nothing")
    camera = _replay(tmp_path)
    with pytest.raises(CameraNotFoundError, match="no usable picture") as told, camera:
        pass
    assert str(tmp_path) in str(told.value) and "put" in str(told.value)


def test_a_folder_that_empties_is_a_lost_camera(tmp_path: Path) -> None:
    write_folder(tmp_path, 2)
    with _replay(tmp_path) as camera:
        camera.read(5.0)
        for file in tmp_path.iterdir():
            file.unlink()
        with pytest.raises(CameraLostError, match="put pictures"):
            for _ in range(3):
                camera.read(5.0)


@pytest.mark.parametrize("missing", ["no/such/folder", "nul\0byte", "x" * 5000])
def test_what_is_not_there_is_told(missing: str) -> None:
    with pytest.raises(CameraNotFoundError), make_camera(f"replay:{missing}"):
        pass


def test_a_file_that_is_no_video_is_told(tmp_path: Path) -> None:
    for name, content in (("notes.txt", b"text"), ("broken.mp4", b"no video"), ("empty.avi", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CameraNotFoundError, match=name), _replay(tmp_path / name):
            pass


def test_paths_with_spaces_stand_and_question_marks_are_percent_encoded(tmp_path: Path) -> None:
    spaced, asked = tmp_path / "my pictures 100%", tmp_path / "which?"
    write_folder(spaced, 1)
    write_folder(asked, 2)
    assert len(_all(_replay(spaced, loop="0"))) == 1
    assert len(_all(_replay(str(asked).replace("?", "%3F"), loop="0"))) == 2


def test_pictures_of_any_kind_and_size_come_as_bgr(tmp_path: Path) -> None:
    kinds = {
        "grey.png": np.full((20, 30), 90, np.uint8),
        "deep.png": np.full((40, 30, 3), 90 * 257, np.uint16),
        "alpha.png": np.full((50, 30, 4), 90, np.uint8),
        "one.png": np.full((1, 1, 3), 90, np.uint8),
        "t.tif": np.full((20, 300, 3), 90, np.uint8),
        "b.bmp": np.full((20, 31, 3), 90, np.uint8),
        "w.webp": np.full((20, 31, 3), 90, np.uint8),
    }
    for name, image in kinds.items():
        assert cv2.imwrite(str(tmp_path / name), image)
    with _replay(tmp_path, loop="0") as camera:
        for _ in kinds:
            frame = camera.read(5.0)
            assert frame.image.shape == (*kinds[Path(frame.source).name].shape[:2], 3)
            assert abs(int(frame.image[0, 0, 1]) - 90) <= 2
    assert not camera.bad_files


def _png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IDAT"


@pytest.mark.parametrize(("width", "height"), [(8000, 6000), (20000, 20000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_before_they_are_decoded(width: int, height: int) -> None:
    with pytest.raises(NotAPictureError):
        inspect_picture(_png_header(width, height))


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda b: b"\xff\xd8\xff\xe0" + b))
def test_any_bytes_are_a_picture_or_refused(content: bytes) -> None:
    try:
        inspect_picture(content)
    except NotAPictureError:
        return


def test_the_cache_of_encoded_bytes_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path, 6)
    size = (tmp_path / "a1.jpg").stat().st_size
    monkeypatch.setattr(reel, "CACHE_BYTES", round(2.5 * size))
    folder = reel.FolderReel(tmp_path, {})
    for _ in range(12):
        folder.turn(1, loop=True)
        assert sum(len(shot.jpeg) for _, shot in folder._cache.values()) <= 3 * size


@given(st.lists(st.text(alphabet="ab019 _-²", min_size=1, max_size=6), max_size=8))
def test_natural_order_is_an_order(names: list[str]) -> None:
    paths = [Path(name) for name in names]
    backwards = paths[::-1]
    assert sorted(paths, key=natural_key) == sorted(backwards, key=natural_key)


def test_a_video_plays_once_and_goes_round(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi", 4)
    assert [number for _, number in _all(_replay(video, loop="0"))] == [1, 2, 3, 4]
    with _replay(video) as camera:
        for number in (1, 2, 3, 4, 1):
            _read_until(camera, lambda frame, wanted=number: number_in(frame.image) == wanted)


def test_a_video_keeps_its_own_rate(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi", 4, fps=50.0)
    with make_camera(f"replay:{video}") as camera:
        assert camera.info.fps == pytest.approx(50.0) and (camera.info.width, camera.info.height) == (64, 48)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "closed")
    folder.chmod(0)
    try:
        with pytest.raises(CameraNotFoundError, match="permissions"), _replay(folder):
            pass
    finally:
        folder.chmod(0o700)


def test_an_address_with_everything_is_understood() -> None:
    assert parse_uri("replay:/a b/c?fps=12&loop=0") == CameraUri("replay", "/a b/c", {"fps": "12", "loop": "0"})
