"""The live page over the real daemon and the simulated microscope."""

import re

import pytest

from tests.kiosk.conftest import figure

pytestmark = pytest.mark.browser

SAMPLE = """() => {
  const canvas = document.querySelector('#live-stage canvas.picture');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let [low, high, sum] = [255, 0, 0];
  for (let i = 0; i < data.length; i += 4) { low = Math.min(low, data[i]); high = Math.max(high, data[i]); sum += data[i] * (i % 97); }
  return {width: canvas.width, height: canvas.height, low, high, sum};
}"""
INKED = """() => {
  const canvas = document.querySelector('#live-stage canvas.overlay');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const hues = new Set();
  let inked = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] <= 200) continue;
    inked += 1;
    hues.add((data[i] >> 5) * 64 + (data[i + 1] >> 5) * 8 + (data[i + 2] >> 5));
  }
  return {share: 4 * inked / data.length, hues: hues.size};
}"""


FIGURES = """() => {
  const read = (name) => {
    const place = document.querySelector(`.kiosk .panel [data-figure='${name}']`);
    return Object.fromEntries(['value', 'unit', 'error'].map((part) => [part, place?.querySelector(`.${part}`)?.innerText ?? '']));
  };
  const figures = Object.fromEntries(['density', 'diameter', 'hairs'].map((name) => [name, read(name)]));
  return figures.diameter.error.startsWith('± ') && figures;
}"""


def test_the_picture_is_drawn_and_moves(page):
    first = page.evaluate(SAMPLE)
    assert first["width"] > 300 and first["height"] > 200
    assert first["high"] - first["low"] > 60  # skin and hair, not one colour
    page.wait_for_function(f"() => ({SAMPLE})().sum !== {first['sum']}")


def test_hairs_are_drawn_each_in_its_colour_until_the_operator_switches_them_off(page):
    page.wait_for_function(f"() => ({INKED})().share > 0.001")
    assert page.evaluate(INKED)["hues"] >= 3
    switch = page.get_by_role("switch", name="Overlay")
    assert switch.get_attribute("aria-checked") == "true"
    switch.click()
    page.wait_for_function(f"() => ({INKED})().share === 0")
    assert switch.get_attribute("aria-checked") == "false"
    page.keyboard.press("o")
    page.wait_for_function(f"() => ({INKED})().share > 0.001")


def test_numbers_have_units_and_uncertainty(page):
    # the median of a single hair has no error, and figures change many times a second: all are read in one moment with some hairs in view
    seen = page.wait_for_function(FIGURES).json_value()
    density, diameter, hairs = seen["density"], seen["diameter"], seen["hairs"]
    assert re.fullmatch(r"\d+", density["value"]) and density["unit"] == "per cm²" and density["error"].startswith("± ")
    assert re.fullmatch(r"\d+", diameter["value"]) and diameter["unit"] == "µm" and diameter["error"].startswith("± ")
    assert int(hairs["value"]) > 0 and hairs["error"].startswith("± ")
    assert re.fullmatch(r"\d+", figure(page, "follicles")["value"])
    assert "%" in page.locator("[data-figure='terminal-vellus']").first.inner_text()
    assert page.locator(".scale-bar span").first.inner_text().endswith(("µm", "mm"))
    assert page.locator(".quality b").first.inner_text() != ""


def test_charts_are_drawn(page):
    for chart in ("trend", "diameters"):
        page.wait_for_function(
            f"""() => {{
              const canvas = document.querySelector('[data-chart="{chart}"] canvas');
              if (!canvas || !canvas.width) return false;
              const {{data}} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
              return data.some((value, index) => index % 4 === 0 && value > 200);
            }}"""
        )


def test_the_technicians_line_and_the_bench_read_the_same_clock(page):
    page.wait_for_function("() => document.querySelector('[data-stat=\"fps\"] dd').textContent !== '—'")
    stats = page.evaluate("() => window.trichoscopeStats()")
    assert stats["previewFps"] > 0 and stats["resultsPerSecond"] > 0
    assert 0 < stats["ageMs"]["p50"] <= stats["ageMs"]["p95"]
    assert stats["brokenPictures"] == 0


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (800, 480), (1920, 1080)])
def test_everything_an_operator_touches_is_in_view_and_large_enough(pages, daemon, width, height):
    page = pages.open(daemon.address, width, height)
    page.wait_for_selector("button.capture")
    for control in page.locator("button:visible").all():
        box = control.bounding_box()
        assert box["width"] >= 48 and box["height"] >= 48, control.inner_text()
    for selector in ("button.capture", ".site >> nth=5", ".switch", "#live-stage", "[data-figure='density']", ".quality"):
        box = page.locator(selector).first.bounding_box()
        assert box["x"] >= 0 and box["y"] >= 0, selector
        assert box["x"] + box["width"] <= width and box["y"] + box["height"] <= height, selector
    assert page.evaluate("() => document.documentElement.scrollHeight <= innerHeight && document.documentElement.scrollWidth <= innerWidth")
