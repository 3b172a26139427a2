"""The training of the forecast: rendered persons, the image branch's eyes, hybrid, baselines and controls, each with a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.errors import EvaluationError, TrainingError
from export.evaluation.forecast import mean_area
from export.networks.hybrid import ARCHITECTURES, GREY, Head, HybridNet, ImageBranch, probabilities
from export.persons import MARKERS, SERIES, Cohort, draw_cohort
from export.training import checkpoint
from export.training.cache import make_folder
from export.training.forecast.batches import Inputs, People, at_once, drawn, looked_at, people
from export.training.forecast.loop import History, Task, learn
from export.training.forecast.recipe import HYBRID, RECIPES, Contestant, ForecastRecipe, contestants
from runtime.bundles.parts import PictureInput
from runtime.inference.pictures import picture_tensor

PLAN, EYES = "forecast.json", "eyes"
MAX_PLAN_BYTES = 10_000
TEST_SEED = 2**40  # of the persons that figures are reported on: no training's seed comes near
CHANCE = 0.5
MARKER_SIZES = tuple(len(marker.values) for marker in MARKERS)
LABELS: dict[Head, tuple[str, ...]] = {"risk": ("low", "high"), "stage": ("stage 0", "stage 1", "stage 2", "stage 3")}
SHOWN = ((36.0, 9.0), (0.35, 0.22))  # mean and spread of hairs and of the share of miniaturised ones, over rendered persons


@dataclass(frozen=True)
class Watcher:
    """How a training tells what it is doing: `drawn(n)` n more persons, `begun(task, steps)`, `step(task, step, loss)`."""

    drawn: Callable[[int], None] = lambda done: None
    begun: Callable[[str, int], None] = lambda task, steps: None
    step: Callable[[str, int, float], None] = lambda task, step, loss: None


@dataclass
class Trained:
    """The networks of a training, how each came to be, and the persons that they have learnt from."""

    learnt: People
    networks: dict[Contestant, HybridNet] = field(default_factory=dict)
    histories: dict[str, History] = field(default_factory=dict)


def device_for(recipe: ForecastRecipe) -> str:
    """PyTorch's name of the device to train on here: the recipe for a GPU takes one where there is one, the others none."""
    return "cuda" if recipe.name == "gpu" and torch.cuda.is_available() else "cpu"


def picture_input(architecture: str) -> PictureInput:
    """How a picture becomes the image branch's input."""
    side = ARCHITECTURES[architecture].side
    return PictureInput(name="picture", width=side, height=side, resize="crop")


def cohort_for(architecture: str, seed: int, count: int, threads: int = 2, advance: Callable[[int], None] = lambda done: None) -> Cohort:
    """Rendered persons whose pictures are as this architecture takes them."""
    spec = picture_input(architecture)
    return draw_cohort(seed, count, lambda picture: np.asarray(picture_tensor(picture, spec)[0]), threads=threads, advance=advance)


class ForecastTraining:
    """One training in one folder: a folder a network in it, and `forecast.json`, which says what it is."""

    def __init__(self, folder: Path, recipe: ForecastRecipe, seed: int, *, architecture: str = "device", head: Head = "risk") -> None:
        if architecture not in ARCHITECTURES:
            raise TrainingError(f"{architecture!r} is no architecture: choose {', '.join(ARCHITECTURES)}")
        if head not in get_args(Head):
            raise TrainingError(f"{head!r} is no head: choose {', '.join(get_args(Head))}")
        self.folder, self.recipe, self.seed, self.architecture, self.head = folder, recipe, seed, architecture, head
        self.device = torch.device(device_for(recipe))

    @classmethod
    def resumed(cls, folder: Path) -> ForecastTraining:
        """The training that lies in `folder`.

        Raises:
            TrainingError: there is none, or its plan is damaged or of another version of this program.
        """
        path = folder / PLAN
        try:
            with path.open("rb") as file:
                plan = json.loads(file.read(MAX_PLAN_BYTES))
            recipe = RECIPES[plan["recipe"]["name"]]
            if plan["recipe"] != recipe.to_dict() or type(plan["seed"]) is not int:
                raise ValueError("its recipe is none of this program's")
            return cls(folder, recipe, plan["seed"], architecture=plan["architecture"], head=plan["head"])
        except OSError as problem:
            raise TrainingError(f"{path}: {problem.strerror or problem}: name the folder of a training, or start one") from problem
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            raise TrainingError(f"{path}: not a training of this program ({problem}): start anew in another folder") from problem

    def network(self, which: Contestant) -> HybridNet:
        """Such a network, not trained."""
        architecture, labels = ARCHITECTURES[self.architecture], len(LABELS[self.head])
        return HybridNet(architecture, MARKER_SIZES, len(SERIES), labels=labels, branches=which.branches).to(self.device)

    def run(self, watcher: Watcher) -> Trained:
        """Train what is left to train; what is done is read from its folder.

        Raises:
            TrainingError: see `learn`; what was kept stays.
        """
        make_folder(self.folder)
        plan = {"recipe": self.recipe.to_dict(), "seed": self.seed, "architecture": self.architecture, "head": self.head}
        checkpoint.write_atomically(self.folder / PLAN, json.dumps(plan, indent=1).encode())
        learnt = people(cohort_for(self.architecture, 2 * self.seed, self.recipe.persons, advance=watcher.drawn))
        watched = people(cohort_for(self.architecture, 2 * self.seed + 1, self.recipe.validated, advance=watcher.drawn))
        trained = Trained(learnt)
        eyes = self._eyes(learnt, watched, watcher, trained)
        if self.recipe.frozen:
            learnt = looked_at(learnt, eyes, self.device, mirrored=True)
            watched = looked_at(watched, eyes, self.device, mirrored=False)
        for which in contestants(self.head):
            trained.networks[which] = self._contestant(which, eyes, learnt, watched, watcher, trained)
        return trained

    def trained(self, which: Contestant = HYBRID) -> tuple[HybridNet, dict[str, Any]]:
        """A network of the folder that has finished, and its checkpoint.

        Raises:
            TrainingError: it has not, or its checkpoint is damaged.
        """
        state = checkpoint.load(self.folder / which.folder)
        network = self.network(which)
        try:
            if int(state["step"]) < self.recipe.steps:
                raise ValueError(f"{state['step']} of {self.recipe.steps} steps are done: go on with --resume")
            network.load_state_dict(state["network"])
        except (RuntimeError, KeyError, TypeError, ValueError) as problem:
            first = str(problem).partition("\n")[0]
            raise TrainingError(f"{self.folder / which.folder}: does not fit this program ({first}): start anew") from problem
        return network.eval(), state

    def _eyes(self, learnt: People, watched: People, watcher: Watcher, trained: Trained) -> ImageBranch:
        """The image branch, taught what the renderer knows of pictures; plain grey, no picture, is taught as the average one: left to
        itself it would look like a scalp without any hair."""
        torch.manual_seed(self.seed)
        branch = ImageBranch(ARCHITECTURES[self.architecture])
        network = nn.Sequential(branch, nn.Linear(branch.size, len(SHOWN))).to(self.device)

        def shown(found: People, chosen: NDArray[np.int64]) -> Tensor:
            pairs = (found.cohort.density[chosen], found.cohort.miniaturised[chosen])
            scaled = [(values - mean) / spread for values, (mean, spread) in zip(pairs, SHOWN, strict=True)]
            return torch.from_numpy(np.stack(scaled, 1).astype(np.float32)).to(self.device)

        def loss(step: int) -> Tensor:
            rng = np.random.default_rng([self.seed, step, 3])
            chosen = rng.integers(0, len(learnt.cohort), self.recipe.eye_batch)
            pictures = learnt.cohort.pictures[chosen][:, :: 1 - 2 * int(rng.integers(2)), :: 1 - 2 * int(rng.integers(2))].copy()
            true = shown(learnt, chosen)
            blind = rng.uniform(size=len(chosen)) < self.recipe.blind
            pictures[blind], true[torch.from_numpy(blind)] = int(GREY), 0.0
            told: Tensor = network(torch.from_numpy(pictures).to(self.device))
            return functional.mse_loss(told, true)

        @torch.no_grad()
        def quality() -> float:
            """Mean correlation of what is told with what is shown."""
            chosen = np.arange(len(watched.cohort))
            parts = [network(torch.from_numpy(watched.cohort.pictures[p]).to(self.device)) for p in at_once(watched.cohort)]
            told, true = torch.cat(parts).cpu().numpy(), shown(watched, chosen).cpu().numpy()
            return float(np.mean([np.corrcoef(told[:, k], true[:, k])[0, 1] for k in range(len(SHOWN))]))

        task = Task(EYES, network.to(memory_format=torch.channels_last), self.recipe.eye_steps, loss, quality)  # type: ignore[call-overload]
        watcher.begun(EYES, task.steps)
        trained.histories[EYES] = learn(
            self.folder / EYES, task, self.recipe, self.seed, lambda step, value: watcher.step(EYES, step, value)
        )
        return branch

    def _contestant(
        self, which: Contestant, eyes: ImageBranch, learnt: People, watched: People, watcher: Watcher, trained: Trained
    ) -> HybridNet:
        torch.manual_seed(self.seed)
        network = self.network(which)
        if network.image is not None:
            network.image.load_state_dict(eyes.state_dict())
            network.image.requires_grad_(not self.recipe.frozen)
        targets = learnt.targets(self.head, which.set)

        def loss(step: int) -> Tensor:
            chosen, batch = drawn(learnt, self.recipe, self.seed, step)
            logits = logits_of(network, batch, self.device)
            true = torch.from_numpy(targets[chosen]).to(self.device)
            if logits.shape[1] == 1:
                return functional.binary_cross_entropy_with_logits(logits[:, 0], true.float())
            return functional.cross_entropy(logits, true)

        def quality() -> float:
            found, true = forecasts(network, watched, self.device), watched.targets(self.head, which.set)
            try:
                return mean_area(found, true)
            except EvaluationError:  # a handful of persons of one label, as in the recipe that only proves that all runs
                return CHANCE

        task = Task(which.folder, network, self.recipe.steps, loss, quality)
        watcher.begun(task.name, task.steps)
        trained.histories[task.name] = learn(
            self.folder / which.folder, task, self.recipe, self.seed, lambda step, value: watcher.step(task.name, step, value)
        )
        return network


def logits_of(network: HybridNet, batch: Inputs, device: torch.device) -> Tensor:
    """The network's logits of a batch, by what its frozen image branch has seen where that is there."""
    markers, records = batch.markers.to(device), batch.records.to(device)
    seen = None
    if network.image is not None:
        seen = network.image(batch.picture.to(device)) if batch.seen is None else batch.seen.to(device)
    return network.joined(seen, markers, records)


@torch.no_grad()
def forecasts(network: HybridNet, found: People, device: torch.device) -> NDArray[np.float64]:
    """The network's probabilities of everybody, float64 (n, labels)."""
    network.eval()
    parts = [probabilities(logits_of(network, found.whole(part), device)) for part in at_once(found.cohort)]
    return torch.cat(parts).double().cpu().numpy()
