from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.camera import DRIVERS, CameraUri, make_camera, parse_uri
from device.errors import CameraUriError

NAMES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
VALUES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=8)
TARGETS = st.text(st.characters(codec="utf-8", exclude_characters="?"), max_size=30)


@given(st.sampled_from(sorted(DRIVERS)), TARGETS, st.dictionaries(NAMES, VALUES, max_size=4))
def test_an_address_survives_being_written_and_read(scheme: str, target: str, options: dict[str, str]) -> None:
    uri = CameraUri(scheme, target, options)
    assert parse_uri(str(uri)) == uri


@given(st.text(max_size=60) | st.builds(lambda s, t: f"{s}:{t}", st.sampled_from(sorted(DRIVERS)), st.text(max_size=60)))
def test_any_text_is_understood_or_refused_with_its_own_error(text: str) -> None:
    try:
        uri = parse_uri(text)
    except CameraUriError:
        return
    assert uri.scheme in DRIVERS and text.startswith(f"{uri.scheme}:")


@pytest.mark.parametrize("text", ["", "simulated", "webcam:0", ":x", "replay:x?fps", "simulated:?fps=1&fps=2", "/a/folder"])
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(CameraUriError) as told:
        parse_uri(text)
    assert text in str(told.value)


@given(st.floats() | st.text(max_size=8))
def test_a_number_lies_in_its_range_or_is_refused(value: float | str) -> None:
    uri = CameraUri("simulated", "", {"fps": str(value)})
    try:
        assert 1 <= uri.number("fps", 30, low=1, high=60) <= 60
    except CameraUriError as error:
        assert "fps" in str(error)


def test_no_driver_is_imported_before_it_is_asked_for() -> None:
    camera = make_camera("replay:somewhere")
    assert type(camera).__name__ == "ReplayCamera"
