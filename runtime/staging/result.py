"""The stage of a head as `trichoscope assess --json` prints it: schema "trichoscope/stage/1"."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.bundles.roles import View

SCHEMA: Final = "trichoscope/stage/1"
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """Base of every part of the result."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ViewStage(Part):
    """What one view has said alone, and how much it weighed in the whole.

    Attributes:
        attention: share of the weight, which sums to 1 over the views used.
        stage, probabilities: None where the model does not tell them by view.
    """

    attention: Share
    stage: str | None
    probabilities: dict[str, Share] | None


class StageResult(Part):
    """The stage of a head.

    Attributes:
        folder: of the views, as given.
        stage: the middle one of the probabilities (half lies below or in it); `grade` its number, 1 for the first.
        probabilities: by stage; they sum to 1.
        views: what was used, in the order of the bundle.
        missing: views that were not there; `failed`: those whose file could not be used.
    """

    schema_: Literal["trichoscope/stage/1"] = Field(default=SCHEMA, alias="schema")
    folder: str
    stage: str
    grade: Annotated[int, Field(ge=1, le=16)]
    probabilities: dict[str, Share]
    views: dict[View, ViewStage]
    missing: tuple[View, ...]
    failed: tuple[View, ...]
    bundle: str
    validated_on_real_labels: bool
    version: str

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    def to_json(self) -> str:
        """One line."""
        return self.model_dump_json(by_alias=True)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the result."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | StageResult.model_json_schema(by_alias=True, mode="serialization")
