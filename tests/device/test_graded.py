import itertools

import numpy as np
import pytest

from device.simulated.graded import COVERAGE, DRY, REDNESS, SHINE, SOAKED, graded_frame, graded_recipe, render_graded
from device.simulated.recipe import draw_recipe
from device.simulated.scene import render_scene

SIZE = {"width": 160, "height": 120}


def test_the_same_seed_and_grades_give_the_same_picture():
    one, other = (graded_frame(5, (1, 2, 3), **SIZE) for _ in range(2))
    assert np.array_equal(one, other)
    assert one.shape == (120, 160, 3)
    assert not np.array_equal(one, graded_frame(6, (1, 2, 3), **SIZE))


@pytest.mark.parametrize("seed", range(4))
def test_flakes_cover_about_the_share_that_the_grade_stands_for(seed):
    shares = [float(render_graded(seed, (grade, 0, 1), **SIZE).flakes.mean()) for grade in range(4)]
    assert shares == sorted(shares)
    for share, (low, high) in zip(shares, COVERAGE, strict=True):
        assert 0.8 * low <= share <= 1.25 * high + 0.004


def test_shine_lightens_skin_and_grows_with_the_grade():
    for seed in range(3):
        amounts = [float(render_graded(seed, (0, grade, 0), **SIZE).shine.mean()) for grade in range(4)]
        assert amounts == sorted(amounts)
        assert amounts[0] == 0 < amounts[1]
        assert amounts[3] > 4 * amounts[1]


def test_painted_shine_is_what_the_grade_stands_for_and_spares_hair():
    seed, grades = 3, (0, 2, 0)
    scene = render_graded(seed, grades, **SIZE)
    bare = render_scene(seed, **SIZE, kind="realistic", recipe=graded_recipe(seed, grades, "realistic"))
    skin = bare.field & ~bare.mask
    assert SHINE[2][0] * 0.6 < float(scene.shine[skin].mean()) < SHINE[2][1] * 1.4
    assert scene.shine[bare.mask].mean() < 0.3 * scene.shine[skin].mean(), "the lens's softness alone spills over"


def test_a_film_all_over_is_severe():
    soaked = next(seed for seed in range(40) if graded_recipe(seed, (0, 3, 0), "realistic").grades[1] == 3)
    scene = render_graded(soaked, (0, 3, 0), **SIZE)
    assert scene.recipe.wetness >= SOAKED[0]
    assert scene.shine.mean() > SHINE[1][1]


def test_amounts_lie_in_the_bands_of_their_grades():
    for seed in range(60):
        grades = (seed % 4, seed // 4 % 4, seed // 16 % 4)
        recipe = graded_recipe(seed, grades, "hard")
        assert REDNESS[grades[2]][0] <= recipe.redness <= REDNESS[grades[2]][1]
        low, high = SOAKED if recipe.grades[1] == 3 else DRY
        assert low <= recipe.wetness <= high
        assert recipe.grades[1] in (0, grades[1])
    for bands in (COVERAGE, REDNESS, SHINE):
        assert all(a[1] < b[0] for a, b in itertools.pairwise(bands))


def test_what_is_no_grade_is_refused():
    for wrong in ((0, 0, 4), (-1, 0, 0), (0, 0)):
        with pytest.raises(ValueError, match="no grades"):
            render_graded(1, wrong, **SIZE)


def test_no_seed_of_the_plain_renderer_changed():
    given = render_scene(3, **SIZE, kind="hard")
    again = render_scene(3, **SIZE, kind="easy", recipe=draw_recipe(np.random.default_rng([3, 0]), "hard"))
    assert np.array_equal(given.picture, again.picture)
