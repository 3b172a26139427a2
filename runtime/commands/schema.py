"""`trichoscope schema`: the JSON Schema of one line of `trichoscope analyze --json`."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of a measurement."""
    from runtime.analysis.measurement import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
