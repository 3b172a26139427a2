"""How hair grows on the stage: follicular units scattered over the scalp, and the course of every shaft above the skin, in µm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from device.simulated.fields import smooth_line
from device.simulated.lens import Lens
from device.simulated.recipe import Recipe

Tip = Literal["cut", "taper", "none"]

# body colour of a shaft as displayed, BGR 0…1
COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0.085, 0.080, 0.082),
    "darkbrown": (0.115, 0.150, 0.205),
    "brown": (0.175, 0.255, 0.350),
    "lightbrown": (0.275, 0.390, 0.500),
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
# terminal follicular units of 1, 2, 3 and 4 hairs: shares as biopsies of adult scalps give them (Headington 1984; Jimenez 2000)
HAIRS_PER_UNIT = (0.30, 0.46, 0.19, 0.05)
VELLUS_CLEAR = np.array([0.72, 0.80, 0.85])
COILY = 0.35  # curvature per mm above which hair coils
STEP_PX = 3.0  # spacing of the points along a shaft, in pixels of the picture


@dataclass(frozen=True)
class Unit:
    """A follicular unit: its opening on the skin (µm) and how many hairs grow from it (0: an empty opening)."""

    id: int
    x_um: float
    y_um: float
    hairs: int
    radius_um: float
    plug: bool


@dataclass(frozen=True, eq=False)
class Shaft:
    """One hair above the skin, from its opening on.

    Attributes:
        points_um: float64 (n, 3), x, y and height above the skin.
        d_um: float64 (n,), diameter along it; `nominal_um` is what it was drawn from.
        bgr: body colour; `opacity` is below 1 for hair that light passes.
        slant: by how many of its half widths an oblique cut is ahead on one side of the end.
        seed: of the shaft's own surface.
    """

    unit_id: int
    colour: str
    bgr: tuple[float, float, float]
    opacity: float
    vellus: bool
    tip: Tip
    nominal_um: float
    points_um: NDArray[np.float64]
    d_um: NDArray[np.float64]
    seed: int
    slant: float = 0.0


def grow(recipe: Recipe, lens: Lens, rng: np.random.Generator) -> tuple[list[Unit], list[Shaft]]:
    """The units and the hairs of a scalp, over the field in view and a margin around it from which hair enters."""
    scale = recipe.um_per_px
    half_w, half_h = lens.width * scale / 2, lens.height * scale / 2
    longest = recipe.field_um
    margin = min(2.5 * recipe.clipped_um, longest) if recipe.clipped_um else 0.8 * longest
    density = recipe.units_per_cm2
    places = scatter(rng, half_w + margin, half_h + margin, density)
    units: list[Unit] = []
    shafts: list[Shaft] = []
    flow = rng.normal(0, 1, 4)
    for x, y in places:
        outside = abs(x) > half_w + 40 * scale or abs(y) > half_h + 40 * scale
        # a parting and the comb leave less hair than grows around: of the units out of sight only some reach in
        if outside and recipe.clipped_um is None and rng.random() < 0.45:
            continue
        empty = rng.random() < (0.93 if recipe.bald else recipe.empty_share)
        count = 0 if empty else int(rng.choice(4, p=HAIRS_PER_UNIT)) + 1
        unit = Unit(len(units), float(x), float(y), count, float(rng.uniform(38, 75)), bool(rng.random() < 0.06 * recipe.grades[1]))
        units.append(unit)
        lean = 0.25 * (flow[0] * x / longest + flow[1] * y / longest)
        heading = recipe.heading + lean + rng.normal(0, recipe.heading_spread)
        if rng.random() < 0.04:
            heading = rng.uniform(0, 2 * math.pi)
        for place in range(count):
            shafts.append(grow_shaft(recipe, unit, heading, place, rng))
    return units, shafts


def scatter(rng: np.random.Generator, half_w: float, half_h: float, per_cm2: float) -> NDArray[np.float64]:
    """Places (n, 2) in µm over ±half_w × ±half_h at a density, none nearer to another than half of the mean spacing."""
    wanted = max(1, rng.poisson(4 * half_w * half_h / 1e8 * per_cm2))
    apart = 0.55 * 1e4 / math.sqrt(per_cm2)
    tried = rng.uniform((-half_w, -half_h), (half_w, half_h), (6 * wanted, 2))
    kept = np.empty((wanted, 2))
    n = 0
    for place in tried:
        if n == wanted:
            break
        if n == 0 or np.min(np.sum((kept[:n] - place) ** 2, 1)) > apart * apart:
            kept[n] = place
            n += 1
    return kept[:n]


def grow_shaft(recipe: Recipe, unit: Unit, heading: float, place: int, rng: np.random.Generator) -> Shaft:
    """One hair of a unit: `place` 0 is its first and thickest."""
    step = STEP_PX * recipe.um_per_px
    vellus = bool(place > 0 and rng.random() < recipe.vellus_share * 1.4) or bool(rng.random() < recipe.vellus_share * 0.4)
    if vellus:
        nominal = float(rng.uniform(10, 30))
        length = float(rng.uniform(700, 2600))
    else:
        nominal = float(recipe.diameter_um * rng.lognormal(0, 0.17))
        length = float(rng.uniform(1.2, 3.0) * recipe.field_um)
    tip: Tip = "taper" if vellus or rng.random() < 0.12 else "none"
    if recipe.clipped_um is not None and rng.random() < 0.93:
        length, tip = float(recipe.clipped_um * rng.lognormal(0, 0.25)), "cut"
    elif tip == "taper" and not vellus:
        length *= 0.35
    n = max(6, int(length / step))
    arc = np.arange(n) * step
    if recipe.curl > COILY:  # kinks that turn either way, not a spring
        bend = recipe.curl * 1e-3 * (0.5 * rng.normal(0, 1) + 1.2 * smooth_line(rng, n, float(rng.uniform(700, 1800)) / step))
    else:
        bend = recipe.curl * 1e-3 * (rng.normal(0, 1) + 0.8 * smooth_line(rng, n, 2200 / step))
    if vellus:
        bend *= 2.5
    turn = heading + rng.normal(0, (0.16 + 0.1 * recipe.heading_spread) * (1 - 0.85 * recipe.tight)) + np.cumsum(bend * step)
    elevation = math.radians(rng.uniform(14, 42))
    top = recipe.height_um * float(rng.lognormal(-0.1, 0.55)) * (0.45 if vellus else 1.0)
    if tip == "none" and rng.random() < recipe.high_share:
        top = recipe.high_um * float(rng.lognormal(0, 0.35))
        elevation = math.radians(rng.uniform(35, 60))
    reach = top / math.tan(elevation)
    z = top * (1 - np.exp(-arc / reach)) * (1 + 0.18 * smooth_line(rng, n, 3000 / step))
    flat = np.sqrt(np.clip(1 - (np.gradient(z, step)) ** 2, 0.2, 1))
    around = rng.uniform(0, 2 * math.pi)
    off = rng.uniform(0.15, 0.8) * unit.radius_um * 0.55 if unit.hairs > 1 else 0.0
    east, south = off * math.cos(around), off * math.sin(around)
    if unit.hairs > 1 and rng.random() < recipe.tight:  # side by side, touching or nearly
        aside = (place - (unit.hairs - 1) / 2) * recipe.diameter_um * rng.uniform(0.7, 1.3)
        back = rng.normal(0, 0.8) * recipe.diameter_um
        east = -aside * math.sin(heading) + back * math.cos(heading)
        south = aside * math.cos(heading) + back * math.sin(heading)
    x = unit.x_um + east + np.concatenate([[0], np.cumsum(np.cos(turn) * flat * step)[:-1]])
    y = unit.y_um + south + np.concatenate([[0], np.cumsum(np.sin(turn) * flat * step)[:-1]])
    # a shaft is elliptical and turns as it grows: its projected width breathes slowly
    d = nominal * np.clip(1 + recipe.uneven * smooth_line(rng, n, 900 / step), 0.6, 1.5)
    if tip == "taper":
        part = np.clip((arc[-1] - arc) / (0.45 * arc[-1]), 0, 1)
        d = d * (0.12 + 0.88 * np.sin(part * math.pi / 2) ** 0.8)
    colour = recipe.head_colour
    if rng.random() < recipe.stray_share:
        colour = str(rng.choice(STRAYS[colour]))
    bgr = np.array(COLOURS[colour]) * (1 + rng.normal(0, 0.07)) * (1 + rng.normal(0, 0.02, 3))
    opacity = {"blond": 0.93, "grey": 0.88, "white": 0.92}.get(colour, 1.0)
    if vellus:
        # little or no pigment: brown at most, often clear as glass and seen by the light that it mirrors
        bgr = bgr + ((0.40, 0.50, 0.58) - bgr) * rng.uniform(0.05, 0.4) if rng.random() < 0.6 else VELLUS_CLEAR * rng.uniform(0.75, 1.1)
        opacity *= float(rng.uniform(0.5, 0.9))
    return Shaft(
        unit_id=unit.id,
        colour=colour,
        bgr=(float(bgr[0]), float(bgr[1]), float(bgr[2])),
        opacity=opacity,
        vellus=vellus,
        tip=tip,
        nominal_um=nominal,
        points_um=np.stack([x, y, z], 1),
        d_um=np.asarray(d, np.float64),
        seed=int(rng.integers(2**31)),
        slant=float(rng.normal(0, 0.5)) if tip == "cut" else 0.0,
    )
