"""`trichoscope config`: check a configuration file, show the settings in force, print the schema of the file."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from runtime.config import InvalidConfigError, Settings, find_file, load_settings

app = typer.Typer(no_args_is_help=True, help="Check and show the configuration.", pretty_exceptions_enable=False)

FileOption = Annotated[
    Path | None,
    typer.Option("--config", help="The TOML file; else $TRICHOSCOPE_CONFIG, else /etc/trichoscope/trichoscope.toml where it exists."),
]


class Format(str, Enum):
    """How settings are printed."""

    toml = "toml"
    json = "json"


@app.command()
def check(config: FileOption = None, as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Say whether the configuration can be used; list what differs from the defaults, or everything that is wrong (exit code 1)."""
    file = find_file(config)
    name = "defaults" if file is None else str(file)
    try:
        settings = load_settings(config)
    except InvalidConfigError as error:
        if as_json:
            problems = [vars(problem) for problem in error.problems]
            typer.echo(json.dumps({"file": name, "ok": False, "problems": problems}, ensure_ascii=False))
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    changed = changed_values(settings)
    if as_json:
        typer.echo(json.dumps({"file": name, "ok": True, "changed": changed}, ensure_ascii=False))
        return
    typer.echo(f"{name}: ok")
    width = max(map(len, changed), default=0)
    for key, value in changed.items():
        typer.echo(f"  {key:<{width}}  {toml_value(value)}")
    if not changed:
        typer.echo("  every value is the default")


@app.command()
def show(config: FileOption = None, form: Annotated[Format, typer.Option("--format", help="How to print them.")] = Format.toml) -> None:
    """Print the settings in force, file, environment and defaults together. The TOML is a configuration file of its own."""
    try:
        settings = load_settings(config)
    except InvalidConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(settings.model_dump_json(indent=2) if form is Format.json else settings_as_toml(settings).rstrip("\n"))


@app.command()
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of the configuration file."""
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Settings.model_json_schema()
    typer.echo(json.dumps(whole, indent=2, ensure_ascii=False))


def changed_values(settings: Settings) -> dict[str, Any]:
    """Dotted key → value in force, for every value that is not the embedded default, in the order of the schema."""
    defaults = Settings().model_dump(mode="json")
    return {
        f"{table}.{key}": value
        for table, values in settings.model_dump(mode="json").items()
        for key, value in values.items()
        if value != defaults[table][key]
    }


def settings_as_toml(settings: Settings) -> str:
    """The settings as a TOML file that reads back to the same; values that are not set stand as comments."""
    lines: list[str] = []
    for table, described in Settings.model_fields.items():
        lines += [f"# {described.description}", f"[{table}]"]
        model: BaseModel = getattr(settings, table)
        for key, value in model.model_dump(mode="json").items():
            lines.append(f"# {type(model).model_fields[key].description}")
            lines.append(f"# {key} is not set" if value is None else f"{key} = {toml_value(value)}")
        lines.append("")
    return "\n".join(lines)


def toml_value(value: Any) -> str:
    """A string, number, truth value, None (as `-`) or list of them as TOML writes it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's, but for DEL
    return repr(value)
