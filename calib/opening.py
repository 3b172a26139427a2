"""The hood's opening as a frame shows it: the circle within the ring's rows of dots, through the plane that was fitted to them."""

from __future__ import annotations

import math

import cv2
import numpy as np

from calib.plane import PlaneFit
from calib.ring import HOLE
from calib.targets import HoodRing

RIM_PX = 5.0  # along the rim shadow and blur are taken for hair
CORNERS = 90  # of the polygon; its sides bulge by less than a pixel at the size of a picture


def opening_in_picture(plane: PlaneFit, ring: HoodRing, width_px: int, height_px: int) -> tuple[tuple[float, float], ...] | None:
    """The usable part of the opening in a picture of width_px × height_px, a convex polygon of x and y in px, RIM_PX within its rim.

    None where all of the picture lies within the opening, or nothing of it does (the ring was then misread, or is not at the edge).
    """
    turn = np.linspace(0, 2 * math.pi, CORNERS, endpoint=False)
    radius = HOLE * ring.diameter_mm / 2 - RIM_PX * plane.um_per_px / 1000
    edge = plane.to_picture(radius * np.stack([np.cos(turn), np.sin(turn)], 1))
    frame = np.array([[-0.5, -0.5], [width_px - 0.5, -0.5], [width_px - 0.5, height_px - 0.5], [-0.5, height_px - 0.5]], np.float32)
    if not np.isfinite(edge).all():
        return None
    hull = cv2.convexHull(edge.astype(np.float32)).reshape(-1, 2)
    area, inside = cv2.intersectConvexConvex(hull, frame)
    if inside is None or area <= 0 or area >= width_px * height_px * (1 - 1e-6):
        return None
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in np.asarray(inside).reshape(-1, 2))
