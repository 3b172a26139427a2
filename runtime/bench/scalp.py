"""How the measured indices of the scalp rank frames beside the grades that are known of them, and the time they take on one core.

Grades are known of rendered frames (`device.simulated.scene`, where a grade shifts averages; `device.simulated.graded`, where it says what
is to be seen) and of folders whose pictures have a `NAME.json` with `conditions`. Hair is what the program's segmenter finds; beside
it, where it is known, the true mask.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from device.picturefile import NotAPictureError, inspect_picture
from device.simulated.graded import graded_frame
from device.simulated.recipe import Kind
from device.simulated.scene import render_frame
from runtime.analysis.scalp.measuring import measure_scalp
from runtime.analysis.segmentation import Segmenter
from runtime.errors import PictureError

NAMES = ("flakes", "shine", "erythema")
CONDITIONS = ("dandruff", "sebum", "erythema")
MAX_BYTES = 16 * 2**20
LEAST_FRAMES = 4  # of fewer, ranks say nothing

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class GradedPicture:
    """A picture whose grades are known.

    Attributes:
        group: what it belongs to, for example "rendered hard".
        image: uint8 (height, width, 3) BGR.
        hair, field: bool (height, width); None where they are not known.
        grades: dandruff, sebum, erythema, 0–3 each.
    """

    group: str
    image: NDArray[np.uint8]
    hair: Mask | None
    field: Mask | None
    grades: tuple[int, int, int]
    um_per_px: float | None


@dataclass(frozen=True)
class RankFigures:
    """Of one group of frames with one kind of mask.

    Attributes:
        hair: "true" or "found".
        spearman: by index; None where a value or all grades are missing or the same.
        reliable: by index, share of the frames in which it is called reliable.
        ms_p50: processor time of the indices, without finding hair.
    """

    group: str
    hair: str
    frames: int
    spearman: dict[str, float | None]
    reliable: dict[str, float]
    ms_p50: float


def rendered(kind: Kind, seeds: Sequence[int]) -> Iterator[GradedPicture]:
    """Frames of the rendered scalp with their recipes' grades and true masks."""
    for seed in seeds:
        frame = render_frame(seed, kind=kind)
        yield GradedPicture(f"rendered {kind}", frame.image, frame.mask | frame.faint, frame.field, frame.truth.grades, frame.um_per_px)


def graded(kind: Kind, seeds: Sequence[int]) -> Iterator[GradedPicture]:
    """Frames whose grades say what is to be seen, drawn evenly; neither mask nor scale is known of them."""
    for seed in seeds:
        dandruff, sebum, erythema = (int(v) for v in np.random.default_rng([seed, 99]).integers(0, 4, 3))
        grades = dandruff, sebum, erythema
        yield GradedPicture(f"graded {kind}", graded_frame(seed, grades, kind=kind), None, None, grades, None)


def from_folder(folder: Path) -> Iterator[GradedPicture]:
    """The pictures of a folder that have a `NAME.json` with `conditions` beside them, and `NAME_mask.png` where there is one.

    Raises:
        PictureError: no such picture, or one that cannot be read; the message names it.
    """
    try:
        truths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        raise PictureError(f"{folder}: {error.strerror}: name a folder with pictures and NAME.json beside them") from error
    found = 0
    for path in truths:
        truth = _truth(path)
        if truth is None:
            continue
        grades, um_per_px, group = truth
        picture = next((p for end in (".jpg", ".png") if (p := path.with_suffix(end)).is_file()), None)
        if picture is None:
            raise PictureError(f"{path}: no picture of this name beside it: add {path.stem}.jpg")
        image = np.asarray(_decoded(picture, cv2.IMREAD_COLOR), np.uint8)
        mask_file = path.with_name(f"{path.stem}_mask.png")
        hair = np.asarray(_decoded(mask_file, cv2.IMREAD_GRAYSCALE) > 127, np.bool_) if mask_file.is_file() else None
        if hair is not None and hair.shape != image.shape[:2]:
            raise PictureError(f"{mask_file}: another size than its picture: give the mask of this picture")
        found += 1
        yield GradedPicture(f"{folder.name} {group}".strip(), image, hair, None, grades, um_per_px)
    if not found:
        raise PictureError(f"{folder}: no NAME.json with grades under `conditions`: name a folder that has them")


def _truth(path: Path) -> tuple[tuple[int, int, int], float | None, str] | None:
    """Grades, scale and difficulty that a truth file states; None for a file that states no grades."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("too large")
        content = json.loads(path.read_bytes())
        conditions = content["conditions"]
        grades = tuple(conditions[name] for name in CONDITIONS)
        if not all(type(grade) is int and 0 <= grade <= 3 for grade in grades):
            raise ValueError(f"grades {grades} are not 0 to 3")
        scale = content.get("scale", {}).get("um_per_px_center")
    except (KeyError, TypeError, AttributeError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise PictureError(f"{path}: cannot be read as truth ({str(error)[:80]}): mend it or take it away") from error
    um_per_px = float(scale) if isinstance(scale, (int, float)) and 0 < scale < 1000 else None
    return (grades[0], grades[1], grades[2]), um_per_px, str(content.get("difficulty", ""))[:40]


def _decoded(path: Path, how: int) -> NDArray[Any]:
    try:
        content = path.read_bytes()
        inspect_picture(content)
        image = cv2.imdecode(np.frombuffer(content, np.uint8), how)
    except (OSError, NotAPictureError, cv2.error) as error:
        raise PictureError(f"{path}: cannot be read ({error}): give a whole picture") from error
    if image is None:
        raise PictureError(f"{path}: cannot be decoded: give a whole picture")
    return np.asarray(image)


def measure_ranks(pictures: Iterable[GradedPicture], finder: Segmenter, advance: Callable[[], None] = lambda: None) -> list[RankFigures]:
    """The figures of each group, and of all groups of one source together; `advance` is called after each picture.

    Groups are named "source difficulty"; "source" alone is all of them.
    """
    rows: list[tuple[str, str, tuple[int, int, int], list[float], list[bool], float]] = []
    for picture in pictures:
        segmentation = finder.segment(picture.image)
        found = segmentation.mask if segmentation.faint is None else segmentation.mask | segmentation.faint
        for name, hair in (("true", picture.hair), ("found", found)):
            if hair is None:
                continue
            began = time.process_time()
            indices, _ = measure_scalp(picture.image, hair, picture.field, None, picture.um_per_px)
            ms = (time.process_time() - began) * 1e3
            each = (indices.flakes, indices.shine, indices.erythema)
            values = [float("nan") if index.value is None else index.value for index in each]
            rows.append((picture.group, name, picture.grades, values, [index.reliable for index in each], ms))
        advance()
    groups: dict[tuple[str, str], list[int]] = {}
    for i, (group, hair_name, *_) in enumerate(rows):
        groups.setdefault((group.split(" ")[0], hair_name), []).append(i)
        if " " in group:
            groups.setdefault((group, hair_name), []).append(i)
    return [_figures(group, hair_name, [rows[i] for i in members]) for (group, hair_name), members in groups.items()]


def _figures(group: str, hair: str, rows: Sequence[tuple[str, str, tuple[int, int, int], list[float], list[bool], float]]) -> RankFigures:
    values = np.array([row[3] for row in rows])
    grades = np.array([row[2] for row in rows])
    trusted = np.array([row[4] for row in rows])
    return RankFigures(
        group,
        hair,
        len(rows),
        {name: rank_correlation(values[:, k], grades[:, k]) for k, name in enumerate(NAMES)},
        {name: round(float(trusted[:, k].mean()), 3) for k, name in enumerate(NAMES)},
        round(float(np.median([row[5] for row in rows])), 1),
    )


def rank_correlation(values: NDArray[np.floating], grades: NDArray[np.integer]) -> float | None:
    """Spearman's rank correlation (ties share their mean rank) over the finite values; None for too few or all the same."""
    known = np.isfinite(values)
    if np.count_nonzero(known) < LEAST_FRAMES or np.ptp(values[known]) == 0 or np.ptp(grades[known]) == 0:
        return None
    return round(float(np.corrcoef(rankdata(values[known]), rankdata(grades[known]))[0, 1]), 3)
