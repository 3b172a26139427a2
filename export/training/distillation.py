"""Distillation: the live network learns on, from the truth and from what a teacher says of the same pictures (Hinton 2015).

Both arms of the comparison begin with the same live network and see the same crops in the same order for as many steps; one of them is
not told what the teacher says.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from export.errors import TrainingError
from export.networks.live import LiveNet
from export.training.live_maps import LiveMaps
from export.training.live_weights import live_weights
from export.training.losses import segmenter_loss
from export.training.recipe import TrainingRecipe
from export.training.samples import CropSamples
from export.training.segmenter import SegmenterTraining
from export.training.teacher import TeacherSamples
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import read_bundle

CPU = TrainingRecipe("cpu", 3000, 5, 256, 8, 4000, 1e-3, 100, 1e-2, 0.25, 0.998, 500, 1)
GPU = TrainingRecipe("gpu", 6000, 40, 320, 48, 12_000, 2e-3, 300, 1e-2, 0.25, 0.9995, 1000, 12)
SMOKE = TrainingRecipe("smoke", 6, 1, 64, 2, 8, 2e-3, 2, 1e-2, 0.25, 0.5, 4, 0)
RECIPES = {recipe.name: recipe for recipe in (CPU, GPU, SMOKE)}
SOFT_WEIGHT = 1.0  # of the teacher's soft mask beside the truth
MEASURED_ON = 64  # crops from which the statistics of the norms are had


class DistillationTraining(SegmenterTraining):
    """A live network that learns on in one folder.

    Args:
        live: the bundle with the network that it begins with.
        teacher: a bundle or part with the role `teacher`, None for the arm without.

    Raises:
        TrainingError: a bundle cannot be read, or lacks the role.
    """

    def __init__(
        self, folder: Path, recipe: TrainingRecipe, seed: int, *, device: str = "cpu", live: Path, teacher: Path | None = None
    ) -> None:
        self.live = live
        self.teacher = None if teacher is None else LiveMaps(teacher, role="teacher")
        self.subject = "live segmenter learning on, " + ("without a teacher" if teacher is None else "with a teacher")
        super().__init__(folder, recipe, seed, device=device)

    def begin(self, paths: list[Path]) -> None:
        """Take the live network's weights, before the first step. `paths` are kept scenes: the norms' statistics are measured on crops."""
        crops = CropSamples(paths, self.recipe.side, self.seed, 2**30, MEASURED_ON, self.recipe.overlay_share)
        pictures = [np.ascontiguousarray(crops[index][0].numpy().transpose(1, 2, 0)) for index in range(MEASURED_ON)]
        try:
            bundle = read_bundle(self.live)
        except BundleError as problem:
            raise TrainingError(f"{problem}; it is what learns on: name another with --live") from problem
        role = bundle.manifest.roles.segmenter
        if role is None:
            raise TrainingError(f"{bundle.id}: no segmenter in this bundle: name another with --live")
        state = live_weights(bundle.content[role.model], pictures).state_dict()
        for network in (self.network, self.average):
            try:
                network.load_state_dict(state)
            except RuntimeError as problem:
                raise TrainingError(
                    f"{bundle.id}: its live network is of another width than the recipe's: name another --live"
                ) from problem

    def _make_network(self) -> nn.Module:
        return LiveNet(self.recipe.base_channels)

    def _dataset(self, paths: list[Path], first: int, count: int) -> Dataset[tuple[Tensor, ...]]:
        if first == 0:
            self.begin(paths)
        crops = CropSamples(paths, self.recipe.side, self.seed, first, count, self.recipe.overlay_share)
        return crops if self.teacher is None else TeacherSamples(crops, self.teacher)

    def _loss(self, *batch: Tensor) -> Tensor:
        pictures, hair, gaps, marks, *said = (part.to(self.device) for part in batch)
        x = pictures.float().contiguous(memory_format=torch.channels_last)
        outputs = self.network(x)
        loss = segmenter_loss(outputs, hair.float(), gaps.float(), marks)
        if said:
            loss = loss + SOFT_WEIGHT * functional.binary_cross_entropy_with_logits(outputs.hair, said[0].clamp(0, 1))
        return loss
