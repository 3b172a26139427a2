import numpy as np
import pytest

from calib.errors import ScaleError
from calib.scale import NO_SCALE, Scale, given_scale
from runtime.analysis.measurement import Density, Follicle, Hair, Measurement, Quality, ScaleUsed, TerminalVellus
from runtime.analysis.pooled import Pooled
from runtime.analysis.pooling import pool, slim
from runtime.analysis.segmentation import given_mask
from runtime.pipeline import analyse
from tests.runtime.drawn import FIVE, hairs_on_skin, skin
from tests.runtime.store_samples import measurement

AREA = 0.1
GIVEN = ScaleUsed(um_per_px=10.0, um_per_px_std=0.2, source="given")


def field(name, sizes=(1, 2, 2), diameter_um=60.0, scale=GIVEN, area=AREA, spread=15.0, **changes):
    """A field of long hair, all rooted, with follicular units of these sizes."""
    count = sum(sizes)
    widths = diameter_um + spread * np.linspace(-1, 1, count) if count > 1 else np.full(count, diameter_um)
    hairs = [
        Hair(
            id=i, follicle_id=0, diameter_px=w / 10, diameter_um=w, diameter_um_std=1.0, diameter_um_max=None, length_px=400.0, rooted=True,
            confidence=1.0, points=[(1.0, 1.0, None), (2.0, 2.0, 5.0)],
        )
        for i, w in enumerate(widths.tolist())
    ]  # fmt: skip
    ids = iter(range(count))
    follicles = [
        Follicle(id=i, x=200.0 + 60 * (i % 4), y=150.0 + 50 * (i // 4), hair_ids=[next(ids) for _ in range(m)]) for i, m in enumerate(sizes)
    ]
    density = None if area is None else Density(value=count * diameter_um / 1e3 / area, std_frame=0.1, std_site=0.2, rule="rooted")
    kinds = TerminalVellus(profile="trichoscopy", cutoff_um=30.0, terminal=count, vellus=0, undetermined=0)
    return measurement(0).model_copy(
        update={
            "image": name, "width_px": 640, "height_px": 480, "scale": scale, "hairs": hairs, "hair_count": count, "hair_count_std": 0.5,
            "rooted_hair_count": count, "follicles": follicles, "follicle_count": len(sizes), "hairs_per_follicle": list(sizes),
            "area_cm2": area, "cumulative_thickness_mm_per_cm2": density, "terminal_vellus": kinds,
        } | changes
    )  # fmt: skip


def unscaled(name, **changes):
    return field(name, scale=ScaleUsed(um_per_px=None, um_per_px_std=None, source="none"), area=None, terminal_vellus=None, **changes)


def test_a_pool_is_counts_over_areas():
    p = pool("vertex", [field("a", (1, 2, 2)), field("b", (3, 1)), field("c", (2, 2, 1, 1), area=0.2)])
    assert (p.fields, p.left_out, p.notes) == (["a", "b", "c"], [], [])
    assert (p.hair_count, p.follicle_count, p.hairs_per_follicle) == (15, 9, [1, 2, 2, 3, 1, 2, 2, 1, 1])
    assert p.area_cm2 == pytest.approx(0.4)
    assert p.density_per_cm2.value == pytest.approx(15 / 0.4)
    assert p.follicle_density_per_cm2.value == pytest.approx(9 / 0.4)
    assert p.cumulative_thickness_mm_per_cm2.value == pytest.approx(15 * 0.060 / 0.4)
    assert p.single_hair_unit_share.value == pytest.approx(4 / 9)
    assert (p.diameter_um.n, p.diameter_um.mean) == (15, pytest.approx(60))
    assert (p.terminal_vellus.terminal, p.diameter_diversity.below_cutoff_share.value) == (15, 0.0)
    assert p.interfollicular_distance_um.mean == pytest.approx(600, rel=0.2)
    for low, high, value in (
        (*p.density_per_cm2.interval_95, p.density_per_cm2.value),
        (*p.diameter_um.mean_interval_95, p.diameter_um.mean),
        (*p.diameter_um.median_interval_95, p.diameter_um.median),
        (*p.single_hair_unit_share.interval_95, p.single_hair_unit_share.value),
        (*p.cumulative_thickness_mm_per_cm2.interval_95, p.cumulative_thickness_mm_per_cm2.value),
    ):
        assert 0 <= low < value < high
    assert Pooled.model_validate_json(p.to_json()) == p


def test_more_fields_say_more_of_the_site_but_no_more_of_what_all_have_in_common():
    few, many = (pool("x", [field(str(i), (1, 2, 2, 3)) for i in range(n)]) for n in (2, 12))
    assert few.density_per_cm2.value == pytest.approx(many.density_per_cm2.value)
    assert many.density_per_cm2.std_site < few.density_per_cm2.std_site
    scale = 2 * 0.02 * many.density_per_cm2.value  # the same scale for all
    assert many.density_per_cm2.std_frame >= scale
    low, high = many.diameter_um.mean_interval_95
    assert high - low > 2 * 1.96 * 0.02 * 60


def test_fields_that_differ_widen_the_interval_and_are_noted():
    alike = pool("x", [field(str(i), (2,) * 6) for i in range(4)])
    unlike = pool("x", [field(str(i), (2,) * n) for i, n in enumerate((1, 12, 2, 9))])
    assert alike.density_per_cm2.value == unlike.density_per_cm2.value
    assert unlike.density_per_cm2.std_site > 1.5 * alike.density_per_cm2.std_site
    assert any("times as much as sampling explains" in note for note in unlike.notes)


def test_a_single_field_is_a_pool_of_one_and_says_so():
    p = pool("x", [field("a")])
    assert p.fields == ["a"]
    assert any("a single field" in note for note in p.notes)
    assert p.density_per_cm2.value == pytest.approx(50)
    with pytest.raises(ValueError, match="vertex: no field to pool"):
        pool("vertex", [])


def test_what_cannot_be_pooled_is_left_out_with_its_reason():
    full = Quality(ok=False, reasons=["too much hair to count"], sharpness=1.0, exposure=0.5, hair_coverage=0.8)
    p = pool("x", [field("a"), field("a"), unscaled("b"), field("c", quality=full)])
    assert p.fields == ["a"]
    assert {out.image: out.reason.split(",")[0] for out in p.left_out} == {
        "a": "the same image again",
        "b": "no scale",
        "c": "too much hair to count",
    }
    nothing = pool("x", [field("c", quality=full)])
    assert (nothing.fields, nothing.hair_count, nothing.density_per_cm2) == ([], None, None)
    assert "no field could be pooled" in nothing.notes
    blurred = Quality(ok=False, reasons=["blurred"], sharpness=0.1, exposure=0.5, hair_coverage=0.1)
    assert "b: blurred" in pool("x", [field("a"), field("b", quality=blurred)]).notes


def test_without_any_scale_counts_are_pooled_and_nothing_else():
    p = pool("x", [unscaled("a"), unscaled("b")])
    assert (p.hair_count, p.follicle_count, p.single_hair_unit_share.n) == (10, 6, 6)
    assert p.density_per_cm2 is p.area_cm2 is p.diameter_um is p.terminal_vellus is p.interfollicular_distance_um is None
    assert any(note.startswith("no scale") for note in p.notes)


def test_fields_without_hair_have_a_density_of_zero_with_an_upper_bound():
    p = pool("x", [field("a", ()), field("b", ())])
    assert p.density_per_cm2.value == 0
    low, high = p.density_per_cm2.interval_95
    assert low == 0 < high
    assert p.single_hair_unit_share is None
    assert p.diameter_um.mean is p.diameter_um.mean_interval_95 is None
    assert p.diameter_diversity.cv is p.diameter_diversity.below_cutoff_share is None
    assert p.cumulative_thickness_mm_per_cm2.value == 0
    assert p.interfollicular_distance_um.n == 0
    assert len(p.notes) == 2, "no unit, no diameter"


def test_different_cutoffs_are_not_added_up():
    other = TerminalVellus(profile="trichoscan", cutoff_um=40.0, terminal=5, vellus=0, undetermined=0)
    p = pool("x", [field("a"), field("b", terminal_vellus=other)])
    assert p.terminal_vellus is None
    assert any("different cut-offs" in note for note in p.notes)


def test_measured_pictures_are_pooled_without_the_points_of_their_hairs():
    fields = [
        slim(analyse(picture, name=str(seed), segmentation=given_mask(mask), scale=given_scale(8.0, 0.1)))
        for seed in (1, 2, 3)
        for picture, mask in [hairs_on_skin(FIVE, seed=seed)]
    ]
    assert all(not hair.points for m in fields for hair in m.hairs)
    p = pool("drawn", [*fields, analyse(skin(), name="bald", segmentation=given_mask(np.zeros((480, 640), bool)), scale=given_scale(8.0))])
    assert p.hair_count == 15
    assert p.diameter_um.n == 15
    assert p.diameter_um.median == pytest.approx(48, abs=3)
    full = analyse(skin(), name="full", segmentation=given_mask(np.ones((480, 640), bool)), scale=given_scale(8.0))
    assert pool("drawn", [*fields, full]).left_out[0].image == "full"


@pytest.mark.parametrize("um_per_px", [0.0, -6.5, float("nan"), float("inf"), 1e6])
def test_no_absurd_scale_reaches_a_figure(um_per_px):
    with pytest.raises(ScaleError, match="no microscope's scale"):
        given_scale(um_per_px)
    with pytest.raises(ScaleError, match="is not a number of µm/px"):
        Scale(6.5, float("nan"), "given")


@pytest.mark.parametrize("bars", [[], FIVE[:1]])
@pytest.mark.parametrize("scale", [NO_SCALE, given_scale(8.0)])
def test_no_hair_or_one_hair_gives_null_where_a_figure_needs_more(bars, scale):
    picture, mask = hairs_on_skin(bars)
    m = analyse(picture, name="few", segmentation=given_mask(mask), scale=scale)
    assert m.hair_count == len(bars)
    assert m.diameter_diversity.cv is None
    assert m.interfollicular_distance_px.mean is None
    told = len(bars) and scale.um_per_px
    assert (m.diameter_diversity.below_cutoff_share is not None) == bool(told)
    assert (m.cumulative_thickness_mm_per_cm2 is None) == (scale is NO_SCALE)
    if not m.hairs_per_follicle:
        assert m.single_hair_unit_share is None
    assert Measurement.model_validate_json(m.to_json()) == m
    assert pool("few", [m, m.model_copy(update={"image": "again"})]).diameter_diversity is None or scale.um_per_px
