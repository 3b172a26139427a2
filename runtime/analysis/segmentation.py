"""The interface behind which every segmenter stands, classical or learned: a picture in, the hair in it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from runtime.inference.backend import Backend

Mask = NDArray[np.bool_]
MaskSource = Literal["live", "teacher", "refined", "ensemble"]
"""Which mask it is: of the live segmenter (network, classical or both), the teacher's, a refiner's, or a refiner's and the one before."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Where hair is, at the size of the image as given.

    Attributes:
        mask: bool (height, width), visible hair that counts: its body differs from the skin by 8 grey levels or more (design, section 3).
        probability: float32 (height, width) in 0…1, the soft mask, or None where the segmenter has none.
        reliability: 0…1, how far the segmenter trusts this mask.
        unfamiliar: the frame is unlike anything the segmenter was made for.
        ostium_probability: float32 (height, width), heat map of follicle openings, or None.
        faint: bool (height, width), hair that is seen by its gloss or colour and does not count; None where the segmenter cannot tell.
        others: the same soft mask read with other thresholds. Where two hairs touch or a thin one is nearly lost, one threshold decides
            on a hair more or less: of several readings the one with the middle count is steadier.
        mask_source: None where the mask was given.
        passed_over: why a better mask, which the bundle has networks for, was not used; words for a person, None where nothing was.
        models: role and name of what else had a part in the mask, beside the segmenter.
    """

    mask: Mask
    probability: NDArray[np.float32] | None
    reliability: float
    unfamiliar: bool
    ostium_probability: NDArray[np.float32] | None = None
    faint: Mask | None = None
    others: tuple[Segmentation, ...] = ()
    mask_source: MaskSource | None = "live"
    passed_over: str | None = None
    models: tuple[tuple[str, str], ...] = ()


class Segmenter(Protocol):
    """Finds hair in a picture. Called by one thread at a time."""

    @property
    def name(self) -> str:
        """What goes into `models["segmenter"]`, for example "classical/1"."""
        ...

    def segment(self, image: NDArray[np.uint8]) -> Segmentation:
        """The hair in `image`, uint8 (height, width, 3) BGR. Never raises for a picture of at least 8×8 px."""
        ...


class ClosableSegmenter(Segmenter, Protocol):
    """A segmenter that owns a backend."""

    @property
    def backend(self) -> Backend:
        """What runs its network, to be asked how it is."""
        ...

    def close(self) -> None:
        """Give the backend's memory and threads back; the segmenter is of no use afterwards."""
        ...


@runtime_checkable
class HurriedSegmenter(ClosableSegmenter, Protocol):
    """A segmenter that waits for a better mask, and can be told that the program is ending."""

    def hurry(self) -> None:
        """Whoever waits gets what there is, at once, from here on. Returns at once; idempotent. Any thread."""
        ...


def given_mask(mask: Mask) -> Segmentation:
    """A mask that a person or another program gives, trusted wholly. `mask` is bool (height, width)."""
    return Segmentation(mask=mask, probability=None, reliability=1.0, unfamiliar=False, mask_source=None)
