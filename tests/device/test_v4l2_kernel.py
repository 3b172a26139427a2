"""The seam to the real kernel, as far as a machine without a camera lets it be tried."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import time
from pathlib import Path

import pytest

from device.present import look
from device.v4l2.kernel import LinuxKernel
from device.v4l2.structs import QUERYCAP, Capability
from tests.eventually import eventually

KERNEL = LinuxKernel()


def test_only_video_nodes_are_taken_for_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert KERNEL.is_video_node(str(tmp_path / "nothing")) is None
    assert KERNEL.is_video_node("/dev/\0") is None
    assert KERNEL.is_video_node(str(tmp_path / "file")) is False
    assert KERNEL.is_video_node(str(tmp_path)) is False
    assert KERNEL.is_video_node("/dev/null") is False


def test_a_signal_in_between_makes_it_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [errno.EINTR, errno.EINTR, 0]

    def ioctl(fd: int, request: int, argument: object) -> None:
        if number := answers.pop(0):
            raise OSError(number, "")

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    KERNEL.ioctl(0, QUERYCAP, Capability())
    assert not answers


def test_what_is_no_camera_says_so_itself() -> None:
    fd = KERNEL.open("/dev/null")
    try:
        with pytest.raises(OSError) as told:
            KERNEL.ioctl(fd, QUERYCAP, Capability())
        assert told.value.errno == errno.ENOTTY
    finally:
        KERNEL.close(fd)


def test_a_wait_ends_with_what_is_ready_or_at_its_deadline() -> None:
    one, other = os.eventfd(0), os.eventfd(0)
    try:
        assert KERNEL.wait(one, other, 0.001) == (False, False)
        os.eventfd_write(other, 1)
        assert KERNEL.wait(one, other, 60) == (False, True)
        os.eventfd_write(one, 1)
        assert KERNEL.wait(one, other, 60) == (True, True)
    finally:
        os.close(one)
        os.close(other)


def test_shared_memory_of_a_descriptor() -> None:
    fd = os.memfd_create("buffer")
    try:
        os.ftruncate(fd, 8192)
        with KERNEL.map(fd, 4096, 4096) as mapped:
            mapped[:3] = b"abc"
        assert os.pread(fd, 3, 4096) == b"abc"
    finally:
        os.close(fd)


def test_small_files_links_and_folders(tmp_path: Path) -> None:
    (tmp_path / "serial").write_bytes(b"A1\xff\n")
    (tmp_path / "link").symlink_to("../video7")
    assert KERNEL.attribute(str(tmp_path / "serial")) == "A1�"
    assert KERNEL.attribute(str(tmp_path / "none")) is None
    assert KERNEL.names(str(tmp_path)) == ["link", "serial"]
    assert KERNEL.names(str(tmp_path / "none")) == []
    assert KERNEL.resolve(str(tmp_path / "link")) == str(tmp_path.parent / "video7")


def test_what_is_plugged_in_differs_when_something_came_or_went(tmp_path: Path) -> None:
    assert look(str(tmp_path / "none")) == frozenset()
    (tmp_path / "link").symlink_to("../video7")  # to nowhere
    (tmp_path / "other").write_text("")
    looks = [look(str(tmp_path)), look(str(tmp_path), "l")]
    assert [len(each) for each in looks] == [2, 1] and looks[0] == look(str(tmp_path))
    (tmp_path / "link").unlink()
    looks.append(look(str(tmp_path)))
    time.sleep(0.02)  # longer than the tick of the file system's clock
    (tmp_path / "link").symlink_to("../video7")
    looks.append(look(str(tmp_path)))
    assert len(set(looks)) == 4


def test_this_process_is_not_told_as_a_holder(tmp_path: Path) -> None:
    path = tmp_path / "held"
    with path.open("w"):
        assert KERNEL.holders(str(path)) == []
    assert KERNEL.now_ns() <= KERNEL.now_ns()


def test_another_process_that_holds_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "held"
    with path.open("w") as held, subprocess.Popen(["sleep", "60"], stdout=held) as holder:
        try:
            eventually(lambda: KERNEL.holders(str(path)) == [f"sleep ({holder.pid})"])
        finally:
            holder.kill()
    assert KERNEL.resolve("/dev/\0") == "/dev/\0"
