"""`trichoscope schema`: the JSON Schemas of the lines of `trichoscope analyze --json`."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer


def schema(
    of: Annotated[
        Literal["measurement", "pooled"],
        typer.Argument(help="A line for a picture, or, with --pool, for several fields of one site."),
    ] = "measurement",
) -> None:
    """Print the JSON Schema of a result."""
    from runtime.analysis import measurement, pooled

    typer.echo(json.dumps({"measurement": measurement, "pooled": pooled}[of].json_schema(), indent=2))
