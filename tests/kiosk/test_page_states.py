"""What the page says when something is missing: the microscope, the scale, the daemon."""

import cv2
import pytest

from tests.kiosk.conftest import figure, until_live
from tests.kiosk.daemon_process import DaemonProcess
from tests.runtime.bundle_samples import MODEL, segmenter_role, write_sample
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


def test_without_a_scale_sizes_are_in_pixels_and_densities_missing(pages, tmp_path, monkeypatch):
    monkeypatch.setenv("TRICHOSCOPE_ANALYSIS__SEGMENTER", "classical")  # drawn hairs, as no network has learnt them
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


def test_a_store_in_trouble_is_told_over_the_picture_and_its_past_can_be_closed(pages, tmp_path, monkeypatch):
    monkeypatch.setenv("TRICHOSCOPE_STORE__RESERVE_MB", "1000000")  # no disk has a terabyte free here
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "captures.sqlite").write_bytes(b"this is no database" * 1000)
    with DaemonProcess("simulated:", tmp_path / "state") as daemon:
        page = pages.open(daemon.address)
        page.locator(".store-problem", has_text="free some space").wait_for()
        notice = page.locator(".store-notice", has_text="damaged-1")
        notice.locator("button").click()
        notice.wait_for(state="detached")
        assert page.locator(".store-problem").is_visible()
        page.close()


def test_hair_that_is_found_the_simpler_way_is_told_with_the_reason_and_stays_marked(pages, tmp_path, monkeypatch):
    monkeypatch.setenv("TRICHOSCOPE_ANALYSIS__BUNDLE", str(tmp_path / "dark"))
    role = segmenter_role()
    short = role.trust.model_copy(update={"weights": role.trust.weights[:2]})  # whole, and no network of this program
    write_sample(tmp_path / "dark", role=role.model_copy(update={"trust": short}))
    with DaemonProcess("simulated:?width=320&height=240", tmp_path / "state") as daemon:
        page = pages.open(daemon.address)
        notice = page.locator(".segmenter-notice", has_text="simpler method")
        notice.wait_for()
        assert "2 weights of reliability" in notice.locator("span").inner_text()  # names the thing
        until_live(page)
        notice.locator("button").click()
        notice.wait_for(state="detached")
        page.wait_for_timeout(1500)  # the state comes again each second, and what was closed stays closed
        assert notice.count() == 0
        assert page.locator(".kiosk .quality .label").inner_text() == "Simple hair detection"
        page.close()


def test_a_damaged_bundle_for_which_the_factorys_serves_is_told_and_stays_closed(pages, tmp_path, monkeypatch):
    monkeypatch.setenv("TRICHOSCOPE_ANALYSIS__BUNDLE", str(tmp_path / "dark"))
    write_sample(tmp_path / "dark")
    (tmp_path / "dark" / MODEL).write_bytes(b"damaged")
    with DaemonProcess("simulated:?width=320&height=240", tmp_path / "state") as daemon:
        page = pages.open(daemon.address)
        notice = page.locator(".models-notice", has_text="The factory's bundle serves")
        notice.wait_for()
        assert MODEL in notice.locator("span").inner_text()  # names the thing
        until_live(page)
        assert page.locator(".kiosk .quality .label").inner_text() == "Hair detection"
        notice.locator("button").click()
        notice.wait_for(state="detached")
        page.reload()
        until_live(page)
        assert page.locator(".models-notice").count() == 0
        page.close()


def test_hair_that_is_found_by_the_bundle_is_told_by_nothing_but_its_reliability(pages, tmp_path, monkeypatch):
    monkeypatch.setenv("TRICHOSCOPE_ANALYSIS__BUNDLE", str(tmp_path / "dark"))
    write_sample(tmp_path / "dark")
    with DaemonProcess("simulated:?width=320&height=240", tmp_path / "state") as daemon:
        page = pages.open(daemon.address)
        until_live(page)
        page.locator(".kiosk .quality .reliability b", has_text="reliable").wait_for()
        assert page.locator(".kiosk .quality .label").inner_text() == "Hair detection"
        assert page.locator(".notices-over .notice").count() == 0
        page.close()


# of what the overlay inks, the share that lies on hair in the picture under it, where the overlay is shown at all
ON_HAIR = """() => {
  const overlay = document.querySelector('#live-stage canvas.overlay');
  const picture = document.querySelector('#live-stage canvas.picture');
  const style = getComputedStyle(overlay);
  if (Number(style.opacity) < 1) return null;
  const moved = new DOMMatrix(style.transform); // CSS pixels, as far as the skin has moved since
  const scale = overlay.width / overlay.clientWidth;
  const {data} = overlay.getContext('2d').getImageData(0, 0, overlay.width, overlay.height);
  const under = picture.getContext('2d').getImageData(0, 0, picture.width, picture.height).data;
  let [inked, dark] = [0, 0];
  for (let y = 0; y < overlay.height; y += 1) {
    for (let x = 0; x < overlay.width; x += 1) {
      if (data[4 * (y * overlay.width + x) + 3] < 240) continue;
      const column = Math.floor(((x + moved.e * scale) * picture.width) / overlay.width);
      const row = Math.floor(((y + moved.f * scale) * picture.height) / overlay.height);
      if (column < 0 || row < 0 || column >= picture.width || row >= picture.height) continue;
      inked += 1;
      dark += under[4 * (row * picture.width + column)] < 130;
    }
  }
  return inked > 500 ? dark / inked : null;
}"""


def test_over_single_pictures_the_overlay_lies_on_the_hair_it_was_made_from(pages, tmp_path, monkeypatch):
    monkeypatch.setenv("TRICHOSCOPE_ANALYSIS__SEGMENTER", "classical")
    folder = tmp_path / "single"
    folder.mkdir()
    for index in range(6):  # the same hairs turned, mirrored and moved: no two pictures have hairs in one place
        turned = hairs_on_skin([tuple(value + 13 * index for value in bar[:4]) + bar[4:] for bar in FIVE], seed=index)[0]
        cv2.imwrite(str(folder / f"{index}.png"), cv2.flip(turned, index % 3 - 1) if index % 2 else turned)
    with DaemonProcess(f"replay:{folder}?fps=6&loop=1", tmp_path / "state") as daemon:
        page = pages.open(daemon.address)
        until_live(page)
        page.wait_for_function(f"() => ({ON_HAIR})() > 0.5")
        page.wait_for_timeout(1000)  # the first pictures teach the page that they cannot be followed
        shares = []
        for _ in range(12):
            page.wait_for_function(f"() => ({ON_HAIR})() !== null")
            shares.append(page.evaluate(ON_HAIR))
            page.wait_for_timeout(110)
        assert all(share is None or share > 0.5 for share in shares), shares
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
