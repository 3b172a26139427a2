"""A finished training of the forecast as a part of a bundle: graph, proof at several lengths and batches, golden data, role."""

from __future__ import annotations

import io
import os
import platform
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxslim
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.conversion.onnx_graph import IR, OPSET
from export.errors import ConversionError
from export.networks.hybrid import Head, HybridNet, probabilities
from export.persons import MARKERS, SERIES, scaled_records
from export.training import checkpoint
from export.training.forecast.recipe import HYBRID
from export.training.forecast.report import FOREST, FULL_FOREST, NAMES, Report, name_of
from export.training.forecast.training import EYES, LABELS, TEST_SEED, ForecastTraining, cohort_for, picture_input
from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.parts import MAX_FILE_BYTES, Golden, ModelCard, Tolerance
from runtime.bundles.roles import ForecastRole
from runtime.inference.onnx import OnnxBackend

MODEL, GOLDEN = "forecast.onnx", "forecast-golden.npz"
INPUTS, OUTPUT = ("picture", "markers", "records"), "probabilities"
TOLERANCE = 1e-4
PARITY_LENGTHS, PARITY_BATCHES = (1, 2, 7, 120), (1, 3)
MOST_RECORDS = 120
"""Months: longer courses were never learnt."""
LIMITS = (
    "Learnt from rendered persons alone, whose risk follows a rule that we wrote: it tells nothing about a real person until it is trained "
    "and validated on real courses. Hormones are drawn as adult men's; picture and records are drawn independently, which they are not on "
    "real clients; the picture is strokes on skin, seen at 64×64 px. Attributions say what the model reacts to, not what causes hair loss."
)
WHAT = {
    "risk": "Risk (low, high) of further hair loss from one picture of the scalp, months of records and markers",
    "stage": "Stage (four grades) from one picture of the scalp, months of records and markers",
}
TRAINED_ON = (
    "rendered persons (export/persons.py, no real person or picture): two independent scores, one shown by number and miniaturisation of "
    "hairs, one by eight series and four markers; the label drawn with the sigmoid of their sum"
)


class ForecastGraph(nn.Module):
    """The hybrid with probabilities behind it: picture uint8 (n, side, side, 3) BGR, markers int64 (n, markers), records float32
    (n, length, 2 · series) to probabilities float32 (n, labels)."""

    def __init__(self, network: HybridNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor, markers: Tensor, records: Tensor) -> Tensor:
        return probabilities(self.network(picture, markers, records))


def forecast_onnx(network: HybridNet) -> bytes:
    """The ONNX file of a trained hybrid; batch and length may be any.

    The tracing exporter is used: the other one makes LSTMs that are right at the traced length only, and says nothing.

    Raises:
        ConversionError: the graph is not valid, or too large for a bundle.
    """
    graph = ForecastGraph(network).cpu().eval()
    side = network.architecture.side
    example = (
        torch.zeros((2, side, side, 3), dtype=torch.uint8),
        torch.zeros((2, len(MARKERS)), dtype=torch.int64),
        torch.ones((2, 5, 2 * len(SERIES))),
    )
    axes = {"picture": {0: "n"}, "markers": {0: "n"}, "records": {0: "n", 1: "length"}, OUTPUT: {0: "n"}}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor, and warns of batches, which parity proves
        torch.onnx.export(
            graph,
            example,
            buffer,  # type: ignore[arg-type]
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        slim: Any = onnxslim.slim(onnx.load_from_string(buffer.getvalue()))
    slim.ir_version = min(slim.ir_version, IR)
    slim.doc_string = ""
    try:
        onnx.checker.check_model(slim, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        raise ConversionError(f"the graph is not valid ONNX: {str(problem).strip().splitlines()[0]}") from problem
    return bytes(slim.SerializeToString())


def random_inputs(network: HybridNet, batch: int, length: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Inputs of any kind, a quarter of the values missing, some of the last months wholly."""
    side = network.architecture.side
    there = rng.uniform(size=(batch, length, len(SERIES))) < 0.75
    if length > 1:
        there[1:, -1] = False  # all but the first end earlier
    there[:, 0, 0] = True
    values = rng.normal(size=there.shape) * there
    return {
        "picture": rng.integers(0, 256, (batch, side, side, 3), np.uint8),
        "markers": np.stack([rng.integers(0, len(marker.values) + 1, batch) for marker in MARKERS], 1).astype(np.int64),
        "records": np.concatenate([values, there], 2).astype(np.float32),
    }


def parity(
    network: HybridNet,
    model: bytes,
    *,
    lengths: tuple[int, ...] = PARITY_LENGTHS,
    batches: tuple[int, ...] = PARITY_BATCHES,
    seed: int = 0,
) -> dict[str, float]:
    """Largest absolute difference of the probabilities between PyTorch and ONNX Runtime, by length.

    Raises:
        ConversionError: a difference above TOLERANCE, or nothing was compared.
    """
    rng, graph = np.random.default_rng(seed), ForecastGraph(network).cpu().eval()
    worst: dict[str, float] = {}
    with OnnxBackend(model, name="parity") as backend, torch.no_grad():
        for length in lengths:
            for batch in batches:
                inputs = random_inputs(network, batch, length, rng)
                expected = graph(*(torch.from_numpy(inputs[name]) for name in INPUTS)).numpy()
                difference = float(np.abs(backend.infer(inputs)[OUTPUT] - expected).max())
                worst[f"length_{length}"] = max(worst.get(f"length_{length}", 0.0), difference)
    if not worst:
        raise ConversionError("parity: nothing was compared: name at least one length and one batch")
    beyond = {name: value for name, value in worst.items() if not value <= TOLERANCE}
    if beyond:
        raise ConversionError(f"parity: {beyond} above {TOLERANCE}: the graph does not give the network's numbers")
    return worst


def golden_cases(network: HybridNet, model: bytes, architecture: str, *, seed: int = 1) -> bytes:
    """Two rendered persons, and random inputs at each length, with the answers of the reference."""
    cohort = cohort_for(architecture, TEST_SEED + 1, 2, threads=1)
    inputs: list[dict[str, NDArray[Any]]] = [
        {
            "picture": cohort.pictures[i : i + 1],
            "markers": cohort.markers[i : i + 1],
            "records": scaled_records(cohort.records[i : i + 1, : int(cohort.lengths[i])]),
        }
        for i in range(len(cohort))
    ]
    rng = np.random.default_rng(seed)
    inputs += [random_inputs(network, 1, length, rng) for length in PARITY_LENGTHS]
    with OnnxBackend(model, name="golden") as backend:
        return pack([GoldenCase(each, backend.infer(each)) for each in inputs])


def proven(run: ForecastTraining) -> tuple[HybridNet, dict[str, Any], bytes, dict[str, float]]:
    """The hybrid of a finished training, its checkpoint, its ONNX file, and how far apart the two were at most.

    Raises:
        TrainingError, ConversionError: as bundle_forecast, but of any size.
    """
    network, state = run.trained(HYBRID)
    network = network.cpu()
    model = forecast_onnx(network)
    return network, state, model, parity(network, model)


def bundle_forecast(training: Path, found: Report | None = None) -> tuple[bytes, ForecastRole, bytes]:
    """The finished training in the folder `training` as (ONNX file, its role, golden data); files are named MODEL and GOLDEN.

    `found` is what it was measured at, for the role's metrics.

    Raises:
        TrainingError: the training has not finished, or is damaged.
        ConversionError: the graph does not give the network's numbers, or is too large for a bundle.
    """
    run = ForecastTraining.resumed(training)
    network, state, model, differences = proven(run)
    if len(model) > MAX_FILE_BYTES:
        raise ConversionError(
            f"{training}: the graph has {len(model)} bytes, a bundle's file at most {MAX_FILE_BYTES}: ship the architecture device"
        )
    eyes = checkpoint.load(training / EYES)
    card = ModelCard(
        description=f"{WHAT[run.head]}: hybrid CNN–LSTM, architecture {run.architecture}.",
        recipe=run.recipe.to_dict() | {"frozen": int(run.recipe.frozen), "architecture": run.architecture, "head": run.head},
        seed=run.seed,
        steps=int(state["step"]),
        seconds=round(float(state["history"]["seconds"]) + float(eyes["history"]["seconds"]), 1),
        machine=f"{platform.machine()}, {os.cpu_count()} CPU cores, {'one GPU' if torch.cuda.is_available() else 'no GPU'}",
        trained_on=TRAINED_ON,
        validated_on_real_labels=False,
        licence="Apache-2.0",
        repeat=_repeat(run),
        limits=LIMITS,
    )
    role = ForecastRole(
        model=MODEL,
        golden=Golden(file=GOLDEN, tolerances=(Tolerance(output=OUTPUT, absolute=TOLERANCE),), end={"forecast": 0.0}),
        card=card,
        metrics={name: round(value, 7) for name, value in _metrics(found, differences).items()},
        picture=picture_input(run.architecture),
        markers=MARKERS,
        series=SERIES,
        interval="month",
        labels=LABELS[run.head],
        most_records=MOST_RECORDS,
    )
    return model, role, golden_cases(network, model, run.architecture)


def _repeat(run: ForecastTraining) -> str:
    head: dict[Head, str] = {"risk": "", "stage": " --head stage"}
    options = f"--recipe {run.recipe.name} --architecture {run.architecture}{head[run.head]} --seed {run.seed}"
    return f"trichoscope-export train forecast {options} --out TRAINING"


def _metrics(found: Report | None, differences: dict[str, float]) -> dict[str, float]:
    metrics = {f"parity_{name}": value for name, value in differences.items()}
    if found is None:
        return metrics
    mine = found.rows[name_of(HYBRID)]
    metrics |= {"accuracy": mine.accuracy, "precision": mine.precision, "recall": mine.recall, "f1": mine.f1}
    metrics |= {"auc": mine.auc.value, "auc_error": mine.auc.error, "calibration_error": mine.calibration_error, "brier": mine.brier}
    named = {NAMES["picture"]: "cnn", NAMES["records"]: "lstm", FOREST: "forest", FULL_FOREST: "forest_with_picture"}
    metrics |= {f"auc_{short}": found.rows[name].auc.value for name, short in named.items() if name in found.rows}
    return metrics | {f"auc_bound_{name}": value for name, value in found.bounds.items()}
