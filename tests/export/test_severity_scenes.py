import itertools
from dataclasses import asdict

import numpy as np
import pytest

from device.simulated.recipe import draw_recipe
from device.simulated.scene import render_scene
from export.severity_scenes import (
    DEFINITIONS,
    HEIGHT,
    HOOD_UM_PER_PX,
    TEST_SEEDS,
    WIDTH,
    draw_persons,
    person_fields,
    recipe_of,
    seen_per_cm2,
)

pytestmark = pytest.mark.export


def test_more_persons_begin_with_the_same_ones_and_those_of_a_test_are_others():
    persons = list(draw_persons(40, 5))
    assert list(draw_persons(20, 5)) == persons[:20]
    assert list(draw_persons(20, 6)) != persons[:20]
    assert [person.severity for person in persons[:8]] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert all(person.seed < TEST_SEEDS for person in persons)
    assert all(person.seed >= TEST_SEEDS for person in draw_persons(20, 5, test=True))
    assert {person.kind for person in persons} == {"easy", "realistic", "hard"}


def test_figures_lie_in_the_ranges_of_the_grade_and_the_rest_is_as_drawn():
    for person in draw_persons(40, 5):
        recipe, meant = recipe_of(person), DEFINITIONS[person.severity]
        drawn = draw_recipe(np.random.default_rng([person.seed, 0]), person.kind)
        assert recipe == recipe_of(person)
        for value, (low, high) in (
            (recipe.units_per_cm2, meant.units_per_cm2),
            (recipe.empty_share, meant.empty_share),
            (recipe.vellus_share, meant.vellus_share),
            (recipe.diameter_um / drawn.diameter_um, meant.diameter_share),
            (recipe.diameter_spread, meant.diameter_spread),
        ):
            assert low <= value <= high
        assert not recipe.bald or person.severity == 3
        if person.hooded:
            assert HOOD_UM_PER_PX[0] <= recipe.um_per_px <= HOOD_UM_PER_PX[1]
        else:
            assert recipe.um_per_px == drawn.um_per_px
        changed = {key for key, value in asdict(recipe).items() if value != asdict(drawn)[key]}
        assert changed <= {
            *("bald", "units_per_cm2", "empty_share", "vellus_share", "diameter_um", "diameter_spread"),
            *("um_per_px", "field_um", "blur_px_per_um"),
        }


def test_grades_part_in_hair_seen_and_overlap_in_miniaturisation():
    for milder, worse in itertools.pairwise(DEFINITIONS):
        assert milder.seen_per_cm2[0] > worse.seen_per_cm2[1]
        assert milder.vellus_share[1] > worse.vellus_share[0]
        assert milder.diameter_share[0] < worse.diameter_share[1]


def test_fields_lie_in_their_band_and_are_the_same_for_the_same_person():
    easy = [person for person in draw_persons(80, 5) if person.kind == "easy" and person.hooded]
    for grade in (0, 3):
        person = next(person for person in easy if person.severity == grade)
        low, high = DEFINITIONS[grade].seen_per_cm2
        ((image, truth),), ((other, _),) = (list(person_fields(person, 1)) for _ in range(2))
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert image.dtype == np.uint8
        assert low <= seen_per_cm2(truth) <= high
        assert np.array_equal(image, other)


def test_a_recipe_that_is_given_is_taken_and_none_changes_nothing():
    plain = render_scene(7, width=96, height=96, kind="realistic")
    drawn = draw_recipe(np.random.default_rng([7, 0]), "realistic")
    given = render_scene(7, width=96, height=96, kind="easy", recipe=drawn)
    assert np.array_equal(plain.picture, given.picture)
    assert given.truth.kind == "realistic"
    person = next(iter(draw_persons(1, 5)))
    assert not np.array_equal(render_scene(7, width=96, height=96, recipe=recipe_of(person)).picture, plain.picture)
