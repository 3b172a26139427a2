"""Which profile of a folder is taken for a device, and what is said where none fits."""

from datetime import timedelta

import pytest

from calib import shelf
from calib.profile import Device, write_profile
from calib.shelf import choose
from tests.calib.profile_samples import DEVICE, HOOD, NOW, made, sample

SOON = NOW + timedelta(days=30)


def device(**changes):
    return Device(**(DEVICE.model_dump() | changes))


def test_the_newest_that_fits_is_taken(tmp_path):
    paths = {days: write_profile(tmp_path, made(days)) for days in (3, 20, 11)}
    write_profile(tmp_path, made(25, device=device(width_px=1280, height_px=960)))
    (tmp_path / "notes.txt").write_text("not a profile")
    chosen = choose(tmp_path, DEVICE, SOON)
    assert chosen.profile == made(20)
    assert (chosen.path, chosen.why) == (paths[20], "")


def test_an_expired_one_gives_way_to_an_older_that_lives_longer(tmp_path):
    write_profile(tmp_path, made(10, expires_utc=NOW + timedelta(days=20)))
    write_profile(tmp_path, made(5))
    assert choose(tmp_path, DEVICE, SOON).profile == made(5)


@pytest.mark.parametrize(
    ("connected", "says"),
    [
        ({"width_px": 1280, "height_px": 960}, "made for 640×480, the camera gives 1280×960"),
        ({"microscope": "Other"}, "made for microscope 'Acme 200x, serial 17', this is 'Other'"),
        ({"focus_mode": "refocused"}, "made with the focus locked, it is refocused now"),
        ({"controls": {"exposure": 130, "auto_white_balance": False}}, "made at exposure = 120, the camera has 130"),
        ({"controls": {"exposure": 120, "auto_white_balance": True}}, "made at auto_white_balance = False, the camera has True"),
        ({"controls": {"exposure": 120, "auto_white_balance": 0}}, "made at auto_white_balance = False, the camera has 0"),
        ({"controls": {"exposure": "120"}}, "made at exposure = 120, the camera has 120"),
    ],
)
def test_what_differs_is_told(tmp_path, connected, says):
    path = write_profile(tmp_path, sample())
    chosen = choose(tmp_path, device(**connected), SOON)
    assert chosen.profile is None
    assert chosen.why == f"no profile fits; {path.name}: {says}"


def test_the_nearest_of_several_is_told(tmp_path):
    write_profile(tmp_path, made(9, device=device(microscope="Other")))
    near = write_profile(tmp_path, made(1, device=device(width_px=800, height_px=600), hood=None))
    write_profile(tmp_path, made(2, device=device(width_px=800, height_px=600, focus_mode="refocused")))
    why = choose(tmp_path, DEVICE, SOON).why
    assert why == f"no profile fits; {near.name} (nearest of 3): made for 800×600, the camera gives 640×480"


def test_controls_that_are_not_told_are_mentioned_and_others_do_not_matter(tmp_path):
    write_profile(tmp_path, sample())
    chosen = choose(tmp_path, device(controls={"exposure": 120.0, "sharpness": 3}), SOON)
    assert chosen.profile == sample()
    assert chosen.why == "the camera does not tell auto_white_balance, which the profile recorded"


def test_the_hood_must_be_the_one_in_use(tmp_path):
    write_profile(tmp_path, made(1))
    write_profile(tmp_path, made(2, hood=None))
    assert choose(tmp_path, DEVICE, SOON).profile == made(2, hood=None)
    assert choose(tmp_path, DEVICE, SOON, hood=HOOD.name).profile == made(1)
    assert choose(tmp_path, DEVICE, SOON, hood_code=2).profile == made(1)
    assert "made for no ring, in use is ring 4" in choose(tmp_path, DEVICE, SOON, hood_code=4).why
    assert "made for no hood, in use is hood 'tall'" in choose(tmp_path, DEVICE, SOON, hood="tall").why


def test_an_expired_one_is_named(tmp_path):
    path = write_profile(tmp_path, sample())
    chosen = choose(tmp_path, DEVICE, NOW + timedelta(days=366))
    assert chosen.profile is None
    assert chosen.why == f"no profile fits; {path.name}: expired on 2027-03-04: calibrate anew"


def test_a_clock_that_lies_is_named(tmp_path):
    write_profile(tmp_path, sample())
    chosen = choose(tmp_path, DEVICE, NOW - timedelta(days=2000))
    assert chosen.profile == sample()
    assert "before the profile was made on 2026-03-04: set the clock" in chosen.why


def test_damaged_and_foreign_files_are_named_and_passed_over(tmp_path):
    bad, foreign = tmp_path / "zz.json", tmp_path / "aa.json"
    bad.write_text(sample().to_json().replace("0.5", "0.6"))
    foreign.write_text('{"schema": "trichoscope/bundle/1"}')
    why = choose(tmp_path, DEVICE, SOON).why
    assert why.startswith(f"no profile in {tmp_path}: {foreign}: no calibration profile")
    assert f"{bad}: damaged or altered" in why
    write_profile(tmp_path, sample())
    chosen = choose(tmp_path, DEVICE, SOON)
    assert chosen.profile == sample()
    assert f"{bad}: damaged or altered" in chosen.why


def test_a_folder_that_is_not_there_is_a_reason(tmp_path):
    why = choose(tmp_path / "none", DEVICE, SOON).why
    assert why == f"no profile: there is no folder {tmp_path / 'none'} yet: calibrate this microscope"
    assert choose(tmp_path, DEVICE, SOON).why == f"no profile in {tmp_path}: calibrate this microscope"
    (tmp_path / "file").write_text("")
    assert "cannot be read (Not a directory)" in choose(tmp_path / "file", DEVICE, SOON).why


def test_the_work_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "MAX_FILES", 4)
    read = []
    monkeypatch.setattr(shelf, "read_profile", lambda path: read.append(path.name) or made(1))
    for number in range(9):
        (tmp_path / f"profile-2026010{number}-x.json").write_text("")
    choose(tmp_path, DEVICE, SOON)
    assert read == [f"profile-2026010{number}-x.json" for number in range(5, 9)]


def test_many_damaged_files_do_not_make_a_long_reason(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.json").write_text("x")
    why = choose(tmp_path, DEVICE, SOON).why
    assert "25 more files cannot be used" in why
    assert why.count("no JSON") == 5
