import json
import sys

import pytest
from typer.testing import CliRunner

from runtime.bundles import proof as proofs
from runtime.cli import build
from runtime.inference.tensorrt import building
from tests.runtime.bundle_samples import GOLDEN, MODEL, forge
from tests.runtime.signing_samples import LINE, OTHER_KEY, archive_of, sample_files, sign_folder, signed, unpacked


@pytest.fixture
def device(tmp_path):
    """Runs `trichoscope models …` on a device that trusts the tests' key."""
    config = tmp_path / "trichoscope.toml"
    config.write_text(f'[models]\ntrusted_keys = ["{LINE}"]\n')

    def run(*words):
        return CliRunner().invoke(
            build("models"), ["models", *map(str, words), "--config", str(config), "--state", str(tmp_path / "state")]
        )

    return run


def _json(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_commands_are_on_the_command_line():
    shown = CliRunner().invoke(build("models"), ["models", "--help"])
    assert shown.exit_code == 0
    for verb in ("list", "install", "activate", "rollback", "verify", "build"):
        assert verb in shown.stdout


def test_from_a_file_to_the_bundle_that_serves_and_back(tmp_path, device):
    file = tmp_path / "dark.bundle"
    file.write_bytes(archive_of(signed(tmp_path / "dark", 3)))
    before = _json(device("list", "--json"))
    assert (before["source"], before["slots"]) == ("factory", [])
    installed = _json(device("install", file, "--json"))
    assert installed["id"].startswith("dark/3+")
    assert installed["signed_by"]
    assert _json(device("list", "--json"))["source"] == "factory"
    activated = _json(device("activate", "dark", "--json"))
    assert (activated["active"], activated["proof"]["passed"]) == (installed["id"], True)
    listed = _json(device("list", "--json"))
    assert (listed["serves"], listed["source"]) == (installed["id"], "slot")
    assert [(row["slot"], row["active"], row["on_trial"], row["roles"]) for row in listed["slots"]] == [
        (installed["slot"], True, True, ["segmenter"])
    ]
    text = device("list").stdout
    assert installed["slot"][:12] in text and "[active, on trial]" in text
    assert _json(device("rollback", "--json"))["source"] == "factory"
    refused = device("rollback")
    assert refused.exit_code == 1 and "nothing to roll back" in refused.stderr


def test_every_verb_speaks_to_people_too(tmp_path, device):
    slot = _json(device("install", signed(tmp_path / "dark"), "--json"))["slot"]
    assert "is installed, signed by" in device("install", tmp_path / "dark").stdout
    assert "is active; proven on" in device("activate", slot[:8]).stdout
    said = device("verify")
    assert said.exit_code == 0 and "segmenter.hair" in said.stdout and "proven on" in said.stdout
    assert "is active (factory)" in device("rollback").stdout
    assert device("dismiss").exit_code == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: unpacked(folder), "unsigned"),
        (lambda folder: sign_folder(unpacked(folder), OTHER_KEY), "trusted are"),
        (lambda folder: folder / "absent", "no such bundle"),
    ],
    ids=["unsigned", "wrong key", "absent"],
)
def test_what_is_not_to_be_installed_is_told_in_one_line(tmp_path, device, make, message):
    done = device("install", make(tmp_path / "dark"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr
    assert done.stderr.startswith("models install: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "state" / "models" / "slots").exists()


def _with_wrong_answers(folder):
    """A bundle in order, whose network answers otherwise than its golden data says."""
    unpacked(folder)
    forge(folder, {MODEL: sample_files()[MODEL].replace(b"\x00\x00\xc8B", b"\x00\x00\xa0B")})  # 100 becomes 80
    assert (folder / MODEL).read_bytes() != sample_files()[MODEL]
    return sign_folder(folder)


def test_a_bundle_that_answers_otherwise_here_is_not_activated(tmp_path, device):
    slot = _json(device("install", _with_wrong_answers(tmp_path / "dark"), "--json"))["slot"]
    done = device("activate", slot)
    assert done.exit_code == 1
    assert "segmenter" in done.stderr
    assert _json(device("list", "--json"))["source"] == "factory"
    said = device("verify", slot, "--json")
    assert said.exit_code == 1
    assert json.loads(said.stdout)["passed"] is False
    assert "NOT proven" in device("verify", slot).stdout


def test_a_folder_is_verified_unsigned(tmp_path, device):
    found = _json(device("verify", unpacked(tmp_path / "dark"), "--json"))
    assert found["passed"] and found["proofs"][0]["schema"] == proofs.SCHEMA
    assert device("verify", "nobody").exit_code == 1
    (tmp_path / "dark" / GOLDEN).unlink()
    done = device("verify", tmp_path / "dark")
    assert done.exit_code == 1 and GOLDEN in done.stderr


def test_a_name_that_no_file_can_have_is_told(device):
    done = device("verify", "a" * 5000)
    assert done.exit_code == 1 and "no such slot or name" in done.stderr


def test_what_the_configuration_names_serves_instead_and_is_said_to(tmp_path, device):
    slot = _json(device("install", signed(tmp_path / "dark"), "--json"))["slot"]
    config = tmp_path / "trichoscope.toml"
    config.write_text(f'[analysis]\nbundle = "{unpacked(tmp_path / "mine", name="mine")}"\n' + config.read_text())
    assert _json(device("list", "--json"))["source"] == "configured"
    for words in (("activate", slot), ("rollback",)):
        done = device(*words)
        assert done.exit_code == 0 and "take it out of the configuration" in done.stderr
    assert device("verify", "--json").stdout.startswith('{"bundle": "mine/')


def test_there_is_no_roll_back_to_what_cannot_serve(tmp_path, device):
    slots = [_json(device("install", signed(tmp_path / f"{release}", release), "--json"))["slot"] for release in (1, 2)]
    for slot in slots:
        assert device("activate", slot).exit_code == 0
        state = tmp_path / "state" / "models" / "state.json"
        state.write_text(json.dumps(json.loads(state.read_text()) | {"trial": None}))
    (tmp_path / "state" / "models" / "slots" / slots[0] / MODEL).write_bytes(b"rust")
    before = state.read_text()
    done = device("rollback")
    assert done.exit_code == 1 and "models activate factory" in done.stderr
    assert state.read_text() == before
    assert device("activate", "factory").exit_code == 0
    assert _json(device("list", "--json"))["source"] == "factory"


def test_engines_are_built_in_the_state_folder_by_the_configured_python(tmp_path, device, monkeypatch):
    asked = {}
    config = tmp_path / "trichoscope.toml"
    config.write_text('[inference]\npython = "/opt/jetpack/bin/python3"\nprecision = "int8"\nweakly_typed = true\n' + config.read_text())

    def build_engines(bundle, folder, *, precision, weak, again, on_progress, command):
        asked.update(bundle=bundle.id, folder=folder, precision=precision, weak=weak, again=again)
        assert command.arguments()[:2] == ["/opt/jetpack/bin/python3", "-I"]
        on_progress("segmenter", 0.5, "layers")
        return ()

    monkeypatch.setattr(building, "build_engines", build_engines)
    found = _json(device("build", unpacked(tmp_path / "dark"), "--precision", "fp16", "--again", "--json"))
    assert found == {"bundle": asked["bundle"], "engines": []}
    assert (asked["folder"], asked["precision"], asked["weak"], asked["again"]) == (tmp_path / "state" / "engines", "fp16", True, True)
    assert device("build", tmp_path / "dark").exit_code == 0
    assert (asked["precision"], asked["weak"], asked["again"]) == ("int8", True, False)


def test_without_tensorrt_building_says_what_is_missing(tmp_path, device):
    done = device("build", unpacked(tmp_path / "dark"))
    assert done.exit_code == 1
    assert done.stderr.strip().splitlines()[-1].startswith("models build: ")
    done = device("verify", tmp_path / "dark", "--backend", "tensorrt")
    assert done.exit_code == 1
    config = tmp_path / "trichoscope.toml"
    config.write_text('[inference]\npython = "/nowhere/python3"\n' + config.read_text())
    done = device("verify", tmp_path / "dark", "--backend", "tensorrt")
    assert done.exit_code == 1 and "/nowhere/python3 cannot be started" in done.stderr


def test_a_wrong_configuration_is_told(tmp_path):
    config = tmp_path / "trichoscope.toml"
    config.write_text('[models]\ntrusted_keys = ["ssh-ed25519 AAAA"]\n')
    done = CliRunner().invoke(build("models"), ["models", "list", "--config", str(config)])
    assert done.exit_code == 1 and "not a public key" in done.stderr


def test_the_command_starts_without_heavy_libraries():
    import subprocess

    program = "import sys, runtime.commands.models; print([m for m in ('onnxruntime', 'cv2', 'cryptography', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
