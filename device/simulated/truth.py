"""What is really on the stage: the hairs, openings and scale of a rendered frame, and their JSON (`scalp-groundtruth/1`).

Definitions: a hair counts (`counted`) when at least 24 px of its length lie unoccluded in the frame and it differs from the
skin by at least 8 grey levels on average; a follicle counts when its ostium lies in the frame and at least one hair that counts
grows from it. The mask holds pixels that hair which can be seen covers by half or more (as sharp geometry: blur takes nothing away), and
the centre line of hairs thinner than 2 px; not what lies under an opaque flake. A hair can be seen where its pixels differ from the skin
by SEEN_DIFFERENCE on average: also one that does not count because its brightness is the skin's, but not its colour or its gloss.
Pixel centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA = "scalp-groundtruth/1"
COUNTED_LENGTH_PX = 24.0
COUNTED_CONTRAST = 8.0
FREE, UNDER_HAIR, UNDER_FLAKE = 0, 1, 2
UNSEEN = 3  # nothing covers the hair there, but it is too like the skin for anybody to see it; told as 0 in JSON
SEEN_DIFFERENCE = 6.0


@dataclass(frozen=True, eq=False)
class TrueHair:
    """One hair of a frame.

    Attributes:
        points: float64 (n, 5): x, y, diameter in µm and in px, and FREE or what covers it there (UNDER_HAIR, UNDER_FLAKE) or that it is
            too faint (UNSEEN); in frame only.
        diameter_um, diameter_px: median along it without the tapering tip.
        contrast: difference of the mean grey of its body (without gloss) from that of the skin without shadows, grey levels 0–255.
    """

    id: int
    follicle_id: int
    rooted_in_frame: bool
    colour: str
    tip: str
    nominal_um: float
    diameter_um: float
    diameter_px: float
    length_px: float
    visible_length_px: float
    contrast: float
    out_of_focus_px: float
    points: NDArray[np.float64]

    @property
    def counted(self) -> bool:
        """Whether it is a hair that can be seen in this frame."""
        return self.visible_length_px >= COUNTED_LENGTH_PX and self.contrast >= COUNTED_CONTRAST


@dataclass(frozen=True)
class TrueFollicle:
    """An ostium in the frame: hairs that grow from it in truth, and those of them that count."""

    id: int
    x: float
    y: float
    hairs_generated: int
    hairs_counted: int
    covered_by_flake: bool


@dataclass(frozen=True, eq=False)
class Truth:
    """All of a frame. `lens` and `degradation` are the numbers that the frame was made with; `grades` dandruff, sebum, erythema 0–3."""

    kind: str
    seed: int
    width: int
    height: int
    um_per_px: float
    um_per_px_min: float
    um_per_px_mean: float
    um_per_px_max: float
    area_cm2: float
    bald: bool
    grades: tuple[int, int, int]
    hairs: tuple[TrueHair, ...]
    follicles: tuple[TrueFollicle, ...]
    lens: dict[str, Any]
    degradation: dict[str, float]

    @property
    def counted(self) -> tuple[TrueHair, ...]:
        """The hairs that count."""
        return tuple(h for h in self.hairs if h.counted)

    def to_json(self, frame: str, mask: str) -> dict[str, Any]:
        """The truth file's content; `frame` and `mask` are the names of the files beside it."""
        counted = self.counted
        # every place where a hair that counts is seen, each once: long hairs weigh more
        seen = np.concatenate([np.empty((0, 5)), *(h.points[h.points[:, 4] == FREE] for h in counted)])
        with_hair = [f for f in self.follicles if f.hairs_counted]
        rooted = sum(h.rooted_in_frame for h in counted)
        density = {
            "density_per_cm2": len(counted) / self.area_cm2,
            "density_rooted_per_cm2": rooted / self.area_cm2,
            "density_follicles_per_cm2": len(with_hair) / self.area_cm2,
        }
        return {
            "schema": SCHEMA,
            "difficulty": self.kind,
            "seed": self.seed,
            "width": self.width,
            "height": self.height,
            "camera": self.lens,
            "scale": {
                "um_per_px_center": round(self.um_per_px, 4),
                "um_per_px_mean": round(self.um_per_px_mean, 4),
                "um_per_px_min": round(self.um_per_px_min, 4),
                "um_per_px_max": round(self.um_per_px_max, 4),
            },
            "fov_area_cm2": round(self.area_cm2, 5),
            "hair_count": len(counted),
            "hair_count_rooted": rooted,
            "hair_count_all": len(self.hairs),
            "follicle_count": len(with_hair),
            "follicle_count_all": len(self.follicles),
            "hairs_per_follicle": [f.hairs_counted for f in with_hair],
            **{k: round(v, 4) for k, v in density.items()},
            "diameter_um": _distribution(np.array([h.diameter_um for h in counted])),
            "diameter_px": _distribution(np.array([h.diameter_px for h in counted])),
            "diameter_um_by_length": _distribution(seen[:, 2]),
            "diameter_px_by_length": _distribution(seen[:, 3]),
            "terminal_vellus": {str(cutoff): _terminal(counted, cutoff) for cutoff in (30, 40)},
            "conditions": dict(zip(("dandruff", "sebum", "erythema"), self.grades, strict=True)),
            "bald": self.bald,
            "degradation": self.degradation,
            "follicles": [
                {
                    "id": f.id,
                    "x": round(f.x, 3),
                    "y": round(f.y, 3),
                    "n_hairs": f.hairs_counted,
                    "n_hairs_generated": f.hairs_generated,
                    "covered_by_flake": f.covered_by_flake,
                }
                for f in self.follicles
            ],
            "hairs": [_hair_json(h) for h in self.hairs],
            "frame": frame,
            "mask": mask,
        }


def _hair_json(hair: TrueHair) -> dict[str, Any]:
    return {
        "id": hair.id,
        "follicle_id": hair.follicle_id,
        "rooted_in_frame": hair.rooted_in_frame,
        "colour": hair.colour,
        "nominal_um": round(hair.nominal_um, 3),
        "diameter_um": round(hair.diameter_um, 3),
        "diameter_px": round(hair.diameter_px, 3),
        "length_px": round(hair.length_px, 2),
        "visible_length_px": round(hair.visible_length_px, 2),
        "contrast": round(hair.contrast, 3),
        "out_of_focus_px": round(hair.out_of_focus_px, 3),
        "tip": hair.tip,
        "counted": hair.counted,
        "points": [[round(x, 2), round(y, 2), round(um, 2), round(px, 3), int(o) % UNSEEN] for x, y, um, px, o in hair.points.tolist()],
    }


def _distribution(values: NDArray[np.float64]) -> dict[str, float | int | None]:
    if len(values) == 0:
        return {"n": 0, "mean": None, "median": None, "p25": None, "p75": None, "sd": None}
    p25, median, p75 = (round(float(v), 4) for v in np.percentile(values, (25, 50, 75)))
    sd = round(float(values.std()), 4)
    return {"n": len(values), "mean": round(float(values.mean()), 4), "median": median, "p25": p25, "p75": p75, "sd": sd}


def _terminal(hairs: tuple[TrueHair, ...], cutoff_um: float) -> dict[str, float | int | None]:
    terminal = sum(h.diameter_um >= cutoff_um for h in hairs)
    vellus = len(hairs) - terminal
    return {
        "terminal": terminal,
        "vellus": vellus,
        "ratio": round(terminal / vellus, 4) if vellus else None,
        "terminal_fraction": round(terminal / len(hairs), 4) if hairs else None,
    }
