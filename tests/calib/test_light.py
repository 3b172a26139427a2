"""Light and colour from a white target and a chart with truth: does what was seen come out even and grey, are other pictures refused?"""

import numpy as np
import pytest

from calib.errors import CalibrationError
from calib.light import LightError, balance, colour_matrix, correct_colour, even_out, flat_field, grey_balance

WIDTH, HEIGHT = 640, 480
TINT = np.array([0.8, 1.0, 0.9])


def light_over(width=WIDTH, height=HEIGHT):
    """Smooth, off the middle, another for each channel; (height, width, 3), at most 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    fall = [1 - s * ((x - 0.2) ** 2 + (y + 0.1) ** 2) + 0.05 * x for s in (0.2, 0.25, 0.3)]
    light = np.stack(fall, -1)
    return light / light.max((0, 1))


def white(level=200.0, tint=TINT, noise=3.0, **size):
    rng = np.random.default_rng(1)
    light = light_over(**size)
    return np.clip(level * tint * light + rng.normal(0, noise, light.shape), 0, 255).astype(np.uint8)


def test_the_fall_off_is_found():
    image = white()
    field = flat_field(image)
    assert field.relative.shape == (24, 32, 3)
    np.testing.assert_allclose(field.relative.max((0, 1)), 1)
    np.testing.assert_allclose(field.over(WIDTH, HEIGHT), light_over(), atol=0.01)
    even = even_out(image, field)
    assert even.dtype == np.float32
    assert np.abs(even.mean((0, 1)) / (200 * TINT) - 1).max() < 0.01
    quarters = [even[:240, :320], even[240:, 320:], even[200:280, 280:360]]
    assert max(abs(q[..., 1].mean() / 200 - 1) for q in quarters) < 0.005


def test_a_field_serves_pictures_of_another_size():
    field = flat_field(white(width=1280, height=960))
    np.testing.assert_allclose(field.over(WIDTH, HEIGHT), light_over(), atol=0.015)


def test_dust_and_specks_are_passed_over():
    image = white()
    rng = np.random.default_rng(2)
    y, x = np.indices((HEIGHT, WIDTH))
    for _ in range(25):
        cx, cy, r = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(3, 16)
        image[np.hypot(x - cx, y - cy) < r] = 30
    np.testing.assert_allclose(flat_field(image).over(WIDTH, HEIGHT), light_over(), atol=0.015)


def test_white_becomes_grey():
    grey = grey_balance(white())
    np.testing.assert_allclose(grey.gains, TINT[1] / TINT, rtol=0.02)
    assert grey.gains[1] == 1.0
    levels = balance(white(), grey)[HEIGHT // 2, WIDTH // 2 - 40 : WIDTH // 2 + 40].mean(0)
    assert np.ptp(levels) < 0.02 * levels.mean()


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.full((480, 640, 3), 255, np.uint8), "saturated: lower the exposure"),
        (white(level=330), "saturated: lower the exposure"),
        (white(level=40), "white is at 3[0-9] of 255, too dark: raise the exposure"),
        (np.zeros((480, 640, 3), np.uint8), "white is at 0 of 255, too dark"),
        (np.full((40, 60, 3), 200, np.uint8), "60×40 px is too small: give a picture of 128×96 px"),
        (np.full((480, 640), 200, np.uint8), "no three colours"),
    ],
)
def test_a_picture_that_is_no_white_target_is_refused(image, says):
    for seen in (flat_field, grey_balance):
        with pytest.raises(LightError, match=says):
            seen(image)
    assert issubclass(LightError, CalibrationError)


def test_a_target_beside_white_is_refused():
    half = white()
    half[:, 400:] = 20
    with pytest.raises(LightError, match="no even white target, or it does not fill the picture"):
        flat_field(half)
    checked = white()
    y, x = np.indices((HEIGHT, WIDTH))
    checked[(x // 40 + y // 40) % 2 == 0] = 120
    with pytest.raises(LightError, match="uneven beyond a fall-off of light"):
        flat_field(checked)


def test_a_coloured_target_has_no_balance():
    with pytest.raises(LightError, match="the target is coloured"):
        grey_balance(white(tint=np.array([0.15, 1.0, 0.9])))


CHART = np.random.default_rng(3).uniform(20, 235, (24, 3))
TRUE = np.array([[1.2, -0.15, -0.05], [-0.1, 1.25, -0.15], [0.02, -0.3, 1.28]])


def test_a_charts_colours_come_back():
    seen = CHART @ np.linalg.inv(TRUE).T
    keep = (seen.min(1) >= 0) & (seen.max(1) < 250)
    found = colour_matrix(seen[keep], CHART[keep])
    np.testing.assert_allclose(found.rows, TRUE, atol=1e-9)
    assert found.residual < 1e-9
    np.testing.assert_allclose(correct_colour(seen[keep], found), CHART[keep], rtol=1e-4)
    noisy = seen[keep] + np.random.default_rng(4).normal(0, 2, seen[keep].shape)
    assert 1 < colour_matrix(np.clip(noisy, 0, 250), CHART[keep]).residual < 5


@pytest.mark.parametrize(
    ("seen", "true", "says"),
    [
        (CHART[:5], CHART[:5], "5 patches: a colour matrix needs 6 or more"),
        (CHART, CHART[:20], r"give \(n, 3\) each"),
        (CHART[:, :2], CHART[:, :2], r"give \(n, 3\) each"),
        (CHART + 30, CHART, "saturated or no number"),
        (np.where(np.indices((24, 3))[0] == 3, np.nan, CHART), CHART, "saturated or no number"),
        (CHART[:, :1] * np.ones(3), CHART, "all of about one colour"),
        (CHART[::-1], CHART, "check that they were read in the chart's order"),
    ],
)
def test_a_chart_that_tells_nothing_is_refused(seen, true, says):
    with pytest.raises(LightError, match=says):
        colour_matrix(seen, true)
