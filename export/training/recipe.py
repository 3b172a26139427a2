"""What a training consists of, as numbers: the recipes for two CPU cores, for a GPU, and the one that only proves that the loop runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingRecipe:
    """A training of a network that finds hair.

    Attributes:
        scenes: how many rendered scenes are learnt from; validation frames come on top, `validation_per_kind` of each kind.
        side: of a crop in px; `batch` crops a step, `steps` steps.
        rate: peak learning rate of AdamW, reached after `warm_up` steps, falling to a hundredth as a cosine.
        overlay_share: share of crops over which hair of another scene is laid out of focus.
        ema: decay of the averaged weights that are kept in the end.
        validate_every: steps between two validations; a checkpoint is written with each.
        workers: processes that render and cut crops.
        base_channels: of the network at half size.
        precision: in which convolutions compute, float32 or bfloat16; weights, their averages and the loss stay in float32.
        withheld: share of the crops of which a thick network is not shown the live one's maps; at 1 it learns from pictures alone.
    """

    name: str
    scenes: int
    validation_per_kind: int
    side: int
    batch: int
    steps: int
    rate: float
    warm_up: int
    weight_decay: float
    overlay_share: float
    ema: float
    validate_every: int
    workers: int
    base_channels: int = 16
    precision: str = "float32"
    withheld: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and model cards."""
        return asdict(self)


CPU = TrainingRecipe("cpu", 4500, 5, 256, 8, 20_000, 3e-3, 500, 1e-2, 0.25, 0.9995, 1000, 1)
GPU = TrainingRecipe("gpu", 6000, 40, 320, 48, 24_000, 4e-3, 500, 1e-2, 0.25, 0.9995, 1000, 12)
SMOKE = TrainingRecipe("smoke", 6, 1, 64, 2, 8, 2e-3, 2, 1e-2, 0.25, 0.5, 4, 0, base_channels=8)
RECIPES = {recipe.name: recipe for recipe in (CPU, GPU, SMOKE)}
