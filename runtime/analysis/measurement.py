"""The result of analysing one frame, as it is printed, stored and drawn (`trichoscope/measurement/1`).

Names carry their unit. A quantity that could not be had is null, never 0; NaN and infinity are refused.
`x` grows right and `y` down, in pixels of the image as given, pixel centres at integers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from calib.field import FrameScale, ScaleReading
from runtime.analysis.scalp.indices import ScalpIndices

SCHEMA: Literal["trichoscope/measurement/1"] = "trichoscope/measurement/1"
MIN_SIDE_PX = 16  # in a smaller picture no hair of 24 px visible length can lie

Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
CutoffProfile = Literal["trichoscopy", "trichoscan"]


class Model(BaseModel):
    """Base of every part: immutable, closed to unknown keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, json_schema_serialization_defaults_required=True)


class ScaleUsed(Model):
    """The scale behind every µm and cm² of this result, at the middle of the picture; null with source "none"."""

    um_per_px: Annotated[float, Field(gt=0)] | None
    um_per_px_std: NonNegative | None
    source: Literal["given", "fiducial", "distance", "hood", "none"]


class ScaleReadingUsed(Model):
    """What was read to get the scale, kept so that it can be computed anew when the calibration profile is corrected."""

    distance_mm: float | None
    distance_std_mm: NonNegative | None
    ring_um_per_px: NonNegative | None = Field(description="in the plane of the hood ring, as seen in this frame")
    ring_um_per_px_std: NonNegative | None
    ring_mm: NonNegative | None = Field(description="the ring's diameter by which that was reckoned")
    slope_per_px: tuple[float, float] | None = Field(default=None, description="relative change of the scale per px, from the ring's tilt")
    note: str | None = Field(default=None, description="why no better source was used, or why there is no scale")


class Quality(Model):
    """Whether the frame is fit to be measured, and why not. A frame that fails is still measured."""

    ok: bool
    reasons: list[str]
    sharpness: NonNegative
    exposure: Share = Field(description="mean grey level of the field, 0 black to 1 white")
    hair_coverage: Share = Field(description="share of the field's pixels that are hair")


class SegmentationTrust(Model):
    """How far the mask can be trusted."""

    reliability: Share
    unfamiliar: bool
    mask: Literal["live", "teacher", "refined", "ensemble"] | None = Field(
        default=None, description="which mask the figures stand on; null where it was given, and in results from before there were several"
    )
    passed_over: str | None = Field(default=None, description="why a better mask was not used; null where nothing was passed over")


class Density(Model):
    """An amount (hairs, follicles, mm of diameter) per cm² of scalp with its two uncertainties (standard deviations)."""

    value: NonNegative
    std_frame: NonNegative | None = Field(description="finding and scale")
    std_site: NonNegative | None = Field(description="adds what another field of the same site would give")
    rule: Literal["rooted", "counting-frame"]


class Distribution(Model):
    """Statistics over hairs, each once by its median width (or over follicular units); null where none had a value."""

    n: Count
    mean: NonNegative | None
    median: NonNegative | None
    p25: NonNegative | None
    p75: NonNegative | None
    sd: NonNegative | None


class TerminalVellus(Model):
    """Hairs thicker than the cut-off (30 µm: trichoscopy, 40 µm: TrichoScan) and not, and those that could not be told."""

    profile: CutoffProfile | None = Field(default=None, description="the cut-off's name; null in results from before it was named")
    cutoff_um: Annotated[int, Field(gt=0)]
    terminal: Count
    vellus: Count
    undetermined: Count


class DiameterDiversity(Model):
    """How unlike the hairs are in diameter: the sign of miniaturisation."""

    cv: NonNegative | None = Field(description="standard deviation over mean; null below two hairs with a width")
    below_cutoff_share: Share | None = Field(description="vellus hairs among those told apart; null without a scale")


Point = tuple[float, float, float | None]  # x, y, diameter in px or null


class Hair(Model):
    """One distinct hair: its course from the root, where that is known, and its apparent diameter."""

    id: Count
    follicle_id: Count | None
    diameter_px: NonNegative | None
    diameter_px_std: NonNegative | None = None
    diameter_px_max: NonNegative | None = None
    diameter_um: NonNegative | None
    diameter_um_std: NonNegative | None
    diameter_um_max: NonNegative | None = Field(description='where only "thinner than" is known; diameter_um is then null')
    length_px: NonNegative
    rooted: bool
    confidence: Share
    points: list[Point] = Field(description="[x, y, diameter_px or null] every ≤ 8 px along the centre line")


class Follicle(Model):
    """One ostium (opening of a follicular unit) in the frame, with the hairs that grow from it."""

    id: Count
    x: float
    y: float
    hair_ids: list[Count]


class PaperThickness(Model):
    """ScalpVision 3.2: widths across the principal axis in boxes, px; `iqr` means after dropping outliers by the interquartile range."""

    n: Count
    mean: NonNegative | None
    median: NonNegative | None
    mean_iqr: NonNegative | None
    median_iqr: NonNegative | None


class PaperFeatures(Model):
    """The six features that ScalpVision's severity classifier reads (3.2, Appendix E)."""

    thickness_px: PaperThickness
    line_count: Count


class Grade(Model):
    """A learned grade of 0 (good) to 3 (severe) with its probabilities and the bundle that gave it."""

    severity: Annotated[int, Field(ge=0, le=3)]
    probabilities: list[Share]
    bundle: str
    validated_on_real_labels: bool


class Conditions(Model):
    """The three scalp conditions of ScalpVision 3.3."""

    dandruff: Grade | None
    sebum: Grade | None
    erythema: Grade | None


class Measurement(Model):
    """The whole result for one frame."""

    schema_: Literal["trichoscope/measurement/1"] = Field(default=SCHEMA, alias="schema")
    image: str
    width_px: Annotated[int, Field(gt=0)]
    height_px: Annotated[int, Field(gt=0)]
    scale: ScaleUsed
    quality: Quality
    field: list[tuple[float, float]] | None = Field(description="polygon of usable picture where the hood's rim is in view")
    segmentation: SegmentationTrust
    hair_count: Count
    hair_count_std: NonNegative
    rooted_hair_count: Count
    hair_count_in_frame: Count
    follicle_count: Count
    follicle_count_std: NonNegative
    empty_follicle_count: Count | None = Field(description="openings seen without hair; null where the segmenter cannot see them")
    hairs_per_follicle: list[Count]
    area_cm2: NonNegative | None
    density_per_cm2: Density | None
    follicle_density_per_cm2: Density | None
    diameter_px: Distribution
    diameter_um: Distribution | None
    terminal_vellus: TerminalVellus | None
    # captures kept before these figures were made lack them
    diameter_diversity: DiameterDiversity | None = None
    cumulative_thickness_mm_per_cm2: Density | None = Field(
        default=None, description="diameters of the counted hairs summed, over the area"
    )
    single_hair_unit_share: Share | None = Field(default=None, description="follicular units of one hair; null where no unit was found")
    interfollicular_distance_px: Distribution | None = Field(
        default=None, description="from follicular units to the nearest other one; n are those that are nearer to it than to the border"
    )
    interfollicular_distance_um: Distribution | None = None
    hairs: list[Hair]
    follicles: list[Follicle]
    paper: PaperFeatures | None
    alopecia: Grade | None
    conditions: Conditions | None
    scalp: ScalpIndices | None = Field(default=None, description="measured, without a model; null on the live path")
    models: dict[str, str] = Field(description="role → what filled it, for example {'segmenter': 'classical/1'}")
    calibration: str | None = Field(description="id of the calibration profile")
    scale_reading: ScaleReadingUsed | None = Field(default=None, description="what the scale of a calibration profile rests on")
    version: str
    timing_ms: dict[str, NonNegative]

    model_config = ConfigDict(populate_by_name=True)  # the rest is inherited

    def to_json(self) -> str:
        """One line of JSON, keys as in the schema."""
        return self.model_dump_json(by_alias=True)


def scale_used(scale: FrameScale) -> ScaleUsed:
    """The scale of a frame as its result states it."""
    stated = scale.scale
    return ScaleUsed(um_per_px=stated.um_per_px, um_per_px_std=stated.um_per_px_std, source=stated.source)


def reading_used(scale: FrameScale) -> ScaleReadingUsed | None:
    """What the scale of a frame rests on, as its result states it; None where no profile was asked."""
    if scale.reading == ScaleReading() and not scale.note:
        return None
    return ScaleReadingUsed(**vars(scale.reading), note=scale.note or None)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one line of `trichoscope analyze --json`, made from the models above."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Measurement.model_json_schema(by_alias=True, mode="serialization")
