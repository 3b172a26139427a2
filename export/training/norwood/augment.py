"""What a person's views are changed by before the network learns from them: mirrored, cropped, relit, faces hidden, views left out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.head_shape import VIEWS
from export.training.norwood.heads import Pictures

LEFT, RIGHT = VIEWS.index("left"), VIEWS.index("right")
FACED = tuple(VIEWS.index(view) for view in ("front", "left", "right"))
KEPT_SHARES = (0.14, 0.22, 0.16, 0.14, 0.34)
"""How often 1, 2, 3, 4 and 5 views are left: what an operator brings is rarely all."""
HIDDEN_SHARE = 0.25
"""Of the faces that are learnt from blurred, so that stored pictures, which are blurred, can be staged again."""


def augment(pictures: Pictures, present: NDArray[np.float32], side: int, rng: np.random.Generator) -> tuple[Pictures, NDArray[np.float32]]:
    """One person's pictures (views, s, s, 3) and which are there, changed: (views, side, side, 3), and fewer of them there."""
    order = list(range(len(VIEWS)))
    flip = rng.random() < 0.5
    if flip:  # the left side's mirror image is a right side
        order[LEFT], order[RIGHT] = RIGHT, LEFT
    there = present[order]
    kept = _kept_views(there, rng)
    out = np.zeros((len(VIEWS), side, side, 3), np.uint8)
    hide = rng.random() < HIDDEN_SHARE
    for view, source in enumerate(order):
        if kept[view]:
            picture = pictures[source][:, ::-1] if flip else pictures[source]
            out[view] = _changed(_cropped(picture, side, rng), rng)
            if hide and view in FACED:
                _hide_below(out[view], float(rng.uniform(0.3, 0.5)))
    return out, kept


def _kept_views(present: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    there = np.flatnonzero(present)
    count = min(len(there), 1 + int(rng.choice(len(KEPT_SHARES), p=KEPT_SHARES)))
    kept = np.zeros(len(present), np.float32)
    kept[rng.permutation(there)[:count]] = 1
    return kept


def _cropped(picture: Pictures, side: int, rng: np.random.Generator) -> Pictures:
    """A part of the picture, a little squeezed and turned, at the network's size."""
    own = picture.shape[0]
    share = rng.uniform(0.84, 1.02, 2)
    angle = np.radians(rng.normal(0, 5))
    scale = share * own / side
    cos, sin = np.cos(angle), np.sin(angle)
    middle = own / 2 + rng.uniform(-0.06, 0.06, 2) * own
    inverse = np.array([[scale[0] * cos, -scale[1] * sin, 0], [scale[0] * sin, scale[1] * cos, 0]])
    inverse[:, 2] = middle - inverse[:, :2] @ (side / 2, side / 2)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(picture, inverse, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _changed(picture: Pictures, rng: np.random.Generator) -> Pictures:
    """Other light: gain and offset by channel, sometimes grey."""
    gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.05, 3))
    curve = np.clip(np.arange(256)[:, None] * gain + rng.normal(0, 10), 0, 255).astype(np.uint8)
    changed = np.asarray(cv2.LUT(picture, curve[None]), np.uint8)
    if rng.random() < 0.1:
        changed = np.asarray(cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)
    return changed


def _hide_below(picture: Pictures, share: float) -> None:
    """Everything below a line as a few smooth cells, as `runtime.staging.faces` stores it."""
    top = round(share * picture.shape[0])
    part = picture[top:]
    cells = cv2.resize(part, (6, 4), interpolation=cv2.INTER_AREA)
    picture[top:] = cv2.resize(cells, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_LINEAR)
