"""One network's steps with checkpoints: what an interrupted training left off, it goes on from, to the same end.

A step depends on nothing but the recipe, the seed and the state before it: its random numbers are drawn anew from seed and step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export.errors import TrainingError
from export.training import checkpoint
from export.training.cache import make_folder
from export.training.forecast.recipe import ForecastRecipe

LOG_EVERY = 10


@dataclass
class History:
    """The curves of one network, points (step, value), and the seconds that its steps took."""

    loss: list[tuple[float, float]] = field(default_factory=list)
    quality: list[tuple[float, float]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Task:
    """What one network learns.

    Attributes:
        loss: of a step, by its number; draws its batch from that and from nothing else.
        quality: of the network as it is, higher is better.
    """

    name: str
    network: nn.Module
    steps: int
    loss: Callable[[int], Tensor]
    quality: Callable[[], float]


def learning_rate(recipe: ForecastRecipe, step: int, steps: int) -> float:
    """The rate of a step: linear warm-up, then a cosine down to a hundredth of the peak."""
    if step < recipe.warm_up:
        return recipe.rate * (step + 1) / recipe.warm_up
    part = (step - recipe.warm_up) / max(1, steps - recipe.warm_up)
    return recipe.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(part, 1.0))) / 2)


def learn(
    folder: Path, task: Task, recipe: ForecastRecipe, seed: int, told: Callable[[int, float], None] = lambda step, loss: None
) -> History:
    """Do the steps that are left of `task`, whose checkpoint lies in `folder`; the network has learnt when this returns.

    Raises:
        TrainingError: the checkpoint is damaged or of another training, the disk is nearly full or cannot be written to, or the numbers
            are no longer finite; the last checkpoint stays.
    """
    make_folder(folder)
    trainable = [p for p in task.network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=recipe.rate, weight_decay=recipe.weight_decay)
    step, history = 0, History()
    if (folder / checkpoint.NAME).exists():
        step, history = _restored(folder, task, recipe, seed, optimiser)
        told(step, history.loss[-1][1] if history.loss else math.nan)
    began = time.monotonic()
    recent: list[float] = []
    while step < task.steps:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, step, task.steps)
        task.network.train()
        torch.manual_seed((seed * 1_000_003 + step) % 2**63)
        loss = task.loss(step)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        slope = nn.utils.clip_grad_norm_(trainable, 2.0)
        if not (torch.isfinite(loss) and torch.isfinite(slope)):  # before they are in the weights, and in a checkpoint
            raise TrainingError(
                f"{folder}: loss or gradients are not finite at step {step}: start anew in another folder with another --seed"
            )
        optimiser.step()
        step += 1
        recent.append(float(loss.detach()))
        if step % LOG_EVERY == 0 or step == task.steps:
            history.loss.append((step, sum(recent) / len(recent)))
            recent.clear()
            told(step, history.loss[-1][1])
        if step % recipe.validate_every == 0 or step == task.steps:
            task.network.eval()
            history.quality.append((step, task.quality()))
            history.seconds += time.monotonic() - began
            _keep(folder, task, recipe, seed, optimiser, step, history)
            began = time.monotonic()
    task.network.eval()
    return history


def _keep(
    folder: Path, task: Task, recipe: ForecastRecipe, seed: int, optimiser: torch.optim.Optimizer, step: int, history: History
) -> None:
    state: dict[str, Any] = {
        "task": task.name,
        "recipe": recipe.to_dict(),
        "seed": seed,
        "step": step,
        "network": task.network.state_dict(),
        "average": {},
        "optimiser": {} if step == task.steps else optimiser.state_dict(),  # a paper's network is large, and has learnt
        "history": vars(history),
    }
    checkpoint.save(folder, state)


def _restored(folder: Path, task: Task, recipe: ForecastRecipe, seed: int, optimiser: torch.optim.Optimizer) -> tuple[int, History]:
    state = checkpoint.load(folder)
    if (state.get("task"), state["recipe"], state["seed"]) != (task.name, recipe.to_dict(), seed):
        raise TrainingError(f"{folder}: the checkpoint is of another training: start anew in another folder")
    try:
        task.network.load_state_dict(state["network"])
        step = int(state["step"])
        if step < task.steps:
            optimiser.load_state_dict(state["optimiser"])
        return step, History(**state["history"])
    except (TypeError, ValueError, RuntimeError, KeyError) as problem:
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{folder}: the checkpoint does not fit this program ({first}): start anew in another folder") from problem
