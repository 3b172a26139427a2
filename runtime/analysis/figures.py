"""From hairs to the numbers that are reported: counts, distributions and densities, each with its uncertainty.

Definitions: an unbiased counting frame counts an object that meets the frame's left or top edge and leaves out any that meets the right
or the bottom. Hairs longer than the frame cannot be counted so, since most meet several edges; there the hairs rooted in the frame
are the unbiased count. Hair is terminal above 30 µm, the cut-off that trichoscopy uses, and vellus below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calib.scale import Scale
from runtime.analysis.courses import courses_of
from runtime.analysis.hairs import HairPath, Ostium
from runtime.analysis.measurement import Density, Distribution, TerminalVellus

Rule = Literal["rooted", "counting-frame"]

TRICHOSCOPY_CUTOFF_UM = 30.0
UM_PER_CM = 1e4

FINDING_ERROR_HAIRS = 0.5  # what no frame is free of
FOLLICLE_DOUBT = 2.0  # roots are in doubt by this much more than hairs: measured as HairPath.confidence was
BORDER_PX = 3.0  # a course that ends this near to the border meets it
UNIT_SIZES = np.array([1.0, 2.0, 3.0])  # an assumption: hairs in a follicular unit where a frame tells nothing about them …
UNIT_SHARES = np.array([0.4, 0.4, 0.2])  # … and how often


def hair_count_std(paths: Sequence[HairPath]) -> float:
    """Standard error of finding the hairs of a frame.

    A frame's doubts go together (one light, one focus), so they add up in full; on the rendered frames on which the confidences were
    measured, counts were off by as much, hairs missed included.
    """
    return float(np.hypot(_doubtful(paths), FINDING_ERROR_HAIRS))


def follicle_count_std(ostia: Sequence[Ostium], paths: Sequence[HairPath]) -> float:
    """Standard error of finding the openings of a frame: each hair's end in the frame may be a root taken for a tip or the reverse."""
    share = _doubtful(paths) / max(len(paths), 1)
    unrooted = sum(not path.rooted and not path.entering for path in paths)
    return float(np.sqrt((FOLLICLE_DOUBT * share * len(ostia)) ** 2 + share * unrooted + FINDING_ERROR_HAIRS**2))


def _doubtful(paths: Sequence[HairPath]) -> float:
    return sum(1.0 - path.confidence for path in paths)


def counting_frame_count(paths: Sequence[HairPath], width: int, height: int) -> int:
    """Hairs by the unbiased counting frame that is the whole picture, width × height px.

    A hair that meets the right or the bottom border does not count unless it meets the left or the top one, which counts
    whatever else it meets.
    """
    if not paths:
        return 0
    hairs = courses_of(paths)
    least, most = (extreme.reduceat(hairs.points, hairs.offsets[:-1], axis=0) for extreme in (np.minimum, np.maximum))
    near = np.fmax(BORDER_PX, np.array([path.diameter_px for path in paths]) / 2.0)[:, None]
    counting = (least <= near).any(1)
    forbidden = (most >= np.array([width - 1, height - 1]) - near).any(1)
    return int(np.count_nonzero(counting | ~forbidden))


def counting_rule(paths: Sequence[HairPath], height: int) -> Rule:
    """How density is counted here: by the counting frame where most hairs are shorter than half the frame's height, else by roots."""
    if not paths:
        return "rooted"
    short = sum(path.length_px < height / 2 for path in paths)
    return "counting-frame" if short > len(paths) / 2 else "rooted"


def distribution(values: Sequence[float] | NDArray[np.float64]) -> Distribution:
    """Statistics over hairs; values that are not finite are left out. `sd` needs two values."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return Distribution(n=0, mean=None, median=None, p25=None, p75=None, sd=None)
    p25, median, p75 = (float(v) for v in np.percentile(known, [25, 50, 75]))
    sd = float(known.std(ddof=1)) if len(known) > 1 else None
    return Distribution(n=len(known), mean=float(known.mean()), median=median, p25=p25, p75=p75, sd=sd)


def terminal_vellus(diameters_um: Sequence[float | None] | NDArray[np.float64], cutoff_um: float = TRICHOSCOPY_CUTOFF_UM) -> TerminalVellus:
    """Hairs thicker than the cut-off and not; undetermined are those without a diameter (None or NaN)."""
    values = np.array([np.nan if d is None else d for d in diameters_um], dtype=np.float64)
    known = np.isfinite(values)
    terminal = int((known & (values > cutoff_um)).sum())
    vellus = int(known.sum()) - terminal
    return TerminalVellus(cutoff_um=cutoff_um, terminal=terminal, vellus=vellus, undetermined=len(values) - terminal - vellus)


def area_cm2(width: int, height: int, um_per_px: float) -> float:
    """Skin in a picture of width × height px, cm²."""
    return width * height * (um_per_px / UM_PER_CM) ** 2


def hair_density(paths: Sequence[HairPath], width: int, height: int, area_cm2: float, count_std: float, scale: Scale) -> Density:
    """Hairs per cm²: those rooted in the frame, or by the counting frame where most hairs are shorter than half its height.

    `count_std` is the standard error of finding all hairs of the frame; the part of them that is counted has its share of it.
    """
    rule = counting_rule(paths, height)
    rooted = sum(path.rooted for path in paths)
    count = rooted if rule == "rooted" else counting_frame_count(paths, width, height)
    share = count / len(paths) if len(paths) else 1.0
    return density(count, count_std * max(share, 1.0 / max(len(paths), 1)), area_cm2, relative_std(scale), rule, ())


def follicle_density(count: int, count_std: float, area_cm2: float, scale: Scale) -> Density:
    """Openings with hair per cm²; an opening lies in the frame or does not, so they are always counted by their position."""
    return density(count, count_std, area_cm2, relative_std(scale), "rooted")


def relative_std(scale: Scale) -> float:
    """Standard uncertainty of the scale over the scale, 0 where it is not stated."""
    return (scale.um_per_px_std or 0.0) / scale.um_per_px if scale.um_per_px else 0.0


def density(
    count: int,
    count_std: float,
    area_cm2: float,
    um_per_px_relative_std: float,
    rule: Rule,
    hairs_per_unit: Sequence[int] | None = None,
) -> Density:
    """Hairs (or follicles) per cm² with what is uncertain about them.

    `std_frame` is finding and scale: an area goes with the square of the scale. `std_site` adds the sampling of another field of the
    same site: units fall into a field by a Poisson law and bring m hairs each, so the count varies by count · E[m²] / E[m], which is
    more than Poisson's for hairs and Poisson's itself for follicles (`hairs_per_unit` None). Real units keep a distance from one
    another; so this is an upper bound. Raises ValueError for an area that is not positive.
    """
    if not area_cm2 > 0:
        raise ValueError(f"area_cm2 is {area_cm2}: a density needs a positive area")
    value = count / area_cm2
    frame = float(np.hypot(count_std / area_cm2, 2.0 * um_per_px_relative_std * value))
    # with nothing seen, one unit could just as well have been
    sampling = float(np.sqrt(max(count, 1) * overdispersion(hairs_per_unit))) / area_cm2
    return Density(value=value, std_frame=frame, std_site=float(np.hypot(frame, sampling)), rule=rule)


def overdispersion(hairs_per_unit: Sequence[int] | None) -> float:
    """E[m²] / E[m] of the hairs per follicular unit: the frame's own units together with five of common sizes, 1 for single objects."""
    if hairs_per_unit is None:
        return 1.0
    own = np.asarray([m for m in hairs_per_unit if m > 0], dtype=np.float64)
    weight = np.concatenate([np.ones(len(own)), 5.0 * UNIT_SHARES])
    sizes = np.concatenate([own, UNIT_SIZES])
    return float((weight * sizes**2).sum() / (weight * sizes).sum())
