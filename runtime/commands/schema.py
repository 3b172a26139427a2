"""`trichoscope schema`: the JSON Schemas of what the commands print with `--json`."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer


def schema(
    of: Annotated[
        Literal["measurement", "pooled", "stage", "forecast"],
        typer.Argument(help="Of analyze: a line for a picture, or, with --pool, for several fields of a site; of assess; of forecast."),
    ] = "measurement",
) -> None:
    """Print the JSON Schema of a result."""
    from runtime.analysis import measurement, pooled
    from runtime.forecast import result as forecast
    from runtime.staging import result as stage

    schemas = {"measurement": measurement, "pooled": pooled, "stage": stage, "forecast": forecast}
    typer.echo(json.dumps(schemas[of].json_schema(), indent=2))
