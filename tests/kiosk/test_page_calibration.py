"""What the page says of the scale: where it is from and by which profile, or why there is none, and that a profile ends soon."""

from datetime import datetime, timedelta, timezone

import cv2
import pytest

from tests.kiosk.conftest import figure, until_live
from tests.kiosk.daemon_process import DaemonProcess
from tests.runtime.drawn import FIVE, hairs_on_skin
from tests.runtime.profile_samples import profile, write

pytestmark = pytest.mark.browser


def test_a_scale_that_is_stated_is_said_under_the_bar_and_nothing_else(page):
    page.locator("#live-stage .scale-bar small", has_text="scale as stated").wait_for()
    assert page.locator(".notices-over .notice").count() == 0


@pytest.mark.parametrize(("width", "height"), [(800, 480)])
def test_the_reason_for_no_scale_then_the_profile_that_fits_then_its_captures(pages, tmp_path, monkeypatch, width, height):
    monkeypatch.setenv("TRICHOSCOPE_ANALYSIS__SEGMENTER", "classical")
    folder, state = tmp_path / "drawn", tmp_path / "state"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.jpg"), hairs_on_skin(FIVE, seed=index)[0])
    write(state / "profiles", profile(microscope="another", size=(640, 480)))
    with DaemonProcess(f"replay:{folder}?fps=20&loop=1", state) as daemon:
        page = pages.open(daemon.address, width, height)
        until_live(page)
        notice = page.locator(".calibration-problem", has_text="Sizes are in pixels")
        notice.locator("span", has_text="another").wait_for()
        badge = page.locator("#live-stage .badge.no-scale")
        assert "no profile fits" in badge.locator("small").inner_text()
        stage, box = page.locator("#live-stage").bounding_box(), badge.bounding_box()
        assert stage["x"] <= box["x"] and box["x"] + box["width"] <= stage["x"] + stage["width"]
        notice.locator("button").click()
        notice.wait_for(state="detached")

        made = profile(8.0, microscope="replay", size=(640, 480), made=datetime.now(timezone.utc) - timedelta(days=1), days=11)
        write(state / "profiles", made)  # while it runs
        caption = page.locator("#live-stage .scale-bar small", has_text=f"scale from the hood · profile {made.id[:8]}")
        caption.wait_for()
        page.locator(".calibration-notice span", has_text="expires in 9 days").wait_for()
        box = caption.bounding_box()
        assert box["y"] + box["height"] <= stage["y"] + stage["height"] and box["x"] + box["width"] <= stage["x"] + stage["width"]
        page.wait_for_function("() => document.querySelector(\"[data-figure='diameter'] .unit\").textContent === 'µm'")
        assert figure(page, "density")["value"] != "—"

        page.locator("button.capture").click()
        page.locator(".captures .thumbnail").first.click()
        page.locator("dialog .scale-bar small", has_text=f"profile {made.id[:8]}").wait_for()
        page.close()
