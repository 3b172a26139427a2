"""How surely each found hair is one: by its length and by how far its mask can be relied on.

Measured on 120 rendered frames of device.simulated (40 of each kind, seeds 910000 and 930000 on, 2026-11-22): the share of found hairs that
match a true hair that counts (half of their points within half its width + 2 px, one to one), with true masks (reliability 1) and
with the classical ones (0.6 on realistic and hard frames). Rendered frames are not patients: a real frame may well be harder.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from runtime.analysis.hairs import HairPath

LENGTHS_PX = (30.0, 48.0, 80.0, 130.0, 205.0, 300.0)
RELIED_ON = (0.50, 0.76, 0.79, 0.80, 0.81, 0.90)
DOUBTED = (0.26, 0.30, 0.50, 0.57, 0.70, 0.86)
DOUBTED_RELIABILITY = 0.6


def with_confidence(paths: tuple[HairPath, ...], reliability: float) -> tuple[HairPath, ...]:
    """`paths` with `confidence` filled; `reliability` 0…1 is the segmenter's own."""
    trust = float(np.clip((reliability - DOUBTED_RELIABILITY) / (1.0 - DOUBTED_RELIABILITY), 0.0, 1.0))
    table = trust * np.array(RELIED_ON) + (1.0 - trust) * np.array(DOUBTED)
    sure = np.interp([path.length_px for path in paths], LENGTHS_PX, table).tolist()
    return tuple(replace(path, confidence=confidence) for path, confidence in zip(paths, sure, strict=True))
