"""The result of pooling several fields of one site, as it is printed (`trichoscope/pooled/1`).

The rules are those of a measurement: names carry their unit, what could not be had is null, never 0. Each figure has its 95 % interval.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from runtime.analysis.measurement import Count, Density, Distribution, Model, NonNegative, Share, TerminalVellus

SCHEMA: Literal["trichoscope/pooled/1"] = "trichoscope/pooled/1"

Interval95 = tuple[NonNegative, NonNegative]


class LeftOut(Model):
    """A field that was given and is not in the pool, and why."""

    image: str
    reason: str


class PooledDensity(Density):
    """An amount per cm² of the site."""

    interval_95: Interval95 | None = Field(description="by std_site; null where that could not be had")


class PooledShare(Model):
    """A share of `n` things, whose field they come from notwithstanding."""

    value: Share
    n: Count
    interval_95: tuple[Share, Share]


class PooledDiameter(Distribution):
    """Statistics over the hairs of all fields; intervals are null below two (mean) and six hairs (median)."""

    mean_interval_95: Interval95 | None
    median_interval_95: Interval95 | None


class PooledDistance(Distribution):
    """Statistics over the follicular units of all fields that have their nearest neighbour in view."""

    mean_interval_95: Interval95 | None


class PooledDiversity(Model):
    """Diameter diversity over the hairs of all fields."""

    cv: NonNegative | None
    cv_interval_95: Interval95 | None = Field(description="null below ten hairs")
    below_cutoff_share: PooledShare | None = Field(description="vellus hairs among those told apart")


class Pooled(Model):
    """Several fields of one site taken together. All null, counts too, where no field could be pooled."""

    schema_: Literal["trichoscope/pooled/1"] = Field(default=SCHEMA, alias="schema")
    name: str = Field(description="what the pool is called: the folder of its pictures")
    fields: list[str] = Field(description="the images that were pooled")
    left_out: list[LeftOut]
    notes: list[str] = Field(description="why something is null, and what to judge with care")
    hair_count: Count | None
    rooted_hair_count: Count | None
    hair_count_in_frame: Count | None
    follicle_count: Count | None
    empty_follicle_count: Count | None = Field(description="null where a field's segmenter could not see openings")
    hairs_per_follicle: list[Count]
    area_cm2: NonNegative | None
    density_per_cm2: PooledDensity | None
    follicle_density_per_cm2: PooledDensity | None
    cumulative_thickness_mm_per_cm2: PooledDensity | None
    diameter_um: PooledDiameter | None
    terminal_vellus: TerminalVellus | None
    diameter_diversity: PooledDiversity | None
    single_hair_unit_share: PooledShare | None
    interfollicular_distance_um: PooledDistance | None
    version: str

    model_config = ConfigDict(populate_by_name=True)  # the rest is inherited

    def to_json(self) -> str:
        """One line of JSON, keys as in the schema."""
        return self.model_dump_json(by_alias=True)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a pooled line of `trichoscope analyze --pool --json`, made from the models above."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Pooled.model_json_schema(by_alias=True, mode="serialization")
