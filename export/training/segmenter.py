"""The training of the live segmenter: steps, averaged weights, validation on whole rendered frames, checkpoints, curves.

A step depends on nothing but the recipe, the seed and the state before it, so that an interrupted training that is resumed ends
where an uninterrupted one does (but for the last bits of float arithmetic).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from typing_extensions import Self  # typing.Self needs 3.11

from export.errors import TrainingError
from export.networks.live import LiveNet
from export.scenes import KIND_SHARES, validation_frames
from export.training import checkpoint
from export.training.cache import make_folder, render_scenes
from export.training.curves import curves_svg
from export.training.losses import segmenter_loss
from export.training.recipe import TrainingRecipe
from export.training.samples import CropSamples
from export.training.sources import SOURCES, check_sources

LOG_EVERY = 25
HISTORY, CURVES, SCENES = "history.json", "curves.svg", "scenes"

ValidationFrame = tuple[str, NDArray[np.uint8], NDArray[np.bool_]]


@dataclass(frozen=True)
class Watcher:
    """How a training tells what it is doing: `scenes(n)` n more are rendered, `step(n, loss)`, `validated(step, dice by kind)`."""

    scenes: Callable[[int], None] = lambda done: None
    step: Callable[[int, float], None] = lambda step, loss: None
    validated: Callable[[int, dict[str, float]], None] = lambda step, dice: None


@dataclass
class Progress:
    """What a training has come to: step, curves, and the seconds that its steps took."""

    step: int = 0
    loss: list[tuple[float, float]] = field(default_factory=list)
    dice: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    seconds: float = 0.0


def learning_rate(recipe: TrainingRecipe, step: int) -> float:
    """The rate of a step: linear warm-up, then a cosine down to a hundredth of the peak."""
    if step < recipe.warm_up:
        return recipe.rate * (step + 1) / recipe.warm_up
    part = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(part, 1.0))) / 2)


def device_for(recipe: TrainingRecipe) -> str:
    """PyTorch's name of the device to train on here: the recipe for a GPU takes one where there is one, the others none."""
    return "cuda" if recipe.name == "gpu" and torch.cuda.is_available() else "cpu"


@contextmanager
def _workers_failing(folder: Path) -> Iterator[None]:
    """What goes wrong in the processes that cut crops, as one line; that one was killed is told wherever this process happens to be."""
    try:
        yield
    except TrainingError as problem:  # a worker's comes with its whole traceback, the message last
        last = str(problem).strip().rpartition("\n")[2]
        raise TrainingError(last.removeprefix("export.errors.TrainingError: ")) from problem
    except RuntimeError as problem:
        if "DataLoader worker" not in str(problem):
            raise
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{folder}: a process that cuts crops ended ({first}): free some memory and go on with --resume") from problem


class SegmenterTraining:
    """One training in one folder. Owns network, averaged network and optimiser; `run` does the rest of the steps.

    Trainings of other networks that find hair replace what is theirs: the network, the samples, the loss, and how a whole frame is seen.

    Attributes:
        sources: SHA-256 of each network that it learns from, by the name of the option that names it; kept in the checkpoint.
    """

    subject = "live segmenter"

    def __init__(self, folder: Path, recipe: TrainingRecipe, seed: int, *, device: str = "cpu") -> None:
        self.folder, self.recipe, self.seed, self.device = folder, recipe, seed, torch.device(device)
        torch.manual_seed(seed)
        self.network = self._make_network().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = self._make_network().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
        self.progress = Progress()
        self.sources: dict[str, str] = {}

    @classmethod
    def resumed(cls, folder: Path, *, device: str | None = None, sources: Mapping[str, str] | None = None, **more: Any) -> Self:
        """The training whose checkpoint lies in `folder`, where it stopped; on the device that its recipe is for where none is named.

        Args:
            sources: of the networks that it is to go on with, as the attribute has them; must be those that it began with. Not compared
                where None, nor with a checkpoint from before they were kept.
            more: what a training of its kind takes beside.

        Raises:
            TrainingError: no checkpoint, a damaged one, or one that began with other networks.
        """
        state = checkpoint.load(folder)
        if sources is not None:
            check_sources(folder, state.get(SOURCES), sources)
        try:
            recipe = TrainingRecipe(**state["recipe"])
            training = cls(folder, recipe, int(state["seed"]), device=device or device_for(recipe), **more)
            training.network.load_state_dict(state["network"])
            training.average.load_state_dict(state["average"])
            training.optimiser.load_state_dict(state["optimiser"])
            training.progress = Progress(step=int(state["step"]), **state["history"])
            training.sources = dict(state.get(SOURCES) or sources or {})
        except (TypeError, ValueError, RuntimeError, KeyError) as problem:
            first = str(problem).partition("\n")[0]
            raise TrainingError(f"{folder}: the checkpoint does not fit this program ({first}): start anew in another folder") from problem
        return training

    def run(self, watcher: Watcher, *, until: int | None = None) -> Progress:
        """Do the remaining steps (up to step `until`), with a checkpoint and a validation every `validate_every` steps and at the end.

        Raises:
            TrainingError: the disk is nearly full or cannot be written to, a kept scene is damaged, a worker was ended, or the numbers
                are no longer finite; the last checkpoint stays.
        """
        recipe = self.recipe
        make_folder(self.folder)
        cpu_workers = max(1, recipe.workers + 1)
        paths = render_scenes(self.folder / SCENES, recipe.scenes, self.seed, workers=cpu_workers, advance=watcher.scenes)
        frames = [(f.truth.kind, f.image, f.mask | f.faint) for f in validation_frames(recipe.validation_per_kind, self.seed)]
        last = recipe.steps if until is None else min(until, recipe.steps)
        began = time.monotonic()
        with _workers_failing(self.folder):
            for batch in self._batches(paths, last):
                loss = self._step(*batch)
                self.progress.step += 1
                step = self.progress.step
                if step % LOG_EVERY == 0 or step == last:
                    self.progress.loss.append((step, loss))
                    watcher.step(step, loss)
                if step % recipe.validate_every == 0 or step == last:
                    self.progress.seconds += time.monotonic() - began
                    watcher.validated(step, self._validate(frames))
                    self._keep()
                    began = time.monotonic()
        return self.progress

    def _make_network(self) -> nn.Module:
        """A new network; the random state is set."""
        return LiveNet(self.recipe.base_channels)

    def _dataset(self, paths: list[Path], first: int, count: int) -> Dataset[tuple[Tensor, ...]]:
        """Samples `first` to `first + count` of the training."""
        return CropSamples(paths, self.recipe.side, self.seed, first, count, self.recipe.overlay_share)

    def _loss(self, *batch: Tensor) -> Tensor:
        """The scalar loss of a batch of the samples."""
        pictures, hair, gaps, marks = (part.to(self.device) for part in batch)
        x = pictures.float().contiguous(memory_format=torch.channels_last)
        return segmenter_loss(self.network(x), hair.float(), gaps.float(), marks)

    def _whole(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """The hair that the averaged network, in evaluation mode, sees in `image`, uint8 (height, width, 3) BGR: bool (height, width)."""
        x = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))[None]).to(self.device).float()
        found: NDArray[np.bool_] = (self.average(x.contiguous(memory_format=torch.channels_last)).hair[0, 0] > 0).cpu().numpy()
        return found

    def _batches(self, paths: list[Path], last: int) -> Iterator[tuple[Tensor, ...]]:
        recipe = self.recipe
        first = self.progress.step * recipe.batch
        count = last * recipe.batch - first
        if count <= 0:
            return
        samples = self._dataset(paths, first, count)
        more: dict[str, Any] = {"multiprocessing_context": "spawn", "prefetch_factor": 4} if recipe.workers else {}
        yield from DataLoader(samples, batch_size=recipe.batch, num_workers=recipe.workers, **more)

    def _step(self, *batch: Tensor) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.progress.step)
        torch.manual_seed(self.seed * 1_000_003 + self.progress.step)  # what is drawn in a step hangs on nothing before
        self.network.train()
        loss = self._loss(*batch)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        slope = nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        if not (torch.isfinite(loss) and torch.isfinite(slope)):  # before they are in the weights, and in a checkpoint
            raise TrainingError(
                f"{self.folder}: loss or gradients are not finite at step {self.progress.step}: "
                "start anew in another folder with another --seed"
            )
        self.optimiser.step()
        self._follow()
        return float(loss.detach())

    @torch.no_grad()
    def _follow(self) -> None:
        """The averaged weights come nearer to the network's; faster at the beginning, when those are still far away."""
        decay = min(self.recipe.ema, (1 + self.progress.step) / (10 + self.progress.step))
        mine = self.average.state_dict()
        for name, value in self.network.state_dict().items():
            if value.dtype.is_floating_point:
                mine[name].lerp_(value, 1 - decay)
            else:
                mine[name].copy_(value)

    @torch.no_grad()
    def _validate(self, frames: list[ValidationFrame]) -> dict[str, float]:
        """Mean Dice of the averaged network by kind, over whole frames with hair."""
        self.average.eval()
        found: dict[str, list[float]] = {}
        for kind, image, mask in frames:
            hair = self._whole(image)
            if mask.any():
                found.setdefault(kind, []).append(float(2 * np.sum(hair & mask) / max(1, int(hair.sum()) + int(mask.sum()))))
        dice: dict[str, float] = {kind: float(np.mean(found[kind])) for kind in KIND_SHARES if kind in found}
        for kind, value in dice.items():
            self.progress.dice.setdefault(kind, []).append((self.progress.step, value))
        return dice

    def _keep(self) -> None:
        progress = self.progress
        history = {"loss": progress.loss, "dice": progress.dice, "seconds": progress.seconds}
        state = {
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "step": progress.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": history,
            SOURCES: self.sources,
        }
        checkpoint.save(self.folder, state)
        checkpoint.write_atomically(self.folder / HISTORY, json.dumps(history, indent=1).encode())
        title = f"{self.subject}, recipe {self.recipe.name}, seed {self.seed}: {progress.step} of {self.recipe.steps} steps"
        checkpoint.write_atomically(self.folder / CURVES, curves_svg(title, {"training": progress.loss}, dict(progress.dice)).encode())
