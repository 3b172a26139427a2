"""The store as the daemon uses it: captures in, rows, pictures, thumbnails and measurements out; by many threads; privately."""

import hashlib
import io
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.errors import BusyError, PictureError, StoreError
from runtime.store.captures import MAX_LISTED
from runtime.store.errors import CaptureNotFoundError, PictureMissingError
from runtime.store.pictures import MAX_PICTURE_BYTES
from tests.runtime.store_samples import ROOT, facts, keep, measurement, picture, store


def test_what_is_kept_comes_back(tmp_path):
    with store(tmp_path / "state") as opened:
        kept = opened.add(picture("PNG"), ".png", measurement(4), facts(17))
        assert opened.get(kept.id) == kept
        assert opened.list() == [kept]
        assert opened.measurement(kept.id) == measurement(4)
        assert opened.picture(kept.id).read_bytes() == picture("PNG")
        assert opened.health().captures == 1
    assert (kept.hair_count, kept.frame_sequence, kept.site, kept.models) == (4, 17, "vertex", {"segmenter": "classical/1"})
    assert kept.picture_sha256 == hashlib.sha256(picture("PNG")).hexdigest()
    with store(tmp_path / "state") as again:
        assert again.list() == [kept]
        assert again.measurement(kept.id) == measurement(4)
        assert again.damage is None


def test_thumbnail_is_small_and_comes_back_after_it_was_lost(tmp_path):
    with store(tmp_path, thumbnail_px=32) as opened:
        (kept,) = keep(opened)
        first = opened.thumbnail(kept.id)
        opened._connection.execute("DELETE FROM thumbnails")
        assert opened.thumbnail(kept.id) == first
        assert opened._connection.execute("SELECT count(*) FROM thumbnails").fetchone() == (1,)
    with Image.open(io.BytesIO(first)) as small:
        assert (small.format, small.size) == ("JPEG", (32, 24))


def test_commits_are_durable_when_they_return(tmp_path):
    with store(tmp_path) as opened:
        pragmas = {
            name: opened._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@pytest.mark.parametrize(
    ("encoded", "suffix", "size", "says"),
    [
        (b"", ".jpg", (64, 48), "not empty"),
        (b"no picture", ".jpg", (64, 48), "cannot be decoded"),
        (picture()[: len(picture()) // 2], ".jpg", (64, 48), "cannot be decoded"),
        (picture("PNG")[:200], ".png", (64, 48), "cannot be decoded"),
        (picture("PNG"), ".jpg", (64, 48), "cannot be decoded"),
        (picture(), ".jpg", (65, 48), "do not belong together"),
        (picture(), ".gif", (64, 48), "not '.gif'"),
        (bytes(MAX_PICTURE_BYTES + 1), ".jpg", (64, 48), "at most"),
    ],
    ids=["empty", "text", "half a JPEG", "half a PNG", "wrong suffix", "other size", "unknown kind", "huge"],
)
def test_a_bad_picture_is_refused_and_leaves_nothing(tmp_path, encoded, suffix, size, says):
    with store(tmp_path) as opened:
        with pytest.raises(PictureError, match=says):
            opened.add(encoded, suffix, measurement(size=size), facts())
        assert opened.list() == []
        assert list((tmp_path / "captures").iterdir()) == []


@pytest.mark.parametrize("id_", [0, -1, 5, 2**70])
def test_an_unknown_capture_is_named(tmp_path, id_):
    with store(tmp_path) as opened:
        keep(opened, 2)
        for ask in (opened.get, opened.measurement, opened.picture, opened.thumbnail):
            with pytest.raises(CaptureNotFoundError, match="no capture"):
                ask(id_)


def test_a_missing_picture_is_reported_and_its_numbers_stay(tmp_path):
    with store(tmp_path) as opened:
        kept, other = keep(opened, 2)
        opened.picture(kept.id).unlink()
        with pytest.raises(PictureMissingError, match=kept.picture):
            opened.picture(kept.id)
    with store(tmp_path) as again:
        assert again.health().missing_pictures == 1
        assert again.measurement(kept.id).hair_count == kept.hair_count
        assert [row.id for row in again.list()] == [other.id, kept.id]


def test_a_measurement_damaged_in_the_database_is_read_from_its_sidecar(tmp_path):
    with store(tmp_path) as opened:
        kept = keep(opened, 3)[-1]
        opened._connection.execute("UPDATE measurements SET json_zlib = x'00ff00'")
        assert opened.measurement(kept.id).hair_count == kept.hair_count
        next((tmp_path / "captures").glob(f"{kept.id:08d}*.json")).unlink()
        with pytest.raises(StoreError, match="cannot be read"):
            opened.measurement(kept.id)


def test_a_damaged_row_does_not_hide_the_others(tmp_path):
    with store(tmp_path) as opened:
        kept = keep(opened, 3)
        opened._connection.execute("UPDATE captures SET picture = '../../outside.jpg' WHERE id = ?", (kept[1].id,))
        assert [row.id for row in opened.list()] == [kept[2].id, kept[0].id]
        with pytest.raises(StoreError, match="damaged"):
            opened.picture(kept[1].id)
    with store(tmp_path) as again:
        assert again.list() == kept[::-1]
        assert again.damage is not None


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 25), limit=st.integers(1, 30), deleted=st.sets(st.integers(1, 25)))
def test_pages_together_are_the_whole_list(count, limit, deleted):
    with tempfile.TemporaryDirectory() as folder, store(Path(folder)) as opened:
        # rows alone: what is tested is the paging, and a picture each would cost a second
        for i in range(1, count + 1):
            opened._connection.execute(
                "INSERT INTO captures VALUES (?, 'b', 't', 's', 0, 0, NULL, ?, 1, ?, 1, 1, 0, 0, NULL, NULL, 'm', 'v', '{}', NULL, NULL)",
                (i, f"{i:08d}-{i:016x}.jpg", "0" * 64),
            )
        for i in deleted:
            opened._connection.execute("DELETE FROM captures WHERE id = ?", (i,))
        seen, before = [], None
        while page := opened.list(limit, before):
            assert len(page) <= limit
            seen += [row.id for row in page]
            before = page[-1].id
    assert seen == sorted(set(range(1, count + 1)) - deleted, reverse=True)


@pytest.mark.parametrize("limit", [0, -1, MAX_LISTED + 1])
def test_a_list_without_bounds_is_refused(tmp_path, limit):
    with store(tmp_path) as opened, pytest.raises(ValueError, match="1 to"):
        opened.list(limit)


def test_an_id_is_never_given_twice(tmp_path):
    with store(tmp_path) as opened:
        last = keep(opened, 2)[-1]
        opened._connection.execute("DELETE FROM captures WHERE id = ?", (last.id,))
        assert keep(opened)[0].id == last.id + 1


def test_threads_add_and_list_together(tmp_path):
    failures, rows = [], []

    def work(opened):
        try:
            for _ in range(5):
                rows.extend(keep(opened))
                opened.list()
                opened.probe()
        except Exception as error:
            failures.append(error)

    with store(tmp_path, busy_timeout_s=60) as opened:
        threads = [threading.Thread(target=work, args=(opened,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        assert [row.id for row in opened.list()] == list(range(30, 0, -1))
        assert {row.id for row in rows} == set(range(1, 31))
    assert len(list((tmp_path / "captures").glob("*.jpg"))) == 30


def test_waiting_for_a_stuck_disk_ends(tmp_path):
    with store(tmp_path, busy_timeout_s=0.05) as opened:
        with opened._using, pytest.raises(BusyError, match="busy"):
            opened.probe()
        with opened._adding, pytest.raises(BusyError, match="busy"):
            keep(opened)
        with opened._using, pytest.raises(BusyError, match="busy"):
            keep(opened)
        assert opened.list() == []
        assert list((tmp_path / "captures").iterdir()) == []


def test_probe_writes(tmp_path):
    with store(tmp_path) as opened:
        assert [opened.probe(), opened.probe()] == [1, 2]
    with store(tmp_path) as again:
        assert again.probe() == 3


def test_nothing_is_readable_to_others(tmp_path):
    with store(tmp_path / "a" / "state") as opened:
        keep(opened, 2)
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a").rglob("*")}
    assert len(modes) > 7
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_a_second_daemon_is_told_who_has_the_folder(tmp_path):
    program = "import sys; from pathlib import Path; from tests.runtime.store_samples import store\nwith store(Path(sys.argv[1])): pass"
    with store(tmp_path):
        done = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert f"in use by process {os.getpid()}" in done.stderr
        with pytest.raises(StoreError, match="in use"), store(tmp_path):
            pass
    with store(tmp_path) as free_again:
        assert free_again.list() == []


def test_a_store_that_is_not_open_says_so(tmp_path):
    opened = store(tmp_path / "state")
    for ask in (opened.list, opened.health, opened.probe, lambda: keep(opened)):
        with pytest.raises(StoreError, match="not open"):
            ask()
    assert not (tmp_path / "state").exists()  # the constructor touches nothing
    with opened:
        keep(opened)
        with pytest.raises(StoreError, match="open already"), opened:
            pass
        assert len(opened.list()) == 1
    with opened:  # and can be entered again
        assert len(opened.list()) == 1


def test_the_cameras_controls_are_kept_with_a_capture_and_come_back_from_its_sidecar(tmp_path):
    controls = {"exposure": 156, "gain": 1.5, "auto_white_balance": False, "power_line": "50 Hz"}
    with store(tmp_path) as opened:
        taken = facts().model_copy(update={"controls": controls})
        kept = opened.add(picture(), ".jpg", measurement(), taken)
        unknown = opened.add(picture(), ".jpg", measurement(), facts(2))
        assert opened.get(kept.id).controls == kept.controls == controls
        assert opened.get(kept.id).controls["auto_white_balance"] is False
        assert opened.get(unknown.id).controls is None
    for file in tmp_path.glob("captures.sqlite*"):
        file.unlink()
    with store(tmp_path) as opened:
        assert [row.controls for row in opened.list()] == [None, controls]
