"""What a training of the staging network consists of, as numbers: for two cores, for a GPU, and to prove that it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class StageRecipe:
    """A training of the staging network.

    Attributes:
        persons: rendered heads that are learnt from; `validation_persons` on top.
        render_px: side of the pictures that are kept; crops of them are learnt from at `side` px, which is the network's input.
        batch: persons a step, `steps` steps.
        rate: peak learning rate of AdamW, reached after `warm_up` steps, falling to a hundredth as a cosine.
        view_weight: of the loss of each view alone, beside that of all together.
        ema: decay of the averaged weights that are kept in the end.
        validate_every: steps between two validations; a checkpoint is written with each.
        workers: processes that render.
        width: channels of the network after its stem.
    """

    name: str
    persons: int
    validation_persons: int
    render_px: int
    side: int
    batch: int
    steps: int
    rate: float
    warm_up: int
    weight_decay: float
    view_weight: float
    ema: float
    validate_every: int
    workers: int
    width: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and model cards."""
        return asdict(self)


CPU = StageRecipe("cpu", 1600, 210, 128, 112, 16, 1600, 2e-3, 60, 2e-2, 0.3, 0.995, 100, 2, 24)
GPU = StageRecipe("gpu", 8000, 700, 128, 112, 64, 8000, 3e-3, 300, 2e-2, 0.3, 0.999, 400, 12, 32)
SMOKE = StageRecipe("smoke", 14, 7, 48, 32, 4, 6, 2e-3, 2, 2e-2, 0.3, 0.5, 3, 1, 4)
RECIPES = {recipe.name: recipe for recipe in (CPU, GPU, SMOKE)}
