import itertools

import numpy as np
import pytest

from device.simulated.graded import COVERAGE, REDNESS, WETNESS, graded_frame, graded_recipe, render_graded
from device.simulated.recipe import draw_recipe
from device.simulated.scene import render_scene

SIZE = {"width": 160, "height": 120}


def test_the_same_seed_and_grades_give_the_same_picture():
    one, other = (graded_frame(5, (1, 2, 3), **SIZE) for _ in range(2))
    assert np.array_equal(one, other)
    assert one.shape == (120, 160, 3)
    assert not np.array_equal(one, graded_frame(6, (1, 2, 3), **SIZE))


@pytest.mark.parametrize("seed", range(4))
def test_flakes_cover_the_share_that_the_grade_stands_for(seed):
    """What the flakes of a grade change, against the scene without them; translucent ones change little, layers overlap."""
    shares = []
    for grade in range(4):
        scene = render_graded(seed, (grade, 0, 1), **SIZE)
        bare = render_scene(seed, **SIZE, kind="realistic", recipe=graded_recipe(seed, (grade, 0, 1), "realistic"))
        shares.append(float(np.mean(np.abs(scene.picture - bare.picture).max(2) > 0.02)))
    assert shares[0] < 3 * COVERAGE[0][1] + 0.003
    assert shares == sorted(shares)
    assert shares[3] > 2.5 * shares[1]


def test_shine_lightens_skin_only_and_grows_with_the_grade():
    seeds = [seed for seed in range(40) if graded_recipe(seed, (0, 3, 0), "realistic").grades[1] == 0][:3]
    for seed in seeds:
        amounts = []
        for grade in range(4):
            scene = render_graded(seed, (0, grade, 0), **SIZE)
            bare = render_scene(seed, **SIZE, kind="realistic", recipe=graded_recipe(seed, (0, grade, 0), "realistic"))
            amounts.append(float((scene.picture - bare.picture).clip(0).mean()))
        assert amounts == sorted(amounts)
        assert amounts[3] > 3 * amounts[1] > 0


def test_amounts_lie_in_the_bands_of_their_grades():
    for seed in range(60):
        grades = (seed % 4, seed // 4 % 4, seed // 16 % 4)
        recipe = graded_recipe(seed, grades, "hard")
        assert REDNESS[grades[2]][0] <= recipe.redness <= REDNESS[grades[2]][1]
        low, high = WETNESS[recipe.grades[1]]
        assert recipe.grades[1] in (0, grades[1])
        assert low <= recipe.wetness <= high
    for bands in (COVERAGE, REDNESS, WETNESS):
        assert all(a[1] < b[0] for a, b in itertools.pairwise(bands))


def test_what_is_no_grade_is_refused():
    for wrong in ((0, 0, 4), (-1, 0, 0), (0, 0)):
        with pytest.raises(ValueError, match="no grades"):
            render_graded(1, wrong, **SIZE)


def test_no_seed_of_the_plain_renderer_changed():
    given = render_scene(3, **SIZE, kind="hard")
    again = render_scene(3, **SIZE, kind="easy", recipe=draw_recipe(np.random.default_rng([3, 0]), "hard"))
    assert np.array_equal(given.picture, again.picture)
