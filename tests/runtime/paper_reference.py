"""The paper's skeleton as its text has it, slow and plain: what the fast one is held against."""

import cv2
import numpy as np


def repeated_opening(mask: np.ndarray) -> np.ndarray:
    """Repeat opening, difference and erosion by a cross until nothing is left; the union of the differences, bool like `mask`."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    rest = mask.astype(np.uint8)
    skeleton = np.zeros_like(rest)
    while rest.any():
        skeleton |= rest - cv2.morphologyEx(rest, cv2.MORPH_OPEN, cross)
        rest = cv2.erode(rest, cross)
    return skeleton.astype(bool)
