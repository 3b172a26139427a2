"""The hood ring: two rows of large and small dots on white ground, printed on the inside rim of the contact hood, facing the camera.

What a maker needs, for a ring of diameter D (`HoodRing.diameter_mm`, default 8 mm), all places from the ring's centre, angles clockwise
from the right as the camera sees the ring (that is, looking down on the skin):

    outer row    63 dots on the circle of diameter D, dot n at n · 360°/63
    inner row    63 dots on the circle of diameter 0.9 D, dot n at (n + ½) · 360°/63, so that each faces a gap of the outer row
    large dot    diameter 0.62 of the spacing of its row (0.62 · π/63 of the row's circle: 0.247 mm outside, 0.223 mm inside at D = 8 mm)
    small dot    diameter 0.38 of it (0.152 mm and 0.136 mm at D = 8 mm)
    ground       white, matt, from the opening to 1.07 D at least
    opening      0.83 D across (6.64 mm at D = 8 mm)

Which dots are large is a sequence of maximal length (Golomb, Shift Register Sequences, 1967) of six stages, s(n + 6) = the sum modulo 2 of
the stages that TAPS names, beginning 1 0 0 0 0 0; the six primitive polynomials of degree 6 are the six hoods. Outer dot n is
large where s(n) = 1, inner dot n where s(n + 21) = 0. Any six neighbours of a row tell where on the ring they are, and so do three
neighbours of each row; a longer run tells which hood it is. Seen in a mirror no code is another's, and neither row is the other.

Why two rows: a lens's distortion stretches the ring's circle by 1 + k and the distance between its rows by 1 + 3k. A single row could
not tell the former from a change of scale.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from calib.drawing import Disc, Drawing
from calib.targets import RING_CODES, HoodRing

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

POSITIONS = 63  # dots of a row
INNER = 0.9  # diameter of the inner row's circle, of the outer one's
LARGE, SMALL = 0.62, 0.38  # diameters of dots, of the spacing of their row
GROUND, HOLE = 1.07, 0.83  # diameters of the white ground and of the opening, of the outer row's circle
INNER_SHIFT = 21  # dots by which the inner row's sequence is ahead; with it any three neighbours of both rows tell their place
STEP_RAD = 2 * math.pi / POSITIONS
# stages that are added, of the six primitive polynomials of degree 6
TAPS = ((0, 1), (0, 5), (0, 1, 3, 4), (0, 2, 3, 5), (0, 1, 2, 5), (0, 1, 4, 5))
assert len(TAPS) == RING_CODES

ROW_RATIO = np.repeat([1.0, INNER], POSITIONS)  # of each dot's circle, outer row first
ROW_RATIO.setflags(write=False)
ANGLES_RAD = np.concatenate([np.arange(POSITIONS), np.arange(POSITIONS) + 0.5]) * STEP_RAD
ANGLES_RAD.setflags(write=False)


@lru_cache(maxsize=RING_CODES)
def ring_code(code: int) -> Bools:
    """Which dots of a hood's ring are large, bool (126,): outer row, then inner row."""
    stages = [1, 0, 0, 0, 0, 0]
    while len(stages) < POSITIONS:
        stages.append(sum(stages[len(stages) - 6 + tap] for tap in TAPS[code]) % 2)
    sequence = np.array(stages, np.bool_)
    large = np.concatenate([sequence, ~np.roll(sequence, -INNER_SHIFT)])
    large.setflags(write=False)
    return large


def dot_places(diameter_mm: float) -> Floats:
    """Centres of the dots, mm from the ring's centre, x right and y down, float64 (126, 2): outer row, then inner row."""
    radius = diameter_mm / 2 * ROW_RATIO
    return np.stack([radius * np.cos(ANGLES_RAD), radius * np.sin(ANGLES_RAD)], 1)


def dot_diameters(target: HoodRing) -> Floats:
    """Diameters of the dots, mm, float64 (126,)."""
    spacing = target.diameter_mm / 2 * ROW_RATIO * STEP_RAD
    return np.asarray(spacing * np.where(ring_code(target.code), LARGE, SMALL), np.float64)


def ring_drawing(target: HoodRing) -> Drawing:
    """The ring as it is printed; `hole_mm` is the opening that is cut out."""
    side = GROUND * target.diameter_mm
    dots = zip(dot_places(target.diameter_mm).tolist(), (dot_diameters(target) / 2).tolist(), strict=True)
    return Drawing(side, side, tuple(Disc(x, y, radius) for (x, y), radius in dots), HOLE * target.diameter_mm)
