"""`trichoscope calibrate reapply`: the kept captures of a corrected calibration profile computed anew; the originals stay as they are.

Nothing is measured again: the figures in µm and per cm² follow from the pixels that were measured and from what was read then of ring or
distance. Each capture gets a later version of its measurement, one after the other, so that a run that is cut off can be run again.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from calib.errors import CalibrationError
from calib.field import FrameScale, ScaleReading
from runtime.config import load_settings
from runtime.errors import BusyError, ConfigError, StoreError, StoreFullError, TrichoscopeError

if TYPE_CHECKING:
    from calib.profile import Profile
    from runtime.analysis.measurement import Measurement
    from runtime.store.captures import CaptureStore

PROFILE_ID = r"[0-9a-f]{16}"
MOST_NAMED = 20  # captures that are named on a terminal; --json names all


class ReapplyError(TrichoscopeError):
    """The two profiles cannot be used together, or one of them not at all; the message says which and what to do."""


@dataclass(frozen=True)
class LeftOut:
    """A capture that keeps its figures, and why."""

    id: int
    picture: str
    reason: str


@dataclass
class Reapplied:
    """What became of the captures of the old profile.

    Attributes:
        captures: how many there were; `recomputed` of them have a new version, `without_scale` have no µm to compute anew.
        scale_change_percent: median change of µm per px over the recomputed ones; None where there were none.
    """

    old: str
    new: str
    dry_run: bool
    captures: int = 0
    recomputed: int = 0
    without_scale: int = 0
    scale_change_percent: float | None = None
    left_out: list[LeftOut] = field(default_factory=list)


def reapply(
    old: Annotated[
        str,
        typer.Argument(metavar="OLD", help="The profile that the captures rest on: its file or its id.", show_default=False),
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="File of the corrected profile.", show_default=False)],
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Configuration file (TOML).", show_default=False)] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="State folder: captures and their database.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compute everything and keep nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compute the captures of a corrected profile anew.

    Every capture whose figures rest on OLD gets a later version by NEW; what was kept when it was taken stays as it is. The daemon must
    not run meanwhile. Exit code 1 where a capture was left out.
    """
    messages = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        settings = load_settings(config, {"store.folder": state.expanduser().absolute() if state is not None else None})
        folder = settings.store.folder
        corrected = _corrected(new)
        old_id = _checked_old(old, corrected, settings.profiles_folder, lambda text: messages.print(text, markup=False))
        if not (folder / "captures.sqlite").exists() and not (folder / "captures").is_dir():
            raise ReapplyError(f"{folder}: no captures are kept there: name the daemon's state folder (--state)")
    except (ConfigError, ReapplyError) as error:
        messages.print(str(error), markup=False)
        raise typer.Exit(2) from error

    import logging

    from runtime.logs import log_to_stderr
    from runtime.store.captures import CaptureStore

    log_to_stderr(logging.WARNING)
    outcome = Reapplied(old_id, corrected.id, dry_run)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    failure: TrichoscopeError | None = None
    try:
        with (
            CaptureStore(folder, settings.store) as store,
            Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress,
        ):
            ids = store.calibrated_with(old_id)
            task = progress.add_task("computing anew", total=len(ids))
            recompute(store, ids, corrected, outcome, lambda: progress.advance(task))
    except TrichoscopeError as error:
        failure = error
    if as_json:
        typer.echo(json.dumps(asdict(outcome), ensure_ascii=False))
    elif failure is None or outcome.recomputed:
        typer.echo(in_words(outcome))
    if failure is not None:
        messages.print(f"{failure}. What was computed anew stays; run this again to go on", markup=False)
    if failure is not None or outcome.left_out:
        raise typer.Exit(1)


def recompute(store: CaptureStore, ids: Sequence[int], new: Profile, outcome: Reapplied, on_capture: Callable[[], None]) -> None:
    """Give each of the captures `ids` a later version by `new`, and write down in `outcome` what became of it.

    Raises:
        StoreFullError, BusyError: the disk has no room, or fails; the captures before stand.
    """
    changes: list[float] = []
    outcome.captures = len(ids)
    for id_ in ids:
        try:
            before = store.measurement(id_)
            if before.scale.um_per_px is None:  # nothing rests on the profile there
                outcome.without_scale += 1
            else:
                after = _anew(before, new)
                if not outcome.dry_run:
                    store.add_version(id_, after)
                outcome.recomputed += 1
                assert after.scale.um_per_px is not None
                changes.append(100 * (after.scale.um_per_px / before.scale.um_per_px - 1))
                outcome.scale_change_percent = round(statistics.median(changes), 3)
        except (StoreFullError, BusyError):
            raise
        except (CalibrationError, StoreError) as error:
            outcome.left_out.append(LeftOut(id_, store.get(id_).picture, str(error)))
        on_capture()


def in_words(outcome: Reapplied) -> str:
    """The outcome for a person."""
    verb = "would be computed" if outcome.dry_run else "computed"
    lines = [f"{outcome.recomputed} of {outcome.captures} captures of profile {outcome.old} {verb} anew with {outcome.new}"]
    if outcome.scale_change_percent is not None:
        lines.append(f"µm per pixel: {outcome.scale_change_percent:+.2f} % (median)")
    if outcome.without_scale:
        lines.append(f"{outcome.without_scale} have no scale and stay as they are")
    lines += [f"left as it was: capture {left.id} ({left.picture}): {left.reason}" for left in outcome.left_out[:MOST_NAMED]]
    if len(outcome.left_out) > MOST_NAMED:
        lines.append(f"… and {len(outcome.left_out) - MOST_NAMED} more: --json names them all")
    return "\n".join(lines)


def _anew(before: Measurement, new: Profile) -> Measurement:
    """The measurement by the corrected profile. Raises CalibrationError where that cannot serve what was read then."""
    from calib.errors import ProfileError
    from calib.resolve import scale_again
    from runtime.analysis.rescaling import rescaled

    size = (new.device.width_px, new.device.height_px)
    if (before.width_px, before.height_px) != size:
        raise ProfileError(f"its picture has {before.width_px}×{before.height_px} px, profile {new.id} is for {size[0]}×{size[1]}")
    read = before.scale_reading
    reading = ScaleReading() if read is None else ScaleReading(**read.model_dump(exclude={"note"}))
    scale: FrameScale = scale_again(new, before.scale.source, reading)
    if scale.scale.um_per_px is None:
        raise ProfileError(f"profile {new.id} gives no scale from what was read then ({before.scale.source}): {scale.note}")
    return rescaled(before, scale)


def _corrected(file: Path) -> Profile:
    """The profile to compute with. Raises ReapplyError where it is damaged, foreign or expired."""
    from calib.profile import read_profile

    try:
        profile = read_profile(file)
    except CalibrationError as error:
        raise ReapplyError(str(error)) from error
    if profile.expired_at(datetime.now(timezone.utc)):
        raise ReapplyError(f"{file}: expired on {profile.expires_utc:%Y-%m-%d}: calibrate anew, or name another profile")
    return profile


def _checked_old(old: str, new: Profile, shelf: Path, warn: Callable[[str], None]) -> str:
    """The id of the old profile, which is found to belong to the same device as the new one where its file can be had.

    Args:
        old: its file, or its id; then its file is looked for in the folder of profiles `shelf`.
        warn: called where that cannot be checked.

    Raises:
        ReapplyError: it is neither, or the two do not belong together.
    """
    from calib.profile import read_profile

    named = Path(old)
    files = [named]
    if re.fullmatch(PROFILE_ID, old) and not named.exists():
        files = sorted(shelf.glob(f"*{old}*.json"))
    found: Profile | None = None
    for file in files:
        try:
            found = read_profile(file)
            break
        except CalibrationError as error:
            if file == named:
                raise ReapplyError(f"{error}. Where the file is lost, its id does as well (16 digits, as the captures have it)") from error
    if found is None:
        warn(f"profile {old} is known by its id alone: whether it is of the same microscope could not be checked")
    elif found.id != old and file != named:
        found = None
    old_id = old if found is None else found.id
    if old_id == new.id:
        raise ReapplyError(f"profile {new.id}: old and new are one and the same: name the corrected profile second")
    if found is not None and (why := _why_foreign(found, new)):
        raise ReapplyError(f"profiles {found.id} and {new.id} do not belong together: {why}: name a profile of the same device")
    return old_id


def _why_foreign(old: Profile, new: Profile) -> str:
    """Why one profile cannot be the other's correction; "" where it can."""
    for name, a, b in (
        ("the microscope", old.device.microscope, new.device.microscope),
        ("the picture", f"{old.device.width_px}×{old.device.height_px} px", f"{new.device.width_px}×{new.device.height_px} px"),
        ("the focus", old.device.focus_mode, new.device.focus_mode),
        ("the hood", old.hood and old.hood.name, new.hood and new.hood.name),
    ):
        if a != b and not (name == "the hood" and (a is None or b is None)):
            return f"{name} of the first is {a}, of the second {b}"
    return ""
