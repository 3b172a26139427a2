"""µm and cm² by the scale where things lie, within the hood's opening, and anew for a measurement that was stored."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calib.field import FrameScale, ScaleReading
from calib.lens import RadialLens, straight_lens
from calib.scale import NO_SCALE, Scale, given_scale
from device.simulated.lens import Lens
from runtime.analysis.measurement import Measurement
from runtime.analysis.micrometres import area_cm2
from runtime.analysis.opening import open_shares, opening_mask
from runtime.analysis.rescaling import rescaled
from runtime.analysis.segmentation import given_mask
from runtime.pipeline import TOO_BLURRED, analyse
from tests.runtime.drawn import FIVE, hairs_on_skin

BENT = RadialLens(640, 480, (322.0, 242.0), k1=-0.03, k2=0.004)


@pytest.fixture(scope="module")
def five():
    return hairs_on_skin(FIVE)


def measured(five, scale):
    picture, mask = five
    return analyse(picture, name="five", segmentation=given_mask(mask), scale=scale)


def test_a_scale_that_is_the_same_everywhere_is_the_plain_scale(five):
    plain, wrapped = measured(five, given_scale(8.0, 0.1)), measured(five, FrameScale(given_scale(8.0, 0.1), lens=straight_lens(640, 480)))
    for part in ("area_cm2", "diameter_um", "density_per_cm2", "cumulative_thickness_mm_per_cm2", "interfollicular_distance_um"):
        ours, theirs = (m.model_dump(include={part})[part] for m in (wrapped, plain))
        assert ours == pytest.approx(theirs) or str(ours) == str(theirs), part
    assert wrapped.hairs == plain.hairs
    assert wrapped.calibration is None and wrapped.scale_reading is None


def test_a_hair_is_measured_by_the_scale_where_it_lies(five):
    scale = FrameScale(given_scale(8.0), lens=BENT, slope_per_px=(2e-4, -1e-4))
    m = measured(five, scale)
    seen = []
    for hair in m.hairs:
        local = scale.at([point[:2] for point in hair.points]).mean()
        assert hair.diameter_um == pytest.approx(hair.diameter_px * local, rel=1e-3)
        seen.append(local)
    assert max(seen) / min(seen) > 1.01, "the field must differ enough for this test to mean something"


def test_the_area_is_that_of_the_lens():
    """Against the simulated lens, which knows nothing of how calibration writes a distortion down."""
    truth = Lens(640, 480, 1900.0, 19.0, (0.0, 0.0), 0.35, -1.1)
    half = np.hypot(640, 480) / 2
    radius = np.linspace(0.02, 1.0, 200)
    pixels = np.stack([319.5 + radius * half, np.full(200, 239.5)], 1)
    straight = truth.on_skin(pixels)[:, 0] / truth.on_skin(pixels[:1])[0, 0] * radius[0]  # in half diagonals, straight at the middle
    powers = np.stack([radius**3, radius**5], 1)
    k1, k2 = np.linalg.lstsq(powers, straight - radius, rcond=None)[0]
    lens = RadialLens(640, 480, (319.5, 239.5), float(k1), float(k2))
    scale = FrameScale(given_scale(truth.centre_um_per_px), lens=lens)
    assert area_cm2(640, 480, scale) == pytest.approx(truth.area_cm2, rel=5e-4)
    flat = area_cm2(640, 480, FrameScale(given_scale(truth.centre_um_per_px)))
    assert abs(flat / truth.area_cm2 - 1) > 0.01, "without the lens it is off by more"


def test_only_what_lies_in_the_opening_counts(five):
    whole = measured(five, given_scale(8.0))
    upper = ((0.0, 0.0), (639.0, 0.0), (639.0, 215.0), (0.0, 215.0))
    m = measured(five, FrameScale(given_scale(8.0), opening_px=upper))
    assert m.hair_count == 2
    assert m.area_cm2 == pytest.approx(whole.area_cm2 * 216 / 480, rel=0.01)
    assert m.density_per_cm2.value == pytest.approx(m.rooted_hair_count / m.area_cm2)
    assert m.field == [list(p) for p in upper] or m.field == list(upper)
    assert all(y <= 216 for hair in m.hairs for _, y, _ in hair.points)


@settings(max_examples=30)
@given(st.floats(40, 400), st.floats(-100, 740), st.floats(-100, 580))
def test_open_shares_add_up_to_the_mask(radius, x, y):
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    circle = [(x + radius * np.cos(t), y + radius * np.sin(t)) for t in turn]
    shares = open_shares(circle, 640, 480, (24, 32))
    assert shares.min() >= 0 and shares.max() <= 1
    assert shares.mean() == pytest.approx(opening_mask(circle, 640, 480).mean(), abs=2e-3)


def test_too_much_blur_takes_the_widths_and_leaves_the_scale(five):
    sharp = measured(five, FrameScale(given_scale(8.0), psf_sigma_px=1.0, max_psf_sigma_px=2.5))
    m = measured(five, FrameScale(given_scale(8.0), psf_sigma_px=2.6, max_psf_sigma_px=2.5))
    assert sharp.diameter_um.n == 5 and TOO_BLURRED not in sharp.quality.reasons
    assert m.scale == sharp.scale and m.hair_count == 5 and m.area_cm2 == sharp.area_cm2
    assert m.diameter_um.n == m.diameter_px.n == 0 and m.terminal_vellus.undetermined == 5
    assert all(h.diameter_um is None and h.diameter_um_max is None and all(p[2] is None for p in h.points) for h in m.hairs)
    assert TOO_BLURRED in m.quality.reasons and not m.quality.ok


def test_what_the_scale_rests_on_is_kept(five):
    reading = ScaleReading(distance_mm=17.3, distance_std_mm=0.2)
    m = measured(five, FrameScale(Scale(8.0, 0.1, "distance"), profile_id="abc", reading=reading, note="no hood ring in view"))
    assert m.calibration == "abc" and m.scale.source == "distance"
    assert m.scale_reading.distance_mm == 17.3 and m.scale_reading.note == "no hood ring in view"
    again = Measurement.model_validate_json(m.to_json())
    assert again == m


def test_a_stored_measurement_gets_another_scale_as_if_it_had_been_taken_with_it(five):
    old = FrameScale(Scale(8.0, 0.1, "hood"), lens=BENT, profile_id="old")
    new = FrameScale(Scale(8.4, 0.05, "hood"), lens=replace(BENT, k1=-0.02), profile_id="new", slope_per_px=(1e-4, 0.0))
    stored = Measurement.model_validate_json(measured(five, old).to_json())
    made, taken = rescaled(stored, new), measured(five, new)
    assert made.calibration == "new" and made.scale == taken.scale
    assert made.area_cm2 == pytest.approx(taken.area_cm2)
    for part in ("density_per_cm2", "follicle_density_per_cm2", "cumulative_thickness_mm_per_cm2", "diameter_um"):
        ours, theirs = ({k: v for k, v in getattr(m, part).model_dump().items() if k != "rule"} for m in (made, taken))
        assert ours == pytest.approx(theirs, rel=2e-3), part
    assert made.terminal_vellus == taken.terminal_vellus
    assert [h.diameter_um_std for h in made.hairs] == pytest.approx([h.diameter_um_std for h in taken.hairs], rel=0.01, abs=2e-3)
    assert [h.points for h in made.hairs] == [h.points for h in stored.hairs]
    assert (made.hair_count, made.follicle_count, made.timing_ms) == (stored.hair_count, stored.follicle_count, stored.timing_ms)


def test_a_corrected_profile_that_cannot_serve_takes_the_micrometres_away(five):
    stored = measured(five, FrameScale(given_scale(8.0), profile_id="old"))
    m = rescaled(stored, FrameScale(NO_SCALE, note="outside the calibrated distances"))
    assert m.scale.source == "none" and m.area_cm2 is None and m.diameter_um is None and m.density_per_cm2 is None
    assert m.diameter_px == stored.diameter_px and m.scale_reading.note
