"""The training of the conditions network: steps, averaged weights, validation, checkpoints, curves and confusion matrices.

A step depends on nothing but the recipe, the sources, the seed and the state before it, so that an interrupted training that is resumed
ends where an uninterrupted one does (but for the last bits of float arithmetic).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from export.errors import TrainingError
from export.evaluation.grades import ConditionScore, confusions_svg, score_conditions
from export.networks.scalp_net import ScalpNet, conditions_loss, in_float32
from export.training import checkpoint
from export.training.cache import make_folder
from export.training.conditions.recipe import ConditionsRecipe, learning_rate
from export.training.conditions.samples import GradedSamples, Source, tally
from export.training.curves import curves_svg

LOG_EVERY = 25
HISTORY, CURVES, CONFUSIONS = "history.json", "curves.svg", "confusions.svg"
VALIDATION_BATCH = 16


@dataclass(frozen=True)
class Watcher:
    """How a training tells what it is doing: `step(n, loss)` and `validated(step, macro-F1 by condition)`."""

    step: Callable[[int, float], None] = lambda step, loss: None
    validated: Callable[[int, dict[str, float]], None] = lambda step, f1: None


@dataclass
class Progress:
    """What a training has come to: step, curves, and the seconds that its steps took."""

    step: int = 0
    loss: list[tuple[float, float]] = field(default_factory=list)
    f1: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Validation:
    """Pictures as the network takes them, uint8 (n, height, width, 3), and their grades, int64 (n, 3)."""

    pictures: NDArray[np.uint8]
    grades: NDArray[np.int64]


def fingerprint(sources: Sequence[Source]) -> str:
    """Stands for the sources in their order, but for the folder that they lie in."""
    lines = "\n".join(f"{source.origin} {source.path.name} {source.grades}" for source in sources)
    return hashlib.sha256(lines.encode()).hexdigest()


def device_for(recipe: ConditionsRecipe) -> str:
    """PyTorch's name of the device to train on here: the recipe for a GPU takes one where there is one, the others none."""
    return "cuda" if recipe.name == "gpu" and torch.cuda.is_available() else "cpu"


@contextmanager
def _workers_failing(folder: Path) -> Iterator[None]:
    """What goes wrong in the processes that prepare pictures, as one line."""
    try:
        yield
    except TrainingError as problem:  # a worker's comes with its whole traceback, the message last
        last = str(problem).strip().rpartition("\n")[2]
        raise TrainingError(last.removeprefix("export.errors.TrainingError: ")) from problem
    except RuntimeError as problem:
        if "DataLoader worker" not in str(problem):
            raise
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{folder}: a process that prepares pictures ended ({first}): free some memory, then --resume") from problem


def new_network(recipe: ConditionsRecipe) -> ScalpNet:
    """The network of a recipe, weights drawn by torch's generator."""
    return ScalpNet(recipe.backbone, ordinal=recipe.ordinal, base=recipe.base)


class ConditionsTraining:
    """One training in one folder. Owns network, averaged network and optimiser; `run` does the rest of the steps.

    Args:
        weights: a state dict of the backbone (timm's names) to begin with.
    """

    def __init__(self, folder: Path, recipe: ConditionsRecipe, seed: int, *, device: str = "cpu", weights: Path | None = None) -> None:
        self.folder, self.recipe, self.seed, self.device = folder, recipe, seed, torch.device(device)
        torch.manual_seed(seed)
        self.network, self.average = (
            new_network(recipe).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            for _ in range(2)
        )
        if weights is not None:
            load_backbone(self.network, weights)
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
        self.progress = Progress()
        self.learnt_from: dict[str, Any] = {}

    @classmethod
    def resumed(cls, folder: Path, *, device: str | None = None, more: int = 0) -> ConditionsTraining:
        """The training whose checkpoint lies in `folder`, where it stopped; a finished one may get a round of `more` steps.

        Raises:
            TrainingError: no checkpoint, or a damaged one; or it is to get more, and is not finished or had more before.
        """
        state = checkpoint.load(folder)
        try:
            recipe = ConditionsRecipe(**state["recipe"])
            if more:
                if recipe.more or int(state["step"]) != recipe.steps:
                    raise TrainingError(f"{folder}: not finished, or had its further round: --resume it without --more")
                recipe = replace(recipe, steps=recipe.steps + more, more=more)
            training = cls(folder, recipe, int(state["seed"]), device=device or device_for(recipe))
            training.network.load_state_dict(state["network"])
            training.average.load_state_dict(state["average"])
            training.optimiser.load_state_dict(state["optimiser"])
            training.progress = Progress(step=int(state["step"]), **state["history"])
            training.learnt_from = dict(state["learnt_from"])
        except (TypeError, ValueError, RuntimeError, KeyError) as problem:
            first = str(problem).partition("\n")[0]
            raise TrainingError(f"{folder}: the checkpoint does not fit this program ({first}): start anew in another folder") from problem
        return training

    def run(self, sources: Sequence[Source], validation: Validation, watcher: Watcher, *, until: int | None = None) -> Progress:
        """Do the remaining steps (up to step `until`), with a checkpoint and a validation every `validate_every` steps and at the end.

        Raises:
            TrainingError: no source, other sources than before, the disk is nearly full or cannot be written to, a source is damaged,
                a worker was ended, or the numbers are no longer finite; the last checkpoint stays.
        """
        recipe = self.recipe
        if not sources:
            raise TrainingError(f"{self.folder}: no picture to learn from: name a folder with graded pictures")
        mark = {"pictures": len(sources), "sha256": fingerprint(sources), "grades": tally(sources)}
        if self.learnt_from.get("sha256", mark["sha256"]) != mark["sha256"]:
            raise TrainingError(f"{self.folder}: not the pictures that this training learnt from: name those, or start anew elsewhere")
        self.learnt_from = mark
        make_folder(self.folder)
        last = recipe.steps if until is None else min(until, recipe.steps)
        began = time.monotonic()
        with _workers_failing(self.folder):
            for pictures, grades, maps in self._batches(sources, last):
                loss = self._step(pictures, grades, maps)
                self.progress.step += 1
                step = self.progress.step
                if step % LOG_EVERY == 0 or step == last:
                    self.progress.loss.append((step, loss))
                    watcher.step(step, loss)
                if step % recipe.validate_every == 0 or step == last:
                    self.progress.seconds += time.monotonic() - began
                    scores = self._validate(validation)
                    watcher.validated(step, {score.name: score.macro_f1 for score in scores})
                    self._keep(scores)
                    began = time.monotonic()
        return self.progress

    def _batches(self, sources: Sequence[Source], last: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        recipe = self.recipe
        first = self.progress.step * recipe.batch
        samples = GradedSamples(sources, self.network.size, self.seed, first, last * recipe.batch - first)
        if len(samples) <= 0:
            return
        more: dict[str, Any] = {"multiprocessing_context": "spawn", "prefetch_factor": 4} if recipe.workers else {}
        yield from DataLoader(samples, batch_size=recipe.batch, num_workers=recipe.workers, **more)

    def _step(self, pictures: Tensor, grades: Tensor, maps: Tensor) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.progress.step)
        torch.manual_seed(self.seed * 1_000_003 + self.progress.step)  # what dropout draws hangs on nothing before
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            found = self.network(pictures.to(self.device))
        loss = conditions_loss(in_float32(found), grades.to(self.device), maps.to(self.device))
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        slope = nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
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

    def _validate(self, validation: Validation) -> tuple[ConditionScore, ...]:
        """The averaged network on pictures that it does not learn from."""
        presence, grades = answers(self.average, validation.pictures, self.device)
        scores = score_conditions(validation.grades, grades, presence)
        for score in scores:
            self.progress.f1.setdefault(score.name, []).append((self.progress.step, score.macro_f1))
        return scores

    def _keep(self, scores: tuple[ConditionScore, ...]) -> None:
        progress = self.progress
        history = {"loss": progress.loss, "f1": progress.f1, "seconds": progress.seconds}
        state = {
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "step": progress.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": history,
            "learnt_from": self.learnt_from,
        }
        checkpoint.save(self.folder, state)
        checkpoint.write_atomically(self.folder / HISTORY, json.dumps(history, indent=1).encode())
        title = f"conditions, recipe {self.recipe.name}, seed {self.seed}: {progress.step} of {self.recipe.steps} steps"
        curves = curves_svg(title, {"training": progress.loss}, dict(progress.f1), quality_name="macro-F1")
        checkpoint.write_atomically(self.folder / CURVES, curves.encode())
        checkpoint.write_atomically(self.folder / CONFUSIONS, confusions_svg(f"validation, step {progress.step}", scores).encode())


@torch.no_grad()
def answers(network: ScalpNet, pictures: NDArray[np.uint8], device: torch.device | str = "cpu") -> tuple[NDArray[Any], NDArray[Any]]:
    """Probabilities of presence, float32 (n, 3), and of the grades, float32 (n, 3, 4), of pictures as the network takes them."""
    network.eval()
    presence, grades = [], []
    for first in range(0, len(pictures), VALIDATION_BATCH):
        found = network(torch.from_numpy(np.ascontiguousarray(pictures[first : first + VALIDATION_BATCH])).to(device))
        presence.append(torch.sigmoid(found.presence).cpu().numpy())
        grades.append(torch.softmax(found.grades, 2).cpu().numpy())
    return np.concatenate(presence), np.concatenate(grades)


def load_backbone(network: ScalpNet, path: Path) -> None:
    """Take the weights of a backbone from `path`, a PyTorch state dict by timm's names (its classifier is left out).

    Raises:
        TrainingError: it cannot be read, or is of another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        wanted = network.backbone.state_dict()
        taken = {name: value for name, value in state.items() if name in wanted}
        missing = sorted(set(wanted) - set(taken))
        if missing:
            raise ValueError(f"{len(missing)} of {len(wanted)} weights are missing, {missing[0]} first")
        network.backbone.load_state_dict(taken)
    except Exception as problem:  # what is damaged makes zip reader and unpickler raise nearly anything
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{path}: not the weights of this backbone ({first}): name a checkpoint by timm's names") from problem
