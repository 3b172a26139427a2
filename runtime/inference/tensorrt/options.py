"""What an engine is built with: its precision, how types are decided, its shapes, and what the builder may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

EnginePrecision = Literal["fp32", "fp16", "int8"]
Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class BuildOptions:
    """How an engine is built; part of its key, so that another build never passes for it.

    Attributes:
        precision: of the graph that is built. It lies in the graph (casts, Q/DQ nodes) and is stated here for the record.
        typing: "strong", types are those of the graph, on every TensorRT; "weak", TensorRT 10 chooses among fp32 and `precision` by flags.
        shapes: for inputs with free sides, their least, usual and greatest shape.
        max_batch: for inputs whose first side alone is free and that `shapes` does not name.
        workspace_mib: memory that a layer may take while it is tried and run.
        level: how long the builder searches, 0…5.
    """

    precision: EnginePrecision = "fp32"
    typing: Literal["strong", "weak"] = "strong"
    shapes: Mapping[str, Shapes] = field(default_factory=dict)
    max_batch: int = 1
    workspace_mib: int = 1024
    level: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 5 or not 1 <= self.max_batch <= 256 or not 1 <= self.workspace_mib <= 65536:
            raise ValueError(f"{self}: level is 0 to 5, max_batch 1 to 256, workspace_mib 1 to 65536")
        for name, (least, usual, most) in self.shapes.items():
            if not len(least) == len(usual) == len(most) or any(
                not 1 <= low <= mid <= high for low, mid, high in zip(least, usual, most, strict=True)
            ):
                raise ValueError(f"{name}: the shapes {least}, {usual}, {most} do not grow")

    def for_builder(self) -> dict[str, Any]:
        """As the worker takes it, and as it stands in the key."""
        return {
            "precision": self.precision,
            "typing": self.typing,
            "shapes": {name: [list(shape) for shape in shapes] for name, shapes in sorted(self.shapes.items())},
            "max_batch": self.max_batch,
            "workspace_mib": self.workspace_mib,
            "level": self.level,
        }
