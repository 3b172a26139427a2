"""`trichoscope bench devices` prints one JSON object with what was measured, and on what."""

import json

from typer.testing import CliRunner

from runtime.commands.bench import app

SHORT = ["devices", "--seconds", "1", "--cycles", "2", "--presses", "1", "--noise-bytes", "1000"]


def found(*options):
    outcome = CliRunner().invoke(app, [*SHORT, *options])
    assert outcome.exit_code == 0, outcome.output
    return json.loads(outcome.stdout)


def test_both_devices_are_measured(monkeypatch):
    from runtime.bench.devices import handpiece

    whole = handpiece.measure_noise
    monkeypatch.setattr(handpiece, "measure_noise", lambda noise_bytes: whole(noise_bytes, trials=5))
    figures = found()
    assert figures["bench"] == "devices" and figures["machine"]["cores"] > 0
    assert figures["camera"]["capture"]["frames"] > 0 and figures["camera"]["choice"]["presses"] == 1
    assert figures["camera"]["replug"]["returned"] == figures["handpiece"]["replug"]["returned"] == 2
    assert [each["parser"] for each in figures["handpiece"]["noise"]] == ["reference", "tofsense", "gy53"]


def test_one_device_may_be_asked_for(monkeypatch):
    from runtime.bench.devices import handpiece

    monkeypatch.setattr(handpiece, "measure_noise", lambda noise_bytes: [])
    assert set(found("--only", "handpiece")) == {"bench", "machine", "handpiece"}
