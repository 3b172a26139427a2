"""Algorithm 1 of ScalpVision as its text has it, slow and plain: what the fast one is held against."""

import numpy as np

from tests.runtime.paper_reference import repeated_opening


def plain_points(mask: np.ndarray, side: int = 10, overlap: float = 0.1) -> list[tuple[float, float]]:
    """Representative points (x, y): skeleton, a box at each of its pixels, greedy suppression, mean of the mask's pixels in each box.

    The lowest box comes first, in a row the rightmost; corners count inclusively. A mask without background has no skeleton.
    """
    if mask.all():
        return []
    waiting = sorted(((int(y), int(x)) for y, x in np.argwhere(repeated_opening(mask))), reverse=True)
    points = []
    inclusive = side + 1
    while waiting:
        y, x = waiting.pop(0)
        waiting = [
            (v, u) for v, u in waiting if max(0, inclusive - abs(v - y)) * max(0, inclusive - abs(u - x)) <= overlap * inclusive * inclusive
        ]
        members = [
            (float(u), float(v))
            for v in range(max(0, y - side // 2), min(mask.shape[0], y - side // 2 + side))
            for u in range(max(0, x - side // 2), min(mask.shape[1], x - side // 2 + side))
            if mask[v, u]
        ]
        points.append((sum(u for u, _ in members) / len(members), sum(v for _, v in members) / len(members)))
    return points


def plain_maps(points: np.ndarray, positive: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Discs of 2 px, plane 0 for positives and 1 for negatives, every pixel asked for every point."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    maps = np.zeros((2, *shape), np.float32)
    for (x, y), is_positive in zip(points, positive, strict=True):
        maps[0 if is_positive else 1][(rows - y) ** 2 + (columns - x) ** 2 <= 4] = 1
    return maps
