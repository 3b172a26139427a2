"""`trichoscope calibrate scale`: what one picture of a target says of the scale, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runtime.commands.calibrate.options import PitchStdOption, TargetOption, messages, print_json, refusals, target_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calib.view import TargetView


def scale(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture of the target.", show_default=False)],
    target: TargetOption,
    pitch_std_percent: PitchStdOption = 0.0,
    lens: Annotated[
        Path | None,
        typer.Option("--lens", metavar="PROFILE.json", help="Take the lens's distortion from this profile instead of from the picture."),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option("--overlay", metavar="FILE.png", help="Draw the points found over the picture.", show_default=False)
    ] = None,
) -> None:
    """Print the scale that a picture of a target shows: µm per px at the middle, its standard uncertainty, tilt and sharpness."""
    console = messages()
    with refusals(console, image):
        wanted = target_of(target)
        from calib.errors import ProfileError
        from calib.profile import read_profile
        from calib.view import look_at
        from runtime.commands.files import write_png
        from runtime.commands.pictures import read_picture

        known = None if lens is None else read_profile(lens).radial_lens
        pixels = read_picture(image)
        if known is not None and (known.height_px, known.width_px) != pixels.shape[:2]:
            raise ProfileError(f"{lens}: for pictures of {known.width_px}×{known.height_px} px: leave --lens out, or take its picture size")
        view = look_at(pixels, wanted, lens=known, pitch_std_percent=pitch_std_percent)
        if overlay is not None:
            write_png(overlay, drawn_over(pixels, view))
    print_json(as_json(view))


def as_json(view: TargetView) -> dict[str, Any]:
    """What is printed of a view."""
    return {
        "um_per_px": view.um_per_px,
        "um_per_px_std": view.um_per_px_std,
        "um_per_px_x": view.um_per_px_x,
        "um_per_px_y": view.um_per_px_y,
        "tilt_deg": view.tilt_deg,
        "psf_sigma_px": view.psf_sigma_px,
        "n_points": view.n_points,
    }


def drawn_over(image: NDArray[np.uint8], view: TargetView) -> NDArray[np.uint8]:
    """The picture, twice as large, with the points found: green those that the fit used, red those that it left out."""
    import cv2
    import numpy as np

    larger = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    for (x, y), used in zip(view.points.pixels * 2 + 0.5, view.plane.used, strict=True):
        at = round(x * 16), round(y * 16)
        colour = (60, 220, 60) if used else (60, 60, 255)
        cv2.circle(larger, at, 5 * 16, colour, 1, cv2.LINE_AA, 4)
        cv2.circle(larger, at, 16, colour, -1, cv2.LINE_AA, 4)
    return np.asarray(larger, np.uint8)
