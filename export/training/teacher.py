"""The training of the teacher: the thick network beside the live one, on the same rendered scenes and the same crops.

Shown the live network's maps with every picture it learnt to repeat them (3,500 steps, the same Dice to the third digit). The recipe for
two cores therefore withholds them throughout: it learns from pictures alone, and is averaged with the live network in the end.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from export.networks.live import Outputs
from export.networks.thick import ThickNet
from export.training.live_maps import LiveMaps
from export.training.losses import segmenter_loss
from export.training.recipe import TrainingRecipe
from export.training.samples import CropSamples
from export.training.segmenter import SegmenterTraining

CPU = TrainingRecipe(
    "cpu", 3000, 5, 256, 8, 12_000, 2e-3, 200, 1e-2, 0.25, 0.999, 1000, 1, base_channels=32, precision="bfloat16", withheld=1.0
)
GPU = TrainingRecipe("gpu", 6000, 40, 320, 48, 24_000, 2e-3, 500, 1e-2, 0.25, 0.9995, 1000, 12, base_channels=40, withheld=1.0)
SMOKE = TrainingRecipe("smoke", 6, 1, 64, 2, 8, 2e-3, 2, 1e-2, 0.25, 0.5, 4, 0, base_channels=8, withheld=0.5)
RECIPES = {recipe.name: recipe for recipe in (CPU, GPU, SMOKE)}

NOTHING = 0.5
"""The probability that says nothing: its logit is 0."""
FAINT_WEIGHT = 0.4
"""Captured fields decide which hair counts: it weighs more than with the live network."""


class TeacherSamples(Dataset[tuple[Tensor, ...]]):
    """A sample of `CropSamples` and the live network's maps of its picture: hair float32 (1, side, side), marks (3, side / 2, side / 2).

    Of the share `withheld` of the samples they are NOTHING throughout.
    """

    def __init__(self, crops: CropSamples, live: LiveMaps, withheld: float = 0.0) -> None:
        self.crops, self.live, self.withheld = crops, live, withheld

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        sample = self.crops[index]
        if np.random.default_rng([self.crops.seed, 8, self.crops.first + index]).random() < self.withheld:
            return *sample, torch.full(sample[1].shape, NOTHING), torch.full(sample[3].shape, NOTHING)
        hair, marks = self.live.of(np.ascontiguousarray(sample[0].numpy().transpose(1, 2, 0)))
        return *sample, torch.from_numpy(np.array(hair)), torch.from_numpy(np.array(marks))


class TeacherTraining(SegmenterTraining):
    """A training of the teacher in one folder.

    Args:
        live: the bundle whose live network is corrected.
    """

    subject = "teacher"

    def __init__(self, folder: Path, recipe: TrainingRecipe, seed: int, *, device: str = "cpu", live: Path) -> None:
        self.live = LiveMaps(live)
        super().__init__(folder, recipe, seed, device=device)

    def _make_network(self) -> nn.Module:
        return ThickNet(self.recipe.base_channels, alone=self.recipe.withheld == 1)

    def _dataset(self, paths: list[Path], first: int, count: int) -> Dataset[tuple[Tensor, ...]]:
        return TeacherSamples(
            CropSamples(paths, self.recipe.side, self.seed, first, count, self.recipe.overlay_share), self.live, self.recipe.withheld
        )

    def _loss(self, *batch: Tensor) -> Tensor:
        pictures, hair, gaps, marks, live, live_marks = (part.to(self.device) for part in batch)
        x = pictures.float().contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            found = self.network(x, live, live_marks)
        outputs = Outputs(found.masks.float(), found.marks.float(), found.masks.new_zeros(0))
        return segmenter_loss(outputs, hair.float(), gaps.float(), marks, faint_weight=FAINT_WEIGHT)

    def _whole(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        live, live_marks = (torch.from_numpy(np.array(part))[None].to(self.device) for part in self.live.of(image))
        x = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))[None]).to(self.device).float()
        found = self.average(x.contiguous(memory_format=torch.channels_last), live, live_marks)
        return np.asarray((found.masks[0, 0] > 0).cpu().numpy(), np.bool_)
