"""`trichoscope calibrate run`: a person is walked through a calibration in the terminal, with the camera's own view of it."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from runtime.calibration.making import Order, make_profile, refuse_sizes
from runtime.commands.calibrate.fit import as_summary, tell, write_picture
from runtime.commands.calibrate.options import (
    ByOption,
    ControlOption,
    DistancesOption,
    DistanceStdOption,
    ExpiresOption,
    FocusOption,
    HairPlaneOption,
    HairPlaneStdOption,
    HoodHeightOption,
    HoodHeightStdOption,
    HoodOption,
    HoodRingOption,
    JsonOption,
    MaxPsfOption,
    MicroscopeOption,
    NoteOption,
    PitchStdOption,
    TargetOption,
    UsageError,
    distances_of,
    messages,
    order_of,
    picture_file,
    print_json,
    refusals,
    target_of,
)
from runtime.errors import TrichoscopeError

if TYPE_CHECKING:
    from calib.profile import Profile
    from device.camera import CameraInfo
    from runtime.calibration.walk import Taken, Walk

END_OF_INPUT = b"\x04"  # Ctrl+D, as a key


def run(
    target: TargetOption,
    distances_mm: DistancesOption,
    camera: Annotated[
        str | None, typer.Option("--camera", metavar="URI", help="Camera address.", show_default="that of the configuration")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="PROFILE.json",
            help="The profile to write, or the folder for it.",
            show_default="the daemon's folder of profiles",
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.png|.svg", help="Where the picture goes.", show_default="beside the profile")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Also keep the frames, to fit them again.", show_default=False)
    ] = None,
    distance_std_mm: DistanceStdOption = 0.0,
    pitch_std_percent: PitchStdOption = 0.0,
    microscope: MicroscopeOption = None,
    focus: FocusOption = "locked",
    hood: HoodOption = None,
    hood_height_mm: HoodHeightOption = None,
    hood_height_std_mm: HoodHeightStdOption = 0.1,
    hood_ring: HoodRingOption = None,
    hair_plane_mm: HairPlaneOption = 0.3,
    hair_plane_std_mm: HairPlaneStdOption = 0.3,
    max_psf_px: MaxPsfOption = 2.5,
    control: ControlOption = None,
    by: ByOption = None,
    expires_days: ExpiresOption = 365.0,
    note: NoteOption = "",
    frames: Annotated[int, typer.Option("--frames", min=1, max=100, help="Good frames of which the best is kept.")] = 5,
    take_s: Annotated[float, typer.Option("--take-s", min=0.1, max=600, help="Longest time for them in seconds.")] = 20.0,
    yes: Annotated[bool, typer.Option("--yes", help="Press Enter at once, always; what fails is skipped. For scripts.")] = False,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Configuration file (TOML).", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Calibrate step by step: which target, at which distance now, what the camera sees of it, and at the end the profile.

    Enter takes the best of several frames and goes on, r repeats a distance, s skips it, q ends without writing anything.
    """
    console = messages()
    with refusals(console):
        wanted = target_of(target)
        distances = distances_of(distances_mm)
        picture_file(picture)
        if out is not None and out.exists() and not out.is_dir():
            raise UsageError(f"{out}: exists already, and profiles are never overwritten: give a new name")
        order = order_of(
            target=wanted,
            microscope=microscope,
            focus=focus,
            controls=control,
            distance_std_mm=distance_std_mm,
            pitch_std_percent=pitch_std_percent,
            hood=hood,
            hood_height_mm=hood_height_mm,
            hood_height_std_mm=hood_height_std_mm,
            hood_ring=hood_ring,
            hair_plane_mm=hair_plane_mm,
            hair_plane_std_mm=hair_plane_std_mm,
            max_psf_px=max_psf_px,
            by=by,
            expires_days=expires_days,
            note=note,
        )
        from runtime.config import load_settings

        settings = load_settings(config, {"camera.uri": camera})
        order = replace(order, microscope=order.microscope or settings.calibration.microscope)
        place = settings.profiles_folder if out is None else out

    from calib.profile import write_profile
    from device.camera import make_camera
    from device.errors import DeviceError
    from runtime.calibration.walk import Walk, guide

    person = Eager(console) if yes else AtTerminal(console)
    walk = Walk(wanted, distances, frames=frames, take_s=take_s)
    console.print(
        f"{wanted} at {', '.join(f'{d:g}' for d in distances)} mm, focus {order.focus_mode}: "
        + ("never touch the wheel" if order.focus_mode == "locked" else "focus with the wheel at each distance"),
        markup=False,
    )
    with refusals(console):
        try:
            with make_camera(settings.camera.uri) as opened:
                order = _of_camera(order, opened.info)
                with person:
                    guide(walk, opened, person)
        except DeviceError as error:
            raise TrichoscopeError(f"{error}; nothing was written") from error
        if walk.phase == "quit":
            console.print("ended; nothing was written", markup=False)
            raise typer.Exit(1)
        profile = _profile(order, walk.kept)
        if keep is not None:
            _keep(keep, walk.kept)
        path = write_profile(place, profile)
        drawn = path.with_suffix(".png") if picture is None else picture
        write_picture(drawn, profile)
    tell(console, path, profile, drawn)
    if as_json:
        print_json(as_summary(path, profile, skipped=len(distances) - len(walk.kept)))


def _of_camera(order: Order, info: CameraInfo) -> Order:
    """The order with what the camera says of itself, where nobody said otherwise."""
    return replace(order, microscope=order.microscope or info.identity, controls=dict(info.controls) | dict(order.controls))


def _profile(order: Order, kept: list[Taken]) -> Profile:
    """Raises CalibrationError where what was kept makes no profile."""
    names = {f"frame at {taken.distance_mm:g} mm ({taken.number + 1})": taken for taken in kept}
    if not names:
        raise TrichoscopeError("no distance was kept, so there is nothing to fit: start again; nothing was written")
    size = refuse_sizes({name: (taken.image.shape[1], taken.image.shape[0]) for name, taken in names.items()})
    views = [taken.look.view for taken in kept if taken.look.view is not None]
    return make_profile(order, views, [taken.distance_mm for taken in kept], list(names), size)


def _keep(folder: Path, kept: list[Taken]) -> None:
    """Write the frames as NUMBER_DISTANCEmm.png. Raises TrichoscopeError."""
    from runtime.commands.files import output_folder, write_png

    for taken in kept:
        write_png(output_folder(folder) / f"{taken.number + 1:02d}_{taken.distance_mm:g}mm.png", taken.image)


class Eager:
    """Answers Enter at once wherever something is asked, and skips what fails; prints what changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = ""

    def __enter__(self) -> Eager:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def answer(self, walk: Walk) -> str | None:
        """See `runtime.calibration.walk.Person`."""
        return {"aim": "", "kept": "", "failed": "s"}.get(walk.phase)

    def show(self, walk: Walk) -> None:
        """Print outcomes, not every frame."""
        if walk.phase in ("kept", "failed"):
            line = f"{walk.distance_mm:g} mm: {'kept' if walk.phase == 'kept' else 'skipped'}: {walk.said}"
            if line != self._shown:
                self._console.print(line, markup=False)
            self._shown = line


class AtTerminal:
    """A person at the terminal: keys, or lines where stdin is no terminal, and two lines at the bottom that follow the camera."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._typed = b""
        self._ended = False
        self._keys = False  # each key is an answer at once, unseen; else whole lines are
        self._shown: tuple[str, str] = ("", "")
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> AtTerminal:
        stream = sys.stdin.fileno()
        if os.isatty(stream):
            import termios
            import tty

            self._undo.callback(termios.tcsetattr, stream, termios.TCSADRAIN, termios.tcgetattr(stream))
            tty.setcbreak(stream)  # what is typed would push the two lines up
            self._keys = True
        if self._console.is_terminal:
            from rich.live import Live

            self._screen = self._undo.enter_context(Live(console=self._console, auto_refresh=False, transient=True))
        return self

    def __exit__(self, *_error: object) -> None:
        self._undo.close()

    def answer(self, walk: Walk) -> str | None:
        """A key or a line, where one has been typed; the end of the input is q."""
        del walk
        stream = sys.stdin.fileno()
        while not self._ended and select.select([stream], [], [], 0)[0]:
            piece = os.read(stream, 4096)
            self._typed += piece
            self._ended = not piece or (self._keys and END_OF_INPUT in piece)
        if self._keys and self._typed and not self._ended:
            key, self._typed = self._typed[:1], self._typed[1:]
            return key.decode(errors="replace").strip()
        line, newline, rest = self._typed.partition(b"\n")
        if newline and not self._keys:
            self._typed = rest
            return line.decode(errors="replace")
        return "q" if self._ended else None

    def show(self, walk: Walk) -> None:
        """The task and what is seen; where stderr is no terminal, a line whenever they change."""
        from rich.text import Text

        from runtime.calibration.walk import GOOD

        shown = walk.task, walk.said
        if shown == self._shown:
            return
        outcome = walk.phase in ("kept", "failed") and self._shown[0] != walk.task
        self._shown = shown
        if not self._console.is_terminal:
            self._console.print(f"{walk.task}\n  {walk.said}" if walk.said else walk.task, markup=False)
            return
        if outcome:
            self._console.print(f"{walk.distance_mm:g} mm: {walk.phase}: {walk.said}", markup=False)
        style = {"kept": "green", "failed": "red", "take": "bold"}.get(walk.phase, "")
        seen = "green" if walk.said.startswith(GOOD) else ""
        self._screen.update(Text.assemble((walk.task, style), "\n  ", (walk.said or "…", seen)), refresh=True)
