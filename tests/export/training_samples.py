"""Scenes and frames drawn in a moment instead of rendered, for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from export.scenes import HAIR, HEIGHT, LINE, PLANES, WIDTH


def drawn_planes(place: int) -> np.ndarray:
    """Skin of one tone with an upright dark hair 12 px wide at column `place`."""
    planes = np.full((HEIGHT, WIDTH, PLANES), 0, np.uint8)
    planes[..., :3] = (140, 165, 205)
    planes[:, place - 6 : place + 6, :3] = 25
    planes[:, place - 6 : place + 6, HAIR] = 255
    planes[:, place - 1 : place + 1, LINE] = 255
    return planes


def drawn_scenes(folder: Path, count: int = 3) -> list[Path]:
    """`count` such scenes as files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index}.npy" for index in range(count)]
    for index, path in enumerate(paths):
        np.save(path, drawn_planes(200 + 80 * index))
    return paths


def drawn_frames(per_kind: int, seed: int) -> Iterator[SimpleNamespace]:
    """Frames of 128×96 px as `validation_frames` gives them, one in seven without hair."""
    rng = np.random.default_rng(seed)
    for kind in ("easy", "realistic", "hard"):
        for index in range(per_kind):
            image = np.full((96, 128, 3), (140, 165, 205), np.uint8)
            mask = np.zeros((96, 128), bool)
            if index % 7:
                place, wide = int(rng.integers(20, 100)), int(rng.integers(4, 14))
                mask[:, place : place + wide] = True
                image[mask] = int(rng.integers(20, 110))
            noisy = image + rng.normal(0, 6, image.shape)
            truth = SimpleNamespace(kind=kind, counted=("a hair",) * int(mask.any()))
            yield SimpleNamespace(image=np.clip(noisy, 0, 255).astype(np.uint8), mask=mask, faint=np.zeros_like(mask), truth=truth)


def drawn_bald_frames(count: int, seed: int) -> Iterator[SimpleNamespace]:
    """Frames of 128×96 px without hair, as `bald_frames` gives them."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        noisy = np.full((96, 128, 3), (140, 165, 205)) + rng.normal(0, 6, (96, 128, 3))
        none = np.zeros((96, 128), bool)
        yield SimpleNamespace(
            image=np.clip(noisy, 0, 255).astype(np.uint8), mask=none, faint=none, truth=SimpleNamespace(kind="hard", counted=())
        )
