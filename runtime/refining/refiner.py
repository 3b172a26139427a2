"""The interface behind which every promptable refiner stands, when its answer is passed over, and what is made of its mask and ours.

M̂ is the mask that we had, robust to flakes; M_AP is the refiner's, with the sharper border. ScalpVision takes M̂ AND M_AP; the other
ensemble here weighs the two soft masks by how far each is trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.learned import hair_pieces
from runtime.analysis.segmentation import Mask, Segmentation
from runtime.analysis.slits import without_slits
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import Bundle
from runtime.refining.prompts import Prompts

Float = NDArray[np.float32]
Picture = NDArray[np.uint8]
Combination = Literal["and", "weighed"]
LEAST_AREA, MOST_AREA = 0.2, 3.0
"""Shares of the area of M̂ between which that of M_AP is believed. A refiner sharpens borders; one that finds a fifth or three times as
much has answered another question (a single hair, or the skin)."""
SLACK = 1e-3
"""How far a probability may lie beyond 0 and 1: halves and resizing round."""
LEAST_AGREEMENT = 0.3
"""Intersection over union of M̂ and M_AP from which M_AP is believed: it is of another size, or lies elsewhere."""
LEAST_LEFT = 0.5
"""Share of M̂'s area that is at least left of it in the ensemble: one that takes more away is no sharper border."""
LEAST_TRUST = 1e-3
"""What the two masks are weighed by is at least this, so that two that trust themselves not at all are averaged."""


@dataclass(frozen=True, eq=False)
class Refined:
    """What a refiner answers, at the size of the picture as given.

    Attributes:
        probability: float32 (height, width) in 0…1, the soft mask of hair.
        predicted_iou: 0…1, how well the refiner expects this mask to agree with the true one (intersection over union).
    """

    probability: Float
    predicted_iou: float

    def mask(self, threshold: float) -> Mask:
        """M_AP, bool (height, width): where the probability reaches `threshold`."""
        return np.asarray(self.probability >= np.float32(threshold), np.bool_)


class Refiner(Protocol):
    """Finds the hair at which points in a picture lie. Called by one thread at a time; ready when made."""

    @property
    def name(self) -> str:
        """What goes into `models["refiner"]`."""
        ...

    def refine(self, image: NDArray[np.uint8], prompts: Prompts) -> Refined:
        """The hair in `image`, uint8 (height, width, 3) BGR, that `prompts` point at. Ask `why_not_asked` first, `why_refused` after.

        Raises:
            InferenceError: the backend failed, answered in another form than it promised, or there is no positive prompt.
        """
        ...

    def cancel(self) -> None:
        """What is computed is no longer wanted: `refine` raises InferenceError as soon as it can, as it does until `resume`. Any thread."""
        ...

    def resume(self) -> None:
        """Take work again after `cancel`."""
        ...

    def close(self) -> None:
        """Give the backend's memory and threads back; the refiner is of no use afterwards."""
        ...


def open_refiner(bundle: Bundle, *, threads: int) -> Refiner:
    """The refiner of `bundle`, by the kind that its role names, on `threads` computing threads.

    Raises:
        BundleError: the bundle has none, or its network does not do what the manifest says.
    """
    role = bundle.manifest.roles.refiner
    if role is None:
        raise BundleError(f"{bundle.id}: it has no refiner: name another bundle")
    # both build on this module
    if role.kind == "points":
        from runtime.refining.points import PointsRefiner

        return PointsRefiner(bundle, threads=threads)
    from runtime.refining.maps import MapsRefiner

    return MapsRefiner(bundle, threads=threads)


def why_not_asked(prompts: Prompts) -> str | None:
    """Why a refiner is not asked, in words for a person; None where it can be."""
    return None if prompts.positive.any() else "no hair in the mask to point at"


def why_refused(live: Mask, refined: Refined, threshold: float) -> str | None:
    """Why a refiner's answer is passed over, in words for a person; None where it is taken. Then the mask that we had stands.

    Args:
        live: M̂, bool (height, width).
        threshold: probability from which a pixel is hair to the refiner.
    """
    if (reason := why_no_mask(refined, live.shape)) is not None:
        return reason
    had, found = np.count_nonzero(live), np.count_nonzero(refined.mask(threshold))
    if had == 0:
        return "no hair in the mask to refine"
    if not LEAST_AREA * had <= found <= MOST_AREA * had:
        return f"the refined mask has {found / had:.2f} times the area of the mask before, {LEAST_AREA:g} to {MOST_AREA:g} are believed"
    common = np.count_nonzero(live & refined.mask(threshold))
    agreement = common / (had + found - common)
    if agreement < LEAST_AGREEMENT:
        return f"the refined mask agrees with the mask before by {agreement:.2f} (intersection over union), {LEAST_AGREEMENT:g} is asked"
    return None


def why_not_combined(live: Mask, ensemble: Mask) -> str | None:
    """Why an ensemble's mask is passed over, in words for a person; None where it is taken. Both bool (height, width), `live` is M̂."""
    had, left = np.count_nonzero(live), np.count_nonzero(ensemble)
    if left < LEAST_LEFT * had:
        return f"of the mask before {left / had:.2f} is left with the refined one, {LEAST_LEFT:g} is asked"
    return None


def why_no_mask(refined: Refined, shape: tuple[int, ...]) -> str | None:
    """Why a refiner's answer is no soft mask of a picture of `shape` (height, width) at all, in words for a person; None where it is."""
    soft = refined.probability
    if soft.shape != shape:
        return f"the refined mask has the shape {soft.shape}, the picture {shape}"
    if not np.isfinite(refined.predicted_iou) or not np.isfinite(soft).all():
        return "the refined mask holds values that are no numbers"
    if soft.min() < -SLACK or soft.max() > 1 + SLACK:
        return "the refined mask holds values that are no probabilities"
    return None


def both(live: Segmentation, refined: Refined, threshold: float, image: Picture | None = None) -> tuple[Float, Mask]:
    """ScalpVision's ensemble M̂ AND M_AP: its soft mask, float32 (height, width), the lesser of the two, and its mask, bool.

    Crumbs that the cut leaves, too short for a hair or nowhere sure, are dropped. A slit of gloss that M̂ had filled is filled again where
    there is the picture to tell it by; else the mask lies within M̂.

    Args:
        live: M̂, what it is trusted and what it is not sure of.
        refined: an answer that `why_refused` does not refuse.
        threshold: probability from which a pixel is hair to the refiner.
        image: the picture, uint8 (height, width, 3) BGR.
    """
    ours, least = _soft(live), np.float32(threshold)
    soft = np.minimum(ours, refined.probability)
    cut = live.mask & refined.mask(threshold)
    mask = cut & hair_pieces(np.where(cut, np.maximum(soft, least), np.float32(0)), threshold)
    if image is None:
        return soft, mask
    whole, sure = without_slits(mask, ours, image)  # by what M̂ says of them, to whom they are hair
    return np.where(whole & ~mask, np.maximum(soft, sure), soft), whole


def weighed(
    live: Segmentation, refined: Refined, threshold: float, live_threshold: float, image: Picture | None = None
) -> tuple[Float, Mask]:
    """The mean of both soft masks, weighed by the reliability of M̂ and the predicted IoU of M_AP: soft mask and mask, as `both` has them.

    The threshold is the mean of the two thresholds by the same weights. Pieces that are too short for a hair or nowhere sure are dropped,
    hair that M̂ calls faint does not count, and slits of gloss are filled where there is the picture, as in every mask.

    Args:
        live, refined, threshold, image: as for `both`.
        live_threshold: probability from which a pixel is hair to the segmenter of M̂.
    """
    trust = np.clip(np.array((live.reliability, refined.predicted_iou)), LEAST_TRUST, 1)
    ours, theirs = (float(share) for share in trust / trust.sum())
    soft = np.asarray(np.float32(ours) * _soft(live) + np.float32(theirs) * refined.probability, np.float32)
    counting = soft if live.faint is None else np.where(live.faint, np.float32(0), soft)
    mask = hair_pieces(counting, ours * live_threshold + theirs * threshold)
    if image is None:
        return soft, mask
    whole, soft = without_slits(mask, soft, image)
    return soft, whole


def combined(
    combination: Combination,
    live: Segmentation,
    refined: Refined,
    threshold: float,
    live_threshold: float,
    image: Picture | None = None,
) -> tuple[Float, Mask]:
    """The ensemble that a bundle's role names: "and" is `both`, "weighed" is `weighed`; arguments and result as theirs."""
    if combination == "and":
        return both(live, refined, threshold, image)
    return weighed(live, refined, threshold, live_threshold, image)


def _soft(found: Segmentation) -> Float:
    return found.mask.astype(np.float32) if found.probability is None else found.probability
