"""The profile's file: does it come back as written, is any other refused with file, reason and remedy, is nothing overwritten?"""

import json
import os
from datetime import timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from calib import profile as profile_module
from calib.errors import ProfileError
from calib.profile import (
    LIFETIME,
    MAX_FILE_BYTES,
    Curve,
    Device,
    HairPlane,
    LensFit,
    Light,
    Profile,
    profile_id,
    read_profile,
    sealed,
    write_profile,
)
from tests.calib.profile_samples import DEVICE, NOW, curve_part, hood_only, sample


@pytest.mark.parametrize("made", [sample, hood_only])
def test_it_comes_back_as_it_was_written(tmp_path, made):
    profile = made()
    path = write_profile(tmp_path / "profiles" / "deep", profile)
    assert path.name == f"profile-20260304-{profile.id}.json"
    assert read_profile(path) == profile
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert names_in(path.parent) == [path.name]


def names_in(folder):
    return [entry.name for entry in folder.iterdir()]


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


finite = st.floats(-1e6, 1e6)
spread = st.floats(0, 1000)


control = st.booleans() | st.integers(-9, 9) | finite | st.text(max_size=9)


@given(
    a=st.floats(0, 1e6),
    b=st.floats(1e-3, 100),
    var=st.tuples(spread, spread),
    k=st.floats(-0.1, 0.1),
    note=st.text(max_size=40),
    level=st.floats(1e-4, 1),
    controls=st.dictionaries(st.text(min_size=1, max_size=9), control, max_size=3),
)
@settings(deadline=None, max_examples=60)
def test_every_number_survives_the_file(tmp_path_factory, a, b, var, k, note, level, controls):
    curve = curve_part().model_dump() | {"a_um_per_px": a, "b_um_per_px_per_mm": b, "covariance": ((var[0], 0.0), (0.0, var[1]))}
    profile = sample(
        curve=Curve(**curve),
        lens=LensFit(centre_px=(a, b), k1=k, k2=k / 3),
        light=(Light(distance_mm=b, flat_field=(((level, level, 1.0),) * 2,) * 2),),
        device=Device(**(DEVICE.model_dump() | {"controls": controls})),
        note=note,
    )
    folder = tmp_path_factory.mktemp("profiles")
    again = read_profile(write_profile(folder, profile))
    assert again == profile
    assert {name: type(value) for name, value in again.device.controls.items()} == {name: type(value) for name, value in controls.items()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    path = write_profile(folder / "good.json", sample())
    return path.read_bytes(), folder / "bad.json"


@given(data=st.data())
@settings(deadline=None, max_examples=400)
def test_a_changed_byte_is_refused_or_changes_nothing(written, data):
    raw, file = written
    at = data.draw(st.integers(0, len(raw) - 1))
    byte = data.draw(st.integers(0, 255) | st.sampled_from(b" 0123456789.eE-+\"'{}[],:tfn\n\\"))
    _refused_or_the_same(file, raw[:at] + bytes([byte]) + raw[at + 1 :])


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_a_cut_or_doubled_file_is_refused_or_changes_nothing(written, data):
    raw, file = written
    start, end = sorted((data.draw(st.integers(0, len(raw))), data.draw(st.integers(0, len(raw)))))
    _refused_or_the_same(file, raw[:start] + raw[end:] if data.draw(st.booleans()) else raw[:end] + raw[start:])


def _refused_or_the_same(file, raw):
    file.write_bytes(raw)
    try:
        assert read_profile(file) == sample()
    except ProfileError as error:
        assert str(error).startswith(f"{file}: ")
        assert str(error).count(": ") >= 2  # reason and remedy


def test_an_edited_number_is_seen(tmp_path):
    path = write_profile(tmp_path, sample())
    path.write_text(path.read_text().replace('"b_um_per_px_per_mm": 0.5', '"b_um_per_px_per_mm": 0.51'))
    with pytest.raises(ProfileError, match=r"damaged or altered, it says id .* use an unaltered copy of it, or calibrate anew"):
        read_profile(path)


def test_the_id_is_the_contents(tmp_path):
    profile = sample()
    content = json.loads(profile.to_json())
    assert profile.id == profile_id(content) == profile_id(dict(reversed(content.items())))
    assert sample().id == profile.id
    assert sample(note="x").id != profile.id
    with pytest.raises(ProfileError, match="its id is not its content's"):
        write_profile(tmp_path, profile.model_copy(update={"note": "x"}))
    assert sealed(profile.model_copy(update={"note": "x"})).id == sample(note="x").id


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "damaged, no JSON"),
        ("hello", "damaged, no JSON"),
        ("[" * 100_000, "damaged, no JSON"),
        ('{"schema": ' + "9" * 5000 + "}", "damaged, no JSON"),
        ("[1, 2]", "no calibration profile .* name a profile's file"),
        ('{"schema": "trichoscope/bundle/1"}', "no calibration profile"),
        ('{"schema": "trichoscope/profile/2"}', "of schema 'trichoscope/profile/2', .* bring the program up to date"),
        ('{"schema": "trichoscope/profile/1"}', "damaged or altered, id: Field required"),
        ('{"schema": "trichoscope/profile/1", "id": NaN}', "damaged or altered"),
        (" " * (MAX_FILE_BYTES + 1), "larger than 1 MiB"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path, text, says):
    file = tmp_path / "p.json"
    file.write_text(text)
    with pytest.raises(ProfileError, match=says) as caught:
        read_profile(file)
    assert str(caught.value).startswith(f"{file}: ")


@pytest.mark.parametrize(("name", "says"), [("gone.json", "no such file"), (".", "no regular file"), ("pipe", "no regular file")])
def test_what_is_no_file_is_named(tmp_path, name, says):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ProfileError, match=says):
        read_profile(tmp_path / name)


def test_nothing_is_overwritten(tmp_path):
    path = write_profile(tmp_path / "mine.json", sample())
    before = path.stat()
    assert write_profile(path, sample()) == path  # the same again: nothing to do
    for other in (sample(note="another"), hood_only()):
        with pytest.raises(ProfileError, match=r"mine\.json: another file is there, and profiles are never overwritten"):
            write_profile(path, other)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.write_text("ruined")
    with pytest.raises(ProfileError, match="never overwritten"):
        write_profile(path, sample())
    assert names_in(tmp_path) == ["mine.json"]


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch, call):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(profile_module.os, call, full)
    if call == "link":  # a file system without links; a rename does it there
        assert read_profile(write_profile(tmp_path / "a.json", sample())) == sample()
        with pytest.raises(ProfileError, match="never overwritten"):
            write_profile(tmp_path / "a.json", hood_only())
        return
    with pytest.raises(ProfileError, match=r"a\.json: cannot be written \(No space left on device\): check"):
        write_profile(tmp_path / "a.json", sample())
    assert names_in(tmp_path) == []


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProfileError, match="file: another file is there"):
        write_profile(tmp_path / "file", sample())
    with pytest.raises(ProfileError, match="cannot be written"):
        write_profile(tmp_path / "file" / "deeper", sample())


def test_it_expires():
    profile = sample()
    assert not profile.expired_at(NOW)
    assert not profile.expired_at(NOW + LIFETIME - timedelta(seconds=1))
    assert profile.expired_at(NOW + LIFETIME)
    assert profile.expired_at((NOW + LIFETIME).astimezone(timezone(timedelta(hours=9))))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hood_scale": {"um_per_px": 11.0, "um_per_px_std": 0.1}}, "one of them"),
        ({"curve": None}, "one of them"),
        ({"curve": None, "hood": None, "hood_scale": {"um_per_px": 11.0, "um_per_px_std": 0.1}}, "belongs to a hood"),
        ({"expires_utc": NOW}, "expires before it was made"),
        ({"made_utc": NOW.astimezone(timezone(timedelta(hours=2)))}, "times are in UTC"),
        ({"made_utc": NOW.replace(tzinfo=None)}, "timezone"),
        ({"target": "dots"}, "target 'dots'"),
        ({"max_psf_sigma_px": float("inf")}, "finite"),
        ({"unknown": 1}, "Extra inputs"),
        ({"id": "xyz"}, "pattern"),
        ({"point_spread": tuple(reversed(sample().point_spread))}, "rising distance"),
    ],
)
def test_content_that_cannot_be_is_refused(changes, says):
    with pytest.raises(ValidationError, match=says):
        sample(**changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"covariance": ((1.0, 2.0), (2.0, 1.0))}, "covariance"),
        ({"covariance": ((1.0, 0.1), (0.2, 1.0))}, "covariance"),
        ({"low_mm": 40.0}, "interval of the curve is empty"),
        ({"a_um_per_px": -5.5}, "scales of nothing and less"),
        ({"b_um_per_px_per_mm": -0.5}, "greater than 0"),
        ({"a_um_per_px": float("nan")}, "finite"),
    ],
)
def test_a_curve_that_cannot_be_is_refused(changes, says):
    with pytest.raises(ValidationError, match=says):
        Curve(**(curve_part().model_dump() | changes))


def test_parts_that_cannot_be_are_refused():
    with pytest.raises(ValidationError, match="folds the picture"):
        LensFit(centre_px=(320.0, 240.0), k1=-0.9, k2=0.0)
    with pytest.raises(ValidationError, match="same length"):
        Light(distance_mm=20.0, flat_field=(((1.0, 1.0, 1.0),) * 2, ((1.0, 1.0, 1.0),) * 3))
    with pytest.raises(ValidationError, match="shares of the brightest"):
        Light(distance_mm=20.0, flat_field=(((1.0, 0.0, 1.0),) * 2,) * 2)
    with pytest.raises(ValidationError, match="frozen"):
        sample().note = "edited"  # type: ignore[misc]


def test_defaults_are_the_designs():
    assert (HairPlane().height_mm, HairPlane().height_std_mm) == (0.3, 0.3)
    assert sample().max_psf_sigma_px == 2.5
    assert LIFETIME.days == 365


def test_the_point_spread_lies_between_its_neighbours():
    profile = sample()
    assert [profile.psf_at(d) for d in (5.0, 12.0, 16.0, 26.0, 99.0)] == [2.0, 2.0, 1.5, 2.5, 4.0]
    assert sample(point_spread=()).psf_at(20.0) is None


def test_a_file_with_flat_fields_for_every_distance_fits():
    light = Light(distance_mm=20.0, flat_field=tuple(((0.1234, 0.5678, 0.9012),) * 32 for _ in range(24)))
    profile = sample(light=(light,) * 16)
    assert len(profile.to_json()) < MAX_FILE_BYTES
    assert Profile.model_validate_json(profile.to_json()) == profile
