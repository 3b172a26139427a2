import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.inference.tensorrt import process
from runtime.inference.tensorrt.errors import RefusedError, UnfitInputError, WorkerError
from runtime.inference.tensorrt.process import BUILDER, MAX_LINE, WORKER, WorkerCommand, WorkerProcess
from tests.eventually import eventually
from tests.runtime.tensorrt_standins import STANDIN, command

PROGRAMS = {WORKER: {"numpy", "tensorrt", "pycuda"}, BUILDER: {"tensorrt"}}
programs = pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)


@programs
def test_the_programs_import_nothing_of_ours(program):
    names, source = set(), program.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(str(node.module).partition(".")[0])
        if isinstance(node, ast.Call):
            assert getattr(node.func, "id", "") not in ("__import__", "exec", "eval"), ast.unparse(node)
    assert "importlib" not in names
    assert names - sys.stdlib_module_names == PROGRAMS[program]


@programs
def test_only_a_stand_in_is_run_from_a_path(program):
    source = program.read_text()
    uses = [line.strip() for line in source.splitlines() if re.search(r"runpy\.|sys\.path", line)]
    assert len(uses) == 2, uses
    guard = source.index("if standin is not None:")
    assert all(guard < source.index(use) < source.index("else:", guard) for use in uses)


@programs
def test_the_programs_are_written_for_python_3_8(program):
    ast.parse(program.read_text(), feature_version=(3, 8))
    assert "removeprefix" not in program.read_text() and "strict=" not in program.read_text()


@programs
def test_the_programs_run_alone(program, tmp_path):
    """From a copy: nothing beside the file is needed."""
    copy = tmp_path / "alone.py"
    copy.write_bytes(program.read_bytes())
    found = subprocess.run([sys.executable, "-I", str(copy), "--help"], capture_output=True, text=True, timeout=30, cwd="/")
    assert found.returncode == 0 and found.stderr == ""
    assert "a program of one file" in found.stdout
    assert subprocess.run([sys.executable, "-I", str(copy), "--control"], capture_output=True, timeout=30).returncode == 2


def test_no_setting_names_a_stand_in():
    for path in Path(process.__file__).parents[2].rglob("*.py"):
        measures = path.name == "bench_inference.py" or (path.parent.name == "inference" and path.parents[1].name == "bench")
        if path.name not in ("process.py", "worker.py", "builder.py") and not measures:
            assert not re.search(r"\bstandin\b", path.read_text()), path


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a GPU")
def test_the_probe_says_what_is_missing_without_touching_tensorrt():
    found = subprocess.run([sys.executable, "-I", str(WORKER), "--probe"], capture_output=True, text=True, timeout=30)
    assert found.returncode == 1
    assert "no NVIDIA driver" in found.stderr and found.stdout == ""


def test_the_probe_tells_the_machine():
    found = subprocess.run(
        [sys.executable, "-I", str(WORKER), "--probe", "--standin", str(STANDIN)], capture_output=True, text=True, timeout=30
    )
    told = json.loads(found.stdout)
    assert (told["gpu"], told["compute"], told["tensorrt"], told["protocol"]) == ("Stand-in GPU", "8.7", "10.3.0", 1)


def test_no_gpu_is_told_and_no_runtime_made(monkeypatch):
    monkeypatch.setenv("STANDIN_DRIVER", "none")
    worker = WorkerProcess(command(), "w")
    with pytest.raises(RefusedError, match="cuInit answered CUDA error 100") as caught:
        worker.start()
    assert caught.value.kind == "driver"
    assert worker.pid is None


@pytest.mark.parametrize(("file", "kind"), [("tensorrt.py", "library"), ("pycuda", "library")])
def test_a_missing_library_is_named(tmp_path, file, kind):
    for path in STANDIN.iterdir():
        if path.name not in (file, "__pycache__"):
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(RefusedError, match=f"{file.partition('.')[0]} cannot be imported") as caught:
        WorkerProcess(command(standin=tmp_path), "w").start()
    assert caught.value.kind == kind


def test_a_python_without_numpy_is_named(tmp_path):
    file = tmp_path / "worker.py"
    file.write_text(f"import sys, runpy; sys.modules['numpy'] = None; runpy.run_path({str(WORKER)!r}, run_name='__main__')")
    with pytest.raises(RefusedError, match="has no numpy: name a Python") as caught:
        WorkerProcess(command(file=file), "w").start()
    assert caught.value.kind == "library"


def test_a_python_that_is_not_there_is_named():
    with pytest.raises(WorkerError, match="/nowhere/python3 cannot be started"):
        WorkerProcess(command(python="/nowhere/python3"), "w").start()


def test_a_request_out_of_turn_is_refused_and_the_worker_goes_on():
    worker = WorkerProcess(command(), "w")
    try:
        worker.start()
        for request in ({"do": "infer", "inputs": [], "room": 0}, {"do": "fly"}, {"do": "arena"}):
            with pytest.raises(UnfitInputError, match="cannot be done now"):
                worker.ask(request, deadline_s=10)
        with pytest.raises(WorkerError, match="cannot be asked"):
            worker.ask({"do": "x" * MAX_LINE}, deadline_s=10)
        assert worker.pid is None
    finally:
        worker.end()


def test_a_line_without_end_ends_the_worker():
    ours, theirs = socket.socketpair()
    line, their_line = socket.socketpair()
    descriptors = (theirs.fileno(), their_line.fileno())
    arguments = [sys.executable, "-I", str(WORKER), "--control", str(descriptors[0]), "--lifeline", str(descriptors[1])]
    with ours, theirs, line, their_line:
        found = subprocess.Popen(arguments, pass_fds=descriptors, stderr=subprocess.PIPE)
        theirs.close()
        ours.settimeout(20)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(64):
                ours.sendall(b"x" * MAX_LINE)
        assert b"a line longer than" in found.communicate(timeout=20)[1]
        assert found.returncode == 1


SPEAKER = """
import json, os, socket, sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
control = socket.socket(fileno=int(given["--control"]))
request = json.loads(control.recv(65536))
say = lambda content: control.sendall(content)
"""


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (r'say(b"\x00\xff garbage\n")', "no JSON"),
        ('say(b"[" * 50000 + b"\\n")', "no JSON"),
        ('say(b"[]\\n")', "something else than request 1"),
        ("say(b'{\"id\": 99}\\n')", "something else than request 1"),
        ('say(b\'{"id": 1, "protocol": 7}\\n\')', "protocol 7"),
        ('say(b"x" * 200000)', "without an end"),
        ('say(b\'{"id": 1, "progress": 0.5}\\n\')', "protocol None"),
        ('print("I am", "dying", file=sys.stderr, flush=True); sys.exit(3)', r"ended \(exit code 3\); it wrote: I am dying"),
        ("os.abort()", r"ended \(signal 6\)"),
        ("time.sleep(60)", "did not answer within 0.3 s"),
    ],
)
def test_a_worker_that_breaks_the_protocol_is_ended(tmp_path, monkeypatch, says, why):
    file = tmp_path / "speaker.py"
    file.write_text(SPEAKER + says + "\ntime.sleep(60)\n")
    monkeypatch.setattr(process, "START_DEADLINE_S", 0.3 if "sleep" in says else 20.0)
    worker = WorkerProcess(WorkerCommand(python=sys.executable, file=file), "w")
    with pytest.raises(WorkerError, match=why):
        worker.start()
    assert worker.pid is None


@pytest.mark.parametrize(
    ("says", "error", "why"),
    [
        ('say(b\'{"id": 1, "progress": "much"}\\n\')', WorkerError, "could not convert"),
        ('say(b\'{"id": 1, "progress": null}\\n\')', WorkerError, "float"),
        ('say(b\'{"id": 2, "progress": 0.5}\\n\')', WorkerError, "something else than request 1"),
        ('say(b\'{"id": 1, "progress": 7}\\n\'); sys.exit(0)', WorkerError, "ended"),
        ('say(b\'{"id": 1, "error": "no", "kind": "disk"}\\n\')', RefusedError, "w: no"),
    ],
)
def test_a_builder_that_breaks_the_protocol_is_ended(tmp_path, says, error, why):
    file, heard = tmp_path / "speaker.py", []
    file.write_text(SPEAKER.replace("request = json.loads(control.recv(65536))\n", "") + says + "\ntime.sleep(60)\n")
    builder = WorkerProcess(WorkerCommand(python=sys.executable, file=file), "w")
    try:
        builder.launch()
        with pytest.raises(error, match=why):
            builder.outcome(silence_s=20, on_progress=lambda share, what: heard.append(share))
        assert heard == ([1.0] if "7" in says else [])
    finally:
        builder.end()


@settings(max_examples=200)
@given(
    st.lists(
        st.binary(max_size=40) | st.sampled_from([b'{"id": 1, "y": 2}', b'{"id":', b"[1, 2]", b'{"id": 1.0}', b'{"id": true}']), max_size=4
    )
)
def test_no_bytes_pass_for_an_answer_that_are_none(lines):
    ours, theirs = socket.socketpair()
    worker = WorkerProcess(WorkerCommand(), "w")
    worker._control = ours
    with theirs:
        theirs.sendall(b"\n".join([*lines, b""]))
        theirs.shutdown(socket.SHUT_WR)
        try:
            answer = worker.ask({"do": "infer"}, deadline_s=20)
        except WorkerError:
            assert worker._control is None
        else:
            assert answer["id"] == 1 and b'"id"' in lines[0]
        finally:
            worker.end()


def test_a_worker_that_writes_much_does_not_wait_for_a_reader(tmp_path):
    file = tmp_path / "speaker.py"
    flood = 'import contextlib\nwith contextlib.suppress(BlockingIOError):\n    for _ in range(400): os.write(2, b"words " * 1000)\n'
    file.write_text(SPEAKER + flood + 'say(b\'{"id": 1, "protocol": 1}\\n\'); time.sleep(60)')
    worker = WorkerProcess(WorkerCommand(python=sys.executable, file=file), "w")
    try:
        assert worker.start()["protocol"] == 1
    finally:
        worker.end()


def test_the_worker_ends_with_the_daemon_even_while_it_hangs():
    daemon = (
        "import sys, threading, json; sys.path.insert(0, sys.argv[1])\n"
        "from tests.runtime.tensorrt_standins import *\n"
        "from runtime.inference.tensorrt.backend import TensorRtBackend\n"
        "import tempfile, pathlib\n"
        "network = identity(1, 4, dtype='uint8', moody=True)\n"
        "cache = built(pathlib.Path(sys.argv[2]), network)\n"
        "backend = TensorRtBackend(network, cache, BuildOptions(), command=command(), infer_deadline_s=60)\n"
        "backend.activate(); print(backend.pid, flush=True)\n"
        "backend.infer({'x': np.full((1, 4), HANGS, np.uint8)})\n"
    )
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        found = subprocess.Popen(
            [sys.executable, "-c", daemon, str(Path(__file__).parents[2]), folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        pid = int(found.stdout.readline())
        time.sleep(0.2)  # now it hangs, in all likelihood; what follows holds either way
        os.kill(found.pid, signal.SIGKILL)
        found.communicate(timeout=20)
        assert eventually(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes())
