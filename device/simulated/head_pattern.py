"""Where hair grows on a head at a Norwood–Hamilton stage: a density over the unit sphere that changes continuously with the stage.

The stages' landmarks follow Norwood's figures (Norwood 1975, "Male pattern baldness: classification and incidence"): recession of the
temples and of the middle of the front, loss at the vertex, the bridge between both, and the height of the horseshoe that is left.
Directions are those of the skull's ellipsoid divided by its radii: x to the subject's left, y up, z to the face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Direction = tuple[Plane, Plane, Plane]

STAGES = ("I", "II", "III", "IV", "V", "VI", "VII")
LOWEST, HIGHEST = 0.5, 7.5  # of the latent stage; grade k is what rounds to k
VERTEX_DEG = 127.0  # from the face over the top
# a value for each of the stages I to VII, interpolated between them
TEMPLE_DEG = (3.0, 15.0, 31.0, 39.0, 47.0, 58.0, 66.0)
MIDDLE_DEG = (0.0, 3.0, 7.0, 15.0, 25.0, 40.0, 52.0)
VERTEX_RADIUS_DEG = (-14.0, -8.0, 3.0, 16.0, 25.0, 35.0, 47.0)  # below 0 there is no bare spot
BRIDGE = (1.0, 1.0, 1.0, 1.0, 0.72, 0.12, 0.0)
RIM_HEIGHT = (1.4, 1.4, 1.35, 1.2, 1.0, 0.75, 0.42)  # y above which nothing is left
GRADES = tuple(range(1, 8))


@dataclass(frozen=True)
class HairPattern:
    """A person's pattern of hair.

    Attributes:
        recession, vertex: the latent stages of front and vertex, LOWEST…HIGHEST, near the person's stage.
        hairline_deg: of the unreceded front, from the face upwards.
        asymmetry_deg: how much further the left temple has receded than the right one.
        fullness: density of hair where none is lost, 0.7…1.
        softness: how gradual the borders are, 1 is usual.
        waves: rows of wave vector and phase that make borders irregular, float32 (n, 4).
        wave_deg: how irregular.
    """

    recession: float
    vertex: float
    hairline_deg: float
    asymmetry_deg: float
    fullness: float
    softness: float
    waves: NDArray[np.float32]
    wave_deg: float


def grade_of(stage: float) -> int:
    """The grade 1…7 of a latent stage.

    Raises:
        ValueError: outside LOWEST…HIGHEST.
    """
    if not LOWEST <= stage <= HIGHEST:
        raise ValueError(f"stage {stage}: choose {LOWEST} to {HIGHEST}")
    return int(np.clip(np.floor(stage + 0.5), 1, 7))


def draw_pattern(rng: np.random.Generator, stage: float) -> HairPattern:
    """A person's pattern at a latent stage; front and vertex stray from it by a third of a stage."""
    front, back = np.clip(rng.normal(stage, 0.3, 2), max(LOWEST, stage - 0.6), min(HIGHEST, stage + 0.6))
    waves = np.concatenate([rng.normal(0, 7, (4, 3)), rng.uniform(0, 2 * np.pi, (4, 1))], axis=1)
    return HairPattern(
        recession=float(front),
        vertex=float(back),
        hairline_deg=float(rng.normal(29, 3)),
        asymmetry_deg=float(rng.normal(0, 2.5)),
        fullness=float(rng.uniform(0.75, 1.0)),
        softness=float(rng.uniform(0.6, 1.5)),
        waves=np.asarray(waves, np.float32),
        wave_deg=float(rng.uniform(0.5, 2.5)),
    )


def density(pattern: HairPattern, direction: Direction) -> Plane:
    """Share of full hair, 0…1, at unit directions (x, y, z), float32 planes of one shape."""
    x, y, z = direction
    wide = np.abs(x)
    ragged = _waves(pattern, direction)
    over = np.degrees(np.arctan2(y, z), dtype=np.float32)  # 0 at the face, 90 on top, 180 at the back
    over = np.where(over < -90, over + 360, over)
    temple, middle = _at(TEMPLE_DEG, pattern.recession), _at(MIDDLE_DEG, pattern.recession)
    corner = np.exp(-(((wide - 0.52) / (0.17 + 0.02 * max(0.0, pattern.recession - 3))) ** 2))
    line = pattern.hairline_deg + middle + max(0.0, temple - middle) * corner + pattern.asymmetry_deg * np.sign(x) * corner + ragged
    soft = 7 * pattern.softness
    front = _rise((over - line) / soft)
    # before and above the ear: the border runs down to the sideburn and recedes with the temple
    edge = np.interp(y, (-0.45, -0.1, 0.4), (0.13, 0.22, 0.44 - 0.0045 * temple))
    side = _rise((edge - z) / (0.08 * pattern.softness)) * _rise((wide - 0.66) / 0.12)
    angle = _degrees_from_vertex(direction) + ragged
    both = (pattern.recession + pattern.vertex) / 2
    lost = _rise((0.78 - wide) / 0.16) * _rise((y - 0.3) / 0.16) * np.float32(1 - _at(BRIDGE, both))
    nape = np.interp(z, (-0.5, 0.1), (-0.74, -0.46))
    parts = (
        _rise((angle - _at(VERTEX_RADIUS_DEG, pattern.vertex)) / (1.5 * soft) + 0.5),
        _rise((_at(RIM_HEIGHT, both) - y + ragged * 0.01) / (0.12 * pattern.softness)),
        1 - lost,
        _rise((y - nape) / 0.1),
    )
    found = np.maximum(front, side) * np.float32(pattern.fullness)
    for part in parts:
        found = found * part
    return np.asarray(found, np.float32)


def _degrees_from_vertex(direction: Direction) -> Plane:
    _, y, z = direction
    top = np.radians(VERTEX_DEG)
    along = np.clip(y * np.float32(np.sin(top)) + z * np.float32(np.cos(top)), -1, 1)
    return np.asarray(np.degrees(np.arccos(along)), np.float32)


def _waves(pattern: HairPattern, direction: Direction) -> Plane:
    x, y, z = direction
    total = np.zeros_like(x)
    for a, b, c, phase in pattern.waves:
        total += np.sin(a * x + b * y + c * z + phase)
    return np.asarray(total * np.float32(pattern.wave_deg), np.float32)


def _at(values: tuple[float, ...], stage: float) -> float:
    return float(np.interp(stage, GRADES, values))


def _rise(x: NDArray[Any]) -> Plane:
    """0 below −½, 1 above ½, smooth between."""
    t = np.clip(np.asarray(x, np.float32) + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
