"""Rendered persons measured as the device measures: each field through the live path and through that of captures, kept on disk.

A person's rows are one small JSON file, written whole or not at all, so that an interrupted measuring goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.scale import given_scale
from device.simulated.recipe import RENDERER_VERSION
from device.simulated.truth import Truth
from export.errors import TrainingError
from export.severity_scenes import Person, person_fields, seen_per_cm2
from export.training.cache import DEADLINE_S, check_room, make_folder
from runtime.analysis.measurement import Measurement
from runtime.analysis.segmenters import make_segmenter, read_source
from runtime.analysis.settings import AnalysisSettings
from runtime.analysis.severity import FEATURES, severity_features
from runtime.bundles.roles import RefinerRole, Role
from runtime.commands.files import write_atomically
from runtime.pipeline import analyse
from runtime.refining.captured import UNHURRIED_S

PATHS = ("live", "capture")
FIGURES_VERSION = 3
"""Changes whenever the same person would give other frames or other figures; files of other versions are left alone."""
UNREAD = {"card", "golden", "decoder_golden", "metrics", "variants"}
"""Fields of a role that change no figure."""
PAPER = ("paper_thickness_n", "paper_thickness_mean", "paper_thickness_median", "paper_mean_iqr", "paper_median_iqr", "paper_line_count")
UNSCALED = (
    "rooted_hair_count",
    "follicle_count",
    "hairs_per_follicle",
    "single_hair_unit_share",
    "diameter_cv",
    "fine_share",
)
SCALED = (
    "density_per_cm2",
    "follicle_density_per_cm2",
    "diameter_mean_um",
    "terminal_share",
    "cumulative_thickness_mm_per_cm2",
)
WITHOUT_SCALE = tuple(f"{name}_without_scale" for name in FEATURES)
"""The six features of the same frame as they are where nobody knows its scale."""
VIEWS = (FEATURES, WITHOUT_SCALE)
FIGURES = (*FEATURES, *WITHOUT_SCALE, *PAPER, *UNSCALED, *SCALED)
JUDGED = ("the teacher: ", "the refiner: ")
"""So begin the reasons for passing a mask over that lie in the field alone, and are the same each time (`runtime.refining.better`)."""
TRIES = 3
"""How often a field is measured until its better mask is ready: a busy machine may be too slow once."""
FINE_SHARE = 0.5  # of the thick hairs' diameter: below it a hair counts as fine where no scale tells µm


@dataclass(frozen=True)
class Row:
    """One field of a person as one path measured it.

    Attributes:
        figures: float values by the names of FIGURES; 0 where there was nothing to measure, the paper's on captures only.
        true_hairs_per_cm2, true_terminal_share: of the hairs that count, by the renderer's truth (terminal: from 30 µm).
    """

    person: Person
    path: str
    quality_ok: bool
    um_per_px: float
    figures: dict[str, float]
    true_hairs_per_cm2: float
    true_terminal_share: float


def table(rows: list[Row], names: tuple[str, ...]) -> NDArray[np.float32]:
    """The figures `names` of `rows`, float32 (rows, names)."""
    return np.array([[row.figures[name] for name in names] for row in rows], np.float32).reshape(len(rows), len(names))


def measure_person(person: Person, fields: int, segmenters: dict[str, Any]) -> list[Row]:
    """The rows of `fields` frames of a person; `segmenters` by the names of PATHS.

    Raises:
        TrainingError: a better mask of a capture was late, or its network failed, again and again.
    """
    rows = []
    for image, truth in person_fields(person, fields):
        for path in PATHS:
            found = _measured_well(image, segmenters[path], truth.um_per_px, paper=path == "capture")
            rows.append(
                Row(person, path, found.quality.ok, round(truth.um_per_px, 4), figures_of(found), *(round(v, 4) for v in _true(truth)))
            )
    return rows


def _measured_well(image: NDArray[np.uint8], segmenter: Any, um_per_px: float, *, paper: bool) -> Measurement:
    """A field's measurement on the mask that it has on every machine, be it quick or slow."""
    for _ in range(TRIES):
        found = analyse(image, name="field", segmentation=segmenter, scale=given_scale(um_per_px), paper=paper)
        reason = found.segmentation.passed_over
        if reason is None or reason.startswith(JUDGED):
            return found
    raise TrainingError(
        f"a field would be measured on another mask than captures are: {reason}: let nothing else run on this machine, then --resume"
    )


def figures_of(found: Measurement) -> dict[str, float]:
    """All figures that a feature set may be chosen from, by name; no grade of a condition is among them."""
    thickness = None if found.paper is None else found.paper.thickness_px
    paper = (
        (0,) * len(PAPER)
        if found.paper is None or thickness is None
        else (thickness.n, thickness.mean, thickness.median, thickness.mean_iqr, thickness.median_iqr, found.paper.line_count)
    )
    diameters = np.array([hair.diameter_px for hair in found.hairs if hair.diameter_px is not None], np.float64)
    fine = float(np.mean(diameters < FINE_SHARE * np.quantile(diameters, 0.75))) if len(diameters) else 0.0
    kinds = found.terminal_vellus
    told = 0 if kinds is None else kinds.terminal + kinds.vellus
    unscaled = (
        found.rooted_hair_count,
        found.follicle_count,
        float(np.mean(found.hairs_per_follicle)) if found.hairs_per_follicle else 0.0,
        found.single_hair_unit_share,
        None if found.diameter_diversity is None else found.diameter_diversity.cv,
        fine,
    )
    scaled = (
        None if found.density_per_cm2 is None else found.density_per_cm2.value,
        None if found.follicle_density_per_cm2 is None else found.follicle_density_per_cm2.value,
        None if found.diameter_um is None else found.diameter_um.mean,
        None if kinds is None or not told else kinds.terminal / told,
        None if found.cumulative_thickness_mm_per_cm2 is None else found.cumulative_thickness_mm_per_cm2.value,
    )
    side = max(found.width_px, found.height_px)
    six = [severity_features(found.hairs, side, scale).tolist() for scale in (found.scale.um_per_px, None)]
    values = (*six[0], *six[1], *paper, *unscaled, *scaled)
    return {name: round(float(value or 0.0), 5) for name, value in zip(FIGURES, values, strict=True)}


def _true(truth: Truth) -> tuple[float, float]:
    counted = truth.counted
    terminal = sum(hair.diameter_um >= 30 for hair in counted)
    return seen_per_cm2(truth), terminal / len(counted) if counted else 0.0


@dataclass(frozen=True)
class _Task:
    target: Path
    person: Person
    fields: int


def measure_persons(
    folder: Path, persons: list[Person], *, fields: int, workers: int, advance: Callable[[int], None] = lambda done: None
) -> list[Row]:
    """The rows of all `persons`, in their order; measured are those whose file in `folder` is missing or damaged.

    `advance` is told how many more persons are there.

    Raises:
        TrainingError: the program has no learned segmenter, the folder cannot be written to, the disk is nearly full, a worker was ended.
    """
    make_folder(folder)
    check_room(folder)
    mark = _networks_mark()
    tasks = [_Task(folder / _name(person, fields, mark), person, fields) for person in persons]
    missing = [task for task in tasks if _kept(task) is None]
    advance(len(tasks) - len(missing))
    with closing(_measured(missing, workers)) as measured:
        for _ in measured:
            advance(1)
    rows: list[Row] = []
    for task in tasks:
        kept = _kept(task)
        if kept is None:
            raise TrainingError(f"{task.target}: damaged as soon as it was written: check the disk, then --resume")
        rows += kept
    return rows


def _name(person: Person, fields: int, mark: str) -> str:
    scale = "hood" if person.hooded else "any"
    return f"v{RENDERER_VERSION}-f{FIGURES_VERSION}-{mark}-{person.severity}-{person.kind}-{scale}-{person.seed}-{fields}.json"


def _networks_mark() -> str:
    """What stands in file names for all networks that have a say in captures, and for how they are read: with others, other figures."""
    bundle = _source().bundle
    assert bundle is not None
    roles, found = bundle.manifest.roles, hashlib.sha256()
    assert roles.segmenter is not None
    used: list[Role] = [roles.segmenter, *(role for role in (roles.teacher, roles.refiner) if role is not None and role.use)]
    for role in used:
        found.update(role.model_dump_json(exclude=UNREAD).encode())
        for name in (role.model, *((role.decoder,) if isinstance(role, RefinerRole) and role.decoder is not None else ())):
            found.update(hashlib.sha256(bundle.content[name]).digest())
    return found.hexdigest()[:8]


def _source() -> Any:
    source = read_source(AnalysisSettings())
    if source.bundle is None or source.bundle.manifest.roles.segmenter is None:
        raise TrainingError(
            f"severity is learnt from what the learned segmenter finds, and there is none ({source.problem}): "
            "install the program again, or train a segmenter first"
        )
    return source


def _kept(task: _Task) -> list[Row] | None:
    """The rows in the task's file, None where there is none or it is damaged."""
    try:
        plain = json.loads(task.target.read_bytes())
        rows = [Row(person=task.person, **row) for row in plain]
    except (OSError, ValueError, TypeError):
        return None
    whole = len(rows) % len(PATHS) == 0 and all(
        set(row.figures) == set(FIGURES) and np.isfinite(list(row.figures.values())).all() for row in rows
    )
    return rows if whole else None


_segmenters: dict[str, Any] = {}
"""Of a worker process, made once in it."""


def _begin_worker() -> None:
    """Lowest priority; Ctrl-C, which every process of the terminal gets, is for the one that ends the workers."""
    os.nice(19)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _measure(task: _Task) -> None:
    cv2.setNumThreads(1)
    if not _segmenters:
        source = _source()
        _segmenters.update({path: make_segmenter(source, threads=1, thorough=path == "capture", deadline_s=UNHURRIED_S) for path in PATHS})
    rows = measure_person(task.person, task.fields, _segmenters)
    plain = [{key: value for key, value in asdict(row).items() if key != "person"} for row in rows]
    write_atomically(task.target, json.dumps(plain).encode())


def _measured(tasks: list[_Task], workers: int) -> Generator[None, None, None]:
    """Measures the persons of `tasks`, and comes back after each."""
    if workers < 2 or len(tasks) < 2:
        try:
            for task in tasks:
                _measure(task)
                yield
        finally:
            for segmenter in _segmenters.values():
                segmenter.close()
            _segmenters.clear()
        return
    with multiprocessing.get_context("spawn").Pool(min(workers, len(tasks)), initializer=_begin_worker) as pool:
        found: Iterator[None] = pool.imap_unordered(_measure, tasks)
        for _ in tasks:
            try:
                found.next(timeout=DEADLINE_S)  # type: ignore[attr-defined]
            except multiprocessing.TimeoutError as problem:
                raise TrainingError(
                    f"{tasks[0].target}: no person for {DEADLINE_S:.0f} s, a process that measures was ended or hangs: "
                    "free some memory and start again, what is measured is kept"
                ) from problem
            yield
