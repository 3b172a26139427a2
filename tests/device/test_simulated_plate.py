"""Plates under the simulated microscope: files that are none are refused, and what is seen of them has the scale that is stated."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from device.camera import Camera, make_camera
from device.errors import CameraNotFoundError, CameraUriError
from device.frame import Frame
from device.picturefile import NotAPictureError
from device.simulated.lens import Lens
from device.simulated.plate import MAX_RIM_PIXELS, Plate, png_um_per_px, read_plate, rim_plate, ringed_scene, see_plate, view_plate
from device.simulated.scene import render_scene

UM = 5.0  # per px of the plates drawn here
APART_UM = 3000.0  # between the two marks of a plate


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _two_marks(um_per_px: float = UM, apart_um: float = APART_UM, side_um: float = 5000.0) -> NDArray[np.uint8]:
    """Two black discs left and right of the middle, uint8 (height, width)."""
    side = round(side_um / um_per_px)
    x = (np.arange(side) - (side - 1) / 2) * um_per_px
    off = np.minimum(np.hypot(x[None] - apart_um / 2, x[:, None]), np.hypot(x[None] + apart_um / 2, x[:, None]))
    return np.asarray(np.rint(255 * np.clip((off - 250) / um_per_px + 0.5, 0, 1)), np.uint8)


def _marks_um_per_px(image: NDArray[np.uint8], apart_um: float = APART_UM, beyond_px: float = 0.0) -> float:
    """The scale by the distance of the two marks' centres of darkness, left and right, that far from the middle at least."""
    dark = np.clip(150.0 - image[..., 1], 0, None)
    dark[:, : image.shape[1] // 20] = dark[:, -image.shape[1] // 20 :] = 0
    x, y = np.meshgrid(np.arange(image.shape[1]) - (image.shape[1] - 1) / 2, np.arange(image.shape[0]))
    halves = [dark * (x < -beyond_px), dark * (x > beyond_px)]
    centres = [np.array([(half * axis).sum() for axis in (x, y)]) / half.sum() for half in halves]
    return apart_um / float(np.hypot(*(centres[1] - centres[0])))


def _write(path: Path, *bands: NDArray[np.uint8], um_per_px: float | None = UM) -> Path:
    picture = Pillow.fromarray(bands[0]) if len(bands) == 1 else Pillow.merge("LA", [Pillow.fromarray(band) for band in bands])
    dpi = {} if um_per_px is None else {"dpi": (25400 / um_per_px,) * 2}
    picture.save(path, format="PNG", **dpi)
    return path


def _rim(path: Path, hole_um: float = 3600.0, side_um: float = 10000.0) -> Path:
    """White ground with an opening, and a mark on either side of it."""
    marks = _two_marks(apart_um=5000.0, side_um=side_um)
    return _write(path, marks, opacity) if (opacity := rim_plate(marks / np.float32(255), UM, hole_um).opacity) is not None else path


def _frames(camera: Camera, count: int) -> list[Frame]:
    with camera:
        return [camera.read(5.0) for _ in range(count)]


def test_a_plate_is_read_with_the_scale_that_its_file_states(tmp_path: Path) -> None:
    plate = read_plate(_write(tmp_path / "a.png", _two_marks()))
    assert plate.um_per_px == pytest.approx(UM, rel=1e-5)
    assert plate.image.shape == (1000, 1000, 3) and plate.opacity is None
    solid = np.full((1000, 1000), 255, np.uint8)
    assert read_plate(_write(tmp_path / "b.png", _two_marks(), solid)).opacity is None  # nothing of it is clear
    rim = read_plate(_rim(tmp_path / "c.png"))
    assert rim.opacity is not None and rim.opacity[1000, 1000] == 0 and rim.opacity[0, 0] == 255


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(chunks)
        + _chunk(b"IDAT", zlib.compress(bytes(height * (width + 1))))
        + _chunk(b"IEND", b"")
    )


def _jpeg() -> bytes:
    data = io.BytesIO()
    Pillow.fromarray(_two_marks(20.0)).save(data, format="JPEG", dpi=(2400, 2400))
    return data.getvalue()


def _physical(across: int, down: int, unit: int) -> bytes:
    return _chunk(b"pHYs", struct.pack(">IIB", across, down, unit))


GOOD = _physical(200_000, 200_000, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a whole picture"),
        (b"\x89PNG\r\n\x1a\n", "not a whole picture"),
        (_jpeg(), "is no PNG"),
        (_png(40, 30), "how large its pixels are"),
        (_png(40, 30, _physical(200_000, 200_000, 0)), "per unit 0"),
        (_png(40, 30, _physical(200_000, 100_000, 1)), "200000×100000"),
        (_png(40, 30, _physical(0, 0, 1)), "0×0"),
        (_png(40, 30, _physical(11_811, 11_811, 1)[:-1] + b"?"), "not a whole picture|not of"),
        (_png(40, 30, _physical(2835, 2835, 1)), "not of 0.2 to 100 µm"),
        (_png(40, 30, GOOD)[:-40], "not a whole picture"),
        (_png(40, 30, GOOD).replace(struct.pack(">II", 40, 30), struct.pack(">II", 40000, 30000), 1), "not a whole picture|megapixels"),
    ],
)
def test_a_file_that_is_no_plate_is_refused_with_its_name_and_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "plate.png"
    path.write_bytes(content)
    with pytest.raises(CameraUriError, match=rf"plate\.png: .*({reason}).*: draw it with"):
        read_plate(path)


def test_a_header_alone_of_huge_size_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 0, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + GOOD + _chunk(b"IDAT", zlib.compress(bytes(10))) + _chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(content)
    with pytest.raises(CameraUriError, match="9000×9000 px is over 40 megapixels"):
        read_plate(tmp_path / "huge.png")


def test_a_large_rim_is_refused(tmp_path: Path) -> None:
    side = int(MAX_RIM_PIXELS**0.5) + 10
    clear = np.full((side, side), 255, np.uint8)
    clear[:100] = 0
    with pytest.raises(CameraUriError, match="over 16 megapixels: draw it at fewer dots per inch"):
        read_plate(_write(tmp_path / "rim.png", np.full((side, side), 255, np.uint8), clear, um_per_px=1.0))


def test_the_scale_is_found_behind_other_chunks_and_never_beyond_the_end() -> None:
    assert png_um_per_px(_png(4, 3, _chunk(b"tEXt", b"a\0b"), GOOD)) == 5.0
    for cut in range(8 + 25 + 8 + 9):  # signature, IHDR, and all of pHYs but its check sum
        with pytest.raises(NotAPictureError, match=r"is no PNG|no pHYs"):
            png_um_per_px(_png(4, 3, GOOD)[:cut])


@pytest.mark.parametrize("fine_um", [0.9, 2.0, 7.0])
def test_a_target_is_seen_at_the_scale_of_the_lens_whatever_its_own(fine_um: float) -> None:
    lens = Lens(640, 480, 1900.0, 15.2)  # 8 µm per px, without distortion and tilt
    marks = np.repeat(_two_marks(fine_um)[..., None], 3, axis=2)
    view = view_plate(Plate(marks, None, fine_um), lens)
    for shift in ((0.0, 0.0), (90.0, -170.0)):
        seen = view.see_target(shift)
        assert _marks_um_per_px(seen) == pytest.approx(8.0, rel=3e-4)
    dark = np.argwhere(view.see_target((0.0, 0.0))[..., 1] < 100).mean(0)
    moved = np.argwhere(view.see_target((160.0, 80.0))[..., 1] < 100).mean(0)
    assert moved - dark == pytest.approx([10.0, 20.0], abs=0.3)  # rows, columns: right and down


def test_a_rim_hides_what_it_covers_and_nothing_else() -> None:
    lens = Lens(640, 480, 1900.0, 15.2)
    white = np.ones((1400, 1400), np.float32)
    view = view_plate(rim_plate(white, UM, 3200.0), lens)  # 400 px across
    skin = np.full((480, 640, 3), (90, 120, 160), np.uint8)
    seen = view.lay_over(skin)
    far = np.hypot(*np.meshgrid(np.arange(640) - 319.5, np.arange(480) - 239.5))
    assert np.array_equal(seen[far < 190], skin[far < 190])
    assert np.ptp(seen[(far > 206) & (far < 230)]) <= 2 and seen[240, 540, 1] > 200
    across = seen[240, :, 1].astype(float)
    edge = np.interp((across[320] + across[60]) / 2, across[100:139][::-1], np.arange(100, 139)[::-1])
    assert edge == pytest.approx(319.5 - 200, abs=0.3)


def test_the_rim_stands_still_before_a_scalp_of_the_stated_scale(tmp_path: Path) -> None:
    address = f"simulated:easy?scenes=1&fps=200&um_per_px=10&plate={_rim(tmp_path / 'rim.png')}"
    frames = _frames(make_camera(address), 12)
    (stated,) = {frame.stated_um_per_px for frame in frames}
    assert stated == pytest.approx(10.0, rel=1e-5)
    first, last = frames[0].image.astype(int), frames[-1].image.astype(int)
    for frame in (frames[0], frames[-1]):
        # the marks lie 2.5 mm off the axis, where the lens's distortion draws them outwards by 0.5 %
        assert _marks_um_per_px(frame.image, 5000.0, 190.0) == pytest.approx(10.0, rel=0.008)
    ground = np.s_[20:460, 20:40]
    assert np.abs(cv2.blur(first - last, (9, 9))[ground]).max() < 8 < np.abs(first - last)[140:340, 220:420].max()


def test_a_rim_without_a_scale_leaves_the_scene_its_own(tmp_path: Path) -> None:
    size = "width=160&height=120&scenes=1&fps=200"
    with make_camera(f"simulated:easy?{size}") as camera:
        own = camera.read(5.0).stated_um_per_px
    with make_camera(f"simulated:easy?{size}&plate={_rim(tmp_path / 'rim.png')}") as camera:
        assert own is not None and camera.read(5.0).stated_um_per_px == pytest.approx(own, rel=0.02)


@pytest.mark.parametrize(
    ("options", "um_per_px"),
    [
        ("", 1000 * 20 / 1920),
        ("&distance=12", 6.25),
        ("&distance=12&focal=1500", 8.0),
        ("&um_per_px=9", 9.0),
        ("&um_per_px=7&distance=30", 7.0),
    ],
)
def test_a_target_is_shown_at_the_distance_that_is_asked_for(tmp_path: Path, options: str, um_per_px: float) -> None:
    path = _write(tmp_path / "target.png", _two_marks())
    with make_camera(f"simulated:?fps=200&plate={path}{options}") as camera:
        assert not [thread for thread in threading.enumerate() if thread.name == "simulated-scenes"]
        frames = [camera.read(5.0) for _ in range(30)]
    stated = frames[0].stated_um_per_px
    assert stated == pytest.approx(um_per_px, rel=1e-3)  # its tilt is small
    assert _marks_um_per_px(frames[0].image) == pytest.approx(um_per_px, rel=0.008)  # distortion
    places = {round(float(np.argwhere(frame.image[..., 1] < 100)[:, 1].mean()), 2) for frame in frames}
    assert len(places) > 10  # it trembles
    assert max(places) - min(places) < 6


def test_a_targets_frames_are_determined_by_address_and_sequence(tmp_path: Path) -> None:
    address = f"simulated:?fps=200&distance=12&plate={_write(tmp_path / 'target.png', _two_marks())}"
    first, second = ({frame.sequence: frame.jpeg for frame in _frames(make_camera(address), 20)} for _ in range(2))
    both = first.keys() & second.keys()
    assert both and all(first[sequence] == second[sequence] for sequence in both)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("um_per_px=12", "um_per_px is that of a plate"),
        ("distance=12", "distance is that of a plate"),
        ("plate=", "say which plate"),
        ("plate=a.png&um_per_px=9&distance=12&focal=1000", "leave one out"),
        ("plate=a.png&um_per_px=-3", "um_per_px=-3 is not a number between"),
        ("plate=a.png&distance=nan", "distance=nan is not a number between"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: str, reason: str) -> None:
    with pytest.raises(CameraUriError, match=reason):
        make_camera(f"simulated:?{options}")


def test_a_plate_that_is_not_there_is_no_camera(tmp_path: Path) -> None:
    with (
        pytest.raises(CameraNotFoundError, match=r"there is no plate .*away\.png"),
        make_camera(f"simulated:?plate={tmp_path / 'away.png'}"),
    ):
        pass
    with pytest.raises(CameraNotFoundError, match="there is no plate"), make_camera(f"simulated:?plate={tmp_path}"):
        pass


def test_a_ringed_scene_is_scalp_inside_and_plate_outside_but_for_hair() -> None:
    lens = Lens(320, 240, 1900.0, 0.008 * 1900)
    scene = render_scene(5, width=320, height=240, kind="easy", um_per_px=8.0, hooded=False)
    plate = rim_plate(np.ones((900, 1100), np.float32), 2.5, 1200.0)  # 150 px across
    rim, opacity = see_plate(plate, lens)
    assert opacity.shape == (240, 320, 1) and opacity[120, 160, 0] == 0 and opacity[120, 20, 0] == 1
    plain = ringed_scene(scene, plate, lens, crossing=0.0)
    inside, outside = opacity[..., 0] == 0, opacity[..., 0] == 1
    assert np.array_equal(plain[inside], scene.picture[inside]) and np.allclose(plain[outside], rim[outside], atol=1e-6)
    crossed = ringed_scene(scene, plate, lens, crossing=0.5, seed=3)
    different = np.abs(crossed - plain).max(2) > 0.05
    near_hair = cv2.dilate(scene.mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert 20 < np.count_nonzero(different) < 0.6 * np.count_nonzero(near_hair & ~inside)
    assert not (different & ~near_hair).any() and not (different & inside).any()
