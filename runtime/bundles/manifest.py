"""The schema of a bundle's `manifest.json`: which files it has, what they are for, how they are used, and where they come from.

Everything is immutable and closed to unknown keys; numbers are finite; names are plain file names, so that nothing in a manifest can
point outside its bundle.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA: Final = "trichoscope/bundle/1"
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 256 * 1024
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_BUNDLE_BYTES = 256 * 1024 * 1024

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Text = Annotated[str, Field(max_length=2000)]
Role = Literal["segmenter"]


class Part(BaseModel):
    """Base of every part of a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class FileEntry(Part):
    """A file of the bundle beside the manifest."""

    name: FileName
    sha256: Sha256
    size: Annotated[int, Field(gt=0, le=MAX_FILE_BYTES)]


class InputSpec(Part):
    """What a network takes: uint8 (1, height, width, 3), sides multiples of `stride`, at least `min_side`."""

    name: Name
    colour: Literal["BGR"]
    layout: Literal["NHWC"]
    dtype: Literal["uint8"]
    stride: Annotated[int, Field(ge=1, le=256)]
    min_side: Annotated[int, Field(ge=1, le=4096)]


class Preprocessing(Part):
    """What is done to a picture before the network; normalising is part of the graph.

    Larger pictures are reduced to `longest_side` px, so that hairs are as wide as those that the network has learnt.
    """

    longest_side: Annotated[int, Field(ge=64, le=8192)]
    padding: Literal["reflect"]
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
    unfamiliar_above: Annotated[float, Field(gt=0)]
    weights: Annotated[tuple[float, ...], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _alike(self) -> Trust:
        if any(len(row) != len(self.features) for row in self.feature_axes):
            raise ValueError("a row of feature_axes is not as long as features")
        return self


class SegmenterRole(Part):
    """The network that finds hair. Its outputs: `hair`, `marks` (centre lines, openings, faintness) and `features`; probabilities 0…1.

    Attributes:
        threshold: probability from which a pixel is hair.
        faint_threshold: faintness, smoothed along hair, from which hair is seen but too like the skin to count.
    """

    model: FileName
    input: InputSpec
    preprocessing: Preprocessing
    threshold: Annotated[float, Field(gt=0, lt=1)]
    faint_threshold: Annotated[float, Field(gt=0, le=1)]
    trust: Trust
    metrics: dict[Annotated[str, Field(max_length=80)], float]


class Roles(Part):
    """What the bundle can stand in for."""

    segmenter: SegmenterRole


class ModelCard(Part):
    """Where the networks come from, so that a reader can judge and repeat them.

    Attributes:
        machine: what it was trained on, in words without names.
        repeat: the command that makes it again.
    """

    description: Text
    recipe: dict[Annotated[str, Field(max_length=80)], str | int | float]
    seed: int
    steps: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0)]
    machine: Text
    trained_on: Text
    validated_on_real_labels: bool
    licence: Text
    repeat: Text
    limits: Text


class Manifest(Part):
    """The whole of `manifest.json`."""

    schema_: Literal["trichoscope/bundle/1"] = Field(default=SCHEMA, alias="schema")
    name: Name
    release: Annotated[int, Field(ge=1, le=2**31)]
    minimum_version: Annotated[str, Field(pattern=r"^\d{1,4}(\.\d{1,4}){1,3}$")]
    roles: Roles
    files: Annotated[tuple[FileEntry, ...], Field(min_length=1, max_length=32)]
    card: ModelCard

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True, populate_by_name=True)

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        names = [file.name for file in self.files]
        if len(set(names)) != len(names):
            raise ValueError("a file is listed twice")
        if MANIFEST in names:
            raise ValueError("the manifest lists itself")
        if self.roles.segmenter.model not in names:
            raise ValueError(f"the segmenter's model {self.roles.segmenter.model!r} is not among the files")
        if sum(file.size for file in self.files) > MAX_BUNDLE_BYTES:
            raise ValueError("the files are larger together than a bundle may be")
        return self

    def to_json(self) -> str:
        """The file's content, for people too."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `manifest.json`, made from the models above."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Manifest.model_json_schema(by_alias=True)
