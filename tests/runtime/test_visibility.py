from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from device.simulated.scene import render_frame
from runtime.analysis.hairs import HairPath, Ostium
from runtime.analysis.segmentation import Segmentation, given_mask
from runtime.analysis.visibility import GLOSS_SHARE, LAMP_GREY, body_contrasts, empty_or_counted, visible_hairs
from tests.runtime.strokes import distance

HEIGHT, WIDTH = 240, 320
SKIN = 175.0
BLUR_PX = 0.7

Line = tuple[float, float, float, float]
Picture = NDArray[np.uint8]


def path_along(line: Line, width_px: float = 8.0) -> HairPath:
    """A measured hair with a point every 4 px."""
    begin, end = np.array(line[:2], float), np.array(line[2:], float)
    length = float(np.hypot(*(end - begin)))
    points = begin + np.linspace(0, 1, max(2, int(length / 4)))[:, None] * (end - begin)
    return HairPath(points, np.full(len(points), width_px), width_px, 0.1, length, False, 1.0)


def pictured(
    hairs: list[tuple[Line, float]], *, skin: float | NDArray[np.float64] = SKIN, width_px: float = 8.0, shadow: float = 1.0
) -> tuple[Picture, NDArray[np.bool_]]:
    """(picture, mask) of hairs, each a line and its body's grey level, with a lamp mirrored along their middle.

    `shadow` is what a hair leaves of the light on 5 px of skin at one side of it.
    """
    pixels = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1).reshape(-1, 2).astype(float)
    ground = np.broadcast_to(np.asarray(skin, float), (HEIGHT, WIDTH)).reshape(-1).copy()
    far = [distance(pixels, [line[:2], line[2:]]) for line, _ in hairs]
    for line, _ in hairs:
        beside = distance(pixels - np.array([0.0, 4.0]), [line[:2], line[2:]])
        ground[beside <= width_px / 2 + 1] *= shadow
    mask = np.zeros(len(pixels), bool)
    for away, (_, body) in zip(far, hairs, strict=True):
        cover = np.clip(width_px / 2 - away + 0.5, 0, 1)
        mirror = np.clip(GLOSS_SHARE * width_px / 2 - away + 0.5, 0, 1)
        ground = ground * (1 - cover) + cover * (body + mirror * (LAMP_GREY - body))
        mask |= cover >= 0.5
    grey = cv2.GaussianBlur(ground.reshape(HEIGHT, WIDTH), (0, 0), BLUR_PX)
    return np.clip(np.round(grey), 0, 255).astype(np.uint8)[:, :, None].repeat(3, axis=2), mask.reshape(HEIGHT, WIDTH)


def learned(mask: NDArray[np.bool_], reliability: float = 0.9) -> Segmentation:
    return Segmentation(mask, mask.astype(np.float32), reliability, unfamiliar=False)


@given(st.floats(20.0, 240.0), st.floats(0.0, 180.0), st.floats(5.0, 14.0))
@settings(max_examples=40, derandomize=True, deadline=None)
def test_a_glossy_hair_has_the_contrast_of_its_body(body: float, angle: float, width_px: float) -> None:
    way = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * 90
    line = (160 - way[0], 120 - way[1], 160 + way[0], 120 + way[1])
    picture, mask = pictured([(line, body)], width_px=width_px)
    found = body_contrasts((path_along(line, width_px),), picture, mask)
    # blur and the sections' reach bring a little skin into the hair's mean
    assert found == pytest.approx([SKIN - body], abs=5 + 0.25 * abs(SKIN - body))


def test_hair_as_bright_as_the_skin_does_not_count() -> None:
    alike, dark, white = (20.0, 40.0, 300.0, 60.0), (20.0, 110.0, 300.0, 130.0), (20.0, 180.0, 300.0, 200.0)
    picture, mask = pictured([(alike, SKIN), (dark, SKIN - 30), (white, SKIN + 30)])
    paths = tuple(path_along(line) for line in (alike, dark, white))
    assert visible_hairs(paths, picture, learned(mask)) == paths[1:]


def test_the_skin_is_that_nearby_without_its_shadow() -> None:
    light = np.linspace(120.0, 215.0, WIDTH)[None, :]  # falls off to one side
    left, right = (40.0, 40.0, 40.0, 200.0), (260.0, 40.0, 260.0, 200.0)
    levels = [float(light[0, 40]), float(light[0, 260])]
    picture, mask = pictured([(left, levels[0] - 20), (right, levels[1] - 20)], skin=light)
    assert body_contrasts((path_along(left), path_along(right)), picture, mask) == pytest.approx([20, 20], abs=7)
    # alone under the same light, a shadow beside it makes a hair no brighter
    lines = [(20.0, 60.0, 300.0, 60.0)]
    plain, shaded = (pictured([(line, 150.0) for line in lines], shadow=share) for share in (1.0, 0.75))
    contrasts = [body_contrasts((path_along(lines[0]),), *seen)[0] for seen in (plain, shaded)]
    assert contrasts[1] == pytest.approx(contrasts[0], abs=6)


def test_a_hair_that_crosses_one_that_does_not_count_stays_whole() -> None:
    alike, dark = (20.0, 120.0, 300.0, 125.0), (150.0, 20.0, 170.0, 220.0)
    picture, mask = pictured([(alike, SKIN), (dark, 60.0)])
    crossing = path_along(dark)
    (kept,) = visible_hairs((path_along(alike), crossing), picture, learned(mask))
    assert kept is crossing


def test_hair_that_the_segmenter_calls_faint_is_no_skin() -> None:
    lines = [(20.0, float(y), 300.0, float(y)) for y in range(20, 230, 14)]
    picture, mask = pictured([(line, 60.0 if k else SKIN) for k, line in enumerate(lines)])
    own = np.zeros_like(mask)
    own[:30] = mask[:30]
    paths = (path_along(lines[0]),)
    assert visible_hairs(paths, picture, replace(learned(own), faint=mask & ~own)) == ()


@pytest.mark.parametrize("reliability", [0.0, 0.5, float("nan")])
def test_nothing_is_dropped_from_a_mask_in_doubt(reliability: float) -> None:
    line = (20.0, 40.0, 300.0, 60.0)
    picture, mask = pictured([(line, SKIN)])
    paths = (path_along(line),)
    assert visible_hairs(paths, picture, learned(mask)) == ()
    assert visible_hairs(paths, picture, learned(mask, reliability)) == paths


def test_nothing_is_dropped_from_a_given_mask() -> None:
    line = (20.0, 40.0, 300.0, 60.0)
    picture, mask = pictured([(line, SKIN)])
    paths = (path_along(line),)
    assert visible_hairs(paths, picture, given_mask(mask)) is paths


def test_no_hair() -> None:
    picture, mask = pictured([])
    assert visible_hairs((), picture, learned(mask)) == ()
    assert body_contrasts((), picture, mask).shape == (0,)


def test_a_frame_full_of_hair_shows_no_skin_to_compare_with() -> None:
    path = path_along((20.0, 40.0, 300.0, 60.0))
    full = np.ones((HEIGHT, WIDTH), bool)
    picture = np.full((HEIGHT, WIDTH, 3), 150, np.uint8)
    assert np.isnan(body_contrasts((path,), picture, full)).all()
    assert visible_hairs((path,), picture, learned(full)) == (path,)


def test_hair_on_the_border_and_beyond_it() -> None:
    paths = tuple(path_along(line) for line in ((0.0, 0.0, 319.0, 0.0), (319.0, 0.0, 319.0, 239.0), (-3.0, 239.5, 322.0, 239.5)))
    picture, mask = pictured([((0.0, 0.0, 319.0, 0.0), 60.0), ((319.0, 0.0, 319.0, 239.0), 60.0), ((0.0, 239.0, 319.0, 239.0), 60.0)])
    contrasts = body_contrasts(paths, picture, mask)
    assert contrasts == pytest.approx([SKIN - 60] * 3, abs=60)
    assert visible_hairs(paths, picture, learned(mask)) == paths


def test_hairs_whose_widths_are_not_known() -> None:
    line = (20.0, 40.0, 300.0, 60.0)
    picture, mask = pictured([(line, 60.0)])
    measured = path_along(line)
    for known in (0, 2):
        widths = np.where(np.arange(len(measured.points)) < known, measured.widths_px, np.nan)
        path = replace(measured, widths_px=widths, diameter_px=float("nan"))
        assert body_contrasts((path,), picture, mask)[0] > 40


def test_a_hair_of_one_point_in_a_tiny_frame() -> None:
    path = HairPath(np.array([[3.0, 3.0]]), np.array([2.0]), 2.0, 0.1, 0.0, False, 1.0)
    picture = np.full((8, 8, 3), 170, np.uint8)
    mask = np.zeros((8, 8), bool)
    mask[3, 3] = True
    assert len(body_contrasts((path,), picture, mask)) == 1
    assert len(visible_hairs((path,), picture, learned(mask))) <= 1


def test_dark_hair_of_a_rendered_scalp_counts() -> None:
    frame = render_frame(950013, kind="easy")
    hairs = [hair for hair in frame.truth.hairs if hair.visible_length_px >= 24]
    paths, contrasts = [], []
    for hair in hairs:
        free = hair.points[hair.points[:, 4] == 0]
        if len(free) >= 8:
            paths.append(HairPath(free[:, :2], free[:, 3], hair.diameter_px, 0.1, hair.visible_length_px, False, 1.0))
            contrasts.append(hair.contrast)
    dark = np.array(contrasts) > 40
    assert dark.sum() >= 10
    kept = visible_hairs(tuple(paths), frame.image, learned(frame.mask))
    assert sum(any(path is k for k in kept) for path, d in zip(paths, dark, strict=True) if d) == dark.sum()


def test_an_opening_of_hair_that_does_not_count_is_not_empty():
    mask = np.zeros((240, 320), bool)
    mask[20:120, 100:108] = mask[20:120, 200:208] = True
    kept = path_along((104.0, 20.0, 104.0, 119.0))
    found = learned(mask)
    own, other, bare = Ostium(104.0, 120.0, (0,)), Ostium(204.0, 121.0, ()), Ostium(40.0, 60.0, ())
    passed = Ostium(104.0, 60.0, ())
    ostia = (bare, passed, own, other)
    assert empty_or_counted(ostia, (kept,), found) == (bare, passed, own)
    assert empty_or_counted(ostia, (kept,), replace(found, mask=mask & (np.arange(320) < 150))) == ostia
    assert empty_or_counted(ostia, (kept,), replace(found, mask=mask & (np.arange(320) < 150), faint=mask)) == (bare, passed, own)
    assert empty_or_counted((own,), (kept,), found) == (own,)
    outside = (Ostium(-5.0, 500.0, ()),)
    assert empty_or_counted(outside, (), found) == outside
