"""What the page says of hair and scalp: in the words of the profile of use, with what is to be known of its models."""

import json
import re

import httpx
import pytest

from runtime.analysis.scalp.indices import Index
from runtime.intended_use.declaration import declare
from runtime.intended_use.in_force import profile_in_force
from runtime.intended_use.settings import UseSettings
from runtime.intended_use.text import packaged_text
from tests.eventually import DEADLINE_S, eventually
from tests.kiosk.conftest import until_live
from tests.kiosk.daemon_process import DaemonProcess
from tests.runtime.graded_bundle_samples import write_graded

pytestmark = pytest.mark.browser

SMALL, LARGE = (800, 480), (1920, 1080)
NAMES_OF_DISEASES = [
    *("alopecia", "baldness", "hair loss", "hair-loss", "effluvium", "androgen", "norwood", "dandruff", "sebum", "sebo", "erythema"),
    *("dermatitis", "eczema", "psoriasis", "folliculitis", "fung", "patholog", "disease", "disorder", "diagnos", "severe", "moderate"),
]


@pytest.fixture(scope="module")
def kiosk(browser, tmp_path_factory):
    """A daemon on the simulated microscope, whose bundle always gives the same grades, and one capture of it."""
    folder = tmp_path_factory.mktemp("graded")
    write_graded(folder / "graded", segmenter=False, severity=2, conditions=(1, 2, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRICHOSCOPE_ANALYSIS__BUNDLE", str(folder / "graded"))
        with DaemonProcess("simulated:", folder / "state") as daemon:
            with httpx.Client(base_url=daemon.address, timeout=DEADLINE_S) as client:
                eventually(lambda: client.get("/api/status").json()["results"])
                assert client.post("/api/captures").status_code == 201
            yield daemon


def opened(pages, kiosk, size=SMALL, prepare=lambda page: None):
    page = pages.open(kiosk.address, *size, prepare=prepare)
    until_live(page)
    page.locator(".kiosk > .panel .grade[data-grade='severity']").wait_for()
    return page


def kept(page):
    """Open the capture."""
    page.locator(".captures .thumbnail").first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator(".grades").wait_for()
    return dialog


def words_shown(place):
    return {
        each.get_attribute("data-grade"): (each.locator(".label").inner_text().lower(), each.locator(".value").inner_text())
        for each in place.locator(".grade").all()
    }


# what lies outside of the page, or is cut off in its box, of the parts that a person reads or touches
CLIPPED = """(place) => {
  const found = [];
  for (const each of document.querySelector(place).querySelectorAll('*')) {
    const box = each.getBoundingClientRect();
    if (!box.width || !box.height || each.closest('.plot, .visually-hidden, canvas, svg, .strip')) continue;
    const name = `${each.tagName}.${each.className} ${each.textContent.slice(0, 40)}`;
    if (box.left < -1 || box.right > innerWidth + 1) found.push(`beside the page: ${name}`);
    const cut = getComputedStyle(each).overflowX !== 'visible' && each.scrollWidth > each.clientWidth + 1;
    if (each.closest('.panel') && cut) found.push(`cut off: ${name}`);
    const panel = each.closest('.panel')?.getBoundingClientRect();
    if (panel && box.right > panel.right + 1) found.push(`beside the panel: ${name}`);
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page scrolls sideways');
  return found;
}"""

SMALL_TARGETS = """(place) => [...document.querySelector(place).querySelectorAll('button, a, input')]
  .map((each) => [each.textContent, each.getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.width < 44 || box.height < 44)).map(([text, box]) => `${text} ${box.width}×${box.height}`)"""


@pytest.mark.parametrize(
    ("profile", "size"),
    [("wellness", SMALL), ("wellness", LARGE), ("clinical", SMALL)],
    ids=["wellness, small", "wellness, large", "clinical, small"],
)
def test_grades_and_indices_are_shown_in_the_words_of_the_profile_and_fit_the_page(pages, kiosk, tmp_path, profile, size):
    if profile == "clinical":
        declare(tmp_path, packaged_text(), "Ida Meyer")
    use = profile_in_force(UseSettings(profile=profile), tmp_path).as_api()
    words, note = packaged_text().of(profile).words, packaged_text().of(profile).not_validated
    page = opened(pages, kiosk, size, lambda page: page.route("**/api/use", lambda route: route.fulfill(json=use)))
    live = page.locator(".kiosk > .panel")
    assert words_shown(live) == {"severity": (words["severity"].name, f"{words['severity'].grades[2]}†")}
    sentence = live.locator(".not-validated")
    assert sentence.inner_text() == f"†{note}"
    seen = page.evaluate("() => document.querySelector('.kiosk > .panel .scroll').getBoundingClientRect().bottom")
    box = sentence.bounding_box()
    assert box["y"] + box["height"] <= seen + 1  # always: nobody must scroll for it
    if size == SMALL:
        quality = live.locator(".quality").bounding_box()
        assert quality["y"] + quality["height"] <= seen + 1
    assert page.evaluate(CLIPPED, ".kiosk") == []
    assert page.evaluate(SMALL_TARGETS, ".kiosk") == []
    dialog = kept(page)
    expected = {"severity": 2, "dandruff": 1, "sebum": 2, "erythema": 3}
    assert words_shown(dialog) == {key: (words[key].name, f"{words[key].grades[grade]}†") for key, grade in expected.items()}
    assert dialog.locator(".not-validated").inner_text() == f"†{note}"
    for grade in dialog.locator(".grade").all():
        described = dialog.locator(f"#{grade.get_attribute('aria-describedby')}")
        assert note in described.inner_text()
        assert words[grade.get_attribute("data-grade")].name in grade.get_attribute("aria-label")
    indices = dialog.locator(".index").all()
    assert [each.locator(".label").inner_text().lower() for each in indices] == [
        words[name].name.lower() for name in ("flakes_index", "shine_index", "erythema_index")
    ]
    assert page.evaluate(CLIPPED, "dialog") == []
    assert page.evaluate(SMALL_TARGETS, "dialog") == []
    page.unroute_all(behavior="wait")


# every text that stands on the page, is read out, or is shown when a pointer rests on it
TEXTS = """() => {
  const found = [document.title, document.body.innerText];
  for (const each of document.querySelectorAll('*')) {
    for (const name of ['aria-label', 'title', 'alt', 'placeholder', 'aria-description']) found.push(each.getAttribute(name) ?? '');
  }
  return found;
}"""
ALL_WORDS = """async () => {
  const found = [];
  const take = (value) => {
    if (typeof value === 'string') found.push(value);
    else if (typeof value === 'function') take(String(value([1, 2, 3], 'x', 'y')));
    else if (value && typeof value === 'object') Object.values(value).forEach(take);
  };
  take((await import('/static/texts.js')).texts);
  return found;
}"""


def named_diseases(texts):
    return {(name, text) for name in NAMES_OF_DISEASES for text in texts if name in text.lower()}


def test_wellness_names_no_disease_anywhere(pages, kiosk):
    page = opened(pages, kiosk, (1280, 800))
    texts = page.evaluate(TEXTS)
    kept(page)
    texts += page.evaluate(TEXTS)
    page_words = page.evaluate(ALL_WORDS)
    assert len(page_words) > 100
    served = page.request.get(f"{kiosk.address}api/use").json()
    texts += [text for words in served["words"].values() for text in (words["name"], *words["grades"])] + [served["not_validated"]]
    assert named_diseases(texts + page_words) == set()
    assert named_diseases(words.name for words in packaged_text().of("clinical").words.values())  # it would find them


def told_otherwise(page):
    """Sees to it that the page is told another measurement and other words than there are."""

    def answer_with(change):
        def fulfil(route):
            answer = route.fetch()
            body = answer.json()
            change(body)
            route.fulfill(response=answer, body=json.dumps(body))

        return fulfil

    def measurement(body):
        m = body["measurement"]
        m["scalp"]["flakes"] = index(3.14)
        m["scalp"]["shine"] = index(8.0, "the skin glitters all over: dry or blot it")
        m["scalp"]["erythema"] = index(None, "the picture has no colour")
        m["alopecia"] = None  # a picture that is blurred
        m["models"]["severity"] = "other/1+0"
        m["conditions"]["dandruff"] |= {"validated_on_real_labels": True, "bundle": "real/1+0"}
        m["conditions"]["sebum"]["severity"] = 5
        m["conditions"]["unheard"] = m["conditions"]["dandruff"]

    def words(body):
        del body["words"]["shine_index"]

    page.route(re.compile(r"/api/captures/\d+$"), answer_with(measurement))
    page.route("**/api/use", answer_with(words))


def index(value, reason=None):
    return Index(value=value, unit="% of skin", reliable=reason is None, reason=reason).model_dump()


def test_what_is_doubtful_missing_or_without_words_is_shown_as_that_or_not_at_all(pages, kiosk):
    page = opened(pages, kiosk, SMALL, told_otherwise)
    dialog = kept(page)
    marks = {each.get_attribute("data-grade"): each.locator(".mark").count() for each in dialog.locator(".grade").all()}
    assert marks == {"severity": 1, "dandruff": 0, "erythema": 1}  # no word for sebum's sixth grade
    severity = dialog.locator("[data-grade='severity']")
    assert severity.locator(".value").inner_text() == "—†"
    assert severity.locator(".steps .on").count() == 0
    assert "not to be told" in severity.get_attribute("aria-label")
    assert dialog.locator(".not-validated").is_visible()
    assert [each.get_attribute("data-index") for each in dialog.locator(".index").all()] == ["flakes", "erythema"]
    flakes, erythema = (dialog.locator(f"[data-index='{name}']") for name in ("flakes", "erythema"))
    assert (flakes.locator(".value").inner_text(), flakes.locator(".reason").count()) == ("3.1 %", 0)
    assert erythema.locator(".value").inner_text() == "—"
    assert "no colour" in erythema.locator(".reason").inner_text()
    page.unroute_all(behavior="wait")


GRADES = """async (size) => {
  const {html, render} = await import('/static/view.js');
  const {Grades} = await import('/static/grades.js');
  const use = await (await fetch('/api/use')).json();
  const m = await (await fetch('/api/measurement')).json();
  const place = document.createElement('div');
  place.className = 'numbers';
  place.style.width = `${document.querySelector('.kiosk > .panel .grades').clientWidth}px`;
  document.querySelector('.kiosk > .panel').append(place);
  const boxes = new Set();
  for (const severity of [0, 1, 2, 3, null]) {
    const grade = {severity, probabilities: [0.05, 1, 0.3, 0.4], bundle: m.models.severity, validated_on_real_labels: false};
    render(html`<${Grades} measurement=${{...m, alopecia: severity === null ? null : grade}} use=${use} />`, place);
    boxes.add(JSON.stringify(['.grades', '.steps', '.not-validated', '.sure'].map((name) => {
      const box = place.querySelector(name).getBoundingClientRect();
      return [box.x, box.y, box.width, box.height];
    })));
  }
  const doubtful = {...m, scalp: {shine: {value: 8.04, unit: '% of skin', reliable: false, reason: 'it glitters'}}};
  const words = {...use, words: {...use.words, flakes_index: undefined, erythema_index: undefined}};
  render(html`<${Grades} measurement=${doubtful} use=${words} whole />`, place);
  const index = place.querySelector('.index');
  const looks = [index.innerText, getComputedStyle(index.querySelector('.value')).color !== getComputedStyle(place).color];
  render(html`<${Grades} measurement=${m} use=${null} />`, place);
  const without = place.innerHTML;
  render(null, place);
  place.remove();
  return [[...boxes], looks, without];
}"""


def test_nothing_jumps_while_digits_and_grade_change_what_is_doubtful_looks_so_and_without_words_there_is_nothing(pages, kiosk):
    page = opened(pages, kiosk, SMALL)
    for size in (SMALL, LARGE):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        boxes, (doubtful, differs), without_words = page.evaluate(GRADES)
        assert len(boxes) == 1
        assert doubtful.split("\n") == ["Shine, share of the skin", "8.0 %?", "doubtful: it glitters"]
        assert differs
        assert without_words == ""
