"""The simulated microscope in the simulated hand: what distance and light show, and a file that may be anything."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from device.camera import Camera, make_camera
from device.errors import CameraUriError
from device.frame import Frame
from device.simulated import following
from device.simulated.following import (
    CONTACT_MM,
    MAX_BYTES,
    PINHOLE_MM,
    STALE_S,
    HandFollower,
    HandState,
    blur_at,
    decode_state,
    defocused,
    light_table,
    ratio_at,
    read_state,
    seen_from,
    state_file,
    write_state,
    zoomed,
)
from device.simulated.lens import Lens
from device.simulated.plate import PlateView

SMALL = "simulated:easy?width=160&height=120&scenes=1&fps=200"
WHITE = {"white": 100, "cross": 0, "uv": 0}
DARK = {"white": 0, "cross": 0, "uv": 0}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def told(file: Path, distance_mm: float, lights: object, age_s: float = 0.0) -> None:
    write_state(file, HandState(distance_mm, lights, time.monotonic() - age_s))  # type: ignore[arg-type]


def taken(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> Frame:
    """The next frame, of a file that is looked at anew and never grows stale."""
    monkeypatch.setattr(following, "LOOK_S", -1.0)
    monkeypatch.setattr(following, "STALE_S", 3600.0)
    return camera.read(5.0)


def test_the_scale_is_in_proportion_to_the_distance_from_the_pinhole() -> None:
    assert ratio_at(CONTACT_MM) == 1
    assert ratio_at(2 * CONTACT_MM + PINHOLE_MM) == pytest.approx(2)
    assert ratio_at(5, pinhole_mm=-10) > 0
    assert blur_at(1, 640) == 0 and 0 < blur_at(1.1, 640) < blur_at(2, 640) < blur_at(6, 640)
    assert blur_at(2, 1280) == pytest.approx(2 * blur_at(2, 640))


@pytest.mark.parametrize("ratio", [0.8, 1.0, 1.5, 2.0, 3.7])
def test_the_window_shows_every_place_where_the_scale_says(ratio: float) -> None:
    y, x = np.mgrid[0:240, 0:320]
    ramp = np.stack([x * 0.75, y * 0.75, 0 * x], 2).astype(np.uint8)
    middle = (157.25, 118.5)
    seen = zoomed(ramp, middle, ratio, (60, 40)).astype(float)
    at_x, at_y = (np.arange(60) - 29.5) * ratio + middle[0], (np.arange(40) - 19.5) * ratio + middle[1]
    assert np.abs(seen[..., 0] - 0.75 * at_x).max() <= 1.5
    assert np.abs(seen[..., 1] - 0.75 * at_y[:, None]).max() <= 1.5


def test_far_off_the_window_is_filled_beyond_the_scene() -> None:
    image = np.random.default_rng(1).integers(100, 200, (90, 120, 3)).astype(np.uint8)
    assert zoomed(image, (60, 45), 6.3, (64, 48)).min() >= 100


def test_a_plate_farther_off_is_seen_as_through_a_lens_farther_off() -> None:
    near, far = (Lens(96, 72, 300.0, mm, (0.02, -0.01), 0.3, -0.9) for mm in (20.0, 31.0))
    y, x = np.mgrid[0:72, 0:96]
    at = np.stack([x.ravel(), y.ravel()], 1).astype(float)
    x_um, y_um = (near.on_skin(at)[:, axis].reshape(72, 96).astype(np.float32) for axis in (0, 1))
    view = seen_from(PlateView(near, x_um, y_um, None, None, None), 31 / 20)
    assert np.allclose(np.stack([view.x_um.ravel(), view.y_um.ravel()], 1), far.on_skin(at), rtol=1e-5, atol=0.1)


def test_defocus_takes_detail_and_leaves_brightness() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    image[:, ::2] = 200
    spread = [float(defocused(image, sigma).std()) for sigma in (0.0, 0.5, 2.0, 9.0)]
    assert spread[0] > spread[1] > spread[2] >= spread[3]
    assert defocused(image, 9.0).mean() == pytest.approx(100, abs=2) and defocused(image, 9.0).shape == image.shape


def test_light_falls_off_and_each_lamp_looks_like_itself() -> None:
    grey = np.arange(256)
    assert np.abs(light_table(WHITE, 1.0)[0] - grey[:, None].astype(float)).max() <= 1  # type: ignore[arg-type]
    assert np.array_equal(light_table(None, 1.0), light_table(WHITE, 1.0))  # type: ignore[arg-type]
    brightness = [int(light_table({**WHITE, "white": level}, 1.0)[0, 200, 1]) for level in (0, 10, 50, 100)]
    assert brightness == sorted(set(brightness)) and brightness[0] < 12
    assert light_table(WHITE, 2.0)[0, 200, 1] < light_table(WHITE, 1.0)[0, 200, 1]  # type: ignore[arg-type]
    blue, green, red = (int(v) for v in light_table({**DARK, "uv": 100}, 1.0)[0, 200])
    assert blue > red > green
    white, cross = (light_table({**DARK, name: 100}, 1.0)[0, :, 1].astype(float) for name in ("white", "cross"))  # type: ignore[arg-type]
    assert cross[250] / cross[100] < 0.95 * white[250] / white[100]


ANY_JSON = st.recursive(st.none() | st.floats() | st.integers() | st.text(), st.lists)


@given(st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_break_reading(content: bytes) -> None:
    assert decode_state(content) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"distance_mm": -1},
        {"distance_mm": float("nan")},
        {"distance_mm": True},
        {"distance_mm": 10**400},
        {"monotonic_s": "1"},
        {"lights": {"white": 5}},
        {"lights": [1, 2, 3]},
        {"lights": {**WHITE, "uv": 101}},
    ],
)
def test_what_is_out_of_range_is_damaged(wrong: dict[str, object]) -> None:
    right = {"distance_mm": 18, "lights": WHITE, "monotonic_s": 5.0}
    assert decode_state(json.dumps(right).encode()) == HandState(18.0, WHITE, 5.0)  # type: ignore[arg-type]
    assert decode_state(json.dumps({**right, **wrong}).encode()) is None


def test_what_is_written_is_read_and_gone_afterwards(tmp_path: Path) -> None:
    file = tmp_path / "hand"
    with state_file(file) as tell:
        for state in (HandState(18.25, {"white": 30, "cross": 0, "uv": 5}, 7.5), HandState(32.0, None, 8.5)):
            tell(state)
            assert read_state(file) == state
        assert [entry.name for entry in tmp_path.iterdir()] == ["hand"]
    assert not list(tmp_path.iterdir())


def test_anything_else_at_that_path_is_no_hand(tmp_path: Path) -> None:
    file = tmp_path / "hand"
    assert read_state(file) is None and read_state(tmp_path) is None
    told(file, 18, WHITE)
    file.write_bytes(file.read_bytes() + b" " * MAX_BYTES)  # valid but for its size
    assert read_state(file) is None
    file.write_bytes(b"[" * MAX_BYTES)
    assert read_state(file) is None
    file.unlink()
    os.mkfifo(file)  # nobody writes: it must not wait
    assert read_state(file) is None


def test_the_file_is_looked_at_now_and_then_and_grows_stale(tmp_path: Path) -> None:
    file = tmp_path / "hand"
    write_state(file, HandState(18, WHITE, 100.0))  # type: ignore[arg-type]
    follower = HandFollower(file)
    assert follower.look(100.0) is not None
    file.unlink()
    assert follower.look(100.02) is not None
    assert follower.look(100.06) is None
    for at in (100.0, 200.0):  # long ago, and of before the machine was started
        write_state(file, HandState(18, WHITE, at))  # type: ignore[arg-type]
        assert HandFollower(file).look(150.0 + STALE_S) is None


def test_a_lift_brings_the_next_scalp(tmp_path: Path) -> None:
    file = tmp_path / "hand"
    follower = HandFollower(file)
    slots = []
    for second, distance_mm in enumerate((150, 32, 18, 32, 18, 150, 140, 18)):
        write_state(file, HandState(distance_mm, WHITE, float(second)))  # type: ignore[arg-type]
        held = follower.look(float(second))
        assert held is not None
        slots.append(held.slot)
    assert slots == [0, 0, 0, 0, 0, 1, 1, 1]


def test_the_camera_shows_distance_and_light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "hand"
    with make_camera(f"{SMALL}&hand={file}") as camera:
        alone = taken(camera, monkeypatch)
        frames = {}
        for name, distance_mm, lights in (
            ("contact", CONTACT_MM, WHITE),
            ("above", 32.0, WHITE),
            ("dark", CONTACT_MM, DARK),
            ("uv", CONTACT_MM, {**DARK, "uv": 100}),
        ):
            told(file, distance_mm, lights)
            frames[name] = taken(camera, monkeypatch)
        for content in (b"", b"{", b"x" * 10**6):
            file.write_bytes(content)
            assert taken(camera, monkeypatch).image.mean() == pytest.approx(alone.image.mean(), rel=0.1)
    scale = {name: frame.stated_um_per_px or 0.0 for name, frame in frames.items()}
    assert alone.stated_um_per_px is not None
    assert scale["contact"] == pytest.approx(alone.stated_um_per_px, rel=0.02)  # the window moves, and distortion with it
    assert scale["above"] / scale["contact"] == pytest.approx(ratio_at(32.0), rel=0.02)
    assert frames["contact"].image.mean() == pytest.approx(alone.image.mean(), rel=0.1)
    sharp = {name: cv2.Laplacian(frame.image, cv2.CV_64F).std() / frame.image.mean() for name, frame in frames.items()}
    assert sharp["above"] < sharp["contact"]
    assert frames["dark"].image.mean() < 0.1 * alone.image.mean()
    blue, green, red = frames["uv"].image.mean(axis=(0, 1))
    assert blue > green and blue > red


def test_a_stale_file_shows_the_camera_without_a_hand(tmp_path: Path) -> None:
    told(tmp_path / "hand", 150.0, DARK, age_s=STALE_S + 0.5)
    with make_camera(SMALL) as camera:
        alone = camera.read(5.0).image.mean()
    with make_camera(f"{SMALL}&hand={tmp_path / 'hand'}") as camera:
        assert camera.read(5.0).image.mean() == pytest.approx(alone, rel=0.1)


def test_a_target_is_smaller_where_the_hand_holds_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, plate = tmp_path / "hand", tmp_path / "target.png"
    image = np.full((1000, 1000), 255, np.uint8)
    cv2.circle(image, (500, 500), 100, 0, -1)  # 2 mm across
    Pillow.fromarray(image).save(plate, dpi=(2540, 2540))
    with make_camera(f"{SMALL}&plate={plate}&um_per_px=30&distance=20&hand={file}") as camera:
        for distance_mm in (CONTACT_MM, CONTACT_MM + 10):
            told(file, distance_mm, WHITE)
            frame = taken(camera, monkeypatch)
            assert frame.stated_um_per_px == pytest.approx(30 * (20 + distance_mm - CONTACT_MM) / 20, rel=0.01)
            grey = frame.image[..., 1].astype(float)
            black, white = grey.min(), np.median(grey)
            disc_px = float(((white - grey) / (white - black)).clip(0.1).sum() - 0.1 * grey.size)
            across_um = 2 * np.sqrt(disc_px / 0.9 / np.pi) * frame.stated_um_per_px
            assert across_um == pytest.approx(2000, rel=0.15)


def test_a_hand_without_a_file_is_refused() -> None:
    with pytest.raises(CameraUriError, match="say which hand"):
        make_camera("simulated:?hand=")
