"""Rendered persons: a scalp picture, years of records, markers, and a risk whose truth is known. No real person stands behind any of them.

How a person is drawn
    Two scores are drawn independently of each other, so that each branch of a forecast has something that the other has not (on real
    clients they go together, and the gain of joining them will be smaller):

    * *state* ~ N(0, 1) is what the picture shows: with it the share of miniaturised (thin, short, pale) hairs rises and the number
      of hairs falls, each with noise of its own. Skin tone, hair colour, thickness of healthy hair, lamp, blur and grain say nothing.
    * *course* is what records and markers show: the mean of eight series over the last year (recent months weigh more; half in six
      months), the yearly trend of DHT and of stress, and the risk values of four markers, weighted by `WEIGHTS`, `TRENDS` and
      `EFFECTS`, and scaled to about N(0, 1). Months are missing, whole series are missing, markers are unknown; the score is of the truth.

    The label "high" is drawn with probability sigmoid(`STEEPNESS` · what the set counts): of persons of the set `both` state and course
    count, of the set `picture` the state alone, of the set `records` the course alone. So even who knew both scores could not tell all
    labels; `Cohort.logits` keeps that bound. `stage` cuts a noisy sum of both into four grades.

Why not the simulated microscope: a whole scene of it takes 0.2 s, and a training wants ten thousand. What the picture has to carry is
two figures; strokes on skin carry them in some ms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.bundles.roles import Marker, Series

SIDE = 256  # px of a person's picture
LONGEST = 120  # months

Set = Literal["both", "picture", "records"]
SETS: tuple[Set, ...] = ("both", "picture", "records")
STEEPNESS: dict[Set, float] = {"both": 2.0, "picture": 2.4, "records": 2.4}
STAGE_CUTS, STAGE_NOISE = (-1.2, 0.0, 1.2), 0.5

# name, unit, mean and spread of the rendered persons, lowest and highest plausible value
SERIES = (
    Series(name="testosterone", unit="ng/dL", mean=550.0, std=150.0, low=2.0, high=2500.0),
    Series(name="dht", unit="ng/dL", mean=55.0, std=18.0, low=0.5, high=400.0),
    Series(name="stress", unit="of 10", mean=4.5, std=2.0, low=0.0, high=10.0),
    Series(name="diet", unit="of 10", mean=6.0, std=1.8, low=0.0, high=10.0),
    Series(name="sleep", unit="h/night", mean=7.0, std=1.0, low=0.0, high=16.0),
    Series(name="exercise", unit="h/week", mean=3.5, std=2.0, low=0.0, high=60.0),
    Series(name="pollution", unit="µg/m³ PM2.5", mean=18.0, std=9.0, low=0.0, high=1000.0),
    Series(name="uv", unit="index", mean=4.5, std=2.2, low=0.0, high=20.0),
)
WEIGHTS = np.array([0.15, 0.8, 0.5, -0.3, -0.4, -0.2, 0.25, 0.1])
TRENDS = np.array([0.0, 0.45, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
MARKERS = (
    Marker(name="ar-rs6152", values=("A", "G")),
    Marker(name="20p11-rs2180439", values=("C/C", "C/T", "T/T")),
    Marker(name="srd5a2-rs523349", values=("G/G", "G/C", "C/C")),
    Marker(name="family-history", values=("none", "maternal", "paternal", "both")),
)
SHARES = ((0.35, 0.65), (0.2, 0.5, 0.3), (0.45, 0.42, 0.13), (0.4, 0.22, 0.22, 0.16))
EFFECTS = ((0.0, 0.6), (0.0, 0.35, 0.7), (0.3, 0.15, 0.0), (0.0, 0.45, 0.4, 0.85))
COURSE_MEAN, COURSE_STD = 1.29, 1.10  # of the raw score over 6,000 persons: so it comes to about N(0, 1)
HALF_LIFE, YEAR = 6.0, 12  # months
UNKNOWN_SHARE, ABSENT_SHARE, MOST_MISSING = 0.12, 0.08, 0.4
"""Of markers and of whole series; a person's share of missing months is drawn up to the last."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """Persons as arrays.

    Attributes:
        pictures: uint8 (n, side, side, 3) BGR.
        records: float32 (n, LONGEST, series), in units, NaN where missing; a person's months begin at 0 and the rest is missing.
        lengths: int64 (n,), months.
        markers: int64 (n, markers), 0 is not known.
        density, miniaturised: float32 (n,), what the picture shows: number of hairs, share of miniaturised ones.
        logits: for each set float64 (n,): what the label was drawn with, the bound of all forecasts.
        high: for each set bool (n,).
        stage: int64 (n,), 0…3.
    """

    pictures: NDArray[np.uint8]
    records: NDArray[np.float32]
    lengths: NDArray[np.int64]
    markers: NDArray[np.int64]
    density: NDArray[np.float32]
    miniaturised: NDArray[np.float32]
    logits: dict[Set, NDArray[np.float64]]
    high: dict[Set, NDArray[np.bool_]]
    stage: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)


@dataclass(frozen=True, eq=False)
class Person:
    """One rendered person; arrays as in Cohort, without the picture."""

    state: float
    course: float
    hairs: int
    miniaturised: float
    records: NDArray[np.float32]
    length: int
    markers: NDArray[np.int64]
    luck: float
    stage: int
    seed: tuple[int, int]


def draw_person(seed: int, index: int) -> Person:
    """Person `index` of the cohort `seed`; the same for the same numbers."""
    rng = np.random.default_rng([seed, index])
    state = float(rng.standard_normal())
    miniaturised = 1 / (1 + math.exp(-(1.1 * state - 0.8 + 0.45 * float(rng.standard_normal()))))
    hairs = int(np.clip(round(36 - 8 * state + 3.5 * float(rng.standard_normal())), 4, 70))
    length = int(np.clip(round(math.exp(rng.uniform(0, math.log(LONGEST)))), 1, LONGEST))
    true = _series(rng, length)
    chosen = [int(rng.choice(len(shares), p=shares)) for shares in SHARES]
    raw = _recent(true) @ WEIGHTS + true.trend @ TRENDS + sum(effect[value] for effect, value in zip(EFFECTS, chosen, strict=True))
    course = (float(raw) - COURSE_MEAN) / COURSE_STD
    luck, stage_noise = float(rng.uniform()), float(rng.standard_normal())
    stage = int(np.searchsorted(STAGE_CUTS, (state + course) / math.sqrt(2) + STAGE_NOISE * stage_noise))
    known = np.where(rng.uniform(size=len(MARKERS)) < UNKNOWN_SHARE, 0, np.array(chosen) + 1)
    records = _seen(true.values, rng)
    return Person(state, course, hairs, miniaturised, records, length, known.astype(np.int64), luck, stage, (seed, index))


@dataclass(frozen=True, eq=False)
class _Truth:
    """A person's series in standard units, float64 (length, series), and their yearly trends (series,)."""

    values: NDArray[np.float64]
    trend: NDArray[np.float64]


def _series(rng: np.random.Generator, length: int) -> _Truth:
    count = len(SERIES)
    level, trend = rng.normal(0, 0.8, count), rng.normal(0, 0.35, count)
    noise = rng.normal(0, 0.45, (length, count))
    for month in range(1, length):  # what a month is like, the next is in part
        noise[month] = 0.6 * noise[month - 1] + 0.8 * noise[month]
    ago = (np.arange(length) - (length - 1)) / YEAR
    values = level + np.maximum(ago, -3.0)[:, None] * trend + noise
    values[:, -1] += 0.8 * np.sin(2 * np.pi * (np.arange(length) / YEAR + rng.uniform()))  # the sun has seasons
    return _Truth(values, trend)


def _recent(truth: _Truth) -> NDArray[np.float64]:
    last = truth.values[-YEAR:]
    weight = 0.5 ** (np.arange(len(last))[::-1] / HALF_LIFE)
    return np.asarray(weight @ last / weight.sum(), np.float64)


def _seen(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """What was written down of the truth: in units, within what is plausible, with gaps; of the last month there is something."""
    units = np.array([s.mean for s in SERIES]) + np.array([s.std for s in SERIES]) * values
    units = np.clip(units, [s.low for s in SERIES], [s.high for s in SERIES])
    gone = rng.uniform(size=values.shape) < rng.uniform(0, MOST_MISSING)
    gone |= rng.uniform(size=len(SERIES)) < ABSENT_SHARE
    if gone[-1].all():
        gone[-1, int(rng.integers(len(SERIES)))] = False
    records = np.full((LONGEST, len(SERIES)), np.nan, np.float32)
    records[: len(values)] = np.where(gone, np.nan, units)
    return records


def render_picture(person: Person) -> NDArray[np.uint8]:
    """The person's scalp, uint8 (SIDE, SIDE, 3) BGR."""
    rng = np.random.default_rng([*person.seed, 1])
    tone = rng.uniform(0.35, 1.0)
    skin = tone * np.array([165.0, 188.0, 226.0]) + rng.normal(0, 6, 3)
    hair = np.clip(skin * rng.uniform(0.12, 0.45) + rng.normal(0, 6, 3), 0, 255)
    healthy, direction = rng.normal(6.5, 0.9), rng.uniform(0, 2 * math.pi)
    patches = rng.normal(1, 0.06, (6, 6, 1)).astype(np.float32)
    light = cv2.resize(patches, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)[..., None]
    image = np.clip(light * skin.astype(np.float32), 0, 255).astype(np.uint8)
    for _ in range(person.hairs):
        thin = rng.uniform() < person.miniaturised
        width = max(1.0, healthy * (rng.uniform(0.22, 0.42) if thin else rng.normal(1, 0.1)))
        colour = hair + (skin - hair) * (rng.uniform(0.15, 0.4) if thin else rng.uniform(0, 0.12))
        outline = _hair(rng, direction + rng.normal(0, 0.35), rng.uniform(60, 130) if thin else rng.uniform(120, 320), width)
        cv2.fillPoly(image, [outline], colour.tolist(), cv2.LINE_AA, 4)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3)).astype(np.float32)
    image += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1.5, 6))
    return np.clip(image, 0, 255).astype(np.uint8)


def _hair(rng: np.random.Generator, direction: float, length: float, width: float) -> NDArray[np.int32]:
    """The outline of one hair, int32 (2 m, 2), in sixteenths of a px."""
    along = np.linspace(0, 1, 9)
    angle = direction + rng.normal(0, 0.5) * along
    step = length / 8 * np.stack([np.cos(angle), np.sin(angle)], 1)
    course = rng.uniform(-0.1 * SIDE, 1.1 * SIDE, 2) + np.cumsum(step, 0)
    across = width / 2 * np.stack([-np.sin(angle), np.cos(angle)], 1)
    outline = np.concatenate([course + across, (course - across)[::-1]])
    return np.asarray(np.rint(outline * 16), np.int32)


def draw_cohort(
    seed: int,
    count: int,
    resized: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = lambda picture: picture,
    *,
    threads: int = 2,
    advance: Callable[[int], None] = lambda done: None,
) -> Cohort:
    """`count` persons of the cohort `seed`, each picture as `resized` gives it; `advance(n)` is told of n more."""

    def one(index: int) -> tuple[Person, NDArray[np.uint8]]:
        person = draw_person(seed, index)
        return person, resized(render_picture(person))

    persons: list[Person] = []
    pictures: NDArray[np.uint8] | None = None
    with ThreadPoolExecutor(threads) as pool:
        for index, (person, picture) in enumerate(pool.map(one, range(count))):
            if pictures is None:
                pictures = np.empty((count, *picture.shape), np.uint8)
            pictures[index] = picture
            persons.append(person)
            advance(1)
    if pictures is None:
        raise ValueError("a cohort of nobody")
    state, course = np.array([p.state for p in persons]), np.array([p.course for p in persons])
    counted: dict[Set, NDArray[np.float64]] = {"both": state + course, "picture": state, "records": course}
    logits = {name: STEEPNESS[name] * value for name, value in counted.items()}
    luck = np.array([p.luck for p in persons])
    return Cohort(
        pictures=pictures,
        records=np.stack([p.records for p in persons]),
        lengths=np.array([p.length for p in persons]),
        markers=np.stack([p.markers for p in persons]),
        density=np.array([p.hairs for p in persons], np.float32),
        miniaturised=np.array([p.miniaturised for p in persons], np.float32),
        logits=logits,
        high={name: luck < 1 / (1 + np.exp(-value)) for name, value in logits.items()},
        stage=np.array([p.stage for p in persons]),
    )


def scaled_records(records: NDArray[np.float32], series: tuple[Series, ...] = SERIES) -> NDArray[np.float32]:
    """Records in units with NaN, (…, series), as a forecast takes them: float32 (…, 2 · series), scaled values, then what is there."""
    there = np.isfinite(records)
    scaled = (records - np.array([s.mean for s in series], np.float32)) / np.array([s.std for s in series], np.float32)
    return np.concatenate([np.where(there, scaled, 0), there], -1).astype(np.float32)
