"""How a schematic head looks: the drawn colours of skin, hair, eyes and clothes, the hair's texture, the light, the camera's faults."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Bgr = NDArray[np.float32]  # (3,), 0…1

# from very light to very dark, and from black over brown and red to blond, grey and white; blue, green, red
SKIN = np.array([(196, 214, 240), (165, 190, 228), (132, 162, 205), (96, 128, 178), (62, 90, 136), (38, 54, 84)], np.float32) / 255
HAIR = {
    "black": (24, 22, 26),
    "dark brown": (30, 40, 58),
    "brown": (44, 62, 92),
    "light brown": (74, 98, 134),
    "red": (42, 74, 148),
    "blond": (112, 156, 196),
    "grey": (146, 148, 150),
    "white": (206, 210, 214),
}
IRIS = np.array([(40, 60, 90), (90, 110, 80), (140, 120, 90)], np.float32)
HAIR_SHARES = (0.24, 0.22, 0.17, 0.1, 0.04, 0.08, 0.1, 0.05)
TEXTURE_WIDE, TEXTURE_HIGH = 512, 96  # samples around the vertex and away from it


@dataclass(frozen=True)
class Looks:
    """A person, as a camera sees one. Colours are BGR, 0…1.

    Attributes:
        length: of the hair, as a share of the skull's radius.
        strands: around the vertex; `wave` how far they swing, radians; `coily` without direction.
        shine: of bare skin.
        beard: 0 shaven to 1 full.
    """

    skin: Bgr
    hair: Bgr
    iris: Bgr
    clothes: Bgr
    length: float
    strands: float
    wave: float
    coily: bool
    shine: float
    beard: float
    glasses: bool
    texture: Plane
    mottle: Plane


@dataclass(frozen=True)
class Light:
    """Of one picture. `towards` the lamp, in the camera's axes (right, up, back); shares of its light and of light from everywhere."""

    towards: tuple[float, float, float]
    lamp: float
    ambient: float


def draw_looks(rng: np.random.Generator) -> Looks:
    """A person's looks. Dark skin has dark or grey hair more often, as people have."""
    tone = float(rng.uniform(0, len(SKIN) - 1))
    low = int(min(tone, len(SKIN) - 2))
    skin = SKIN[low] + (SKIN[low + 1] - SKIN[low]) * np.float32(tone - low)
    skin = skin * np.asarray(1 + rng.normal(0, 0.04, 3), np.float32)
    shares = np.array(HAIR_SHARES) * (np.array([2.5, 1, 0.4, 0.2, 0.15, 0.1, 1, 1]) if tone > 3 else 1)
    name = list(HAIR)[int(rng.choice(len(HAIR), p=shares / shares.sum()))]
    hair = np.array(HAIR[name], np.float32) / 255 * np.float32(rng.uniform(0.8, 1.2))
    coily = bool(rng.random() < (0.5 if tone > 3 else 0.08))
    length = float(rng.choice([rng.uniform(0.015, 0.04), rng.uniform(0.04, 0.1), rng.uniform(0.1, 0.2)], p=(0.3, 0.45, 0.25)))
    noise = rng.random((TEXTURE_HIGH, TEXTURE_WIDE), np.float32)
    texture = cv2.blur(noise, (1, 3) if coily else (1, 17), borderType=cv2.BORDER_REFLECT)
    order = np.empty(texture.size, np.float32)
    order[np.argsort(texture, axis=None)] = np.linspace(0, 1, texture.size, dtype=np.float32)
    mottle = cv2.GaussianBlur(rng.normal(0, 1, (48, 48)).astype(np.float32), (0, 0), 2.0)
    return Looks(
        skin=np.clip(skin, 0, 1),
        hair=np.clip(hair, 0, 1),
        iris=np.asarray(IRIS[int(rng.integers(len(IRIS)))] / 255, np.float32),
        clothes=np.asarray(rng.uniform(0.02, 0.95, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0.03, 0.95)), np.float32),
        length=length,
        strands=float(rng.uniform(0.35, 1.0)),
        wave=0.0 if coily else float(rng.uniform(0, 0.12)),
        coily=coily,
        shine=float(rng.uniform(0, 0.4)),
        beard=float(rng.uniform(0.3, 1)) if rng.random() < 0.4 else 0.0,
        glasses=bool(rng.random() < 0.15),
        texture=order.reshape(texture.shape),
        mottle=np.asarray(mottle / max(1e-6, float(mottle.std())), np.float32),
    )


def draw_light(rng: np.random.Generator) -> Light:
    """A lamp above or beside the camera, hard or soft."""
    towards = np.array([rng.normal(0, 0.6), rng.uniform(0, 1.1), rng.uniform(0.3, 1)])
    towards /= np.linalg.norm(towards)
    ambient = float(rng.uniform(0.3, 0.75))
    return Light((float(towards[0]), float(towards[1]), float(towards[2])), float(rng.uniform(0.9, 1.15)) - ambient, ambient)


def strand_texture(looks: Looks, direction: tuple[Plane, Plane, Plane], top_deg: float) -> Plane:
    """0…1, evenly spread: which strand a direction of the skull shows; strands run away from the crown at `top_deg` over the face."""
    x, y, z = direction
    s, c = np.float32(np.sin(np.radians(top_deg))), np.float32(np.cos(np.radians(top_deg)))
    away = np.arccos(np.clip(y * s + z * c, -1, 1))
    around = np.arctan2(x, z * s - y * c) + np.float32(looks.wave) * np.sin(away * 14)
    columns = (around * np.float32(1 / (2 * np.pi)) + np.float32(0.5)) * np.float32(TEXTURE_WIDE * looks.strands)
    rows = away * np.float32(TEXTURE_HIGH / np.pi * (1.0 if not looks.coily else 0.98))
    return np.asarray(
        cv2.remap(looks.texture, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR, None, cv2.BORDER_WRAP)
    )


def backdrop(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """float32 (size, size, 3) 0…1: a wall, plain or shaded, sometimes with blurred things on it."""
    corners = rng.uniform(0.1, 1.0) + (rng.uniform(-0.3, 0.3, (1, 1, 3)) if rng.random() < 0.5 else np.zeros((1, 1, 3)))
    grid = np.clip(corners + rng.normal(0, 0.08, (2, 2, 1)), 0, 1).astype(np.float32)
    wall = np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
    for _ in range(int(rng.integers(0, 5))):
        a, b = (tuple(int(v) for v in rng.integers(-size // 4, size + size // 4, 2)) for _ in range(2))
        colour = tuple(float(v) for v in rng.uniform(0, 1) + rng.uniform(-0.2, 0.2, 3))
        if rng.random() < 0.5:
            cv2.rectangle(wall, a, b, colour, -1)
        else:
            cv2.circle(wall, a, int(rng.integers(4, size // 3)), colour, -1)
    return np.asarray(cv2.GaussianBlur(wall, (0, 0), float(rng.uniform(1, 6))), np.float32)


def photograph(picture: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """What a camera makes of a picture, float32 (h, w, 3) 0…1: white balance, exposure, blur, noise, JPEG. uint8 (h, w, 3)."""
    side = picture.shape[0]
    gains = np.exp(rng.normal(0, 0.06, 3) + rng.normal(0, 0.12)).astype(np.float32)
    exposed = np.clip(picture * gains, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.12)))
    blurred = cv2.GaussianBlur(exposed, (0, 0), 0.2 + float(rng.uniform(0, 0.9)) * side / 192)
    noise = rng.standard_normal(blurred.shape, np.float32) * np.float32(rng.uniform(0, 0.025))
    levels = np.asarray(np.clip((blurred + noise) * 255 + 0.5, 0, 255), np.uint8)
    done, coded = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR) if done else None
    return levels if decoded is None else np.asarray(decoded, np.uint8)
