"""The pictures of a training in their order: picture `i` is the same whenever, and in whichever process, it is asked for.

Where they come from is all one here: rendered scenes, labelled pictures of a data set, and generated pictures beside them. What comes
from where stays countable, and generated pictures are for learning only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from export.errors import TrainingError
from export.networks.conditions import CONDITIONS, GRADES, MAP_STRIDE, UNKNOWN
from export.training.conditions.augmentation import seen_anew
from export.training.conditions.scenes import FLAKES, LOOKS, SHINE, read_scene
from runtime.commands.pictures import read_picture
from runtime.errors import PictureError

Origin = Literal["rendered", "labelled", "generated"]
MAX_MEGAPIXELS = 24.0


@dataclass(frozen=True)
class Source:
    """A picture to learn from: a kept scene or a picture file, with its grades of dandruff, sebum and erythema."""

    path: Path
    grades: tuple[int, int, int]
    origin: Origin


def severity_weights(grades: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often each picture is to be drawn, float64 (n,), sum 1 (ScalpVision, Algorithm 2): the mean over the conditions of the inverse
    frequency of its grade; the rarer its grades, the more often.

    Args:
        grades: int64 (n, 3), 0…3.
    """
    weight = np.zeros(len(grades))
    for column in grades.T:
        counts = np.bincount(column, minlength=GRADES)
        weight += 1 / counts[column]
    return np.asarray(weight / weight.sum(), np.float64)


def tally(sources: Sequence[Source]) -> dict[str, dict[str, list[int]]]:
    """How many pictures of each grade there are, by origin and condition."""
    found: dict[str, dict[str, list[int]]] = {}
    for origin in ("rendered", "labelled", "generated"):
        mine = [source.grades for source in sources if source.origin == origin]
        if mine:
            counts = [Counter(column) for column in zip(*mine, strict=True)]
            found[origin] = {name: [c[grade] for grade in range(GRADES)] for name, c in zip(CONDITIONS, counts, strict=True)}
    return found


def read_source(source: Source, look: int = 0) -> NDArray[np.uint8]:
    """The picture of a source, uint8 (height, width, 3) BGR, a scene's photograph `look` with its planes of flakes and shine behind.

    Raises:
        TrainingError: it cannot be read any more.
    """
    if source.origin == "rendered":
        scene = read_scene(source.path)
        return np.dstack([scene[look % LOOKS], scene[LOOKS][..., [FLAKES, SHINE]]])
    try:
        return read_picture(source.path, MAX_MEGAPIXELS)
    except PictureError as problem:
        raise TrainingError(f"{problem}; the training read it before: put it back, or start anew") from problem


class GradedSamples(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Sample `i` as (picture uint8 (height, width, 3) BGR, grades int64 (3,), maps float32 (2, height / 8, width / 8)).

    Drawn by `severity_weights`. The maps say what share of each cell flakes cover, and how much of it shines; UNKNOWN where nobody can
    say.
    """

    def __init__(self, sources: Sequence[Source], size: tuple[int, int], seed: int, first: int, count: int) -> None:
        self.sources, self.size, self.seed, self.first, self.count = list(sources), size, seed, first, count
        weights = severity_weights(np.array([source.grades for source in self.sources], np.int64))
        self.until = np.cumsum(weights)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng([self.seed, 23, self.first + index])
        place = min(int(np.searchsorted(self.until, rng.random(), side="right")), len(self.sources) - 1)
        source = self.sources[place]
        height, width = self.size
        picture, planes = seen_anew(read_source(source, int(rng.integers(LOOKS))), rng, height, width)
        cells = (height // MAP_STRIDE, width // MAP_STRIDE)
        maps = np.full((2, *cells), UNKNOWN, np.float32)
        if planes.shape[2]:
            small = cv2.resize(planes, cells[::-1], interpolation=cv2.INTER_AREA)
            maps = np.ascontiguousarray(small.transpose(2, 0, 1)).astype(np.float32) * np.float32(1 / 255)
        return torch.from_numpy(picture), torch.tensor(source.grades, dtype=torch.int64), torch.from_numpy(maps)
