"""The truth of the simulated microscope against its pictures: what it says must be what is drawn."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from device.simulated.hair import Shaft
from device.simulated.lens import lens_for
from device.simulated.recipe import KINDS, Kind, draw_recipe
from device.simulated.scene import RenderedFrame, RenderStoppedError, render_frame, render_scene
from device.simulated.shading import paint_shaft, see
from device.simulated.truth import FREE, UNDER_FLAKE

SEEDS = {"easy": (20, 23), "realistic": (21,), "hard": (20,)}


@pytest.fixture(scope="module")
def frames() -> list[RenderedFrame]:
    return [render_frame(seed, kind=kind) for kind in KINDS for seed in SEEDS[kind]]


def test_the_same_seed_gives_the_same_frame_and_another_another() -> None:
    one, again, other = (render_frame(seed, kind="hard", width=160, height=120) for seed in (3, 3, 4))
    assert one.jpeg == again.jpeg and np.array_equal(one.mask, again.mask)
    assert one.truth.to_json("a", "b") == again.truth.to_json("a", "b")
    assert one.jpeg != other.jpeg


def test_visible_centre_lines_lie_in_the_mask_and_the_mask_around_centre_lines(frames: list[RenderedFrame]) -> None:
    for frame in frames:
        points = np.concatenate([h.points for h in frame.truth.hairs])
        column, row = (np.clip(np.rint(points[:, k]).astype(int), 0, frame.mask.shape[1 - k] - 1) for k in (0, 1))
        free = points[:, 4] == FREE
        seen = frame.mask | frame.faint
        assert seen[row[free], column[free]].mean() > 0.99
        hidden = points[:, 4] == UNDER_FLAKE
        assert not seen[row[hidden], column[hidden]].any()
        assert not (frame.mask & frame.faint).any()
        # where a mask pixel lies further from every centre line than half a diameter (and the spacing of points), it is a lie
        # (at the border lie the flanks of hairs whose centre line stays outside)
        y, x = (v + 16 for v in np.nonzero(seen[16:-16, 16:-16]))
        near, which = cKDTree(points[:, :2]).query(np.stack([x, y], 1), k=24)
        assert (near <= np.hypot(points[which, 3] / 2 + 1, 2.0)).any(1).mean() > 0.998


def test_the_mask_is_as_large_as_length_times_width(frames: list[RenderedFrame]) -> None:
    for frame in frames:
        drawn = sum(float(np.sum(h.points[h.points[:, 4] == FREE, 3])) * h.length_px / max(len(h.points), 1) for h in frame.truth.hairs)
        # a little more: where hairs lie side by side, the flank of one shows beside another that covers its centre line
        assert 0.95 * drawn < (frame.mask | frame.faint).sum() < 1.12 * drawn


def test_hairs_count_by_the_definition(frames: list[RenderedFrame]) -> None:
    for frame in frames:
        counting = [h.points[h.points[:, 4] == FREE] for h in frame.truth.hairs if h.counted]
        for points in counting:  # a hair that counts is in the mask, whatever its neighbours are
            column, row = (np.clip(np.rint(points[:, k]).astype(int), 0, frame.mask.shape[1 - k] - 1) for k in (0, 1))
            assert frame.mask[row, column].mean() > 0.9
        told = frame.truth.to_json("f.jpg", "f_mask.png")
        counted = [h for h in told["hairs"] if h["visible_length_px"] >= 24 and h["contrast"] >= 8]
        assert told["hair_count"] == len(counted) == sum(h["counted"] for h in told["hairs"])
        assert told["hair_count_rooted"] == sum(h["rooted_in_frame"] for h in counted)
        inside = {f["id"] for f in told["follicles"]}
        assert told["follicle_count"] == len({h["follicle_id"] for h in counted} & inside)
        assert sum(told["hairs_per_follicle"]) == told["hair_count_rooted"]
        assert all(-0.5 <= f["x"] < 639.5 and -0.5 <= f["y"] < 479.5 for f in told["follicles"])
        for hair in told["hairs"]:
            points = np.array(hair["points"])
            assert np.all((points[:, 0] >= -0.51) & (points[:, 0] <= 639.51) & (points[:, 1] >= -0.51) & (points[:, 1] <= 479.51))
            assert hair["visible_length_px"] <= hair["length_px"] + 0.01
            assert np.median(points[:, 2] / points[:, 3]) == pytest.approx(
                told["scale"]["um_per_px_center"],
                rel=0.1 if hair["out_of_focus_px"] < 0.5 else 0.3,  # what lies high is nearer to the lens
            )
        json.dumps(told, allow_nan=False)


def test_contrast_is_seen_in_the_picture(frames: list[RenderedFrame]) -> None:
    """A frame's hairs of high contrast differ from the skin beside them in the finished picture too."""
    for frame in frames[:2]:
        grey = cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY).astype(float)
        skin = np.median(grey[~frame.mask])
        for hair in frame.truth.counted:
            free = hair.points[hair.points[:, 4] == FREE]
            if hair.contrast > 60 and len(free) > 10:
                seen = np.median(map_coordinates(grey, free[:, 1::-1].T, order=1))
                assert abs(seen - skin) > 25


def _bar(d_px: float, angle: float, um_per_px: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """A straight black shaft of `d_px` through the middle of flat skin: (grey 0…1, mask), 160 × 160 px."""
    lens = lens_for(160, 160, um_per_px, 18.0)
    recipe = replace(draw_recipe(np.random.default_rng(1), "easy"), um_per_px=um_per_px, wetness=0.0)
    along = np.linspace(-100, 100, 80) * um_per_px
    points = np.stack([along * math.cos(angle), along * math.sin(angle), np.zeros(80)], 1)
    shaft = Shaft(0, "black", (0.08, 0.08, 0.08), 1.0, False, "none", d_px * um_per_px, points, np.full(80, d_px * um_per_px), 5)
    seen = see(shaft, lens, recipe)
    assert seen is not None
    picture, owner = np.full((160, 160, 3), 0.8, np.float32), np.full((160, 160), -1, np.int32)
    paint_shaft(picture, owner, owner.copy(), 0, seen, recipe)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), owner == 0


@settings(max_examples=25, deadline=None)
@given(st.floats(2.0, 24.0), st.integers(0, 3).flatmap(lambda q: st.floats(0.06, 1.5).map(lambda a: a + q * math.pi / 2)))
def test_an_isolated_hair_is_as_wide_as_the_truth_says(d_px: float, angle: float) -> None:
    grey, mask = _bar(d_px, angle)
    across = np.linspace(-30, 30, 1201)
    at = np.linspace(-40, 40, 41)[:, None]
    x = 79.5 + at * math.cos(angle) - across * math.sin(angle)
    y = 79.5 + at * math.sin(angle) + across * math.cos(angle)
    profile = map_coordinates(grey, [y, x], order=1).mean(0)
    # where the light has fallen half of the way to the shaft's darkest edge
    dark = profile < (0.8 + np.percentile(profile[np.abs(across) < d_px / 2], 50)) / 2
    assert across[dark].max() - across[dark].min() == pytest.approx(d_px, abs=max(0.1 * d_px, 0.35))
    ring = (np.arange(160)[:, None] - 79.5) ** 2 + (np.arange(160)[None] - 79.5) ** 2 < 60**2
    chord = 2 * math.sqrt(60**2 - (d_px / 2) ** 2 / 3)
    # along a course of rational slope the pixels lie in rows beside it, up to 0.7 px apart: one row more or less is no error
    assert (mask & ring).sum() == pytest.approx(d_px * chord, abs=(0.04 * d_px + 0.6) * chord)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(2, 15),
    st.floats(10, 25),
    st.tuples(st.floats(-0.07, 0.07), st.floats(-0.07, 0.07)),
    st.floats(-0.02, 0.02),
    st.floats(0, 639),
    st.floats(0, 479),
)
def test_the_lens_finds_back(scale: float, distance: float, tilt: tuple[float, float], distortion: float, x: float, y: float) -> None:
    lens = lens_for(640, 480, scale, distance, tilt, distortion / (0.4 * scale / distance) ** 2)
    ground = lens.on_skin(np.array([[x, y]]))
    there, um_per_px = lens.project(np.concatenate([ground, [[0.0]]], 1))
    assert there[0] == pytest.approx((x, y), abs=0.02)
    assert um_per_px[0] == pytest.approx(scale, rel=0.12)


def test_scale_and_area_agree() -> None:
    plain = lens_for(640, 480, 7.0, 15.0)
    assert plain.centre_um_per_px == pytest.approx(7.0, rel=1e-6)
    assert plain.area_cm2 == pytest.approx(640 * 480 * 49e-8, rel=1e-6)
    bent = lens_for(640, 480, 7.0, 15.0, (0.05, -0.03), -0.8, 1.0)
    assert bent.area_cm2 == pytest.approx(640 * 480 * float(np.mean(bent.scales_um_per_px**2)) / 1e8, rel=0.01)


def test_what_lies_higher_looks_larger() -> None:
    lens = lens_for(640, 480, 7.0, 15.0)
    _, scale = lens.project(np.array([[0.0, 0, 0], [0, 0, 1500]]))
    assert scale[1] == pytest.approx(0.9 * scale[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_bald_scalp_has_skin_and_openings_only(kind: Kind) -> None:
    scenes = [render_scene(seed, kind=kind, width=160, height=120, bald=True) for seed in range(3)]
    haired = [render_scene(seed, kind=kind, width=160, height=120, bald=False) for seed in range(3)]
    assert sum(len(s.truth.hairs) for s in scenes) < 0.4 * sum(len(s.truth.hairs) for s in haired)
    empty = scenes[0].truth
    told = replace(empty, hairs=()).to_json("a", "b")
    assert told["hair_count"] == 0 and told["diameter_um"]["median"] is None


def test_a_given_scale_is_kept() -> None:
    frame = render_frame(5, width=200, height=100, um_per_px=12.5)
    assert frame.um_per_px == pytest.approx(12.5, rel=1e-6)
    assert frame.image.shape == (100, 200, 3) and frame.mask.shape == (100, 200)


@pytest.mark.parametrize(("width", "height", "kind"), [(1, 1, "easy"), (9000, 9000, "easy"), (640, 480, "impossible")])
def test_what_cannot_be_rendered_is_refused(width: int, height: int, kind: Kind) -> None:
    with pytest.raises(ValueError, match=r"rendered|no kind"):
        render_frame(1, width=width, height=height, kind=kind)


def test_rendering_can_be_stopped() -> None:
    with pytest.raises(RenderStoppedError):
        render_scene(1, width=160, height=120, should_stop=lambda: True)
