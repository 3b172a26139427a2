"""ScalpVision's automatic prompts: Algorithm 1 of the paper, which turns a mask into points on hair and points on skin.

A promptable segmenter is asked about these points: "hair is here, none is there". The paper's Table 5 compares four ways to choose
them; all four are here, so that the comparison can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.paper.boxes import suppress
from runtime.analysis.paper.skeleton import Mask, morphological_skeleton

Floats = NDArray[np.float64]
Variant = Literal["mask+complement", "skeleton+random", "skeleton", "skeleton+complement"]
"""Rows of the paper's Table 5, positives before the plus: random pixels of the mask, with random pixels of its complement; the mask's
representative points with random pixels of the complement; the same without negatives; the same with the complement's representative
points, which is Algorithm 1."""
VARIANTS: tuple[Variant, ...] = ("mask+complement", "skeleton+random", "skeleton", "skeleton+complement")
DEFAULT: Variant = "skeleton+complement"
BOX_PX = 10
"""Side of a box in the published code for prompts; that for widths has 20."""
LARGEST_BOX_PX = 256
MOST = 1000
"""Points of either kind: about what a field full of hair has at 640×480."""
RADIUS_PX = 2
"""Of the disc that a point is in `prompt_maps`."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """What a refiner is asked: n points of a picture, the positive ones first.

    Attributes:
        points: float64 (n, 2), x and y in px of the picture; centres of pixels are whole numbers.
        positive: bool (n,), True on hair, False on skin.
    """

    points: Floats
    positive: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.points)

    def scaled(self, x: float, y: float) -> Prompts:
        """The same in a picture that is `x` times as wide and `y` times as high."""
        factors = np.array((x, y), np.float64)
        return Prompts((self.points + 0.5) * factors - 0.5, self.positive)


def automatic_prompts(mask: Mask, *, variant: Variant = DEFAULT, box_px: int = BOX_PX, most: int = MOST, seed: int = 0) -> Prompts:
    """The prompts of `mask`, bool (height, width); none where it has no hair or nothing but hair. The mask stays as it is.

    Every variant has as many positives as the mask has representative points, and (but for "skeleton") as many negatives as its
    complement has: they differ in where the points lie, and not in their number. Of more than `most` points of a kind, evenly spaced ones
    are kept, in the order in which suppression takes the boxes, which runs up the picture row by row: the same for the same mask.
    Random pixels are drawn without repetition, the same for the same `seed`.

    Raises:
        ValueError: the mask is not bool with two sides, or `box_px` or `most` is out of range.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"a mask of {mask.dtype} {mask.shape}: give bool (height, width)")
    if not 2 <= box_px <= LARGEST_BOX_PX or most < 1:
        raise ValueError(f"boxes of {box_px} px, at most {most} points: choose 2 to {LARGEST_BOX_PX} px and at least one point")
    if not mask.any() or mask.all():
        return _asked(np.zeros((0, 2)), np.zeros((0, 2)))
    skin = ~mask
    rng = np.random.default_rng(seed)
    positives = representative_points(mask, box_px=box_px, most=most)
    if variant == "skeleton":
        return _asked(positives, np.zeros((0, 2)))
    negatives = representative_points(skin, box_px=box_px, most=most)
    if variant == "mask+complement":
        return _asked(_drawn(mask, len(positives), rng), _drawn(skin, len(negatives), rng))
    if variant == "skeleton+random":
        return _asked(positives, _drawn(skin, len(negatives), rng))
    return _asked(positives, negatives)


def prompts_as_learnt(mask: Mask, longest_side: int, *, variant: Variant = DEFAULT) -> Prompts:
    """The prompts of `mask`, bool (height, width), in its px, drawn as a refiner of pictures of at most `longest_side` px sees it.

    A larger mask is reduced as its picture is (`runtime.analysis.learned.reduced`), so that boxes have BOX_PX at that size. Hair that is
    gone at that size is not pointed at.
    """
    height, width = mask.shape
    factor = longest_side / max(height, width)
    if factor >= 1:
        return automatic_prompts(mask, variant=variant)
    columns, rows = (max(1, round(side * factor)) for side in (width, height))
    share = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    prompts = automatic_prompts(np.asarray(share >= np.float32(0.5), np.bool_), variant=variant)
    return prompts.scaled(width / columns, height / rows)


def representative_points(mask: Mask, *, box_px: int = BOX_PX, most: int = MOST) -> Floats:
    """The points P of Algorithm 1, float64 (n, 2), x and y, of `mask`, bool (height, width).

    A box of `box_px` is centred at every pixel of the morphological skeleton, boxes that another covers by more than a tenth are
    suppressed, and the point is the mean of the mask's pixels in a box. It may lie beside a bent hair. The picture's border cuts boxes.
    """
    y, x = suppress(morphological_skeleton(mask), box_px)
    if len(y) > most:
        kept = np.arange(most) * len(y) // most
        y, x = y[kept], x[kept]
    before = box_px // 2
    padded = np.pad(mask, before)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (box_px, box_px))[y, x].reshape(len(y), box_px * box_px)
    offset = np.arange(box_px, dtype=np.float64) - before
    dy, dx = (grid.reshape(-1) for grid in np.meshgrid(offset, offset, indexing="ij"))
    n, sx, sy = (windows.astype(np.float64) @ np.column_stack((np.ones_like(dx), dx, dy))).T
    return np.column_stack((x + sx / n, y + sy / n))  # a box holds its centre at least


def prompt_maps(prompts: Prompts, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The points as a network of ours takes them, float32 (2, height, width): plane 0 the positives, plane 1 the negatives.

    A point is a disc: 1 at pixels whose centre is at most 2 px from it, 0 elsewhere. Points beyond `shape` (height, width) are cut or
    left out.
    """
    height, width = shape
    maps = np.zeros((2, height, width), np.float32)
    x, y = prompts.points.T
    near = (x > -RADIUS_PX - 1) & (x < width + RADIUS_PX) & (y > -RADIUS_PX - 1) & (y < height + RADIUS_PX)
    x, y, plane = x[near], y[near], np.where(prompts.positive[near], 0, 1)
    reach = np.arange(-RADIUS_PX, RADIUS_PX + 1)
    down, right = (grid.reshape(-1) for grid in np.meshgrid(reach, reach, indexing="ij"))
    rows = np.rint(y).astype(np.intp)[:, None] + down
    columns = np.rint(x).astype(np.intp)[:, None] + right
    inside = (columns - x[:, None]) ** 2 + (rows - y[:, None]) ** 2 <= RADIUS_PX**2
    inside &= (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    planes = np.broadcast_to(plane[:, None], rows.shape)
    maps[planes[inside], rows[inside], columns[inside]] = 1
    return maps


def _asked(positives: Floats, negatives: Floats) -> Prompts:
    return Prompts(np.concatenate((positives, negatives)), np.arange(len(positives) + len(negatives)) < len(positives))


def _drawn(mask: Mask, count: int, rng: np.random.Generator) -> Floats:
    """`count` different pixels of `mask`, which has as many, float64 (count, 2), x and y."""
    at = np.flatnonzero(mask)
    rows, columns = np.divmod(at[rng.choice(len(at), count, replace=False, shuffle=False)], mask.shape[1])
    return np.column_stack((columns, rows)).astype(np.float64)
