"""A forecast without any learning, whose answers can be reckoned by hand. Made without the workstation's libraries."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.parts import Golden, ModelCard, PictureInput, Tolerance
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import ForecastRole, Marker, Roles, Series
from runtime.bundles.writer import write_bundle
from runtime.inference.onnx import OnnxBackend
from tests.runtime.bundle_samples import FLOAT, UINT8, _constant, _field, _int, _ints, _node, _value, card

TODAY = date(2026, 6, 30)
MODEL, GOLDEN, SIDE, INT64 = "forecast.onnx", "forecast-golden.npz", 32, 7
SERIES = (
    Series(name="testosterone", unit="ng/dL", mean=550.0, std=150.0, low=2.0, high=2500.0),
    Series(name="stress", unit="of 10", mean=5.0, std=2.0, low=0.0, high=10.0),
)
MARKERS = (Marker(name="ar-rs6152", values=("A", "G")), Marker(name="family-history", values=("none", "maternal")))


def reckoned(darkness: float, stress: float, ar: int) -> float:
    """Probability of "high": of darkness (128 less the mean grey), mean scaled stress over months, number of the first marker."""
    return float(1 / (1 + np.exp(-(0.02 * darkness + stress + 0.5 * ar))))


def stressed_is_high(scale: float = 1.0) -> bytes:
    """The ONNX file of `reckoned`; with another `scale` than 1 its probabilities do not sum to 1."""
    graph = b"".join(
        [
            _node("Cast", ["picture"], ["shown"], _int("to", FLOAT)),
            _node("ReduceMean", ["shown"], ["grey4"], _ints("axes", [1, 2, 3]), _int("keepdims", 1)),
            _node("Flatten", ["grey4"], ["grey"], _int("axis", 1)),
            _node("Sub", ["middle", "grey"], ["dark"]),
            _node("Mul", ["dark", "slope"], ["a"]),
            _node("ReduceMean", ["records"], ["months"], _ints("axes", [1]), _int("keepdims", 0)),
            _node("MatMul", ["months", "of_series"], ["b"]),
            _node("Cast", ["markers"], ["numbers"], _int("to", FLOAT)),
            _node("MatMul", ["numbers", "of_markers"], ["c"]),
            _node("Add", ["a", "b"], ["ab"]),
            _node("Add", ["ab", "c"], ["logit"]),
            _node("Sigmoid", ["logit"], ["high"]),
            _node("Sub", ["one", "high"], ["low"]),
            _node("Concat", ["low", "high"], ["both"], _int("axis", 1)),
            _node("Mul", ["both", "scale"], ["probabilities"]),
            _field(2, "stressed"),
            _constant("middle", [128.0], [1]),
            _constant("slope", [0.02], [1]),
            _constant("of_series", [0.0, 1.0, 0.0, 0.0], [4, 1]),
            _constant("of_markers", [0.5, 0.0], [2, 1]),
            _constant("one", [1.0], [1]),
            _constant("scale", [scale], [1]),
            _value(11, "picture", UINT8, ["n", SIDE, SIDE, 3]),
            _value(11, "markers", INT64, ["n", 2]),
            _value(11, "records", FLOAT, ["n", "length", 4]),
            _value(12, "probabilities", FLOAT, ["n", 2]),
        ]
    )
    return _field(1, 8) + _field(8, _field(1, "") + _field(2, 17)) + _field(7, graph)


def forecast_role(**changes: Any) -> ForecastRole:
    role = ForecastRole(
        model=MODEL,
        golden=Golden(file=GOLDEN, tolerances=(Tolerance(output="probabilities", absolute=1e-4),)),
        card=ModelCard(**(card().model_dump())),
        picture=PictureInput(name="picture", width=SIDE, height=SIDE),
        markers=MARKERS,
        series=SERIES,
        interval="month",
        labels=("low", "high"),
        most_records=24,
    )
    return role.model_copy(update=changes)


def write_forecast_bundle(folder: Path, *, model: bytes | None = None, role: ForecastRole | None = None) -> Bundle:
    model = stressed_is_high() if model is None else model
    inputs = {
        "picture": np.full((1, SIDE, SIDE, 3), 100, np.uint8),
        "markers": np.array([[1, 2]], np.int64),
        "records": np.array([[[0.5, 1.0, 1.0, 1.0]]], np.float32),
    }
    with OnnxBackend(model, name="sample") as backend:
        golden = pack([GoldenCase(inputs, backend.infer(inputs))])
    roles = Roles(forecast=role or forecast_role())
    return write_bundle(folder, {MODEL: model, GOLDEN: golden}, name="stressed", release=1, minimum_version="0.1.0", roles=roles)


def history_dict(**changes: Any) -> dict[str, Any]:
    """A client of whom everything is known; three visits, four months."""
    whole: dict[str, Any] = {
        "schema": "trichoscope/records/1",
        "client": "C-17",
        "visits": [
            {"date": "2025-07-01", "density_per_cm2": 180.0, "terminal_share": 0.9, "diameter_um": 66},
            {"date": "2025-12-30", "density_per_cm2": 170.0, "terminal_share": None},
            {"date": "2026-06-29", "density_per_cm2": 161.0, "terminal_share": 0.8},
        ],
        "records": [
            {"date": "2026-02-10", "testosterone": 500, "stress": 7},
            {"date": "2026-03-11", "testosterone": None, "stress": 9},
            {"date": "2026-05-12", "testosterone": 530.5, "stress": 9},
            {"date": "2026-05-26", "testosterone": 560, "stress": 5},
        ],
        "questionnaire": {"family-history": "maternal"},
        "markers": {"ar-rs6152": "G"},
    }
    return whole | changes


def as_bytes(whole: object) -> bytes:
    return json.dumps(whole).encode()
