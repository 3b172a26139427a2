"""`trichoscope calibrate predict`: the scale that a profile has at a distance, with its uncertainty, or why it has none there."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from runtime.commands.calibrate.options import UsageError, messages, print_json, refusals


def predict(
    profile: Annotated[Path, typer.Argument(metavar="PROFILE.json", help="A calibration profile.", show_default=False)],
    distance_mm: Annotated[
        float, typer.Option("--distance-mm", metavar="D", help="Distance in mm, counted as in the calibration.", show_default=False)
    ],
    distance_std_mm: Annotated[
        float | None,
        typer.Option(
            "--distance-std-mm", metavar="S", help="Its standard uncertainty in mm.", show_default="that of the calibration's distances"
        ),
    ] = None,
) -> None:
    """Print µm per px at a distance as JSON. Outside the calibrated interval it is null, and the reason is told on stderr."""
    from calib.errors import DistanceError
    from calib.profile import read_profile

    console = messages()
    with refusals(console, profile):
        if distance_std_mm is not None and not 0 <= distance_std_mm < float("inf"):
            raise UsageError(f"--distance-std-mm {distance_std_mm:g}: an uncertainty in mm is 0 or more")
        found = read_profile(profile)
    why, value, std = "", None, None
    curve = found.scale_curve
    if found.expired_at(datetime.now(timezone.utc)):
        why = f"the profile expired on {found.expires_utc:%Y-%m-%d}: calibrate anew"
    elif curve is None:
        why = (
            "the profile has no curve over distances, only the scale at its hood's rim: calibrate with pictures at three or more distances"
        )
    else:
        try:
            value, std = curve.at(distance_mm, curve.distance_std_mm if distance_std_mm is None else distance_std_mm)
        except DistanceError as error:
            why = str(error)
    if why:
        console.print(f"{profile}: {why}", markup=False)
    print_json({"um_per_px": value, "um_per_px_std": std, "valid": not why})
