"""`trichoscope bench inference`: every backend that is here in one table, a monitor of power where there is one, problems by name."""

import json
import time

import numpy as np
from typer.testing import CliRunner

from runtime.bench.inference.compare import Candidate, compare, resident_mb
from runtime.bench.inference.energy import EnergyMeter, rail_of
from runtime.bundles.reader import read_bundle
from runtime.bundles.trial import ModelStore
from runtime.cli import build
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from tests.runtime.bundle_samples import MODEL, write_sample
from tests.runtime.signing_samples import LINE, SETTINGS, signed


def _monitor(root, label="VDD_IN", volts=5000, amperes=2000):
    folder = root / "1-0040" / "hwmon" / "hwmon3"
    folder.mkdir(parents=True)
    for name, text in {"in1_label": label, "in1_input": volts, "curr1_input": amperes}.items():
        (folder / name).write_text(f"{text}\n")
    return root


def test_energy_is_power_times_time(tmp_path):
    with EnergyMeter(_monitor(tmp_path), every_s=0.01) as meter:
        time.sleep(0.05)
    assert meter.joules is not None and 0.4 < meter.joules < 100  # 10 W for at least 0.05 s, however late this thread wakes


def test_without_a_monitor_no_energy_is_told(tmp_path):
    assert rail_of(tmp_path) is None and rail_of(_monitor(tmp_path, label="VDD_CPU_GPU_CV")) is None
    with EnergyMeter(tmp_path) as meter:
        pass
    assert meter.joules is None


class _Off(OnnxBackend):
    def _infer(self, inputs):
        return {name: value + np.float32(0.5) for name, value in super()._infer(inputs).items()}


class _Broken(OnnxBackend):
    def _activate(self):
        raise InferenceError("broken: no such device: plug one in")


def test_a_backend_that_differs_or_cannot_is_told_so(tmp_path):
    write_sample(tmp_path / "bundle")
    bundle = read_bundle(tmp_path / "bundle")
    model = bundle.content[MODEL]
    more = [Candidate("off", "fp32", lambda: _Off(model)), Candidate("broken", "fp16", lambda: _Broken(model))]
    rows = {row.backend: row for row in compare(bundle, threads=(1,), rounds=5, more=lambda role: more)}
    assert rows["onnxruntime, 1 threads"].parity == 0 and rows["onnxruntime, 1 threads"].p50_ms > 0
    assert 0.003 < rows["off"].parity <= 0.5
    assert rows["broken"].p50_ms is None and "plug one in" in rows["broken"].problem
    assert resident_mb() > 10


def test_the_command_prints_rows_for_machines_and_names_a_missing_bundle(tmp_path):
    write_sample(tmp_path / "bundle")
    outcome = CliRunner().invoke(build("bench"), ["bench", "inference", "--bundle", str(tmp_path / "bundle"), "--rounds", "5", "--json"])
    assert outcome.exit_code == 0, outcome.output
    told = json.loads(outcome.stdout)
    assert told["bundle"].startswith("dark/1") and {row["role"] for row in told["rows"]} == {"segmenter"}
    refused = CliRunner().invoke(build("bench"), ["bench", "inference", "--bundle", str(tmp_path / "none")])
    assert refused.exit_code == 1 and "no such bundle" in refused.output


def test_the_bundle_that_serves_here_is_the_one_that_runs(tmp_path):
    slot = signed(tmp_path / "dark", 3)
    config = tmp_path / "trichoscope.toml"
    config.write_text(f'[store]\nfolder = "{tmp_path / "state"}"\n[models]\ntrusted_keys = ["{LINE}"]\n')
    store = ModelStore(tmp_path / "state" / "models", SETTINGS)
    store.activate(store.install(slot)[0])
    outcome = CliRunner().invoke(build("bench"), ["bench", "inference", "--config", str(config), "--rounds", "5", "--json"])
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.stdout)["bundle"].startswith("dark/3")
