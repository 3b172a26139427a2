"""The training of the staging network: steps, averaged weights, validation with five and with two views, checkpoints, curves.

A step depends on nothing but the recipe, the seed and the state before it, so that an interrupted training that is resumed ends where an
uninterrupted one does (but for the last bits of float arithmetic).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.errors import TrainingError
from export.evaluation.norwood import quadratic_kappa, views_of_each
from export.networks.norwood import GRADES, Staged, StageNet
from export.training import checkpoint
from export.training.cache import make_folder
from export.training.norwood.augment import augment
from export.training.norwood.curves import curves_png
from export.training.norwood.heads import TRAINING, VALIDATION, Heads, rendered_heads
from export.training.norwood.recipe import StageRecipe

LOG_EVERY = 10
HISTORY, CURVES, HEADS, TRAINED_ON = "history.json", "curves.png", "heads", "trained_on.txt"
CHECKED_VIEWS = (5, 2)


@dataclass(frozen=True)
class Watcher:
    """How a training tells what it is doing: `heads(n)` n more are rendered, `step(n, loss)`, `validated(step, kappa by views)`."""

    heads: Callable[[int], None] = lambda done: None
    step: Callable[[int, float], None] = lambda step, loss: None
    validated: Callable[[int, dict[str, float]], None] = lambda step, kappa: None


@dataclass
class Progress:
    """What a training has come to: step, curves, and the seconds that its steps took."""

    step: int = 0
    loss: list[tuple[float, float]] = field(default_factory=list)
    kappa: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    seconds: float = 0.0


def learning_rate(recipe: StageRecipe, step: int) -> float:
    """The rate of a step: linear warm-up, then a cosine down to a hundredth of the peak."""
    if step < recipe.warm_up:
        return recipe.rate * (step + 1) / recipe.warm_up
    part = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(part, 1.0))) / 2)


def device_for(recipe: StageRecipe) -> str:
    """PyTorch's name of the device to train on here: the recipe for a GPU takes one where there is one, the others none."""
    return "cuda" if recipe.name == "gpu" and torch.cuda.is_available() else "cpu"


def stage_loss(staged: Staged, grades: Tensor, present: Tensor, view_weight: float) -> Tensor:
    """Cross-entropy of the six questions "above grade k?", of all views together and, weighted, of each that is there alone."""
    above = (grades[:, None] > torch.arange(1, GRADES, device=grades.device)).float()
    joined = functional.binary_cross_entropy_with_logits(staged.logits, above)
    alone = functional.binary_cross_entropy_with_logits(
        staged.view_logits, above[:, None].expand_as(staged.view_logits), reduction="none"
    ).mean(dim=2)
    return joined + view_weight * (alone * present).sum() / present.sum()


def shrunk(heads: Heads, side: int) -> Heads:
    """The same persons at `side` px, as the device feeds the network (`runtime.inference.pictures`)."""
    if heads.pictures.shape[2] == side:
        return heads
    flat = heads.pictures.reshape(-1, *heads.pictures.shape[2:])
    small = np.stack([cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) for picture in flat])
    return Heads(small.reshape(*heads.pictures.shape[:2], side, side, 3), heads.present, heads.grades, heads.names)


class StageTraining:
    """One training in one folder. Owns network, averaged network and optimiser; `run` does the rest of the steps.

    `data` are persons to learn from and to validate on; where it is None both are rendered. `trained_on` says in words what they are.
    """

    def __init__(
        self,
        folder: Path,
        recipe: StageRecipe,
        seed: int,
        *,
        device: str = "cpu",
        data: tuple[Heads, Heads] | None = None,
        trained_on: str = "",
    ) -> None:
        self.folder, self.recipe, self.seed, self.device = folder, recipe, seed, torch.device(device)
        self.data, self.trained_on = data, trained_on
        torch.manual_seed(seed)
        self.network = StageNet(recipe.width).to(self.device)
        self.average = StageNet(recipe.width).to(self.device)
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
        self.progress = Progress()

    @classmethod
    def resumed(
        cls, folder: Path, *, device: str | None = None, data: tuple[Heads, Heads] | None = None, trained_on: str = ""
    ) -> StageTraining:
        """The training whose checkpoint lies in `folder`, where it stopped; on the device that its recipe is for where none is named.

        Raises:
            TrainingError: no checkpoint, a damaged one, or one of another training: of rendered heads where `data` is given, or the
                other way round.
        """
        state = checkpoint.load(folder)
        try:
            recipe = StageRecipe(**state["recipe"])
            training = cls(folder, recipe, int(state["seed"]), device=device or device_for(recipe), data=data, trained_on=trained_on)
            training.network.load_state_dict(state["network"])
            training.average.load_state_dict(state["average"])
            training.optimiser.load_state_dict(state["optimiser"])
            training.progress = Progress(step=int(state["step"]), **state["history"])
            before = str(state["trained_on"])
        except (TypeError, ValueError, RuntimeError, KeyError) as problem:
            first = str(problem).partition("\n")[0]
            raise TrainingError(f"{folder}: the checkpoint does not fit this program ({first}): start anew in another folder") from problem
        if before != trained_on:
            learnt, given = (words or "rendered heads" for words in (before, trained_on))
            raise TrainingError(
                f"{folder}: it has learnt from {learnt}, not from {given}: give the same --data, or another folder with --out"
            )
        return training

    def run(self, watcher: Watcher, *, until: int | None = None) -> Progress:
        """Do the remaining steps (up to step `until`), with a checkpoint and a validation every `validate_every` steps and at the end.

        Raises:
            TrainingError: the disk is nearly full or cannot be written to, a process that renders was ended, nobody to learn from, or
                the numbers are no longer finite; the last checkpoint stays.
        """
        recipe = self.recipe
        make_folder(self.folder)
        learnt, checked = self.data or self._rendered(watcher)
        if not len(learnt) or not len(checked):
            raise TrainingError(f"{self.folder}: {len(learnt)} persons to learn from, {len(checked)} to validate on: give more data")
        checked = shrunk(checked, recipe.side)
        last = recipe.steps if until is None else min(until, recipe.steps)
        began = time.monotonic()
        while self.progress.step < last:
            loss = self._step(*self._batch(learnt, self.progress.step))
            self.progress.step += 1
            step = self.progress.step
            if step % LOG_EVERY == 0 or step == last:
                self.progress.loss.append((step, loss))
                watcher.step(step, loss)
            if step % recipe.validate_every == 0 or step == last:
                self.progress.seconds += time.monotonic() - began
                watcher.validated(step, self._validate(checked))
                self._keep()
                began = time.monotonic()
        return self.progress

    def _rendered(self, watcher: Watcher) -> tuple[Heads, Heads]:
        recipe = self.recipe
        learnt, checked = (
            rendered_heads(self.folder / HEADS, count, self.seed, purpose, recipe.render_px, workers=recipe.workers, advance=watcher.heads)
            for count, purpose in ((recipe.persons, TRAINING), (recipe.validation_persons, VALIDATION))
        )
        return learnt, checked

    def _batch(self, heads: Heads, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Persons of a step, each changed anew: pictures uint8 (batch, views, side, side, 3), present, grades."""
        batch, rng = self.recipe.batch, np.random.default_rng([self.seed, 43, step])
        chosen = self._order(len(heads), step * batch, batch)
        changed = [augment(heads.pictures[i], heads.present[i], self.recipe.side, rng) for i in chosen]
        pictures, present = (np.stack(parts) for parts in zip(*changed, strict=True))
        return torch.from_numpy(pictures), torch.from_numpy(present), torch.from_numpy(heads.grades[chosen])

    def _order(self, persons: int, first: int, count: int) -> NDArray[np.int64]:
        """Which persons come `first`…: every one once in each round, each round in another order."""
        rounds = range(first // persons, (first + count - 1) // persons + 1)
        order = np.concatenate([np.random.default_rng([self.seed, 44, r]).permutation(persons) for r in rounds])
        return np.asarray(order[first - rounds[0] * persons :][:count], np.int64)

    def _step(self, pictures: Tensor, present: Tensor, grades: Tensor) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.progress.step)
        self.network.train()
        torch.manual_seed(self.seed * 1_000_003 + self.progress.step)  # of dropout: a resumed training drops the same
        present, grades = present.to(self.device), grades.to(self.device)
        there = present.flatten().nonzero().squeeze(1)  # what is not there is not computed either
        seen = self.network.features(self._planes(pictures.flatten(0, 1)[there.cpu()]))
        features = seen.new_zeros((present.numel(), seen.shape[1])).index_copy(0, there, seen).reshape(*present.shape, -1)
        loss = stage_loss(self.network.judge(features, present), grades, present, self.recipe.view_weight)
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

    def _planes(self, pictures: Tensor) -> Tensor:
        return pictures.to(self.device).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)

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
    def _validate(self, heads: Heads) -> dict[str, float]:
        """Quadratic kappa of the averaged network with five views, and with two drawn for each person."""
        self.average.eval()
        flat = torch.from_numpy(np.ascontiguousarray(heads.pictures)).flatten(0, 1)
        parts = [self.average.features(self._planes(flat[at : at + 64])) for at in range(0, len(flat), 64)]
        features = torch.cat(parts).reshape(*heads.present.shape, -1)
        kappa: dict[str, float] = {}
        for count in CHECKED_VIEWS:
            present = views_of_each(heads.present, count, np.random.default_rng([self.seed, 45, count]))
            staged = self.average.judge(features, torch.from_numpy(present).to(self.device))
            found = 1 + (staged.logits > 0).sum(dim=1).cpu().numpy()
            name = f"{count} views"
            kappa[name] = quadratic_kappa(heads.grades, found)
            self.progress.kappa.setdefault(name, []).append((self.progress.step, kappa[name]))
        return kappa

    def _keep(self) -> None:
        progress = self.progress
        history: dict[str, Any] = {"loss": progress.loss, "kappa": progress.kappa, "seconds": progress.seconds}
        state = {
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "step": progress.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "history": history,
            "trained_on": self.trained_on,
        }
        checkpoint.save(self.folder, state)
        checkpoint.write_atomically(self.folder / HISTORY, json.dumps(history, indent=1).encode())
        title = f"stage, recipe {self.recipe.name}, seed {self.seed}: {progress.step} of {self.recipe.steps} steps"
        checkpoint.write_atomically(self.folder / CURVES, curves_png(title, progress.loss, progress.kappa))
