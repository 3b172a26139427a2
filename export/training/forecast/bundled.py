"""A bundle's forecast, as the device runs it, on rendered persons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.errors import EvaluationError
from export.evaluation.forecast import area_under_curve, figures
from export.persons import MARKERS, SERIES, SETS, draw_cohort, scaled_records
from export.training.forecast.report import Report
from runtime.bundles.reader import Bundle
from runtime.inference.onnx import OnnxBackend
from runtime.inference.pictures import picture_tensor


def bundle_report(bundle: Bundle, seed: int, count: int, advance: Callable[[int], None] = lambda done: None) -> Report:
    """Figures of the bundle's forecast on `count` rendered persons of the set `both`.

    Raises:
        EvaluationError: the bundle has no forecast, or one of other inputs than rendered persons have.
    """
    role = bundle.manifest.roles.forecast
    if role is None or role.picture is None or len(role.labels) != 2:
        raise EvaluationError(f"{bundle.id}: has no forecast of a risk from a picture: name another --bundle")
    scaling = [(series.name, series.mean, series.std) for series in role.series]
    if (scaling, role.markers, role.interval) != ([(s.name, s.mean, s.std) for s in SERIES], MARKERS, "month"):
        raise EvaluationError(f"{bundle.id}: its forecast takes other series or markers than rendered persons have: name another --bundle")
    spec, told = role.picture, []
    cohort = draw_cohort(seed, count, lambda picture: np.asarray(picture_tensor(picture, spec)[0]), advance=advance)
    with OnnxBackend(bundle.content[role.model], name=bundle.id) as backend:
        for i, length in enumerate(cohort.lengths):
            inputs: dict[str, NDArray[Any]] = {
                spec.name: cohort.pictures[i : i + 1],
                "markers": cohort.markers[i : i + 1],
                "records": scaled_records(cohort.records[i : i + 1, : int(length)]),
            }
            told.append(backend.infer(inputs)["probabilities"][0])
    found, labels = np.array(told, np.float64), cohort.high["both"].astype(np.int64)
    name = f"hybrid CNN–LSTM, {bundle.id}"
    bounds = {each: area_under_curve(cohort.logits[each], cohort.high[each]) for each in SETS}
    return Report({name: figures(found, labels)}, {}, {"both": bounds["both"]}, {name: found}, labels)
