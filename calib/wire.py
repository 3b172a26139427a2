"""A wire, or one line of a ruling, measured across: how many pixels wide a straight bar is that crosses the picture.

The bar is cut into short pieces; across each the blurred bar of calib/bar.py is fitted, which tells where its middle is, and which pieces
show one and the same bar: those with dust on them, or beyond a line's end, drop out. Then the pixels of all pieces, each at its own
offset from the bar's middle, make one profile (nothing is interpolated), and a bar seen by a sharpening camera is fitted to that
(calib/sharpened.py). Leaving out groups of pieces tells the uncertainty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.bar import BarFit, fit_bars
from calib.errors import TargetNotFoundError
from calib.field import FrameScale
from calib.finding.strip import Strip, find_strip
from calib.sharpened import BarProfile, fit_sharpened

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PIECES = 24
LEAST_PIECES = 6
STEP_PX = 0.5  # between samples across the bar
SHADING = 0.2  # of a bar that is no hair: its flanks are about as bright as its middle
WHOLE = 0.7  # of the pieces from the first to the last that is a bar's
SAME_CONTRAST = 0.6  # of the middle piece's contrast; a piece with less lies beyond the line's end
OUTLIER, LEAST_SPREAD_PX = 3.5, 0.03  # robust standard deviations; of widths no smaller than this
BIN_PX = 0.25  # of offsets that are averaged
GROUPS = 8
MODEL_STD_PX = 0.03  # by which JPEG and the shape of the point spread move a width, whatever its pieces say
BLURRED, SURE = 2.5, 3.2  # widths over σ: below the first none is given, below the second the model's part of the uncertainty grows
LEAST_PX = 2.2
CLEAR_SHARE = 0.05  # standard error over width, above which a width is doubtful


@dataclass(frozen=True, eq=False)
class Wire:
    """A straight bar's width.

    Attributes:
        width_px, width_std_px: across the bar, of all its pieces together; the standard uncertainty includes MODEL_STD_PX.
        places_px: float64 (n, 2), middles of the pieces that were used, px of the image as given.
        psf_sigma_px: σ of the point spread across the bar, pixel included, before the camera sharpened.
        angle_deg: of the bar, from −90 to 90, 0 along x, clockwise as seen.
        dark: darker than what is around it.
    """

    width_px: float
    width_std_px: float
    places_px: Floats
    psf_sigma_px: float
    angle_deg: float
    dark: bool


def measure_wire(image: NDArray[np.uint8], expected_px: float | None = None) -> Wire:
    """Measure the bar that crosses the picture; the clearest and nearest to the middle where there are several.

    Args:
        image: uint8 (height, width, 3) BGR; its green channel is measured, for red and blue are shifted against it.
        expected_px: about the width, where it is known: bars of quite other widths are passed over.

    Raises:
        TargetNotFoundError: no straight bar crosses the picture, it is too narrow, or its edges are not clear enough to tell its width.
    """
    green = np.ascontiguousarray(image[..., 1])
    strip = find_strip(green, expected_px)
    pieces = _cut(green, strip)
    keep = _alike(pieces.fit, pieces.contrast)
    if keep.sum() < LEAST_PIECES:
        raise TargetNotFoundError(
            f"something like a bar was seen, but only {keep.sum()} of {PIECES} pieces of it agree on a width: expected one clean, straight "
            "wire or line through the middle of the picture; focus on it, and keep other things away from it"
        )
    width, error, sigma = _width_of(green, pieces, keep)
    if width < BLURRED * sigma:
        raise TargetNotFoundError(
            f"the bar is {width:.1f} px wide under a point spread of σ {sigma:.1f} px, too blurred to tell its width: focus on it"
        )
    std = math.hypot(error, MODEL_STD_PX * max(1.0, (SURE / (width / sigma)) ** 4))
    if width < LEAST_PX:
        raise TargetNotFoundError(f"the bar is {width:.1f} px wide, at least {LEAST_PX:g} are needed: go nearer, or take a thicker one")
    if std > CLEAR_SHARE * width:
        raise TargetNotFoundError(f"the bar is {width:.1f} ± {std:.1f} px wide, too unsure for a verdict: focus on it, and light it evenly")
    angle = (math.degrees(strip.normal_rad) + 180) % 180 - 90
    return Wire(width, std, pieces.places[keep], sigma, angle, bool(np.median(pieces.contrast[keep]) < 0))


@dataclass(frozen=True, eq=False)
class _Pieces:
    """The bar piece by piece.

    Attributes:
        fit: of each piece. `places`: float64 (n, 2), where its middle lies, px of the picture.
        along: unit vector along the bar; `slope` (n,): by how much the middle moves across per px along it.
        length_px: of a piece. `reach_px`: how far from the middle there is only the bar and its ground.
    """

    fit: BarFit
    places: Floats
    along: Floats
    slope: Floats
    length_px: float
    reach_px: float

    @property
    def contrast(self) -> Floats:
        """Of each piece, negative for a dark bar."""
        return (self.fit.left_step + self.fit.right_step) / 2


def _cut(green: NDArray[np.uint8], strip: Strip) -> _Pieces:
    """The bar of a strip in pieces, each sampled across and fitted.

    Raises:
        TargetNotFoundError: the bar only touches the picture.
    """
    height, width = green.shape
    normal = np.array([math.cos(strip.normal_rad), math.sin(strip.normal_rad)])
    along = np.array([-normal[1], normal[0]])
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    half = (strip.right_px - strip.left_px) / 2
    start = middle + (strip.left_px + strip.right_px) / 2 * normal
    enters, leaves = _way_through(start, along, width, height)
    if leaves - enters < 2 * (half + 4) + 2 * PIECES:
        raise TargetNotFoundError("a bar was seen, but it only touches a corner of the picture: lay it through the middle")
    edges = np.linspace(enters + half + 4, leaves - half - 4, PIECES + 1)
    way = (edges[:-1] + edges[1:]) / 2
    off = np.zeros(PIECES)  # of the bar's middle off the strip's: a lens bends it, and the angle is coarse
    spread = 0.8  # from sharp to soft the fit finds its way, hardly the other way round
    for pass_ in range(3):
        reach = half + max(4.0, min(0.8 * strip.ground_px, 6.0 + 5.0 * spread))
        across = np.arange(-reach, reach + STEP_PX / 2, STEP_PX)
        to = _ways(edges)
        levels, seen = _sections(green, across, start + to * along + np.interp(to, way, off) * normal, normal)
        offsets = np.broadcast_to(across, levels.shape)
        left, right = _half_points(across, levels, half) if pass_ == 0 else (np.full(PIECES, -half), np.full(PIECES, half))
        flank = max(4.0, 4.0 * spread)
        fit = fit_bars(offsets, levels, left, right, spread, weights=seen, spread_prior=1.0, shading=SHADING, flank_px=flank, iterations=14)
        if pass_ == 2 or fit.ok.sum() < LEAST_PIECES:
            break
        off = np.polyval(_smooth_line(way / edges[-1], off + fit.centre_px, fit.ok), way / edges[-1])
        half = float(np.median(fit.width_px[fit.ok])) / 2
        spread = float(np.clip(np.median(fit.spread_px[fit.ok]), 0.5, 8.0))
    places = start + way[:, None] * along + (off + fit.centre_px)[:, None] * normal
    return _Pieces(fit, places, along, np.gradient(off, way), float(edges[1] - edges[0]), reach)


def _width_of(green: NDArray[np.uint8], pieces: _Pieces, keep: Bools) -> tuple[float, float, float]:
    """(width, its standard error, σ of the point spread) in px, of the pixels of all pieces together.

    The standard error is that of the jackknife over GROUPS groups of pieces (Efron 1982), so that noise that neighbours share is told.
    """
    start = float(np.median(pieces.fit.width_px[keep])), float(np.median(pieces.fit.spread_px[keep]))
    index = np.flatnonzero(keep)
    sums = np.stack([_sums(green, pieces, int(i)) for i in index])
    groups = min(GROUPS, len(index))
    found = fit_sharpened(_profile(sums), *start)
    without = [fit_sharpened(_profile(np.delete(sums, np.s_[g::groups], axis=0)), *found)[0] for g in range(groups)]
    error = math.sqrt((groups - 1) / groups * float(np.sum((np.array(without) - np.mean(without)) ** 2)))
    return found[0], error, found[1]


def _sums(green: NDArray[np.uint8], pieces: _Pieces, i: int) -> Floats:
    """Of the pixels of one piece, by offset from the bar's middle: how many, sum of offsets, sum of levels; float64 (3, bins)."""
    height, width = green.shape
    centre, along = pieces.places[i], pieces.along
    box = np.abs(along) * pieces.length_px / 2 + np.abs(along[::-1]) * pieces.reach_px + 1
    left, top = np.maximum(np.ceil(centre - box).astype(int), 0)
    right, bottom = np.minimum(np.floor(centre + box).astype(int) + 1, (width, height))
    x, y = np.arange(left, right) - centre[0], (np.arange(top, bottom) - centre[1])[:, None]
    t = x * along[0] + y * along[1]
    u = x * along[1] - y * along[0] - pieces.slope[i] * t  # the normal is (along y, −along x)
    inside = (np.abs(t) <= pieces.length_px / 2) & (np.abs(u) < pieces.reach_px)
    bins = math.ceil(2 * pieces.reach_px / BIN_PX)
    u, levels = u[inside], green[top:bottom, left:right][inside].astype(np.float64)
    bin_ = np.minimum(((u + pieces.reach_px) / BIN_PX).astype(np.int64), bins - 1)
    return np.stack([np.bincount(bin_, weights, bins) for weights in (np.ones_like(u), u, levels)])


def _profile(sums: Floats) -> BarProfile:
    count, offsets, levels = sums.sum(0)
    full = count > 0
    return BarProfile(offsets[full] / count[full], levels[full] / count[full], count[full])


def _way_through(start: Floats, along: Floats, width: int, height: int) -> Floats:
    """Where the line from `start` along a unit vector enters and leaves the picture, px of the way."""
    low, high = -math.inf, math.inf
    for axis, size in ((0, width), (1, height)):
        if abs(along[axis]) > 1e-9:
            ends = sorted(((0.0 - start[axis]) / along[axis], (size - 1.0 - start[axis]) / along[axis]))
            low, high = max(low, ends[0]), min(high, ends[1])
    return np.array([low, high])


def _half_points(across: Floats, levels: Floats, half: float) -> tuple[Floats, Floats]:
    """About where the bar of each profile (n, k) begins and ends: the outermost places near its middle at half its contrast."""
    ground = np.median(levels[:, np.abs(across) > half + 1], axis=1)
    away = levels - ground[:, None]
    near = np.abs(across) <= half + 1
    deep = np.where(near, away, 0.0)
    sign = np.sign(np.median(deep.sum(1)))
    bar = near & (sign * away > 0.5 * np.max(sign * deep, axis=1, keepdims=True))
    first = across[bar.argmax(1)]
    final = across[len(across) - 1 - bar[:, ::-1].argmax(1)]
    none = ~bar.any(1) | (final <= first)
    return np.where(none, -half, first), np.where(none, half, final)


def _ways(edges: Floats) -> Floats:
    """Where sections stand along the bar, float64 (PIECES · m, 1), about a pixel apart."""
    step = edges[1] - edges[0]
    each = max(1, round(step))
    return np.asarray((edges[:-1, None] + (np.arange(each) + 0.5) / each * step).reshape(-1, 1), np.float64)


def _sections(green: NDArray[np.uint8], across: Floats, middles: Floats, normal: Floats) -> tuple[Floats, Floats]:
    """The mean brightness across each piece, float64 (PIECES, k), and which share of it lies in the picture.

    `middles` (PIECES · m, 2) are points on the bar, as many for each piece.
    """
    places = middles[:, None, :] + across[:, None] * normal
    height, width = green.shape
    inside = np.all((places >= 0) & (places <= (width - 1, height - 1)), axis=2)
    maps = places.astype(np.float32)
    # converted before it is sampled: cubic interpolation of 8-bit pixels would be rounded, and cut at 0 and 255
    levels = cv2.remap(green.astype(np.float32), maps[..., 0].copy(), maps[..., 1].copy(), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    shape = (PIECES, -1, len(across))
    count = inside.reshape(shape).sum(1)
    total = np.where(inside, levels, 0.0).reshape(shape).sum(1, dtype=np.float64)
    return total / np.maximum(count, 1), count * PIECES / len(middles)


def _smooth_line(way: Floats, off_px: Floats, ok: Bools) -> Floats:
    """A parabola through the middles of the pieces by least absolute deviations (reweighted least squares), its three coefficients."""
    weights = ok.astype(np.float64)
    found = np.zeros(3)
    design = np.stack([way**2, way, np.ones_like(way)], 1)
    for _ in range(10):
        root = np.sqrt(weights)[:, None]
        found = np.linalg.lstsq(design * root, off_px * root[:, 0], rcond=None)[0]
        weights = ok / np.maximum(np.abs(off_px - design @ found), 0.05)
    return np.asarray(found, np.float64)


def _alike(fit: BarFit, contrast: Floats) -> Bools:
    """The pieces that show one and the same bar: a clear fit, the usual contrast, and a width like the others'."""
    keep = fit.ok & np.isfinite(contrast)
    if not keep.any():
        return keep
    usual = float(np.median(contrast[keep]))
    keep &= contrast * np.sign(usual) > SAME_CONTRAST * abs(usual)
    for _ in range(3):
        width = fit.width_px[keep]
        if len(width) < LEAST_PIECES:
            break
        middle = float(np.median(width))
        spread = max(1.4826 * float(np.median(np.abs(width - middle))), LEAST_SPREAD_PX)
        keep &= np.abs(fit.width_px - middle) <= OUTLIER * spread
    at = np.flatnonzero(keep)
    if len(at) and len(at) < WHOLE * (at[-1] - at[0] + 1):  # a row of dots, or the edge of a pattern
        keep[:] = False
    return keep


def across_um_per_px(field: FrameScale, wire: Wire) -> float:
    """µm per px across the wire, mean over its pieces: distortion and tilt magnify along and across a radius differently.

    `field` must have a scale.
    """
    assert field.scale.um_per_px is not None
    if field.lens is None:
        return field.scale.um_per_px
    normal = math.radians(wire.angle_deg + 90)
    step = np.array([math.cos(normal), math.sin(normal)]) / 2
    across = np.linalg.norm(field.lens.undistort(wire.places_px + step) - field.lens.undistort(wire.places_px - step), axis=1)
    middle = np.array([field.lens.middle_px])
    sloped = 1 + (wire.places_px - middle) @ np.array(field.slope_per_px)
    return float(field.scale.um_per_px * np.mean(across * sloped / field.lens.stretch(middle)))
