"""The plug is pulled (SIGKILL) in the middle of keeping a capture: what was acknowledged is there afterwards, whole."""

import os
import signal
from pathlib import Path

import pytest

from runtime.store import files
from tests.runtime.store_samples import facts, keep, measurement, picture, plugged, store

STEPS = ("picture written", "sidecar written", "folder synced", "row inserted", "committed")


def ended(process):
    """The ids that the program printed before its plug was pulled."""
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    return [int(line) for line in printed.split()]


def agree(opened, folder):
    """Every row has its whole picture, its sidecar, its measurement and its thumbnail, and there is no file besides."""
    rows = opened.list(500)
    for row in rows:
        assert opened.picture(row.id).stat().st_size == row.picture_bytes
        assert opened.measurement(row.id).hair_count == row.hair_count
        assert opened.thumbnail(row.id)
    names = {row.picture for row in rows}
    assert {f.name for f in (folder / "captures").iterdir()} == names | {n.replace(".jpg", ".json") for n in names}
    return [row.id for row in reversed(rows)]


@pytest.mark.parametrize("step", STEPS)
def test_nothing_acknowledged_is_lost(tmp_path, step):
    acknowledged = ended(plugged(tmp_path, step, 3))
    assert acknowledged == [1, 2]
    with store(tmp_path) as opened:
        found = agree(opened, tmp_path)
        assert found[:2] == [1, 2]
        # with picture and sidecar complete the third is taken back; a picture alone was nothing yet
        assert found == ([1, 2] if step == "picture written" else [1, 2, 3])
        assert opened.health().orphans == (1 if step == "picture written" else 0)
        assert opened.damage is None
        assert keep(opened)[0].id == len(found) + 1
    assert len(list((tmp_path / "orphans").glob("*.jpg"))) == (1 if step == "picture written" else 0)


def test_killed_at_any_moment(tmp_path):
    acknowledged = 0
    for _ in range(3):
        process = plugged(tmp_path)
        for _ in range(4):
            acknowledged = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        acknowledged = max([acknowledged, *ended(process)])
        with store(tmp_path) as opened:
            assert set(range(1, acknowledged + 1)) <= set(agree(opened, tmp_path))
            assert opened.damage is None


def test_a_half_written_file_is_removed(tmp_path):
    with store(tmp_path) as opened:
        keep(opened)
    part = tmp_path / "captures" / f"00000002-0123456789abcdef.jpg{files.PART_SUFFIX}"
    part.write_bytes(picture()[:100])
    with store(tmp_path) as opened:
        assert agree(opened, tmp_path) == [1]


def test_a_picture_shorter_than_its_sidecar_says_is_not_taken_back(tmp_path):
    with store(tmp_path) as opened:
        first, second = keep(opened, 2)
        opened.picture(second.id).write_bytes(b"")
        opened._connection.execute("DELETE FROM captures WHERE id = ?", (second.id,))
    with store(tmp_path) as opened:
        assert agree(opened, tmp_path) == [first.id]
        assert opened.health().orphans == 2


def test_a_lost_sidecar_is_written_anew(tmp_path):
    with store(tmp_path) as opened:
        keep(opened, 3)
    sidecar = sorted((tmp_path / "captures").glob("*.json"))[1]
    before = sidecar.read_bytes()
    sidecar.unlink()
    with store(tmp_path) as opened:
        assert agree(opened, tmp_path) == [1, 2, 3]
    assert sidecar.read_bytes() == before


def test_picture_and_sidecar_reach_the_disk_before_the_row(tmp_path, monkeypatch):
    # SIGKILL leaves the page cache alone, a pulled plug does not: so the order of fsync and rename is held too
    done = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor):
        done.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        real_fsync(descriptor)

    def replace(self, target):
        done.append(("rename", self.name))
        return real_replace(self, target)

    with store(tmp_path) as opened:
        opened._at_step = lambda step: done.append(("step", step))
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "replace", replace)
        row = opened.add(picture(), ".jpg", measurement(), facts())
    jpg, json = f"{row.picture}.part", f"{row.picture[:-4]}.json.part"
    assert done == [
        ("fsync", jpg),
        ("rename", jpg),
        ("step", "picture written"),
        ("fsync", json),
        ("rename", json),
        ("step", "sidecar written"),
        ("fsync", "captures"),
        ("step", "folder synced"),
        ("step", "row inserted"),
        ("step", "committed"),
    ]
