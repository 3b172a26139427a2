"""The whole of the analysis on pictures whose every number is known, and on pictures that hold nothing to measure."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calib.scale import given_scale
from runtime.analysis.classical import ClassicalSegmenter
from runtime.analysis.measurement import Measurement
from runtime.analysis.segmentation import Segmentation, given_mask
from runtime.errors import PictureError
from runtime.pipeline import analyse
from tests.runtime.drawn import FIVE, hairs_on_skin, skin


@pytest.fixture(scope="module")
def five():
    return hairs_on_skin(FIVE)


def test_known_hairs_come_out_with_their_widths_and_places(five):
    picture, mask = five
    m = analyse(picture, name="five", segmentation=given_mask(mask), scale=given_scale(10.0))
    assert m.hair_count == 5
    for x0, y0, x1, y1, width in FIVE:
        (hair,) = [h for h in m.hairs if min(np.hypot(x - (x0 + x1) / 2, y - (y0 + y1) / 2) for x, y, _ in h.points) < 6]
        assert hair.diameter_px == pytest.approx(width, abs=0.6)
        assert hair.diameter_um == pytest.approx(10 * hair.diameter_px, rel=1e-3)
        assert hair.length_px == pytest.approx(np.hypot(x1 - x0, y1 - y0), rel=0.06)
        ends = [hair.points[0][:2], hair.points[-1][:2]]
        assert all(min(np.hypot(x - ex, y - ey) for ex, ey in ends) < 8 for x, y in [(x0, y0), (x1, y1)])


def test_crossing_hairs_stay_whole():
    bars = [(40, 60, 600, 420, 6), (40, 420, 600, 60, 7), (320, 20, 330, 460, 5)]
    picture, mask = hairs_on_skin(bars)
    m = analyse(picture, name="star", segmentation=given_mask(mask))
    assert m.hair_count == 3
    assert sorted(h.length_px for h in m.hairs) == pytest.approx([440, 666, 666], rel=0.05)


def test_the_live_and_the_captured_path_agree(five):
    picture, _ = five
    segmenter = ClassicalSegmenter()
    live = analyse(picture, name="x", segmentation=segmenter)
    captured = analyse(picture, name="x", segmentation=segmenter, paper=True)
    assert live.paper is None
    assert captured.paper is not None
    assert live.scalp is None
    assert captured.scalp is not None
    assert live.model_copy(update={"timing_ms": {}}) == captured.model_copy(update={"timing_ms": {}, "paper": None, "scalp": None})


def test_the_picture_is_not_touched(five):
    picture, mask = five
    before = picture.copy()
    picture.flags.writeable = False
    analyse(picture, name="x", segmentation=ClassicalSegmenter(), paper=True)
    analyse(picture, name="x", segmentation=given_mask(mask))
    assert np.array_equal(before, picture)


EMPTY = {
    "bald": (skin(), None),
    "black": (np.zeros((480, 640, 3), np.uint8), None),
    "white": (np.full((480, 640, 3), 255, np.uint8), None),
    "no mask": (skin(), np.zeros((480, 640), bool)),
}


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_to_measure_gives_zero_hairs_and_no_widths(name):
    picture, mask = EMPTY[name]
    segmentation = ClassicalSegmenter() if mask is None else given_mask(mask)
    m = analyse(picture, name=name, segmentation=segmentation, scale=given_scale(8.0), paper=True)
    assert (m.hair_count, m.follicle_count, m.rooted_hair_count, m.hair_count_in_frame) == (0, 0, 0, 0)
    assert m.diameter_px.n == 0
    assert m.diameter_px.median is None
    assert m.diameter_um is not None
    assert m.diameter_um.median is None
    assert m.density_per_cm2 is not None
    assert m.density_per_cm2.value == 0
    assert m.paper is not None
    assert m.paper.thickness_px.mean is None
    assert m.paper.line_count == 0


def test_odd_masks_give_a_defined_result():
    picture = skin()
    full, border, specks = np.ones((480, 640), bool), np.zeros((480, 640), bool), np.zeros((480, 640), bool)
    border[:, :3] = True
    specks[::7, ::7] = True
    for mask in (full, border, specks):
        m = analyse(picture, name="odd", segmentation=given_mask(mask), scale=given_scale(8.0), paper=True)
        assert Measurement.model_validate_json(m.to_json()) == m
    assert "too much hair to count" in analyse(picture, name="full", segmentation=given_mask(full)).quality.reasons


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_hair_along_the_border_is_one_hair(side):
    picture, mask = skin(), np.zeros((480, 640), bool)
    along = {"left": np.s_[60:400, :6], "right": np.s_[60:400, -6:], "top": np.s_[:6, 60:400], "bottom": np.s_[-6:, 60:400]}[side]
    picture[along], mask[along] = 40, True
    m = analyse(picture, name=side, segmentation=given_mask(mask), scale=given_scale(8.0))
    assert m.hair_count == 1
    assert m.hair_count_in_frame == (side in {"left", "top"})
    assert m.hairs[0].length_px == pytest.approx(340, abs=20)
    assert Measurement.model_validate_json(m.to_json()) == m


def test_a_mask_of_noise_is_analysed_all_the_same():
    mask = np.random.default_rng(0).random((240, 320)) < 0.5
    m = analyse(np.ascontiguousarray(skin()[:240, :320]), name="noise", segmentation=given_mask(mask))
    assert Measurement.model_validate_json(m.to_json()) == m


def test_nan_in_a_soft_mask_is_survived(five):
    picture, mask = five
    soft = mask.astype(np.float32)
    soft[::3] = np.nan
    m = analyse(picture, name="nan", segmentation=Segmentation(mask, soft, 0.5, False))
    assert m.hair_count == 5
    assert m.quality.reasons == ["hair mask incomplete"]
    soft[:] = np.nan
    lost = analyse(picture, name="lost", segmentation=Segmentation(soft >= 0.5, soft, float("nan"), True))
    assert (lost.hair_count, lost.segmentation.reliability) == (0, 0.0)
    assert "hair mask incomplete" in lost.quality.reasons


@pytest.mark.parametrize(("said", "kept"), [(5.0, 1.0), (-1.0, 0.0), (float("inf"), 0.0), (float("nan"), 0.0)])
def test_a_reliability_that_is_none_is_survived(five, said, kept):
    picture, mask = five
    bare = Segmentation(np.zeros_like(mask), np.zeros(mask.shape, np.float32), said, False)
    hairy = replace(bare, mask=mask, probability=mask.astype(np.float32))
    for found in (hairy, replace(bare, others=(hairy, hairy))):
        m = analyse(picture, name="x", segmentation=found)
        assert (m.hair_count, m.segmentation.reliability) == (5, kept)


def test_what_cannot_be_measured_is_refused_by_name(five):
    picture, mask = five
    with pytest.raises(PictureError, match="tiny: 15×40 px is too small"):
        analyse(np.zeros((40, 15, 3), np.uint8), name="tiny", segmentation=ClassicalSegmenter())
    with pytest.raises(PictureError, match="the mask is 320×240 px, the picture 640×480"):
        analyse(picture, name="x", segmentation=given_mask(mask[::2, ::2]))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(-40, 240)] * 4, st.integers(1, 40)), max_size=12),
    st.integers(16, 200),
    st.integers(16, 200),
    st.floats(0.1, 50),
)
def test_any_drawing_gives_a_valid_measurement(bars, width, height, um_per_px):
    bars = [b for b in bars if b[:2] != b[2:4]]
    picture, mask = hairs_on_skin(bars, width, height)
    m = analyse(picture, name="any", segmentation=given_mask(mask), scale=given_scale(um_per_px), paper=True)
    assert Measurement.model_validate_json(m.to_json()) == m
    assert m.hair_count == len(m.hairs)
    assert m.rooted_hair_count == sum(h.rooted for h in m.hairs)
    assert m.hair_count_in_frame <= m.hair_count
    assert [h.id for h in m.hairs] == list(range(len(m.hairs)))
    owners = [i for f in m.follicles for i in f.hair_ids]
    assert len(owners) == len(set(owners)), "a hair grows from one follicle"
    assert {h.id for h in m.hairs if h.follicle_id is not None} == set(owners)
    assert m.hairs_per_follicle == [len(f.hair_ids) for f in m.follicles if f.hair_ids]
    for hair in m.hairs:
        points = np.array([p[:2] for p in hair.points])
        assert (np.hypot(*np.diff(points, axis=0).T) <= 8.01).all()
        assert (points >= -1).all()
        assert (points <= [width, height]).all()
