"""The maps behind the measured indices, and a picture of them: redness as a transparent colour scale, shine filled, flakes outlined."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.lettering import Colour, text_width, write
from runtime.analysis.scalp.indices import Index, ScalpIndices

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

REFERENCE_PX = 480  # shorter side for which strokes and letters are given
REDNESS_FROM, REDNESS_TO = -5.0, 60.0  # ends of the colour scale, in the map's unit
MOST_OPAQUE = 0.5  # of the redness at the scale's upper end; its lower end is clear
FLAKE: Colour = (255, 178, 40)
SHINE: Colour = (255, 255, 60)
PALE: Colour = (150, 220, 255)
REDDEST: Colour = (40, 0, 215)
WHITE: Colour = (255, 255, 255)
INK: Colour = (28, 22, 20)
PANEL = 0.68  # opacity behind letters


@dataclass(frozen=True, eq=False)
class ScalpMaps:
    """Where the indices come from, at the working size: the picture's own or smaller, with 640 px on the longer side.

    Attributes:
        skin: bool (height, width), what was taken for skin.
        flakes, shine: bool (height, width), parts of the skin.
        redness: float32 (height, width), 100 · (ln(R/G) − ½ ln(G/B)); NaN where none was read.
    """

    skin: Mask
    flakes: Mask
    shine: Mask
    redness: NDArray[np.float32]


def draw_scalp(image: Picture, maps: ScalpMaps, indices: ScalpIndices) -> Picture:
    """A copy of `image`, uint8 (height, width, 3) BGR, with the maps over it and a legend with the values at the top left.

    Raises:
        ValueError: the picture is not uint8 (height, width, 3).
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"scalp overlay: the picture is {image.dtype} {image.shape}, not uint8 (height, width, 3)")
    height, width = image.shape[:2]
    canvas: Picture = np.array(image, order="C")
    stroke = max(1, round(1.4 * min(height, width) / REFERENCE_PX))
    _lay_redness(canvas, maps.redness)
    shine = _enlarged(maps.shine, width, height)
    canvas[shine] = (0.35 * canvas[shine] + 0.65 * np.array(SHINE)).astype(np.uint8)
    outlines, _ = cv2.findContours(_enlarged(maps.flakes, width, height).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(canvas, outlines, -1, INK, stroke + 2, cv2.LINE_AA)
    cv2.drawContours(canvas, outlines, -1, FLAKE, stroke, cv2.LINE_AA)
    _legend(canvas, indices)
    return canvas


def index_text(name: str, index: Index) -> str:
    """What the legend says of an index, for example "flakes 1.2 %", "redness –" where there is none, "?" after one not to be trusted."""
    if index.value is None:
        return f"{name} –"
    value = f"{index.value:.1f} %" if index.unit.startswith("%") else f"{index.value:.0f}"
    return f"{name} {value}{'' if index.reliable else ' ?'}"


def _enlarged(mask: Mask, width: int, height: int) -> Mask:
    return np.asarray(cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0, np.bool_)


def _scale_colours(at: NDArray[np.float32]) -> NDArray[np.float32]:
    """BGR of the scale at 0…1, float32 (…, 3)."""
    return np.asarray(np.array(PALE) + (np.array(REDDEST) - np.array(PALE)) * at[..., None], np.float32)


def _lay_redness(canvas: Picture, redness: NDArray[np.float32]) -> None:
    """Colour over the skin, the redder the stronger and the more opaque."""
    known = np.isfinite(redness)
    height, width = canvas.shape[:2]
    at = np.clip((np.where(known, redness, np.float32(REDNESS_FROM)) - REDNESS_FROM) / (REDNESS_TO - REDNESS_FROM), 0, 1).astype(np.float32)
    at = np.asarray(cv2.resize(at, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    opaque = np.float32(MOST_OPAQUE) * at * _enlarged(known, width, height)
    canvas[:] = np.rint(canvas + (_scale_colours(at) - canvas) * opaque[..., None]).astype(np.uint8)


def _legend(canvas: Picture, indices: ScalpIndices) -> None:
    """A panel with a swatch and the value of each index; left out where the picture has no room for it."""
    height, width = canvas.shape[:2]
    size = max(9, round(13 * min(height, width) / REFERENCE_PX))
    pad, swatch, pitch = max(3, size // 2), 3 * size, round(1.5 * size)
    lines = (
        ("flakes", FLAKE, index_text("flakes", indices.flakes)),
        ("shine", SHINE, index_text("shine", indices.shine)),
        ("redness", None, index_text("redness", indices.erythema) + ("" if indices.calibrated else " (relative)")),
    )
    right = 3 * pad + swatch + max(text_width(text, size) for _, _, text in lines) + pad
    bottom = 2 * pad + pitch * len(lines) + pad
    if right + pad > width or bottom + pad > height:
        return
    view = canvas[pad:bottom, pad:right]
    cv2.addWeighted(np.full_like(view, INK), PANEL, view, 1 - PANEL, 0, dst=view)
    for i, (name, colour, text) in enumerate(lines):
        top = pad + i * pitch
        patch = view[top : top + size, pad : pad + swatch]
        if colour is None:
            patch[:] = _scale_colours(np.linspace(0, 1, swatch, dtype=np.float32)).round().astype(np.uint8)
        elif name == "flakes":
            cv2.rectangle(patch, (0, 0), (swatch - 1, size - 1), colour, max(1, size // 6))
        else:
            patch[:] = colour
        write(view, 2 * pad + swatch, top - size // 6, text, size, WHITE)
