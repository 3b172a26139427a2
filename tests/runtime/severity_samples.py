"""A severity classifier without any learning: the fewer hairs, the more severe. Made without the workstation's libraries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime.analysis.measurement import Hair
from runtime.analysis.severity import FEATURES
from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.parts import Golden, Tolerance
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import Roles, SeverityRole
from runtime.bundles.writer import write_bundle
from runtime.inference.onnx import OnnxBackend
from tests.runtime.bundle_samples import FLOAT, _constant, _field, _int, _node, _value, card

MODEL, GOLDEN = "severity.onnx", "severity.npz"


def few_is_severe(*, output: str = "probabilities", softmax: bool = True, grades: int = 4) -> bytes:
    """An ONNX file: logits of the grades cross at 30, 20 and 10 hairs."""
    slope = np.zeros((len(FEATURES), grades), np.float32)
    slope[FEATURES.index("hair_count")] = [3, 2, 1, 0][:grades]
    offset = [0.0, 30.0, 50.0, 60.0][:grades]
    last = _node("Softmax", ["logits"], [output], _int("axis", 1)) if softmax else _node("Identity", ["logits"], [output])
    graph = b"".join(
        [
            _node("MatMul", ["features", "slope"], ["risen"]),
            _node("Add", ["risen", "offset"], ["logits"]),
            last,
            _field(2, "few"),
            _constant("slope", slope.ravel().tolist(), [len(FEATURES), grades]),
            _constant("offset", offset, [grades]),
            _value(11, "features", FLOAT, ["n", len(FEATURES)]),
            _value(12, output, FLOAT, ["n", grades]),
        ]
    )
    return _field(1, 8) + _field(8, _field(1, "") + _field(2, 17)) + _field(7, graph)


def severity_role(**changes: object) -> SeverityRole:
    role = SeverityRole(
        model=MODEL,
        golden=Golden(file=GOLDEN, tolerances=(Tolerance(output="probabilities", absolute=1e-4),), end={"severity": 0.0}),
        card=card(),
        input="features",
        features=FEATURES,
        labels=("good", "mild", "moderate", "severe"),
    )
    return role.model_copy(update=changes)


def write_severity_sample(folder: Path, *, model: bytes | None = None, role: SeverityRole | None = None) -> Bundle:
    given = {"features": np.array([[900, 8, 8, 8, 8, 35]], np.float32)}
    with OnnxBackend(few_is_severe(), threads=1) as backend:
        golden = pack([GoldenCase(given, backend.infer(given))])
    content = {MODEL: few_is_severe() if model is None else model, GOLDEN: golden}
    roles = Roles(severity=severity_role() if role is None else role)
    return write_bundle(folder, content, name="few", release=1, minimum_version="0.1.0", roles=roles)


def hairs(widths_px: Sequence[Sequence[float | None]]) -> list[Hair]:
    """Hairs with these widths at their points."""
    return [
        Hair(
            id=number,
            follicle_id=None,
            diameter_px=None,
            diameter_um=None,
            diameter_um_std=None,
            diameter_um_max=None,
            length_px=4.0 * len(widths),
            rooted=False,
            confidence=0.9,
            points=[(4.0 * place, 10.0 * number, width) for place, width in enumerate(widths)],
        )
        for number, widths in enumerate(widths_px)
    ]
