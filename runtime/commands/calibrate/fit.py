"""`trichoscope calibrate fit`: pictures of a target at known distances in, a calibration profile out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from calib.errors import CalibrationError
from calib.targets import Target
from runtime.calibration.making import UNNAMED, make_profile, refuse_sizes
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
    PictureOption,
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
    import numpy as np
    from numpy.typing import NDArray

    from calib.profile import Profile
    from calib.profile_parts import Light
    from calib.view import TargetView

FILE_COLUMNS = 1000  # of a table that goes to no terminal; it is as wide as its content


def fit(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Pictures of the target.", show_default=False)],
    target: TargetOption,
    distances_mm: DistancesOption,
    out: Annotated[
        Path, typer.Option("--out", metavar="PROFILE.json", help="The profile to write; never one that is there.", show_default=False)
    ],
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
    white: Annotated[
        list[Path] | None,
        typer.Option(
            "--white", metavar="IMAGE", help="A picture of a white target, for light and grey; may be repeated.", show_default=False
        ),
    ] = None,
    white_distances_mm: Annotated[
        str | None,
        typer.Option("--white-distances-mm", metavar="D,D,…", help="Their distances.", show_default="those of the pictures, in turn"),
    ] = None,
    chart: Annotated[
        Path | None,
        typer.Option("--chart", metavar="IMAGE", help="A colour chart under the light of the first --white.", show_default=False),
    ] = None,
    chart_patches: Annotated[
        Path | None,
        typer.Option(
            "--chart-patches",
            metavar="FILE.csv",
            help="Its patches: x,y (px) and blue,green,red (0-255) as its maker states them.",
            show_default=False,
        ),
    ] = None,
    by: ByOption = None,
    expires_days: ExpiresOption = 365.0,
    note: NoteOption = "",
    skip_failed: Annotated[
        bool, typer.Option("--skip-failed", help="Fit the others where the target is not found in a picture, if enough remain.")
    ] = False,
    picture: PictureOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a calibration profile to pictures of a target at known distances.

    Each picture is told as taken or refused; one that fails ends it all unless --skip-failed is given. No profile is ever overwritten.
    """
    console = messages()
    with refusals(console):
        wanted = target_of(target)
        distances = distances_of(distances_mm)
        if len(distances) != len(images):
            raise UsageError(
                f"--distances-mm {distances_mm}: {len(distances)} distances for {len(images)} pictures: give one for each, in their order"
            )
        whites = _whites(white or [], white_distances_mm, distances)
        patches = _patches(chart, chart_patches, whites)
        picture_file(picture)
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out}: exists already, and profiles are never overwritten: give a new name")
        if out.suffix.lower() != ".json" and not out.is_dir():
            raise UsageError(f"{out}: a profile is a JSON file: let its name end in .json, or name a folder")
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
    seen, failed = _see(console, images, distances, wanted)
    if failed and not (skip_failed and seen):
        left = " or leave it out with --skip-failed" if seen else ""
        console.print(f"{failed} of {len(images)} pictures cannot be used, so no profile is written: take them again{left}", markup=False)
        raise typer.Exit(1)
    from calib.profile import write_profile

    with refusals(console):
        size = refuse_sizes({one.name: one.size_px for one in seen})
        light = [_light(path, distance, size, patches if path == whites[0][0] else None) for path, distance in whites]
        views, at_mm, names = [one.view for one in seen], [one.distance_mm for one in seen], [one.name for one in seen]
        profile = make_profile(order, views, at_mm, names, size, light)
        path = write_profile(out, profile)
        if picture is not None:
            write_picture(picture, profile)
    tell(console, path, profile, picture)
    if as_json:
        print_json(as_summary(path, profile, skipped=failed))


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture in which the target was found."""

    name: str
    distance_mm: float
    size_px: tuple[int, int]
    view: TargetView


def _see(console: Console, images: Sequence[Path], distances: Sequence[float], target: Target) -> tuple[list[Seen], int]:
    """The pictures in which the target was found, each told as it comes; and how many failed."""
    from calib.view import look_at
    from runtime.calibration.looking import described
    from runtime.commands.pictures import read_picture

    seen: list[Seen] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("looking", total=len(images))
        for path, distance in zip(images, distances, strict=True):
            try:
                pixels = read_picture(path)
                view = look_at(pixels, target)
            except (CalibrationError, TrichoscopeError) as error:
                said = str(error)
                console.print(said if said.startswith(str(path)) else f"{path}: {said}", markup=False)
            else:
                seen.append(Seen(str(path), distance, (pixels.shape[1], pixels.shape[0]), view))
                console.print(f"{path}: at {distance:g} mm {described(view)}", markup=False)
            progress.advance(task)
    return seen, len(images) - len(seen)


def _whites(paths: Sequence[Path], distances: str | None, of_pictures: Sequence[float]) -> list[tuple[Path, float]]:
    """Each picture of a white target with its distance. Raises UsageError."""
    if distances is not None and not paths:
        raise UsageError(f"--white-distances-mm {distances}: there is no --white picture: give one, or leave them out")
    known = list(of_pictures) if distances is None else distances_of(distances)
    if paths and len(known) != len(paths):
        whose = "the target's pictures have" if distances is None else "there are"
        raise UsageError(f"--white: {len(paths)} pictures, but {whose} {len(known)} distances: give --white-distances-mm, one for each")
    return list(zip(paths, known, strict=True)) if paths else []


def _patches(chart: Path | None, table: Path | None, whites: Sequence[tuple[Path, float]]) -> tuple[Path, NDArray[np.float64]] | None:
    """The picture of a colour chart and its patches. Raises UsageError where something is missing, ConfigError for a wrong table."""
    if chart is None and table is None:
        return None
    if chart is None or table is None or not whites:
        raise UsageError("--chart, --chart-patches and --white belong together: give all three, or neither of the first two")
    from runtime.calibration.chart import read_patches

    return chart, read_patches(table)


def _light(path: Path, distance_mm: float, size: tuple[int, int], chart: tuple[Path, NDArray[np.float64]] | None) -> Light:
    """What pictures of a white target and of a colour chart show. Raises CalibrationError naming the picture."""
    from runtime.calibration.chart import charted
    from runtime.calibration.making import light_seen

    white = _of_size(path, size)
    told = path
    try:
        if chart is None:
            return light_seen(white, distance_mm)
        picture = _of_size(chart[0], size)
        light_seen(white, distance_mm)  # so that its faults are not told of the chart
        told = chart[0]
        return charted(white, picture, chart[1], distance_mm)
    except CalibrationError as error:
        raise CalibrationError(f"{told}: {error}") from error


def _of_size(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The pixels of a picture that must be as large as the others. Raises CalibrationError."""
    from runtime.commands.pictures import read_picture

    pixels = read_picture(path)
    refuse_sizes({"the target's picture": size, str(path): (pixels.shape[1], pixels.shape[0])})
    return pixels


def write_picture(path: Path, profile: Profile) -> None:
    """Draw what was fitted. Raises TrichoscopeError."""
    from runtime.commands.calibrate.report import picture_bytes
    from runtime.commands.files import write_atomically

    write_atomically(path, picture_bytes(profile, path.suffix.lower().removeprefix(".")))


def tell(console: Console, path: Path, profile: Profile, picture: Path | None) -> None:
    """What came of it, for people."""
    from runtime.commands.calibrate.tables import curve_in_words, views_table

    # into a file or pipe nothing is folded: names must stay whole to be found
    Console(stderr=True, width=None if console.is_terminal else FILE_COLUMNS, highlight=False).print(views_table(profile))
    for line in curve_in_words(profile):
        console.print(line, markup=False)
    if profile.device.microscope == UNNAMED:
        console.print("The profile names no microscope, so the daemon will not pick it: give --microscope", markup=False)
    console.print(f"{path}: profile {profile.id}, valid until {profile.expires_utc:%Y-%m-%d}", markup=False)
    if picture is not None:
        console.print(f"{picture}: what was fitted", markup=False)


def as_summary(path: Path, profile: Profile, skipped: int = 0) -> dict[str, Any]:
    """The outcome for programs."""
    curve, lens = profile.curve, profile.lens
    return {
        "profile": str(path),
        "id": profile.id,
        "target": profile.target,
        "skipped": skipped,
        "pictures": [view.model_dump(mode="json") for view in profile.views],
        "curve": None if curve is None else curve.model_dump(mode="json"),
        "hood_scale": None if profile.hood_scale is None else profile.hood_scale.model_dump(mode="json"),
        "lens": None if lens is None else lens.model_dump(mode="json"),
        "point_spread": [sharpness.model_dump(mode="json") for sharpness in profile.point_spread],
        "expires_utc": f"{profile.expires_utc:%Y-%m-%dT%H:%M:%SZ}",
    }
