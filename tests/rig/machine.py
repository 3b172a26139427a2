"""The guest: where the rig is, its image, the folder it shares with us, our drivers in it, a camera plugged in."""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
NEEDED = ("qemu-system-x86_64", "qemu-img", "mke2fs")
IMAGE = ("base.qcow2", "vmlinuz", "initrd.img")
GUEST_PYTHON = "3.11"  # Debian 12; numpy, OpenCV and pyserial lie in the image
WHEELS = ("pillow", "typing-extensions", "pydantic", "pydantic-core", "annotated-types", "typing-inspection", "structlog")
PACKAGES = ("device", "calib", "runtime")
SAMPLES = ("__init__.py", "runtime/__init__.py", "runtime/store_samples.py")  # of tests/
BUILD_S = 1800.0
BOOT_S = 400.0
PLUG_S = 90.0
PICTURES = 12


class Unavailable(Exception):  # noqa: N818 - no error: the test is skipped
    """The rig cannot run here; the message says why."""


class Machine:
    """A guest on one folder of disks. `guest` and `camera` are the rig's own objects."""

    def __init__(self, make_guest: Callable[[], Any], camera: Any, out: Path) -> None:
        self._make_guest = make_guest
        self.camera = camera
        self.out = out
        self.guest: Any = None

    def boot(self) -> None:
        """Start the guest, on the disks as they were left, and wait until it answers."""
        self.guest = self._make_guest()
        self.guest.wait(BOOT_S)
        self.sh("systemctl start mnt-host.mount mnt-out.mount")

    def cut_power(self) -> None:
        """The guest is gone from one moment to the next, and the camera with it."""
        self.camera.unplug()
        self.guest.kill()

    def sh(self, command: str) -> str:
        """What a shell command in the guest prints; its status is of no interest."""
        text: str = self.guest.sh(command)[1]
        return text

    def start(self, program: str, *arguments: str) -> int:
        """Start a program of `guest/` with our drivers on its path; its process number for the rig's `result`."""
        line = shlex.join(["/opt/venv/bin/python", f"/mnt/host/guest/{program}", *arguments])
        process: int = self.guest.start(f"PYTHONPATH=/mnt/host:/mnt/host/site PYTHONDONTWRITEBYTECODE=1 exec {line}")
        return process


@contextmanager
def booted() -> Iterator[Machine]:
    """A guest with its camera plugged in and its handpiece's adapter there; powered off at the end.

    Raises:
        Unavailable: no rig, no QEMU, or the image is missing and cannot be built here.
    """
    rig, work = _places()
    _build_image(rig, work)
    os.environ["RIG_WORK"] = str(work)
    sys.path.insert(0, str(rig))
    guest_module, camera_module = importlib.import_module("rig"), importlib.import_module("uvccam")
    run = work / "rig-test"
    shutil.rmtree(run, ignore_errors=True)
    share, out = run / "share", run / "out"
    out.mkdir(parents=True)
    _fill(share)
    camera = camera_module.Camera(camera_module.load(str(share / "pictures")))
    machine = Machine(lambda: guest_module.Guest(run=str(run), share=str(share), out=str(out)), camera, out)
    try:
        machine.boot()
        camera.plug(machine.guest.path("cam0"))
        _wait_for_devices(machine)
        yield machine
        if camera.alive:
            camera.unplug()
        machine.guest.poweroff()
    finally:
        if machine.guest is not None and machine.guest.proc.poll() is None:
            machine.guest.kill()


def _places() -> tuple[Path, Path]:
    rig = Path(os.environ.get("RIG") or REPOSITORY.parent / "shared" / "rig").resolve()
    if not (rig / "rig.py").exists():
        raise Unavailable(f"no rig at {rig}: name its folder in RIG")
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        raise Unavailable(f"{', '.join(missing)} missing: apt-get install qemu-system-x86 qemu-utils mmdebstrap e2fsprogs")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return rig, Path(os.environ.get("RIG_WORK") or cache / "trichoscope-rig").resolve()


def _build_image(rig: Path, work: Path) -> None:
    if all((work / name).exists() for name in IMAGE):
        return
    if os.geteuid() != 0:
        raise Unavailable(f"no image in {work}, and only root can build it: RIG_WORK={work} {rig}/build-image.sh")
    work.mkdir(parents=True, exist_ok=True)
    log = work / "build.log"
    print(f"rig-test: building the guest's image in {work}, once, 2 to 8 minutes; see {log.name} there", file=sys.stderr)
    with log.open("wb") as file:
        try:
            subprocess.run(
                [str(rig / "build-image.sh")],
                env={**os.environ, "RIG_WORK": str(work)},
                stdout=file,
                stderr=file,
                timeout=BUILD_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"the guest's image could not be built ({error}): read {log}") from error


def _fill(share: Path) -> None:
    """Our program, what it needs beyond the image, the programs of `guest/`, and the pictures that the camera sends."""
    leave_out = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, share / package, ignore=leave_out)
    for name in SAMPLES:
        (share / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "tests" / name, share / "tests" / name)
    about = share / "site" / "trichoscope.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: trichoscope\nVersion: {version('trichoscope')}\n")
    shutil.copytree(Path(__file__).parent / "guest", share / "guest", ignore=leave_out)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    pip += ["--python-version", GUEST_PYTHON, "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64"]
    pip += ["-c", str(REPOSITORY / "constraints" / "versions.txt"), "--target", str(share / "site"), *WHEELS]
    try:
        subprocess.run(pip, check=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"no wheels for the guest ({error}): a package index is needed") from error
    pictures = share / "pictures" / "640x480"
    pictures.mkdir(parents=True)
    for number in range(PICTURES):
        (pictures / f"{number:03d}.jpg").write_bytes(_picture(number))


def _picture(number: int) -> bytes:
    """A JPEG, 640×480, 4:2:2 as UVC cameras send it, whose coded data is in every part of it unlike zeros."""
    noise = np.random.default_rng(number).integers(0, 256, (480, 640, 3), np.uint8)
    picture = cv2.GaussianBlur(noise, (0, 0), 2)
    options = [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422]
    return bytes(cv2.imencode(".jpg", picture, options)[1])


def _wait_for_devices(machine: Machine) -> None:
    deadline = time.monotonic() + PLUG_S
    while time.monotonic() < deadline:
        if len(machine.sh("ls -d /dev/v4l/by-id/*index0 /dev/serial/by-id/* 2>/dev/null").split()) == 2:
            return
        time.sleep(0.5)
    raise RuntimeError(f"the guest has no camera or no serial adapter after {PLUG_S:g} s: {machine.sh('ls /dev; dmesg | tail -20')}")
