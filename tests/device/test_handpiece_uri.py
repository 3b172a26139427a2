from __future__ import annotations

import pytest
from pydantic import ValidationError

from device.errors import HandpieceUriError
from device.handpiece.handpiece import Handpiece
from device.handpiece.serial_sensor import Gy53, Tofsense
from device.handpiece.uri import make_handpiece, parse_handpiece_uri
from device.settings import HandpieceSettings
from device.simulated.handpiece import SimulatedHandpiece

BY_ID = "serial:/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A1-if00-port0"


@pytest.mark.parametrize(
    ("address", "driver"),
    [
        (BY_ID, Handpiece),
        (f"{BY_ID}?driver=reference&baud=57600", Handpiece),
        (f"{BY_ID}?driver=tofsense", Tofsense),
        (f"{BY_ID}?driver=gy53&baud=115200", Gy53),
        ("serial:auto", Handpiece),
        ("pty:/dev/pts/3", Handpiece),
        ("simulated:", SimulatedHandpiece),
        ("simulated:?rate=20&seed=3&script=contact:1,press", SimulatedHandpiece),
    ],
)
def test_addresses_lead_to_their_drivers_and_open_nothing(address: str, driver: type) -> None:
    made = make_handpiece(address)
    assert type(made) is driver and str(made.uri) == address == str(parse_handpiece_uri(address))


def test_none_is_no_handpiece_and_the_default() -> None:
    assert make_handpiece("none:") is None
    assert HandpieceSettings().uri == "none:"


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("", "begin with"),
        ("/dev/ttyUSB0", "begin with"),
        ("usb:0", "begin with"),
        ("serial:", "names no port"),
        ("pty:", "names no port"),
        ("serial:/dev/tty\0", "names no port"),
        ("serial:auto?driver=sonar", "reference, tofsense, gy53"),
        ("serial:auto?baud=fast", "baud=fast"),
        ("serial:auto?baud=300", "1200"),
        ("serial:auto?baud=٩٦٠٠", "baud="),
        ("serial:auto?parity=odd", "parity"),
        ("serial:auto?baud=9600&baud=9600", "twice"),
        ("serial:auto?baud", "name=value"),
        ("none:here", "stands alone"),
    ],
)
def test_addresses_that_cannot_be_are_refused(address: str, named: str) -> None:
    with pytest.raises(HandpieceUriError, match=named):
        parse_handpiece_uri(address)
    with pytest.raises(ValidationError, match=named):
        HandpieceSettings(uri=address)


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("simulated:?speed=3", "speed"),
        ("simulated:?rate=0", "rate"),
        ("simulated:?script=jump", "jump"),
        ("simulated:?script=contact:soon", "contact:soon"),
        ("simulated:?script=contact:-1", "between 0"),
        ("simulated:?script=,", "1 to 200 steps"),
        ("simulated:?script=" + "press," * 201, "1 to 200 steps"),
    ],
)
def test_scripts_that_cannot_be_followed_are_refused_before_anything_opens(address: str, named: str) -> None:
    with pytest.raises(HandpieceUriError, match=named):
        make_handpiece(address)


def test_every_setting_is_described_and_no_other_is_taken() -> None:
    assert all(field.description for field in HandpieceSettings.model_fields.values())
    with pytest.raises(ValidationError):
        HandpieceSettings.model_validate({"url": "none:"})
