"""What the segmenter's training minimises: cross-entropy that weighs thin hair and the gaps between hairs, Dice, and the maps beside it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from export.networks.live import FAINT, LINE, OSTIUM, Outputs

DICE_WEIGHT, LINE_WEIGHT, OSTIUM_WEIGHT, FAINT_WEIGHT = 0.6, 0.3, 0.6, 0.1
THIN_WEIGHT = 1.0  # extra weight of pixels at the centre line: what a thin hair consists of
GAP_WEIGHT = 2.0  # extra weight of the few pixels of skin between neighbours: filled, two hairs are one (Ronneberger 2015, eq. 2)
SMOOTH_PX = 100.0  # pixels added to both sides of Dice, so that a crop without hair has a gradient


def soft_dice(probability: Tensor, truth: Tensor) -> Tensor:
    """1 − Dice over each picture of a batch (batch, 1, height, width), averaged."""
    both = (probability * truth).sum(dim=(1, 2, 3))
    total = probability.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3))
    return 1 - torch.mean((2 * both + SMOOTH_PX) / (total + SMOOTH_PX))


def segmenter_loss(outputs: Outputs, hair: Tensor, gaps: Tensor, marks: Tensor, *, faint_weight: float = FAINT_WEIGHT) -> Tensor:
    """The scalar loss of a batch.

    Args:
        hair: float (batch, 1, height, width), 0 or 1.
        gaps: float (batch, 1, height, width), 1 where skin lies narrowly between hairs.
        marks: float (batch, MARKS, height / 2, width / 2), 0…1; FAINT is negative where nobody can say.
    """
    line = marks[:, LINE : LINE + 1]
    weight = 1 + GAP_WEIGHT * gaps + THIN_WEIGHT * functional.interpolate(line, scale_factor=2.0, mode="nearest")
    entropy = functional.binary_cross_entropy_with_logits(outputs.hair, hair, weight=weight)
    dice = soft_dice(torch.sigmoid(outputs.hair), hair)
    # openings cover a hundredth of a frame: what is near one counts more
    heat_weight = torch.cat([1 + 2 * line, 1 + 12 * marks[:, OSTIUM : OSTIUM + 1]], 1)
    heat = functional.binary_cross_entropy_with_logits(
        outputs.marks[:, :FAINT], marks[:, :FAINT], weight=heat_weight, reduction="none"
    ).mean(dim=(0, 2, 3))
    known = (marks[:, FAINT] >= 0).to(marks.dtype)
    doubt = functional.binary_cross_entropy_with_logits(outputs.marks[:, FAINT], marks[:, FAINT].clamp(min=0), reduction="none")
    faint = (doubt * known).sum() / (known.sum() + 1)
    return entropy + DICE_WEIGHT * dice + LINE_WEIGHT * heat[LINE] + OSTIUM_WEIGHT * heat[OSTIUM] + faint_weight * faint
