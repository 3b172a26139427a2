"""What a bundle can stand in for: each role's model, how it is fed and read, how it is proven, and where it comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from runtime.bundles.parts import (
    Figures,
    FileName,
    Golden,
    ModelCard,
    Part,
    PictureInput,
    Positive,
    TensorName,
    Variant,
    Word,
)

RoleName = Literal["segmenter", "teacher", "refiner", "severity", "conditions", "forecast", "stage"]
SegmenterName = Literal["segmenter", "teacher"]
"""Roles whose network a `LearnedSegmenter` runs."""
PromptVariant = Literal["mask+complement", "skeleton+random", "skeleton", "skeleton+complement"]
"""As `runtime.refining.prompts.Variant`."""
Four = tuple[Word, Word, Word, Word]


class Role(Part):
    """What every role has.

    Attributes:
        model: the fp32 reference.
        variants: the same in other precisions.
        metrics: what the reference was measured at, by its maker.
    """

    model: FileName
    variants: Annotated[tuple[Variant, ...], Field(max_length=3)] = ()
    golden: Golden
    card: ModelCard
    metrics: Figures = Field(default_factory=dict)

    @model_validator(mode="after")
    def _once_each(self) -> Role:
        precisions = [variant.precision for variant in self.variants]
        if len(set(precisions)) != len(precisions):
            raise ValueError("a precision comes twice")
        return self

    def files(self) -> tuple[str, ...]:
        """The files that the role needs."""
        return (self.model, self.golden.file, *(variant.model for variant in self.variants))


class InputSpec(Part):
    """What a segmenter takes: uint8 (1, height, width, 3), sides multiples of `stride`, at least `min_side`."""

    name: TensorName
    colour: Literal["BGR"]
    layout: Literal["NHWC"]
    dtype: Literal["uint8"]
    stride: Annotated[int, Field(ge=1, le=4096)]
    min_side: Annotated[int, Field(ge=1, le=4096)]


class Preprocessing(Part):
    """What is done to a picture before a segmenter; normalising is part of the graph.

    Larger pictures are reduced to `longest_side` px, so that hairs are as wide as those that the network has learnt. Beyond their right
    and lower border they are continued by their mirror image ("reflect"), or by the mean colour, which normalising makes nothing of
    ("mean", for refiners of kind "points" alone).
    """

    longest_side: Annotated[int, Field(ge=64, le=8192)]
    padding: Literal["reflect", "mean"]
    normalised_in_graph: Literal[True]


class Trust(Part):
    """How a mask's reliability is had, and when a picture counts as unfamiliar.

    Attributes:
        features: mean of each channel of the network's `features` over rendered frames.
        feature_axes: rows that turn a difference from that mean into independent figures of unit spread (whitening).
        unfamiliar_above: root mean square of those figures beyond which a picture is unlike the rendered frames.
        weights: of the uncertainty figures (see `runtime.analysis.learned`), the last one constant; their sum, 0…1, is the reliability.
    """

    features: Annotated[tuple[float, ...], Field(min_length=1, max_length=256)]
    feature_axes: Annotated[tuple[tuple[float, ...], ...], Field(min_length=1, max_length=256)]
    unfamiliar_above: Positive
    weights: Annotated[tuple[float, ...], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _alike(self) -> Trust:
        if any(len(row) != len(self.features) for row in self.feature_axes):
            raise ValueError("a row of feature_axes is not as long as features")
        return self


class SegmenterRole(Role):
    """The network that finds hair. Its outputs: `hair`, `marks` (centre lines, openings, faintness) and `features`; probabilities 0…1.

    Attributes:
        threshold: probability from which a pixel is hair.
        faint_threshold: faintness, smoothed along hair, from which hair is seen but too like the skin to count.
    """

    input: InputSpec
    preprocessing: Preprocessing
    threshold: Annotated[float, Field(gt=0, lt=1)]
    faint_threshold: Annotated[float, Field(gt=0, le=1)]
    trust: Trust

    @model_validator(mode="after")
    def _mirrored(self) -> SegmenterRole:
        if self.preprocessing.padding != "reflect":
            raise ValueError("a segmenter's pictures are continued by their mirror image: padding is reflect")
        return self


class TeacherRole(SegmenterRole):
    """A thick segmenter for captured fields, too slow for the live picture: taken in by the same inputs, read by the same outputs.

    Attributes:
        flips: look at the picture and its three mirror images and average, which takes four times as long; said here and not chosen by how
            fast a machine is, so that all give the same figures. Those in `metrics` are of as many looks.
        use: whether rendered frames showed it to be better on captures than the live mask; if not, the teacher only lies there.
        marks: whether its `marks` mean anything; if not, openings and faint hair are the live mask's.
    """

    flips: bool = False
    use: bool = False
    marks: bool = True


class RefinerRole(Role):
    """A network that is shown where hair seems to be, by points, and answers with masks; for captured fields.

    Kind "maps": one network. Inputs: the picture, and `prompts` float32 (1, 2, height, width), discs at the points for and against hair.
    Outputs: `masks` float32 (1, m, height, width), probabilities 0…1, and `iou` float32 (1, m), the Jaccard that each is predicted to have.

    Kind "points", of SAM's family: two networks. `model` is the encoder, from the picture to `embedding` float32 (1, c, s, s). `decoder`
    takes `embedding`, `point_coords` float32 (b, n, 2) in px of the square picture, and `point_labels` float32 (b, n), 1 hair, 0 none,
    −1 no point; it gives `masks` float32 (b, m, 4 s, 4 s), logits, and `iou` float32 (b, m).

    Attributes:
        decoder, decoder_golden: of kind "points", and of no other.
        input: of the picture; for "points" `stride` and `min_side` are the side of the square that it is put into.
        threshold: probability from which a pixel is hair.
        prompts: how points are drawn from a mask.
        combination: of the mask that prompted and the answer: "and", or "weighed", their mean weighed by how far each is to be trusted.
        use: whether rendered frames showed the combination to be better than the mask that prompted; if not, the refiner only lies there.
    """

    kind: Literal["maps", "points"]
    decoder: FileName | None = None
    decoder_golden: Golden | None = None
    input: InputSpec
    preprocessing: Preprocessing
    threshold: Annotated[float, Field(gt=0, lt=1)]
    prompts: PromptVariant
    combination: Literal["and", "weighed"]
    use: bool

    @model_validator(mode="after")
    def _whole(self) -> RefinerRole:
        there = [self.decoder is not None, self.decoder_golden is not None]
        if self.kind == "points" and not all(there):
            raise ValueError("a refiner of kind points needs a decoder and its golden data")
        if self.kind == "maps" and any(there):
            raise ValueError("a refiner of kind maps has no decoder")
        if (self.preprocessing.padding == "mean") != (self.kind == "points"):
            raise ValueError("pictures for kind points are continued by the mean colour, for kind maps by their mirror image")
        if self.kind == "points" and self.input.stride != self.input.min_side:
            raise ValueError("a refiner of kind points takes a square: stride and min_side are its side")
        return self

    def files(self) -> tuple[str, ...]:
        """The files that the role needs, the decoder's too."""
        more = (self.decoder, None if self.decoder_golden is None else self.decoder_golden.file)
        return (*super().files(), *(name for name in more if name is not None))


class SeverityRole(Role):
    """Hair loss of a frame, from figures of its hairs: input float32 (n, features), output `probabilities` float32 (n, 4).

    Attributes:
        input: name of the input.
        features: what each column is, by the names of `runtime.analysis.severity`.
        labels: of the grades 0 to 3.
    """

    input: TensorName
    features: Annotated[tuple[Word, ...], Field(min_length=1, max_length=64)]
    labels: Four


class ConditionsRole(Role):
    """Dandruff, sebum and erythema of a picture: outputs `presence` float32 (n, 3) and `grades` float32 (n, 3, 4), probabilities.

    Attributes:
        conditions: the order of the three.
        labels: of the grades 0 to 3.
    """

    picture: PictureInput
    conditions: tuple[Literal["dandruff"], Literal["sebum"], Literal["erythema"]]
    labels: Four


class Marker(Part):
    """A categorical input (a genetic marker, say): its values are numbered from 1 in their order; 0 is "not known"."""

    name: Word
    values: Annotated[tuple[Word, ...], Field(min_length=1, max_length=64)]


class Series(Part):
    """A number that is recorded again and again: what unit it has, how it is scaled, and between what it is plausible."""

    name: Word
    unit: Annotated[str, Field(max_length=20)]
    mean: float
    std: Positive
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Series:
        if self.low >= self.high:
            raise ValueError(f"{self.name}: low is not below high")
        return self


class ForecastRole(Role):
    """Risk of hair loss from a picture, records and markers.

    Inputs: the picture; `markers` int64 (n, markers); `records` float32 (n, length, 2 × series): scaled values, 0 where missing, then
    whether each is there (1) or missing (0). Output `probabilities` float32 (n, labels).

    Attributes:
        picture: None where the model looks at none.
        interval: between two records.
        minimum_visits: with fewer it does not speak.
    """

    picture: PictureInput | None
    markers: Annotated[tuple[Marker, ...], Field(max_length=32)]
    series: Annotated[tuple[Series, ...], Field(min_length=1, max_length=64)]
    interval: Literal["week", "month"]
    labels: Annotated[tuple[Word, ...], Field(min_length=2, max_length=16)]
    minimum_visits: Annotated[int, Field(ge=3, le=100)] = 3
    most_records: Annotated[int, Field(ge=1, le=2000)] = 520


View = Literal["front", "top", "back", "left", "right"]


class StageRole(Role):
    """Norwood–Hamilton stage from the views of a head that are there.

    Inputs: `picture.name` (n, views, height, width, 3) and `present` float32 (n, views), 1 where there is a view. Outputs
    `probabilities` float32 (n, labels), `attention` float32 (n, views), which sums to 1, and `view_probabilities` float32
    (n, views, labels), what each view says alone.
    """

    picture: PictureInput
    views: Annotated[tuple[View, ...], Field(min_length=1, max_length=5)]
    labels: Annotated[tuple[Word, ...], Field(min_length=2, max_length=16)]


class Roles(Part):
    """What the bundle can stand in for: one role at least."""

    segmenter: SegmenterRole | None = None
    teacher: TeacherRole | None = None
    refiner: RefinerRole | None = None
    severity: SeverityRole | None = None
    conditions: ConditionsRole | None = None
    forecast: ForecastRole | None = None
    stage: StageRole | None = None

    def present(self) -> dict[RoleName, Role]:
        """The roles that are filled, by name."""
        found: dict[RoleName, Role | None] = {
            "segmenter": self.segmenter,
            "teacher": self.teacher,
            "refiner": self.refiner,
            "severity": self.severity,
            "conditions": self.conditions,
            "forecast": self.forecast,
            "stage": self.stage,
        }
        return {name: role for name, role in found.items() if role is not None}

    @model_validator(mode="after")
    def _some(self) -> Roles:
        if not self.present():
            raise ValueError("no role is filled")
        return self
