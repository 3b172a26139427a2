from dataclasses import replace

import numpy as np
import pytest

from calib.scale import NO_SCALE, given_scale
from runtime.analysis import diameters, figures, units
from runtime.analysis.hairs import HairPath


def hair(diameter_px=6.0, std=0.2, rooted=True):
    return HairPath(np.array([[50.0, 50.0], [400.0, 50.0]]), np.full(2, diameter_px), diameter_px, std, 350.0, rooted, 1.0)


def thickness(paths, scale=None, count_std=0.0, sizes=(1,)):
    counted = figures.counted_hairs(paths, 640, 480, count_std)
    assert counted.rule == "rooted"
    return diameters.cumulative_thickness(paths, counted, 0.2, scale or given_scale(10.0), sizes)


def test_a_hair_known_to_be_thin_is_vellus_and_one_that_may_be_thick_is_not_told():
    got = diameters.terminal_vellus([35.0, None, None, None], [None, 25.0, 38.0, None])
    assert (got.profile, got.cutoff_um, got.terminal, got.vellus, got.undetermined) == ("trichoscopy", 30.0, 1, 1, 2)
    got = diameters.terminal_vellus([35.0, None, None, None], [None, 25.0, 38.0, None], "trichoscan")
    assert (got.profile, got.cutoff_um, got.terminal, got.vellus, got.undetermined) == ("trichoscan", 40.0, 0, 3, 1)
    assert diameters.terminal_vellus([30.0]).vellus == 1, "terminal is thicker than the cut-off"


def test_diversity_is_of_the_widths_alone_and_its_share_needs_a_scale():
    got = diameters.diameter_diversity([4.0, 6.0, None], None)
    assert got.cv == pytest.approx(np.sqrt(2) / 5)
    assert got.below_cutoff_share is None
    kinds = diameters.terminal_vellus([25.0, 60.0, 70.0, None])
    assert diameters.diameter_diversity([2.5, 6.0, 7.0, None], kinds).below_cutoff_share == pytest.approx(1 / 3)
    for few in ([], [5.0], [None]):
        assert diameters.diameter_diversity(few, diameters.terminal_vellus([])).model_dump() == {"cv": None, "below_cutoff_share": None}


def test_thickness_is_the_diameters_summed_over_the_area():
    got = thickness([hair(6.0), hair(8.0), hair(10.0, rooted=False)])
    assert got.value == pytest.approx(0.140 / 0.2)  # mm of the two that are rooted, over 0.2 cm²
    assert thickness([hair(6.0), hair(8.0), hair(float("nan"))]).value == pytest.approx(0.210 / 0.2), "the unknown one as the mean"
    assert got.std_site > got.std_frame == pytest.approx(0.002 * np.sqrt(2) / 0.2)


def test_thickness_is_as_uncertain_as_its_parts():
    sharp = [hair(std=0.0)] * 4
    alone = thickness(sharp)
    assert alone.std_frame == 0
    assert thickness(sharp, given_scale(10.0, 0.5)).std_frame == pytest.approx(0.05 * alone.value), "it goes with 1 / scale"
    assert thickness(sharp, count_std=1.0).std_frame == pytest.approx(alone.value / 4)
    assert thickness(sharp, sizes=(4,)).std_site > thickness(sharp, sizes=(1, 1, 1, 1)).std_site


def test_thickness_that_cannot_be_had_is_null_and_of_no_hair_zero():
    assert thickness([hair(float("nan"))]) is None
    assert thickness([hair()], NO_SCALE) is None
    bald = thickness([hair(rooted=False)])
    assert (bald.value, bald.std_frame, bald.std_site) == (0.0, None, None)
    assert thickness([]).value == 0.0


def test_units_of_one_hair():
    assert units.single_hair_unit_share([1, 2, 1, 3]) == 0.5
    assert units.single_hair_unit_share([]) is None
    assert units.single_hair_unit_share([0, 0]) is None


def test_distances_of_a_regular_lattice():
    x, y = np.meshgrid(np.arange(50.0, 640, 100), np.arange(50.0, 480, 100))
    found = units.interfollicular_distance(units.nearest_distances(np.stack([x.ravel(), y.ravel()], 1), 640, 480))
    assert (found.mean, found.median, found.sd) == pytest.approx((100, 100, 0), abs=1e-9)
    assert found.n == 4 * 3, "those along the border might have a nearer one outside"
    um = units.scaled(found, 8.0)
    assert (um.n, um.mean, um.p25) == (found.n, pytest.approx(800), pytest.approx(800))


@pytest.mark.parametrize("places", [[], [(50.0, 50.0)], [(3.0, 3.0), (600.0, 400.0)]])
def test_without_neighbours_in_view_there_is_no_distance(places):
    distances = units.nearest_distances(np.array(places).reshape(-1, 2), 640, 480)
    found = units.interfollicular_distance(distances)
    assert (found.n, found.mean, found.sd) == (0, None, None)
    assert units.scaled(found, 8.0).median is None
    assert units.distance_interval(distances) is None


def test_the_area_goes_through_the_scale_field():
    assert figures.area_cm2(1000, 500, 10.0) == pytest.approx(0.5)
    field = np.array([[9.0, 11.0], [9.0, 11.0]])
    assert figures.area_cm2(1000, 500, field) == pytest.approx(0.5 * (81 + 121) / 200)


def test_the_hairs_that_count_share_the_frames_error():
    paths = [hair(), hair(rooted=False), replace(hair(), rooted=False), hair()]
    counted = figures.counted_hairs(paths, 640, 480, 2.0)
    assert (counted.which, counted.count, counted.std) == ((True, False, False, True), 2, 1.0)
    assert figures.counted_hairs([], 640, 480, 0.5).std == 0.5
