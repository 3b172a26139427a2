import cv2
import numpy as np
import pytest

from runtime.analysis.segmentation import Segmentation
from runtime.pipeline import analyse

SKIN = (150, 170, 205)


def _scene(hairs: int) -> tuple[np.ndarray, np.ndarray]:
    """(picture, mask) of so many upright dark hairs."""
    mask = np.zeros((240, 320), np.uint8)
    for k in range(hairs):
        cv2.line(mask, (30 + 40 * k, 20), (30 + 40 * k, 220), 1, 9)
    picture = np.full((240, 320, 3), SKIN, np.uint8)
    picture[mask > 0] = 30
    return picture, mask.astype(bool)


def _reading(hairs: int, *others: int) -> Segmentation:
    _, mask = _scene(hairs)
    return Segmentation(mask, mask.astype(np.float32), 0.9, False, others=tuple(_reading(other) for other in others))


@pytest.mark.parametrize(("counts", "middle"), [((5, 3, 6), 5), ((6, 3, 5), 5), ((3, 6, 6), 6), ((4,), 4), ((0, 0, 5), 0)])
def test_of_several_readings_the_one_with_the_middle_count_is_taken(counts: tuple[int, ...], middle: int) -> None:
    picture, _ = _scene(6)
    found = analyse(picture, name="readings", segmentation=_reading(*counts))
    assert found.hair_count == len(found.hairs) == middle


def test_all_readings_count_in_the_time_of_their_stages() -> None:
    picture, _ = _scene(6)
    found = analyse(picture, name="readings", segmentation=_reading(5, 3, 6))
    stages = {key: value for key, value in found.timing_ms.items() if key != "total"}
    assert sum(stages.values()) <= found.timing_ms["total"] + 1e-2 * len(stages)
    assert {"skeleton", "hairs", "widths"} <= stages.keys()
