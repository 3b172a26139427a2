"""What the page says of the installed bundles and of the use that was asked for; each can be closed, and stays closed."""

import contextlib

import httpx
import pytest

from runtime.bundles.reader import FACTORY, read_bundle
from runtime.bundles.trial import ModelStore
from tests.eventually import DEADLINE_S, eventually
from tests.kiosk.conftest import until_live
from tests.kiosk.daemon_process import DaemonProcess
from tests.runtime.signing_samples import LINE, SETTINGS, signed

pytestmark = pytest.mark.browser


@contextlib.contextmanager
def kiosk(tmp_path, monkeypatch):
    """A daemon that trusts the tests' key; clinical use is asked for, and nobody declared it."""
    (tmp_path / "trichoscope.toml").write_text(f'[models]\ntrusted_keys = ["{LINE}"]\n[use]\nprofile = "clinical"\n')
    monkeypatch.setenv("TRICHOSCOPE_CONFIG", str(tmp_path / "trichoscope.toml"))
    with DaemonProcess("simulated:?width=320&height=240", tmp_path / "state") as daemon:
        yield daemon


def models_of(daemon):
    return httpx.get(f"{daemon.address}api/status", timeout=DEADLINE_S).json()["models"]


def test_a_bundle_that_was_rolled_back_one_that_waits_and_a_use_that_is_not_in_force_are_told(pages, tmp_path, monkeypatch):
    store = ModelStore(tmp_path / "state" / "models", SETTINGS)
    slot, _ = store.install(signed(tmp_path / "dark"))
    store.activate(slot)
    for _ in range(3):
        ModelStore(store.folder, SETTINGS).begin_trial()  # three starts that ended in a crash
    with kiosk(tmp_path, monkeypatch) as daemon:
        page = pages.open(daemon.address, 800, 480)
        until_live(page)
        notice = page.locator(".models-notice")
        notice.wait_for()
        assert "rolled back to the factory's bundle" in notice.locator("span").inner_text()
        assert slot[:12] in notice.locator("span").inner_text()
        use = page.locator(".use-notice", has_text="trichoscope use declare")
        assert "clinical use is not in force" in use.inner_text()
        for each in (notice, use):
            box = each.locator("button.close").bounding_box()
            assert min(box["width"], box["height"]) >= 44
            span = each.locator("span")
            assert span.evaluate("(span) => span.scrollHeight <= span.clientHeight + 1")  # all of it can be read
            assert each.bounding_box()["x"] + each.bounding_box()["width"] <= 800
        notice.locator("button.close").click()
        use.locator("button.close").click()
        notice.wait_for(state="detached")
        eventually(lambda: models_of(daemon) == {"bundle": read_bundle(FACTORY).id, "source": "factory", "waiting": False, "notice": None})
        assert page.locator(".notices-over .notice").count() == 0
        assert ModelStore(store.folder, SETTINGS).choose().notice is None  # nor after the next start

        slot, _ = store.install(signed(tmp_path / "dark-2", 2))
        store.activate(slot)
        waiting = page.locator(".models-waiting")
        waiting.wait_for()
        waiting.locator("button.close").click()
        waiting.wait_for(state="detached")
        again = pages.open(daemon.address, 800, 480)
        again.locator(".models-waiting").wait_for()
        assert again.locator(".models-notice").count() == 0
        again.locator(".use-notice").wait_for()  # it is in force for as long as nobody declares
        page.close()
        again.close()
