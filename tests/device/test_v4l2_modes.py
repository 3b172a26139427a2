"""Which mode is taken, and what is said where there is none."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import CameraModeError
from device.v4l2.modes import Offer, Rates, Wish, choose

VGA = Wish(640, 480, 30.0)


def _rates(*fps: float) -> Rates:
    return Rates(tuple(1 / Fraction(each).limit_denominator(1000) for each in fps))


def _offer(code: str, size: tuple[int, int] = (640, 480), *fps: float) -> Offer:
    return Offer(code, *size, _rates(*(fps or (30.0,))))


@pytest.mark.parametrize(
    ("offers", "wish", "best"),
    [
        # uncompressed where it comes fast enough, else compressed
        ([_offer("MJPG"), _offer("YUYV", (640, 480), 30, 15)], VGA, ("YUYV", 640, 480)),
        ([_offer("MJPG"), _offer("YUYV", (640, 480), 15, 5)], VGA, ("MJPG", 640, 480)),
        ([_offer("MJPG"), _offer("YUYV", (640, 480), 25)], VGA, ("YUYV", 640, 480)),
        ([_offer("MJPG"), _offer("YUYV", (640, 480), 24.9)], VGA, ("MJPG", 640, 480)),
        ([_offer("YUYV", (640, 480), 5)], VGA, ("YUYV", 640, 480)),
        ([_offer("JPEG"), _offer("YUYV", (640, 480), 5)], VGA, ("JPEG", 640, 480)),
        ([_offer("H264"), _offer("MJPG")], VGA, ("MJPG", 640, 480)),
        # a wish
        ([_offer("MJPG"), _offer("YUYV")], Wish(640, 480, 30.0, "MJPG"), ("MJPG", 640, 480)),
        ([_offer("MJPG"), _offer("YUYV", (640, 480), 5)], Wish(640, 480, 30.0, "YUYV"), ("YUYV", 640, 480)),
        # the nearest size
        ([_offer("MJPG", (1280, 720)), _offer("MJPG", (800, 600)), _offer("YUYV", (160, 120))], VGA, ("MJPG", 800, 600)),
        ([_offer("MJPG", (1280, 960)), _offer("MJPG", (320, 240))], VGA, ("MJPG", 320, 240)),
    ],
)
def test_the_best_mode(offers: list[Offer], wish: Wish, best: tuple[str, int, int]) -> None:
    found = choose("scope", offers, wish)
    assert (found[0].format, found[0].width, found[0].height) == best
    assert {(each.width, each.height) for each in found} == {best[1:]}


@pytest.mark.parametrize(
    ("offers", "wish", "told"),
    [
        ([], VGA, "no format at all"),
        ([_offer("H264"), _offer("BA81")], VGA, "BA81, H264; expected MJPG or YUYV"),
        ([_offer("MJPG", (320, 240))], Wish(640, 480, 30.0, exact=True), "no 640×480, but MJPG 320×240 up to 30/s"),
        ([_offer("MJPG")], Wish(640, 480, 30.0, "YUYV"), "no YUYV, but MJPG 640×480 up to 30/s"),
    ],
)
def test_no_mode_says_what_was_found_and_what_was_expected(offers: list[Offer], wish: Wish, told: str) -> None:
    with pytest.raises(CameraModeError) as error:
        choose("scope", offers, wish)
    assert told in str(error.value) and str(error.value).startswith("scope offers no")


def test_the_rate_is_the_slowest_that_is_fast_enough() -> None:
    rates = Rates((Fraction(333333, 10**7), Fraction(1, 15), Fraction(1, 60)))
    assert rates.interval_for(30) == Fraction(333333, 10**7)
    assert rates.interval_for(31) == Fraction(1, 60)
    assert rates.interval_for(0.1) == Fraction(1, 15)
    assert rates.interval_for(100) == Fraction(1, 60)
    assert Rates(()).interval_for(30) is None and Rates(()).fastest_fps == 0


@given(st.floats(0.1, 240))
def test_a_camera_with_any_rate_takes_it(fps: float) -> None:
    interval = Rates((Fraction(1, 240), Fraction(10)), any_between=True).interval_for(fps)
    assert interval is not None and float(1 / interval) == pytest.approx(fps, rel=0.01)


@given(st.lists(st.tuples(st.sampled_from(["MJPG", "YUYV", "H264"]), st.integers(16, 4000), st.integers(16, 4000)), max_size=8))
def test_some_mode_is_found_wherever_one_can_be_used(codes: list[tuple[str, int, int]]) -> None:
    offers = [_offer(code, (width, height)) for code, width, height in codes]
    if any(code != "H264" for code, _, _ in codes):
        assert choose("scope", offers, VGA)[0] in offers
    else:
        with pytest.raises(CameraModeError):
            choose("scope", offers, VGA)
