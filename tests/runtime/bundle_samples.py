"""A small bundle without any learning: its network calls dark pixels hair. Made without the workstation's libraries."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.parts import Golden, ModelCard, Tolerance
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import InputSpec, Preprocessing, Roles, SegmenterRole, Trust
from runtime.bundles.writer import write_bundle
from runtime.inference.onnx import OnnxBackend

MODEL = "segmenter.onnx"
GOLDEN = "segmenter.npz"
FLOAT, UINT8 = 1, 2  # ONNX element types


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _field(number: int, content: bytes | str | int) -> bytes:
    """One field of a protobuf message: an integer, or bytes with their length."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    data = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _node(kind: str, inputs: list[str], outputs: list[str], *attributes: bytes) -> bytes:
    body = b"".join(_field(1, name) for name in inputs) + b"".join(_field(2, name) for name in outputs)
    return _field(1, body + _field(4, kind) + b"".join(_field(5, attribute) for attribute in attributes))


def _ints(name: str, values: list[int]) -> bytes:
    return _field(1, name) + b"".join(_field(8, value) for value in values) + _field(20, 7)


def _int(name: str, value: int) -> bytes:
    return _field(1, name) + _field(3, value) + _field(20, 2)


def _text(name: str, value: str) -> bytes:
    return _field(1, name) + _field(4, value) + _field(20, 3)


def _constant(name: str, values: list[float], shape: list[int]) -> bytes:
    tensor = b"".join(_field(1, side) for side in shape) + _field(2, FLOAT) + _field(8, name)
    return _field(5, tensor + _field(9, struct.pack(f"<{len(values)}f", *values)))


def _value(place: int, name: str, kind: int, shape: list[int | str]) -> bytes:
    sides = b"".join(_field(1, _field(2, side) if isinstance(side, str) else _field(1, side)) for side in shape)
    return _field(place, _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, sides))))


def dark_is_hair(
    *, ir: int = 8, opsets: Sequence[tuple[str, int]] = (("", 17),), more: bytes = b"", beside: bytes = b"", picture: str = "picture"
) -> bytes:
    """An ONNX file: probability of hair is a steep sigmoid of (100 − mean of the colours); marks and features are as simple.

    No hair is faint. `more` are further fields of the graph, `beside` of the model.
    """
    graph = b"".join(
        [
            _node("Cast", [picture], ["float"], _int("to", FLOAT)),
            _node("Transpose", ["float"], ["planes"], _ints("perm", [0, 3, 1, 2])),
            _node("ReduceMean", ["planes"], ["grey"], _ints("axes", [1]), _int("keepdims", 1)),
            _node("Sub", ["level", "grey"], ["darker"]),
            _node("Mul", ["darker", "slope"], ["logits"]),
            _node("Sigmoid", ["logits"], ["hair"]),
            _node("AveragePool", ["hair"], ["half"], _ints("kernel_shape", [2, 2]), _ints("strides", [2, 2])),
            _node("Sub", ["half", "half"], ["nothing"]),
            _node("Concat", ["half", "half", "nothing"], ["marks"], _int("axis", 1)),
            _node("ReduceMean", ["planes"], ["features"], _ints("axes", [2, 3]), _int("keepdims", 0)),
            _field(2, "dark"),
            _constant("level", [100.0], [1]),
            _constant("slope", [0.2], [1]),
            _value(11, picture, UINT8, [1, "h", "w", 3]),
            _value(12, "hair", FLOAT, [1, 1, "h", "w"]),
            _value(12, "marks", FLOAT, [1, 3, "h2", "w2"]),
            _value(12, "features", FLOAT, [1, 3]),
            more,
        ]
    )
    imports = b"".join(_field(8, _field(1, domain) + _field(2, version)) for domain, version in opsets)
    return _field(1, ir) + imports + _field(7, graph) + beside


def card() -> ModelCard:
    return ModelCard(
        description="calls dark pixels hair",
        recipe={"name": "none"},
        seed=0,
        steps=0,
        seconds=0.0,
        machine="none",
        trained_on="nothing",
        validated_on_real_labels=False,
        licence="Apache-2.0",
        repeat="make test",
        limits="for tests",
    )


def segmenter_role(**changes: object) -> SegmenterRole:
    role = SegmenterRole(
        model=MODEL,
        golden=Golden(
            file=GOLDEN,
            tolerances=tuple(Tolerance(output=name, absolute=1e-4) for name in ("features", "hair", "marks")),
            end={"dice": 0.01},
        ),
        card=card(),
        input=InputSpec(name="picture", colour="BGR", layout="NHWC", dtype="uint8", stride=32, min_side=32),
        preprocessing=Preprocessing(longest_side=320, padding="reflect", normalised_in_graph=True),
        threshold=0.5,
        faint_threshold=0.5,
        trust=Trust(
            features=(150.0, 150.0, 150.0),
            feature_axes=((0.025, 0.0, 0.0), (0.0, 0.025, 0.0), (0.0, 0.0, 0.025)),
            unfamiliar_above=2.0,
            weights=(-1.0, -0.2, 0.0, 0.0, 0.0, 1.0),
        ),
        metrics={"dice_easy": 0.5},
    )
    return role.model_copy(update=changes)


def write_sample(folder: Path, *, model: bytes | None = None, role: SegmenterRole | None = None, release: int = 1) -> Bundle:
    content = {MODEL: dark_is_hair() if model is None else model, GOLDEN: golden()}
    roles = Roles(segmenter=segmenter_role() if role is None else role)
    return write_bundle(folder, content, name="dark", release=release, minimum_version="0.1.0", roles=roles)


def golden() -> bytes:
    """What `dark_is_hair` answers on a picture with one dark bar."""
    picture = np.full((1, 64, 96, 3), 180, np.uint8)
    picture[:, :, 40:48] = 40
    with OnnxBackend(dark_is_hair(), threads=1) as backend:
        return pack([GoldenCase({"picture": picture}, backend.infer({"picture": picture}))])


def forge(folder: Path, files: Mapping[str, bytes], **changes: object) -> None:
    """Put files into a written bundle, and their true hashes into its manifest: what an enemy with a key could sign."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    listed = {entry["name"]: entry for entry in manifest["files"]}
    for name, content in files.items():
        (folder / name).write_bytes(content)
        listed[name] = {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    path.write_text(json.dumps(manifest | {"files": list(listed.values())} | changes))


def changed_manifest(folder: Path, **changes: object) -> None:
    """Replace top-level keys of a written manifest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
