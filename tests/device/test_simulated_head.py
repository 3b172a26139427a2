import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.simulated.head import SIZE, draw_head, render_head, render_view
from device.simulated.head_pattern import HIGHEST, LOWEST, STAGES, VERTEX_DEG, density, draw_pattern, grade_of
from device.simulated.head_shape import VIEWS


def direction(over_deg, side=0.0):
    """Unit direction `over_deg` from the face over the top, and `side` to the left."""
    rest = np.sqrt(1 - side**2)
    angle = np.radians(over_deg)
    return tuple(np.array([[v]], np.float32) for v in (side, rest * np.sin(angle), rest * np.cos(angle)))


def at(stage, over_deg, side=0.0, seed=3):
    return float(density(draw_pattern(np.random.default_rng(seed), stage), direction(over_deg, side))[0, 0])


def test_a_seed_is_a_person():
    first, again, other = (render_view(draw_head(seed), "front") for seed in (5, 5, 6))
    assert first.image.shape == (SIZE, SIZE, 3) and first.image.dtype == np.uint8
    np.testing.assert_array_equal(first.image, again.image)
    assert np.abs(first.image.astype(int) - other.image).mean() > 5


def test_seven_stages_and_their_borders():
    assert len(STAGES) == 7
    assert [grade_of(s) for s in (LOWEST, 1.49, 1.5, 4.0, 6.49, 6.51, HIGHEST)] == [1, 1, 2, 4, 6, 7, 7]
    for stage in (LOWEST - 0.01, HIGHEST + 0.01, float("nan")):
        with pytest.raises(ValueError, match="choose"):
            grade_of(stage)
    assert draw_head(4, 2.6).grade == 3
    with pytest.raises(ValueError, match="stage"):
        draw_head(4, 9.0)


def test_landmarks_follow_the_stages():
    for seed in range(4):
        assert at(1.0, VERTEX_DEG, seed=seed) > 0.6 and at(5.0, VERTEX_DEG, seed=seed) < 0.1
        assert at(1.0, 52, 0.52, seed=seed) > 0.6 and at(4.0, 52, 0.52, seed=seed) < 0.2  # temple
        assert at(3.0, 60, seed=seed) > 0.5 and at(7.0, 60, seed=seed) < 0.1  # middle of the front
        assert at(4.0, 92, seed=seed) > 0.6 and at(6.6, 92, seed=seed) < 0.15  # the bridge
        assert all(at(stage, 178, seed=seed) > 0.6 for stage in (1.0, 4.0, 7.0))  # the back keeps its hair
        assert all(at(stage, 0, seed=seed) < 0.05 for stage in (1.0, 4.0, 7.0))  # a face has none


def test_the_same_person_gets_balder_and_neighbours_are_near():
    bare = [float(render_view(draw_head(12, stage), "top", 96).bare.mean()) for stage in (1.0, 2.5, 4.0, 5.5, 7.0)]
    assert bare == sorted(bare) and bare[-1] > bare[0] + 0.15
    points = np.random.default_rng(2).normal(size=(3, 60, 60)).astype(np.float32)
    points /= np.linalg.norm(points, axis=0)
    found = {s: density(draw_pattern(np.random.default_rng(7), s), tuple(points)) for s in (3.0, 3.05, 4.0, 6.0)}
    near, next_, far = (float(np.abs(found[3.0] - found[s]).mean()) for s in (3.05, 4.0, 6.0))
    assert near < 0.01 < next_ < far


@given(stage=st.floats(LOWEST, HIGHEST), seed=st.integers(0, 2**31))
@settings(max_examples=40)
def test_density_is_a_share_everywhere(stage, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(3, 8, 8)).astype(np.float32)
    points /= np.maximum(np.linalg.norm(points, axis=0), 1e-6)
    found = density(draw_pattern(rng, stage), tuple(points))
    assert found.dtype == np.float32 and found.shape == (8, 8)
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


def test_five_views_of_which_three_have_a_face():
    views = render_head(draw_head(21, 1.0), 96)
    assert tuple(views) == VIEWS
    assert views["front"].face.sum() > 100
    assert views["left"].face.sum() > 20 and views["right"].face.sum() > 20
    assert not views["back"].face.any()
    assert not np.array_equal(views["left"].image, views["right"].image)


def test_a_picture_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 32"):
        render_view(draw_head(1), "top", 31)
