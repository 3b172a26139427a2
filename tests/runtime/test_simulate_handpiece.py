"""`trichoscope simulate handpiece` as a program of its own, with the driver at its terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from device.handpiece.handpiece import Handpiece
from device.handpiece.uri import parse_handpiece_uri
from device.simulated.following import read_state
from runtime.commands.simulate import app
from tests.eventually import eventually

PROGRAM = [sys.executable, "-m", "runtime.cli", "simulate", "handpiece"]


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The program and the path that it printed; ended by Ctrl-C, and it must end well."""
    process = subprocess.Popen([*PROGRAM, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().decode().strip()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0 and b"Traceback" not in said, said.decode()
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_it_can_be_opened_until_ctrl_c(tmp_path: Path) -> None:
    link = tmp_path / "handpiece"
    with running("--script", "contact:5", "--link", str(link)) as (_, path):
        assert path == str(link)
        with Handpiece(parse_handpiece_uri(f"pty:{path}")) as handpiece:
            assert handpiece.wait_until_ready(30).identity is not None
            assert handpiece.set_light("white", 30) == 30
            assert eventually(lambda: handpiece.latest()).status in ("valid", "no-target")
    assert not link.is_symlink()


def test_it_tells_the_microscope_where_the_hand_is_until_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "hand"
    with running("--script", "contact:60", "--follow", str(file)) as (_, path):
        with Handpiece(parse_handpiece_uri(f"pty:{path}")) as handpiece:
            handpiece.wait_until_ready(30)
            handpiece.set_light("white", 30)
            eventually(lambda: (state := read_state(file)) and state.lights and state.lights["white"] == 30)
        state = read_state(file)
        assert state is not None and state.distance_mm < 151 and state.monotonic_s <= time.monotonic()
    assert not list(tmp_path.iterdir())


def test_keys_lead_the_hand() -> None:
    with running("--keys") as (process, path), Handpiece(parse_handpiece_uri(f"pty:{path}")) as handpiece:
        handpiece.wait_until_ready(30)
        assert process.stdin is not None
        process.stdin.write(b"c? ")
        process.stdin.flush()
        edge = handpiece.next_edge(20)
        assert edge is not None and edge.pressed
        eventually(lambda: (reading := handpiece.latest()) and reading.distance_mm and abs(reading.distance_mm - 18) < 1)


def test_it_ends_with_its_keys_and_with_sigterm(tmp_path: Path) -> None:
    done = subprocess.run([*PROGRAM, "--keys"], input=b"aq", capture_output=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout.startswith(b"/dev/") and b"approach" in done.stderr
    link = tmp_path / "handpiece"
    process = subprocess.Popen([*PROGRAM, "--link", str(link)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        eventually(link.exists)
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 0 and not os.path.lexists(link)
    finally:
        process.kill()
        process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--script", "jump"], "jump"),
        (["--script", "rest", "--keys"], "either a"),
        (["--rate", "1000"], "rate"),
        (["--speaks", "morse"], "speaks"),
        (["--link", "/dev/null"], "no link"),
        (["--follow", "/dev/null"], "no hand"),
    ],
)
def test_what_cannot_be_is_a_usage_error(options: list[str], named: str) -> None:
    result = CliRunner().invoke(app, ["handpiece", *options])
    assert result.exit_code == 2 and named in result.output


@pytest.mark.parametrize("option", ["--link", "--follow"])
def test_a_file_that_cannot_be_written_is_an_error_with_a_remedy(option: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["handpiece", "--for", "1", option, str(tmp_path / "none" / "file")])
    assert result.exit_code == 1 and "link and file" in result.output
