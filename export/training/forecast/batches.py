"""Rendered persons as tensors, and the batches that a step draws from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.networks.hybrid import GREY, Head, ImageBranch
from export.persons import Cohort, Set, scaled_records
from export.training.forecast.recipe import ForecastRecipe

MONTHS, MONTHS_SHARES = (12, 24, 60, 120), (0.25, 0.35, 0.25, 0.15)
"""How far back a step looks at most: as if a person had begun to keep records later."""
MOST_PIXELS = 1 << 20  # that an image branch looks at in one go: its activations are some hundred bytes a pixel


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch of what a forecast takes: `seen` is the image branch's (batch, size) where that is frozen, else pictures uint8 BGR."""

    picture: Tensor
    seen: Tensor | None
    markers: Tensor
    records: Tensor


@dataclass(frozen=True, eq=False)
class People:
    """A cohort as a network takes it.

    Attributes:
        records: float32 (n, months, 2 · series), scaled.
        seen: float32 (mirrored ways, n, size) of a frozen image branch, or None.
        nothing: float32 (size,), what it sees in plain grey.
    """

    cohort: Cohort
    records: NDArray[np.float32]
    seen: NDArray[np.float32] | None = None
    nothing: NDArray[np.float32] | None = None

    def targets(self, head: Head, of: Set) -> NDArray[np.int64]:
        """What is to be told of each person."""
        return self.cohort.stage if head == "stage" else self.cohort.high[of].astype(np.int64)

    def whole(self, chosen: NDArray[np.int64]) -> Inputs:
        """These persons with all that is there."""
        longest = int(self.cohort.lengths[chosen].max())
        return Inputs(
            torch.from_numpy(self.cohort.pictures[chosen]),
            None if self.seen is None else torch.from_numpy(self.seen[0, chosen]),
            torch.from_numpy(self.cohort.markers[chosen]),
            torch.from_numpy(self.records[chosen, :longest]),
        )


def people(cohort: Cohort) -> People:
    """A cohort whose pictures no frozen branch has looked at."""
    return People(cohort, scaled_records(cohort.records))


def at_once(cohort: Cohort) -> list[NDArray[np.int64]]:
    """Everybody, in parts whose pictures are looked at in one go."""
    most = max(1, MOST_PIXELS // int(np.prod(cohort.pictures.shape[1:3])))
    return [np.arange(start, min(start + most, len(cohort))) for start in range(0, len(cohort), most)]


@torch.no_grad()
def looked_at(found: People, branch: ImageBranch, device: torch.device, *, mirrored: bool) -> People:
    """The same with what `branch` sees in each picture; in its four mirror images where `mirrored`."""
    branch.eval()
    ways = []
    for flips in ((), (1,), (2,), (1, 2)) if mirrored else ((),):
        rows = []
        for part in at_once(found.cohort):
            pictures = torch.from_numpy(found.cohort.pictures[part]).to(device)
            rows.append(branch(torch.flip(pictures, flips)).cpu().numpy())
        ways.append(np.concatenate(rows))
    side = branch.architecture.side
    nothing = branch(torch.full((1, side, side, 3), int(GREY), dtype=torch.uint8, device=device))[0].cpu().numpy()
    return People(found.cohort, found.records, np.stack(ways), nothing)


def drawn(found: People, recipe: ForecastRecipe, seed: int, step: int) -> tuple[NDArray[np.int64], Inputs]:
    """The persons of a step, and what is left of their pictures, records and markers after some was taken away."""
    rng = np.random.default_rng([seed, step, 7])
    chosen = rng.integers(0, len(found.cohort), recipe.batch)
    records, lengths = _recent(found, chosen, int(rng.choice(MONTHS, p=MONTHS_SHARES)))
    series = records.shape[2] // 2
    gone = rng.uniform(size=(len(chosen), 1, series)) < recipe.dropped
    gone = gone | (rng.uniform(size=(*records.shape[:2], series)) < recipe.dropped)
    gone |= np.arange(records.shape[1])[None, :, None] >= lengths[:, None, None]
    records = np.where(np.tile(gone, 2), np.float32(0), records)
    markers = np.where(rng.uniform(size=found.cohort.markers[chosen].shape) < recipe.dropped, 0, found.cohort.markers[chosen])
    blind = rng.uniform(size=len(chosen)) < recipe.blind
    pictures, seen = found.cohort.pictures[chosen], None
    if found.seen is not None and found.nothing is not None:
        seen = torch.from_numpy(np.where(blind[:, None], found.nothing, found.seen[int(rng.integers(len(found.seen))), chosen]))
    else:
        pictures = np.where(blind[:, None, None, None], np.uint8(GREY), pictures)
        pictures = pictures[:, :: 1 - 2 * int(rng.integers(2)), :: 1 - 2 * int(rng.integers(2))].copy()
    return chosen, Inputs(torch.from_numpy(pictures), seen, torch.from_numpy(markers), torch.from_numpy(records))


def _recent(found: People, chosen: NDArray[np.int64], most: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The last `most` months of these persons, beginning at 0, and how many each has."""
    lengths = np.minimum(found.cohort.lengths[chosen], most)
    place = (found.cohort.lengths[chosen] - lengths)[:, None] + np.arange(int(lengths.max()))
    place = np.minimum(place, found.records.shape[1] - 1)
    return found.records[chosen[:, None], place], lengths
