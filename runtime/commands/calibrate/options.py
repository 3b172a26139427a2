"""What the verbs of `calibrate` have in common: options, how they are read, and how a refusal is told."""

from __future__ import annotations

import contextlib
import getpass
import json
import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from calib.errors import CalibrationError, TargetError
from calib.targets import FORMS, Target, parse_target
from runtime.calibration.making import Order
from runtime.errors import TrichoscopeError

TargetOption = Annotated[str, typer.Option("--target", metavar="TARGET", help=f"What lies in view: {FORMS}.", show_default=False)]
DistancesOption = Annotated[
    str,
    typer.Option(
        "--distances-mm", metavar="D,D,…", help="Distance of each picture in mm, in the order of the pictures.", show_default=False
    ),
]
DistanceStdOption = Annotated[
    float, typer.Option("--distance-std-mm", metavar="S", min=0, help="Standard uncertainty of each distance in mm.")
]
PitchStdOption = Annotated[
    float,
    typer.Option("--pitch-std-percent", metavar="P", min=0, max=100, help="The target's own tolerance, one standard deviation in percent."),
]
MicroscopeOption = Annotated[
    str | None,
    typer.Option("--microscope", metavar="ID", help="The microscope's name, by which the daemon finds its profile.", show_default=False),
]
FocusOption = Annotated[
    Literal["locked", "refocused"],
    typer.Option("--focus", help="Focus wheel: left alone for all distances, or set anew with the wheel at each."),
]
HoodOption = Annotated[
    str | None, typer.Option("--hood", metavar="NAME", help="Name of the contact hood that the microscope wears.", show_default=False)
]
HoodHeightOption = Annotated[
    float | None,
    typer.Option("--hood-height-mm", metavar="H", help="Where its rim holds the skin, counted as the distances are.", show_default=False),
]
HoodHeightStdOption = Annotated[
    float, typer.Option("--hood-height-std-mm", metavar="S", min=0, help="Standard uncertainty of that height.")
]
HoodRingOption = Annotated[
    str | None,
    typer.Option("--hood-ring", metavar="DIAMETER,CODE[,STD]", help="The ring of dots on its rim: mm, its number, mm.", show_default=False),
]
HairPlaneOption = Annotated[float, typer.Option("--hair-plane-mm", metavar="H", help="How far skin and hair bulge into the hood.")]
HairPlaneStdOption = Annotated[float, typer.Option("--hair-plane-std-mm", metavar="S", min=0, help="Standard uncertainty of that.")]
MaxPsfOption = Annotated[
    float, typer.Option("--max-psf-px", metavar="SIGMA", help="Largest blur (σ of the point spread) at which widths are still given.")
]
ControlOption = Annotated[
    list[str] | None,
    typer.Option("--control", metavar="NAME=VALUE", help="A camera control that was locked; may be repeated.", show_default=False),
]
ByOption = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who calibrates.", show_default="the user")]
ExpiresOption = Annotated[float, typer.Option("--expires-days", metavar="DAYS", min=0.01, max=36500, help="How long the profile holds.")]
NoteOption = Annotated[str, typer.Option("--note", metavar="TEXT", help="Anything else worth knowing.", show_default=False)]
PictureOption = Annotated[
    Path | None,
    typer.Option("--picture", metavar="FILE.png|.svg", help="Also draw what was fitted into this file.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]

PICTURES = (".png", ".svg")


class UsageError(TrichoscopeError):
    """An option is not what it should be; the command ends with exit code 2."""


def messages() -> Console:
    """Where people are told things: stderr, unfolded."""
    return Console(stderr=True, soft_wrap=True, highlight=False)


@contextlib.contextmanager
def refusals(console: Console, subject: object = "") -> Iterator[None]:
    """Tell an error of this block in one line, after the `subject` that it is about, and end: code 2 for wrong options, else 1."""
    try:
        yield
    except (UsageError, TargetError) as error:
        console.print(str(error), markup=False)
        raise typer.Exit(2) from error
    except TrichoscopeError as error:
        console.print(str(error), markup=False)
        raise typer.Exit(1) from error
    except CalibrationError as error:
        said = str(error)
        own = str(subject)
        console.print(said if not own or said.startswith(own) else f"{own}: {said}", markup=False)
        raise typer.Exit(1) from error


def print_json(content: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    typer.echo(json.dumps(content, ensure_ascii=False, allow_nan=False))


def distances_of(text: str) -> list[float]:
    """Distances in mm from "12,14,16.5". Raises UsageError."""
    try:
        found = [float(part) for part in text.replace(";", ",").split(",") if part.strip()]
    except ValueError:
        found = []
    if not found or not all(math.isfinite(each) and each > 0 for each in found):
        raise UsageError(f"--distances-mm {text}: no list of distances above 0: write mm with commas between, for example 12,14,16.5")
    return found


def picture_file(path: Path | None) -> Path | None:
    """Where a figure goes. Raises UsageError where its name ends in neither .png nor .svg."""
    if path is not None and path.suffix.lower() not in PICTURES:
        raise UsageError(f"{path}: the picture is drawn as PNG or SVG: let its name end in .png or .svg")
    return path


def order_of(
    *,
    target: Target,
    microscope: str | None,
    focus: Literal["locked", "refocused"],
    controls: Sequence[str] | None,
    distance_std_mm: float,
    pitch_std_percent: float,
    hood: str | None,
    hood_height_mm: float | None,
    hood_height_std_mm: float,
    hood_ring: str | None,
    hair_plane_mm: float,
    hair_plane_std_mm: float,
    max_psf_px: float,
    by: str | None,
    expires_days: float,
    note: str,
) -> Order:
    """The order for a profile that the options make. Raises UsageError."""
    from pydantic import ValidationError

    from calib.profile_parts import HairPlane, Hood

    if (hood is None) != (hood_height_mm is None):
        raise UsageError("--hood and --hood-height-mm belong together: give both, or neither")
    if hood_ring is not None and hood is None:
        raise UsageError("--hood-ring is on a hood: give --hood and --hood-height-mm too")
    if not 0 < max_psf_px <= 100:
        raise UsageError(f"--max-psf-px {max_psf_px:g}: a σ in px above 0, 100 at most")
    try:
        ring = None if hood_ring is None else _ring(hood_ring)
        worn = (
            None
            if hood is None or hood_height_mm is None
            else Hood(name=hood, height_mm=hood_height_mm, height_std_mm=hood_height_std_mm, ring=ring)
        )
        plane = HairPlane(height_mm=hair_plane_mm, height_std_mm=hair_plane_std_mm)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        raise UsageError(f"hood: {'.'.join(map(str, found['loc']))} = {found['input']}: {found['msg']}") from None
    return Order(
        target=target,
        microscope=microscope,
        focus_mode=focus,
        controls=dict(_control(each) for each in controls or ()),
        distance_std_mm=distance_std_mm,
        pitch_std_percent=pitch_std_percent,
        hood=worn,
        hair_plane=plane,
        max_psf_sigma_px=max_psf_px,
        made_by=_user() if by is None else by,
        lifetime=timedelta(days=expires_days),
        note=note,
    )


def target_of(text: str) -> Target:
    """The target that an option describes. Raises TargetError."""
    return parse_target(text)


def _ring(text: str) -> Any:
    from calib.profile_parts import Ring

    try:
        numbers = [float(part) for part in text.split(",")]
        if not 1 <= len(numbers) <= 3 or (len(numbers) > 1 and numbers[1] != int(numbers[1])):
            raise ValueError
    except (ValueError, OverflowError):
        raise UsageError(f"--hood-ring {text}: write its diameter in mm and its number, for example 8,2") from None
    diameter, code, std = (*numbers, 0.0, 0.0)[:3] if len(numbers) == 1 else (*numbers, 0.0)[:3]
    return Ring(diameter_mm=diameter, code=int(code), diameter_std_mm=std)


def _control(text: str) -> tuple[str, bool | int | float | str]:
    """Name and value of "exposure=120"; values as JSON has them, else text."""
    name, sign, value = text.partition("=")
    if not name.strip() or not sign:
        raise UsageError(f"--control {text}: write NAME=VALUE, for example exposure=120")
    try:
        read = json.loads(value)
    except ValueError:
        read = value
    return name.strip(), read if isinstance(read, (bool, int, float, str)) else value


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user in the system's table
        return ""
