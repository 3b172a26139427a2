"""The result of a forecast, as it is printed and stored (`trichoscope/forecast/1`). A quantity that could not be had is null."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Literal["trichoscope/forecast/1"] = "trichoscope/forecast/1"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class Model(BaseModel):
    """Base of every part: immutable, closed to unknown keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, json_schema_serialization_defaults_required=True)


class Outlook(Model):
    """What the network says."""

    label: str
    score: Share = Field(description="probability of the last of two labels; of more labels the expected one, 0 the first, 1 the last")
    probabilities: dict[str, Share]


class Attribution(Model):
    """What the forecast would be without one input: a statement about the model, not about causes."""

    input: str
    kind: Literal["picture", "series", "marker"]
    value: str | None = Field(description="what was put in, last value of a series; null where it was not known, and so changes nothing")
    change: Annotated[float, Field(ge=-1, le=1)] = Field(description="score with this input less score without it")
    words: str


class Course(Model):
    """How a measured figure has gone over the visits: a straight line through them. Not an input of the network."""

    figure: str
    visits: Count
    first: float
    last: float
    change_per_year: float | None = Field(description="null where all visits with it fall on one day")
    change_per_year_std: float | None = Field(description="standard error; null below three visits")


class Used(Model):
    """What the forecast rests on."""

    visits: Count
    records: Count
    intervals: Count = Field(description="weeks or months from the first record that was used to the last, those without any included")
    interval: Literal["week", "month"]
    picture: str | None
    answers: Count


class Trouble(Model):
    """What was not used, and why."""

    where: str
    what: str


class Forecast(Model):
    """The whole result."""

    schema_: Literal["trichoscope/forecast/1"] = Field(default=SCHEMA, alias="schema")
    client: str | None
    as_of: date | None = Field(description="the newest visit or record")
    forecast: Outlook | None
    missing: list[str] = Field(description="what it takes to speak; empty where it has spoken")
    attributions: list[Attribution] = Field(description="by falling size of their change")
    course: list[Course]
    used: Used
    problems: list[Trouble]
    problem_count: Count
    bundle: str
    validated_on_real_labels: bool
    version: str

    model_config = ConfigDict(populate_by_name=True)  # the rest is inherited

    def to_json(self) -> str:
        """One line of JSON, keys as in the schema."""
        return self.model_dump_json(by_alias=True)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one line of `trichoscope forecast --json`, made from the models above."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Forecast.model_json_schema(by_alias=True, mode="serialization")
