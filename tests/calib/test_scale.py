import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.errors import ScaleError
from calib.scale import MAX_UM_PER_PX, MIN_UM_PER_PX, NO_SCALE, Scale, given_scale


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_only_a_microscopes_scale_is_taken(value):
    if MIN_UM_PER_PX <= value <= MAX_UM_PER_PX:
        assert given_scale(value).um_per_px == value
    else:
        with pytest.raises(ScaleError, match="no microscope's scale"):
            given_scale(value)


def test_no_scale_has_no_factor():
    assert NO_SCALE.um_per_px is None
    with pytest.raises(ScaleError):
        Scale(5.0, None, "none")
    with pytest.raises(ScaleError):
        Scale(None, None, "given")


@pytest.mark.parametrize("std", [-0.1, math.nan, math.inf])
def test_uncertainty_is_a_number(std):
    with pytest.raises(ScaleError, match="uncertainty"):
        given_scale(5.0, std)
