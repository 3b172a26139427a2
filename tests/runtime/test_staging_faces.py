import cv2
import numpy as np
import pytest

from device.simulated.head import draw_head, render_view
from runtime.staging import faces
from runtime.staging.faces import CELLS, DEFAULT_LINES, FACED, find_faces, hide_face


def fine(image):
    """How much fine detail a picture holds."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return float(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 4)).mean())


def noise(height=200, width=160, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("view", sorted(DEFAULT_LINES))
def test_without_a_face_found_the_lower_part_goes_all_the_same(view):
    image = noise()
    hidden, about = hide_face(image, view)
    line = round(DEFAULT_LINES[view] * 200)
    assert about.boxes == ((0, line, 160, 200 - line),) and not about.found
    np.testing.assert_array_equal(hidden[:line], image[:line])
    assert fine(hidden[line:]) < fine(image[line:]) / 20


def test_what_is_hidden_holds_only_a_few_cells():
    image = noise()
    hidden, _ = hide_face(image, "front")
    line = round(DEFAULT_LINES["front"] * 200)
    part = hidden[line:].astype(np.float32)
    rows = round(CELLS * part.shape[0] / part.shape[1])
    few = cv2.resize(part, (CELLS, rows), interpolation=cv2.INTER_AREA)
    again = cv2.resize(few, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_LINEAR)
    assert np.abs(again - part).mean() < 4  # nothing is in it that so few cells do not say


def test_the_picture_given_is_left_alone():
    image = noise()
    before = image.copy()
    hide_face(image, "front")
    np.testing.assert_array_equal(image, before)


def test_a_found_face_raises_the_line_and_never_lowers_it(monkeypatch):
    for top, line in ((10, 10 + round(0.25 * 80)), (150, round(DEFAULT_LINES["front"] * 200))):
        monkeypatch.setattr(faces, "find_faces", lambda _, top=top: [(30, top, 80, 80)])
        _, about = hide_face(noise(), "front")
        assert about.boxes[0][1] == line and about.found


def test_a_face_where_none_should_be_is_boxed(monkeypatch):
    image = noise()
    monkeypatch.setattr(faces, "find_faces", lambda _: [(140, -2, 40, 40)])
    hidden, about = hide_face(image, "top")
    (x, y, w, h) = about.boxes[1]
    assert x + w == 160 and y == 0 and h > 40
    assert fine(hidden[y : y + h, x : x + w]) < fine(image[y : y + h, x : x + w]) / 5
    monkeypatch.setattr(faces, "find_faces", lambda _: [])
    np.testing.assert_array_equal(hide_face(image, "back")[0], image)


def test_an_opencv_without_cascades_still_hides(monkeypatch):
    faces._cascades.cache_clear()
    monkeypatch.delattr(cv2, "data", raising=False)
    try:
        assert find_faces(noise()) == []
        assert hide_face(noise(), "left")[1].boxes
    finally:
        faces._cascades.cache_clear()


def test_rendered_faces_in_usual_frames_are_hidden():
    """Of eyes, brows, nose and mouth of rendered heads, nearly all lies below the line; what lies above is counted, not assumed."""
    seen = covered = 0
    for seed in range(12):
        for view in FACED:
            shown = render_view(draw_head(seed), view, 160)
            _, about = hide_face(shown.image, view)
            mask = np.zeros(shown.face.shape, bool)
            for x, y, w, h in about.boxes:
                mask[y : y + h, x : x + w] = True
            seen += int(shown.face.sum())
            covered += int((shown.face & mask).sum())
    assert seen > 2000
    assert covered / seen > 0.9


def test_no_picture_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        hide_face(np.zeros((5, 5), np.uint8), "front")
