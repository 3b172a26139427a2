"""The samples of a training in their order: sample `i` is the same whenever, and in whichever process, it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from export.training.augment import crop_of
from export.training.cache import read_scene


class CropSamples(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """Sample `i` as (picture uint8 (3, side, side), hair bool (1, side, side), gaps likewise, marks float (3, side / 2, side / 2)).

    Every scene comes once before any comes twice, in an order that changes from round to round.
    """

    def __init__(self, paths: Sequence[Path], side: int, seed: int, first: int, count: int, overlay_share: float) -> None:
        self.paths = list(paths)
        self.side, self.seed, self.first, self.count, self.overlay_share = side, seed, first, count, overlay_share

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cv2.setNumThreads(1)
        sample = self.first + index
        turn, place = divmod(sample, len(self.paths))
        order = np.random.default_rng([self.seed, 3, turn]).permutation(len(self.paths))
        rng = np.random.default_rng([self.seed, 4, sample])
        over = read_scene(self.paths[int(rng.integers(len(self.paths)))]) if rng.random() < self.overlay_share else None
        crop = crop_of(read_scene(self.paths[order[place]]), rng, self.side, over)
        picture = torch.from_numpy(np.ascontiguousarray(crop.picture.transpose(2, 0, 1)))
        return picture, torch.from_numpy(crop.hair[None]), torch.from_numpy(crop.gaps[None]), torch.from_numpy(crop.marks)
