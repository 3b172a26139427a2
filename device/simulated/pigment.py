"""The colours of hair: of a head, of the single hairs that stray from it, and of vellus, which has little pigment or none."""

from __future__ import annotations

import numpy as np

from device.simulated.recipe import Recipe

# body colour of a shaft as displayed, BGR 0…1
COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0.085, 0.080, 0.082),
    "darkbrown": (0.115, 0.150, 0.205),
    "brown": (0.175, 0.255, 0.350),
    "lightbrown": (0.250, 0.380, 0.515),
    "red": (0.150, 0.290, 0.530),
    "blond": (0.440, 0.630, 0.790),
    "grey": (0.660, 0.655, 0.650),
    "white": (0.860, 0.860, 0.850),
}
STRAYS: dict[str, tuple[str, ...]] = {
    "black": ("darkbrown", "grey", "white", "white"),
    "darkbrown": ("black", "brown", "grey", "white"),
    "brown": ("darkbrown", "lightbrown", "grey"),
    "lightbrown": ("brown", "blond", "white"),
    "red": ("lightbrown", "brown", "white"),
    "blond": ("lightbrown", "white"),
    "grey": ("white", "darkbrown", "black"),
    "white": ("grey", "white", "brown"),
}
OPACITY = {"blond": 0.93, "grey": 0.88, "white": 0.92}
VELLUS_PALE = np.array([0.40, 0.50, 0.58])
VELLUS_CLEAR = np.array([0.72, 0.80, 0.85])


def pigment_of(recipe: Recipe, vellus: bool, rng: np.random.Generator) -> tuple[str, tuple[float, float, float], float]:
    """Name of the colour, body colour (BGR 0…1) and opacity of one hair of a head."""
    name = recipe.head_colour
    if rng.random() < recipe.stray_share:
        name = str(rng.choice(STRAYS[name]))
    bgr = np.array(COLOURS[name]) * (1 + rng.normal(0, 0.07)) * (1 + rng.normal(0, 0.02, 3))
    opacity = OPACITY.get(name, 1.0)
    if vellus:
        # brown at most, often clear as glass and seen by the light that it mirrors
        pale = bgr + (VELLUS_PALE - bgr) * rng.uniform(0.05, 0.4)
        bgr = pale if rng.random() < 0.6 else VELLUS_CLEAR * rng.uniform(0.75, 1.1)
        opacity *= float(rng.uniform(0.5, 0.9))
    return name, (float(bgr[0]), float(bgr[1]), float(bgr[2])), opacity
