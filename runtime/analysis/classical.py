"""The classical segmenter: hair found, without learning, by what it is: long, sharply bordered, greyer or darker than the skin around it.

Hair is looked for in four logarithmic planes, one for each kind of hair, in which that kind lies above the skin: *dark* (red light is what
skin gives back and pigment does not), *neutral* (grey and white hair lacks the red of skin), *pale* (blond hair is greener than skin) and
*bright* (a white hair among dark ones). What rises over the skin by half of the hair's own contrast is hair, kept where it is long. Dark
evidence rules where it is strong; where it is weak it may be no more than the shadows of light hair, and the plane of another
colour decides if hair stands apart from skin in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.contrast import (
    Plane,
    Shape,
    Weights,
    enlarged,
    hair_border,
    logarithms,
    over_skin,
    reduced,
    shape_of,
    shape_within,
    weighted,
)
from runtime.analysis.pieces import pieces, small_gaps
from runtime.analysis.segmentation import Mask, Segmentation

WORKING_AREA = 2_000_000
"""Pixels above which the picture is reduced before anything else."""
CHROMA = 320
"""Longest side at which colour is looked at: cameras send it at half resolution, and it is noisier than brightness."""
SMOOTHING, CHROMA_SMOOTHING = 0.8, 0.7
"""Sigmas, px, that take out the sensor's noise and leave the narrowest hairs."""


@dataclass(frozen=True)
class Kind:
    """How hair of one kind is told from skin in its plane; contrasts in natural logarithms, lengths as shares of the longest side.

    Attributes:
        weights: of log blue, green, red. Skin in shadow changes all three alike.
        closing: diameter of the black-hat on the grid, wider than a bundle of hair.
        floor: the least threshold, above the skin's texture.
        span: contrasts beyond this are all alike to Otsu.
        contrast: the least mean contrast of a connected piece.
        elongation: the least length over width of a connected piece.
        length: the least length of a piece.
        straightness: the least extent of a piece over its length; 0 where hairs cross into nets.
    """

    weights: Weights
    closing: int
    floor: float
    span: float
    contrast: float
    elongation: float
    length: float
    straightness: float = 0.0


DARK_HAIR = Kind((-0.3, 0.6, -1.3), closing=17, floor=0.12, span=1.5, contrast=0.24, elongation=1.7, length=0.02)
NEUTRAL_HAIR = Kind((1.0, -0.4, -0.6), closing=21, floor=0.06, span=0.6, contrast=0.08, elongation=4.0, length=0.04)
PALE_HAIR = Kind((-0.5, 1.0, -0.5), closing=21, floor=0.05, span=0.3, contrast=0.07, elongation=4.0, length=0.04)
BRIGHT_HAIR = Kind((0.7, 0.5, -0.2), closing=17, floor=0.12, span=1.0, contrast=0.15, elongation=8.0, length=0.06, straightness=0.95)

LIGHT_HAIR = replace(BRIGHT_HAIR, elongation=4.0, length=0.04, straightness=0.0)
"""Bright hair that is not among dark: it may cross into nets."""

STRONG_DARK = 0.31
"""Median dark contrast from which dark pieces are surely hair and not the shadow of light hair."""
RELATIVE_CONTRAST = 0.4
"""Least mean contrast of a piece as a share of the frame's median: the glitter of greasy skin has less."""
LIGHT_SHARE = 0.25
"""Where dark contrast is weaker, the colour plane decides that separates hair best, of those that see this share of the most any sees."""
FEW_DARK = 0.03
"""Share of the picture below which strong dark hair may be the exception, and hair of another colour the rule."""
OUTNUMBERS = 2.0
"""It then covers this many times as much."""
LEAST_SEPARATION = 2.6
"""Standard deviations by which light hair stands apart from skin; blotches of skin colour stand apart by less."""
LINE_ELONGATION, LINE_LENGTH = 6.0, 0.05
"""Least length over width, and over the frame's longest side, of a piece that is faint throughout."""
STRAIGHT = 0.85
"""Least extent of a line over its length: a net of furrows or of glints is long in area, but small."""
STUB = 0.6
"""Share of the elongation that is asked of pieces that the picture's edge cuts."""
RIM = 0.02
"""A piece must come further into the picture than this share of its longest side: what keeps to the rim is a bar or a caption."""

NARROW = 0.022
"""Diameter, as a share of the longest side, of the opening that leaves only narrower hairs: 14 px of 640."""
FAINT = Kind((0.0, 0.0, 0.0), closing=0, floor=0.12, span=1.0, contrast=0.12, elongation=3.0, length=0.02)
"""What narrow faint hairs must be to be joined to stronger ones."""
FAINT_SHARE = 0.2
"""Least contrast of a faint hair as a share of the frame's median; furrows of the skin have less."""
GLITTER, GLITTER_SPREAD = 2.0, 0.015
"""How much more contrast is asked of a faint hair among glints of a mean contrast; sigma of that mean as a share of the longest side."""
STEPS = np.float32(4000)
"""Contrasts as integers: so many steps to 1. The most that a plane's weights allow, 7.2, still fits 16 bits."""
ALONE_ELONGATION, ALONE_LENGTH = 5.0, 0.04
"""What they must be to stand alone."""

GLOSS_LEVEL = 0.6
"""An enclosed gap is gloss and not skin where it keeps this share of the threshold."""
GLOSS_WIDTH = 0.02
"""Widest enclosed gap that can be gloss, as a share of the frame's longest side."""
GLOSS_AREA = 32.0
"""Longest gap that can be gloss, as area over squared greatest width."""

SURE = 0.75
"""Soft mask above which a pixel of hair is no borderline case."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """One plane's finding: contrast over skin, where hair ends in it (everywhere, and on the whole), and the long pieces above that."""

    contrast: Plane
    border: Plane
    threshold: float
    mask: Mask

    @property
    def share(self) -> float:
        """Of the picture that is hair."""
        return np.count_nonzero(self.mask) / self.mask.size

    @cached_property
    def strength(self) -> float:
        """Contrast of the hair that reaches the threshold, its median; 0 without any."""
        return median_above(self.contrast, self.threshold, self.mask)

    @property
    def separation(self) -> float:
        """Distance of hair from the rest in standard deviations (Fisher's criterion); 0 where there is not some of both."""
        hair, rest = self.contrast[self.mask], self.contrast[~self.mask]
        if min(hair.size, rest.size) < 2:
            return 0.0
        return float((hair.mean() - rest.mean()) / np.sqrt((hair.var() + rest.var()) / 2 + 1e-9))

    def enlarged(self, shape: Shape) -> Evidence:
        """The same at the larger (height, width) `shape`, with borders as fine as interpolation gives them."""
        contrast, border = enlarged(self.contrast, shape), enlarged(self.border, shape)
        near = enlarged(cv2.dilate(self.mask.astype(np.float32), np.ones((3, 3), np.uint8)), shape) > 0.5
        return Evidence(contrast, border, self.threshold, near & (contrast > border))


class ClassicalSegmenter:
    """Finds dark, grey, white and blond hair without a learned model. Deterministic, without state."""

    @property
    def name(self) -> str:
        """The version of this method, as results carry it."""
        return "classical/1"

    def segment(self, image: NDArray[np.uint8]) -> Segmentation:
        """The hair in `image`, uint8 (height, width, 3) BGR. Never raises for a picture of at least 8×8 px.

        `probability` is the share of a pixel that is hair: 0 at the skin's level, 0.5 where hair ends, 1 at the hair's own level.
        `reliability` is the share of the found hair that is no borderline case; 1 where no hair is found.
        """
        shape = shape_of(image)
        factor = min(1.0, (WORKING_AREA / (shape[0] * shape[1])) ** 0.5)
        working: NDArray[Any] = image
        if factor < 1:
            working = reduced(image, (max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))))
        soft, mask = soft_mask(working)
        found = np.count_nonzero(mask)
        reliability = np.count_nonzero(mask & (soft > SURE)) / found if found else 1.0
        if factor < 1:
            soft = enlarged(soft, shape)
            mask = soft >= 0.5
        return Segmentation(mask=mask, probability=soft, reliability=reliability, unfamiliar=False)


def soft_mask(image: NDArray[Any]) -> tuple[Plane, Mask]:
    """The soft mask (float32) and the mask (soft ≥ 0.5) of hair in `image`, uint8 (height, width, 3) BGR."""
    shape = shape_of(image)
    colours = logarithms(image)
    smoothing = SMOOTHING * max(1.0, max(shape) / 1280)
    dark = evidence(cv2.GaussianBlur(weighted(colours, DARK_HAIR.weights), (0, 0), smoothing), DARK_HAIR)
    small = cv2.GaussianBlur(reduced(colours, shape_within(shape, CHROMA)), (0, 0), CHROMA_SMOOTHING)
    strong = dark.strength >= STRONG_DARK
    found = [with_faint(dark)] if strong else []
    if strong and dark.share >= FEW_DARK:
        light = bright_among(dark, small)
    else:
        findings = [evidence(weighted(small, kind.weights), kind) for kind in (NEUTRAL_HAIR, PALE_HAIR, LIGHT_HAIR)]
        least = max(LIGHT_SHARE * max(finding.share for finding in findings), (OUTNUMBERS if strong else LIGHT_SHARE) * dark.share)
        findings = [finding for finding in findings if finding.share >= least and finding.separation >= LEAST_SEPARATION]
        fallback = bright_among(dark, small) if strong else dark
        light = max(findings, key=lambda finding: finding.separation, default=fallback)
    if light.mask.any() or not found:
        found.append(light if light is dark else light.enlarged(shape))
    masks = [without_gloss(finding.mask, finding.contrast, finding.threshold) for finding in found]
    mask, soft = masks[0], hair_share(found[0])
    for other, finding in zip(masks[1:], found[1:], strict=True):
        soft = np.maximum(soft, hair_share(finding) * other)
        mask = mask | other
    # mask and soft mask agree: hair has at least a half, what is not hair less
    soft = np.maximum(soft, mask * np.float32(0.5), out=soft)
    return np.minimum(soft, mask * np.float32(0.51) + np.float32(0.49), out=soft), mask


def hair_share(finding: Evidence) -> Plane:
    """How much of the hair's own contrast each pixel has, 0…1: 0.5 where hair ends."""
    share: Plane = finding.contrast / finding.border
    share *= np.float32(0.5)
    return np.clip(share, np.float32(0), np.float32(1), out=share)


def evidence(plane: Plane, kind: Kind, other: Mask | None = None) -> Evidence:
    """What `plane` says of hair of this `kind`; `other` (bool, of its size) is hair of another kind."""
    contrast, threshold = over_skin(plane, closing=kind.closing, floor=kind.floor, span=kind.span, other=other)
    if other is not None:
        contrast = contrast * ~other
    border = hair_border(contrast, threshold, floor=kind.floor, span=kind.span)
    return Evidence(contrast, border, threshold, long_pieces(contrast > border, contrast, threshold, kind))


def median_above(contrast: Plane, threshold: float, mask: Mask) -> float:
    """The median of the contrasts in `mask` that are above the threshold, of one pixel in four; 0 without any."""
    sample = contrast[::2, ::2][mask[::2, ::2]]
    strong = sample[sample > threshold]
    return float(np.median(strong)) if strong.size else 0.0


def bright_among(dark: Evidence, colours: NDArray[Any]) -> Evidence:
    """White hair among the `dark`, in log `colours` (float32, any smaller size, 3)."""
    shape = shape_of(colours)
    hair = reduced((dark.contrast > dark.border / 2).astype(np.float32), shape)
    return evidence(weighted(colours, BRIGHT_HAIR.weights), BRIGHT_HAIR, cv2.dilate(hair, np.ones((3, 3), np.uint8)) > 0.1)


def long_pieces(mask: Mask, contrast: Plane, threshold: float, kind: Kind) -> Mask:
    """The connected pieces of `mask` that are long for their width, long enough at all, and of enough mean contrast.

    A piece that nowhere reaches `threshold`, or is faint beside the frame's hair, must be a straight line; one that keeps to the
    picture's rim is no hair.
    """
    longest = max(mask.shape)
    found = pieces(mask, contrast, 8)
    least = max(kind.contrast, RELATIVE_CONTRAST * median_above(contrast, threshold, mask))
    edge = np.ones(mask.shape, np.bool_)
    edge[1:-1, 1:-1] = False
    # of a hair that leaves the picture only a stub may be seen
    elongated = (found.length >= kind.elongation * found.width) | (
        found.touched_by(edge) & (found.length >= STUB * kind.elongation * found.width)
    )
    long = elongated & (found.length >= kind.length * longest)
    long &= (found.extent >= kind.straightness * found.length) & (found.mean >= least)
    line = (found.length >= max(LINE_ELONGATION, kind.elongation) * found.width) & (found.length >= LINE_LENGTH * longest)
    line &= found.extent >= STRAIGHT * found.length
    return found.where(((long & found.touched_by(contrast > threshold)) | line) & found.touched_by(within_rim(mask)))


def within_rim(mask: Mask) -> Mask:
    """`mask` without the picture's rim."""
    height, width = mask.shape
    rim = min(round(RIM * max(mask.shape)), (min(mask.shape) - 1) // 2)
    inner = np.zeros_like(mask)
    inner[rim : height - rim, rim : width - rim] = mask[rim : height - rim, rim : width - rim]
    return inner


def with_faint(found: Evidence) -> Evidence:
    """`found` with the narrow hairs that are too faint beside their neighbours, found on half the size by a white top-hat.

    Soft shadows are wide, or lean against a hair, and an opening leaves nothing of either.
    """
    shape = shape_of(found.contrast)
    half = reduced(found.contrast, shape_within(shape, max(1, max(shape) // 2)))
    size = max(3, round(NARROW / 2 * max(shape)) | 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    # of integers the widest of discs costs half as much
    steps = (half * STEPS).astype(np.int16)
    narrow = half - np.asarray(cv2.morphologyEx(steps, cv2.MORPH_OPEN, disc)) / STEPS
    beside = cv2.dilate(reduced(found.mask.astype(np.float32), shape_of(half)), np.ones((3, 3), np.uint8)) > 0
    alone = narrow * ~beside
    floor = max(FAINT.floor, FAINT_SHARE * found.strength)
    # among glints a faint dark line is the skin between two of them
    glints = (np.asarray(cv2.morphologyEx(steps, cv2.MORPH_CLOSE, disc)) / STEPS - half) * ~beside
    least = np.float32(GLITTER) * widely_blurred(glints, GLITTER_SPREAD * max(shape)) + np.float32(floor)
    lines = pieces(alone > np.maximum(hair_border(alone, floor, floor=floor, span=FAINT.span), least), alone, 8)
    longest = max(half.shape)
    straight = (lines.extent >= STRAIGHT * lines.length) & lines.touched_by(within_rim(alone > floor))
    joined = lines.where(straight & (lines.length >= FAINT.elongation * lines.width) & (lines.length >= FAINT.length * longest))
    sure = lines.where(straight & (lines.length >= ALONE_ELONGATION * lines.width) & (lines.length >= ALONE_LENGTH * longest))
    # the ring that was left out around stronger hair is bridged again
    reach = (cv2.dilate(joined.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & (narrow > least)
    added = pieces(joined | reach, narrow, 8)
    standing = added.where(added.touched_by(beside | sure))
    return Evidence(found.contrast, found.border, found.threshold, found.mask | (enlarged(standing.astype(np.float32), shape) > 0.5))


def widely_blurred(plane: Plane, sigma: float) -> Plane:
    """`plane` blurred by a Gaussian of many pixels, found on a quarter of the size."""
    small = reduced(plane, shape_within(shape_of(plane), max(1, max(plane.shape) // 4)))
    sigma *= max(small.shape) / max(plane.shape)
    return enlarged(np.asarray(cv2.GaussianBlur(small, (0, 0), sigma)), shape_of(plane))


def without_gloss(mask: Mask, contrast: Plane, threshold: float) -> Mask:
    """`mask` with the bright stripes filled that gloss leaves along the middle of a hair: narrow enclosed gaps unlike skin."""
    widest = GLOSS_WIDTH * max(mask.shape)
    largest = GLOSS_AREA * widest**2
    gaps = pieces(small_gaps(mask, largest), contrast, 4)
    return mask | gaps.where((gaps.area <= largest) & (gaps.width < widest) & (gaps.mean > GLOSS_LEVEL * threshold))
