"""Pictures drawn for tests: dark bars on quiet skin, whose every number is known without a renderer."""

import cv2
import numpy as np

SKIN, HAIR = (150, 170, 215), (40, 45, 55)


def skin(width=640, height=480, seed=1):
    """Skin without hair: a flat colour with mild, smooth noise; uint8 (height, width, 3) BGR."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 6, (height, width, 3)), (0, 0), 1.2)
    return np.clip(np.array(SKIN) + noise, 0, 255).astype(np.uint8)


def hairs_on_skin(bars, width=640, height=480, seed=1):
    """Straight hairs [(x0, y0, x1, y1, width_px), …] on skin: the picture and its mask, bool."""
    coverage = np.zeros((height * 4, width * 4), np.uint8)
    for x0, y0, x1, y1, w in bars:
        a, b = np.array([x0, y0]) * 4 + 1.5, np.array([x1, y1]) * 4 + 1.5
        across = np.array([a[1] - b[1], b[0] - a[0]])
        across = across / np.hypot(*across) * w * 2
        corners = np.array([a + across, b + across, b - across, a - across])
        cv2.fillPoly(coverage, [np.round(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    alpha = cv2.resize(coverage, (width, height), interpolation=cv2.INTER_AREA).astype(float) / 255
    soft = cv2.GaussianBlur(alpha, (0, 0), 0.7)[:, :, None]
    picture = skin(width, height, seed) * (1 - soft) + np.array(HAIR) * soft
    return np.clip(np.round(picture), 0, 255).astype(np.uint8), alpha >= 0.5


# five hairs that neither touch nor cross, 4–9 px thick, all roots at their left end inside the picture
FIVE = [(80, 60, 330, 120, 6), (90, 160, 400, 190, 8), (60, 260, 380, 240, 5), (120, 340, 420, 380, 9), (200, 430, 520, 410, 4)]
