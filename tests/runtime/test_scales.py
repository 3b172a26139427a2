"""Scales that a person gives: a number, or a table that is checked line by line."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calib.scale import NO_SCALE
from runtime.commands.scales import read_scales, scales_from
from runtime.errors import ConfigError


def test_none_and_one_number():
    assert scales_from(None, print)(Path("a.jpg")) == NO_SCALE
    assert scales_from("6.5", print)(Path("a.jpg")).um_per_px == 6.5


@pytest.mark.parametrize("text", ["0", "-3", "nan", "inf", "5000"])
def test_an_absurd_number_is_refused(text):
    with pytest.raises(ConfigError, match="no microscope's scale"):
        scales_from(text, print)


def test_a_picture_absent_from_the_table_has_no_scale_and_is_named(tmp_path):
    table = tmp_path / "scales.csv"
    table.write_text("image,um_per_px\na.jpg,6.25\n")
    warnings = []
    scale_of = scales_from(str(table), warnings.append)
    assert scale_of(Path("x/a.jpg")).um_per_px == 6.25
    assert scale_of(Path("x/b.jpg")) == NO_SCALE
    assert len(warnings) == 1
    assert "b.jpg" in warnings[0]


def test_columns_may_stand_in_any_order_and_lines_be_empty(tmp_path):
    table = tmp_path / "scales.csv"
    table.write_bytes("\ufeffnote,um_per_px,image\r\nfirst,7.5,a.jpg\r\n\r\n,8,b.jpg\r\n".encode())
    assert {k: v.um_per_px for k, v in read_scales(table).items()} == {"a.jpg": 7.5, "b.jpg": 8.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must name the columns"),
        ("picture,scale\na,1\n", "must name the columns image,um_per_px, not picture,scale"),
        ("image,um_per_px\na.jpg,wide\n", "line 2: 'wide' is no scale for a.jpg"),
        ("image,um_per_px\na.jpg,6\nb.jpg\n", "line 3: too few columns"),
        ("image,um_per_px\na.jpg,6\na.jpg,7\n", "line 3: a second, different scale for a.jpg"),
        ("image,um_per_px\na.jpg,0\n", "line 2"),
    ],
)
def test_a_bad_table_names_its_line(tmp_path, text, says):
    table = tmp_path / "scales.csv"
    table.write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_scales(table)


def test_neither_number_nor_file():
    with pytest.raises(ConfigError, match="neither a number of µm per pixel nor a file"):
        scales_from("no-such-table.csv", print)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_a_table_or_a_clear_refusal(tmp_path, data):
    table = tmp_path / "scales.csv"
    table.write_bytes(b"image,um_per_px\n" + data)
    try:
        scales = read_scales(table)
    except ConfigError as error:
        assert str(table) in str(error)
    else:
        assert all(s.um_per_px is not None for s in scales.values())
