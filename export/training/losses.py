"""What the segmenter's training minimises: cross-entropy that weighs borders and thin hair, Dice, and the two heat maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from export.networks.live import LINE, Outputs

DICE_WEIGHT, LINE_WEIGHT, OSTIUM_WEIGHT = 0.6, 0.3, 0.6
THIN_WEIGHT = 1.0  # extra weight of pixels at the centre line: what a thin hair consists of
SMOOTH_PX = 100.0  # pixels added to both sides of Dice, so that a crop without hair has a gradient


def soft_dice(probability: Tensor, truth: Tensor) -> Tensor:
    """1 − Dice over each picture of a batch (batch, 1, height, width), averaged."""
    both = (probability * truth).sum(dim=(1, 2, 3))
    total = probability.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3))
    return 1 - torch.mean((2 * both + SMOOTH_PX) / (total + SMOOTH_PX))


def segmenter_loss(outputs: Outputs, hair: Tensor, marks: Tensor) -> Tensor:
    """The scalar loss of a batch.

    Args:
        hair: float (batch, 1, height, width), 0 or 1.
        marks: float (batch, 2, height / 2, width / 2), 0…1.
    """
    line = marks[:, LINE : LINE + 1]
    weight = 1 + THIN_WEIGHT * functional.interpolate(line, scale_factor=2.0, mode="nearest")
    entropy = functional.binary_cross_entropy_with_logits(outputs.hair, hair, weight=weight)
    dice = soft_dice(torch.sigmoid(outputs.hair), hair)
    # openings cover a hundredth of a frame: what is near one counts more
    ostium_weight = torch.cat([1 + 2 * line, 1 + 12 * marks[:, LINE + 1 :]], 1)
    heat = functional.binary_cross_entropy_with_logits(outputs.marks, marks, weight=ostium_weight, reduction="none").mean(dim=(0, 2, 3))
    return entropy + DICE_WEIGHT * dice + LINE_WEIGHT * heat[0] + OSTIUM_WEIGHT * heat[1]
