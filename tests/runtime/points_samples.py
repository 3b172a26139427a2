"""A pair of networks of kind "points" without any learning: dark pixels near a positive point are hair. Made without the ONNX library."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.parts import Golden, Tolerance
from runtime.bundles.roles import InputSpec, Preprocessing, RefinerRole
from runtime.inference.onnx import OnnxBackend
from runtime.refining.points import PointFiles
from tests.runtime.bundle_samples import FLOAT, UINT8, _constant, _field, _int, _ints, _node, _value, card

SIDE, GRID, CHANNELS = 64, 16, 16
"""Masks are four times as fine as the embedding: as fine as this square."""
REACH_PX = 9.0
LOGITS = 20.0
ENCODER, DECODER, GOLDEN, DECODER_GOLDEN = "encoder.onnx", "decoder.onnx", "encoder.npz", "decoder.npz"


def _whole(name: str, values: Sequence[int]) -> bytes:
    """A constant of int64 (n,)."""
    return _field(5, _field(1, len(values)) + _field(2, 7) + _field(8, name) + _field(9, struct.pack(f"<{len(values)}q", *values)))


def _model(graph: Sequence[bytes]) -> bytes:
    return _field(1, 8) + _field(8, _field(1, "") + _field(2, 17)) + _field(7, b"".join(graph))


def encoder(*, side: int = SIDE, embedding: str = "embedding", root_of: float = 1.0) -> bytes:
    """How much darker than the skin each pixel is, −LOGITS…LOGITS, four by four of them in the channels of a place.

    `root_of` −1 makes its answers no numbers.
    """
    grid = side // 4
    return _model(
        [
            _node("Cast", ["picture"], ["float"], _int("to", FLOAT)),
            _node("Transpose", ["float"], ["colours"], _ints("perm", [0, 3, 1, 2])),
            _node("ReduceMean", ["colours"], ["grey"], _ints("axes", [1]), _int("keepdims", 1)),
            _node("Sub", ["level", "grey"], ["darker"]),
            _node("Clip", ["darker", "least", "most"], ["logits"]),
            _node("Sqrt", ["root_of"], ["root"]),
            _node("Mul", ["logits", "root"], ["scaled"]),
            _node("SpaceToDepth", ["scaled"], [embedding], _int("blocksize", 4)),
            _field(2, "dark"),
            _constant("level", [70.0], [1]),
            _constant("least", [-LOGITS], []),
            _constant("most", [LOGITS], []),
            _constant("root_of", [root_of], [1]),
            _value(11, "picture", UINT8, [1, side, side, 3]),
            _value(12, embedding, FLOAT, [1, CHANNELS, grid, grid]),
        ]
    )


def decoder(
    *,
    side: int = SIDE,
    iou: Sequence[float] = (0.2, 0.9, 0.4),
    masks: str = "masks",
    planes: int = 3,
    root_of: float = 1.0,
    points: str = "point_coords",
) -> bytes:
    """The second of three masks is the hair that a positive point is near; the first is the other way round, the third all hair.

    Args:
        iou: what it expects of each mask.
        masks: name of that output.
        planes: 1 leaves the first and the third out, whatever `iou` says.
        root_of: all masks are multiplied by its square root: −1 makes them no numbers.
        points: name of that input.
    """
    grid = side // 4
    places = [float(place) for row in range(side) for column in range(side) for place in (column, row)]
    return _model(
        [
            _node("DepthToSpace", ["embedding"], ["hair"], _int("blocksize", 4)),
            _node("Unsqueeze", [points, "two"], ["at"]),
            _node("Sub", ["at", "places"], ["away"]),
            _node("Mul", ["away", "away"], ["squares"]),
            _node("ReduceSum", ["squares", "three"], ["distances"], _int("keepdims", 0)),
            _node("Sub", ["on", "point_labels"], ["off"]),
            _node("Unsqueeze", ["off", "two"], ["off_there"]),
            _node("Mul", ["off_there", "far"], ["beyond"]),
            _node("Add", ["distances", "beyond"], ["counting"]),
            _node("ReduceMin", ["counting"], ["least"], _ints("axes", [1]), _int("keepdims", 1)),
            _node("Sub", ["reach", "least"], ["flat"]),
            _node("Reshape", ["flat", "square"], ["near"]),
            _node("Min", ["hair", "near"], ["found"]),
            _node("Neg", ["found"], ["other"]),
            _node("Concat", ["found"] if planes == 1 else ["other", "found", "hair"], ["together"], _int("axis", 1)),
            _node("Sqrt", ["root_of"], ["root"]),
            _node("Mul", ["together", "root"], [masks]),
            _node("Mul", ["expected", "one"], ["iou"]),
            _field(2, "near"),
            _whole("two", [2]),
            _whole("three", [3]),
            _whole("square", [1, 1, side, side]),
            _constant("places", places, [1, 1, side * side, 2]),
            _constant("on", [1.0], [1]),
            _constant("one", [1.0], [1]),
            _constant("far", [1e6], [1]),
            _constant("reach", [REACH_PX**2], [1]),
            _constant("root_of", [root_of], [1]),
            _constant("expected", list(iou), [1, len(iou)]),
            _value(11, "embedding", FLOAT, [1, CHANNELS, grid, grid]),
            _value(11, points, FLOAT, ["b", "n", 2]),
            _value(11, "point_labels", FLOAT, ["b", "n"]),
            _value(12, masks, FLOAT, ["b", planes, side, side]),
            _value(12, "iou", FLOAT, [1, len(iou)]),
        ]
    )


def pair(**of_decoder: object) -> PointFiles:
    return PointFiles("near", encoder(), decoder(**of_decoder))  # type: ignore[arg-type]


def points_role(**changes: object) -> RefinerRole:
    role = RefinerRole(
        model=ENCODER,
        golden=Golden(file=GOLDEN, tolerances=(Tolerance(output="embedding", absolute=1e-4),)),
        card=card(),
        kind="points",
        decoder=DECODER,
        decoder_golden=Golden(file=DECODER_GOLDEN, tolerances=tuple(Tolerance(output=n, absolute=1e-4) for n in ("iou", "masks"))),
        input=InputSpec(name="picture", colour="BGR", layout="NHWC", dtype="uint8", stride=SIDE, min_side=SIDE),
        preprocessing=Preprocessing(longest_side=SIDE, padding="mean", normalised_in_graph=True),
        threshold=0.5,
        prompts="skeleton+complement",
        combination="and",
        use=True,
    )
    return role.model_copy(update=changes)


def points_content() -> dict[str, bytes]:
    """The files of `points_role`."""
    picture = np.full((1, SIDE, SIDE, 3), 180, np.uint8)
    picture[:, :, 30:34] = 20
    with OnnxBackend(encoder(), threads=1) as backend:
        seen = GoldenCase({"picture": picture}, backend.infer({"picture": picture}))
    asked = {
        "embedding": seen.outputs["embedding"],
        "point_coords": np.array([[[32.0, 20.0], [0.0, 0.0]]], np.float32),
        "point_labels": np.array([[1.0, -1.0]], np.float32),
    }
    with OnnxBackend(decoder(), threads=1) as backend:
        answered = GoldenCase(asked, backend.infer(asked))
    return {ENCODER: encoder(), DECODER: decoder(), GOLDEN: pack([seen]), DECODER_GOLDEN: pack([answered])}
