"""The kiosk page in headless Chromium. Every page is watched: no error on its console, and nothing asked from elsewhere."""

import shutil

import pytest

from tests.kiosk.daemon_process import DaemonProcess

ARGUMENTS = [
    "--headless",
    "--no-sandbox",  # tests may run as root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DEADLINE_MS = 30_000


class WatchedPages:
    """Opens pages of one daemon and remembers what went wrong on them."""

    def __init__(self, browser):
        self._browser = browser
        self._pages = []
        self.errors = []
        self.expected = ["willReadFrequently"]  # parts of messages that a test brings about: reading canvases back is slow
        self.requests = []

    def open(self, address, width=1280, height=800, prepare=lambda page: None):
        """A new page on `address`; `prepare(page)` may set up routes before anything is loaded."""
        page = self._browser.new_page(viewport={"width": width, "height": height})
        self._pages.append(page)
        page.set_default_timeout(DEADLINE_MS)
        page.on("console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        prepare(page)
        page.goto(address)
        return page

    def close(self):
        for page in self._pages:
            page.close()

    def unexpected_errors(self):
        return [text for text in self.errors if not any(part in text for part in self.expected)]


@pytest.fixture(scope="package")
def browser():
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium on this machine: the page is not opened")
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: the page is not opened")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def daemon(browser, tmp_path_factory):
    """The daemon on the simulated microscope, with a state folder of its own."""
    with DaemonProcess("simulated:", tmp_path_factory.mktemp("kiosk") / "state") as process:
        yield process


@pytest.fixture
def pages(browser):
    watched = WatchedPages(browser)
    yield watched
    watched.close()
    assert watched.unexpected_errors() == []
    elsewhere = [url for url in watched.requests if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "blob:http://127.0.0.1:"))]
    assert elsewhere == []
    assert watched.requests  # a page that asked for nothing was not watched


@pytest.fixture
def page(pages, daemon):
    """The page, once it shows a live picture with hairs."""
    page = pages.open(daemon.address)
    until_live(page)
    return page


def until_live(page):
    page.wait_for_function("() => window.trichoscopeStats?.().previewFps > 0 && window.trichoscopeStats().resultsPerSecond > 0")
    page.wait_for_function("() => !document.querySelector('#live-stage .veil')")


def figure(page, name):
    """The digits, the unit, the uncertainty and the note of one figure on the live page, as shown."""
    place = page.locator(f".kiosk .panel [data-figure='{name}']").first
    return {part: (place.locator(f".{part}").first.inner_text() if place.locator(f".{part}").count() else "") for part in PARTS}


PARTS = ("value", "unit", "error", "note")
