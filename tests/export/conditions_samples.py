"""Scalps drawn in a moment instead of rendered, and small data sets in AI-Hub's layout made of them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from export.training.conditions.scenes import FLAKES, KEPT_HEIGHT, KEPT_SHAPE, KEPT_WIDTH, LOOKS, SHINE

DEVICES = ("A2LEBJJDE00060O", "A2LEBJJDE00166C", "A2LEBJJDE000542", "A2LEBJJDE00079P")


def drawn_scalp(grades: tuple[int, int, int], rng: np.random.Generator, height: int = KEPT_HEIGHT, width: int = KEPT_WIDTH) -> np.ndarray:
    """Skin, redder by grade, with white squares (dandruff) and sparks (sebum), more of them by grade."""
    picture = np.full((height, width, 3), (150, 175 - 18 * grades[2], 205), np.float32)
    side = max(2, height // 12)
    for _ in range(3 * grades[0]):
        y, x = rng.integers(0, height - side), rng.integers(0, width - side)
        picture[y : y + side, x : x + side] = 235
    sparks = rng.random((height, width)) < 0.02 * grades[1]
    picture[sparks] = 255
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def drawn_scenes(folder: Path, count: int = 16, seed: int = 0) -> list[tuple[Path, tuple[int, int, int]]]:
    """`count` drawn scalps as kept scenes, with their grades."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        grades = (index % 4, index // 4 % 4, (index + index // 4) % 4)
        picture = drawn_scalp(grades, rng)
        kept = np.zeros(KEPT_SHAPE, np.uint8)
        kept[:LOOKS] = picture
        kept[LOOKS, ..., FLAKES] = cv2.inRange(picture, np.full(3, 215), np.full(3, 249))
        kept[LOOKS, ..., SHINE] = cv2.inRange(picture, np.full(3, 250), np.full(3, 255))
        np.save(folder / f"{index}.npy", kept)
        made.append((folder / f"{index}.npy", grades))
    return made


def aihub_set(folder: Path, *, visits: int = 2, places: int = 4, devices: tuple[str, ...] = DEVICES, seed: int = 0) -> list[Path]:
    """Pictures and labels as AI-Hub lays them out: a folder of pictures and one of labels, a JSON file for each; the pictures' paths."""
    rng = np.random.default_rng(seed)
    (folder / "pictures").mkdir(parents=True)
    (folder / "labels").mkdir()
    made = []
    for clinic, device in enumerate(devices):
        for visit in range(visits):
            for place in range(places):
                name = f"{clinic:04d}_{device}_{1606386139601 + visit}_{place + 2}_TH"
                number = clinic + visit + place
                values = (number % 4, (number + 1) % 4, number % 3, (number + 2) % 4, 0, number % 4)
                grades = (max(values[0], values[4]), values[1], max(values[2], values[3]))
                path = folder / "pictures" / f"{name}.jpg"
                cv2.imwrite(str(path), drawn_scalp(grades, rng, 96, 128))
                label = {"image_id": name, "image_file_name": path.name} | {f"value_{i + 1}": str(v) for i, v in enumerate(values)}
                (folder / "labels" / f"{name}.json").write_text(json.dumps(label))
                made.append(path)
    return made
