import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from calib.scale import NO_SCALE, given_scale
from calib.settings import CalibrationSettings


def test_nothing_is_set_by_default():
    settings = CalibrationSettings()
    assert settings.scale() == NO_SCALE
    assert (settings.folder, settings.hood, settings.microscope, settings.distance_std_mm) == (None, None, None, None)


def test_a_stated_scale_stands_beside_the_rest(tmp_path):
    settings = CalibrationSettings.model_validate({"um_per_px": 4.0, "folder": str(tmp_path), "hood": "clear 20", "distance_std_mm": 0.5})
    assert settings.scale() == given_scale(4.0)
    assert settings.folder == tmp_path
    assert CalibrationSettings.model_validate(json.loads(settings.model_dump_json())) == settings
    assert CalibrationSettings.model_validate({"folder": "~/profiles"}).folder == Path.home() / "profiles"
    assert CalibrationSettings.model_validate({"folder": ""}).folder is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"folder": "here"}, "give an absolute path"),
        ({"folder": 5}, "in quotation marks"),
        ({"hood": ""}, "at least 1 character"),
        ({"microscope": ""}, "at least 1 character"),
        ({"distance_std_mm": -1.0}, "greater than or equal to 0"),
        ({"distance_std_mm": float("nan")}, "finite"),
    ],
)
def test_mistakes_are_refused(values, says):
    with pytest.raises(ValidationError, match=says):
        CalibrationSettings.model_validate(values)
