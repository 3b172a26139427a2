"""Schematic heads from five sides, rendered from a seed, whose hair follows the Norwood–Hamilton stages; the truth is stated.

A head is a few ellipsoids under one lamp (`head_shape`), its hair a shell over the skull whose density is the stage's pattern
(`head_pattern`), its colours and the camera's faults are drawn (`head_looks`). What it is for: to train and test the staging of heads
without pictures of people. What it is not: a likeness of anyone, or of a real photograph.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.head_looks import Light, Looks, backdrop, draw_light, draw_looks, photograph, strand_texture
from device.simulated.head_pattern import HIGHEST, LOWEST, VERTEX_DEG, HairPattern, density, draw_pattern, grade_of
from device.simulated.head_shape import VIEWS, Ellipsoid, HeadShape, Rays, View, cast, directions, draw_pose, draw_shape, hit, normals

HEADS_VERSION = 1
"""Changes whenever the same seed would give another picture; cached heads carry it."""
SIZE = 192

Plane = NDArray[np.float32]
Triple = tuple[Plane, Plane, Plane]


@dataclass(frozen=True, eq=False)
class Head:
    """A person: the seed, the latent stage (LOWEST…HIGHEST) and its grade 1…7, and what is drawn."""

    seed: int
    stage: float
    grade: int
    shape: HeadShape
    pattern: HairPattern
    looks: Looks


@dataclass(frozen=True, eq=False)
class HeadView:
    """A picture of a head.

    Attributes:
        image: uint8 (size, size, 3) BGR.
        face: bool (size, size), where brows, eyes, nose and mouth can be seen.
        bare: float32 (size, size), how bare the visible skull is, 0 where something else is seen: for looking and for tests.
    """

    view: View
    image: NDArray[np.uint8]
    face: NDArray[np.bool_]
    bare: Plane


def draw_head(seed: int, stage: float | None = None) -> Head:
    """The person of a seed; with `stage` that person at another latent stage, all else the same.

    Raises:
        ValueError: the stage is outside LOWEST…HIGHEST.
    """
    rng = np.random.default_rng([seed, 11])
    drawn = float(rng.uniform(LOWEST, HIGHEST))
    stage = drawn if stage is None else stage
    return Head(
        seed=seed,
        stage=stage,
        grade=grade_of(stage),
        shape=draw_shape(np.random.default_rng([seed, 12])),
        pattern=draw_pattern(np.random.default_rng([seed, 13]), stage),
        looks=draw_looks(np.random.default_rng([seed, 14])),
    )


def render_view(head: Head, view: View, size: int = SIZE) -> HeadView:
    """One picture of a head; the same for the same head, view and size.

    Raises:
        ValueError: `size` is below 32 px.
    """
    if size < 32:
        raise ValueError(f"a picture of {size} px shows no head: choose at least 32")
    rng = np.random.default_rng([head.seed, 20 + VIEWS.index(view)])
    pose, light = draw_pose(rng, view), draw_light(rng)
    rays, axes = cast(view, pose, size)
    lamp = np.array(light.towards, np.float32) @ axes
    picture = backdrop(rng, size)
    _clothes_and_neck(picture, head, rays, lamp, light)
    reach = hit(rays, head.shape.skull)
    face = _face(picture, head, rays, reach, lamp, light)
    bare, above = _skull_and_hair(picture, head, rays, reach, lamp, light)
    _ears(picture, head, rays, lamp, light)
    return HeadView(view, photograph(picture, rng), face | above, bare)


def render_head(head: Head, size: int = SIZE) -> dict[View, HeadView]:
    """All five views of a head."""
    return {view: render_view(head, view, size) for view in VIEWS}


def _lit(normal: Triple, lamp: NDArray[np.float32], light: Light) -> Plane:
    """Light on a matt surface, wrapped a little around the edge as on skin."""
    towards = normal[0] * lamp[0] + normal[1] * lamp[1] + normal[2] * lamp[2]
    return np.asarray(light.ambient + light.lamp * np.clip(towards * np.float32(0.85) + np.float32(0.15), 0, None), np.float32)


def _gleam(normal: Triple, rays: Rays, lamp: NDArray[np.float32], strength: float) -> Plane:
    """The lamp's mirror image on skin (Blinn 1977)."""
    half = [lamp[0] - rays.x, lamp[1] - rays.y, lamp[2] - rays.z]
    length = np.sqrt(half[0] ** 2 + half[1] ** 2 + half[2] ** 2)
    along = np.clip((normal[0] * half[0] + normal[1] * half[1] + normal[2] * half[2]) / length, 0, 1)
    return np.asarray(np.float32(strength) * along**28, np.float32)


def _lay(picture: NDArray[np.float32], over: Plane, colour: NDArray[np.float32]) -> None:
    """Blend `colour`, (3,) or (h, w, 3), into the picture by `over`, (h, w) 0…1."""
    picture += (colour - picture) * over[..., None]


def _clothes_and_neck(picture: NDArray[np.float32], head: Head, rays: Rays, lamp: NDArray[np.float32], light: Light) -> None:
    for body, colour in ((head.shape.shoulders, head.looks.clothes), (head.shape.neck, head.looks.skin * np.float32(0.92))):
        reach = hit(rays, body)
        seen = np.isfinite(reach)
        if seen.any():
            shade = _lit(normals(directions(rays, np.where(seen, reach, 0), body), body), lamp, light)
            _lay(picture, seen.astype(np.float32), shade[..., None] * colour)


def _face(picture: NDArray[np.float32], head: Head, rays: Rays, skull: Plane, lamp: NDArray[np.float32], light: Light) -> NDArray[np.bool_]:
    """Face and nose with brows, eyes, mouth, beard and glasses; where features are seen."""
    features = np.zeros(skull.shape, np.bool_)
    looks = head.looks
    for body in (head.shape.face, head.shape.nose):
        reach = hit(rays, body)
        seen = np.isfinite(reach) & (reach < skull + (0.0 if body is head.shape.face else 0.05))
        if not seen.any():
            continue
        there = np.where(seen, reach, 0)
        direction = directions(rays, there, body)
        normal = normals(direction, body)
        skin = _lit(normal, lamp, light)[..., None] * looks.skin + _gleam(normal, rays, lamp, looks.shine * 0.5)[..., None]
        x, y, z = (s + r * there for s, r in zip(rays.start, (rays.x, rays.y, rays.z), strict=True))
        if body is head.shape.face:
            features |= _paint(skin, looks, (x, y, z), body.middle[2]) & seen
        else:
            features |= seen
        _lay(picture, seen.astype(np.float32), skin)
    return features


def _paint(skin: NDArray[np.float32], looks: Looks, where: Triple, middle_z: float) -> NDArray[np.bool_]:
    """Features of a face at (x, y, z), float32 planes, painted into `skin`; where they are."""
    x, y, z = where
    front = z > middle_z + 0.25
    wide = np.abs(x)
    if looks.beard:
        grown = np.clip((wide * np.float32(0.7) - 0.78 - y) * 12, 0, 1) * np.clip((z - middle_z + 0.2) * 7, 0, 1)
        _lay(skin, grown * np.float32(0.85 * looks.beard), looks.hair * np.float32(0.9))
    eye = ((wide - 0.25) / 0.11) ** 2 + ((y + 0.15) / 0.05) ** 2
    white, iris = front & (eye < 1), front & ((wide - 0.25) ** 2 + (y + 0.15) ** 2 < 0.045**2)
    lid = front & (eye < 1.7) & ~white
    brow = front & (wide > 0.1) & (wide < 0.42) & (np.abs(y - 0.03 + 1.2 * (wide - 0.25) ** 2) < 0.028)
    mouth = front & ((x / 0.2) ** 2 + ((y + 0.84) / 0.045) ** 2 < 1)
    _lay(skin, lid.astype(np.float32) * np.float32(0.6), looks.skin * np.float32(0.55))
    _lay(skin, white.astype(np.float32), np.full(3, 0.85, np.float32))
    _lay(skin, iris.astype(np.float32), looks.iris)
    _lay(skin, brow.astype(np.float32) * np.float32(0.8), looks.hair * np.float32(0.9))
    _lay(skin, mouth.astype(np.float32) * np.float32(0.7), looks.skin * np.array([0.62, 0.55, 0.9], np.float32))
    if looks.glasses:
        ring = np.abs(np.sqrt(((wide - 0.25) / 1.15) ** 2 + (y + 0.15) ** 2) - 0.15) < 0.018
        _lay(skin, (front & ring).astype(np.float32), np.full(3, 0.08, np.float32))
    return np.asarray(white | iris | lid | brow | mouth, np.bool_)


def _skull_and_hair(
    picture: NDArray[np.float32], head: Head, rays: Rays, reach: Plane, lamp: NDArray[np.float32], light: Light
) -> tuple[Plane, NDArray[np.bool_]]:
    """The skull where nothing lies before it, then roots and shell of hair; how bare the skull is where it can be seen, and features."""
    looks, skull = head.looks, head.shape.skull
    in_front = hit(rays, head.shape.face)
    seen = np.isfinite(reach) & (reach <= in_front)
    direction = directions(rays, np.where(np.isfinite(reach), reach, 0), skull)
    normal = normals(direction, skull)
    mottled = cv2.remap(looks.mottle, direction[0] * 20 + 24, direction[1] * 12 + direction[2] * 11 + 24, cv2.INTER_LINEAR)
    shade = _lit(normal, lamp, light) * (1 + np.float32(0.025) * mottled)
    skin = shade[..., None] * looks.skin + _gleam(normal, rays, lamp, looks.shine)[..., None]
    where = tuple(s + r * np.where(seen, reach, 1) for s, r in zip(rays.start, (rays.x, rays.y, rays.z), strict=True))
    features = _paint(skin, looks, (where[0], where[1], where[2]), head.shape.face.middle[2]) & seen
    high = direction[1] > -0.2
    _lay(picture, seen.astype(np.float32), skin)
    cover, shine = np.zeros_like(reach), np.zeros_like(reach)
    for layer, lies in ((_nearest(rays, skull, reach), reach), (hit(rays, skull, 1 + looks.length),) * 2):
        haired = np.isfinite(lies) if lies is not reach else _within(rays, skull, layer, 1 + looks.length)
        haired &= layer < in_front + 0.02
        direction = directions(rays, np.where(haired, layer, 1), skull)
        full = np.zeros_like(reach)
        full[haired] = density(head.pattern, (direction[0][haired], direction[1][haired], direction[2][haired]))
        strand = strand_texture(looks, direction, VERTEX_DEG)
        over = np.clip((full * np.float32(1.6) - strand) * np.float32(1 / 0.35), 0, 1) * np.clip(full * 8, 0, 1)
        more = over > cover
        cover[more] = over[more]
        normal = normals(direction, skull)
        lit = _lit(normal, lamp, light) * (np.float32(0.6) + np.float32(0.6) * strand) + _gleam(normal, rays, lamp, 0.12)
        shine[more] = lit[more]
    _lay(picture, cover, shine[..., None] * looks.hair)
    return np.asarray((1 - cover) * (seen & high), np.float32), features


def _nearest(rays: Rays, body: Ellipsoid, reach: Plane) -> Plane:
    """`reach` where the body is hit, elsewhere how far along the ray it comes nearest: at the outline both are the same."""
    (ax, ay, az), (px, py, pz) = body.radii, (s - m for s, m in zip(rays.start, body.middle, strict=True))
    a = (rays.x * np.float32(1 / ax)) ** 2 + (rays.y * np.float32(1 / ay)) ** 2 + (rays.z * np.float32(1 / az)) ** 2
    b = rays.x * np.float32(px / ax**2) + rays.y * np.float32(py / ay**2) + rays.z * np.float32(pz / az**2)
    return np.asarray(np.where(np.isfinite(reach), reach, -b / a), np.float32)


def _within(rays: Rays, body: Ellipsoid, reach: Plane, grown: float) -> NDArray[np.bool_]:
    """Whether the rays are inside the body, its radii times `grown`, after `reach`."""
    total = np.zeros_like(reach)
    for s, r, m, radius in zip(rays.start, (rays.x, rays.y, rays.z), body.middle, body.radii, strict=True):
        total += ((s + r * reach - m) * np.float32(1 / radius)) ** 2
    return np.asarray(total < grown * grown, np.bool_)


def _ears(picture: NDArray[np.float32], head: Head, rays: Rays, lamp: NDArray[np.float32], light: Light) -> None:
    before = np.minimum(hit(rays, head.shape.skull, 1.02), hit(rays, head.shape.face))
    for ear in (head.shape.left_ear, head.shape.right_ear):
        reach = hit(rays, ear)
        seen = np.isfinite(reach) & (reach < before)
        if seen.any():
            direction = directions(rays, np.where(seen, reach, 0), ear)
            inner = np.clip(1 - 2.2 * (direction[1] ** 2 + direction[2] ** 2), 0, 1) * np.float32(0.3)
            shade = _lit(normals(direction, ear), lamp, light) * (1 - inner)
            _lay(picture, seen.astype(np.float32), shade[..., None] * head.looks.skin * np.array([0.92, 0.94, 1.0], np.float32))
