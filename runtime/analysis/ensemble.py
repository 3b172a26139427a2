"""The thorough segmenter of captures: the learned and the classical soft mask averaged.

The two err in different places: the network fills narrow gaps and takes its borders from what it has learnt, the classical mask
takes them from the picture and knows no hoods and bubbles. Where the network is all but certain, it alone suffices, so that
hair that the classical mask cannot see stays; the classical mask alone never does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.classical import ClassicalSegmenter
from runtime.analysis.learned import LearnedSegmenter, hair_pieces
from runtime.analysis.segmentation import Segmentation
from runtime.analysis.slits import without_slits
from runtime.inference.backend import Backend

READINGS = (1.0, 0.9, 1.1)
"""Shares of the network's threshold at which the mean is read."""
VETO = 0.15
"""The mean is at most this much above the network's own probability: what that one denies, the rim of a hood say, is no hair."""


class EnsembleSegmenter:
    """The mean of `learned`'s soft mask and the classical one; openings, trust and faint hair are the network's. Owns `learned`."""

    def __init__(self, learned: LearnedSegmenter) -> None:
        self._learned = learned
        self._classical = ClassicalSegmenter()

    @property
    def name(self) -> str:
        """Both names, the learned one first."""
        return f"{self._learned.name}&{self._classical.name}"

    @property
    def threshold(self) -> float:
        """The probability from which a pixel is hair."""
        return self._learned.threshold

    @property
    def backend(self) -> Backend:
        """What runs the network, to be asked how it is."""
        return self._learned.backend

    def close(self) -> None:
        """Give the backend's memory and threads back; the segmenter is of no use afterwards."""
        self._learned.close()

    def segment(self, image: NDArray[np.uint8]) -> Segmentation:
        """The hair in `image`, uint8 (height, width, 3) BGR.

        Raises:
            InferenceError: the backend failed.
        """
        return self.with_classical(image)[0]

    def with_classical(self, image: NDArray[np.uint8]) -> tuple[Segmentation, Segmentation]:
        """As `segment`, and the classical mask, for another network's mean with it."""
        learned, classical = self._learned.segment(image), self._classical.segment(image)
        return averaged(image, learned, classical, self._learned.threshold), classical


def averaged(image: NDArray[np.uint8], learned: Segmentation, classical: Segmentation, threshold: float) -> Segmentation:
    """The mean of a network's soft mask and the classical one of `image`, uint8 (height, width, 3), read at `threshold` and about it."""
    own = _soft(learned)
    soft = np.asarray(np.minimum((own + _soft(classical)) * np.float32(0.5), own + np.float32(VETO)), np.float32)
    first, *others = (_read(soft, learned, share * threshold, image) for share in READINGS)
    return replace(first, others=tuple(others))


def _read(soft: NDArray[np.float32], learned: Segmentation, threshold: float, image: NDArray[np.uint8]) -> Segmentation:
    """What is hair where `soft`, float32 (height, width), reaches `threshold`; all else is as `learned` has it."""
    mask, faint = hair_pieces(soft, threshold), learned.faint
    if faint is not None and faint.any():
        seen, mask = mask, hair_pieces(np.where(faint, np.float32(0), soft), threshold)
        faint = seen & ~mask
    mask, soft = without_slits(mask, soft, image)
    return replace(learned, mask=mask, probability=soft, faint=faint)


def _soft(found: Segmentation) -> NDArray[np.float32]:
    return found.mask.astype(np.float32) if found.probability is None else found.probability
