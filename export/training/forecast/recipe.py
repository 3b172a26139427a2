"""What a training of the forecast consists of, as numbers, and which networks it trains."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from export.networks.hybrid import Branches, Head
from export.persons import Set


@dataclass(frozen=True)
class ForecastRecipe:
    """A training of the forecast with its baselines.

    Attributes:
        persons, validated, tested: rendered persons to learn from, to watch by, and to report on.
        eye_batch, eye_steps: first the image branch alone learns what the renderer knows of a picture (hairs, share of miniaturised
            ones); every network with an image branch begins with it, the baseline too.
        frozen: the image branch then stays as it is and sees each picture once; otherwise everything is trained to the end.
        batch, steps: of each network.
        rate: peak of AdamW after `warm_up` steps, falling to a hundredth as a cosine.
        dropped: chance that a series, a value or a marker is taken away in a step, so that what is missing is known.
        blind: chance that the picture is.
        trees: of the random forests.
    """

    name: str
    persons: int
    validated: int
    tested: int
    eye_batch: int
    eye_steps: int
    frozen: bool
    batch: int
    steps: int
    rate: float
    warm_up: int
    weight_decay: float
    dropped: float
    blind: float
    validate_every: int
    trees: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and model cards."""
        return asdict(self)


CPU = ForecastRecipe("cpu", 6000, 800, 4000, 32, 500, True, 64, 500, 1.5e-3, 50, 1e-2, 0.1, 0.2, 100, 400)
GPU = ForecastRecipe("gpu", 40_000, 2000, 8000, 64, 3000, False, 64, 6000, 1e-3, 300, 1e-2, 0.1, 0.2, 500, 400)
SMOKE = ForecastRecipe("smoke", 24, 12, 40, 2, 2, True, 4, 4, 1e-3, 1, 1e-2, 0.1, 0.2, 2, 10)
RECIPES = {recipe.name: recipe for recipe in (CPU, GPU, SMOKE)}


@dataclass(frozen=True)
class Contestant:
    """One network of the comparison: which branches it has, and the persons of which set it learns from."""

    set: Set
    branches: Branches

    @property
    def folder(self) -> str:
        """Where its training lies."""
        return f"{self.set}-persons-{self.branches}-branches"


HYBRID = Contestant("both", "both")
CONTESTANTS = (
    HYBRID,
    Contestant("both", "picture"),
    Contestant("both", "records"),
    # controls: where one branch is told nothing, the hybrid must not be better than the other alone
    Contestant("picture", "both"),
    Contestant("picture", "picture"),
    Contestant("records", "both"),
    Contestant("records", "records"),
)


def contestants(head: Head) -> tuple[Contestant, ...]:
    """What is trained: for stages, which have no control sets, the first three."""
    return CONTESTANTS if head == "risk" else CONTESTANTS[:3]
