import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.morphology import skeletonize

from runtime.analysis.thinning import thinned
from tests.runtime.strokes import drawn


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20), elements=st.booleans()))
@settings(max_examples=150, deadline=None)
def test_any_mask_is_thinned_as_scikit_image_thins_it(mask: np.ndarray) -> None:
    assert np.array_equal(thinned(mask), skeletonize(mask))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("width", [1, 63, 64, 65, 127, 128, 200])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97, 1.0])
def test_words_do_not_show(width: int, share: float) -> None:
    random = np.random.default_rng(width)
    mask = random.random((70, width)) < share
    assert np.array_equal(thinned(mask), skeletonize(mask))  # type: ignore[no-untyped-call]
    blobs = cv2.GaussianBlur(random.random((70, width)), (0, 0), 3) > 0.5
    assert np.array_equal(thinned(blobs), skeletonize(blobs))  # type: ignore[no-untyped-call]


@given(st.integers(0, 10_000))
@settings(max_examples=20, derandomize=True, deadline=None)
def test_hairs_of_every_width_are_thinned_to_lines(seed: int) -> None:
    random = np.random.default_rng(seed)
    strokes = []
    for _ in range(8):
        start = random.uniform(10, 230, 2)
        strokes.append(([tuple(start), tuple(start + random.uniform(-40, 40, 2))], random.uniform(1.5, 12)))
    mask, _ = drawn(strokes, 240, 240)  # type: ignore[arg-type]
    thin = thinned(mask)
    assert np.array_equal(thin, skeletonize(mask))  # type: ignore[no-untyped-call]
    assert not (thin & ~mask).any() and thin.any() == mask.any()
