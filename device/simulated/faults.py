"""What lens, hand and sensor do to a picture: the numbers that `photograph` reads, whoever drew them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Faults(Protocol):
    """Lengths in px of a picture 640 px wide, angles in radians, shares 0…1; recipe.py says what each is."""

    @property
    def vignetting(self) -> float: ...
    @property
    def gain(self) -> float: ...
    @property
    def tint_bgr(self) -> tuple[float, float, float]: ...
    @property
    def motion_px(self) -> float: ...
    @property
    def motion_rad(self) -> float: ...
    @property
    def defocus_px(self) -> float: ...
    @property
    def chroma_px(self) -> float: ...
    @property
    def noise(self) -> float: ...
    @property
    def sharpen(self) -> float: ...
    @property
    def bayer(self) -> bool: ...
    @property
    def jpeg_quality(self) -> int: ...


@dataclass(frozen=True)
class CameraFaults:
    """Faults of a camera that looks at something flat. The defaults are a camera without any but its pixels."""

    vignetting: float = 0.0
    gain: float = 1.0
    tint_bgr: tuple[float, float, float] = (1.0, 1.0, 1.0)
    motion_px: float = 0.0
    motion_rad: float = 0.0
    defocus_px: float = 0.0
    chroma_px: float = 0.0
    noise: float = 0.0
    sharpen: float = 0.0
    bayer: bool = False
    jpeg_quality: int = 95


def draw_faults(rng: np.random.Generator) -> CameraFaults:
    """The faults of an ordinary microscope in an ordinary hand."""
    cold = float(rng.normal(0, 0.03))
    return CameraFaults(
        vignetting=float(rng.uniform(0.0, 0.25)),
        gain=float(rng.uniform(0.85, 1.05)),
        tint_bgr=(1 + cold, 1.0, 1 - cold),
        motion_px=float(rng.uniform(0.5, 1.8)) if rng.random() < 0.5 else 0.0,
        motion_rad=float(rng.uniform(0, np.pi)),
        defocus_px=float(rng.uniform(0.6, 1.3)),
        chroma_px=float(rng.uniform(0.0, 0.4)),
        noise=float(rng.uniform(0.005, 0.018)),
        sharpen=float(rng.uniform(0.0, 0.8)),
        jpeg_quality=int(rng.integers(78, 95)),
    )
