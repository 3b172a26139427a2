"""A bundle that stages heads without any learning: brighter views are balder ones. Made without the workstation's libraries."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from device.simulated.head import draw_head, render_view
from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.parts import Golden, PictureInput, Tolerance
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import Roles, StageRole
from runtime.bundles.writer import write_bundle
from runtime.inference.onnx import OnnxBackend
from tests.runtime.bundle_samples import FLOAT, UINT8, _constant, _field, _int, _ints, _node, _value, card

SIDE, STEP = 32, 36.0
MODEL, GOLDEN = "stage.onnx", "stage.golden.npz"
STAGES = ("I", "II", "III", "IV", "V", "VI", "VII")
VIEWS = ("front", "top", "back", "left", "right")


def brighter_is_balder(*, shares: float = -8.0) -> bytes:
    """An ONNX file: a view of mean grey 36·k says stage k + 1; all views that are there weigh the same.

    `shares` is the steepness; with 0 every stage is as likely.
    """
    graph = b"".join(
        [
            _node("Cast", ["views"], ["float"], _int("to", FLOAT)),
            _node("ReduceMean", ["float"], ["grey"], _ints("axes", [2, 3, 4]), _int("keepdims", 1)),
            _node("ReduceMean", ["grey"], ["each"], _ints("axes", [3, 4]), _int("keepdims", 0)),
            _node("ReduceMean", ["grey"], ["flat"], _ints("axes", [2, 3, 4]), _int("keepdims", 0)),
            _node("ReduceMean", ["present"], ["some"], _ints("axes", [1]), _int("keepdims", 1)),
            _node("Div", ["present", "some"], ["weights"]),
            _node("Mul", ["weights", "fifth"], ["attention"]),
            _node("Mul", ["flat", "weights"], ["weighted"]),
            _node("ReduceMean", ["weighted"], ["joined"], _ints("axes", [1]), _int("keepdims", 1)),
            *_softmax("joined", "probabilities", 1),
            *_softmax("each", "view_probabilities", 2),
            _field(2, "bright"),
            _constant("fifth", [0.2], [1]),
            _constant("per_step", [1 / STEP], [1]),
            _constant("steps", [float(k) for k in range(7)], [7]),
            _constant("steepness", [shares], [1]),
            _value(11, "views", UINT8, ["n", 5, SIDE, SIDE, 3]),
            _value(11, "present", FLOAT, ["n", 5]),
            _value(12, "probabilities", FLOAT, ["n", 7]),
            _value(12, "attention", FLOAT, ["n", 5]),
            _value(12, "view_probabilities", FLOAT, ["n", 5, 7]),
        ]
    )
    return _field(1, 8) + _field(8, _field(1, "") + _field(2, 17)) + _field(7, graph)


def _softmax(level: str, out: str, axis: int) -> list[bytes]:
    return [
        _node("Mul", [level, "per_step"], [f"{level}_score"]),
        _node("Sub", [f"{level}_score", "steps"], [f"{level}_away"]),
        _node("Mul", [f"{level}_away", f"{level}_away"], [f"{level}_square"]),
        _node("Mul", [f"{level}_square", "steepness"], [f"{level}_logits"]),
        _node("Softmax", [f"{level}_logits"], [out], _int("axis", axis)),
    ]


def stage_role(**changes: object) -> StageRole:
    outputs = ("probabilities", "attention", "view_probabilities")
    role = StageRole(
        model=MODEL,
        golden=Golden(file=GOLDEN, tolerances=tuple(Tolerance(output=name, absolute=1e-4) for name in outputs)),
        card=card(),
        picture=PictureInput(name="views", width=SIDE, height=SIDE),
        views=VIEWS,
        labels=STAGES,
    )
    return role.model_copy(update=changes)


def write_stage_bundle(folder: Path, *, model: bytes | None = None, role: StageRole | None = None) -> Bundle:
    inputs = {"views": np.full((1, 5, SIDE, SIDE, 3), 100, np.uint8), "present": np.ones((1, 5), np.float32)}
    with OnnxBackend(brighter_is_balder(), threads=1) as backend:
        golden = pack([GoldenCase(inputs, backend.infer(inputs))])
    content = {MODEL: model or brighter_is_balder(), GOLDEN: golden}
    return write_bundle(folder, content, name="bright", release=1, minimum_version="0.1.0", roles=Roles(stage=role or stage_role()))


def grey_views(folder: Path, levels: dict[str, int], suffix: str = ".png", side: int = 96) -> Path:
    """A folder with a flat picture for each view."""
    folder.mkdir(parents=True, exist_ok=True)
    for view, level in levels.items():
        assert cv2.imwrite(str(folder / f"{view}{suffix}"), np.full((side, side, 3), level, np.uint8))
    return folder


def rendered_views(folder: Path, seed: int, stage: float, side: int = 256) -> Path:
    """A folder with the five views of a rendered head."""
    folder.mkdir(parents=True, exist_ok=True)
    head = draw_head(seed, stage)
    for view in VIEWS:
        assert cv2.imwrite(str(folder / f"{view}.png"), render_view(head, view, side).image)
    return folder
