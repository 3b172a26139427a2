"""The classical segmenter: hair found, without learning, by what it is: long, sharply bordered, greyer or darker than the skin around it.

The picture is taken to logarithms, where a shadow and a brighter lamp add the same to all three colours, and reduced to three
planes in which hair of one kind lies above the skin: *dark* (red light is what skin gives back and pigment does not),
*neutral* (grey and white hair lacks the red of skin) and *pale* (blond hair is greener than skin). In each plane the skin's
own level is a black-hat background on a coarse grid, refined once by a blur that leaves out the hair found so far; what rises
over it by half of the hair's contrast (Otsu) is hair, kept where it is long. Dark evidence rules where it is strong; where it is
weak it may be only the shadows of light hair, and the colour planes decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.segmentation import Mask, Segmentation

Plane = NDArray[Any]  # float32 (height, width); OpenCV's annotations widen what it returns

GRID = 160
"""Longest side of the grid on which the skin's level is found: 4 px of a 640×480 frame each."""
CHROMA = 320
"""Longest side at which the colour planes are held: cameras send colour at half resolution and it is noisier than brightness."""
WORKING_AREA = 2_000_000
"""Pixels above which the picture is reduced before anything else."""
OFFSET = 10.0
"""Added to grey levels before the logarithm, so that the noise of black pixels is not blown up."""
LOGARITHM = np.log(np.arange(256, dtype=np.float32) + np.float32(OFFSET))

# What one unit of log blue, green and red gives in each plane. Skin in shadow changes all three alike.
DARK = (-0.3, 0.6, -1.3)
NEUTRAL = (1.0, -0.4, -0.6)
PALE = (-0.5, 1.0, -0.5)


@dataclass(frozen=True)
class Kind:
    """How hair of one kind is told from skin in its plane; contrasts in natural logarithms.

    Attributes:
        weights: of log blue, green, red.
        closing: diameter of the black-hat on the grid, wider than a bundle of hair.
        floor: the least threshold, above the skin's texture.
        span: contrasts beyond this are all alike to Otsu.
        contrast: the least mean contrast of a connected piece.
        elongation: the least length over width of a connected piece.
        length: the least length of a piece, as a share of the frame's longest side.
    """

    weights: tuple[float, float, float]
    closing: int
    floor: float
    span: float
    contrast: float
    elongation: float
    length: float


DARK_HAIR = Kind(DARK, closing=17, floor=0.12, span=1.5, contrast=0.24, elongation=1.5, length=0.02)
NEUTRAL_HAIR = Kind(NEUTRAL, closing=21, floor=0.06, span=0.6, contrast=0.08, elongation=4.0, length=0.04)
PALE_HAIR = Kind(PALE, closing=21, floor=0.035, span=0.3, contrast=0.05, elongation=4.0, length=0.04)

STRONG_DARK = 0.31
"""Median dark contrast from which dark pieces are surely hair and not the shadow of light hair."""
LIGHT_SHARE = 0.25
"""Where dark contrast is weaker, the plane decides that separates hair best of those that see this share of the most that any sees."""
GLOSS_LEVEL = 0.6
"""An enclosed gap is gloss and not skin where it keeps this share of the threshold."""
GLOSS_WIDTH = 0.02
"""Widest enclosed gap that can be gloss, as a share of the frame's longest side."""
GLOSS_AREA = 32.0
"""Longest gap that can be gloss, as area over squared greatest width."""
WEAK = 0.3
"""Share of the threshold at which fainter hairs are still looked for."""
BORDER = 0.55
"""Share of the core's contrast at which a hair ends; half, and a little for the gloss and shade that the core's mean has in it."""
CORE_SPREAD = 2.5
"""Sigma, on the grid, of the neighbourhood in which hair is compared with itself."""
LINE_ELONGATION, LINE_LENGTH = 6.0, 0.05
"""Least length over width, and over the frame's longest side, of a piece that is faint throughout."""
SKIN_SPREAD = 8.0
"""Sigma, on the grid, of the blur that gives the skin's level between hairs."""


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
        return float(np.mean(self.mask))

    @property
    def strength(self) -> float:
        """Contrast of the hair that reaches the threshold, its median; 0 without any."""
        strong = self.contrast[self.mask & (self.contrast > self.threshold)]
        return float(np.median(strong)) if strong.size else 0.0

    @property
    def separation(self) -> float:
        """Distance of hair from the rest in standard deviations (Fisher's criterion); 0 where there is not some of both."""
        hair, rest = self.contrast[self.mask], self.contrast[~self.mask]
        if min(hair.size, rest.size) < 2:
            return 0.0
        return float((hair.mean() - rest.mean()) / np.sqrt((hair.var() + rest.var()) / 2 + 1e-9))


def resized(plane: Plane, shape: tuple[int, int], interpolation: int = cv2.INTER_LINEAR) -> Plane:
    """`plane` at (height, width) `shape`."""
    return cv2.resize(plane, (shape[1], shape[0]), interpolation=interpolation)


def shape_within(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """(height, width) of a picture of `shape` reduced so that its longest side is `longest`; never enlarged."""
    factor = min(1.0, longest / max(shape[:2]))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def otsu(contrast: Plane, span: float) -> float:
    """Otsu's threshold (1979) of the contrasts between 0 and `span`."""
    levels = np.clip(contrast * np.float32(255 / span), 0, 255).astype(np.uint8)
    return float(cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)[0]) * span / 255


def contrast_over_skin(plane: Plane, kind: Kind, other: Mask | None = None) -> tuple[Plane, float]:
    """How far `plane` (float32, height, width) rises over the skin's level, and the threshold for hair; both in logarithms.

    `other` (bool, of the plane's size) is hair of another kind, which is not skin either.
    """
    shape = (plane.shape[0], plane.shape[1])
    coarse = resized(plane, shape_within(shape, GRID), cv2.INTER_AREA)
    small = (coarse.shape[0], coarse.shape[1])
    if other is None:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kind.closing, kind.closing))
        level = cv2.GaussianBlur(cv2.dilate(cv2.erode(cv2.medianBlur(coarse, 3), disc), disc), (0, 0), 2.0)
    else:
        level = skin_level(coarse, resized(other.astype(np.float32), small, cv2.INTER_AREA), np.full(small, np.median(coarse), np.float32))
    contrast = plane - resized(level, shape)
    hair = contrast > max(otsu(contrast, kind.span), kind.floor)
    if other is not None:
        hair |= other
    # the black-hat's level leans to the extreme; between the hairs the skin itself says its level
    level = skin_level(coarse, resized(hair.astype(np.float32), small, cv2.INTER_AREA), level)
    contrast = plane - resized(level, shape)
    return contrast, max(otsu(contrast, kind.span), kind.floor)


def skin_level(coarse: Plane, hair: Plane, without: Plane) -> Plane:
    """The blurred level of `coarse` where no `hair` (share of each pixel) is, leading over to `without` where no skin is near."""
    skin = (cv2.dilate(hair, np.ones((3, 3), np.uint8)) < 0.1).astype(np.float32)
    weight = np.float32(1e-2)
    total = np.asarray(cv2.GaussianBlur(skin, (0, 0), SKIN_SPREAD)) + weight
    level: Plane = (np.asarray(cv2.GaussianBlur(coarse * skin, (0, 0), SKIN_SPREAD)) + weight * without) / total
    return level


def local_threshold(contrast: Plane, threshold: float, kind: Kind) -> Plane:
    """Half the contrast of the hair nearby, so that fair and dark hairs of one frame are both as wide as they are.

    The hair nearby is the mean of the contrasts above the least threshold, weighed by their cube so that the core of a hair counts
    and its borders do not.
    """
    least = max(WEAK * threshold, kind.floor)
    found = np.where(contrast > least, np.minimum(contrast, np.float32(kind.span)), np.float32(0))
    coarse = resized(found, shape_within(contrast.shape, GRID), cv2.INTER_AREA)
    weight = coarse * coarse * coarse
    core = cv2.GaussianBlur(weight * coarse, (0, 0), CORE_SPREAD) / (cv2.GaussianBlur(weight, (0, 0), CORE_SPREAD) + np.float32(1e-5))
    border: Plane = np.maximum(resized(BORDER * np.asarray(core), (contrast.shape[0], contrast.shape[1])), np.float32(least))
    return border


@dataclass(frozen=True, eq=False)
class Pieces:
    """The connected pieces of a mask; index 0 stands for what lies outside it. Lengths in pixels.

    Attributes:
        labels: int32 (height, width), the piece each pixel belongs to.
        width: float64 (n,), of each piece where it is widest.
        length: float64 (n,), area over that width.
        mean: float64 (n,), the contrast within each.
    """

    labels: NDArray[np.int32]
    width: NDArray[np.float64]
    length: NDArray[np.float64]
    mean: NDArray[np.float64]

    def where(self, wanted: NDArray[np.bool_]) -> Mask:
        """The pixels of the `wanted` pieces, bool (n,)."""
        wanted[0] = False
        return wanted[self.labels]


def pieces(mask: Mask, contrast: Plane, connectivity: int, largest: float = np.inf) -> Pieces:
    """The pieces of `mask`, pixels touching by a corner being one piece with `connectivity` 8 and two with 4.

    Pieces of more than `largest` pixels are not measured: their width is infinite.
    """
    count, found = cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)
    labels = np.asarray(found, np.int32)
    area = np.bincount(labels[mask], minlength=count).astype(np.float64)
    measured = area <= largest
    chosen = mask if measured.all() else mask & measured[labels]
    depth = np.asarray(cv2.distanceTransform(chosen.astype(np.uint8), cv2.DIST_L2, 3), np.float32)
    inside = labels[chosen]
    radius = np.zeros(count, np.float32)
    np.maximum.at(radius, inside, np.minimum(depth[chosen], np.float32(max(mask.shape))))  # without any outside, depth is endless
    width = np.where(measured, 2 * radius.astype(np.float64) + 1e-3, np.inf)
    return Pieces(labels, width, area / width, np.bincount(inside, contrast[chosen], minlength=count) / np.maximum(area, 1))


def long_pieces(mask: Mask, contrast: Plane, threshold: float, kind: Kind) -> Mask:
    """The connected pieces of `mask` that are long for their width, long enough at all, and of enough mean contrast.

    A piece that nowhere reaches `threshold` must be a line beyond doubt.
    """
    found = pieces(mask, contrast, 8)
    long = (found.length >= kind.elongation * found.width) & (found.length >= kind.length * max(mask.shape))
    strong = np.zeros(found.width.size, np.bool_)
    strong[found.labels[mask & (contrast > threshold)]] = True
    line = (found.length >= LINE_ELONGATION * found.width) & (found.length >= LINE_LENGTH * max(mask.shape))
    return found.where(np.where(strong, long & (found.mean >= kind.contrast), line))


def without_gloss(mask: Mask, contrast: Plane, threshold: float) -> Mask:
    """`mask` with the bright stripes filled that gloss leaves along the middle of a hair: narrow enclosed gaps unlike skin."""
    widest = GLOSS_WIDTH * max(mask.shape)
    gaps = pieces(~mask, contrast, 4, largest=GLOSS_AREA * widest**2)
    return mask | gaps.where((gaps.width < widest) & (gaps.mean > GLOSS_LEVEL * threshold))


def evidence(plane: Plane, kind: Kind) -> Evidence:
    """What `plane` says of hair of this `kind`."""
    contrast, threshold = contrast_over_skin(plane, kind)
    border = local_threshold(contrast, threshold, kind)
    return Evidence(contrast, border, threshold, long_pieces(contrast > border, contrast, threshold, kind))


def combined(logarithms: NDArray[Any], weights: tuple[float, float, float]) -> Plane:
    """The plane that weighs log blue, green and red."""
    return cv2.transform(logarithms, np.array([weights], np.float32))


class ClassicalSegmenter:
    """Finds dark, grey, white and blond hair without a learned model. Deterministic, without state."""

    @property
    def name(self) -> str:
        """The version of this method, as results carry it."""
        return "classical/1"

    def segment(self, image: NDArray[np.uint8]) -> Segmentation:
        """The hair in `image`, uint8 (height, width, 3) BGR. Never raises for a picture of at least 8×8 px.

        `reliability` falls with the share of the found hair that lies near the threshold.
        """
        shape = (image.shape[0], image.shape[1])
        factor = min(1.0, (WORKING_AREA / (shape[0] * shape[1])) ** 0.5)
        working: NDArray[Any] = image
        if factor < 1:
            working = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        soft, mask = soft_mask(working)
        reliability = trust(soft, mask)
        if factor < 1:
            soft = resized(soft, shape)
            mask = soft >= 0.5
        return Segmentation(mask=mask, probability=soft, reliability=reliability, unfamiliar=False)


def soft_mask(image: NDArray[Any]) -> tuple[Plane, Mask]:
    """The soft mask (float32) and the mask (soft ≥ 0.5) of hair in `image`, uint8 (height, width, 3) BGR.

    The soft mask goes from 0 at the skin's level over 0.5 where hair ends to 1 at the hair's own level: the share of a pixel that is hair.
    """
    logarithms: NDArray[Any] = cv2.LUT(image, LOGARITHM)
    blur = 0.8 * max(1.0, max(image.shape[:2]) / 1280)
    plane = cv2.GaussianBlur(combined(logarithms, DARK), (0, 0), blur)
    dark = evidence(plane, DARK_HAIR)
    chosen = dark
    if dark.strength < STRONG_DARK:
        small = resized(logarithms, shape_within(image.shape, CHROMA), cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), 0.7)
        findings = [dark, *(evidence(combined(small, kind.weights), kind) for kind in (NEUTRAL_HAIR, PALE_HAIR))]
        least = LIGHT_SHARE * max(found.share for found in findings)
        chosen = max((found for found in findings if found.share >= least), key=lambda found: found.separation)
        if chosen is not dark:
            shape = (image.shape[0], image.shape[1])
            contrast = resized(chosen.contrast, shape)
            border = resized(chosen.border, shape)
            near = resized(cv2.dilate(chosen.mask.astype(np.float32), np.ones((3, 3), np.uint8)), shape) > 0.5
            chosen = Evidence(contrast, border, chosen.threshold, near & (contrast > border))
    mask = without_gloss(chosen.mask, chosen.contrast, chosen.threshold)
    soft = np.clip(chosen.contrast / (2 * chosen.border), np.float32(0), np.float32(1))
    soft = np.where(mask, np.maximum(soft, np.float32(0.5)), np.minimum(soft, np.float32(0.49)))
    return soft, mask


def trust(soft: Plane, mask: Mask) -> float:
    """1 where the found hair is far above the threshold throughout, towards 0 where all of it is borderline; 1 without hair."""
    found = soft[mask]
    return float(np.mean(found > 0.75)) if found.size else 1.0
