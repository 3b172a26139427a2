"""What the manifest of a bundle is made of: names, files, where a network comes from, how its numbers are proven, what it is fed.

Everything is immutable and closed to unknown keys; numbers are finite; names are plain file names, so that nothing in a manifest can
point outside its bundle.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_SIDE_PX = 8192
FP32_MOST = 0.01
"""The largest tolerance of the fp32 reference on another backend; variants are held by their end figures, too."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
TensorName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.:/-]{0,63}$")]
Word = Annotated[str, Field(min_length=1, max_length=80)]
Text = Annotated[str, Field(max_length=2000)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Figures = dict[Word, float]
Triple = tuple[float, float, float]


class Part(BaseModel):
    """Base of every part of a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class FileEntry(Part):
    """A file of the bundle beside the manifest."""

    name: FileName
    sha256: Sha256
    size: Annotated[int, Field(gt=0, le=MAX_FILE_BYTES)]


class ModelCard(Part):
    """Where a network comes from, so that a reader can judge and repeat it.

    Attributes:
        machine: what it was trained on, in words without names.
        repeat: the command that makes it again.
    """

    description: Text
    recipe: dict[Word, str | int | float]
    seed: int
    steps: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]
    machine: Text
    trained_on: Text
    validated_on_real_labels: bool
    licence: Text
    repeat: Text
    limits: Text


class Tolerance(Part):
    """How far an output may lie from the reference: |found − expected| ≤ absolute + relative · |expected|, everywhere."""

    output: TensorName
    absolute: Annotated[float, Field(ge=0, le=100)]
    relative: Annotated[float, Field(ge=0, le=1)] = 0.0


class Golden(Part):
    """Inputs and the fp32 reference's outputs that travel with a model, and how near a backend must come to them.

    Attributes:
        file: of `runtime.bundles.golden`.
        tolerances: one for each output.
        end: greatest change of each end metric (`dice`, `hair_count`, `median_width`, `severity` …) on the golden inputs.
    """

    file: FileName
    tolerances: Annotated[tuple[Tolerance, ...], Field(min_length=1, max_length=16)]
    end: dict[Word, NonNegative] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _near(self) -> Golden:
        for each in self.tolerances:
            if max(each.absolute, each.relative) > FP32_MOST:
                raise ValueError(f"{each.output}: a tolerance above {FP32_MOST} for fp32: anything would be proven")
        return self


Precision = Literal["fp32", "fp16", "int8", "int8-symmetric"]


class Variant(Part):
    """The same network in another precision, which lies in its graph.

    Attributes:
        precision: fp16 by casts; int8 with unsigned activations, for x86; int8-symmetric with signed ones, as TensorRT demands.
        tolerances: as in Golden, against the same fp32 reference.
        end: as in Golden, where this precision may change an end metric by more or less than that says.
        metrics: what it was measured at.
    """

    precision: Literal["fp16", "int8", "int8-symmetric"]
    model: FileName
    tolerances: Annotated[tuple[Tolerance, ...], Field(min_length=1, max_length=16)]
    end: dict[Word, NonNegative] = Field(default_factory=dict)
    metrics: Figures = Field(default_factory=dict)


class PictureInput(Part):
    """How a picture becomes the input of a network of one size (`runtime.inference.pictures.picture_tensor` does it).

    Attributes:
        resize: "stretch" to width × height, or "crop" the largest middle part of that shape and resize it.
        scale, mean, std: for float32: (value · scale − mean) / std by channel, in the order of `colour`.
    """

    name: TensorName
    colour: Literal["BGR", "RGB"] = "BGR"
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    dtype: Literal["uint8", "float32"] = "uint8"
    width: Annotated[int, Field(ge=8, le=MAX_SIDE_PX)]
    height: Annotated[int, Field(ge=8, le=MAX_SIDE_PX)]
    resize: Literal["stretch", "crop"] = "stretch"
    scale: Positive = 1.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)

    @model_validator(mode="after")
    def _bytes_as_they_are(self) -> PictureInput:
        if self.dtype == "uint8" and (self.scale, self.mean, self.std) != (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)):
            raise ValueError("a uint8 input is not normalised: its graph does that")
        return self
