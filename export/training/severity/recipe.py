"""What a training of the severity classifier consists of, as numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class SeverityRecipe:
    """A training of the severity classifier (ScalpVision, Appendix E: learning rate 0.01, depth 5, 300 trees, subsample below 1).

    Attributes:
        persons: rendered persons that are learnt from; `test_persons` others are tested on, with seeds that no training draws.
        fields: frames of each person, each measured as live and as captured pictures are.
        trees, rate, depth, subsample: of the gradient boosting; `leaf` rows at least in a leaf, `most_leaves` a tree.
        folds: persons are split so often for what is decided without the test: calibration, and the table of feature sets.
        workers: processes that render and measure.
    """

    name: str
    persons: int
    test_persons: int
    fields: int
    trees: int = 300
    rate: float = 0.01
    depth: int = 5
    subsample: float = 0.6
    leaf: int = 24
    folds: int = 3
    workers: int = 2

    def to_dict(self) -> dict[str, str | int | float]:
        """Plain values, for files and model cards."""
        return asdict(self)


CPU = SeverityRecipe("cpu", persons=520, test_persons=200, fields=2)
SMOKE = SeverityRecipe("smoke", persons=24, test_persons=8, fields=1, trees=8, leaf=1, folds=2)
RECIPES = {recipe.name: recipe for recipe in (CPU, SMOKE)}
