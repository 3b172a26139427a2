"""How hair grows on the stage: follicular units scattered over the scalp, and the course of every shaft above the skin, in µm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from device.simulated.fields import smooth_line
from device.simulated.lens import Lens
from device.simulated.pigment import pigment_of
from device.simulated.recipe import Recipe

Tip = Literal["cut", "taper", "none"]

# terminal follicular units of 1, 2, 3 and 4 hairs: shares as biopsies of adult scalps give them (Headington 1984; Jimenez 2000)
HAIRS_PER_UNIT = (0.30, 0.46, 0.19, 0.05)
COILY = 0.35  # curvature per mm above which hair coils
KINKED = 0.06  # share of hairs bent sharply at one place
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
    nominal = float(rng.uniform(10, 30)) if vellus else float(recipe.diameter_um * rng.lognormal(0, recipe.diameter_spread))
    length, tip = _length(recipe, vellus, rng)
    n = max(6, int(length / step))
    arc = np.arange(n, dtype=np.float64) * step
    turn = heading + rng.normal(0, (0.16 + 0.1 * recipe.heading_spread) * (1 - 0.85 * recipe.tight)) + _bending(recipe, vellus, arc, rng)
    elevation = math.radians(rng.uniform(14, 42))
    top = recipe.height_um * float(rng.lognormal(-0.1, 0.55)) * (0.45 if vellus else 1.0)
    if tip == "none" and rng.random() < recipe.high_share:
        top = recipe.high_um * float(rng.lognormal(0, 0.35))
        elevation = math.radians(rng.uniform(35, 60))
    reach = top / math.tan(elevation)
    z = top * (1 - np.exp(-arc / reach)) * (1 + 0.18 * smooth_line(rng, n, 3000 / step))
    flat = np.sqrt(np.clip(1 - (np.gradient(z, step)) ** 2, 0.2, 1))
    east, south = _stand(recipe, unit, heading, place, rng)
    x = unit.x_um + east + np.concatenate([[0], np.cumsum(np.cos(turn) * flat * step)[:-1]])
    y = unit.y_um + south + np.concatenate([[0], np.cumsum(np.sin(turn) * flat * step)[:-1]])
    # a shaft is elliptical and turns as it grows: its projected width breathes slowly
    d = nominal * np.clip(1 + recipe.uneven * smooth_line(rng, n, 900 / step), 0.6, 1.5)
    if tip == "taper":
        part = np.clip((arc[-1] - arc) / (0.45 * arc[-1]), 0, 1)
        d = d * (0.12 + 0.88 * np.sin(part * math.pi / 2) ** 0.8)
    colour, bgr, opacity = pigment_of(recipe, vellus, rng)
    return Shaft(
        unit_id=unit.id,
        colour=colour,
        bgr=bgr,
        opacity=opacity,
        vellus=vellus,
        tip=tip,
        nominal_um=nominal,
        points_um=np.stack([x, y, z], 1),
        d_um=np.asarray(d, np.float64),
        seed=int(rng.integers(2**31)),
        slant=float(rng.normal(0, 0.5)) if tip == "cut" else 0.0,
    )


def _length(recipe: Recipe, vellus: bool, rng: np.random.Generator) -> tuple[float, Tip]:
    """Length in µm, and how the hair ends: most long hair leaves the picture, some is broken off, some is young and has its first tip."""
    if recipe.clipped_um is not None and rng.random() < 0.93:
        return float(recipe.clipped_um * rng.lognormal(0, 0.25)), "cut"
    if vellus:
        return float(rng.uniform(700, 2600) if rng.random() < 0.75 else rng.uniform(2600, 6000)), "taper"
    length = float(rng.uniform(1.2, 3.0) * recipe.field_um)
    end = rng.random()
    if end < 0.12:
        return 0.35 * length, "taper"
    return (0.2 * length, "cut") if end < 0.17 else (length, "none")


def _bending(recipe: Recipe, vellus: bool, arc: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """How far the course has turned from its heading at each place `arc` µm along it, radians (n,)."""
    n, step = len(arc), float(arc[1])
    if recipe.curl > COILY:  # kinks that turn either way, not a spring
        bend = recipe.curl * 1e-3 * (0.5 * rng.normal(0, 1) + 1.2 * smooth_line(rng, n, float(rng.uniform(700, 1800)) / step))
    else:
        bend = recipe.curl * 1e-3 * (rng.normal(0, 1) + 0.8 * smooth_line(rng, n, 2200 / step))
    turned = np.cumsum(bend * (2.5 if vellus else 1.0) * step)
    if rng.random() < KINKED:
        turned = turned + rng.normal(0, 0.6) / (1 + np.exp(-(arc - rng.uniform(0.05, 0.6) * arc[-1]) / rng.uniform(25, 120)))
    return np.asarray(turned, np.float64)


def _stand(recipe: Recipe, unit: Unit, heading: float, place: int, rng: np.random.Generator) -> tuple[float, float]:
    """Where in the opening a hair of a unit stands, µm from its middle: somewhere, or side by side with the others."""
    if unit.hairs == 1:
        return 0.0, 0.0
    if rng.random() < recipe.tight:
        aside = (place - (unit.hairs - 1) / 2) * recipe.diameter_um * rng.uniform(0.7, 1.3)
        back = rng.normal(0, 0.8) * recipe.diameter_um
        return -aside * math.sin(heading) + back * math.cos(heading), aside * math.cos(heading) + back * math.sin(heading)
    around = rng.uniform(0, 2 * math.pi)
    off = rng.uniform(0.15, 0.8) * unit.radius_um * 0.55
    return off * math.cos(around), off * math.sin(around)
