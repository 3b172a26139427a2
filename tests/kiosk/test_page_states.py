"""What the page says when something is missing: the microscope, the scale, the daemon."""

import cv2
import pytest

from tests.kiosk.conftest import figure, until_live
from tests.kiosk.daemon_process import DaemonProcess
from tests.runtime.drawn import FIVE, hairs_on_skin

pytestmark = pytest.mark.browser


def test_without_a_microscope_the_page_says_what_to_do(pages, tmp_path):
    with DaemonProcess(f"replay:{tmp_path / 'unplugged'}", tmp_path / "state") as daemon:
        page = pages.open(daemon.address)
        veil = page.locator("#live-stage .veil")
        veil.locator("b", has_text="No microscope found").wait_for()
        assert "unplugged" in veil.locator("span").inner_text()  # names the thing
        assert figure(page, "density")["value"] == "—" and figure(page, "hairs")["value"] == "—"
        assert page.locator("button.capture").get_attribute("aria-disabled") == "true"
        page.close()


def test_without_a_scale_sizes_are_in_pixels_and_densities_missing(pages, tmp_path):
    folder = tmp_path / "drawn"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.jpg"), hairs_on_skin(FIVE, seed=index)[0])
    with DaemonProcess(f"replay:{folder}?fps=20&loop=1", tmp_path / "state") as daemon:
        page = pages.open(daemon.address)
        until_live(page)
        page.locator(".badge.no-scale").wait_for()
        assert figure(page, "density")["value"] == "—"
        assert figure(page, "diameter")["unit"] == "px"
        assert abs(int(figure(page, "hairs")["value"]) - len(FIVE)) <= 1
        assert "px" in page.locator("[data-chart='diameters']").first.inner_text()
        page.close()


def test_the_page_recovers_by_itself_when_the_daemon_comes_back(pages, tmp_path):
    pages.expected += ["WebSocket", "net::ERR_CONNECTION", "Failed to load resource"]
    with DaemonProcess("simulated:", tmp_path / "state") as daemon:
        page = pages.open(daemon.address)
        until_live(page)
    page.locator("#live-stage .veil b", has_text="connection").wait_for()
    assert page.locator("#live-stage .veil button").is_visible()
    with DaemonProcess("simulated:", tmp_path / "state", port=daemon.port):
        page.locator("#live-stage .veil").wait_for(state="detached")
        until_live(page)
        page.close()
