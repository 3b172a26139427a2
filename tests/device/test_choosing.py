"""The right frame: sharpness where there is something to be sharp, steadiness, and the choice around the press of a button."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.choosing import STEADY_PX, Window, choose_frame
from device.errors import CameraTimeoutError, FrameDecodeError
from device.frame import Frame
from device.ring import MAX_FRAMES, FrameRing
from device.sharpness import grey_of, motion_between, reduced_for_motion, sharpness_of
from tests.device.shaken import Grey, blurred, jpeg, moved, noisy, scalp, smeared

SCALP = scalp()
PERIOD_NS = 33_333_333
NOW = Window(before_s=0.5, after_s=0.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("hairs", [2, 25, 120])
@pytest.mark.parametrize("worsen", [blurred, lambda image, px: smeared(image, 1 + 2 * int(2 * px))])
def test_the_more_blur_the_less_sharp(seed: int, hairs: int, worsen: Callable[[Grey, float], Grey]) -> None:
    image = scalp(seed, hairs)
    found = [sharpness_of(noisy(worsen(image, px), 2)) for px in (0, 0.7, 1.2, 2, 3)]
    assert found == sorted(found, reverse=True) and found[-1] < 0.75 * found[0]


@pytest.mark.parametrize("gain", [0.4, 0.7, 1.2])
def test_the_amount_of_light_does_not_count(gain: float) -> None:
    assert sharpness_of(np.clip(SCALP * gain, 0, 255).astype(np.uint8)) == pytest.approx(sharpness_of(SCALP), rel=0.05)


def test_where_in_the_picture_it_is_does_not_count() -> None:
    assert sharpness_of(moved(SCALP, 20, 10)) == pytest.approx(sharpness_of(SCALP), rel=0.06)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_where_nothing_could_be_sharp_it_is_none(level: int) -> None:
    assert sharpness_of(np.full((480, 640), level, np.uint8)) == 0
    assert sharpness_of(noisy(np.full((480, 640), level, np.uint8), 3)) == 0


def test_skin_without_hair_has_texture() -> None:
    skin = scalp(4, hairs=0)
    assert sharpness_of(skin) > 1.2 * sharpness_of(blurred(skin, 2)) > 0


@settings(max_examples=25)
@given(st.integers(2, 90), st.integers(2, 90))
def test_pictures_of_any_size_are_judged(height: int, width: int) -> None:
    image = np.random.default_rng(1).integers(0, 255, (height, width), dtype=np.uint8)
    assert sharpness_of(image) >= 0
    assert motion_between(reduced_for_motion(image), reduced_for_motion(image), 640) < STEADY_PX


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 1), (6, -3), (-20, 10), (40, 0)])
def test_motion_is_told_to_some_px(x: float, y: float) -> None:
    found = motion_between(reduced_for_motion(noisy(SCALP, 2)), reduced_for_motion(noisy(moved(SCALP, x, y), 2, 1)), 640)
    assert found == pytest.approx(float(np.hypot(x, y)), abs=2.5)


def test_pictures_of_two_sizes_count_as_moved() -> None:
    one, other = reduced_for_motion(SCALP), reduced_for_motion(SCALP[:300])
    assert motion_between(one, other, 640) == float("inf")


def _frame(number: int, at_ns: int, image: Grey | bytes) -> Frame:
    data = image if isinstance(image, bytes) else jpeg(noisy(image, 2, number))
    return Frame(sequence=number, captured_ns=at_ns, source="test", jpeg=data)


def _ring(images: list[Grey | bytes], last_ns: int) -> FrameRing:
    """The last of the images was captured at `last_ns`."""
    ring = FrameRing()
    for number, image in enumerate(images):
        ring.put(_frame(number, last_ns - (len(images) - 1 - number) * PERIOD_NS, image))
    return ring


def test_the_sharpest_is_taken_and_not_that_of_the_press() -> None:
    now = time.monotonic_ns()
    shaken = smeared(SCALP, 15)
    choice = choose_frame(_ring([blurred(SCALP, 1), SCALP, blurred(SCALP, 1), SCALP, blurred(SCALP, 2), shaken, shaken], now), now, NOW)
    assert choice.frame.sequence in (1, 3) and choice.steady and choice.looked_at == 7 and choice.undecodable == 0
    assert choice.offset_ms == pytest.approx(-(6 - choice.frame.sequence) * PERIOD_NS / 1e6)


def test_a_frame_in_motion_is_left_even_if_it_is_sharp() -> None:
    now = time.monotonic_ns()
    soft = blurred(SCALP, 0.8)
    choice = choose_frame(_ring([soft, moved(SCALP, 30, 0), moved(soft, 60, 0), moved(soft, 60, 0), moved(SCALP, 90, 0)], now), now, NOW)
    assert choice.frame.sequence == 3 and choice.steady


def test_where_none_holds_still_the_sharpest_of_all_is_taken_and_told() -> None:
    now = time.monotonic_ns()
    images: list[Grey | bytes] = [moved(blurred(SCALP, 1), 25 * n, 0) for n in range(6)]
    images[4] = moved(SCALP, 100, 0)
    choice = choose_frame(_ring(images, now), now, NOW)
    assert choice.frame.sequence == 4 and not choice.steady


def test_of_equally_sharp_ones_the_nearest_to_the_press() -> None:
    now = time.monotonic_ns()
    plain = np.full((480, 640), 128, np.uint8)
    choice = choose_frame(_ring([jpeg(plain)] * 9, now), now - 2 * PERIOD_NS, Window(before_s=0.5, after_s=0.066))
    assert choice.sharpness == 0 and choice.offset_ms == pytest.approx(0, abs=1)


def test_frames_behind_the_press_are_waited_for_and_later_ones_not_judged() -> None:
    ring = FrameRing()
    pressed = time.monotonic_ns()

    def send() -> None:
        for number in range(14):
            ring.put(_frame(number, pressed + (number - 3) * PERIOD_NS, SCALP if number == 8 else blurred(SCALP, 1.5)))
            time.sleep(0.005)

    sender = threading.Thread(target=send)
    sender.start()
    choice = choose_frame(ring, pressed, Window(before_s=0.5, after_s=0.25))
    sender.join()
    assert choice.frame.sequence == 8 and choice.offset_ms > 0
    assert choice.looked_at == 11  # up to 7 periods behind the press


def test_what_is_no_picture_is_passed_over() -> None:
    now = time.monotonic_ns()
    choice = choose_frame(_ring([b"\xff\xd8\xffrubbish", SCALP, SCALP, b"", SCALP], now), now, NOW)
    assert choice.frame.sequence in (2, 4) and (choice.looked_at, choice.undecodable) == (3, 2)


def test_a_camera_that_sends_nothing_is_told() -> None:
    with pytest.raises(CameraTimeoutError, match="press again"):
        choose_frame(FrameRing(), time.monotonic_ns() - 10**9, Window(0.1, 0.0))


def test_uncompressed_frames_are_judged_by_their_pixels() -> None:
    frame = Frame(sequence=1, captured_ns=1, source="test", image=np.repeat(SCALP[..., None], 3, axis=2))
    assert sharpness_of(grey_of(frame)) == pytest.approx(sharpness_of(SCALP), rel=0.01)
    with pytest.raises(FrameDecodeError):
        grey_of(_frame(1, 1, b"rubbish"))


def test_the_ring_holds_a_second_and_not_more_than_its_bound() -> None:
    ring = FrameRing()
    for number in range(50):
        ring.put(_frame(number, number * PERIOD_NS, b"x"))
    assert [frame.sequence for frame in ring.after(0)] == list(range(19, 50))
    for number in range(500):
        ring.put(_frame(number, 10**10 + number, b"x"))
    assert len(ring) == MAX_FRAMES
    assert [frame.sequence for frame in ring.after(10**10 + 497)] == [498, 499]
    ring.clear()
    assert ring.after(0) == [] and len(ring) == 0


def test_steady_is_stricter_than_what_smears_a_hair() -> None:
    assert 0 < STEADY_PX < 4
