"""`trichoscope calibrate reapply`: captures of a corrected profile computed anew, refusals, and that a cut run is run again."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from calib.field import FrameScale, ScaleReading
from calib.profile_parts import HairPlane
from calib.resolve import resolve_scale
from calib.scale import Scale
from runtime import config
from runtime.analysis.segmentation import given_mask
from runtime.commands.calibrate.reapply import reapply
from runtime.pipeline import analyse
from tests.runtime.drawn import FIVE, hairs_on_skin
from tests.runtime.profile_samples import profile, write
from tests.runtime.store_samples import ROOT, facts, picture, store

SIZE = (640, 480)
OLD = profile(8.0, size=SIZE)
NEW = profile(8.4, size=SIZE)


@pytest.fixture(autouse=True)
def _a_bare_machine(monkeypatch, tmp_path):
    for name in [n for n in os.environ if n.startswith(config.VARIABLE_PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(config, "SYSTEM_FILE", tmp_path / "none.toml")
    monkeypatch.setenv("TRICHOSCOPE_STORE__RESERVE_MB", "0")


@pytest.fixture(scope="module")
def five():
    drawn, mask = hairs_on_skin(FIVE)
    return drawn, given_mask(mask)


def measured(five, scale):
    return analyse(five[0], name="capture", segmentation=five[1], scale=scale).model_copy(update={"timing_ms": {"total": 1.0}})


def keep(opened, *measurements):
    return [opened.add(picture(size=SIZE, seed=i), ".jpg", m, facts(i)) for i, m in enumerate(measurements)]


def call(*arguments):
    app = typer.Typer()
    app.command()(reapply)
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def files(tmp_path):
    """The files of the old and the corrected profile."""
    return write(tmp_path / "by hand", OLD), write(tmp_path / "by hand", NEW)


@pytest.fixture(scope="module")
def kept(tmp_path_factory, five):
    """A closed state folder: two captures of OLD, one of another profile, one of a stated scale, one that got no scale by OLD."""
    folder = tmp_path_factory.mktemp("kept") / "state"
    of_old = measured(five, resolve_scale(OLD, None))
    others = (
        measured(five, resolve_scale(profile(5.0, size=SIZE), None)),
        measured(five, Scale(7.0, None, "given")),
        measured(five, FrameScale(profile_id=OLD.id, note="nothing was seen")),
    )
    with store(folder) as opened:
        keep(opened, of_old, *others, of_old)
    return folder


@pytest.fixture
def state(tmp_path, kept):
    shutil.copytree(kept, tmp_path / "state")
    return tmp_path / "state"


def everything(folder):
    """Every measurement, newest version and original."""
    with store(folder) as opened:
        return [(row, opened.measurement(row.id), opened.original_measurement(row.id)) for row in opened.list()]


def test_figures_are_those_that_the_corrected_profile_would_have_given(state, files, five):
    before = everything(state)
    done = call(*files, "--state", state)
    assert done.exit_code == 0, done.output
    assert f"2 of 3 captures of profile {OLD.id} computed anew with {NEW.id}" in done.stdout
    assert "+5.00 %" in done.stdout
    assert "1 have no scale" in done.stdout
    after = everything(state)
    wanted = measured(five, resolve_scale(NEW, None))
    for (row, newest, original), (row_before, newest_before, original_before) in zip(after, before, strict=True):
        assert original == original_before
        if row_before.calibration == OLD.id and newest_before.scale.source == "hood":
            assert newest.calibration == row.calibration == NEW.id
            assert newest.diameter_um.median == pytest.approx(wanted.diameter_um.median, abs=0.01)  # px are kept to a thousandth
            assert newest.diameter_um.median == pytest.approx(1.05 * newest_before.diameter_um.median, rel=1e-3)
            assert newest.density_per_cm2.value == pytest.approx(wanted.density_per_cm2.value)
            assert row.density_per_cm2 == newest.density_per_cm2.value != row_before.density_per_cm2
            assert newest.hair_count == newest_before.hair_count
            assert newest.diameter_px == newest_before.diameter_px
        else:
            assert (row, newest) == (row_before, newest_before)


def test_a_second_run_finds_nothing_to_do(state, files):
    assert call(*files, "--state", state).exit_code == 0
    before = everything(state)
    names = {file.name for file in (state / "captures").iterdir()}
    done = call(*files, "--state", state, "--json")
    assert done.exit_code == 0
    answer = json.loads(done.stdout)
    assert (answer["captures"], answer["recomputed"], answer["without_scale"]) == (1, 0, 1)
    assert everything(state) == before
    assert {file.name for file in (state / "captures").iterdir()} == names


def test_it_can_be_taken_back(state, files):
    before = everything(state)
    assert call(*files, "--state", state).exit_code == 0
    assert call(files[1], files[0], "--state", state).exit_code == 0
    for (row, newest, original), (row_before, newest_before, original_before) in zip(everything(state), before, strict=True):
        assert original == original_before
        assert row.density_per_cm2 == pytest.approx(row_before.density_per_cm2)
        assert newest.scale == newest_before.scale


def test_a_dry_run_says_what_would_be_and_keeps_nothing(state, files):
    before = everything(state)
    done = call(*files, "--state", state, "--dry-run")
    assert done.exit_code == 0
    assert "2 of 3 captures" in done.stdout and "would be computed anew" in done.stdout
    assert everything(state) == before
    assert not list((state / "captures").glob("*recomputed*"))


def test_the_machine_gets_one_object(state, files):
    done = call(*files, "--state", state, "--json")
    assert json.loads(done.stdout) == {
        "old": OLD.id,
        "new": NEW.id,
        "dry_run": False,
        "captures": 3,
        "recomputed": 2,
        "without_scale": 1,
        "scale_change_percent": 5.0,
        "left_out": [],
    }


def test_what_the_corrected_profile_cannot_serve_is_named_and_stays_whole(tmp_path, five):
    """Captures by ring, hood and distance; the corrected profile has no ring and no curve."""
    old = profile(8.0, size=SIZE, ring=9.0, curve=True)
    new = profile(8.4, size=SIZE)
    ring = FrameScale(Scale(7.9, 0.05, "fiducial"), profile_id=old.id, reading=ScaleReading(None, None, 8.1, 0.04, 9.0))
    by_hand = write(tmp_path / "profiles", old), write(tmp_path / "profiles", new)
    scales = (ring, resolve_scale(old, None, distance_mm=15.0, distance_std_mm=0.1), resolve_scale(old, None))
    assert [scale.scale.source for scale in scales] == ["fiducial", "hood", "hood"]
    distance = FrameScale(Scale(10.0, 0.1, "distance"), profile_id=old.id, reading=ScaleReading(15.0, 0.1))
    with store(tmp_path / "state") as opened:
        of_ring, of_distance, of_hood = keep(opened, *(measured(five, scale) for scale in (ring, distance, scales[2])))
        kept = {row.id: opened.measurement(row.id) for row in (of_ring, of_distance, of_hood)}
    done = call(*by_hand, "--state", tmp_path / "state")
    assert done.exit_code == 1
    assert "1 of 3 captures" in done.stdout
    for row, reason in ((of_ring, "no ring"), (of_distance, "no curve")):
        line = next(line for line in done.stdout.splitlines() if row.picture in line)
        assert f"capture {row.id} " in line and reason in line
    with store(tmp_path / "state") as opened:
        assert opened.measurement(of_hood.id).calibration == new.id
        for row in (of_ring, of_distance):
            assert opened.measurement(row.id) == kept[row.id]
            assert opened.get(row.id) == row
    again = json.loads(call(*by_hand, "--state", tmp_path / "state", "--json").stdout)
    assert [left["id"] for left in again["left_out"]] == [of_ring.id, of_distance.id]
    assert again["recomputed"] == 0


def test_a_ring_of_another_size_than_was_thought_changes_what_was_read_of_it(tmp_path, five):
    old, new = profile(8.0, size=SIZE, ring=9.0, curve=True), profile(8.0, size=SIZE, ring=9.09, curve=True)
    ring = FrameScale(Scale(7.9, 0.05, "fiducial"), profile_id=old.id, reading=ScaleReading(None, None, 8.1, 0.04, 9.0))
    with store(tmp_path / "state") as opened:
        (row,) = keep(opened, measured(five, ring))
    assert call(write(tmp_path / "p", old), write(tmp_path / "p", new), "--state", tmp_path / "state").exit_code == 0
    with store(tmp_path / "state") as opened:
        newest = opened.measurement(row.id)
    assert newest.scale.um_per_px == pytest.approx(8.1 * 1.01 - 0.3 * 8.0 / 12, rel=1e-6)
    assert (newest.scale.source, newest.scale_reading.ring_mm) == ("fiducial", 9.0)  # what was read then stays what was read


def changed(**changes):
    """A profile that differs from NEW by its device."""
    return profile(8.4, size=SIZE, device=NEW.device.model_copy(update=changes))


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (changed(microscope="another"), "the microscope of the first is scripted, of the second another"),
        (changed(width_px=1280, height_px=960), "1280×960"),
        (changed(focus_mode="refocused"), "focus"),
        (profile(8.4, size=SIZE, hood="spacer 16"), "spacer 16"),
        (profile(8.4, size=SIZE, days=1), "expired"),
        (OLD, "one and the same"),
    ],
    ids=["microscope", "size", "focus", "hood", "expired", "the same"],
)
def test_profiles_that_do_not_belong_together_are_refused(state, tmp_path, new, says):
    before = everything(state)
    done = call(write(tmp_path / "old", OLD), write(tmp_path / "new", new), "--state", state)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert everything(state) == before


def test_a_damaged_profile_is_refused(state, files):
    old, new = files
    new.write_text(new.read_text().replace("8.4", "8.5"))
    done = call(old, new, "--state", state)
    assert (done.exit_code, done.stdout) == (2, "")
    assert str(new) in done.stderr
    done = call(new, old, "--state", state)  # and so is a damaged old one, whose id does as well
    assert done.exit_code == 2
    assert "its id does as well" in done.stderr
    done = call("no such profile", old, "--state", state)
    assert done.exit_code == 2
    assert "no such file" in done.stderr


def test_an_id_is_enough_and_is_checked_where_its_file_can_be_had(state, files, tmp_path):
    foreign = write(tmp_path / "new", changed(microscope="another"))
    done = call(OLD.id, files[1], "--state", state, "--dry-run", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["recomputed"] == 2
    assert "could not be checked" in done.stderr
    write(state / "profiles", OLD)
    done = call(OLD.id, foreign, "--state", state, "--dry-run")
    assert done.exit_code == 2
    assert "do not belong together" in done.stderr
    done = call(OLD.id, files[1], "--state", state)
    assert (done.exit_code, done.stderr) == (0, "")


def test_captures_of_another_size_than_the_profile_are_named(state, files, tmp_path):
    other = write(tmp_path / "new", profile(8.4, size=(1280, 960)))
    done = call(OLD.id, other, "--state", state)
    assert done.exit_code == 1
    assert done.stdout.count("its picture has 640×480 px") == 2


def test_the_running_daemon_is_named(state, files):
    with store(state):
        done = call(*files, "--state", state)
    assert done.exit_code == 1
    assert f"in use by process {os.getpid()}" in done.stderr


def test_a_folder_without_captures_is_named_and_not_made(tmp_path, files):
    done = call(*files, "--state", tmp_path / "nowhere")
    assert done.exit_code == 2
    assert "nowhere" in done.stderr and "--state" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_the_state_folder_of_the_configuration_is_the_default(state, files, tmp_path):
    (tmp_path / "my.toml").write_text(f'[store]\nfolder = "{state}"\n')
    done = call(*files, "--config", tmp_path / "my.toml", "--json")
    assert json.loads(done.stdout)["recomputed"] == 2
    (tmp_path / "my.toml").write_text("[store]\nfolder = 3\n")
    done = call(*files, "--config", tmp_path / "my.toml")
    assert done.exit_code == 2
    assert "my.toml:2" in done.stderr


# the command, unplugged at the step given of its n-th capture
PLUGGED = """
import os, signal, sys
from runtime.store.captures import CaptureStore
step, wanted, count = sys.argv[1], int(sys.argv[2]), 0
real = CaptureStore.__init__
def at_step(name):
    global count
    if name == step:
        count += 1
        if count == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
CaptureStore.__init__ = lambda self, folder, settings: real(self, folder, settings, at_step)
import typer
from runtime.commands.calibrate.reapply import reapply
app = typer.Typer()
app.command()(reapply)
app(sys.argv[3:])
"""


@pytest.mark.parametrize(("step", "capture"), [("version written", 1), ("version inserted", 2), ("version committed", 1)])
def test_a_run_that_was_cut_is_run_again(state, files, step, capture):
    originals = [original for _, _, original in everything(state)]
    command = [sys.executable, "-c", PLUGGED, step, str(capture), *map(str, files), "--state", str(state)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with store(state) as opened:
        assert opened.health().orphans == 0
        assert opened.damage is None
        assert all(len(opened.versions(row.id)) <= 1 for row in opened.list())
    again = json.loads(call(*files, "--state", state, "--json").stdout)
    assert again["recomputed"] == 2 - capture  # those before the cut are done, the one in work came back whole
    assert again["left_out"] == []
    after = everything(state)
    assert [original for _, _, original in after] == originals
    assert sum(newest.calibration == NEW.id for _, newest, _ in after) == 2
    assert len(list((state / "captures").glob("*recomputed*"))) == 2


def test_a_full_disk_ends_the_run_and_what_was_done_stands(state, files, monkeypatch):
    from runtime.store import captures

    real, asked = captures.free_bytes, []

    def less_and_less(folder):
        asked.append(folder)
        return real(folder) if len(asked) < 2 else 0

    monkeypatch.setattr(captures, "free_bytes", less_and_less)
    monkeypatch.setenv("TRICHOSCOPE_STORE__RESERVE_MB", "1")
    done = call(*files, "--state", state)
    assert done.exit_code == 1
    assert "1 of 3 captures" in done.stdout
    assert "free some space there. What was computed anew stays; run this again to go on" in done.stderr
    monkeypatch.undo()
    monkeypatch.setenv("TRICHOSCOPE_STORE__RESERVE_MB", "0")
    assert json.loads(call(*files, "--state", state, "--json").stdout)["recomputed"] == 1


def test_the_hair_plane_can_be_corrected(state, tmp_path):
    flat = profile(8.0, size=SIZE, hair_plane=HairPlane(height_mm=0.6))
    done = call(write(tmp_path / "p", OLD), write(tmp_path / "p", flat), "--state", state, "--json")
    assert json.loads(done.stdout)["scale_change_percent"] == pytest.approx(100 * (7.6 / 7.8 - 1), abs=1e-3)
