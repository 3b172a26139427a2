from __future__ import annotations

import pytest
from pydantic import ValidationError

from device.settings import CameraSettings


def test_the_default_camera_needs_no_device() -> None:
    assert CameraSettings().uri == "simulated:"


@pytest.mark.parametrize("given", [{"url": "simulated:"}, {"uri": "webcam:0"}, {"read_timeout_s": 0}, {"reopen_delay_s": float("inf")}])
def test_what_cannot_be_is_refused_by_its_key(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as told:
        CameraSettings.model_validate(given)
    assert told.value.errors()[0]["loc"] == tuple(given)


def test_every_setting_is_described() -> None:
    assert all(field.description for field in CameraSettings.model_fields.values())
