"""The measured flakes, shine and redness: on drawn skin of known content, under other light, on rendered scalps, and on bad pictures."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from calib.profile_parts import Light
from device.simulated.recipe import Kind, draw_recipe
from device.simulated.scene import render_frame
from runtime.analysis.scalp.colour import corrected, correction_of
from runtime.analysis.scalp.flakes import LEAST_UM2
from runtime.analysis.scalp.indices import ScalpIndices
from runtime.analysis.scalp.maps import REDNESS_FROM, draw_scalp, index_text
from runtime.analysis.scalp.measuring import measure_scalp

Image = NDArray[np.uint8]
UM_PER_PX = 7.0
PALE_SKIN = (140, 165, 205)  # blue, green, red
RED_SKIN = (125, 130, 205)
BLACK_SKIN = (38, 52, 78)


def skin(colour: tuple[int, int, int] = PALE_SKIN, size: tuple[int, int] = (640, 480), seed: int = 0) -> NDArray[np.float32]:
    """Skin of one colour with a little grain, float32 (height, width, 3), levels."""
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.normal(0, 6, (size[1], size[0], 1)).astype(np.float32), (0, 0), 1.5)
    return np.asarray(np.array(colour, np.float32) + np.atleast_3d(grain), np.float32)


def picture(levels: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)


def with_discs(levels: NDArray[np.float32], count: int, radius_px: int, opacity: float, seed: int = 1) -> NDArray[np.bool_]:
    """Paint white discs that do not touch each other; returns where they are."""
    height, width = levels.shape[:2]
    cover = np.zeros((height, width), np.uint8)
    step = 4 * radius_px + 6
    places = [(x, y) for y in range(step, height - step, step) for x in range(step, width - step, step)]
    for i in np.random.default_rng(seed).permutation(len(places))[:count]:
        cv2.circle(cover, places[i], radius_px, 1, -1)
    levels += (np.float32(235) - levels) * (np.float32(opacity) * cover[..., None])
    return cover.astype(bool)


def no_hair(image: NDArray[np.generic]) -> NDArray[np.bool_]:
    return np.zeros(image.shape[:2], np.bool_)


def measured(levels: NDArray[np.floating], **given: object) -> ScalpIndices:
    image = picture(levels)
    return measure_scalp(image, no_hair(image), um_per_px=UM_PER_PX, **given)[0]  # type: ignore[arg-type]


def value(index: object) -> float:
    found = index.value  # type: ignore[attr-defined]
    assert found is not None
    return float(found)


def test_bare_skin_has_neither_flakes_nor_shine() -> None:
    found = measured(skin())
    assert value(found.flakes) == 0
    assert value(found.shine) < 0.05
    assert found.skin_share == 1
    assert found.skin_area_cm2 == pytest.approx(640 * 480 * UM_PER_PX**2 * 1e-8, rel=1e-3)
    assert not found.calibrated
    assert found.flakes.grade_hint == 0
    assert found.erythema.grade_hint is None  # not without calibrated colour


def test_flake_coverage_is_that_of_the_flakes() -> None:
    levels = skin()
    truth = with_discs(levels, 25, 16, 0.6)
    image = picture(levels)
    found, maps = measure_scalp(image, no_hair(image), um_per_px=UM_PER_PX)
    assert value(found.flakes) == pytest.approx(100 * truth.mean(), rel=0.2)
    assert np.mean(maps.flakes[truth]) > 0.85
    assert np.mean(maps.flakes[~truth]) < 0.01
    assert value(found.shine) < 0.2


def test_small_white_points_are_shine_and_no_flakes() -> None:
    levels = skin()
    radius = 3
    assert np.pi * radius**2 * UM_PER_PX**2 < LEAST_UM2
    truth = with_discs(levels, 150, radius, 0.9)
    found = measured(levels)
    assert value(found.flakes) == 0
    assert value(found.shine) == pytest.approx(100 * truth.mean(), rel=0.4)


def test_what_is_a_flake_depends_on_its_size_on_the_scalp_and_not_in_the_picture() -> None:
    levels = skin()
    with_discs(levels, 60, 7, 0.5)
    image = picture(levels)
    far, _ = measure_scalp(image, no_hair(image), um_per_px=11.0)
    near, _ = measure_scalp(image, no_hair(image), um_per_px=3.0)
    assert value(far.flakes) > 1
    assert value(near.flakes) == 0


def test_hair_is_no_skin() -> None:
    levels = skin()
    levels[:, 300:330] = 230  # a white hair
    image = picture(levels)
    hair = no_hair(image)
    hair[:, 300:330] = True
    masked, maps = measure_scalp(image, hair, um_per_px=UM_PER_PX)
    assert value(masked.flakes) == 0
    assert value(masked.shine) < 0.1
    assert not maps.skin[:, 300:330].any()


def test_a_pale_hair_that_the_mask_misses_is_no_flake() -> None:
    levels = skin()
    levels[:, 300:306] = 230
    assert value(measured(levels).flakes) == 0


@pytest.mark.parametrize("strength", [0.15, 0.35])
def test_light_that_falls_off_matters_little(strength: float) -> None:
    levels = skin(RED_SKIN)
    with_discs(levels, 20, 14, 0.6)
    y, x = np.mgrid[-1:1:480j, -1:1:640j]
    even, uneven = measured(levels), measured(levels * (1 - strength * (x * x + y * y))[..., None])
    assert value(uneven.flakes) == pytest.approx(value(even.flakes), rel=0.15)
    assert value(uneven.erythema) == pytest.approx(value(even.erythema), abs=3)


def test_red_skin_reads_redder() -> None:
    assert value(measured(skin(RED_SKIN)).erythema) > value(measured(skin(PALE_SKIN)).erythema) + 10


def test_a_red_blotch_reads_redder_under_any_white_balance() -> None:
    levels = skin()
    blotched = levels.copy()
    soft = cv2.GaussianBlur(np.pad(np.ones((160, 200), np.float32), ((160, 160), (220, 220))), (0, 0), 20)[..., None]
    blotched += (np.array(RED_SKIN, np.float32) - np.array(PALE_SKIN, np.float32)) * soft
    for tint in ((1.0, 1.0, 1.0), (1.12, 1.0, 0.9), (0.9, 1.0, 1.1)):
        rise = value(measured(blotched * tint).erythema) - value(measured(levels * tint).erythema)
        assert rise > 20


def test_more_pigment_alone_reads_little_redder() -> None:
    rise = value(measured(skin((100, 130, 178))).erythema) - value(measured(skin(PALE_SKIN)).erythema)  # tones of the renderer's skin
    blood = value(measured(skin(RED_SKIN)).erythema) - value(measured(skin(PALE_SKIN)).erythema)
    assert abs(rise) < blood / 2


def white_target(gains: tuple[float, float, float]) -> Light:
    """Light falling off to the right, with a camera's tint, as a profile has it."""
    fall = np.linspace(1, 0.7, 8)
    rows = tuple(tuple((float(f), float(f), float(f)) for f in fall) for _ in range(6))
    return Light(distance_mm=20.0, flat_field=rows, grey_gains=gains)


def test_calibrated_colour_undoes_the_cameras_tint_and_the_lights_fall() -> None:
    true = skin(RED_SKIN)
    tint = np.array([0.9, 1.0, 0.85])
    seen = picture(true * tint * np.linspace(1, 0.7, 640)[None, :, None])
    colour = correction_of([white_target((1 / 0.9, 1.0, 1 / 0.85))], 21.0)
    assert colour is not None
    assert np.abs(corrected(seen, colour) * 255 - true)[:, 30:-30].mean() < 2.5
    calibrated, _ = measure_scalp(seen, no_hair(seen), colour=colour, um_per_px=UM_PER_PX)
    raw, _ = measure_scalp(seen, no_hair(seen), um_per_px=UM_PER_PX)
    wanted = value(measured(true).erythema)
    assert value(calibrated.erythema) == pytest.approx(wanted, abs=2)
    assert abs(value(raw.erythema) - wanted) > 8
    assert calibrated.calibrated
    assert calibrated.erythema.grade_hint is not None


def test_the_nearest_light_that_knows_grey_serves() -> None:
    bare = Light(distance_mm=20.0)
    near, far = white_target((1.0, 1.0, 1.1)), Light(distance_mm=40.0, grey_gains=(1.3, 1.0, 1.0))
    assert correction_of([]) is None
    assert correction_of([bare], 20.0) is None
    found = correction_of([bare, far, near], 22.0)
    assert found is not None and found.grey is not None and found.grey.gains == (1.0, 1.0, 1.1)
    found = correction_of([near, far], 39.0)
    assert found is not None and found.grey is not None and found.grey.gains == (1.3, 1.0, 1.0) and found.field is None


def test_very_dark_skin_is_said_to_be_unreliable_for_redness() -> None:
    found = measured(skin(BLACK_SKIN))
    assert not found.erythema.reliable
    assert "dark" in (found.erythema.reason or "")
    assert found.erythema.grade_hint is None
    assert found.flakes.reliable


def test_a_grey_picture_has_no_redness() -> None:
    found = measured(skin((150, 150, 150)))
    assert found.erythema.value is None
    assert "colour" in (found.erythema.reason or "")
    assert found.flakes.value == 0


def test_a_skin_that_glitters_all_over_is_said_to_hide_flakes() -> None:
    levels = skin()
    with_discs(levels, 1800, 2, 0.95)
    found = measured(levels)
    assert value(found.shine) > 4
    assert not found.flakes.reliable and "glitters" in (found.flakes.reason or "")


@pytest.mark.parametrize(("level", "reason"), [(0, "black"), (255, "overexposed")])
def test_a_picture_in_which_nothing_is_seen_has_no_values(level: int, reason: str) -> None:
    image = np.full((480, 640, 3), level, np.uint8)
    found, maps = measure_scalp(image, no_hair(image))
    for index in (found.flakes, found.shine, found.erythema):
        assert index.value is None and not index.reliable and reason in (index.reason or "")
    assert not maps.flakes.any()


def test_a_picture_of_hair_alone_has_no_values() -> None:
    image = picture(skin())
    found, _ = measure_scalp(image, np.ones((480, 640), np.bool_))
    assert found.flakes.value is None and "no skin" in (found.flakes.reason or "")
    assert found.skin_share == 0


def test_outside_the_field_nothing_counts() -> None:
    levels = skin()
    levels[:, :200] = 240  # the hood's wall
    image = picture(levels)
    field = np.ones((480, 640), np.bool_)
    field[:, :205] = False
    found, maps = measure_scalp(image, no_hair(image), field, um_per_px=UM_PER_PX)
    assert value(found.flakes) == 0
    assert not maps.skin[:, :200].any()
    assert found.skin_share == pytest.approx(1, abs=0.02)
    nowhere, _ = measure_scalp(image, no_hair(image), np.zeros((480, 640), np.bool_))
    assert nowhere.flakes.value is None


@pytest.mark.parametrize("wrong", ["dtype", "channels", "mask", "field", "scale"])
def test_arrays_of_another_kind_are_refused(wrong: str) -> None:
    image = picture(skin(size=(64, 48)))
    hair, field, scale = no_hair(image), None, 7.0
    if wrong == "dtype":
        image = image.astype(np.float32)
    elif wrong == "channels":
        image = image[..., 0]
    elif wrong == "mask":
        hair = hair[1:]
    elif wrong == "field":
        field = np.ones((64, 48), np.bool_)
    else:
        scale = float("nan")
    with pytest.raises(ValueError, match="scalp"):
        measure_scalp(image, hair, field, None, scale)


@settings(max_examples=40)
@given(
    image=hnp.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70), st.just(3))),
    data=st.data(),
    scale=st.none() | st.floats(0.1, 500),
)
def test_no_picture_makes_it_fail_or_warn(image: Image, data: st.DataObject, scale: float | None) -> None:
    hair = data.draw(hnp.arrays(np.bool_, image.shape[:2]))
    field = data.draw(st.none() | hnp.arrays(np.bool_, image.shape[:2]))
    found, maps = measure_scalp(image, hair, field, None, scale)
    ScalpIndices.model_validate_json(found.model_dump_json())
    for index in (found.flakes, found.shine):
        assert index.value is None or 0 <= index.value <= 100
        assert (index.value is None) <= (index.reason is not None)
    assert draw_scalp(image, maps, found).shape == image.shape


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 640), (40, 2000), (1920, 1080)])
def test_odd_sizes_are_measured_or_said_to_be_too_small(size: tuple[int, int]) -> None:
    image = picture(skin(size=size))
    found, maps = measure_scalp(image, no_hair(image), um_per_px=3.0)
    assert max(maps.skin.shape) <= 640
    if min(size) >= 40:
        assert found.flakes.value == 0
        area = size[0] * size[1] * 9e-8
        assert found.skin_area_cm2 == pytest.approx(area, rel=0.05)
    elif found.flakes.value is None:
        assert found.flakes.reason


def test_rendered_scalps_rank_with_what_is_on_them() -> None:
    def flakes(grade: int, kind: Kind) -> float:
        seeds = (seed for seed in range(1000) if draw_recipe(np.random.default_rng([seed, 0]), kind).grades[0] == grade)
        frames = [render_frame(next(seeds), kind=kind) for _ in range(3)]
        assert all(frame.truth.grades[0] == grade for frame in frames)
        return float(np.median([value(measure_scalp(f.image, f.mask | f.faint, f.field, None, f.um_per_px)[0].flakes) for f in frames]))

    assert flakes(0, "easy") < 0.3 < flakes(3, "realistic")


def test_the_picture_shows_each_map_in_its_place() -> None:
    levels = skin()
    flakes = with_discs(levels, 10, 18, 0.6)
    levels[200:280, 400:500] = RED_SKIN
    image = picture(levels)
    kept = image.copy()
    found, maps = measure_scalp(image, no_hair(image), um_per_px=UM_PER_PX)
    drawn = draw_scalp(image, maps, found)
    assert np.array_equal(image, kept)
    changed = np.abs(drawn.astype(int) - image).sum(axis=2)
    ring = cv2.dilate(flakes.astype(np.uint8), np.ones((5, 5))) - cv2.erode(flakes.astype(np.uint8), np.ones((5, 5)))
    assert np.mean(changed[(ring > 0) & (np.arange(480)[:, None] > 120)] > 60) > 0.6  # below the legend
    assert np.nanmedian(maps.redness[210:270, 410:490]) > np.nanmedian(maps.redness[300:, :300]) + 10 > REDNESS_FROM
    assert changed[230:250, 440:460].mean() > changed[300:400, 100:200].mean()


def test_the_legend_says_what_is_not_to_be_trusted() -> None:
    found = measured(skin(BLACK_SKIN))
    assert index_text("redness", found.erythema).endswith("?")
    none = measured(skin((150, 150, 150)))
    assert index_text("redness", none.erythema) == "redness –"


def test_a_picture_to_draw_on_must_be_one() -> None:
    image = picture(skin(size=(64, 48)))
    found, maps = measure_scalp(image, no_hair(image))
    with pytest.raises(ValueError, match="scalp overlay"):
        draw_scalp(image[..., 0], maps, found)
