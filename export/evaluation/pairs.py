"""What masks are held against: folders of image and mask pairs, NAME.jpg or NAME.png beside NAME_mask.png, or rendered frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.errors import EvaluationError
from export.scenes import KIND_SHARES, validation_frames
from runtime.analysis.segmentation import Mask
from runtime.commands.pictures import read_mask, read_picture
from runtime.errors import PictureError

MASK_SUFFIX = "_mask"
RENDERED_SEED = 930_001
"""Of the rendered frames: no training, validation or fit draws them."""
KINDS = tuple(KIND_SHARES)
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Pair:
    """A picture and its true mask, by file."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture, uint8 (height, width, 3) BGR, with its true mask, bool (height, width); `kind` groups frames, "" where there are none."""

    name: str
    kind: str
    image: NDArray[np.uint8]
    true: Mask


def find_pairs(folder: Path) -> list[Pair]:
    """The pairs of a folder by name; pictures without a mask are left out.

    Raises:
        EvaluationError: no folder, one that may not be read, no pair in it, or two pictures of one name.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder}: no such folder: name one with NAME.jpg or NAME.png beside NAME{MASK_SUFFIX}.png")
    found: dict[str, Pair] = {}
    try:
        files = sorted(folder.iterdir())
    except OSError as problem:
        raise EvaluationError(f"{folder}: {problem.strerror or problem}: name a folder that may be read") from problem
    for image in files:
        mask = folder / f"{image.stem}{MASK_SUFFIX}.png"
        if image.suffix.lower() not in SUFFIXES or image.stem.endswith(MASK_SUFFIX) or not mask.is_file():
            continue
        if image.stem in found:
            raise EvaluationError(f"{image}: {found[image.stem].image.name} has the same name: keep one of the two")
        found[image.stem] = Pair(image.stem, image, mask)
    if not found:
        raise EvaluationError(f"{folder}: no picture with a mask here: NAME.jpg or NAME.png beside NAME{MASK_SUFFIX}.png is wanted")
    return list(found.values())


def read_pair(pair: Pair, max_megapixels: float = 24.0) -> tuple[NDArray[np.uint8], Mask]:
    """uint8 (height, width, 3) BGR and the true mask, bool (height, width).

    Raises:
        EvaluationError: one of them cannot be read, or the sizes differ.
    """
    try:
        image = read_picture(pair.image, max_megapixels)
        return image, read_mask(pair.mask, image.shape[1], image.shape[0])
    except PictureError as problem:
        raise EvaluationError(str(problem)) from problem


def kind_of(name: str) -> str:
    """The kind that the name of a frame begins with ("hard_500100"), "" where it begins with none."""
    return next((kind for kind in KINDS if name.startswith((f"{kind}_", f"{kind}-"))), "")


def paired_frames(pairs: Sequence[Pair]) -> Iterator[Frame]:
    """The frames of pairs of files.

    Raises:
        EvaluationError: see `read_pair`.
    """
    for pair in pairs:
        image, true = read_pair(pair)
        yield Frame(pair.name, kind_of(pair.name), image, true)


def rendered_frames(per_kind: int) -> Iterator[Frame]:
    """`per_kind` rendered frames of each of KINDS, from seeds that nothing was trained or fitted on; hair that counts is true."""
    for number, frame in enumerate(validation_frames(per_kind, RENDERED_SEED)):
        yield Frame(f"{frame.truth.kind}-{number % per_kind:04d}", frame.truth.kind, frame.image, frame.mask)
