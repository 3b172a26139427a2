"""The handpiece on the page: its distance, its button, and what is wrong with it, on the smallest screen too."""

import pytest

from device.simulated.handpiece import HandpieceSimulator
from tests.kiosk.conftest import until_live
from tests.kiosk.daemon_process import DaemonProcess

pytestmark = pytest.mark.browser


def test_distance_button_and_absence_are_shown_at_800_by_480(pages, tmp_path, monkeypatch):
    link = tmp_path / "handpiece"
    monkeypatch.setenv("TRICHOSCOPE_HANDPIECE__URI", f"pty:{link}")
    with DaemonProcess("simulated:?width=320&height=240", tmp_path / "state") as daemon:
        with HandpieceSimulator(link=link) as simulator:
            simulator.do("contact", 0)
            page = pages.open(daemon.address, width=800, height=480)
            until_live(page)
            distance = page.locator("[data-stat='distance'] dd", has_text=".")
            distance.wait_for()
            assert abs(float(distance.inner_text()) - simulator.distance_mm) < 2
            top = page.locator(".top")
            assert top.evaluate("top => top.scrollWidth <= top.clientWidth && top.scrollHeight <= top.clientHeight + 1")
            simulator.do("press")
            page.locator("[data-capture]").first.wait_for()  # in the list, without a touch of the screen
        notice = page.locator(".handpiece-problem", has_text="handpiece does not work")
        notice.wait_for()
        assert str(link) in notice.locator("span").inner_text()
        notice.locator("button").click()
        notice.wait_for(state="detached")
        assert page.locator("[data-stat='distance']").count() == 0
        page.close()
