"""The hood ring: its code tells place and hood, and it is found at a frame's edge, through hair and blur, or refused."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calib.drawing import Disc, draw_target, flat_picture
from calib.errors import TargetNotFoundError
from calib.finding.ring import find_ring, which_ring
from calib.lens import RadialLens
from calib.plane import fit_plane
from calib.points import TargetPoints
from calib.ring import GROUND, HOLE, INNER, LARGE, POSITIONS, SMALL, dot_diameters, dot_places, ring_code, ring_drawing
from calib.targets import RING_CODES, HoodRing, parse_target
from device.simulated.faults import CameraFaults, draw_faults
from device.simulated.flat import Flat, grey_flat, photograph_flat
from device.simulated.lens import Lens
from device.simulated.plate import Plate, rim_plate, ringed_scene, see_plate
from device.simulated.scene import photograph, render_frame, render_scene
from device.simulated.sensor import Image

FOCAL_PX = 1900.0
TURN_RAD = 0.7
PLAIN = CameraFaults(defocus_px=0.8, noise=0.01, jpeg_quality=90)


@lru_cache
def _plate(target: HoodRing, um_per_px: float) -> Plate:
    drawing = ring_drawing(target)
    return rim_plate(flat_picture(drawing, um_per_px), um_per_px, 1000 * drawing.hole_mm)


def _lens(um_per_px: float, larger: int = 1, k1: float = 0.3, k2: float = -0.9) -> Lens:
    focal = FOCAL_PX * larger
    return Lens(640 * larger, 480 * larger, focal, um_per_px * focal / 1000, (0.04, -0.03), k1, k2, (1.5, -2.0))


def _decoded(jpeg: bytes) -> Image:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def _picture(
    target: HoodRing, lens: Lens, faults: CameraFaults = PLAIN, shift_px: tuple[float, float] = (0.0, 0.0), seed: int = 0
) -> tuple[Image, Flat]:
    """The ring over plain skin, and how it was laid down."""
    um = lens.centre_um_per_px
    shift = (shift_px[0] * um, shift_px[1] * um)
    rim, opacity = see_plate(_plate(target, round(um / 3.1, 3)), lens, TURN_RAD, shift)
    skin = np.array([0.4, 0.5, 0.7], np.float32)
    picture = np.asarray(skin + (rim - skin) * opacity, np.float32)
    image = _decoded(photograph(picture, faults, np.random.default_rng(seed), larger=lens.width / 640))
    return image, Flat(np.zeros((1, 1, 3), np.float32), 1.0, TURN_RAD, shift)


def _off_px(points: TargetPoints, flat: Flat, lens: Lens) -> NDArray[np.float64]:
    """How far each found dot lies from where the lens puts it, px; the ring may be turned by whole dots only if the code says so."""
    world = flat.on_plane(1000 * points.target_mm)
    truth, _ = lens.project(np.column_stack([world, np.zeros(len(world))]))
    return np.asarray(points.pixels - truth, np.float64)


def _undoing(lens: Lens) -> RadialLens:
    """The RadialLens that undoes the lens's distortion, by least squares over the picture."""
    share = np.linspace(0.01, 1, 200)
    half = math.hypot(lens.width, lens.height) / 2
    plain = share * half / lens.focal_px
    bent = plain * (1 + lens.k1 * plain**2 + lens.k2 * plain**4) * lens.focal_px / half
    table = np.stack([bent**3, bent**5], 1)
    k1, k2 = np.linalg.lstsq(table, share - bent, rcond=None)[0]
    return RadialLens(lens.width, lens.height, lens.centre_px, float(k1), float(k2))


def _error(points: TargetPoints, lens: Lens, held: bool) -> float:
    plane = fit_plane(points, lens.width, lens.height, _undoing(lens) if held else None)
    return abs(plane.um_per_px / lens.centre_um_per_px - 1)


@pytest.mark.parametrize("code", range(RING_CODES))
def test_any_six_neighbours_tell_their_place_and_so_do_three_of_each_row(code: int) -> None:
    outer, inner = ring_code(code).reshape(2, POSITIONS)
    for row in (outer, inner):
        assert len({tuple(np.roll(row, -i)[:6]) for i in range(POSITIONS)}) == POSITIONS
    both = {(*np.roll(outer, -i)[:3], *np.roll(inner, -i)[:3]) for i in range(POSITIONS)}
    assert len(both) == POSITIONS


def test_no_turn_or_mirror_image_makes_one_hoods_ring_anothers_or_one_row_the_other() -> None:
    words = {}
    for code in range(RING_CODES):
        outer, inner = ring_code(code).reshape(2, POSITIONS)
        mirrored = outer[::-1], np.roll(inner[::-1], -1)  # inner dots stand between outer ones
        for name, (a, b) in {"": (outer, inner), "mirrored": mirrored}.items():
            for turn in range(POSITIONS):
                words[code, name, turn] = np.concatenate([np.roll(a, turn), np.roll(b, turn)])
        assert min(np.count_nonzero(outer != np.roll(inner, turn)) for turn in range(POSITIONS)) > 20
    table = np.array(list(words.values()), np.int32)
    signs = 2 * table - 1
    differing = (2 * POSITIONS - signs @ signs.T) // 2
    np.fill_diagonal(differing, 99)
    assert differing.min() >= 31


def test_the_drawing_is_what_the_makers_page_says() -> None:
    target = HoodRing(8.0, 3)
    drawing = draw_target(target, 100, 100)
    assert drawing.hole_mm == pytest.approx(6.64) and drawing.hole_mm == HOLE * 8
    assert drawing.width_mm == drawing.height_mm == pytest.approx(8.56) and drawing.width_mm == GROUND * 8
    discs = [shape for shape in drawing.shapes if isinstance(shape, Disc)]
    assert len(discs) == len(drawing.shapes) == 2 * POSITIONS
    radius = np.array([math.hypot(d.x_mm, d.y_mm) for d in discs])
    assert radius[:POSITIONS] == pytest.approx(4.0) and radius[POSITIONS:] == pytest.approx(4 * INNER)
    first, second, inside = discs[0], discs[1], discs[POSITIONS]
    assert (first.x_mm, first.y_mm) == pytest.approx((4, 0))
    assert math.degrees(math.atan2(second.y_mm, second.x_mm)) == pytest.approx(360 / 63)  # y is down: clockwise
    assert math.degrees(math.atan2(inside.y_mm, inside.x_mm)) == pytest.approx(180 / 63)
    sizes = {round(2 * d.radius_mm / (math.pi / 63 * 8 * (1 if r > 3.9 else INNER)), 6) for d, r in zip(discs, radius, strict=True)}
    assert sizes == {LARGE, SMALL}
    # nothing touches: dots among themselves, the opening's edge, the edge of the ground
    places, wide = dot_places(8.0), dot_diameters(target)
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) - (wide[:, None] + wide[None]) / 2
    np.fill_diagonal(apart, 1)
    assert apart.min() > 0.12
    assert (radius - wide / 2).min() - drawing.hole_mm / 2 > 0.1 and drawing.width_mm / 2 - (radius + wide / 2).max() > 0.1


@pytest.mark.parametrize(("um_per_px", "blur_px"), [(11.5, 1.0), (14.0, 0.5), (14.0, 2.0), (20.5, 1.5)])
def test_dots_are_found_without_bias_and_the_scale_follows(um_per_px: float, blur_px: float) -> None:
    target, lens = HoodRing(8.0, 2), _lens(um_per_px)
    faults = replace(draw_faults(np.random.default_rng(3)), defocus_px=blur_px, motion_px=0.0)
    image, flat = _picture(target, lens, faults, (6, -9))
    points = find_ring(image, target)
    off = _off_px(points, flat, lens)
    assert len(points) >= 20
    assert np.abs(off).max() < 0.35 and np.sqrt(np.mean(off**2)) < 0.12
    outwards = points.pixels - np.array([(lens.width - 1) / 2, (lens.height - 1) / 2])
    outwards /= np.hypot(*outwards.T)[:, None]
    assert abs(float(np.mean(np.sum(off * outwards, 1)))) < 0.03  # what would pass as another scale
    assert _error(points, lens, held=True) < 3e-4
    assert _error(points, lens, held=False) < 3e-3


@pytest.mark.parametrize("kind", ["easy", "realistic", "hard"])
def test_a_scalp_in_its_opening_and_hair_over_it_do_not_mislead(kind: str) -> None:
    target, lens = HoodRing(8.0, 4), _lens(13.0)
    scene = render_scene(31, kind=kind, um_per_px=lens.centre_um_per_px, hooded=False)  # type: ignore[arg-type]
    picture = ringed_scene(scene, _plate(target, 4.2), lens, turn_rad=TURN_RAD, crossing=0.5, seed=1)
    rng = np.random.default_rng(3)
    image = _decoded(photograph(picture, draw_faults(rng), rng))
    points = find_ring(image, target)
    off = _off_px(points, Flat(np.zeros((1, 1, 3), np.float32), 1.0, TURN_RAD), lens)
    assert np.median(np.abs(off)) < 0.08 and np.mean(np.hypot(*off.T) < 1) > 0.9
    assert _error(points, lens, held=True) < 5e-4 and _error(points, lens, held=False) < 5e-3
    assert which_ring(image) == 4


def test_an_arc_of_a_ring_much_larger_than_the_frame_is_enough() -> None:
    target, lens = HoodRing(8.0, 1), _lens(6.0)
    radius = 4000 / 6.0
    # light that falls off across such large dots must not draw the rows together: unmodelled, that is 0.08 %
    faults = CameraFaults(defocus_px=0.8, vignetting=0.25)
    image, flat = _picture(target, lens, faults, (radius * 0.6, -radius * 0.7))
    points = find_ring(image, target)
    assert len(points) >= 12
    assert np.sqrt(np.mean(_off_px(points, flat, lens) ** 2)) < 0.06
    assert _error(points, lens, held=True) < 3e-4


def test_a_ring_lying_as_a_target_is_found_in_a_larger_picture() -> None:
    target, lens = HoodRing(8.0, 0), _lens(9.0, larger=2)
    drawing = ring_drawing(target)
    flat = grey_flat(flat_picture(drawing, 3.0), 3.0, TURN_RAD, (200.0, 90.0))  # with no hole: as printed, before it is cut
    image = photograph_flat(flat, lens, PLAIN, np.random.default_rng(1))
    points = find_ring(image, target)
    assert len(points) >= 40 and np.sqrt(np.mean(_off_px(points, flat, lens) ** 2)) < 0.1
    assert _error(points, lens, held=False) < 1e-3


@pytest.mark.parametrize("larger", [378.0, 396.0])
def test_one_row_alone_is_not_taken_for_the_other(larger: float) -> None:
    """In the corners only the inner row is whole; taken for the outer one the scale would be off by a tenth."""
    target, lens = HoodRing(8.0, 5), _lens(4000 / larger, k1=0.0, k2=0.0)
    image, flat = _picture(target, lens)
    try:
        points = find_ring(image, target)
    except TargetNotFoundError:
        assert larger > 390  # then hardly eight dots are left
        return
    assert np.abs(_off_px(points, flat, lens)).max() < 0.5
    assert _error(points, lens, held=True) < 2e-3


def test_another_hoods_ring_is_refused_and_named() -> None:
    image, _ = _picture(HoodRing(8.0, 2), _lens(14.0))
    assert which_ring(image) == 2
    assert len(find_ring(image, HoodRing(8.0, 2))) > 30
    for code in set(range(RING_CODES)) - {2}:
        with pytest.raises(TargetNotFoundError, match=rf"hood 2 is seen where that of hood {code} is expected: put the right hood on"):
            find_ring(image, HoodRing(8.0, code))


def test_a_mirrored_picture_is_refused_as_such() -> None:
    image, _ = _picture(HoodRing(8.0, 2), _lens(14.0))
    mirrored = np.ascontiguousarray(image[:, ::-1])
    with pytest.raises(TargetNotFoundError, match=r"hood 2 is seen in a mirror: turn off the camera's mirroring"):
        find_ring(mirrored, HoodRing(8.0, 2))
    assert which_ring(mirrored) is None


def test_turning_the_picture_changes_nothing() -> None:
    target, lens = HoodRing(8.0, 3), _lens(14.0)
    image, _ = _picture(target, lens)
    upright = fit_plane(find_ring(image, target), 640, 480).um_per_px
    turned = fit_plane(find_ring(np.ascontiguousarray(np.rot90(image)), target), 480, 640).um_per_px
    assert turned == pytest.approx(upright, rel=5e-4)


def _discs(rng: np.random.Generator) -> Image:
    image = np.full((480, 640), 205, np.uint8)
    for x, y in rng.uniform((0, 0), (640, 480), (int(rng.integers(60, 300)), 2)):
        cv2.circle(image, (round(16 * x), round(16 * y)), int(16 * rng.choice([4.5, 7.5])), 25, -1, cv2.LINE_AA, 4)
    return np.repeat(cv2.GaussianBlur(image, (0, 0), 1)[..., None], 3, axis=2)


def test_nothing_else_is_taken_for_a_ring() -> None:
    pictures = [np.full((480, 640, 3), level, np.uint8) for level in (0, 128, 255)]
    pictures += [render_frame(seed, kind=kind).image for seed, kind in ((1, "easy"), (2, "realistic"), (3, "hard"), (4, "hard"))]  # type: ignore[arg-type]
    rng = np.random.default_rng(5)
    pictures += [_discs(rng) for _ in range(60)]
    for text in ("dots:0.25", "dots:0.4", "checker:0.3", "charuco:14x11,0.4,0.3,DICT_5X5_250", "micrometer:100"):
        flat = grey_flat(flat_picture(draw_target(parse_target(text), 9, 7), 4.0), 4.0, float(rng.uniform(0, 6)))
        pictures.append(photograph_flat(flat, _lens(12.0), PLAIN, rng))
    pictures.append(rng.integers(0, 255, (480, 640, 3), np.uint8))
    for image in pictures:
        with pytest.raises(TargetNotFoundError, match="hood ring"):
            find_ring(np.asarray(image, np.uint8), HoodRing(8.0, 0))


def test_too_little_of_a_ring_is_refused_with_what_was_seen() -> None:
    target = HoodRing(8.0, 0)
    image, _ = _picture(target, _lens(8.5))  # the ring lies just beyond the corners
    with pytest.raises(TargetNotFoundError, match=r"no hood ring in the picture: .* 8 at least are needed: show more of the ring"):
        find_ring(image, target)
    covered, _ = _picture(target, _lens(14.0))
    covered[:, :560] = covered[140:] = (90, 110, 150)  # half a dozen are left
    with pytest.raises(TargetNotFoundError, match="show more of the ring"):
        find_ring(covered, target)
