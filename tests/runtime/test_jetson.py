"""`trichoscope doctor jetson`: other machines laid out in a folder, each with its remedy."""

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runtime import jetson
from runtime.cli import build

STATUS = (
    "Package: bash\nStatus: install ok installed\nVersion: 5.1\n\nPackage: nvidia-jetpack\nStatus: ok\nArchitecture: arm64\nVersion: {}\n\n"
)
MEMINFO = "MemTotal:        {} kB\nMemAvailable:    4000000 kB\nSwapTotal:       {} kB\n"


def _lay_out(
    root,
    *,
    board="NVIDIA Jetson Orin Nano Engineering Reference Developer Kit",
    jetpack="6.2+b77",
    mode=0,
    memory=8_000_000,
    swap=4_000_000,
):
    files = {
        "proc/device-tree/model": board + "\0",
        "var/lib/dpkg/status": STATUS.format(jetpack) if jetpack else "Package: bash\nVersion: 5.1\n\n",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\n",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN_SUPER >\n< POWER_MODEL ID=1 NAME=15W >\n",
        "var/lib/nvpmodel/status": f"pmode:{mode:04}\n",
        "proc/meminfo": MEMINFO.format(memory, swap),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def _told(version):
    return json.dumps({"tensorrt": version, "pycuda": "2025.1", "gpu": "Orin"})


def _checks(root, answer=_told("10.3.0")):
    def ask(command):
        assert (command[0], command[1], command[-1]) == ("/opt/jetpack/bin/python3", "-I", "--probe")
        if isinstance(answer, Exception):
            raise answer
        return answer

    return {check.name: check for check in jetson.check_jetson(root, ask, python=Path("/opt/jetpack/bin/python3"))}


def test_a_jetson_in_order(tmp_path):
    found = _checks(_lay_out(tmp_path))
    wanted = ("board", "JetPack", "TensorRT", "power mode", "memory", "swap")
    assert {name: found[name].verdict for name in wanted} == dict.fromkeys(wanted, "good")
    assert found["JetPack"].found == "6.2+b77 L4T 36.4.3" and "JetPack 6.1 or 6.2" in found["TensorRT"].found
    assert found["power mode"].found == "MAXN_SUPER"


@pytest.mark.parametrize(
    ("change", "name", "verdict", "words"),
    [
        ({"board": "Raspberry Pi 5"}, "board", "bad", "no Jetson"),
        ({"jetpack": "5.1.2"}, "JetPack", "note", "nvidia-jetpack"),
        ({"jetpack": ""}, "JetPack", "note", "apt-get install nvidia-jetpack"),
        ({"jetpack": "rev6"}, "JetPack", "note", "nvidia-jetpack"),
        ({"mode": 1}, "power mode", "note", "15W: nvpmodel -m 0"),
        ({"mode": 7}, "power mode", "note", "mode 7"),
        ({"memory": 2_000_000}, "memory", "bad", "3.5 GB"),
        ({"swap": 0}, "swap", "note", "add a swap file"),
    ],
)
def test_what_is_amiss_is_named_with_its_remedy(tmp_path, change, name, verdict, words):
    found = _checks(_lay_out(tmp_path, **change))[name]
    assert found.verdict == verdict and words in found.found


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (_told("10.13.3.9"), "good", "JetPack 7"),
        (_told("11.4.0"), "good", "7.2 or newer"),
        (_told("10.30.1"), "note", "was not looked at"),
        ("nonsense\n", "bad", "no version"),
        ('{"tensorrt": "10.3"}', "bad", "no version"),
        (FileNotFoundError(2, "No such file"), "bad", "apt-get install"),
        (subprocess.TimeoutExpired("python3", 20), "bad", "timed out"),
        (
            subprocess.CalledProcessError(1, "python3", stderr="Traceback\nModuleNotFoundError: No module named 'tensorrt'\n"),
            "bad",
            "No module named",
        ),
    ],
)
def test_tensorrt_is_asked_in_its_own_python(tmp_path, answer, verdict, words):
    found = _checks(_lay_out(tmp_path), answer)["TensorRT"]
    assert found.verdict == verdict and words in found.found


def test_an_older_system_is_refused(tmp_path):
    _lay_out(tmp_path, jetpack="5.1.2")
    (tmp_path / "etc/nv_tegra_release").write_text("# R35 (release), REVISION: 4.1, GCID: 1\n")
    found = _checks(tmp_path)["JetPack"]
    assert found.verdict == "bad" and "5.1.2 L4T 35.4.1" in found.found


def test_an_empty_machine_says_so_everywhere(tmp_path):
    found = _checks(tmp_path, OSError("nothing"))
    assert {found[name].verdict for name in ("board", "JetPack", "TensorRT", "memory")} == {"bad"}


def test_the_command_tells_as_json_and_by_its_exit_code(monkeypatch):
    monkeypatch.setattr(jetson, "_ask", lambda command: _told("10.3.0"))
    outcome = CliRunner().invoke(build("doctor"), ["doctor", "jetson", "--json"])
    told = json.loads(outcome.stdout)
    assert told["ok"] == (outcome.exit_code == 0)
    assert [check["name"] for check in told["checks"]][:2] == ["board", "JetPack"]
