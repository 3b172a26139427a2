"""Published classical masks, untuned, as the comparison asks for them. Each takes uint8 (height, width, 3) BGR and gives a bool mask."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.segmentation import Mask

BLACK_HAT_SHARE = 0.045  # of the longest side: the black-hat's disc is wider than a bundle of two hairs
STRETCH_PERCENT = (1.0, 99.0)
STRETCH_LEVEL = 0.4


def otsu(image: NDArray[np.uint8]) -> Mask:
    """Kim et al. 2017: grey, smoothed, Otsu's threshold, specks opened away; hair is the darker side."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (5, 5), 0)
    dark = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)[1]
    return np.asarray(cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0)


def contrast_stretching(image: NDArray[np.uint8]) -> Mask:
    """Shih 2014, 2015: grey levels stretched between percentiles, then one threshold; hair is the darker side."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    low, high = np.percentile(grey, STRETCH_PERCENT)
    stretched = np.clip((grey - low) / max(float(high - low), 1.0), 0, 1).astype(np.float32)
    dark = (cv2.GaussianBlur(stretched, (3, 3), 0) < STRETCH_LEVEL).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0)


def black_hat(image: NDArray[np.uint8]) -> Mask:
    """Yue et al. 2021: morphological black-hat (closing minus picture) of the grey picture, Otsu's threshold on it."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (3, 3), 0)
    side = max(5, min(round(BLACK_HAT_SHARE * max(grey.shape)), *grey.shape)) | 1  # of a strip, no wider than that: it would take minutes
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    raised = cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, disc)
    return np.asarray(cv2.threshold(raised, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1] > 0)
