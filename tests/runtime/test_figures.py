from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.scale import NO_SCALE, given_scale
from runtime.analysis import diameters, figures
from runtime.analysis.hairs import HairPath, Ostium
from runtime.analysis.sampling import UNIT_EVENNESS


def hair(*points: tuple[float, float], rooted: bool = False, length: float | None = None) -> HairPath:
    course = np.array(points, float)
    measured = float(np.hypot(*np.diff(course, axis=0).T).sum()) if length is None else length
    return HairPath(course, np.full(len(course), 6.0), 6.0, 0.2, measured, rooted, 1.0)


def test_the_counting_frame_counts_left_and_top_and_leaves_out_right_and_bottom() -> None:
    inside = hair((40, 40), (60, 60))
    left, top = hair((0, 40), (60, 60)), hair((50, 0), (60, 60))
    right, bottom = hair((99, 40), (60, 60)), hair((50, 79), (60, 60))
    left_and_right = hair((0, 40), (99, 60))
    assert figures.counting_frame_count([inside, left, top], 100, 80) == 3
    assert figures.counting_frame_count([right, bottom], 100, 80) == 0
    assert figures.counting_frame_count([left_and_right], 100, 80) == 1  # whatever else it meets


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(5, 94), st.floats(5, 40), st.booleans()), min_size=1, max_size=30))
def test_tiles_of_a_scalp_count_each_short_hair_once(hairs: list[tuple[int, float, float, bool]]) -> None:
    # tiles of 100 px side by side; a hair lies inside one or reaches from one well into the next
    spans = [(100 * k + x, 100 * (k + 1) + reach if over else 100 * k + x + (94 - x) / 2) for k, x, reach, over in hairs]
    total = 0
    for low in range(0, 700, 100):
        seen = [(max(a, low) - low, min(b, low + 99) - low) for a, b in spans if b >= low and a <= low + 99]
        total += figures.counting_frame_count([hair((a, 50.0), (b, 60.0)) for a, b in seen], 100, 120)
    assert total == len(hairs)


def test_distribution_of_nothing_is_null_and_of_some_is_right() -> None:
    empty = diameters.distribution([float("nan")])
    assert empty.n == 0 and empty.mean is None and empty.sd is None
    some = diameters.distribution([60.0, 80.0, math.inf, 70.0])
    assert (some.n, some.mean, some.median) == (3, 70.0, 70.0)
    assert some.sd == pytest.approx(10.0)
    assert diameters.distribution([50.0]).sd is None


def test_terminal_and_vellus_and_those_unknown() -> None:
    got = diameters.terminal_vellus([20.0, 29.9, 31.0, 80.0, None, float("nan")])
    assert (got.terminal, got.vellus, got.undetermined, got.cutoff_um) == (2, 2, 2, 30.0)
    assert diameters.terminal_vellus([35.0], profile="trichoscan").vellus == 1


def test_density_says_what_is_uncertain() -> None:
    got = figures.density(20, 2.0, 0.1, 0.05, "rooted", [1, 2, 2, 3])
    assert got.value == pytest.approx(200)
    assert got.std_frame == pytest.approx(np.hypot(20, 2 * 0.05 * 200))
    assert got.std_site is not None and got.std_site > got.std_frame
    single = figures.density(20, 2.0, 0.1, 0.05, "rooted")
    assert single.std_site == pytest.approx(np.hypot(got.std_frame or 0, np.sqrt(20 * UNIT_EVENNESS) / 0.1))
    assert got.std_site > single.std_site  # hairs come in units
    bald = figures.density(0, 0.5, 0.1, 0.0, "rooted", [])
    assert bald.value == 0 and bald.std_site is not None and bald.std_site > 0


@pytest.mark.parametrize("area", [0.0, -1.0, float("nan")])
def test_density_without_area_is_refused(area: float) -> None:
    with pytest.raises(ValueError, match="area_cm2"):
        figures.density(1, 1.0, area, 0.0, "rooted")


def test_the_rule_follows_the_hair() -> None:
    short = [hair((50, 50), (80, 80)) for _ in range(4)]
    long = [hair((0, 50), (300, 80), rooted=k % 2 == 0) for k in range(4)]
    assert figures.counting_rule(short, 240) == "counting-frame"
    assert figures.counting_rule(long, 240) == "rooted"
    assert figures.counting_rule([], 240) == "rooted"
    scale = given_scale(10.0, 0.1)
    area = figures.area_cm2(320, 240, 10.0)
    assert area == pytest.approx(0.0768)
    assert figures.hair_density(figures.counted_hairs(long, 320, 240, 1.0), area, scale, [2]).value == pytest.approx(2 / area)
    assert figures.hair_density(figures.counted_hairs([], 320, 240, 0.5), area, scale, []).value == 0


def test_count_errors_grow_with_doubt() -> None:
    sure = [hair((0, 0), (50, 50)) for _ in range(10)]
    doubtful = [replace(path, confidence=0.6) for path in sure]
    assert figures.hair_count_std([]) > 0
    assert figures.hair_count_std(doubtful) == pytest.approx(np.sqrt((1.1 * 4.0) ** 2 + 0.46**2 * len(doubtful) + 0.25))
    assert figures.hair_count_std(doubtful) > figures.hair_count_std(sure) > figures.hair_count_std(sure[:2])
    assert figures.hair_count_std(doubtful) > figures.hair_count_std(doubtful[:2])
    ostia = [Ostium(1.0, 1.0, (0,))]
    assert figures.follicle_count_std(ostia, doubtful) == pytest.approx(np.sqrt(0.2 + 0.05 * len(doubtful) + 0.25))
    assert figures.follicle_count_std([Ostium(1.0, 1.0, ())], []) == figures.follicle_count_std([], []) > 0
    assert figures.relative_std(NO_SCALE) == 0.0
