"""Rendered persons by severity of hair loss: what each grade means in numbers, and how a head and its fields are drawn for it.

A person is one recipe of the renderer: lens, light, skin and hair colour as any seed draws them, and the figures of hair loss by the
grade. A field is graded by what is to be seen in it, as experts grade pictures: its hairs per cm² lie in the band of its person's grade,
another field is drawn otherwise. Between two bands is a gap, in which graders would disagree; in miniaturisation the grades overlap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from device.simulated.recipe import Kind, Recipe, draw_recipe
from device.simulated.scene import photograph, render_scene
from device.simulated.truth import Truth

WIDTH, HEIGHT = 640, 480
LABELS = ("good", "mild", "moderate", "severe")
KIND_SHARES: dict[Kind, float] = {"easy": 0.25, "realistic": 0.45, "hard": 0.3}
TEST_SEEDS = 2**31
"""Persons of a test have seeds from here on, those of a training below it."""

Image = NDArray[np.uint8]
Between = tuple[float, float]


@dataclass(frozen=True)
class Definition:
    """The figures of a grade; each person's lie evenly in these ranges.

    Attributes:
        seen_per_cm2: hairs that can be seen in a field per cm² of its skin (those that count, by the renderer's truth).
        units_per_cm2: openings of follicular units per cm² of scalp; `empty_share` of them hold no hair.
        vellus_share: how much of the hair is vellus (10 to 30 µm): of the hairs after a unit's first 1.4 times so much, of the first 0.4.
        diameter_share: of the person's own terminal diameter that is left.
        diameter_spread: spread of the terminal diameters' logarithm, about their coefficient of variation.
        bald_share: of the persons, those whose units are nearly all empty.
    """

    seen_per_cm2: Between
    units_per_cm2: Between
    empty_share: Between
    vellus_share: Between
    diameter_share: Between
    diameter_spread: Between
    bald_share: float = 0.0


DEFINITIONS = (
    Definition((165, math.inf), (66, 98), (0.0, 0.08), (0.03, 0.14), (0.97, 1.03), (0.14, 0.20)),
    Definition((75, 105), (33, 46), (0.04, 0.15), (0.12, 0.28), (0.86, 0.98), (0.19, 0.28)),
    Definition((34, 52), (17, 28), (0.1, 0.25), (0.26, 0.48), (0.72, 0.87), (0.26, 0.38)),
    Definition((0, 18), (5, 14), (0.2, 0.5), (0.45, 0.72), (0.55, 0.73), (0.35, 0.5), bald_share=0.25),
)
HOOD_UM_PER_PX = (5.5, 9.0)
"""Scale of pictures 640 px wide of a microscope that stands on its hood: the paper, too, takes the distance for constant."""
OTHER_SCALE_SHARE = 0.25
"""Of the persons, those whose pictures have any scale that their kind of scene draws, 3 to 11 µm/px."""
MOST_TRIES = 7
"""Fields that are drawn for one that lies in its band."""


@dataclass(frozen=True)
class Person:
    """A rendered head: `severity` 0 to 3, the seed and kind that its recipe was drawn from, and whether it is seen at the hood's scale."""

    severity: int
    kind: Kind
    seed: int
    hooded: bool


def draw_persons(count: int, seed: int, *, test: bool = False) -> Iterator[Person]:
    """`count` persons, the grades in turn; the same for the same `seed`, and more begin with the same ones."""
    rng = np.random.default_rng([seed, 11, int(test)])
    kinds: tuple[Kind, ...] = get_args(Kind)
    shares = [KIND_SHARES[kind] for kind in kinds]
    for number in range(count):
        kind = kinds[int(rng.choice(len(kinds), p=shares))]
        drawn = int(rng.integers(TEST_SEEDS)) + (TEST_SEEDS if test else 0)
        yield Person(number % len(DEFINITIONS), kind, drawn, bool(rng.random() >= OTHER_SCALE_SHARE))


def recipe_of(person: Person) -> Recipe:
    """The recipe of a person: drawn as for any scene, then the figures of the grade."""
    drawn = draw_recipe(np.random.default_rng([person.seed, 0]), person.kind)
    rng = np.random.default_rng([person.seed, 12])
    meant = DEFINITIONS[person.severity]

    def within(between: Between) -> float:
        return float(rng.uniform(*between))

    scale = within(HOOD_UM_PER_PX) if person.hooded else drawn.um_per_px
    return replace(
        drawn,
        um_per_px=scale,
        field_um=WIDTH * scale,
        blur_px_per_um=drawn.blur_px_per_um * drawn.um_per_px / scale,  # the same blur on the scalp
        bald=bool(rng.random() < meant.bald_share),
        units_per_cm2=within(meant.units_per_cm2),
        empty_share=within(meant.empty_share),
        vellus_share=within(meant.vellus_share),
        diameter_um=drawn.diameter_um * within(meant.diameter_share),
        diameter_spread=within(meant.diameter_spread),
    )


def seen_per_cm2(truth: Truth) -> float:
    """Hairs that count per cm² of the skin in view."""
    return len(truth.counted) / max(truth.area_cm2, 1e-6)


def person_fields(person: Person, count: int) -> Iterator[tuple[Image, Truth]]:
    """At most `count` frames of a person as a camera delivers them, uint8 (HEIGHT, WIDTH, 3) BGR, each with its truth.

    Fewer where most fields of this head lie outside the band of its grade.
    """
    recipe = recipe_of(person)
    low, high = DEFINITIONS[person.severity].seen_per_cm2
    rng = np.random.default_rng([person.seed, 13])
    found = 0
    for _ in range(MOST_TRIES * count):
        if found == count:
            return
        seed = int(rng.integers(2**62))
        scene = render_scene(seed, width=WIDTH, height=HEIGHT, recipe=recipe)
        if not low <= seen_per_cm2(scene.truth) <= high:
            continue
        found += 1
        jpeg = photograph(scene.picture, scene.recipe, np.random.default_rng([seed, 7]))
        yield np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8), scene.truth
