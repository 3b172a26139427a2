"""Domain randomisation: from a cached scene to a training crop as some microscope, lens, lamp and firmware might show it.

Each crop is a function of its scene and one random generator, so that training can be repeated and resumed. The order is that of
light: geometry, the hair's and the lamps' colours, lens, sensor and its firmware, JPEG.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.lens import defocus, lateral_colour
from device.simulated.sensor import expose, jpeg_bytes
from export.scenes import FAINT, HAIR, LINE, OSTIUM, Planes
from export.training.graphics import burnt_in

Float = NDArray[np.float32]
GAP_PX = 7
"""Skin that a square of this side cannot enter lies narrowly between hairs."""
UNKNOWN = -1.0


@dataclass(frozen=True, eq=False)
class Crop:
    """One training sample.

    Attributes:
        picture: uint8 (side, side, 3) BGR.
        hair: bool (side, side).
        gaps: bool (side, side), skin that lies narrowly between hairs.
        marks: float32 (3, side / 2, side / 2), 0…1: centre lines, openings, and how much of the hair is too like the skin to count,
            UNKNOWN where there is no hair, or hair of another colour than was rendered.
    """

    picture: NDArray[np.uint8]
    hair: NDArray[np.bool_]
    gaps: NDArray[np.bool_]
    marks: Float


def crop_of(planes: Planes, rng: np.random.Generator, side: int, over: Planes | None = None) -> Crop:
    """A random crop of `side` px (even) of a scene's planes, turned, flipped, scaled and degraded by `rng`.

    Of `over`, another scene, some hairs are laid over it: out of focus, or as shadows only.
    """
    warped, truth = _turned(planes, rng, side)
    # a line thinner than a pixel is lost by resampling: the centre line keeps it
    truth[..., 0] = np.maximum(truth[..., 0], (truth[..., 1] >= 150) * np.uint8(255))
    picture = warped.astype(np.float32) * np.float32(1 / 255)
    own_colour = rng.random() >= 0.2
    if not own_colour:
        picture = recoloured(picture, truth[..., 0], rng)
    if over is not None:
        picture, truth = overlaid(picture, truth, *_turned(over, rng, side), rng)
    picture = lit(picture, rng)
    picture = seen(picture, rng)
    image = expose(picture, rng, noise=float(rng.uniform(0.0, 0.035) * rng.random() ** 0.5), sharpen=float(rng.uniform(0, 0.9)))
    if rng.random() < 0.1:
        image, covered = burnt_in(image, rng)
        truth[covered] = 0
    if rng.random() < 0.9:
        quality = int(rng.uniform(50, 97))
        image = np.asarray(cv2.imdecode(np.frombuffer(jpeg_bytes(image, quality), np.uint8), cv2.IMREAD_COLOR), np.uint8)
    hair = truth[..., 0] >= 128
    closed = cv2.morphologyEx(hair.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((GAP_PX, GAP_PX), np.uint8)) > 0
    half = cv2.resize(truth, (side // 2, side // 2), interpolation=cv2.INTER_AREA).astype(np.float32) * np.float32(1 / 255)
    within = half[..., 0] >= 0.5
    half[..., 3] = np.where(within & own_colour, np.minimum(half[..., 3] / np.maximum(half[..., 0], 0.5), 1), UNKNOWN)
    return Crop(image, hair, closed & ~hair, np.ascontiguousarray(half[..., 1:].transpose(2, 0, 1)))


def _turned(planes: Planes, rng: np.random.Generator, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Picture and truth planes of a crop under a random similarity: any angle, mirrored or not, enlarged 0.65 to 1.6 times."""
    height, width = planes.shape[:2]
    zoom = math.exp(rng.uniform(math.log(0.65), math.log(1.6)))
    angle = rng.uniform(0, 2 * math.pi) if rng.random() < 0.7 else (math.pi / 2) * int(rng.integers(4))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    reach = min(side / zoom / 2, height / 2)
    centre = rng.uniform((reach, reach), (width - reach + 1e-6, height - reach + 1e-6))
    # of the scene only what the crop can reach is touched: scenes are mapped from disk
    box = math.ceil(side / zoom * 0.7072) + 4
    x0, y0 = max(0, int(centre[0]) - box), max(0, int(centre[1]) - box)
    part = np.ascontiguousarray(planes[y0 : y0 + 2 * box + 1, x0 : x0 + 2 * box + 1])
    c, s = math.cos(angle) / zoom, math.sin(angle) / zoom
    middle = (side - 1) / 2
    # rows: crop pixel to scene pixel
    matrix = np.array([[c * mirror, -s, 0.0], [s * mirror, c, 0.0]])
    matrix[:, 2] = centre - (x0, y0) - matrix[:, :2] @ (middle, middle)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    picture, truth = (
        cv2.warpAffine(np.ascontiguousarray(part[..., planes_]), matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        for planes_ in (slice(0, 3), [HAIR, LINE, OSTIUM, FAINT])
    )
    return np.asarray(picture, np.uint8), np.asarray(truth, np.uint8)


def overlaid(
    picture: Float, truth: NDArray[np.uint8], other: NDArray[np.uint8], other_truth: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[Float, NDArray[np.uint8]]:
    """Some pieces of the hair of another crop over this one, strongly out of focus, and others as soft shadows, which are no hair.

    Pictures of hair above the focal plane and of its shadow are what most misleads a network that never saw them.
    """
    count, labels = cv2.connectedComponents((other_truth[..., 0] >= 128).astype(np.uint8), connectivity=8)
    if count < 2:
        return picture, truth
    role = np.zeros(count, np.uint8)
    role[1:] = rng.choice(3, count - 1, p=(0.4, 0.3, 0.3))
    cast = (role[labels] == 2).astype(np.float32)
    shadow = cv2.GaussianBlur(cast, (0, 0), float(rng.uniform(2.5, 7.0))) * np.float32(rng.uniform(0.15, 0.55))
    picture = picture * (1 - shadow[..., None] * np.array([1.05, 1.0, 0.88], np.float32))
    above = role[labels] == 1
    sigma = float(rng.uniform(0.8, 4.5))
    cover = cv2.GaussianBlur(above.astype(np.float32), (0, 0), sigma)
    light = cv2.GaussianBlur(other.astype(np.float32) * (above * np.float32(1 / 255))[..., None], (0, 0), sigma)
    picture = picture * (1 - cover[..., None]) + light
    covered = above & (cover > 0.35)  # a hair thinner than its blur is a veil that nobody calls hair
    truth = truth.copy()
    truth[..., 0][covered] = 255
    truth[..., 1] = np.where(above, other_truth[..., 1] * covered, truth[..., 1])
    truth[..., 2][cover > 0.5] = 0
    truth[..., 3][covered] = other_truth[..., 3][covered]
    return np.asarray(picture, np.float32), truth


def recoloured(picture: Float, hair: NDArray[np.uint8], rng: np.random.Generator) -> Float:
    """The hair of `picture` in a colour of no simulated head, its gloss and shade kept: colour must not be what tells hair."""
    cover = cv2.GaussianBlur(hair, (0, 0), 0.8).astype(np.float32)[..., None] * np.float32(1 / 255)
    grey = float(rng.uniform(0.03, 0.95))
    target = np.clip(grey + rng.normal(0, 0.05, 3) + np.array([-0.06, 0.0, 0.07]) * rng.random(), 0.01, 1)
    inside = hair >= 128
    if not inside.any():
        return picture
    mean, skin = picture[inside].mean(0), picture[~inside].mean(0) if not inside.all() else np.zeros(3)
    if abs(float(target.mean() - skin.mean())) < 0.12:  # what nobody could see teaches nothing
        return picture
    shaded = np.clip(target.astype(np.float32) + (picture - mean) * np.float32(rng.uniform(0.4, 1.3)), 0, 1)
    return np.asarray(picture + (shaded - picture) * cover, np.float32)


def lit(picture: Float, rng: np.random.Generator) -> Float:
    """`picture` under other lamps and through another colour matrix: gain, gradient, white balance, saturation, mixing, gamma."""
    height, width = picture.shape[:2]
    mix = np.eye(3) + rng.normal(0, 0.06, (3, 3))
    mix /= mix.sum(1, keepdims=True)
    saturation = 0.0 if rng.random() < 0.2 else float(rng.uniform(0.45, 1.35))
    grey = np.full((3, 3), 1 / 3)
    mix = grey + (mix - grey) * saturation
    balance = np.exp(rng.normal(0, (0.12, 0.06, 0.09)) * (1.0 if rng.random() < 0.6 else 0.3))
    gain = math.exp(rng.uniform(-0.35, 0.22))
    matrix = (mix * balance[:, None] * gain).astype(np.float32)
    shown = np.asarray(cv2.transform(picture, matrix), np.float32)
    if rng.random() < 0.6:
        coarse = rng.normal(0, rng.uniform(0.02, 0.16), (3, 3)).astype(np.float32)
        shown *= cv2.resize(1 + coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    np.clip(shown, 0, 1, out=shown)
    gamma = math.exp(rng.uniform(-0.35, 0.35))
    pivot, contrast = float(shown.mean()), float(rng.uniform(0.7, 1.25))
    return np.asarray(np.clip((np.power(shown, np.float32(gamma)) - pivot) * contrast + pivot, 0, 1), np.float32)


def seen(picture: Float, rng: np.random.Generator) -> Float:
    """`picture` through another lens: defocus, motion, enlargement, lateral colour."""
    shown = defocus(picture, float(rng.uniform(0.2, 1.0) if rng.random() < 0.6 else rng.uniform(0.5, 2.2)))
    if rng.random() < 0.08:
        length, angle = rng.uniform(1.5, 5.0), rng.uniform(0, math.pi)
        kernel = np.zeros((7, 7), np.float32)
        off = np.array([math.cos(angle), math.sin(angle)]) * length / 2
        start, end = ([round(float(v) * 16) for v in 3 + sign * off] for sign in (-1, 1))
        cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA, 4)
        shown = np.asarray(cv2.filter2D(shown, -1, kernel / max(float(kernel.sum()), 1e-6)), np.float32)
    if rng.random() < 0.18:  # a picture that was enlarged after it was taken
        side = max(16, round(shown.shape[0] / rng.uniform(1.4, 3.0)))
        few = cv2.resize(shown, (side, side), interpolation=cv2.INTER_AREA)
        shown = np.asarray(cv2.resize(few, (shown.shape[1], shown.shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)
    if rng.random() < 0.3:
        shown = lateral_colour(shown, float(rng.uniform(0.1, 1.2)))
    return shown
