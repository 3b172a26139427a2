"""How surely each found hair is one: by its length and by how far its mask can be relied on.

A logistic regression on 3,600 hairs found in 90 rendered frames of device.simulated (30 of each kind, seeds 950000 on, 2026-11-22), with
true masks (reliability 1) and with those of the network and the classical mask together: whether a found hair matches a true hair
that counts (half of its points within half its width + 2 px, one to one). Rendered frames are not patients: a real frame may well be
harder.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from runtime.analysis.hairs import HairPath

TYPICAL_PX = 100.0
RELIED_ON, LONGER = 2.0, 1.15  # log odds of a hair of that length in a mask to be relied on, and what each unit of log length adds
DOUBT, DOUBT_LONGER = 3.7, 0.6  # what a mask that cannot be relied on at all takes from each


def with_confidence(paths: tuple[HairPath, ...], reliability: float) -> tuple[HairPath, ...]:
    """`paths` with `confidence` filled; `reliability` 0…1 is the segmenter's own."""
    doubt = 1.0 - float(np.clip(reliability, 0.0, 1.0))
    length = np.log(np.maximum([path.length_px for path in paths], 1.0) / TYPICAL_PX)
    odds = RELIED_ON - DOUBT * doubt + (LONGER - DOUBT_LONGER * doubt) * length
    confidences = (1.0 / (1.0 + np.exp(-odds))).tolist()
    return tuple(replace(path, confidence=confidence) for path, confidence in zip(paths, confidences, strict=True))
