"""`std_site` held against many fields of one scalp: grown by the simulated microscope's own law of growth, not painted."""

from dataclasses import replace

import numpy as np
import pytest

from calib.scale import given_scale
from device.simulated.hair import grow
from device.simulated.lens import Lens
from device.simulated.recipe import draw_recipe
from runtime.analysis import figures, units
from runtime.analysis.sampling import rate_interval

WIDTH, HEIGHT, UM_PER_PX = 640, 480, 7.0
AREA_CM2 = figures.area_cm2(WIDTH, HEIGHT, UM_PER_PX)
SCALE = given_scale(UM_PER_PX)
FIELDS = 240
SCALPS = {"long": {"units_per_cm2": 60.0, "clipped_um": None}, "clipped": {"units_per_cm2": 85.0, "clipped_um": 700.0}}


@pytest.fixture(scope="module", params=SCALPS)
def fields(request):
    """Of each field of one scalp: hairs per unit, and the units' places in µm from the picture's corner."""
    drawn = draw_recipe(np.random.default_rng(3), "realistic")
    scalp = replace(drawn, um_per_px=UM_PER_PX, field_um=WIDTH * UM_PER_PX, empty_share=0.05, bald=False, **SCALPS[request.param])
    lens = Lens(WIDTH, HEIGHT, 1000 * scalp.distance_mm / UM_PER_PX, scalp.distance_mm)
    size = np.array([WIDTH, HEIGHT]) * UM_PER_PX
    fields = []
    for seed in range(FIELDS):
        grown, _ = grow(scalp, lens, np.random.default_rng(seed))
        with_hair = [u for u in grown if u.hairs]
        places = np.array([(u.x_um, u.y_um) for u in with_hair]) + size / 2
        inside = ((places >= 0) & (places < size)).all(1)
        fields.append(([u.hairs for u, seen in zip(with_hair, inside, strict=True) if seen], places[inside]))
    return fields


def densities_of(fields):
    found = [figures.density(sum(sizes), 0.0, AREA_CM2, 0.0, "rooted", sizes) for sizes, _ in fields]
    return np.array([d.value for d in found]), np.array([d.std_site for d in found])


def test_the_stated_spread_of_hair_density_is_that_of_the_fields(fields):
    values, stated = densities_of(fields)
    spread = values.std(ddof=1)
    assert np.sqrt((stated**2).mean()) == pytest.approx(spread, rel=0.15)
    inside = np.abs(values - values.mean()) <= stated
    assert 0.60 <= inside.mean() <= 0.76
    plain = np.sqrt(values.mean() / AREA_CM2)
    assert plain < 0.95 * spread, "hairs come in units: Poisson's spread of single hairs is too narrow"
    sizes = np.concatenate([s for s, _ in fields])
    poisson_units = plain * np.sqrt((sizes**2).mean() / sizes.mean())
    assert poisson_units > 1.15 * spread, "units keep apart: Poisson's spread of units is too wide"


def test_the_stated_spread_of_follicle_density_is_that_of_the_fields(fields):
    found = [figures.follicle_density(len(sizes), 0.0, AREA_CM2, SCALE) for sizes, _ in fields]
    values = np.array([d.value for d in found])
    stated = np.sqrt(np.mean([d.std_site**2 for d in found]))
    assert stated == pytest.approx(values.std(ddof=1), rel=0.2)


def test_intervals_of_four_fields_together_hold_the_scalps_density(fields):
    values, _ = densities_of(fields)
    held, wide = [], []
    for first in range(0, FIELDS, 4):
        sizes = [m for four, _ in fields[first : first + 4] for m in four]
        pooled = figures.density(sum(sizes), 0.0, 4 * AREA_CM2, 0.0, "rooted", sizes)
        low, high = rate_interval(pooled.value, pooled.std_site, 2 / (4 * AREA_CM2))
        held.append(low <= values.mean() <= high)
        wide.append(high - low)
    assert np.mean(held) >= 0.9
    assert np.mean(wide) < 1.3 * 2 * 1.96 * values.std(ddof=1) / 2, "no wider than it must be"


def test_distances_between_units_are_not_biased_by_the_border(fields):
    size = (WIDTH * UM_PER_PX, HEIGHT * UM_PER_PX)
    seen = units.interfollicular_distance(units.joined([units.nearest_distances(places, *size) for _, places in fields]))
    # the same units, looked at in the middle of the field only, with the neighbours that lie around it
    true = []
    for _, places in fields:
        middle = ((places > 0.28 * size[1]) & (places < np.array(size) - 0.28 * size[1])).all(1)
        true += _nearest(places)[middle].tolist()
    assert len(true) > 200
    assert seen.mean == pytest.approx(np.mean(true), rel=0.05)
    nearest = np.concatenate([_nearest(places) for _, places in fields if len(places) > 1])
    assert nearest.mean() > seen.mean * 1.03, "without care for the border, distances come out too long"


def _nearest(places):
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + np.where(np.eye(len(places)), np.inf, 0)
    return apart.min(1)
