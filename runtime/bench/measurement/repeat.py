"""The same field twice: how far count and median width repeat when only the noise, the light and the hand's placing differ.

A scalp that is wider than the frame is rendered once, sharp, and photographed twice through windows that are shifted and turned against
each other. Hairs are compared over the skin that both windows show; what lies in one of them alone is another field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.scale import given_scale
from device.simulated.recipe import Kind
from device.simulated.scene import Scene, photograph, render_scene, scene_um_per_px
from device.simulated.truth import COUNTED_LENGTH_PX
from runtime.analysis.measurement import Hair, Measurement
from runtime.analysis.segmentation import Segmenter
from runtime.pipeline import analyse

WIDTH, HEIGHT = 640, 480
SHIFT = 0.10  # of the frame's width and height, at most
TURN_RAD = math.radians(5.0)  # at most
MARGIN_PX = 8  # around what any window can show, for the interpolation
COUNT_AIM, WIDTH_AIM = 0.03, 0.015


@dataclass(frozen=True, eq=False)
class Window:
    """Where the camera looks: `to_scene` float64 (2, 3) takes (x, y, 1) in px of its frame to px of the scene."""

    to_scene: NDArray[np.float64]

    def shows(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which points (n, 2) of the scene lie in the frame."""
        inside = np.linalg.solve(self.to_scene[:, :2], (points - self.to_scene[:, 2]).T)
        return np.asarray(((inside >= 0) & (inside <= np.array([[WIDTH - 1], [HEIGHT - 1]]))).all(0), np.bool_)

    def on_scene(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (n, 2) of the frame in px of the scene."""
        return np.asarray(points @ self.to_scene[:, :2].T + self.to_scene[:, 2], np.float64)


@dataclass(frozen=True)
class FieldTwice:
    """Hairs and their median width (µm, None where no hair has one) over what both frames of a field show."""

    counts: tuple[int, int]
    median_um: tuple[float | None, float | None]


@dataclass(frozen=True)
class RepeatFigures:
    """Fields pooled, all as shares.

    Attributes:
        count_difference: Σ|first − second| / Σ(first + second)/2; `counts_within_3_percent` the share of fields with hair.
        width_difference: mean over fields of the difference of the median widths over their mean; likewise within 1.5 %.
    """

    fields: int
    hairs_per_field: float | None
    count_difference: float | None
    counts_within_3_percent: float | None
    width_difference: float | None
    width_difference_median: float | None
    widths_within_1_5_percent: float | None


def measure_repeat(kind: Kind, seeds: Sequence[int], segmenter: Segmenter, advance: Callable[[], None] = lambda: None) -> RepeatFigures:
    """Photograph a field for each seed twice and compare; `advance` is called after each field."""
    fields = []
    for seed in seeds:
        fields.append(field_twice(kind, seed, segmenter))
        advance()
    return figures_of(fields)


def field_twice(kind: Kind, seed: int, segmenter: Segmenter) -> FieldTwice:
    """Measure one field in two frames of 640×480 px."""
    scene = wide_scene(kind, seed)
    windows = two_windows(scene.mask.shape, np.random.default_rng([seed, 8]))
    both = []
    for number, window in enumerate(windows):
        image = photographed(scene, window, np.random.default_rng([seed, 7, number]))
        measured = analyse(image, name="bench", segmentation=segmenter, scale=given_scale(scene.truth.um_per_px))
        both.append(common_hairs(measured, window, windows[1 - number]))
    medians = [[hair.diameter_um for hair in hairs if hair.diameter_um is not None] for hairs in both]
    first, second = (float(np.median(widths)) if widths else None for widths in medians)
    return FieldTwice((len(both[0]), len(both[1])), (first, second))


def wide_scene(kind: Kind, seed: int) -> Scene:
    """A scalp that is large enough for every window, at the scale that the seed draws; no hood in view."""
    turn, share = TURN_RAD / 2, (1 + SHIFT) / 2
    half_width = WIDTH * share + HEIGHT / 2 * math.sin(turn) + MARGIN_PX
    half_height = HEIGHT * share + WIDTH / 2 * math.sin(turn) + MARGIN_PX
    width, height = 2 * math.ceil(half_width), 2 * math.ceil(half_height)
    return render_scene(seed, width=width, height=height, kind=kind, um_per_px=scene_um_per_px(seed, kind), hooded=False)


def two_windows(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Window, Window]:
    """Two windows on a scene (height, width); each takes half of the way, so that both are interpolated alike."""
    way = rng.uniform(-SHIFT, SHIFT, 2) * (WIDTH, HEIGHT) / 2
    turn = float(rng.uniform(-TURN_RAD, TURN_RAD)) / 2
    height, width = shape
    middle = np.array([width - 1, height - 1]) / 2
    first, second = (_window(middle + sign * way, sign * turn) for sign in (-1, 1))
    return first, second


def photographed(scene: Scene, window: Window, rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 (HEIGHT, WIDTH, 3): what the scene's own lens and sensor deliver of a window on it."""
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP  # the sharp scene must not be blurred by turning it
    part = cv2.warpAffine(scene.picture, window.to_scene, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    jpeg = photograph(np.clip(part, 0, 1), scene.recipe, rng)
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def common_hairs(measured: Measurement, own: Window, other: Window) -> list[Hair]:
    """The hairs of one frame that are long enough to count (24 px) in what the other frame shows as well."""
    return [hair for hair in measured.hairs if _length_in(hair, own, other) >= COUNTED_LENGTH_PX]


def figures_of(fields: Sequence[FieldTwice]) -> RepeatFigures:
    """Pool fields."""
    counts = np.array([field.counts for field in fields], dtype=np.float64).reshape(-1, 2)
    medians = np.array([(a, b) for a, b in (f.median_um for f in fields) if a is not None and b is not None]).reshape(-1, 2)
    with_hair = counts[counts.sum(1) > 0]
    apart, widths_apart = (np.abs(v[:, 0] - v[:, 1]) / v.mean(1) for v in (with_hair, medians))
    total = float(counts.mean(1).sum())
    return RepeatFigures(
        fields=len(fields),
        hairs_per_field=total / len(fields) if fields else None,
        count_difference=float(np.abs(counts[:, 0] - counts[:, 1]).sum() / total) if total else None,
        counts_within_3_percent=float((apart <= COUNT_AIM).mean()) if len(apart) else None,
        width_difference=float(widths_apart.mean()) if len(widths_apart) else None,
        width_difference_median=float(np.median(widths_apart)) if len(widths_apart) else None,
        widths_within_1_5_percent=float((widths_apart <= WIDTH_AIM).mean()) if len(widths_apart) else None,
    )


def _window(middle: NDArray[np.float64], turn_rad: float) -> Window:
    """The window whose middle lies at `middle` in the scene, turned by `turn_rad`."""
    turned = np.array([[math.cos(turn_rad), -math.sin(turn_rad)], [math.sin(turn_rad), math.cos(turn_rad)]])
    corner = middle - turned @ (np.array([WIDTH - 1, HEIGHT - 1]) / 2)
    return Window(np.concatenate([turned, corner[:, None]], axis=1))


def _length_in(hair: Hair, own: Window, other: Window) -> float:
    """Length (px) of a hair's course within the other window, from its middle line resampled at about 1 px."""
    course = np.array([point[:2] for point in hair.points], dtype=np.float64).reshape(-1, 2)
    if len(course) < 2:
        return 0.0
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(course, axis=0).T))])
    at = np.linspace(0.0, arc[-1], max(2, math.ceil(arc[-1]) + 1))
    fine = np.stack([np.interp(at, arc, course[:, 0]), np.interp(at, arc, course[:, 1])], axis=1)
    return float(arc[-1] * other.shows(own.on_scene(fine)).mean())
