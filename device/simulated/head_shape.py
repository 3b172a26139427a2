"""The shape of a schematic head: ellipsoids for skull, face, nose, ears, neck and shoulders, and the rays of a camera that hit them.

Lengths are in half heads (about 11 cm): x to the subject's left, y up, z to the face; the skull's middle lies a little above the origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

View = Literal["front", "top", "back", "left", "right"]
VIEWS: tuple[View, ...] = ("front", "top", "back", "left", "right")

Plane = NDArray[np.float32]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Ellipsoid:
    """Middle and radii along x, y and z."""

    middle: Triple
    radii: Triple


@dataclass(frozen=True)
class HeadShape:
    """A person's head."""

    skull: Ellipsoid
    face: Ellipsoid
    nose: Ellipsoid
    left_ear: Ellipsoid
    right_ear: Ellipsoid
    neck: Ellipsoid
    shoulders: Ellipsoid


@dataclass(frozen=True)
class Rays:
    """A camera's rays: where they start, and the unit direction of each pixel's, planes (height, width)."""

    start: Triple
    x: Plane
    y: Plane
    z: Plane


@dataclass(frozen=True)
class Pose:
    """How a view is taken.

    Attributes:
        yaw_deg, pitch_deg, roll_deg: how far the camera strays from the view's axis.
        distance: of the camera, in half heads.
        share: of the picture's half width that a half head fills.
        shift: of the head in the picture, in half pictures (right, down).
        turned: the top view with the face up instead of down.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    distance: float
    share: float
    shift: tuple[float, float]
    turned: bool = False


# from the camera to the head, and what is up in the picture
AXES: dict[View, tuple[Triple, Triple]] = {
    "front": ((0, 0, -1), (0, 1, 0)),
    "top": ((0, -1, 0), (0, 0, -1)),
    "back": ((0, 0, 1), (0, 1, 0)),
    "left": ((-1, 0, 0), (0, 1, 0)),
    "right": ((1, 0, 0), (0, 1, 0)),
}
LOOKED_AT: dict[View, Triple] = {
    "front": (0, -0.1, 0),
    "top": (0, 0, 0),
    "back": (0, -0.05, 0),
    "left": (0, -0.1, 0),
    "right": (0, -0.1, 0),
}


def draw_shape(rng: np.random.Generator) -> HeadShape:
    """A person's head, a few per cent around the usual one."""
    w, h, d = rng.normal(1, 0.04, 3)
    jaw, long, ear = rng.normal(1, 0.06), rng.normal(1, 0.04), rng.normal(1, 0.15)
    skull = Ellipsoid((0, 0.12, -0.06), (0.76 * w, 0.82 * h, 0.95 * d))
    front = -0.06 + 0.95 * d
    return HeadShape(
        skull=skull,
        face=Ellipsoid((0, -0.42, front - 0.63), (0.6 * jaw * w, 0.78 * long, 0.66)),
        nose=Ellipsoid((0, -0.44, front - 0.03), (0.09 * rng.normal(1, 0.12), 0.19, 0.13 * rng.normal(1, 0.15))),
        left_ear=Ellipsoid((0.735 * w, -0.22, -0.02), (0.09 * ear, 0.21, 0.13)),
        right_ear=Ellipsoid((-0.735 * w, -0.22, -0.02), (0.09 * ear, 0.21, 0.13)),
        neck=Ellipsoid((0, -1.35, -0.15), (0.46 * w, 0.95, 0.46)),
        shoulders=Ellipsoid((0, -2.35, -0.2), (1.65, 0.75, 0.6)),
    )


def draw_pose(rng: np.random.Generator, view: View) -> Pose:
    """How a hurried photographer takes a view."""
    tilt = {"front": (-16, 10), "back": (-8, 24), "top": (-18, 18), "left": (-10, 14), "right": (-10, 14)}[view]
    return Pose(
        yaw_deg=float(rng.normal(0, 8)),
        pitch_deg=float(rng.uniform(*tilt)),
        roll_deg=float(rng.normal(0, 6)),
        distance=float(rng.uniform(3.5, 8)),
        share=float(rng.uniform(0.58, 0.92)),
        shift=(float(rng.normal(0, 0.07)), float(rng.normal(0, 0.07))),
        turned=bool(view == "top" and rng.random() < 0.3),
    )


def cast(view: View, pose: Pose, size: int) -> tuple[Rays, NDArray[np.float32]]:
    """Rays of a square picture of `size` px, and the camera's axes in the head's coordinates: rows right, up, back, float32 (3, 3)."""
    ahead, above = (np.array(axis, np.float64) for axis in AXES[view])
    if pose.turned:
        above = -above
    right = np.cross(ahead, above)
    basis = np.stack([right, above, -ahead])
    basis = _turn(pose) @ basis
    right, above, behind = basis
    start = np.array(LOOKED_AT[view]) + behind * pose.distance
    half = 1.0 / pose.share / pose.distance  # of the picture, at unit distance
    at = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    u, v = np.meshgrid((at - pose.shift[0]) * half, -(at - pose.shift[1]) * half)
    x, y, z = (np.asarray(right[i] * u + above[i] * v - behind[i], np.float32) for i in range(3))
    length = 1 / np.sqrt(x * x + y * y + z * z)
    return Rays((float(start[0]), float(start[1]), float(start[2])), x * length, y * length, z * length), basis.astype(np.float32)


def hit(rays: Rays, body: Ellipsoid, grown: float = 1.0) -> Plane:
    """How far along each ray the ellipsoid, its radii times `grown`, is first met; inf where it is missed."""
    (ax, ay, az), (px, py, pz) = (grown * r for r in body.radii), (s - m for s, m in zip(rays.start, body.middle, strict=True))
    dx, dy, dz = rays.x * np.float32(1 / ax), rays.y * np.float32(1 / ay), rays.z * np.float32(1 / az)
    ox, oy, oz = px / ax, py / ay, pz / az
    a = dx * dx + dy * dy + dz * dz
    b = np.float32(ox) * dx + np.float32(oy) * dy + np.float32(oz) * dz
    under = b * b - a * np.float32(ox * ox + oy * oy + oz * oz - 1)
    return np.asarray(np.where(under > 0, (-b - np.sqrt(np.maximum(under, 0))) / a, np.inf), np.float32)


def directions(rays: Rays, reach: Plane, body: Ellipsoid) -> tuple[Plane, Plane, Plane]:
    """Where the rays are after `reach`, from the middle of `body`, divided by its radii and made unit length."""
    where = [
        (s + r * reach - m) * np.float32(1 / radius)
        for s, r, m, radius in zip(rays.start, (rays.x, rays.y, rays.z), body.middle, body.radii, strict=True)
    ]
    length = 1 / np.sqrt(np.maximum(where[0] ** 2 + where[1] ** 2 + where[2] ** 2, 1e-9))
    x, y, z = (np.asarray(part * length, np.float32) for part in where)
    return x, y, z


def normals(direction: tuple[Plane, Plane, Plane], body: Ellipsoid) -> tuple[Plane, Plane, Plane]:
    """Outer unit normals of `body` where its surface has these directions."""
    parts = [part * np.float32(1 / radius) for part, radius in zip(direction, body.radii, strict=True)]
    length = 1 / np.sqrt(parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2)
    x, y, z = (np.asarray(part * length, np.float32) for part in parts)
    return x, y, z


def _turn(pose: Pose) -> NDArray[np.float64]:
    """Of the camera's axes, by its own yaw, pitch and roll."""
    y, p, r = np.radians([pose.yaw_deg, pose.pitch_deg, pose.roll_deg])
    yaw = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    pitch = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    roll = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(roll @ pitch @ yaw, np.float64)
