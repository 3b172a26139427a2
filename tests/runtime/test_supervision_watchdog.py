"""Supervision: the watchdog is fed only while every part gets on, and what systemd is told."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from runtime.workers import notify
from runtime.workers.notify import ServiceManager
from runtime.workers.watchdog import PartReport, Supervisor
from tests.eventually import eventually

UNIT = Path(__file__).parents[2] / "systemd" / "trichoscope.service"
SECOND = 10**9


def report(name="capture", state="streaming", ok=True, age_s=0.0, deadline_s=20.0, given_up=False):
    beat_ns = None if age_s is None else time.monotonic_ns() - int(age_s * SECOND)
    return PartReport(name, state, "all is well" if ok else "the driver crashed", ok, beat_ns, deadline_s, given_up)


@pytest.fixture
def journal(tmp_path):
    """systemd's end of the notification socket: a function that returns the next message."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(path))
        end.settimeout(20)
        yield str(path), lambda: end.recv(4096).decode()


def environment(path, **more):
    return {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000", **more}


def test_a_part_whose_beat_is_old_is_stuck_and_not_ok():
    fresh, old = report(age_s=1), report(age_s=21)
    now = time.monotonic_ns()
    assert fresh.judged(now) == fresh
    assert (old.judged(now).state, old.judged(now).ok) == ("stuck", False)
    assert "allowed: 20 s" in old.judged(now).message
    assert report(state="ended", age_s=None).judged(now).state == "ended"  # nothing is expected of it


def test_the_watchdog_is_fed_while_all_get_on(journal):
    path, told = journal
    with ServiceManager(environment(path)) as manager, Supervisor(lambda: [report(), report("analysis")], manager):
        messages = {told() for _ in range(4)}
    assert "WATCHDOG=1" in messages
    assert any(m.startswith("STATUS=capture streaming; analysis streaming") for m in messages)


def test_a_missing_camera_is_no_failure(journal):
    path, told = journal
    with ServiceManager(environment(path)) as manager, Supervisor(lambda: [report(state="absent")], manager):
        eventually(lambda: told() == "WATCHDOG=1")


@pytest.mark.parametrize("stuck", ["capture", "analysis", "store", "server"])
def test_one_stuck_part_starves_the_watchdog(journal, stuck):
    path, told = journal
    rounds = []

    def look():
        rounds.append(1)
        return [report(name, age_s=99 if name == stuck else 0) for name in ("capture", "analysis", "store", "server")]

    with ServiceManager(environment(path)) as manager, Supervisor(look, manager):
        assert told().startswith(f"STATUS={stuck} stuck: stuck for 99 s")
        eventually(lambda: len(rounds) > 5)
    assert told() == "STOPPING=1"  # and nothing was said between


def test_supervision_that_fails_itself_does_not_feed(journal):
    path, told = journal
    rounds = []

    def look():
        rounds.append(1)
        raise RuntimeError("oops")

    with ServiceManager(environment(path)) as manager, Supervisor(look, manager):
        eventually(lambda: len(rounds) > 5)
    assert told() == "STOPPING=1"


def test_a_part_that_gave_up_ends_the_daemon():
    reasons = []
    parts = [report("analysis"), report(state="failed", ok=False, given_up=True)]
    with ServiceManager({}) as manager, Supervisor(lambda: parts, manager, end=reasons.append, period_s=0.01):
        eventually(lambda: reasons)
    assert reasons[0] == "capture: the driver crashed"


def test_the_event_loop_is_asked_for_a_sign_of_life():
    nudges = []
    with ServiceManager({}) as manager, Supervisor(list, manager, nudge=lambda: nudges.append(1), period_s=0.01):
        eventually(lambda: len(nudges) > 2)


def test_systemd_is_told_ready_and_stopping(journal):
    path, told = journal
    with ServiceManager({"NOTIFY_SOCKET": path}) as manager:
        manager.say_ready()
        manager.say_status("two\nlines")
        manager.feed_watchdog()  # not asked for: no WATCHDOG_USEC
    assert [told() for _ in range(3)] == ["READY=1", "STATUS=two lines", "STOPPING=1"]


def test_a_start_that_takes_long_is_extended_now_and_then(journal, monkeypatch):
    path, told = journal
    clock = [100.0]
    monkeypatch.setattr(notify.time, "monotonic", lambda: clock[0])
    with ServiceManager({"NOTIFY_SOCKET": path}) as manager:
        for _ in range(1000):
            manager.extend_start()
        clock[0] += notify.EXTEND_EVERY_S
        manager.extend_start()
    assert [told() for _ in range(3)] == [f"EXTEND_TIMEOUT_USEC={notify.EXTENSION_S * 10**6}"] * 2 + ["STOPPING=1"]


def test_an_abstract_notification_socket_is_understood():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0trichoscope-test-notify")
        end.settimeout(20)
        with ServiceManager({"NOTIFY_SOCKET": "@trichoscope-test-notify"}) as manager:
            manager.say_ready()
        assert end.recv(100) == b"READY=1"


def test_without_systemd_or_with_a_dead_one_nothing_happens(tmp_path):
    for where in ({}, {"NOTIFY_SOCKET": str(tmp_path / "nobody")}):
        with ServiceManager(where) as manager:
            manager.say_ready()
            manager.feed_watchdog()


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [({}, None), ({"WATCHDOG_USEC": "x"}, None), ({"WATCHDOG_USEC": "0"}, None), ({"WATCHDOG_USEC": "30000000"}, 30.0),
     ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None)],
)  # fmt: skip
def test_the_watchdogs_time_is_read_from_the_environment(variables, seconds):
    assert ServiceManager(variables).watchdog_s == seconds


def keys_of(unit):
    """{key: last value} of a unit file."""
    lines = [line for line in unit.read_text(encoding="utf-8").splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_unit_says_what_the_daemon_relies_on():
    keys = keys_of(UNIT)
    assert keys["Type"] == "notify"
    assert int(keys["WatchdogSec"]) > 0
    assert keys["Restart"] == "on-failure"
    assert keys["StateDirectory"] == "trichoscope"  # $STATE_DIRECTORY is where the store goes by default
    assert keys["ProtectSystem"] == "strict"
    assert keys["NoNewPrivileges"] == "yes"
    assert keys["ExecStart"].endswith("trichoscope run")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(tmp_path):
    unit = tmp_path / UNIT.name
    # the program is not installed here, and a command that does not exist is all that would be found
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(keys_of(UNIT)["ExecStart"], "/bin/true"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]  # other units of this machine are not ours
    assert not complaints
