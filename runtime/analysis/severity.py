"""Severity of hair loss in one frame: figures of its hairs, and the classifier of a bundle that grades them (ScalpVision 3.2, Appendix E).

The paper reads six figures of the mask's box widths and line segments, which take too long for the live picture. These six are their
counterparts of the hairs that every path measures: widths along the hairs in place of widths in boxes, hairs in place of segments. The
paper takes the distance of the picture for constant; here a frame's own scale, where it is known, brings its figures to one magnification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from runtime.analysis.measurement import Grade, Hair, Quality
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import Bundle
from runtime.inference.backend import Backend, as_float32
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend

FEATURES = (
    "thickness_samples",
    "thickness_mean_px",
    "thickness_median_px",
    "thickness_mean_iqr_px",
    "thickness_median_iqr_px",
    "hair_count",
)
"""Names and order of `severity_features`, as a bundle's manifest states them."""
PROBABILITIES = "probabilities"
GRADES = 4
REFERENCE_SIDE_PX = 640
"""Longest side of the pictures that are learnt from; those of other cameras are brought to it, so that a hair weighs the same."""
REFERENCE_UM_PER_PX = 7.0
"""Scale of such a picture that the figures are brought to, and that a frame without a scale is taken to have."""
SUM_TOLERANCE = 1e-3

_WHISKERS = 1.5  # times the interquartile range: beyond it, an outlier

Floats = NDArray[np.float64]


def severity_features(hairs: Sequence[Hair], longest_side_px: int, um_per_px: float | None = None) -> NDArray[np.float32]:
    """What the classifier reads of the hairs of a picture whose longer side has `longest_side_px`: float32 (6,) in the order of FEATURES.

    A thickness sample is a point of a hair's course with a width; points lie evenly along hairs, so that their number stands for the
    length of hair in view. All figures are those of a field as large as a picture REFERENCE_SIDE_PX long with REFERENCE_UM_PER_PX shows,
    in its pixels: lengths go with the scale, what is counted with the area. `um_per_px` is the scale of the picture as given, at its
    middle. Without any sample the thicknesses are 0, as in the published script. Outliers lie more than 1.5 interquartile ranges outside
    the quartiles. Always finite.
    """
    widths = np.array([width for hair in hairs for _, _, width in hair.points if width is not None], np.float64)
    reduced = REFERENCE_SIDE_PX / longest_side_px
    wider = 1.0 if um_per_px is None else um_per_px / (reduced * REFERENCE_UM_PER_PX)  # the field than the reference's
    longer = reduced * wider  # a pixel than the reference's
    return np.array([len(widths) * reduced / wider, *(thickness_figures(widths) * longer), len(hairs) / wider**2], np.float32)


def thickness_figures(widths: Floats) -> Floats:
    """Mean, median, and both without outliers, float64 (4,) in the unit of `widths` (n,); 0 where there is none."""
    if not len(widths):
        return np.zeros(4)
    ordered = np.sort(widths)
    low, median, high = (_quantile(ordered, q) for q in (0.25, 0.5, 0.75))
    margin = _WHISKERS * (high - low)
    first, stop = np.searchsorted(ordered, low - margin, "left"), np.searchsorted(ordered, high + margin, "right")
    usual = ordered[first:stop]
    return np.array([ordered.mean(), median, usual.mean(), _quantile(usual, 0.5)])


def _quantile(ordered: Floats, share: float) -> float:
    """As np.quantile of sorted values, which takes five times as long for few of them."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


class SeverityGrader:
    """A bundle's severity classifier on a backend. Used by one thread at a time; ready when made.

    Args:
        bundle: one whose role `severity` is filled.
        threads: computing threads of the backend; one row needs no more than one.
        backend: makes the backend from the classifier's bytes; ONNX Runtime where None.

    Raises:
        BundleError: the role is not filled, reads other features than this program has, or its classifier does not do what was promised.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1, backend: Callable[[bytes], Backend] | None = None) -> None:
        role = bundle.manifest.roles.severity
        self._name = bundle.id
        if role is None:
            raise BundleError(f"{self._name}: no severity classifier is in it: install a bundle with the role severity")
        if role.features != FEATURES:
            raise BundleError(
                f"{self._name}: its severity classifier reads {', '.join(role.features)}, this program has {', '.join(FEATURES)}: "
                "take a bundle made with this version of the program"
            )
        self._input = role.input
        self._real = role.card.validated_on_real_labels
        model = bundle.content[role.model]
        self._backend = OnnxBackend(model, name=self._name, threads=threads) if backend is None else backend(model)
        try:
            self._backend.activate()
            for row in (np.zeros(len(FEATURES), np.float32), np.full(len(FEATURES), 10, np.float32)):
                self.probabilities(row)
        except InferenceError as problem:
            self._backend.deactivate()
            raise BundleError(f"{problem}: install the bundle again") from problem

    @property
    def name(self) -> str:
        """The bundle's id."""
        return self._name

    def close(self) -> None:
        """Give the backend's memory and threads back; the grader is of no use afterwards."""
        self._backend.deactivate()

    def __enter__(self) -> SeverityGrader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def grade(
        self, hairs: Sequence[Hair], *, width_px: int, height_px: int, quality: Quality, um_per_px: float | None = None
    ) -> Grade | None:
        """The grade of a picture of this size and scale with these hairs; without a scale it is less sure.

        None where `quality` is not ok: hair that could not be seen in a dark or blurred frame must not read as lost hair. A frame of good
        quality without any hair is graded: a bald scalp is a finding.

        Raises:
            InferenceError: the backend failed, or answered with no probabilities.
        """
        if not quality.ok:
            return None
        found = self.probabilities(severity_features(hairs, max(width_px, height_px), um_per_px))
        return Grade(
            severity=int(found.argmax()),
            probabilities=[round(float(p), 6) for p in found],
            bundle=self._name,
            validated_on_real_labels=self._real,
        )

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of the grades 0 to 3, float32 (4,), from `features`, float32 (6,).

        Raises:
            InferenceError: as `grade`.
        """
        answer = self._backend.infer({self._input: features[None]}).get(PROBABILITIES)
        if answer is None or answer.shape != (1, GRADES) or answer.dtype.kind != "f":
            there = "missing" if answer is None else f"{answer.dtype} {answer.shape}"
            raise InferenceError(f"{self._name}: output {PROBABILITIES!r} is {there}, float (1, {GRADES}) was promised")
        found = as_float32(answer)[0]
        whole = bool(np.isfinite(found).all()) and abs(float(found.sum()) - 1) <= SUM_TOLERANCE and float(found.min()) >= -SUM_TOLERANCE
        if not whole:
            raise InferenceError(f"{self._name}: output {PROBABILITIES!r} holds no probabilities")
        return np.asarray(np.clip(found, 0, 1), np.float32)
