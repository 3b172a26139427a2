"""The daemon as a process of its own: what it says when it cannot start, and that it ends leaving nothing behind."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import httpx
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from runtime.daemon import DaemonError, StopRequestedError, StopSignal
from runtime.workers import watchdog
from tests.eventually import DEADLINE_S, eventually
from tests.runtime.drawn import skin
from tests.runtime.running_daemon import running

PROGRAM = (sys.executable, "-m", "runtime.cli", "run")


@pytest.fixture
def pictures(tmp_path):
    """A folder of two small pictures to replay."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(folder / f"{name}.jpg"), skin(160, 120))
    return folder


def arguments(tmp_path, camera, *more, port=0):
    return [*PROGRAM, "--camera", str(camera), "--port", str(port), "--state", str(tmp_path / "state"), *more]


@contextlib.contextmanager
def started(tmp_path, camera, *more, **environment):
    """The running process and the address that it printed."""
    process = subprocess.Popen(
        arguments(tmp_path, camera, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TRICHOSCOPE_STORE__RESERVE_MB": "0", **environment},
    )
    try:
        line = process.stdout.readline()
        if not line.startswith("Trichoscope: http://"):
            pytest.fail(f"printed {line!r}: {process.communicate(timeout=DEADLINE_S)[1]}")
        yield process, line.split()[1]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=DEADLINE_S)


def refused(tmp_path, camera, *more, port=0):
    """The exit code and the last line on stderr of a daemon that cannot start."""
    done = subprocess.run(
        arguments(tmp_path, camera, *more, port=port), capture_output=True, text=True, timeout=3 * DEADLINE_S, check=False
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip().splitlines()[-1]


async def look_and_signal(address, process, number):
    """Watch the page's stream, send the signal, and watch on until the daemon ends it."""
    async with connect(address.replace("http", "ws") + "api/live", compression=None, max_size=None) as page:
        await page.recv()
        process.send_signal(number)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await page.recv()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_leaving_nothing_behind(tmp_path, pictures, number):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with (
        started(tmp_path, f"replay:{pictures}", TMPDIR=str(temporary)) as (process, address),
        httpx.Client(base_url=address, timeout=DEADLINE_S) as client,
    ):
        eventually(lambda: client.get("/api/status").json()["results"])
        assert client.post("/api/captures", json={}).status_code == 201
        asyncio.run(asyncio.wait_for(look_and_signal(address, process, number), DEADLINE_S))
        _, log = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert "Traceback" not in log
    assert "did not" not in log  # no part had to be left running
    assert not list(temporary.iterdir())
    left = {file.name for file in (tmp_path / "state").rglob("*") if file.is_file()}
    assert not {name for name in left if name.endswith((".tmp", "-wal", "-shm")) or name.startswith(".")}
    port = int(address.rstrip("/").rpartition(":")[2])
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_a_signal_while_it_starts_ends_it(tmp_path, pictures):
    process = subprocess.Popen(arguments(tmp_path, f"replay:{pictures}"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: (tmp_path / "state").exists() or process.poll() is not None)
    process.terminate()
    _, log = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert "Traceback" not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_the_start_and_is_never_lost_after_it(number):
    asked = []
    stop_signal = StopSignal(lambda: asked.append(1))
    with stop_signal.caught():
        with pytest.raises(StopRequestedError):
            signal.raise_signal(number)
        stop_signal.stop_gently()
        signal.raise_signal(number)  # the server is made, but does not take signals yet
        assert asked == [1]


def test_a_damaged_database_is_told(tmp_path, pictures):
    with started(tmp_path, f"replay:{pictures}") as (process, address), httpx.Client(base_url=address, timeout=DEADLINE_S) as client:
        eventually(lambda: client.get("/api/status").json()["results"])
        assert client.post("/api/captures", json={}).status_code == 201
        process.terminate()
        process.communicate(timeout=DEADLINE_S)
    (tmp_path / "state" / "captures.sqlite").write_bytes(b"this is no database" * 1000)
    with started(tmp_path, f"replay:{pictures}") as (_, address), httpx.Client(base_url=address, timeout=DEADLINE_S) as client:
        notice = client.get("/api/status").json()["store_notice"]
        assert "found damaged" in notice
        assert "captures taken back from their files: 1;" in notice
        assert len(client.get("/api/captures").json()["captures"]) == 1
        assert notice in client.get("/health").text


def test_a_port_in_use_is_named_with_the_remedy(tmp_path, pictures):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        code, said = refused(tmp_path, f"replay:{pictures}", port=port)
    assert code == 1
    assert f"port {port} of 127.0.0.1 is in use" in said
    assert "--port" in said
    assert not (tmp_path / "state").exists()  # told before anything else was touched


def test_an_unwritable_state_folder_is_named_with_the_remedy(tmp_path, pictures):
    (tmp_path / "state").write_text("a file, where the folder should be")
    code, said = refused(tmp_path, f"replay:{pictures}")
    assert code == 1
    assert str(tmp_path / "state") in said
    assert said.startswith("trichoscope run: store: ")


def test_a_state_folder_in_use_is_named(tmp_path, pictures):
    with started(tmp_path, f"replay:{pictures}") as (process, _):
        code, said = refused(tmp_path, f"replay:{pictures}")
        assert code == 1
        assert f"in use by process {process.pid}" in said


@pytest.mark.parametrize(
    ("camera", "code", "named"),
    [("microscope:7", 2, "microscope:7"), ("replay:{pictures}?fps=fast", 1, "fps=fast"), ("replay:{pictures}?speed=2", 1, "speed")],
)
def test_an_address_that_is_no_camera_is_named(tmp_path, pictures, camera, code, named):
    found, said = refused(tmp_path, camera.format(pictures=pictures))
    assert found == code
    assert named in said


def test_an_unknown_key_of_the_configuration_is_named_with_file_and_line(tmp_path, pictures):
    file = tmp_path / "trichoscope.toml"
    file.write_text("[server]\nprot = 1\n")
    code, said = refused(tmp_path, f"replay:{pictures}", "--config", str(file))
    assert code == 2
    assert said.startswith(f"{file}:2: server.prot")


def test_a_camera_that_is_not_there_is_a_state_and_comes_back(tmp_path, pictures):
    away = pictures.rename(tmp_path / "away")
    with started(tmp_path, f"replay:{pictures}") as (process, address), httpx.Client(base_url=address, timeout=DEADLINE_S) as client:
        eventually(lambda: client.get("/api/status").json()["camera"]["state"] == "absent")
        assert str(pictures) in client.get("/api/status").json()["camera"]["message"]
        assert client.get("/health").status_code == 200
        away.rename(pictures)
        eventually(lambda: client.get("/api/status").json()["results"])
        assert process.poll() is None


def test_a_replay_that_ends_leaves_the_daemon_serving(tmp_path, pictures):
    with started(tmp_path, f"replay:{pictures}?loop=0") as (process, address), httpx.Client(base_url=address, timeout=DEADLINE_S) as client:
        eventually(lambda: client.get("/api/status").json()["camera"]["state"] == "ended")
        assert client.get("/health").status_code == 200
        assert client.post("/api/captures", json={}).status_code == 201  # the last picture is still there
        assert process.poll() is None


def test_a_part_that_gives_up_ends_the_daemon_and_is_named(tmp_path):
    settings = {"supervision.restart_budget": 0}
    with running(tmp_path, [ZeroDivisionError("oops")], settings=settings) as daemon:
        error = eventually(lambda: daemon.errors and daemon.errors[0])
    assert isinstance(error, DaemonError)
    assert str(error).startswith("capture: the driver of scripted: crashed")


def test_a_part_that_ends_because_the_daemon_does_has_not_given_up(tmp_path, monkeypatch):
    shutdown = uvicorn.Server.shutdown

    async def slow_shutdown(self, sockets=None):  # supervision looks many times while the parts end
        await asyncio.sleep(1.0)
        await shutdown(self, sockets)

    monkeypatch.setattr(uvicorn.Server, "shutdown", slow_shutdown)
    monkeypatch.setattr(watchdog, "LONGEST_CHECK_PERIOD_S", 0.02)
    with running(tmp_path) as daemon:
        daemon.until(lambda status: status["results"])
    assert not daemon.errors


HUNG = """
import sys, time
from device.simulated.camera import SimulatedCamera
def hang(self, timeout_s):
    print("hangs", flush=True)
    while True:
        time.sleep(0.01)
SimulatedCamera._read = hang
from runtime.cli import main
sys.argv[0] = "trichoscope"
main()
"""


def test_a_thread_that_hangs_does_not_keep_it_from_ending(tmp_path):
    command = [sys.executable, "-c", HUNG, "run", "--camera", "simulated:?width=160&height=120", "--port", "0", "--state", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert "hangs\n" in (process.stdout.readline(), process.stdout.readline())  # and the address
        process.terminate()
        said = process.communicate(timeout=DEADLINE_S)[1]
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert "ended without waiting for capture" in said


def test_systemd_is_told_when_it_serves_and_when_it_stops(tmp_path, pictures):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(DEADLINE_S)
        environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "2000000", "JOURNAL_STREAM": "8:1"}
        with started(tmp_path, f"replay:{pictures}", **environment) as (process, _):
            told = []
            while "WATCHDOG=1" not in told:
                told.append(manager.recv(4096).decode())
            process.terminate()
            _, log = process.communicate(timeout=DEADLINE_S)
            while told[-1] != "STOPPING=1":
                told.append(manager.recv(4096).decode())
    assert told[0] == "READY=1"
    assert all(line.startswith("{") and line.endswith("}") for line in log.splitlines())  # JSON for the journal


def test_the_daemon_imports_nothing_of_the_workstation_and_no_test_library():
    heavy = ["torch", "onnx", "sklearn", "playwright", "pytest", "matplotlib", "rich.progress"]
    program = f"import sys, runtime.daemon; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path("/"), timeout=60, check=True)
    assert done.stdout.strip() == "[]"
