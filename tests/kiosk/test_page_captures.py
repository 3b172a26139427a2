"""Capturing on the page, the list of captures, and one capture opened with its overlay."""

import json

import pytest

pytestmark = pytest.mark.browser

THUMBNAILS = ".captures .thumbnail"


def capture(page):
    """Press the button and wait until the list has grown."""
    before = page.locator(THUMBNAILS).count()
    page.locator("button.capture").click()
    page.wait_for_function(f"() => document.querySelectorAll('{THUMBNAILS}').length === {before + 1}")


def test_capturing_stores_and_lists_newest_first(page, daemon):
    page.locator(".site[data-site='vertex']").click()
    assert page.locator(".site[data-site='vertex']").get_attribute("aria-pressed") == "true"
    posted = []
    page.on("request", lambda request: posted.append(request.post_data) if request.method == "POST" else None)
    capture(page)
    assert json.loads(posted[0]) == {"site": "vertex"}
    page.wait_for_function("() => document.querySelector('button.capture').textContent.includes('Kept')")
    page.wait_for_function("() => document.querySelector('button.capture').textContent === 'Capture'")
    capture(page)
    ids = [int(each.get_attribute("data-capture")) for each in page.locator(THUMBNAILS).all()]
    assert ids == sorted(ids, reverse=True)
    stored = page.request.get(f"{daemon.address}api/captures").json()["captures"]
    assert [row["id"] for row in stored] == ids
    assert stored[0]["site"] == stored[1]["site"] == "vertex"
    page.wait_for_function(f"() => document.querySelector('{THUMBNAILS} img').naturalWidth > 0")


def _or_dash(figure, part, digits):
    return "—" if figure is None or figure[part] is None else format(figure[part], digits)


def test_a_capture_opens_with_its_overlay_and_its_numbers(page, daemon):
    capture(page)
    page.locator(THUMBNAILS).first.click()
    dialog = page.get_by_role("dialog")
    page.wait_for_function(
        """() => {
          const canvas = document.querySelector('dialog canvas.overlay');
          if (!canvas || !canvas.width) return false;
          const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          return data.some((value, i) => i % 4 === 3 && value > 200);
        }"""
    )
    page.wait_for_function("() => document.querySelector('dialog img.picture').naturalWidth > 0")
    kept = page.evaluate("() => fetch('/api/captures?limit=1').then((r) => r.json()).then((b) => b.captures[0])")
    assert dialog.locator("[data-figure='hairs'] .value").inner_text() == str(kept["hair_count"])
    m = page.request.get(f"{daemon.address}api/captures/{kept['id']}").json()["measurement"]
    shown = {name: dialog.locator(f"[data-figure='{name}']").inner_text().split("\n")[-1] for name in ("thickness", "diversity", "apart")}
    assert shown == {
        "thickness": _or_dash(m["cumulative_thickness_mm_per_cm2"], "value", ".1f") + " mm/cm²",
        "diversity": "—" if m["diameter_diversity"]["cv"] is None else f"{100 * m['diameter_diversity']['cv']:.0f} %",
        "apart": _or_dash(m["interfollicular_distance_um"], "mean", ".0f") + " µm",
    }
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert page.evaluate("() => document.activeElement.classList.contains('thumbnail')")


def test_a_hair_is_highlighted_under_the_finger_and_by_the_keyboard(page):
    capture(page)
    page.locator(THUMBNAILS).first.click()
    dialog = page.get_by_role("dialog")
    note = dialog.locator(".hair-note")
    dialog.locator("[data-figure='hairs'] .value", has_not_text="—").wait_for()
    x, y, diameter, width = page.evaluate(
        """async () => {
          const {captures} = await (await fetch('/api/captures?limit=1')).json();
          const {measurement: m} = await (await fetch(`/api/captures/${captures[0].id}`)).json();
          const hair = m.hairs.reduce((a, b) => (b.points.length > a.points.length ? b : a));
          const [x, y] = hair.points[Math.floor(hair.points.length / 2)];
          return [x, y, hair.diameter_um, m.width_px];
        }"""
    )
    box = dialog.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + (x + 0.5) * box["width"] / width, box["y"] + (y + 0.5) * box["width"] / width)
    note.locator(".value").wait_for()
    if diameter is not None:  # another hair may lie on top of it there; its diameter is shown then
        assert note.locator(".unit").inner_text() == "µm"
    page.mouse.move(0, 0)
    dialog.locator(".stage").focus()
    page.keyboard.press("ArrowRight")
    first = note.inner_text()
    page.keyboard.press("ArrowRight")
    assert note.inner_text() != first
    dialog.get_by_role("button", name="Back to live").click()
    dialog.wait_for(state="detached")


def test_older_and_newer_walk_through_the_captures(page):
    while page.locator(THUMBNAILS).count() < 2:
        capture(page)
    page.locator(THUMBNAILS).first.click()
    dialog = page.get_by_role("dialog")
    newest = dialog.locator("img.picture").get_attribute("src")
    assert dialog.get_by_role("button", name="Newer").is_disabled()
    dialog.get_by_role("button", name="Older").click()
    page.wait_for_function(f"() => document.querySelector('dialog img.picture').getAttribute('src') !== {json.dumps(newest)}")
    dialog.get_by_role("button", name="Newer").click()
    page.wait_for_function(f"() => document.querySelector('dialog img.picture').getAttribute('src') === {json.dumps(newest)}")


def test_a_refused_capture_says_why_and_what_to_do(pages, daemon, page):
    pages.expected.append("409")
    answer = json.dumps({"error": "8 captures wait already", "remedy": "press again in a moment"})
    page.route("**/api/captures", lambda route: route.fulfill(status=409, content_type="application/json", body=answer))
    before = page.locator(THUMBNAILS).count()
    page.keyboard.press("c")
    alert = page.locator(".notice")
    alert.wait_for()
    assert "8 captures wait already" in alert.inner_text() and "press again in a moment" in alert.inner_text()
    assert page.locator(THUMBNAILS).count() == before
    alert.get_by_role("button").click()
    alert.wait_for(state="detached")


def test_a_better_mask_that_was_passed_over_is_told_as_the_capture_is_kept_and_where_it_is_shown(page, daemon):
    why = "a better mask was not ready within 1.5 s"

    def post(route):
        route.fulfill(response=(kept := route.fetch()), json=kept.json() | {"passed_over": why})

    def get(route):
        answer = (found := route.fetch()).json()
        answer["measurement"]["segmentation"] |= {"mask": "live", "passed_over": why}
        route.fulfill(response=found, json=answer)

    page.route("**/api/captures", lambda route: post(route) if route.request.method == "POST" else route.continue_())
    page.route("**/api/captures/*", get)
    capture(page)
    notice = page.locator(".notice.passed-over")
    notice.wait_for()
    assert why in notice.inner_text()
    notice.get_by_role("button").click()
    notice.wait_for(state="detached")
    page.locator(THUMBNAILS).first.click()
    page.locator("dialog .quality .reasons", has_text=why).wait_for()
    page.keyboard.press("Escape")


def test_a_capture_kept_by_another_page_appears_by_itself(page, daemon):
    before = page.locator(THUMBNAILS).count()
    assert page.request.post(f"{daemon.address}api/captures", data={"site": "mid"}).status == 201
    page.wait_for_function(f"() => document.querySelectorAll('{THUMBNAILS}').length === {before + 1}")
