"""What belongs to the mask and what does not: shadows, roots, blur, flakes, the hood, and hair that nobody can see."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.simulated import scene as scenes
from device.simulated.flakes import paint_flakes
from device.simulated.hair import Shaft
from device.simulated.hood import Hood, draw_hood, paint_hood
from device.simulated.lens import Lens, lens_for, motion
from device.simulated.openings import paint_halo, paint_root
from device.simulated.recipe import Recipe, draw_recipe
from device.simulated.scene import Scene, render_frame, render_scene
from device.simulated.sensor import expose
from device.simulated.shading import SeenShaft, paint_shaft, see
from device.simulated.truth import FREE, UNSEEN

SIDE = 160


def _recipe(**changes: object) -> Recipe:
    plain = replace(
        draw_recipe(np.random.default_rng(1), "easy"), um_per_px=8.0, wetness=0.0, shadow=0.5, roots=1.5, light_azimuth=math.pi / 2
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def _lens() -> Lens:
    return lens_for(SIDE, SIDE, 8.0, 18.0)


def _shaft(d_um: float, height_um: float = 0.0, start_px: float = -100, end_px: float = 100, slant: float = 0.0) -> Shaft:
    """A straight black shaft from left to right through the middle, `height_um` above the skin."""
    x = np.linspace(start_px, end_px, 80) * 8.0
    points = np.stack([x, np.zeros(80), np.full(80, height_um)], 1)
    return Shaft(0, "black", (0.08, 0.08, 0.08), 1.0, False, "cut", d_um, points, np.full(80, d_um), 5, slant)


def _seen(shaft: Shaft, recipe: Recipe) -> SeenShaft:
    seen = see(shaft, _lens(), recipe)
    assert seen is not None
    return seen


def _painted(shaft: Shaft, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    picture, owner = np.full((SIDE, SIDE, 3), 0.8, np.float32), np.full((SIDE, SIDE), -1, np.int32)
    paint_shaft(picture, owner, owner.copy(), 0, _seen(shaft, recipe), recipe)
    return picture[..., 1], owner == 0


def _scene_of(monkeypatch: pytest.MonkeyPatch, shafts: list[Shaft], **changes: object) -> Scene:
    """A scene of exactly these shafts on plain skin of 0.6."""
    recipe = _recipe(bald=False, hood=None, **changes)
    monkeypatch.setattr(scenes, "draw_recipe", lambda rng, kind: recipe)
    monkeypatch.setattr(scenes, "grow", lambda recipe, lens, rng: ([], shafts))
    monkeypatch.setattr(scenes, "paint_skin", lambda recipe, shape, rng: np.full((*shape, 3), 0.6, np.float32))
    return render_scene(1, width=SIDE, height=SIDE, um_per_px=8.0)


@settings(max_examples=15, deadline=None)
@given(st.floats(24, 160), st.floats(300, 900))
def test_blur_takes_nothing_from_the_mask(d_um: float, height_um: float) -> None:
    """Practice truth holds hairs out of focus with their whole width, also those thinner than their blur."""
    sharp_grey, sharp = _painted(_shaft(d_um, height_um), _recipe(blur_px_per_um=0.0))
    soft_grey, soft = _painted(_shaft(d_um, height_um), _recipe(blur_px_per_um=0.01))
    assert np.array_equal(sharp, soft)
    assert soft_grey.min() > sharp_grey.min() - 1e-6
    assert (soft_grey < 0.79).sum() > (sharp_grey < 0.79).sum()


def test_a_shadow_darkens_skin_but_is_no_hair(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = _scene_of(monkeypatch, [_shaft(80, 500)], shadow_reach=0.6, shadow_soft=0.05, grades=(0, 0, 0), blur_px_per_um=0.0)
    # lamps from below: the shadow falls 0.6 · 500 µm = 37 px above the hair
    dark = scene.picture[..., 1].mean(1)
    assert dark[36:48].min() < 0.5
    assert not scene.mask[:60].any() and scene.mask[75:85].all(1).any()
    assert scene.mask.sum() == pytest.approx(SIDE * 80 / 8 * 1.03, rel=0.06)


def test_what_lies_under_the_skin_is_no_hair(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = _scene_of(monkeypatch, [_shaft(80, 0, start_px=0)], shadow=0.0, grades=(0, 0, 0))
    root = scene.picture[74:86, 50:76, 1]
    assert root.mean() < 0.56
    assert not scene.mask[:, :78].any() and scene.mask[78:82, 90:].all()


def test_roots_and_halos_touch_the_skin_behind_the_opening_only() -> None:
    recipe = _recipe()
    seen = _seen(_shaft(80, 0, start_px=0), recipe)
    for paint in (paint_root, paint_halo):
        skin = np.full((SIDE, SIDE, 3), 0.6, np.float32)
        paint(skin, seen, recipe)
        assert skin[70:90, 40:78].min() < 0.55
        assert np.abs(skin[:, 110:] - 0.6).max() < 0.01


def test_high_hair_shades_hair_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    low = replace(_shaft(120, 0), bgr=(0.8, 0.8, 0.8), colour="white")
    high = _shaft(120, 600)
    high = replace(high, points_um=high.points_um[:, [1, 0, 2]])
    plain = {"shadow": 0.6, "shadow_reach": 0.6, "shadow_soft": 0.02, "grades": (0, 0, 0), "light_azimuth": 0.0, "blur_px_per_um": 0.0}
    alone, both = (_scene_of(monkeypatch, shafts, **plain).picture[79, :, 1] for shafts in ([low], [low, high]))
    assert both[25:50].min() < 0.85 * alone[25:50].min()


def test_only_an_opaque_flake_takes_hair_from_the_mask() -> None:
    """Where the flake is drawn over black, its brightness is its opacity: hidden exactly where that is half or more, but for the grain."""
    for seed in range(12):
        picture = np.zeros((240, 320, 3), np.float32)
        hidden = paint_flakes(picture, _recipe(grades=(3, 0, 0), um_per_px=6.0), np.random.default_rng(seed))
        white = picture.max(2)
        if hidden.any():
            assert np.percentile(white[hidden], 20) > 0.4
        assert (white[~hidden] > 0.75).mean() < 0.01
    assert not paint_flakes(np.zeros((64, 64, 3), np.float32), _recipe(grades=(0, 0, 0)), np.random.default_rng(0)).any()


def test_flakes_of_both_sorts_come() -> None:
    hidden, veiled = 0, 0
    for seed in range(12):
        picture = np.zeros((240, 320, 3), np.float32)
        covered = paint_flakes(picture, _recipe(grades=(3, 0, 0), um_per_px=6.0), np.random.default_rng(seed))
        hidden += int(covered.sum())
        veiled += int(((picture.max(2) > 0.05) & ~covered).sum())
    assert hidden > 2000 and veiled > 2000


def test_hair_like_the_skin_is_not_in_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    calm = {"shadow": 0.0, "gloss": 0.0, "grades": (0, 0, 0), "scales": 0.0}
    ghost = replace(_shaft(80, 0), opacity=0.03)
    scene = _scene_of(monkeypatch, [ghost], **calm)
    assert not scene.mask.any() and np.all(scene.truth.hairs[0].points[:, 4] == UNSEEN)
    assert not scene.truth.hairs[0].counted
    told = scene.truth.to_json("a", "b")["hairs"][0]
    assert {point[4] for point in told["points"]} == {FREE}
    seen = _scene_of(monkeypatch, [_shaft(80, 0)], **calm)
    assert seen.mask.any() and seen.truth.hairs[0].counted


def test_a_hair_shows_through_one_that_nobody_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    calm = {"shadow": 0.0, "gloss": 0.0, "grades": (0, 0, 0), "scales": 0.0}
    low = _shaft(80, 0)
    ghost = replace(_shaft(120, 40), opacity=0.02)
    alone, crossed = (_scene_of(monkeypatch, shafts, **calm).mask for shafts in ([low], [low, ghost]))
    assert np.array_equal(alone, crossed)


def test_gloss_makes_no_contrast_but_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hair whose body is as bright as the skin does not count, however it shines: as in the practice truth. It is hair all the same."""
    even = replace(_shaft(80, 0), bgr=(0.7, 0.7, 0.7), colour="grey")
    shown, dull = (
        _scene_of(monkeypatch, [even], shadow=0.0, gloss=gloss, grades=(0, 0, 0), scales=0.0, wetness=wet)
        for gloss, wet in ((2.0, 0.5), (0.0, 0.0))
    )
    hair = shown.truth.hairs[0]
    assert hair.contrast == pytest.approx(dull.truth.hairs[0].contrast, abs=0.6)
    assert shown.mask.any() and hair.contrast < 8 and not hair.counted
    assert np.array_equal(shown.faint, shown.mask)
    dark = _scene_of(monkeypatch, [_shaft(80, 0)], shadow=0.0, gloss=1.0, grades=(0, 0, 0))
    assert dark.mask.any() and not dark.faint.any() and dark.truth.hairs[0].counted


def test_an_oblique_cut_is_longer_on_one_side() -> None:
    _, straight = _painted(_shaft(120, 0, end_px=0), _recipe())
    _, oblique = _painted(_shaft(120, 0, end_px=0, slant=1.0), _recipe())
    ends = [np.max(np.nonzero(row)[0]) for row in oblique[74:86]]
    assert abs(ends[-1] - ends[0]) == pytest.approx(11, abs=2)
    assert oblique.sum() == pytest.approx(straight.sum(), rel=0.03)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(64, 240), st.integers(64, 240)))
def test_behind_the_hood_there_is_nothing(seed: int, shape: tuple[int, int]) -> None:
    hood = draw_hood(np.random.default_rng(seed))
    picture = np.full((*shape, 3), 0.5, np.float32)
    field = paint_hood(picture, hood, np.random.default_rng(seed))
    assert np.array_equal(field, hood.field(shape))
    assert 0.25 < field.mean() <= 1 and field[shape[0] // 2, shape[1] // 2]
    assert picture.min() >= 0 and picture.max() <= 1
    if (deep := hood.distance_px(shape) < -3 * max(1.0, hood.softness * math.hypot(*shape) / 2)).any():
        assert np.abs(picture[deep].mean(0) - np.clip(hood.bgr, 0, 1)).max() < 0.25 + hood.lip


def test_truth_ends_at_the_hood(monkeypatch: pytest.MonkeyPatch) -> None:
    hood = Hood(centre=(0.0, 0.0), radius=0.6, softness=0.01, bgr=(0.0, 0.0, 0.0), lip=0.0, shade=0.0)

    def hooded(rng: np.random.Generator, kind: str) -> Recipe:
        return replace(draw_recipe(rng, "realistic"), hood=hood, bald=False)

    monkeypatch.setattr(scenes, "draw_recipe", hooded)
    closed, open_ = (render_scene(31, width=320, height=240, kind="realistic", hooded=h) for h in (True, False))
    assert open_.field.all() and open_.mask.any()
    assert np.array_equal(closed.field, hood.field((240, 320)))
    assert np.array_equal(closed.mask, open_.mask & closed.field)
    share = closed.field.mean()
    x, y, radius = closed.truth.lens["hood_px"]
    rows, columns = np.mgrid[:240, :320]
    assert np.mean((np.hypot(columns - x, rows - y) < radius) == closed.field) > 0.999 and open_.truth.lens["hood_px"] is None
    assert closed.truth.area_cm2 == pytest.approx(open_.truth.area_cm2 * share, rel=0.02)
    places = np.concatenate(
        [h.points[:, :2] for h in closed.truth.hairs] + [np.array([[f.x, f.y] for f in closed.truth.follicles]).reshape(-1, 2)]
    )
    column, row = np.rint(places).astype(int).T.clip(0)
    assert closed.field[np.minimum(row, 239), np.minimum(column, 319)].all()
    assert len(closed.truth.follicles) < len(open_.truth.follicles)


def test_motion_smears_along_its_direction_and_keeps_the_light() -> None:
    point = np.zeros((41, 41, 3), np.float32)
    point[20, 20] = 1
    smeared = motion(point, 9.0, 0.0)[..., 0]
    assert smeared.sum() == pytest.approx(1, abs=1e-4)
    assert np.count_nonzero(smeared.sum(0) > 0.01) in (9, 10, 11) and np.count_nonzero(smeared.sum(1) > 0.01) == 1
    upward = motion(point, 9.0, math.pi / 2)[..., 0]
    assert np.allclose(upward, smeared.T, atol=0.02)
    assert motion(point, 0.0, 0.0) is point


@pytest.mark.parametrize("bayer", [False, True])
def test_the_sensor_keeps_colour_and_adds_the_noise_asked_for(bayer: bool) -> None:
    plain = np.empty((120, 160, 3), np.float32)
    plain[:] = (0.25, 0.5, 0.75)
    clean = expose(plain, np.random.default_rng(0), noise=0.0, sharpen=0.0, bayer=bayer)
    assert np.abs(clean.astype(int) - (64, 128, 191)).max() <= 1
    noisy = expose(plain, np.random.default_rng(0), noise=0.03, sharpen=0.0, bayer=bayer)
    assert np.abs(noisy.mean((0, 1)) - clean.mean((0, 1))).max() < 1
    grey = cv2.cvtColor(noisy, cv2.COLOR_BGR2GRAY).astype(float)
    assert 3 < grey.std() < 10


def test_every_kind_of_scalp_comes_in_its_share() -> None:
    drawn = [draw_recipe(np.random.default_rng([seed, 0]), "hard") for seed in range(600)]

    def share(of: list[bool]) -> float:
        return sum(of) / len(of)

    assert share([r.head_colour in ("white", "grey", "blond") for r in drawn]) > 0.28
    assert 0.05 < share([r.bald for r in drawn]) < 0.12
    assert 0.06 < share([r.hood is not None for r in drawn]) < 0.15
    assert share([r.stubble for r in drawn]) > 0.08
    assert share([r.curl > 0.4 for r in drawn]) > 0.03
    assert share([r.diameter_um < 45 for r in drawn]) > 0.06
    assert all(0 <= r.wetness <= 1 and 0 <= r.melanin <= 1 and min(r.tint_bgr) > 0.5 for r in drawn)


def test_frames_carry_their_field() -> None:
    frame = render_frame(2, width=160, height=120, kind="hard")
    assert frame.field.shape == frame.mask.shape == (120, 160)
    assert not (frame.mask & ~frame.field).any()
