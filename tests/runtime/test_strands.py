"""Strands: what is cut back, left out and parted before hairs are put together from them."""

import cv2
import numpy as np
import pytest

from runtime.analysis.skeleton import FREE, skeleton_graph
from runtime.analysis.strands import fit_ends, frame_bend, is_open, strands_of


def cut_aslant(slant_px: float, half_px: float) -> np.ndarray:
    """A level bar about y = 100, both ends of which are cut so that its upper edge is longer by `slant_px` than its lower."""
    corners = [(60 - slant_px, 100 - half_px), (240 + slant_px, 100 - half_px), (240, 100 + half_px), (60, 100 + half_px)]
    mask = np.zeros((200, 300), np.uint8)
    cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 1)
    return mask.astype(bool)


@pytest.mark.parametrize("half_px", [4, 7, 10])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, 1.5])
def test_a_free_end_that_is_cut_aslant_points_along_its_hair(half_px, share):
    mask = cut_aslant(share * half_px, half_px)
    strands = strands_of(skeleton_graph(mask))
    assert len(strands) == 1
    assert strands.node.tolist() == [FREE, FREE]
    assert np.abs(strands.points[:, 1] - 100).max() < 0.55 * half_px
    ends = fit_ends(strands, frame_bend(strands))
    assert np.abs(ends.direction[:, 0]).min() > np.cos(np.radians(5))


def test_hairs_that_meet_with_a_corner_are_parted_there():
    mask = np.zeros((200, 300), np.uint8)
    cv2.polylines(mask, [np.array([(40, 160), (150, 40), (260, 160)])], False, 1, 7)
    strands = strands_of(skeleton_graph(mask > 0))
    assert len(strands) == 2
    assert strands.lengths_px == pytest.approx([150, 150], abs=20)


def test_of_too_many_strands_the_longest_are_kept(monkeypatch):
    monkeypatch.setattr("runtime.analysis.strands.MAX_STRANDS", 5)
    mask = np.zeros((200, 300), bool)
    for k in range(9):
        mask[10 + 20 * k : 15 + 20 * k, 20 : 60 + 25 * (k * 4 % 9)] = True
    strands = strands_of(skeleton_graph(mask))
    assert len(strands) == 5
    assert len(strands.points) == len(strands.arc_px) == strands.offsets[-1]
    assert sorted(strands.lengths_px) == pytest.approx([40 + 25 * k - 11 for k in range(4, 9)], abs=3)


def test_an_end_at_the_border_is_not_open():
    mask = np.zeros((100, 200), bool)
    mask[40:47, :120] = True
    strands = strands_of(skeleton_graph(mask))
    assert sorted(is_open(strands.node).tolist()) == [False, True]
