"""Which trainings of this program can be converted: for each role, what makes a part of a bundle of a training's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from export.conversion.part import RolePart
from runtime.bundles.roles import RoleName


def convert_training(role: RoleName, training: Path, *, per_kind: int) -> RolePart:
    """The part that a finished training makes.

    Args:
        per_kind: how many rendered frames of each kind to fit and to test on, for roles that are measured anew when converted.

    Raises:
        TrainingError, ConversionError: see the role's function.
    """
    return TRAININGS[role](training, per_kind)


# the libraries of each are heavy: only those of the role that is converted are loaded
def _segmenter(training: Path, per_kind: int) -> RolePart:
    from export.conversion.segmenter import segmenter_part

    return RolePart("segmenter", *segmenter_part(training, per_kind=per_kind))


def _severity(training: Path, per_kind: int) -> RolePart:
    from export.conversion.severity import severity_part

    return RolePart("severity", *severity_part(training, per_kind=per_kind))


def _conditions(training: Path, per_kind: int) -> RolePart:
    from export.conversion.conditions import conditions_part

    return RolePart("conditions", *conditions_part(training, per_kind=per_kind))


def _forecast(training: Path, per_kind: int) -> RolePart:
    from export.conversion.forecast import bundle_forecast

    del per_kind
    model, role, golden = bundle_forecast(training)
    return RolePart("forecast", role, {role.model: model, role.golden.file: golden})


def _stage(training: Path, per_kind: int) -> RolePart:
    from export.conversion.norwood import bundle_stage

    del per_kind
    made = bundle_stage(training)
    return RolePart("stage", made.role, made.content)


TRAININGS: Mapping[RoleName, Callable[[Path, int], RolePart]] = {
    "segmenter": _segmenter,
    "severity": _severity,
    "conditions": _conditions,
    "forecast": _forecast,
    "stage": _stage,
}
