"""From hairs to counts and densities, each with its uncertainty.

Definitions: an unbiased counting frame counts an object that meets the frame's left or top edge and leaves out any that meets the right
or the bottom (Gundersen, J. Microsc. 111 (1977) 219). Hairs longer than the frame cannot be counted so, since most meet several edges;
there the hairs rooted in the frame are the unbiased count, each hair having one root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calib.scale import Scale
from runtime.analysis import sampling
from runtime.analysis.courses import courses_of
from runtime.analysis.hairs import HairPath, Ostium
from runtime.analysis.measurement import Density

Rule = Literal["rooted", "counting-frame"]

UM_PER_CM = 1e4

FINDING_ERROR_HAIRS = 0.5  # what no frame is free of
DOUBT_SHARE, MISSING_ERROR = 1.1, 0.46
FOLLICLE_DOUBT, HIDDEN_DOUBT = 0.2, 0.05  # variance, in openings, that each opening with hair and each hair adds
BORDER_PX = 3.0  # a course that ends this near to the border meets it


def hair_count_std(paths: Sequence[HairPath]) -> float:
    """Standard error of finding the hairs of a frame.

    A frame's doubts go together (one light, one focus), so they add up in full; hairs that are missed in bundles add what grows as the
    root of those found. Both by quantile regression (0.68) of the errors of counts on the frames on which the confidences were measured.
    """
    return float(np.sqrt((DOUBT_SHARE * _doubtful(paths)) ** 2 + MISSING_ERROR**2 * len(paths) + FINDING_ERROR_HAIRS**2))


def follicle_count_std(ostia: Sequence[Ostium], paths: Sequence[HairPath]) -> float:
    """Standard error of finding the openings of a frame: of those with hair any may be none, and every hair may hide one.

    By quantile regression (0.68) of the errors on 464 rendered frames of device.simulated.
    """
    with_hair = sum(bool(ostium.hairs) for ostium in ostia)
    return float(np.sqrt(FOLLICLE_DOUBT * with_hair + HIDDEN_DOUBT * len(paths) + FINDING_ERROR_HAIRS**2))


def _doubtful(paths: Sequence[HairPath]) -> float:
    return sum(1.0 - path.confidence for path in paths)


def in_counting_frame(paths: Sequence[HairPath], width: int, height: int) -> list[bool]:
    """Which hairs count by the unbiased counting frame that is the whole picture, width × height px.

    A hair that meets the right or the bottom border does not count unless it meets the left or the top one, which counts
    whatever else it meets.
    """
    if not paths:
        return []
    hairs = courses_of(paths)
    least, most = (extreme.reduceat(hairs.points, hairs.offsets[:-1], axis=0) for extreme in (np.minimum, np.maximum))
    near = np.fmax(BORDER_PX, np.array([path.diameter_px for path in paths]) / 2.0)[:, None]
    counting: NDArray[np.bool_] = np.any(least <= near, axis=1)
    forbidden: NDArray[np.bool_] = np.any(most >= np.array([width - 1, height - 1]) - near, axis=1)
    counted: list[bool] = (counting | ~forbidden).tolist()
    return counted


def counting_frame_count(paths: Sequence[HairPath], width: int, height: int) -> int:
    """How many hairs count by the unbiased counting frame."""
    return sum(in_counting_frame(paths, width, height))


def counting_rule(paths: Sequence[HairPath], height: int) -> Rule:
    """How density is counted here: by the counting frame where most hairs are shorter than half the frame's height, else by roots."""
    return rule_of_lengths([path.length_px < height / 2 for path in paths])


def rule_of_lengths(short: Sequence[bool]) -> Rule:
    """The rule for hairs of which each is `short` (than half its frame's height) or not; by roots where there is no hair."""
    return "counting-frame" if sum(short) > len(short) / 2 else "rooted"


@dataclass(frozen=True)
class Counted:
    """The hairs that a frame's density counts: the rule, `which` of its hairs, and the standard error of finding them."""

    rule: Rule
    which: tuple[bool, ...]
    std: float

    @property
    def count(self) -> int:
        """How many they are."""
        return sum(self.which)


def counted_hairs(paths: Sequence[HairPath], width: int, height: int, count_std: float) -> Counted:
    """What the density of a frame counts: the hairs rooted in it, or by the counting frame where most are shorter than half its height.

    `count_std` is the standard error of finding all hairs of the frame; those that are counted have their share of it.
    """
    rule = counting_rule(paths, height)
    which = [path.rooted for path in paths] if rule == "rooted" else in_counting_frame(paths, width, height)
    return Counted(rule, tuple(which), counted_std(count_std, sum(which), len(paths)))


def counted_std(count_std: float, counted: int, found: int) -> float:
    """Standard error of finding the `counted` hairs of `found` ones: their share of the frame's error, one hair's share at least."""
    return count_std * max(counted, 1) / found if found else count_std


def area_cm2(width: int, height: int, um_per_px: float | NDArray[np.float64]) -> float:
    """Skin in a picture of width × height px, cm².

    `um_per_px` is one scale for all of it, or a scale field: float64 (rows, columns), the scale in the middle of each cell of an even
    grid laid over the picture. An area goes with the square of the scale, so it is the mean of the squares that counts.
    """
    return float(width * height * np.mean(np.square(np.asarray(um_per_px, dtype=np.float64) / UM_PER_CM)))


def hair_density(counted: Counted, area_cm2: float, scale: Scale, hairs_per_unit: Sequence[int]) -> Density:
    """Hairs per cm² of a frame; see `density`."""
    return density(counted.count, counted.std, area_cm2, relative_std(scale), counted.rule, hairs_per_unit)


def follicle_density(count: int, count_std: float, area_cm2: float, scale: Scale) -> Density:
    """Follicular units (openings with hair) per cm²; an opening lies in the frame or does not, so they are counted by their position."""
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
    between: float = 1.0,
) -> Density:
    """Hairs (or follicles) per cm² with what is uncertain about them.

    `std_frame` is finding and scale: an area goes with the square of the scale. `std_site` adds the sampling of another field of the
    same site by `sampling.dispersion`: units fall into a field more evenly than by a Poisson law and bring several hairs each
    (`hairs_per_unit`; None where units themselves are counted). It does not hold what the density differs by from place to place
    within a site; several fields show that, and `between` (≥ 1, on variances) brings it in.

    Raises ValueError for an area that is not positive.
    """
    if not area_cm2 > 0:
        raise ValueError(f"area_cm2 is {area_cm2}: a density needs a positive area")
    value = count / area_cm2
    frame = float(np.hypot(count_std / area_cm2, 2.0 * um_per_px_relative_std * value))
    # with nothing seen, one unit could just as well have been
    sampled = float(np.sqrt(max(count, 1) * sampling.dispersion(hairs_per_unit) * between)) / area_cm2
    return Density(value=value, std_frame=frame, std_site=float(np.hypot(frame, sampled)), rule=rule)
