from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from runtime.analysis.pieces import CROWDED_RUNS, pieces, small_gaps

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20), elements=st.booleans())
AROUND = {4: ndimage.generate_binary_structure(2, 1), 8: ndimage.generate_binary_structure(2, 2)}


@given(MASKS, st.sampled_from([4, 8]))
@settings(max_examples=150)
def test_pieces_are_measured_as_scipy_measures_them(mask: np.ndarray, connectivity: int) -> None:
    values = np.random.default_rng(1).random(mask.shape, np.float32)
    labels, count = ndimage.label(mask, AROUND[connectivity])
    found = pieces(mask, values, connectivity)
    assert found.area.size == count + 1 and found.area[0] == 0
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    expected = []
    for k, box in enumerate(ndimage.find_objects(labels), 1):
        own = labels == k
        height, width = (side.stop - side.start for side in box)
        expected.append((own.sum(), np.hypot(height, width), values[own].mean(), 2 * min(depth[own].max(), max(mask.shape))))
    got = zip(found.area[1:], found.extent[1:], found.mean[1:], found.width[1:] - 1e-3, strict=True)
    assert sorted(map(tuple, np.round(np.array(list(got)).reshape(-1, 4), 3))) == sorted(
        map(tuple, np.round(np.array(expected).reshape(-1, 4), 3))
    )


@given(MASKS, MASKS)
@settings(max_examples=80)
def test_pieces_touched_are_given_back_whole(mask: np.ndarray, other: np.ndarray) -> None:
    touching = np.zeros_like(mask)
    rows, columns = (min(a, b) for a, b in zip(mask.shape, other.shape, strict=True))
    touching[:rows, :columns] = other[:rows, :columns]
    found = pieces(mask, mask.astype(np.float32), 8)
    grown = ndimage.binary_propagation(touching & mask, AROUND[8], mask)
    assert np.array_equal(found.where(found.touched_by(touching)), grown)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("crowded_runs", [CROWDED_RUNS, 0])
def test_no_small_gap_is_missed(seed: int, crowded_runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.analysis.pieces.CROWDED_RUNS", crowded_runs)
    noise = np.random.default_rng(seed).random((60, 80), np.float32)
    mask = cv2.GaussianBlur(noise, (0, 0), 1.2) > 0.46
    labels, _ = ndimage.label(~mask)
    area = np.bincount(labels.ravel())
    for largest in (4, 12, 60):
        found = small_gaps(mask, largest)
        assert not (found & mask).any()
        wanted = np.isin(labels, np.flatnonzero((area <= largest) & (np.arange(area.size) > 0)))
        islands = ndimage.binary_fill_holes(wanted) & ~wanted  # what lies within a gap may go wrong
        assert not (wanted & ~found)[~ndimage.binary_dilation(islands, AROUND[8])].any()
        touched = np.unique(labels[found])
        assert area[touched].max(initial=0) <= 2 * largest + 2
        whole = np.isin(labels, touched)
        assert np.array_equal(found, whole & found) and found.sum() == area[touched].sum()


def test_a_mask_without_gaps_has_none() -> None:
    assert not small_gaps(np.ones((9, 12), bool), 50).any()
    assert small_gaps(np.zeros((3, 4), bool), 12).all()
    assert not small_gaps(np.zeros((30, 40), bool), 12).any()
