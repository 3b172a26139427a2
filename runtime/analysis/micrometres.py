"""From pixels to µm and cm²: every figure of a frame that needs a scale, made of its hairs and openings and of the frame's scale alone.

The pipeline comes here with what it has just found, and so does a stored measurement whose profile was corrected: one way for both.
The scale differs over the field (distortion, tilt): each hair is measured by the scale where it lies, the area by that of every part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calib.field import FrameScale
from runtime.analysis import diameters, figures, units
from runtime.analysis.figures import UM_PER_CM, Counted
from runtime.analysis.hairs import HairPath, Ostium
from runtime.analysis.measurement import CutoffProfile, Density, DiameterDiversity, Distribution, Hair, Point, TerminalVellus
from runtime.analysis.opening import open_shares

GRID = (24, 32)  # rows and columns in which the scale counts as constant; a lens changes by 0.1 % from cell to cell


@dataclass(frozen=True)
class InMicrometres:
    """The figures of one frame that rest on its scale; all but `hairs` and `diameter_diversity` are None without one."""

    hairs: list[Hair]
    area_cm2: float | None
    density_per_cm2: Density | None
    follicle_density_per_cm2: Density | None
    diameter_um: Distribution | None
    terminal_vellus: TerminalVellus | None
    diameter_diversity: DiameterDiversity
    cumulative_thickness_mm_per_cm2: Density | None
    interfollicular_distance_um: Distribution | None


def in_micrometres(
    paths: Sequence[HairPath],
    ostia: Sequence[Ostium],
    *,
    width: int,
    height: int,
    counted: Counted,
    follicle_std: float,
    scale: FrameScale,
    cutoff: CutoffProfile,
) -> InMicrometres:
    """The figures that rest on the scale.

    Args:
        counted: the hairs that the density counts; `follicle_std` the standard error of finding the openings.
        width, height: of the picture, px.
    """
    here = _relative_scales(paths, scale)
    at_middle = [
        replace(path, diameter_px=path.diameter_px * k, diameter_px_std=path.diameter_px_std * k, diameter_px_max=path.diameter_px_max * k)
        for path, k in zip(paths, here.tolist(), strict=True)
    ]
    um_per_px = scale.scale.um_per_px
    hairs = _hairs(paths, at_middle, ostia, scale)
    with_hair = [ostium for ostium in ostia if ostium.hairs]
    if um_per_px is None:
        spread = diameters.diameter_diversity([path.diameter_px for path in at_middle], None)
        return InMicrometres(hairs, None, None, None, None, None, spread, None, None)
    diameters_um = [hair.diameter_um for hair in hairs]
    kinds = diameters.terminal_vellus(diameters_um, [hair.diameter_um_max for hair in hairs], cutoff)
    area = area_cm2(width, height, scale)
    per_unit = [len(ostium.hairs) for ostium in with_hair]
    places = _straight(np.array([(o.x, o.y) for o in with_hair], np.float64).reshape(-1, 2), scale)
    apart = units.interfollicular_distance(units.nearest_distances(places, width, height))
    return InMicrometres(
        hairs=hairs,
        area_cm2=area,
        density_per_cm2=figures.hair_density(counted, area, scale.scale, per_unit),
        follicle_density_per_cm2=figures.follicle_density(len(with_hair), follicle_std, area, scale.scale),
        diameter_um=diameters.distribution(diameters_um),
        terminal_vellus=kinds,
        diameter_diversity=diameters.diameter_diversity([path.diameter_px for path in at_middle], kinds),
        cumulative_thickness_mm_per_cm2=diameters.cumulative_thickness(at_middle, counted, area, scale.scale, per_unit),
        interfollicular_distance_um=units.scaled(apart, um_per_px),
    )


def area_cm2(width: int, height: int, scale: FrameScale) -> float:
    """Skin in a picture of width × height px within the usable field, cm². The frame has a scale."""
    assert scale.scale.um_per_px is not None
    if scale.lens is None and scale.slope_per_px == (0.0, 0.0) and scale.opening_px is None:
        return figures.area_cm2(width, height, scale.scale.um_per_px)
    of_cells = np.square(scale.grid(width, height, *GRID) / UM_PER_CM)
    if scale.opening_px is not None:
        of_cells = of_cells * open_shares(scale.opening_px, width, height, GRID)
    return float(width * height * of_cells.mean())


def _relative_scales(paths: Sequence[HairPath], scale: FrameScale) -> NDArray[np.float64]:
    """The scale where each hair lies over that at the middle, float64 (hairs,): the mean over its points."""
    if not paths or (scale.lens is None and scale.slope_per_px == (0.0, 0.0)):
        return np.ones(len(paths))
    sizes = np.array([len(path.points) for path in paths])
    owner = np.repeat(np.arange(len(paths)), sizes)
    relative = scale.relative(np.concatenate([path.points for path in paths]))
    return np.asarray(np.bincount(owner, relative, minlength=len(paths)) / np.maximum(sizes, 1), np.float64)


def _straight(places: NDArray[np.float64], scale: FrameScale) -> NDArray[np.float64]:
    """Positions (n, 2) without distortion, in px of the middle of the picture."""
    if scale.lens is None or not len(places):
        return places
    middle = np.array(scale.lens.middle_px)
    magnified = float(scale.lens.stretch(middle[None])[0])
    moved = (scale.lens.undistort(places) - scale.lens.undistort(middle[None])) / magnified + middle
    return np.asarray(moved, np.float64)


def _hairs(paths: Sequence[HairPath], at_middle: Sequence[HairPath], ostia: Sequence[Ostium], scale: FrameScale) -> list[Hair]:
    """The hairs as they are reported; `at_middle` have their diameters in px of the middle of the picture."""
    follicle_of = {hair: i for i, ostium in enumerate(ostia) for hair in ostium.hairs}
    um, um_std = scale.scale.um_per_px, scale.scale.um_per_px_std or 0.0
    hairs = []
    for i, (path, even, points) in enumerate(zip(paths, at_middle, _points(paths), strict=True)):
        in_um = in_um_std = None
        if um is not None and np.isfinite(even.diameter_px):
            in_um = even.diameter_px * um
            if np.isfinite(even.diameter_px_std):
                in_um_std = float(np.hypot(even.diameter_px_std * um, even.diameter_px * um_std))
        hairs.append(
            Hair(
                id=i,
                follicle_id=follicle_of.get(i),
                diameter_px=_rounded(path.diameter_px),
                diameter_px_std=_rounded(path.diameter_px_std),
                diameter_px_max=_rounded(path.diameter_px_max),
                diameter_um=_rounded(in_um),
                diameter_um_std=_rounded(in_um_std),
                diameter_um_max=None if um is None else _rounded(even.diameter_px_max * um),
                length_px=round(path.length_px, 2),
                rooted=path.rooted,
                confidence=round(path.confidence, 3),
                points=points,
            )
        )
    return hairs


def _points(paths: Sequence[HairPath]) -> list[list[Point]]:
    """The points of each hair as they are reported; all hairs' numbers are rounded at once."""
    if not paths:
        return []
    x, y = np.concatenate([path.points for path in paths]).round(2).T.tolist()
    widths = np.concatenate([path.widths_px for path in paths]).round(3)
    known: list[float | None] = [w if finite else None for w, finite in zip(widths.tolist(), np.isfinite(widths).tolist(), strict=True)]
    points: list[Point] = list(zip(x, y, known, strict=True))
    stops = np.cumsum([len(path.points) for path in paths]).tolist()
    return [points[stop - len(path.points) : stop] for path, stop in zip(paths, stops, strict=True)]


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 3)
