"""The page's own functions, called in Chromium: formatting, the wire format, classes of diameter, following the skin."""

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def run(browser, daemon):
    """Evaluate JavaScript in a page of the daemon; `load('format.js')` imports one of the page's modules."""
    page = browser.new_page()
    page.route("**/empty", lambda route: route.fulfill(content_type="text/html", body="<!doctype html>"))
    page.goto(f"{daemon.address}empty")
    yield lambda body: page.evaluate(f"async () => {{ const load = (name) => import('/static/' + name); {body} }}")
    page.close()


def test_what_is_missing_is_a_dash_and_never_zero(run):
    shown = run(
        """const f = await load('format.js');
        return [f.number(null), f.number(undefined), f.number(NaN), f.number(0), f.number(-0.2), f.number(-3.25, 1), f.number(12.345, 1),
                f.plusMinus(null), f.plusMinus(1.26), f.plusMinus(13.4), f.percent(null), f.percent(0.876),
                f.length(null, 5), f.length(120, null), f.length(50, 10), f.length(250, 10), f.clock(null), f.siteName(null)];"""
    )
    numbers = ["—", "—", "—", "0", "0", "−3.3", "12.3"]
    assert shown == [*numbers, "", "± 1.3", "± 13", "—", "88 %", "—", "120 px", "500 µm", "2.50 mm", "—", "No site"]


def test_a_camera_is_named_without_its_folder_and_options(run):
    names = run(
        "const {cameraName: n} = await load('format.js'); return [n('simulated:'), n('replay:/a/b?fps=30'), n('v4l2:/dev/video0'), n('')];"
    )
    assert names == ["simulated", "replay: b", "v4l2: video0", ""]


@pytest.mark.parametrize("damage", ["new ArrayBuffer(2)", "frame(9999, '{}')", "frame(2, '{}')", "frame(4, 'nope')"])
def test_a_damaged_picture_message_is_refused(run, damage):
    refused = run(
        f"""const {{parsePicture}} = await load('live.js');
        const frame = (size, text) => {{
          const bytes = new Uint8Array(4 + text.length); new DataView(bytes.buffer).setUint32(0, size);
          bytes.set(new TextEncoder().encode(text), 4); return bytes.buffer; }};
        try {{ parsePicture({damage}); return false; }} catch (error) {{ return true; }}"""
    )
    assert refused


def test_a_picture_message_is_taken_apart(run):
    header, jpeg = run(
        """const {parsePicture} = await load('live.js');
        const text = JSON.stringify({number: 7, sequence: 9, width: 2, height: 1, age_ms: 3.5});
        const bytes = new Uint8Array(4 + text.length + 3); new DataView(bytes.buffer).setUint32(0, text.length);
        bytes.set(new TextEncoder().encode(text), 4); bytes.set([1, 2, 3], 4 + text.length);
        const {header, jpeg} = parsePicture(bytes.buffer);
        return [header, [...new Uint8Array(await jpeg.arrayBuffer())]];"""
    )
    assert header == {"number": 7, "sequence": 9, "width": 2, "height": 1, "age_ms": 3.5}
    assert jpeg == [1, 2, 3]


def test_hairs_without_a_diameter_are_in_no_class(run):
    counts = run(
        """const {diameterClasses} = await load('charts.js');
        const hair = (um) => ({diameter_um: um, diameter_px: null});
        return diameterClasses([hair(null), hair(0), hair(9.9), hair(10), hair(400)], true).counts;"""
    )
    assert (counts[0], counts[1], counts[-1], sum(counts)) == (2, 1, 1, 4)


def test_the_scale_bar_is_round_and_true(run):
    bars = run(
        """const {scaleBar} = await load('scalebar.js');
        return [scaleBar(null, 640), scaleBar(6.25, 640), scaleBar(3, 640), scaleBar(0.2, 640)];"""
    )
    assert bars[0] is None
    assert bars[1] == {"label": "1 mm", "share": 0.25}
    assert bars[2]["label"] == "200 µm" and abs(bars[2]["share"] - 200 / 1920) < 1e-12
    assert bars[3]["label"] == "20 µm"


def test_the_nearest_hair_is_found_by_its_edge_within_reach(run):
    found = run(
        """const {hairAt} = await load('overlay.js');
        const hair = (id, y, diameter_px) => ({id, diameter_px, points: [[0, y, diameter_px], [100, y, diameter_px]]});
        const hairs = [hair(1, 10, 2), hair(2, 40, 20)];
        return [hairAt(hairs, 50, 12, 5), hairAt(hairs, 50, 27, 5), hairAt(hairs, 50, 20, 5), hairAt([], 1, 1, 9)].map((h) => h && h.id);"""
    )
    assert found == [1, 2, None, None]


def test_a_hair_is_drawn_where_it_lies_and_as_wide_as_it_was_measured(run):
    rows = run(
        """const {drawOverlay} = await load('overlay.js');
        const canvas = document.createElement('canvas');
        Object.defineProperty(canvas, 'clientWidth', {value: 200}); Object.defineProperty(canvas, 'clientHeight', {value: 100});
        const hair = {id: 0, diameter_px: 10, points: [[10, 25, 10], [50, 25, 10], [90, 25, null]]};
        drawOverlay(canvas, {width_px: 100, height_px: 50, hairs: [hair], follicles: []}, {colourOf: () => '#ffffff'});
        const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const rowsAt = (x) => [...Array(canvas.height).keys()].filter((y) => data[4 * (y * canvas.width + x) + 3] > 40);
        return [rowsAt(61), rowsAt(161)].map((rows) => [Math.min(...rows), Math.max(...rows)]);"""
    )
    (top, bottom), (thin_top, thin_bottom) = rows
    assert abs((top + bottom) / 2 - 50.5) <= 1  # twice y = 25, pixel centres at integers
    assert abs((bottom - top + 1) - 20) <= 2  # twice 10 px
    assert thin_bottom - thin_top + 1 <= 6  # no width was had there: the line alone


FOLLOW = """
  const {MotionFollower} = await load('follow.js');
  const draw = (dx, dy, seed) => {
    const canvas = document.createElement('canvas');
    canvas.width = 640; canvas.height = 480;
    const c = canvas.getContext('2d');
    c.fillStyle = '#c89678'; c.fillRect(0, 0, 640, 480);
    let state = seed;
    const random = () => (state = (state * 16807) % 2147483647) / 2147483647;
    for (let i = 0; i < 60; i += 1) {
      c.beginPath(); c.lineWidth = 3 + 6 * random(); c.strokeStyle = '#2a2420';
      const [x, y] = [900 * random() - 130, 700 * random() - 110];
      c.moveTo(x + dx, y + dy); c.lineTo(x + dx + 300 * (random() - 0.5), y + dy + 300 * (random() - 0.5)); c.stroke();
    }
    return canvas;
  };
  const follower = new MotionFollower();
"""


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (24, -16), (-13, 5), (33.5, 20)])
def test_the_skin_is_followed_to_a_pixel(run, dx, dy):
    shift = run(f"{FOLLOW} follower.note(1, draw(0, 0, 7)); follower.note(2, draw({dx}, {dy}, 7)); return follower.between(1, 2, 640);")
    assert shift["sure"]
    assert abs(shift["dx"] - dx) < 1.6 and abs(shift["dy"] - dy) < 1.6


def test_another_place_is_not_taken_for_the_same(run):
    shift = run(f"{FOLLOW} follower.note(1, draw(0, 0, 7)); follower.note(2, draw(0, 0, 99)); return follower.between(1, 2, 640);")
    assert not shift["sure"]


def test_a_frame_that_is_no_longer_kept_gives_no_shift(run):
    shift = run(
        f"{FOLLOW} const same = draw(0, 0, 7); for (let n = 0; n < 60; n += 1) follower.note(n, same);"
        "return [follower.between(0, 59, 640), follower.ring.length];"
    )
    assert shift == [None, 48]


def test_pictures_wait_for_their_results_only_while_they_cannot_be_followed(run):
    waiting, kept = run(
        """const {Pacing} = await load('pacing.js');
        const pacing = new Pacing();
        const waiting = [true, false, false, true, false, false, false, true, false, true, true].map((followed) => {
          pacing.note(followed); return pacing.waiting; });
        for (let sequence = 0; sequence < 40; sequence += 1) pacing.keep({header: {sequence}});
        return [waiting, [pacing.recent.length, pacing.arrived(39) !== undefined, pacing.arrived(3) === undefined]];"""
    )
    assert waiting == [False, False, False, False, False, False, True, True, True, True, False]
    assert kept == [24, True, True]


def test_hairs_keep_their_colour_from_result_to_result(run):
    kept, moved, distinct = run(
        """const {HairColours} = await load('colours.js');
        const hair = (id, y) => ({id, points: [...Array(12).keys()].map((i) => [8 * i, y, 5])});
        const colours = new HairColours();
        colours.assign([hair(0, 20), hair(1, 60), hair(2, 100)]);
        const before = [0, 1, 2].map((id) => colours.of(id));
        colours.assign([hair(0, 101), hair(1, 21), hair(2, 61)]);
        const after = [1, 2, 0].map((id) => colours.of(id));
        colours.assign([hair(0, 161), hair(1, 81)], {dx: 0, dy: 60});
        const moved = [colours.of(0) === before[2], colours.of(1) === before[0]];
        return [JSON.stringify(before) === JSON.stringify(after), moved, new Set(before).size];"""
    )
    assert kept and moved == [True, True] and distinct == 3
