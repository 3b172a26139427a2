from pathlib import Path

import numpy as np
import pytest

import runtime.kiosk
from runtime.analysis.hairs import HairPath
from runtime.analysis.measurement import Quality
from runtime.analysis.tangles import COVERAGE, REASON, TURN, turn, with_tangles

SIDE = 640


def arc(radius: float, length: float, noise: float = 0.0) -> HairPath:
    """A hair that bends evenly, a point every 4 px."""
    along = np.arange(0, length, 4.0) / radius
    points = np.stack([radius * np.cos(along), radius * np.sin(along)], axis=1)
    points += np.random.default_rng(1).normal(0, noise, points.shape)
    return HairPath(points, np.full(len(points), 8.0), 8.0, 0.1, length, False, 0.9)


def quality(coverage: float) -> Quality:
    return Quality(ok=True, reasons=[], sharpness=0.5, exposure=0.5, hair_coverage=coverage)


@pytest.mark.parametrize("radius", [80.0, 200.0, 2000.0])
def test_an_arc_turns_by_its_length_over_its_radius(radius: float) -> None:
    assert turn([arc(radius, 300)], SIDE) == pytest.approx(SIDE / radius, rel=0.06)
    assert turn([arc(radius, 300), arc(radius, 200)], SIDE) == pytest.approx(SIDE / radius, rel=0.06)


def test_noise_of_a_straight_hair_is_no_curl() -> None:
    assert turn([arc(1e6, 400, noise=0.2)], SIDE) < TURN / 1.5


def test_short_pieces_and_none_at_all_tell_nothing() -> None:
    assert turn([], SIDE) == turn([arc(50, 20)], SIDE) == 0


def test_dense_coils_are_said_to_be_uncountable_and_nothing_else() -> None:
    coils = [arc(100, 300)] * 5
    found = with_tangles(quality(COVERAGE + 0.1), coils, SIDE)
    assert (found.ok, found.reasons) == (False, [REASON])
    assert with_tangles(quality(COVERAGE - 0.1), coils, SIDE).ok
    assert with_tangles(quality(COVERAGE + 0.1), [arc(400, 300)] * 5, SIDE).ok
    assert with_tangles(found.model_copy(update={"reasons": ["blurred"]}), coils, SIDE).reasons == ["blurred", REASON]


def test_the_page_has_words_for_it() -> None:
    assert f"'{REASON}':" in (Path(runtime.kiosk.__file__).parent / "texts.js").read_text(encoding="utf-8")
