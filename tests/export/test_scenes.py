from collections import Counter

import numpy as np
import pytest

from device.simulated.scene import render_scene
from export.scenes import (
    HAIR,
    HEIGHT,
    LIGHT_COLOURS,
    LINE,
    OSTIUM,
    PLANES,
    WIDTH,
    bald_frames,
    belongs,
    choose_scenes,
    planes_of,
    recipe_of,
)

pytestmark = pytest.mark.export


def test_a_third_of_the_scenes_is_light_or_very_thin():
    choices = list(choose_scenes(300, 5))
    light = sum(recipe_of(c.seed, c.kind).head_colour in LIGHT_COLOURS or belongs(recipe_of(c.seed, c.kind), "thin") for c in choices)
    assert light >= 100
    groups = Counter(c.group for c in choices)
    assert groups["bald"] >= 5
    assert {c.kind for c in choices} == {"easy", "realistic", "hard"}


def test_more_scenes_begin_with_the_same_ones():
    assert list(choose_scenes(20, 5)) == list(choose_scenes(40, 5))[:20]
    assert list(choose_scenes(20, 5)) != list(choose_scenes(20, 6))


def test_the_recipe_of_a_seed_is_that_of_its_scene():
    choice = next(iter(choose_scenes(1, 9)))
    scene = render_scene(choice.seed, width=WIDTH, height=HEIGHT, kind=choice.kind)
    drawn = recipe_of(choice.seed, choice.kind)
    assert (drawn.head_colour, drawn.bald, drawn.diameter_um) == (scene.recipe.head_colour, scene.recipe.bald, scene.recipe.diameter_um)
    assert drawn.um_per_px == pytest.approx(scene.recipe.um_per_px)


def test_planes_show_lines_in_hair_and_openings_where_the_truth_has_them():
    choice = next(c for c in choose_scenes(50, 2) if c.group == "any" and c.kind == "easy")
    planes = planes_of(choice)
    assert planes.shape == (HEIGHT, WIDTH, PLANES)
    assert planes.dtype == np.uint8
    hair, line = planes[..., HAIR] > 0, planes[..., LINE] > 200
    assert line.any()
    assert np.mean(hair[line]) > 0.85
    assert line.sum() < hair.sum()
    truth = render_scene(choice.seed, width=WIDTH, height=HEIGHT, kind=choice.kind).truth
    for follicle in truth.follicles:
        x, y = round(follicle.x), round(follicle.y)
        if not follicle.covered_by_flake and 0 <= x < WIDTH and 0 <= y < HEIGHT:
            assert planes[y, x, OSTIUM] > 200


def test_bald_frames_show_skin_alone_and_differ():
    first, second = bald_frames(2, 3)
    assert first.image.shape == second.image.shape == (HEIGHT, WIDTH, 3)
    assert not first.mask.any()
    assert not second.mask.any()
    assert not any(hair.counted for frame in (first, second) for hair in frame.truth.hairs)
    assert not np.array_equal(first.image, second.image)
    assert {first.truth.kind, second.truth.kind} == {"realistic", "hard"}
