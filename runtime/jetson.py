"""What must be in order on a Jetson: the checks behind `trichoscope doctor jetson`, read from files of the system alone.

Files are read below `root`, so that a test can lay out another machine. Sources: `/proc/device-tree/model`, `/etc/nv_tegra_release`
and the packages of JetPack (NVIDIA Jetson Linux Developer Guide), `/var/lib/nvpmodel/status` (nvpmodel), `/proc/meminfo`, `/proc/swaps`.
"""

from __future__ import annotations

import grp
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from runtime.checkup import Check
from runtime.inference.tensorrt.process import WorkerCommand

MAX_BYTES = 32 * 1024 * 1024  # dpkg's status file is some megabytes
LEAST_MEMORY_GB, LEAST_SWAP_GB = 3.5, 2.0
ASK_DEADLINE_S = 20.0
PACKAGES = {"10.3": "JetPack 6.1 or 6.2", "10.13": "JetPack 7", "11": "JetPack 7.2 or newer"}
DEVICES = (("camera", "video", "/dev/video0"), ("serial port", "dialout", "/dev/ttyUSB0"))

Asked = Callable[[list[str]], str]


def check_jetson(root: Path = Path("/"), ask: Asked | None = None, *, python: Path | None = None) -> list[Check]:
    """Every check of a Jetson; `ask` runs a command and gives what it prints, raising OSError or SubprocessError.

    `python`: the worker's interpreter as the configuration names it.
    """
    ask = ask or _ask
    return [
        check_board(root),
        check_jetpack(root),
        check_python(),
        check_tensorrt(ask, WorkerCommand.configured(python)),
        check_power_mode(root),
        *check_memory(root),
        *(check_group(root, *each) for each in DEVICES),
    ]


def check_board(root: Path) -> Check:
    """Whether this is a Jetson at all."""
    model = _read(root / "proc/device-tree/model").rstrip("\0\n ")
    if "jetson" in model.lower() or "nvidia" in model.lower():
        return Check("board", "good", model)
    return Check(
        "board", "bad", f"{model or 'no board names itself'}: this is no Jetson: hair is measured by ONNX Runtime on the processor"
    )


def check_jetpack(root: Path) -> Check:
    """Which JetPack: it decides on Python and TensorRT."""
    status = _read(root / "var/lib/dpkg/status")
    package = re.search(r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: (\S+)", status, re.MULTILINE)
    release = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", _read(root / "etc/nv_tegra_release"))
    l4t = f"L4T {release[1]}.{release[2]}" if release else ""
    if package and _number(package[1]) >= 6:
        return Check("JetPack", "good", " ".join(filter(None, [package[1], l4t])))
    if release and int(release[1]) >= 36:
        return Check(
            "JetPack", "note", f"{l4t}, the package nvidia-jetpack is not installed: apt-get install nvidia-jetpack brings TensorRT"
        )
    found = " ".join(filter(None, [package[1] if package else "", l4t])) or "none found"
    return Check("JetPack", "bad", f"{found}: JetPack 6 or 7 is needed: flash the device with NVIDIA's SDK Manager")


def check_python() -> Check:
    """Whether our Python has wheels for the device."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] in ((3, 10), (3, 12)):
        return Check("Python", "good", found)
    return Check("Python", "note", f"{found}: JetPack 6 brings 3.10 and JetPack 7 3.12; others work where wheels can be had")


def check_tensorrt(ask: Asked, worker: WorkerCommand) -> Check:
    """Whether `worker`, the daemon's, finds the driver, a GPU, TensorRT and pycuda: it is asked itself, and constructs nothing."""
    try:
        answer = ask([*worker.arguments(), "--probe"])
    except (OSError, subprocess.SubprocessError) as problem:
        why = str(getattr(problem, "stderr", "") or problem).strip().rpartition("\n")[2]
        return Check("TensorRT", "bad", f"{why[:200]}: apt-get install nvidia-jetpack, then pip install trichoscope[jetson] for pycuda")
    try:
        told = json.loads(answer)
        version, pycuda, gpu = (str(told[key]) for key in ("tensorrt", "pycuda", "gpu"))
    except (ValueError, KeyError, TypeError):
        return Check("TensorRT", "bad", f"{answer[:200]!r} names no version: install nvidia-jetpack anew")
    known = next((name for prefix, name in PACKAGES.items() if version == prefix or version.startswith(prefix + ".")), None)
    if known is None:
        return Check(
            "TensorRT", "note", f"{version}, pycuda {pycuda}, {gpu}: written against {', '.join(PACKAGES)}; this one was not looked at"
        )
    return Check("TensorRT", "good", f"{version} ({known}), pycuda {pycuda}, {gpu}")


def check_power_mode(root: Path) -> Check:
    """Which power mode is set; the default of some boards halves the speed."""
    status = _read(root / "var/lib/nvpmodel/status")
    mode = re.search(r"pmode:(\d+)", status)
    if mode is None:
        return Check("power mode", "note", "not told: ask with nvpmodel -q")
    names = dict(re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", _read(root / "etc/nvpmodel.conf")))
    number = str(int(mode[1]))
    name = names.get(number, f"mode {number}")
    if number == "0" or "MAXN" in name.upper():
        return Check("power mode", "good", name)
    return Check("power mode", "note", f"{name}: nvpmodel -m 0 gives full speed where power and cooling allow it")


def check_memory(root: Path) -> list[Check]:
    """Whether there is memory, and swap for building engines."""
    figures = {key: int(value) for key, value in re.findall(r"^(\w+):\s+(\d{1,15}) kB", _read(root / "proc/meminfo"), re.MULTILINE)}
    checks = []
    total, swap = figures.get("MemTotal", 0) / 2**20, figures.get("SwapTotal", 0) / 2**20
    free = figures.get("MemAvailable", 0) / 2**20
    verdict = f"{total:.1f} GB, {free:.1f} GB available"
    if total < LEAST_MEMORY_GB:
        checks.append(Check("memory", "bad", f"{verdict}: at least {LEAST_MEMORY_GB:g} GB are needed"))
    else:
        checks.append(Check("memory", "good", verdict))
    if swap < LEAST_SWAP_GB:
        what = f"{swap:.1f} GB: building an engine may need {LEAST_SWAP_GB:g} GB: add a swap file"
        checks.append(Check("swap", "note", what))
    else:
        checks.append(Check("swap", "good", f"{swap:.1f} GB"))
    return checks


def check_group(root: Path, device: str, group: str, node: str) -> Check:
    """Whether this user may open a device of `group`."""
    name = f"{device} permission"
    try:
        wanted = grp.getgrnam(group).gr_gid
    except KeyError:
        return Check(name, "bad", f"there is no group {group}: addgroup --system {group}")
    if os.geteuid() == 0:
        return Check(name, "note", "root may open everything: look again as the daemon's user")
    if wanted in os.getgroups():
        return Check(name, "good", f"this user is in the group {group}")
    path = root / node.lstrip("/")
    if path.exists() and os.access(path, os.R_OK | os.W_OK):
        return Check(name, "good", f"{node} may be opened")
    return Check(name, "bad", f"this user is not in the group {group}: usermod -aG {group} USER, then log in anew")


def _number(version: str) -> int:
    """What a version begins with, 0 where that is no number."""
    found = re.match(r"\d{1,6}", version)
    return int(found[0]) if found else 0


def _read(path: Path) -> str:
    """The text of a system file, "" where it is not there or may not be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _ask(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_DEADLINE_S, check=True, stdin=subprocess.DEVNULL)
    return done.stdout
