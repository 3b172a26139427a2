"""The training of U²-Net on rendered scenes: the same scenes and crops as the live segmenter's, the paper's loss.

As published, where that is said (Qin et al. 2020, 3.3 and 4.2, and their code): Adam with a rate of 1e-3 and no weight decay, the sum of
seven cross-entropies, each the mean over its pixels, all of weight 1. ScalpVision trains its masks with the same (arXiv 2406.17254).
Ours are the schedule of the rate, the averaged weights, and crops of 320 px that are turned and degraded anew each time.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.networks.u2net import INNER, Sides, Size, U2Net, official_input
from export.training.recipe import TrainingRecipe
from export.training.segmenter import SegmenterTraining

# two cores do about 400 steps of this an hour: it proves the code; the real one wants a GPU
CPU = TrainingRecipe("cpu", 200, 2, 320, 4, 400, 1e-3, 40, 0.0, 0.25, 0.98, 100, 1)
GPU = TrainingRecipe("gpu", 6000, 40, 320, 32, 24_000, 1e-3, 500, 0.0, 0.25, 0.9995, 1000, 12, precision="bfloat16")
SMOKE = TrainingRecipe("smoke", 6, 1, 64, 2, 8, 1e-3, 2, 0.0, 0.25, 0.5, 4, 0)
RECIPES = {recipe.name: recipe for recipe in (CPU, GPU, SMOKE)}


def recipe_for(name: str, size: Size) -> TrainingRecipe:
    """The recipe of that name for a network of that size. Raises KeyError where there is none."""
    return dataclasses.replace(RECIPES[name], base_channels=INNER[size])


def size_of(recipe: TrainingRecipe) -> Size:
    """Which size a recipe trains, by the inner channels of the first stage. Raises ValueError where it is neither."""
    for size, inner in INNER.items():
        if recipe.base_channels == inner:
            return size
    raise ValueError(f"no U²-Net has {recipe.base_channels} inner channels in its first stage")


def seven_losses(found: Sides, hair: Tensor) -> Tensor:
    """The scalar loss of a batch (Qin et al. 2020, equation 1 with all weights 1): the cross-entropies of the fused and the six side maps.

    Args:
        hair: float (batch, 1, height, width), 0 or 1.
    """
    losses = [functional.binary_cross_entropy_with_logits(logits.float(), hair) for logits in found.all()]
    return torch.stack(losses).sum()


class U2NetTraining(SegmenterTraining):
    """A training of U²-Net in one folder, of the size that its recipe says."""

    subject = "U²-Net"

    def _make_network(self) -> nn.Module:
        return U2Net(size_of(self.recipe))

    def _loss(self, *batch: Tensor) -> Tensor:
        pictures, hair = (part.to(self.device) for part in batch[:2])
        x = official_input(pictures.float()).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            found: Sides = self.network(x)
        return seven_losses(found, hair.float())

    def _whole(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        x = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))[None]).to(self.device).float()
        found: Sides = self.average(official_input(x).contiguous(memory_format=torch.channels_last))
        return np.asarray((found.fused[0, 0] > 0).cpu().numpy(), np.bool_)
