import json
import os

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from runtime.cli import build
from runtime.commands import forecast as command
from runtime.commands import instruments
from runtime.forecast.attribution import attribution_picture
from runtime.intended_use.declaration import declare, withdraw
from runtime.intended_use.text import packaged_text
from tests.runtime.forecast_samples import TODAY, history_dict, write_forecast_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecast") / "bundle"
    write_forecast_bundle(folder)
    attribution_picture([], "", "svg")  # Matplotlib keeps the fonts open that it has used once
    return folder


@pytest.fixture
def run(bundle, tmp_path, monkeypatch):
    """Runs `trichoscope forecast` on a file with `whole` in it, where a clinic has declared its use."""
    monkeypatch.setattr(command, "today", lambda: TODAY)
    declare(tmp_path / "state", packaged_text(), "Dr T")
    configure("clinical", tmp_path)
    monkeypatch.chdir(tmp_path)

    def call(whole, *options, text=None):
        (tmp_path / "c17.json").write_text(json.dumps(whole) if text is None else text)
        return CliRunner().invoke(build("forecast"), ["forecast", "c17.json", "--config", "kiosk.toml", "--bundle", str(bundle), *options])

    return call


def configure(profile, folder):
    (folder / "kiosk.toml").write_text(f'[use]\nprofile = "{profile}"\n[store]\nfolder = "{folder / "state"}"\n')


def with_picture(name="c17.png"):
    whole = history_dict()
    whole["visits"][2]["picture"] = name
    return whole


def test_from_a_file_to_a_forecast_with_its_picture(run, tmp_path):
    cv2.imwrite("c17.png", np.full((60, 80, 3), 60, np.uint8))
    done = run(with_picture(), "--json", "--strict", "--picture", "why.svg")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["schema"] == "trichoscope/forecast/1"
    assert result["forecast"]["label"] == "high"
    assert result["used"]["picture"] == "c17.png"
    assert result["bundle"].startswith("stressed/1+")
    assert result["validated_on_real_labels"] is False
    assert result["problems"] == []
    drawn = (tmp_path / "why.svg").read_text()  # letters are drawn as curves, with the line in a comment
    assert "<svg" in drawn
    assert "not validated on real labels" in drawn
    assert "stress: 5 of 10" in drawn
    assert {a["input"]: a for a in result["attributions"]}["picture"]["change"] > 0.01


def test_for_people_it_says_the_same_in_words(run):
    done = run(history_dict())
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("hair-loss forecast: high risk, ")
    assert "not validated on real labels" in done.stdout
    assert "stress" in done.stdout
    assert "density_per_cm2: 180 → 161 over 3 visits" in done.stdout


def test_below_three_visits_it_names_what_is_missing_and_is_no_error(run, tmp_path):
    whole = history_dict()
    whole["visits"] = whole["visits"][:1]
    done = run(whole, "--json", "--picture", "why.svg")
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result["forecast"] is None
    assert result["missing"] == ["2 more visits: a forecast takes 3 visits on different days, 1 can be used"]
    assert "why.svg: not written" in done.stderr
    assert not (tmp_path / "why.svg").exists()
    assert "2 more visits" in run(whole).stdout


def test_what_is_not_used_is_said_or_refused(run):
    whole = history_dict()
    whole["records"][0]["testosterone"] = -3
    done = run(whole)
    assert done.exit_code == 0
    assert "c17.json: records[0].testosterone: -3 is implausible: it lies between 2 and 2500: not used" in done.stderr
    result = json.loads(run(whole, "--json").stdout)
    assert (result["problem_count"], result["problems"][0]["where"]) == (1, "records[0].testosterone")
    refused = run(whole, "--strict", "--json")
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 1
    assert "records[0].testosterone" in refused.stderr


@pytest.mark.parametrize("kind", ["absent", "no picture", "truncated", "link outside"])
def test_a_picture_that_cannot_be_read_is_named_and_the_rest_is_used(run, tmp_path, kind):
    if kind == "no picture":
        (tmp_path / "c17.png").write_bytes(b"hello")
    elif kind == "truncated":
        whole = cv2.imencode(".png", np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes()
        (tmp_path / "c17.png").write_bytes(whole[: len(whole) // 2])
    elif kind == "link outside":
        outside = tmp_path.parent / "outside.png"
        cv2.imwrite(str(outside), np.zeros((64, 64, 3), np.uint8))
        (tmp_path / "c17.png").symlink_to(outside)
    done = run(with_picture(), "--json")
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert result["used"]["picture"] is None
    assert result["problems"][0]["where"] == "visit of 2026-06-29, picture"
    refused = run(with_picture(), "--strict")
    assert refused.exit_code == 1
    assert "c17.png" in refused.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', "[" * 5000])
def test_no_records_no_forecast(run, text):
    done = run(None, text=text)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("forecast: c17.json: ")
    assert done.stderr.count("\n") == 1


def test_files_that_are_none_are_refused(run, tmp_path):
    for name in ("absent.json", str(tmp_path)):
        done = CliRunner().invoke(build("forecast"), ["forecast", name, "--config", "kiosk.toml"])
        assert done.exit_code == 1
        assert "forecast: " in done.stderr
    done = run(history_dict(), "--picture", "why.doc")
    assert done.exit_code == 1
    assert "ending in .svg" in done.stderr
    os.mkfifo("pipe.json")  # nobody writes: opening it would wait for ever
    assert CliRunner().invoke(build("forecast"), ["forecast", "pipe.json", "--config", "kiosk.toml"]).exit_code == 1


def test_a_salon_gets_no_forecast(run, tmp_path):
    configure("wellness", tmp_path)
    done = run(history_dict(), "--json")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert 'profile = "clinical"' in done.stderr
    assert "trichoscope use declare" in done.stderr
    configure("clinical", tmp_path)
    withdraw(tmp_path / "state", "Dr T")
    done = run(history_dict(), "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no operator has declared it: `trichoscope use declare" in done.stderr


def test_the_serving_bundle_is_used_where_none_is_named(run, tmp_path, monkeypatch, bundle):
    monkeypatch.setattr(instruments, "FACTORY", bundle)
    run(history_dict())  # writes the file
    done = CliRunner().invoke(build("forecast"), ["forecast", "c17.json", "--config", "kiosk.toml", "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["bundle"].startswith("stressed/1+")
    monkeypatch.setattr(instruments, "FACTORY", tmp_path / "none")
    done = CliRunner().invoke(build("forecast"), ["forecast", "c17.json", "--config", "kiosk.toml"])
    assert done.exit_code == 1
    assert "name one with --bundle" in done.stderr
