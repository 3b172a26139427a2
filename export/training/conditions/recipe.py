"""What a training of the conditions network consists of, as numbers: for two CPU cores, for a GPU, and a proof that the loop runs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

WARM_UP = 0.03  # of the steps
LOWEST = 0.01  # of the peak rate
AGAIN = 0.5  # of the peak, at which one more round begins
LENGTHENING = 2  # each round of the cosine is this many times as long as the one before (Loshchilov 2017)


@dataclass(frozen=True)
class ConditionsRecipe:
    """A training of the network that grades conditions.

    Attributes:
        backbone: a name of `export.networks.scalp_net.SIZES`; `ordinal`: cumulative logits; `base`: width of the small backbone.
        scenes: rendered scenes to learn from; `validation` frames come on top. Both are of no use where real pictures are given.
        batch: pictures a step, `steps` steps.
        rate: peak learning rate of AdamW; after a warm-up it falls as a cosine and starts again, `rounds` times in all.
        ema: decay of the averaged weights that are kept in the end.
        validate_every: steps between two validations; a checkpoint is written with each.
        workers: processes that render and prepare pictures.
        precision: in which convolutions compute, float32 or bfloat16; weights, their averages and the loss stay in float32.
        more: of the `steps`, the last so many are one more round, from half the peak down; without them it would be a whole training, so
            that a finished one can go on.
    """

    name: str
    backbone: str
    ordinal: bool
    base: int
    scenes: int
    validation: int
    batch: int
    steps: int
    rate: float
    rounds: int
    weight_decay: float
    ema: float
    validate_every: int
    workers: int
    more: int = 0
    precision: str = "float32"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and model cards."""
        return asdict(self)


CPU = ConditionsRecipe("cpu", "small", False, 12, 2400, 192, 24, 6000, 3e-3, 1, 2e-2, 0.998, 500, 1, precision="bfloat16")
GPU = ConditionsRecipe("gpu", "densenet169", False, 12, 12_800, 512, 64, 20_000, 6e-4, 3, 2e-2, 0.9995, 1000, 12)
SMOKE = ConditionsRecipe("smoke", "small", False, 8, 8, 4, 2, 8, 1e-3, 2, 1e-2, 0.5, 4, 0)
RECIPES = {recipe.name: recipe for recipe in (CPU, GPU, SMOKE)}


def learning_rate(recipe: ConditionsRecipe, step: int) -> float:
    """The rate of a step: linear warm-up, then cosines down to a hundredth of the peak, each twice as long as the one before."""
    steps = recipe.steps - recipe.more
    if step >= steps:
        part = (step - steps) / max(recipe.more, 1)
        return recipe.rate * AGAIN * (LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * min(part, 1.0))) / 2)
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return recipe.rate * (step + 1) / warm
    unit = (steps - warm) / sum(LENGTHENING**index for index in range(recipe.rounds))
    place, length = float(step - warm), unit
    for _ in range(recipe.rounds - 1):
        if place < length:
            break
        place, length = place - length, length * LENGTHENING
    part = min(place / max(length, 1e-9), 1.0)
    return recipe.rate * (LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * part)) / 2)
