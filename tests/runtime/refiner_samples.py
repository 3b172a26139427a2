"""A small refiner of kind "maps" without any learning: dark pixels near a positive point and away from negative ones are hair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.parts import Golden, Tolerance
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import InputSpec, Preprocessing, RefinerRole, Roles
from runtime.bundles.writer import write_bundle
from runtime.inference.onnx import OnnxBackend
from runtime.refining.prompts import Prompts, prompt_maps
from tests.runtime.bundle_samples import (
    FLOAT,
    GOLDEN,
    MODEL,
    UINT8,
    _constant,
    _field,
    _int,
    _ints,
    _node,
    _value,
    card,
    dark_is_hair,
    segmenter_role,
)
from tests.runtime.bundle_samples import golden as segmenter_golden

REFINER, REFINER_GOLDEN = "refiner.onnx", "refiner.npz"
REACH_PX = 15
"""How far from a positive point hair is found."""


def near_points_is_hair(
    *, iou: Sequence[float] = (0.2, 0.9, 0.4), scale: float = 1.0, masks: str = "masks", planes: int = 3, root_of: float = 1.0
) -> bytes:
    """An ONNX file whose second mask is the hair that is dark and pointed at; the first is empty, the third all dark pixels.

    Args:
        iou: what it expects of each mask; their square roots are kept, so that it can be made none.
        scale: of the masks: above 1 they are no probabilities.
        masks: name of that output.
        planes: how many masks it gives, 1 to 3: the pointed at, then the empty one before it, then the third.
        root_of: all answers are multiplied by its square root: −1 makes them no numbers.
    """
    order = {1: ["found"], 2: ["nothing", "found"], 3: ["nothing", "found", "hair"]}[planes]
    graph = b"".join(
        [
            _node("Cast", ["picture"], ["float"], _int("to", FLOAT)),
            _node("Transpose", ["float"], ["colours"], _ints("perm", [0, 3, 1, 2])),
            _node("ReduceMean", ["colours"], ["grey"], _ints("axes", [1]), _int("keepdims", 1)),
            _node("Sub", ["level", "grey"], ["darker"]),
            _node("Mul", ["darker", "slope"], ["logits"]),
            _node("Sigmoid", ["logits"], ["hair"]),
            _node("Split", ["prompts"], ["on", "off"], _int("axis", 1)),
            _node("MaxPool", ["on"], ["near"], _ints("kernel_shape", [2 * REACH_PX + 1] * 2), _ints("pads", [REACH_PX] * 4)),
            _node("Sub", ["one", "off"], ["allowed"]),
            _node("Mul", ["near", "allowed"], ["where"]),
            _node("Mul", ["hair", "where"], ["found"]),
            _node("Sub", ["hair", "hair"], ["nothing"]),
            _node("Concat", order, ["together"], _int("axis", 1)),
            _node("Sqrt", ["root_of"], ["root"]),
            _node("Mul", ["scale", "root"], ["factor"]),
            _node("Mul", ["together", "factor"], [masks]),
            _node("Mul", ["expected", "root"], ["iou"]),
            _field(2, "near"),
            _constant("level", [100.0], [1]),
            _constant("slope", [0.2], [1]),
            _constant("one", [1.0], [1]),
            _constant("scale", [scale], [1]),
            _constant("root_of", [root_of], [1]),
            _constant("expected", list(iou), [1, len(iou)]),
            _value(11, "picture", UINT8, [1, "h", "w", 3]),
            _value(11, "prompts", FLOAT, [1, 2, "h", "w"]),
            _value(12, masks, FLOAT, [1, planes, "h", "w"]),
            _value(12, "iou", FLOAT, [1, len(iou)]),
        ]
    )
    return _field(1, 8) + _field(8, _field(1, "") + _field(2, 17)) + _field(7, graph)


def refiner_role(**changes: object) -> RefinerRole:
    role = RefinerRole(
        model=REFINER,
        golden=Golden(file=REFINER_GOLDEN, tolerances=tuple(Tolerance(output=name, absolute=1e-4) for name in ("iou", "masks"))),
        card=card(),
        kind="maps",
        input=InputSpec(name="picture", colour="BGR", layout="NHWC", dtype="uint8", stride=32, min_side=32),
        preprocessing=Preprocessing(longest_side=320, padding="reflect", normalised_in_graph=True),
        threshold=0.5,
        prompts="skeleton+complement",
        combination="weighed",
        use=True,
    )
    return role.model_copy(update=changes)


def refiner_golden(model: bytes) -> bytes:
    """What `model` answers on a picture with one dark bar and a point on it."""
    picture = np.full((1, 64, 96, 3), 180, np.uint8)
    picture[:, :, 40:48] = 40
    maps = prompt_maps(Prompts(np.array([[44.0, 20.0], [80.0, 20.0]]), np.array([True, False])), (64, 96))[None]
    inputs = {"picture": picture, "prompts": maps}
    with OnnxBackend(model, threads=1) as backend:
        return pack([GoldenCase(inputs, backend.infer(inputs))])


def write_refiner(folder: Path, *, model: bytes | None = None, role: RefinerRole | None = None, segmenter: bool = True) -> Bundle:
    """A bundle with this refiner, with its golden data by the good one, and with the segmenter of `bundle_samples` if wanted."""
    content = {REFINER: near_points_is_hair() if model is None else model, REFINER_GOLDEN: refiner_golden(near_points_is_hair())}
    if segmenter:
        content |= {MODEL: dark_is_hair(), GOLDEN: segmenter_golden()}
    roles = Roles(segmenter=segmenter_role() if segmenter else None, refiner=refiner_role() if role is None else role)
    return write_bundle(folder, content, name="near", release=1, minimum_version="0.1.0", roles=roles)
