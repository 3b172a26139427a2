"""`trichoscope forecast`: a client's risk from visits, records and answers, with reasons; for a clinic, never for a salon."""

from __future__ import annotations

import os
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from runtime.commands.config import FileOption
from runtime.errors import PictureError, TrichoscopeError

if TYPE_CHECKING:
    from runtime.bundles.reader import Bundle
    from runtime.forecast.records import History
    from runtime.forecast.result import Forecast, Outlook
    from runtime.intended_use.in_force import UseInForce

PICTURE_KINDS: dict[str, Literal["svg", "png", "pdf"]] = {".svg": "svg", ".png": "png", ".pdf": "pdf"}


def forecast(
    file: Annotated[Path, typer.Argument(help="The client's visits, records and answers, trichoscope/records/1 as JSON.")],
    bundle: Annotated[Path | None, typer.Option(help="Bundle whose forecast is used; the serving one where none is named.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write what moved the forecast as a picture with bars (.svg, .png, .pdf).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, trichoscope/forecast/1.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a file in which anything cannot be used as it stands.")] = False,
    config: FileOption = None,
) -> None:
    """Forecast from a client's records. Speaks from three visits on; otherwise names what is missing."""
    complain = Console(stderr=True)
    from runtime.commands.instruments import bundle_asked_for
    from runtime.config import load_settings
    from runtime.intended_use.in_force import profile_in_force

    try:
        settings = load_settings(config)
        use = profile_in_force(settings.use, settings.store.folder)
        check_allowed(use.allows("forecast"), use.notice)
        if picture is not None and picture.suffix.lower() not in PICTURE_KINDS:
            raise TrichoscopeError(f"{picture}: no kind of picture that can be written: name a file ending in {', '.join(PICTURE_KINDS)}")
        opened = bundle_asked_for(settings, bundle, lambda said: complain.print(said, markup=False, highlight=False, soft_wrap=True))
        result = forecast_of(file, opened, strict=strict, today=today())
        if picture is not None and result.forecast is not None:
            _write_picture(picture, result, use)
    except TrichoscopeError as problem:
        complain.print(f"forecast: {problem}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from problem
    for trouble in () if as_json else result.problems:
        complain.print(f"{file}: {trouble.where}: {trouble.what}: not used", markup=False, highlight=False, soft_wrap=True)
    if picture is not None and result.forecast is None:
        complain.print(f"{picture}: not written: there is no forecast to explain", markup=False, highlight=False, soft_wrap=True)
    try:
        if as_json:
            sys.stdout.write(result.to_json() + "\n")
        else:
            _show(result, use)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None


def today() -> date:
    """The day by which dates lie in the future."""
    return date.today()


def check_allowed(allowed: bool, notice: str | None = None) -> None:
    """Raises ForecastError where the use in force allows no forecast; `notice` says why that is another than was asked for."""
    from runtime.forecast.errors import ForecastError

    if not allowed:
        asked = 'write profile = "clinical" in the table [use] of the configuration, and `trichoscope use declare --operator NAME`'
        raise ForecastError(f"forecasts are no part of the wellness profile: {notice or asked}")


def forecast_of(file: Path, bundle: Bundle, *, strict: bool, today: date) -> Forecast:
    """The forecast of a file, its newest picture included.

    Raises:
        RecordsError, ForecastError, InferenceError: see there; with `strict` PictureError too.
    """
    from runtime.forecast.forecasting import Forecaster
    from runtime.forecast.inputs import picture_of
    from runtime.forecast.records import Problem, parse_history

    forecaster = Forecaster(bundle)
    history = parse_history(read_file(file), str(file), forecaster.role, today, strict=strict)
    name = picture_of(history) if forecaster.role.picture is not None else None
    image, problems = None, list[Problem]()
    if name is not None:
        try:
            image = _read_beside(file, name)
        except PictureError as problem:
            if strict:
                raise
            problems.append(Problem(_place_of(history, name), str(problem)))
    with forecaster:
        return forecaster.forecast(history, image, picture=name, problems=problems)


def read_file(file: Path) -> bytes:
    """The bytes of a plain file that is not larger than records may be.

    Raises:
        RecordsError: there is none, it cannot be read, or it is larger.
    """
    from runtime.forecast.errors import RecordsError
    from runtime.forecast.records import MAX_FILE_BYTES

    try:
        if not file.is_file():
            raise RecordsError(f"{file}: no such file: name a file with a client's records")
        with file.open("rb") as stream:
            text = stream.read(MAX_FILE_BYTES + 1)
    except OSError as problem:
        raise RecordsError(f"{file}: {problem.strerror or problem}: name a file that you may read") from problem
    if len(text) > MAX_FILE_BYTES:
        raise RecordsError(f"{file}: larger than {MAX_FILE_BYTES >> 20} MiB: no client has so many records: export one client a file")
    return text


def _read_beside(file: Path, name: str) -> Any:
    from runtime.commands.pictures import read_picture  # OpenCV

    folder = file.resolve().parent
    path = folder / name
    if not path.resolve().is_relative_to(folder):  # through a link
        raise PictureError(f"{path}: lies outside the folder of the records: copy it there")
    return read_picture(path)


def _place_of(history: History, name: str) -> str:
    return next((f"visit of {visit.day}, picture" for visit in reversed(history.visits) if visit.picture == name), "picture")


def _write_picture(path: Path, result: Forecast, use: UseInForce) -> None:
    from runtime.commands.files import write_atomically
    from runtime.forecast.attribution import attribution_picture

    assert result.forecast is not None
    title = f"{result.client or 'client'}, {result.as_of}: {_headline(result.forecast, use)}"
    if not result.validated_on_real_labels:
        title += f"\n{use.not_validated}"
    write_atomically(path, attribution_picture(result.attributions, title, PICTURE_KINDS[path.suffix.lower()]))


def _headline(said: Outlook, use: UseInForce) -> str:
    """The forecast in the words of the profile of use; a label that these do not know stands for itself."""
    words = use.words["forecast"]
    labels = list(said.probabilities)
    word = use.word("forecast", labels.index(said.label)) if len(labels) == len(words.grades) else None
    return f"{words.name}: {word or said.label}, {100 * said.score:.0f} of 100"


def _show(result: Forecast, use: UseInForce) -> None:
    console = Console()
    if result.forecast is None:
        console.print("No forecast. Missing:")
        for lack in result.missing:
            console.print(f"  {lack}", markup=False, highlight=False, soft_wrap=True)
        return
    said = result.forecast
    console.print(f"{_headline(said, use)} (as of {result.as_of})", markup=False, highlight=False)
    if not result.validated_on_real_labels:
        console.print(f"This forecast: {use.not_validated}.", markup=False, highlight=False, soft_wrap=True)
    table = Table("input", "value", "change", "in words")
    for reason in result.attributions:
        table.add_row(*(_plain(cell) for cell in (reason.input, reason.value or "–", f"{100 * reason.change:+.1f}", reason.words)))
    console.print(table)
    for course in result.course:
        change = "–" if course.change_per_year is None else f"{course.change_per_year:+.3g} a year"
        console.print(
            f"{course.figure}: {course.first:g} → {course.last:g} over {course.visits} visits, {change}", markup=False, highlight=False
        )
    used = result.used
    rests = f"{used.visits} visits, {used.records} records over {used.intervals} {used.interval}s, {used.answers} answers"
    console.print(f"rests on {rests}, picture: {used.picture or 'none'}; {result.bundle}", markup=False, highlight=False, soft_wrap=True)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
