"""How wide each hair is: sections across its course, all of a frame in one go, and one robust diameter for each hair.

A section is the profile of the soft mask (the share of hair in each pixel) along the normal; the hair's edges lie where that share
is one half, between pixels. Bars fitted to the picture (see shaft.py) then say by how much that is off on each hair; hairs far out of
focus are looked at more widely, and of hairs lighter than their skin, to which no bar fits, it is known how far inside of them masks end.
Sections in which another hair's course lies measure more than one hair and are left out (NaN), as are those much wider or narrower than
their hair. A mask in which hairs run together is only ever wider than one of them, and a hair
tapers only towards its tip: a hair's diameter is the middle of the sections about the lower middle of what is left when a tapering tip
is taken away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.courses import Courses, courses_of, percentiles
from runtime.analysis.hairs import HairPath
from runtime.analysis.sections import mask_edges, normals
from runtime.analysis.segmentation import Segmentation
from runtime.analysis.shaft import BLURRED, FOCUSED, Look, ShaftFits, fit_shafts
from runtime.analysis.skeleton import Floats, Ints

MARGIN_PX = 4.0  # a section reaches this far beyond the mask's edge
EDGE_STEP_PX = 0.75  # between samples of the widest section; the edge is found between samples
MAX_HALF_PX = 60.0  # sections of wider strands are cut off: no hair at these magnifications is wider
COURSE_PX = 2  # a course drawn so thick is met by samples STRAY_STEP_PX apart
STRAY_STEP_PX = 2.0
STRAY_PX = 1.0  # another hair's course so near to a section's edges lies in it
NARROWEST_SHARE, WIDEST_SHARE = 0.4, 1.5  # of its hair's typical width: other sections measure something else
MIN_SECTIONS = 3  # fewer tell no diameter

TIP_SHARE = 0.15  # the share of a hair's sections, half of it at each end, where it rises out of the skin or has been cut
LEFT_SHARE = 0.7  # of a hair's sections: where the ends are more than what this leaves, they count
TIP_SECTIONS = 8  # a tip can be told from fewer sections by nothing
TIP_TYPICAL_PERCENT, TIP_BELOW = 65.0, 0.65  # an end this much thinner than what its hair typically is tapers …
TIP_WIDTHS = 0.6  # … and than so many of the frame's usual hairs: where hairs run together, the thin end is one of them
TIP_BODY_PERCENT, TIP_UP_TO = 80.0, 0.8  # … to where the hair is this share of its body
TAPER_SECTIONS, TAPER_FIT = 10, 0.7  # a hair tapers all along where a line explains so much of the variance of so many widths …
TAPER_BELOW, TAPER_UP_TO = 0.7, 1.4  # … and ends below this share of where it begins, which is no more than so many usual hairs
TAPER_BODY = 0.8  # of the middle of its thicker half: what is as wide is the body
LOWER_PERCENT = 40.0
SEVERAL_WIDTHS, LOWEST_PERCENT = 1.2, 6.0  # what is wider than so many of the frame's usual hairs is several wherever it is not narrowest
ALIKE_SHARE, ALIKE_SECTIONS = 0.08, 20  # but several hairs are not equally wide together all along
NEAR_SHARE, NEAR_PX = 0.12, 0.4  # sections so near to the lower ones measure the same hair

GIVEN_DOUBT_PX, DOUBT_PX = 0.03, 1.5  # how far a given mask's edges may be off: of one to be relied on wholly, and on top where not at all
SEEN_DOUBT_PX, BLURRED_DOUBT_PX = 0.6, 2.0  # how far a segmenter's may be off, and those of a hair far out of focus
FRAME_FITS = 1.0  # how many of its own fits the frame's typical correction counts for on each hair
MIN_FRAME_FITS = 3
FIT_WEIGHT = 0.7  # of what the picture says against what a segmenter's mask says
# a shaft lighter than its skin is as dark as that at its flanks: masks end inside of it, the farther the wider it is, and bars do not fit
# (px and px per e-fold of the width: median regression on the light hairs of rendered frames)
LIGHT_LEVELS = 4.0
LIGHT_RELIABLE = 0.7  # doubtful masks end in the shadow beside a light hair as often as inside of it
LIGHT_ADDED_PX, LIGHT_ADDED_SHARE, LIGHT_WIDTH_PX, LIGHT_RANGE_PX = 0.55, 0.86, 7.0, (2.0, 15.0)
BLURRED_SPREADS = 1.5  # a hair whose point spread is so many times the frame's is far out of focus: it is looked at again, more widely
RESOLVED_SPREADS = 1.5  # below this many σ of the point spread width and contrast look alike

# standard errors, such that 60 to 76 % of the true diameters lie within one of them on rendered frames: of device.simulated where the mask
# is given; where a segmenter finds it, that renderer and another one were weighed against each other, for on them the errors differ
LEAST_ERROR_PX = 0.02
FEW_SECTIONS = 5.0
GIVEN_UNLIKE_ERROR = 0.18  # of a given mask: of the quartiles' distance of a hair's widths, and …
GIVEN_FEW_ERROR = 0.12  # … of the diameter, for no section at all; half as much for FEW_SECTIONS
MOVED_ERROR = 0.2  # of a segmenter's: of how far the diameter lies from the middle of all sections, …
FEW_ERROR = 0.03  # … of the diameter, for no section at all, …
DOUBT_ERROR = 0.38  # … for a mask that cannot be relied on at all, …
UNSEEN_ERROR = 0.10  # … and where the picture shows no bar anywhere


@dataclass(frozen=True, eq=False)
class _Sections:
    """All sections of a frame: edges on the mask along the normal and what may be used, each (n,)."""

    points: Floats
    normal: Floats
    left: Floats
    right: Floats
    usable: NDArray[np.bool_]

    @property
    def width(self) -> Floats:
        return self.right - self.left


def measure_widths(paths: tuple[HairPath, ...], image: NDArray[np.uint8], segmentation: Segmentation) -> tuple[HairPath, ...]:
    """`paths` with `widths_px`, `diameter_px`, `diameter_px_std` and `diameter_px_max` filled.

    `paths` carry the mask's rough widths in `widths_px` (or NaN); `image` is uint8 (height, width, 3) BGR. A hair that lies alone
    nowhere, or that is thinner than the picture resolves, has no diameter (NaN).
    """
    if not paths:
        return ()
    hairs = courses_of(paths)
    sections = _sections(hairs, segmentation)
    fits, correction = _corrections(image, hairs, sections, segmentation)
    widths = np.where(sections.usable, np.maximum(sections.width + correction[hairs.owner], 0.0), np.nan)
    diameter = _diameters(widths, hairs)
    std = _standard_errors(diameter, widths, hairs, fits, segmentation)
    limit = RESOLVED_SPREADS * fits.spread_px if segmentation.probability is not None else RESOLVED_SPREADS
    unresolved = diameter < limit
    most = np.where(unresolved, np.maximum(limit, diameter + 2 * std), np.nan)
    diameter, std = np.where(unresolved, np.nan, diameter), np.where(unresolved, np.nan, std)
    widths = np.where(widths > 0, widths, np.nan)  # a section of which its correction leaves nothing has no width that is known
    return tuple(
        replace(
            path,
            widths_px=widths[hairs.offsets[k] : hairs.offsets[k + 1]],
            diameter_px=float(diameter[k]),
            diameter_px_std=float(std[k]),
            diameter_px_max=float(most[k]),
        )
        for k, path in enumerate(paths)
    )


def _sections(hairs: Courses, segmentation: Segmentation) -> _Sections:
    owner, rough = hairs.owner, hairs.rough_widths()
    normal = normals(hairs.points, owner)
    half = np.minimum(0.75 * rough[owner] + MARGIN_PX, MAX_HALF_PX)
    left, right = mask_edges(hairs.points, normal, half, _share_of_hair(segmentation), EDGE_STEP_PX)
    width = right - left
    usable = np.isfinite(width) & (width < 2 * half - EDGE_STEP_PX)
    usable[usable] = ~_shared(hairs, normal, left, right, segmentation.mask.shape)[usable]
    typical = percentiles(width[usable], owner[usable], len(hairs), 50.0)
    typical = np.where(np.bincount(owner[usable], minlength=len(hairs)) >= MIN_SECTIONS, typical, rough)[owner]
    with np.errstate(invalid="ignore"):
        usable &= (width < WIDEST_SHARE * typical) & (width > NARROWEST_SHARE * typical)
    return _Sections(hairs.points, normal, left, right, usable)


def _shared(hairs: Courses, normal: Floats, left: Floats, right: Floats, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Sections in which another hair's course lies, bool (n,)."""
    drawn = np.zeros(shape[:2], np.int32)
    points = np.rint(hairs.points).astype(np.int32)
    for k in range(len(hairs)):
        cv2.polylines(drawn, [points[hairs.offsets[k] : hairs.offsets[k + 1]]], False, k + 1, COURSE_PX)
    at = np.flatnonzero(np.isfinite(left) & np.isfinite(right))
    low, high = left[at] - STRAY_PX, right[at] + STRAY_PX
    steps = int(np.ceil(float((high - low).max(initial=0.0)) / STRAY_STEP_PX)) + 1
    across = (low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, steps)).astype(np.float32)
    x = hairs.points[at, :1].astype(np.float32) + normal[at, :1].astype(np.float32) * across
    y = hairs.points[at, 1:].astype(np.float32) + normal[at, 1:].astype(np.float32) * across
    x, y = np.clip(np.rint(x), 0, shape[1] - 1).astype(np.int32), np.clip(np.rint(y), 0, shape[0] - 1).astype(np.int32)
    seen = drawn.ravel()[y * np.int32(shape[1]) + x]
    shared = np.zeros(len(left), np.bool_)
    shared[at] = ((seen != 0) & (seen != (hairs.owner[at, None] + 1).astype(np.int32))).any(1)
    return shared


def _share_of_hair(segmentation: Segmentation) -> NDArray[np.float32]:
    """The share of hair in each pixel, float32 (height, width); where the segmenter gives none, or no number, its mask stands in."""
    soft = segmentation.probability
    if soft is None:
        return segmentation.mask.astype(np.float32)
    if np.isfinite(cv2.sumElems(soft)[0]):
        return soft
    return np.where(np.isfinite(soft), soft, segmentation.mask).astype(np.float32)


def _corrections(image: NDArray[np.uint8], hairs: Courses, sections: _Sections, segmentation: Segmentation) -> tuple[ShaftFits, Floats]:
    """Bars fitted to the picture, and by how much that says each hair is wider than in the mask, px, float64 (hairs,).

    The edges of a mask without soft values lie where somebody put them, those of a segmenter where it sees the picture change.
    """
    given = segmentation.probability is None
    doubt = GIVEN_DOUBT_PX + DOUBT_PX * (1.0 - segmentation.reliability) if given else SEEN_DOUBT_PX
    fits = _fits(image, hairs, sections, sections.usable, doubt, FOCUSED)
    own, count, of_frame = _excess(fits, hairs)
    if given:
        return fits, (own * count + of_frame * FRAME_FITS) / (count + FRAME_FITS)
    owner = hairs.owner[fits.section]
    tried = np.bincount(owner, minlength=len(hairs))
    correction = FIT_WEIGHT * (own * count + of_frame * FRAME_FITS) / (tried + FRAME_FITS)
    masked = np.bincount(owner, fits.masked_px, minlength=len(hairs)) / np.maximum(tried, 1)
    if segmentation.reliability >= LIGHT_RELIABLE:
        rounded = LIGHT_ADDED_PX + LIGHT_ADDED_SHARE * np.log(np.clip(masked, *LIGHT_RANGE_PX) / LIGHT_WIDTH_PX)
        correction = np.where(fits.lighter > LIGHT_LEVELS, rounded, correction)
    with np.errstate(invalid="ignore"):
        blurred = percentiles(fits.fit.spread_px, owner, len(hairs), 50.0) > BLURRED_SPREADS * fits.spread_px
    if blurred.any():
        usable = sections.usable & blurred[hairs.owner]
        own, count, _ = _excess(_fits(image, hairs, sections, usable, BLURRED_DOUBT_PX, BLURRED), hairs)
        correction = np.where(blurred & (count > 0), own, correction)
    return fits, correction


def _fits(
    image: NDArray[np.uint8], hairs: Courses, sections: _Sections, usable: NDArray[np.bool_], doubt_px: float, look: Look
) -> ShaftFits:
    """Bars fitted across `hairs` where sections are `usable`."""
    return fit_shafts(
        image, sections.points, sections.normal, hairs.owner, sections.left, sections.right, usable, len(hairs), doubt_px, look
    )


def _excess(fits: ShaftFits, hairs: Courses) -> tuple[Floats, Ints, float]:
    """By how many px trusted bars are wider than the mask: each hair's median (0 without any), how many they are, the frame's median."""
    excess = (fits.fit.width_px - fits.masked_px)[fits.trusted]
    owner = hairs.owner[fits.section[fits.trusted]]
    of_frame = float(np.median(excess)) if len(excess) >= MIN_FRAME_FITS else 0.0
    own = np.nan_to_num(percentiles(excess, owner, len(hairs), 50.0))
    return own, np.bincount(owner, minlength=len(hairs)), of_frame


def _diameters(widths: Floats, hairs: Courses) -> Floats:
    """Each hair's diameter, px, float64 (hairs,); NaN for hairs of too few sections."""
    count = len(hairs)
    size = np.diff(hairs.offsets)
    trimmed = np.round(TIP_SHARE * size / 2)[hairs.owner]
    place = np.arange(len(widths)) - hairs.offsets[hairs.owner]
    known = np.isfinite(widths)
    body = known & (place >= trimmed) & (place < size[hairs.owner] - trimmed)
    # of a hair that can be seen at its ends only, those have to do
    left = np.bincount(hairs.owner[body], minlength=count) >= LEFT_SHARE * np.bincount(hairs.owner[known], minlength=count)
    body |= known & ~left[hairs.owner]
    values, owner = widths[body], hairs.owner[body]
    typical = percentiles(values, owner, count, 50.0)
    usual = _usual(typical, np.bincount(owner, minlength=count))
    tapers, thick = _tapering(values, place[body], owner, count, usual)
    kept = ~_tips(values, owner, count, usual) | tapers[owner]
    values, owner = values[kept], owner[kept]
    lower = percentiles(values, owner, count, LOWER_PERCENT)
    several = (lower > SEVERAL_WIDTHS * usual)[owner]
    if several.any():
        lowest, p25, p75 = (percentiles(values[several], owner[several], count, p) for p in (LOWEST_PERCENT, 25.0, 75.0))
        with np.errstate(invalid="ignore"):
            alike = (p75 - p25 < ALIKE_SHARE * p75) & (np.bincount(owner, minlength=count) >= ALIKE_SECTIONS)
        lower = np.where(np.isfinite(lowest) & ~alike, lowest, lower)
    near = np.abs(values - lower[owner]) <= NEAR_SHARE * lower[owner] + NEAR_PX
    near = np.where(tapers[owner], values > TAPER_BODY * thick[owner], near)
    diameter = percentiles(values[near], owner[near], count, 50.0)
    return np.where(np.bincount(owner, minlength=count) >= MIN_SECTIONS, diameter, np.nan)


def _usual(typical: Floats, sections: Ints) -> float:
    """The frame's usual hair, px: the median of hairs' `typical` widths, weighed by the root of their `sections`: scraps are short."""
    known = np.flatnonzero(np.isfinite(typical))
    if not len(known):
        return 0.0
    order = known[np.argsort(typical[known], kind="stable")]
    weight = np.cumsum(np.sqrt(sections[order]))
    return float(typical[order[np.searchsorted(weight, weight[-1] / 2)]])


def _tapering(values: Floats, place: Ints, owner: Ints, count: int, usual: float) -> tuple[NDArray[np.bool_], Floats]:
    """Which hairs taper all along, bool (hairs,), and the middle of each one's thicker half, px, float64 (hairs,).

    Their widths, (n,) in order, lie `place` along them; `usual` px is the frame's usual hair.
    """
    number = np.bincount(owner, minlength=count)
    size = np.maximum(number, 1)
    mean = np.bincount(owner, values, minlength=count) / size
    along = place - (np.bincount(owner, place, minlength=count) / size)[owner]
    off = values - mean[owner]
    square = np.maximum(np.bincount(owner, along * along, minlength=count), 1e-9)
    slope = np.bincount(owner, along * off, minlength=count) / square
    told = slope**2 * square / np.maximum(np.bincount(owner, off * off, minlength=count), 1e-9)
    line = mean[owner] + slope[owner] * along
    thin, thick = np.full(count, np.inf), np.zeros(count)
    np.minimum.at(thin, owner, line)
    np.maximum.at(thick, owner, line)
    tapers = (number >= TAPER_SECTIONS) & (told > TAPER_FIT) & (thin < TAPER_BELOW * thick) & (thick < TAPER_UP_TO * usual)
    thicker = along * slope[owner] > 0
    return tapers, percentiles(values[thicker], owner[thicker], count, 50.0)


def _standard_errors(diameter: Floats, widths: Floats, hairs: Courses, fits: ShaftFits, segmentation: Segmentation) -> Floats:
    """The standard error of each hair's diameter, px, float64 (hairs,).

    Scatter over a hair's sections says little of it, for they share their mask's errors and their neighbours. What does is how unlike they
    are or how far from their middle the diameter was put, how few, how far the mask can be relied on, and on how much of the hair the
    picture shows no bar.
    """
    count = len(hairs)
    few = 1.0 / (1.0 + np.bincount(hairs.owner[np.isfinite(widths)], minlength=count) / FEW_SECTIONS)
    if segmentation.probability is None and segmentation.reliability >= 1:
        unlike = percentiles(widths, hairs.owner, count, 75.0) - percentiles(widths, hairs.owner, count, 25.0)
        return np.asarray(LEAST_ERROR_PX + GIVEN_UNLIKE_ERROR * unlike + GIVEN_FEW_ERROR * few * diameter)
    tried = np.bincount(hairs.owner[fits.section], minlength=count)
    trusted = np.bincount(hairs.owner[fits.section[fits.trusted]], minlength=count)
    moved = np.abs(diameter - percentiles(widths, hairs.owner, count, 50.0))
    share = FEW_ERROR * few + DOUBT_ERROR * (1.0 - segmentation.reliability) + UNSEEN_ERROR * (1.0 - trusted / np.maximum(tried, 1))
    return np.asarray(LEAST_ERROR_PX + MOVED_ERROR * moved + share * diameter)


def _tips(values: Floats, owner: Ints, count: int, usual: float) -> NDArray[np.bool_]:
    """Which of hairs' widths in order along them, (n,), belong to an end that tapers, bool (n,).

    `usual` px is the frame's usual hair.
    """
    size = np.bincount(owner, minlength=count)
    begin = np.cumsum(size) - size
    tips = np.zeros(len(values), np.bool_)
    long = size >= TIP_SECTIONS
    if not long.any():
        return tips
    ends = np.full((2, count), np.inf)
    for end, first in zip(ends, (begin, begin + size - 3), strict=True):
        end[long] = np.sort(values[first[long][:, None] + np.arange(3)], axis=1)[:, 1]
    thin = np.less(ends, TIP_WIDTHS * usual)
    at = np.flatnonzero(thin.any(0)[owner])
    if not len(at):
        return tips
    values, owner = values[at], owner[at]
    thin = np.asarray(thin & (ends < TIP_BELOW * percentiles(values, owner, count, TIP_TYPICAL_PERCENT)))
    thick = values >= TIP_UP_TO * percentiles(values, owner, count, TIP_BODY_PERCENT)[owner]
    rank = at - begin[owner]
    for tapers, place in zip(thin, (rank, size[owner] - 1 - rank), strict=True):
        stop = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(stop, owner[thick], place[thick])
        tips[at] |= tapers[owner] & (place < stop[owner])
    return tips
