"""What is on the stage: the numbers that one seed and one kind of difficulty draw for a scalp, its hair, the lens and the sensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from device.simulated.hood import Hood, draw_hood

Kind = Literal["easy", "realistic", "hard"]
KINDS: tuple[Kind, ...] = ("easy", "realistic", "hard")

# changes whenever the same seed would give another picture; cached scenes carry it
RENDERER_VERSION = 15

# shares of the hair colours of a head, by kind; one colour is drawn for the head, single hairs may stray from it
HEAD_COLOURS: dict[Kind, dict[str, float]] = {
    "easy": {"black": 0.55, "darkbrown": 0.45},
    "realistic": {
        "black": 0.20,
        "darkbrown": 0.20,
        "brown": 0.16,
        "lightbrown": 0.12,
        "red": 0.05,
        "blond": 0.11,
        "grey": 0.11,
        "white": 0.05,
    },
    "hard": {
        "black": 0.12,
        "darkbrown": 0.15,
        "brown": 0.17,
        "lightbrown": 0.15,
        "red": 0.05,
        "blond": 0.14,
        "grey": 0.11,
        "white": 0.11,
    },
}


# white balances gone wrong, what each channel (BGR) gains: cold, violet, green, magenta, yellow; green's share is drawn smaller below
CASTS = np.array([(0.16, 0.0, -0.25), (0.18, -0.2, -0.05), (-0.06, 0.15, -0.12), (0.08, -0.3, 0.1), (-0.2, 0.1, 0.08)])


@dataclass(frozen=True)
class Recipe:
    """The drawn numbers of one scene. Lengths on the scalp in µm, in the picture in px; angles in radians; shares 0…1.

    Attributes:
        field_um: width of the field that the scale was drawn for, the measure of how far long hair reaches.
        distortion: share by which the lens displaces the corners of that field (negative: barrel).
        melanin: 0 very light to 1 very dark skin; `redness`, `sallowness` shift its tone, `tint_bgr` is the camera's white balance.
        grades: dandruff, sebum and erythema, 0–3 each.
        units_per_cm2: follicular units per cm² of scalp; `empty_share` of them hold no hair.
        clipped_um: mean length of clipped hair, or None where hair is long.
        stubble: clipped short and steep, in tight parallel groups, roots shimmering through the skin.
        curl: curvature scale of the hair, per mm.
        high_share: share of the long hairs that pass high above the skin, out of focus, at about `high_um`.
        peripilar: share of the openings with a brown halo.
        tight: how closely the hairs of a unit keep together, 0 spread to 1 touching and parallel.
        roots: how much of the roots shimmers through the skin, about 1.
        gloss: strength of the lamps mirrored by hair, about 1.
        shadow_reach: how far a shadow is displaced for each unit of height; `shadow_soft` how much it widens for it.
        pallor: 0…1, how far the skin is blanched by a thick bluish film under cold lamps; `veins` how many vessels, about 1.
        blur_px_per_um: how much a hair blurs for each µm that it lies above the skin (depth of field).
        hood: the opening whose edge is in view, if it is.
        uneven: how much the width of a shaft breathes along it, share; `scales` how strongly its cuticle shows as rings.
        motion_px, motion_rad: way of the picture while the shutter is open, and its direction; `bayer`: raw values are demosaiced.
        defocus_px, noise, jpeg_quality, vignetting, gain, sharpen, chroma_px: the picture's degradation.
        diameter_spread: of the logarithm of the terminal hairs' diameters; grows where hair miniaturises. No seed draws another.
    """

    kind: Kind
    um_per_px: float
    field_um: float
    distance_mm: float
    tilt_rad: tuple[float, float]
    distortion: float
    melanin: float
    redness: float
    sallowness: float
    tint_bgr: tuple[float, float, float]
    grades: tuple[int, int, int]
    wetness: float
    bald: bool
    head_colour: str
    stray_share: float
    units_per_cm2: float
    empty_share: float
    diameter_um: float
    vellus_share: float
    clipped_um: float | None
    stubble: bool
    curl: float
    heading: float
    heading_spread: float
    height_um: float
    high_share: float
    high_um: float
    peripilar: float
    tight: float
    roots: float
    gloss: float
    light_azimuth: float
    shadow: float
    shadow_reach: float
    shadow_soft: float
    pallor: float
    veins: float
    blur_px_per_um: float
    hood: Hood | None
    uneven: float
    scales: float
    motion_px: float
    motion_rad: float
    bayer: bool
    defocus_px: float
    noise: float
    jpeg_quality: int
    vignetting: float
    gain: float
    sharpen: float
    chroma_px: float
    diameter_spread: float = 0.17


def draw_recipe(rng: np.random.Generator, kind: Kind) -> Recipe:
    """Draw the numbers of a scene; the scale is that of a picture 640 px wide."""
    level = KINDS.index(kind)

    def between(*ranges: tuple[float, float]) -> float:
        low, high = ranges[level]
        return float(rng.uniform(low, high))

    scale = between((5.5, 9.0), (4.3, 11.0), (3.0, 10.8))
    colours = HEAD_COLOURS[kind]
    colour = str(rng.choice(list(colours), p=np.array(list(colours.values())) / sum(colours.values())))
    melanin = float(rng.beta(1.0, 2.0) if kind != "easy" else rng.beta(1.1, 2.6))
    # hair and skin share their pigment: fair hair on dark skin is dyed, and rare
    if rng.random() < 0.8:
        melanin *= {"brown": 0.75, "lightbrown": 0.55, "red": 0.35, "blond": 0.45}.get(colour, 1.0)
    grades = tuple(
        int(v)
        for v in (
            rng.choice(4, p=p) for p in ([[0.72, 0.2, 0.08, 0]] * 3, [[0.25, 0.3, 0.27, 0.18]] * 3, [[0.1, 0.25, 0.35, 0.3]] * 3)[level]
        )
    )
    tint = rng.normal(0, (0.025, 0.04, 0.05)[level], 3)
    if rng.random() < (0.0, 0.2, 0.25)[level]:
        tint = tint + CASTS[int(rng.integers(len(CASTS)))] * rng.uniform(0.3, 0.9)
    clipped = bool(rng.random() < (0.25, 0.3, 0.3)[level])
    stubble = clipped and bool(rng.random() < (0.2, 0.45, 0.45)[level])
    glistening = bool(rng.random() < (0.0, 0.16, 0.16)[level])
    fine = bool(rng.random() < (0.0, 0.1, 0.16)[level])
    coily = colour in ("black", "darkbrown", "brown") and bool(rng.random() < (0.0, 0.08, 0.12)[level])
    grizzled = colour in ("grey", "white", "darkbrown", "black") and bool(rng.random() < (0.0, 0.15, 0.25)[level])
    tilt = rng.normal(0, (0.0, 0.6, 2.6)[level], 2) * np.pi / 180
    return Recipe(
        kind=kind,
        um_per_px=scale,
        field_um=640 * scale,
        distance_mm=float(rng.uniform(12, 24)),
        tilt_rad=(float(tilt[0]), float(tilt[1])),
        distortion=between((-0.001, 0.001), (-0.006, 0.004), (-0.016, 0.008)),
        melanin=melanin,
        redness=float(np.clip(rng.normal(0.12 + 0.26 * grades[2], 0.15), 0, 1.2)),
        sallowness=float(np.clip(rng.normal(0.4, 0.3), 0, 1)),
        tint_bgr=(float(1 + tint[0]), float(1 + tint[1] * 0.3), float(1 + tint[2] * 0.6)),
        grades=(grades[0], grades[1], grades[2]),
        wetness=float(rng.uniform(0.62, 1.0) if glistening else np.clip(0.12 + 0.2 * grades[1] + rng.normal(0, 0.12), 0, 0.6)),
        bald=bool(rng.random() < (0.0, 0.08, 0.08)[level]),
        head_colour=colour,
        stray_share=float(rng.uniform(0.25, 0.6)) if grizzled else between((0.0, 0.02), (0.0, 0.15), (0.0, 0.25)),
        units_per_cm2=between((40, 85), (32, 85), (32, 85)),
        empty_share=between((0.0, 0.08), (0.02, 0.15), (0.03, 0.25)),
        diameter_um=float(rng.uniform(26, 50)) if fine else between((58, 88), (50, 88), (45, 95)),
        vellus_share=between((0.06, 0.16), (0.06, 0.22), (0.08, 0.3)),
        clipped_um=float(rng.uniform(230, 750) if stubble else rng.uniform(450, 1500)) if clipped else None,
        stubble=stubble,
        curl=float(rng.uniform(0.4, 1.5)) if coily else min(float(rng.gamma(1.3, (0.05, 0.08, 0.13)[level])), (0.16, 0.3, 0.5)[level]),
        heading=float(rng.uniform(0, 2 * np.pi)),
        heading_spread=between((0.12, 0.4), (0.15, 0.6), (0.2, 0.9)),
        height_um=between((60, 160), (100, 420), (150, 600)),
        high_share=max(0.0, between((0.0, 0.0), (-0.1, 0.3), (0.0, 0.55))),
        high_um=float(rng.uniform(500, 1400)),
        peripilar=max(0.0, float(rng.uniform(-0.8, 0.6))),
        tight=float(np.clip(rng.uniform(0.2, 1.0) if stubble else rng.uniform(-0.6, 1.0), 0, 1)),
        roots=float(rng.uniform(0.8, 1.8) if stubble else rng.uniform(0.1, 1.3)),
        gloss=float(rng.choice([rng.uniform(0.15, 0.7), rng.uniform(0.7, 1.3), rng.uniform(1.3, 2.0)], p=[0.35, 0.4, 0.25])),
        light_azimuth=float(rng.uniform(0, 2 * np.pi)),
        shadow=between((0.12, 0.3), (0.12, 0.45), (0.15, 0.6)),
        shadow_reach=float(rng.uniform(0.15, 0.9)),
        shadow_soft=float(rng.uniform(0.04, 0.2)),
        pallor=float(rng.uniform(0.6, 1.0)) if glistening else max(0.0, float(rng.uniform(-0.6, 0.5))),
        veins=float(rng.lognormal(0, 0.6)),
        blur_px_per_um=between((0.0, 0.0), (0.001, 0.009), (0.001, 0.011)) * 8.0 / scale,
        hood=draw_hood(rng) if rng.random() < (0.0, 0.08, 0.1)[level] else None,
        uneven=between((0.02, 0.04), (0.02, 0.08), (0.02, 0.1)),
        scales=float(rng.uniform(0.0, 0.12) if rng.random() < 0.5 else 0.02),
        motion_px=max(0.0, between((0.0, 0.0), (-3.0, 2.0), (-4.0, 5.0))),
        motion_rad=float(rng.uniform(0, np.pi)),
        bayer=bool(rng.random() < (0.3, 0.5, 0.5)[level]),
        defocus_px=between((0.35, 0.6), (0.5, 1.0), (0.75, 1.8)),
        noise=between((0.003, 0.007), (0.007, 0.016), (0.015, 0.034)),
        jpeg_quality=int(between((90, 97), (79, 93), (55, 83))),
        vignetting=between((0.04, 0.2), (0.08, 0.3), (0.1, 0.4)),
        gain=between((0.95, 1.05), (0.9, 1.08), (0.85, 1.12)),
        sharpen=between((0.0, 0.25), (0.0, 0.4), (0.0, 0.6)),
        chroma_px=between((0.0, 0.5), (0.0, 0.8), (0.0, 1.3)),
    )
