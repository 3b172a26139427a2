import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.analysis.slits import FILLED, without_slits

SKIN, DARK, GLOSS, SHADE = (150, 170, 205), 30, 200, 90


def _hair(slit_level: int, doubt: float):
    """A dark hair 12 px wide with a slit of 3 px along its middle: (mask, soft, image)."""
    mask = np.zeros((120, 160), bool)
    mask[:, 70:82] = True
    image = np.full((120, 160, 3), SKIN, np.uint8)
    image[mask] = DARK
    soft = mask.astype(np.float32)
    mask[20:100, 75:78], image[20:100, 75:78], soft[20:100, 75:78] = False, slit_level, doubt
    return mask, soft, image


def test_a_slit_of_gloss_is_filled():
    mask, soft, image = _hair(GLOSS, 0.4)
    filled, sure = without_slits(mask, soft, image)
    assert filled[:, 70:82].all()
    assert filled.sum() == 120 * 12
    assert sure[20:100, 75:78] == pytest.approx(FILLED)
    assert not mask[50, 76]
    assert soft[50, 76] == np.float32(0.4)


@pytest.mark.parametrize(("level", "doubt"), [(SHADE, 0.4), (SKIN[1], 0.05)])
def test_a_gap_between_hairs_stays(level, doubt):
    mask, soft, image = _hair(level, doubt)
    filled, sure = without_slits(mask, soft, image)
    assert np.array_equal(filled, mask)
    assert sure is soft


def test_wide_gaps_and_those_at_the_border_stay():
    mask, soft, image = _hair(GLOSS, 0.4)
    mask[:, 75:78] = False
    assert np.array_equal(without_slits(mask, soft, image)[0], mask)
    mask, soft, image = _hair(GLOSS, 0.4)
    mask[20:100, 40:44] = mask[20:24, 40:70] = mask[96:100, 40:70] = True
    assert not without_slits(mask, soft, image)[0][50, 60]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.5, 1.0, float("nan")]))
def test_any_mask_gains_and_never_loses(seed, fill):
    rng = np.random.default_rng(seed)
    mask = rng.random((40, 50)) < rng.random()
    soft = np.where(mask, 1, fill).astype(np.float32)
    filled, sure = without_slits(mask, soft, rng.integers(0, 256, (40, 50, 3), np.uint8))
    assert not np.any(mask & ~filled)
    assert sure.shape == filled.shape == mask.shape
