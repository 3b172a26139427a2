"""Drawn hairs for the tests of the stages from mask to hairs: strokes with known courses, widths and counts."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.follicles import find_follicles
from runtime.analysis.hairs import HairPath, Ostium
from runtime.analysis.segmentation import given_mask
from runtime.analysis.skeleton import skeleton_graph
from runtime.analysis.tracing import trace_hairs
from runtime.analysis.widths import measure_widths

SKIN, HAIR = 190, 50
ARC_STEP_PX = 10.0

Stroke = tuple[list[tuple[float, float]], float]  # course and width, px


def drawn(strokes: list[Stroke], height: int = 240, width: int = 320) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """(mask bool (height, width), picture uint8 (height, width, 3)) of strokes: what lies within half a width of a course."""
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2).astype(float)
    cover = np.zeros(len(pixels))
    for course, thickness in strokes:
        cover = np.maximum(cover, np.clip(thickness / 2 - distance(pixels, course) + 0.5, 0, 1))
    share = cover.reshape(height, width)
    picture = (SKIN + (HAIR - SKIN) * share)[:, :, None].repeat(3, axis=2)
    return share >= 0.5, picture.round().astype(np.uint8)


def arc(start: tuple[float, float], heading_deg: float, length: float, bend: float) -> list[tuple[float, float]]:
    """A course of `length` px from `start` that turns by `bend` rad per px."""
    steps = np.arange(0.0, length + 1e-6, ARC_STEP_PX)
    heading = np.radians(heading_deg) + bend * steps
    x = start[0] + np.concatenate([[0.0], np.cumsum(ARC_STEP_PX * np.cos(heading[:-1]))])
    y = start[1] + np.concatenate([[0.0], np.cumsum(ARC_STEP_PX * np.sin(heading[:-1]))])
    return list(zip(x.tolist(), y.tolist(), strict=True))


def traced(mask: NDArray[np.bool_], picture: NDArray[np.uint8] | None = None) -> tuple[HairPath, ...]:
    """The hairs of a mask."""
    image = np.full((*mask.shape, 3), SKIN, np.uint8) if picture is None else picture
    return trace_hairs(skeleton_graph(mask), mask, image)


def analysed(mask: NDArray[np.bool_], picture: NDArray[np.uint8]) -> tuple[tuple[HairPath, ...], tuple[Ostium, ...]]:
    """All stages from a mask on."""
    segmentation = given_mask(mask)
    return find_follicles(measure_widths(traced(mask, picture), picture, segmentation), picture, segmentation)


def distance(points: NDArray[np.float64], course: list[tuple[float, float]]) -> NDArray[np.float64]:
    """Distance of each point, float64 (n, 2), from a course of line segments."""
    nearest = np.full(len(points), np.inf)
    for a, b in itertools.pairwise(np.asarray(course, float)):
        along = b - a
        share = np.clip((points - a) @ along / max(float(along @ along), 1e-9), 0, 1)
        nearest = np.minimum(nearest, np.hypot(*(points - a - along * share[:, None]).T))
    return nearest
