"""Runs a bundle's forecast on a client's history: it speaks from three visits on, says why, and otherwise names what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from runtime import __version__
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import ForecastRole
from runtime.forecast.attribution import attributions, inputs_of, with_each_taken_away
from runtime.forecast.errors import ForecastError
from runtime.forecast.inputs import Known, known, missing
from runtime.forecast.records import MEASURED, History, Problem
from runtime.forecast.result import Attribution, Course, Forecast, Outlook, Trouble, Used
from runtime.inference.onnx import OnnxBackend

OUTPUT = "probabilities"
DAYS_A_YEAR = 365.25
MOST_TROUBLES = 200  # that are listed one by one; all are counted
SUM_SLACK = 1e-3


class Forecaster(AbstractContextManager["Forecaster"]):
    """The forecast of one bundle; entering the context loads its network.

    Raises:
        ForecastError: the bundle has no forecast.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 2) -> None:
        role = bundle.manifest.roles.forecast
        if role is None:
            raise ForecastError(f"{bundle.id}: has no forecast: name a --bundle with one")
        self.role: ForecastRole = role
        self.bundle = bundle
        self._backend = OnnxBackend(bundle.content[role.model], name=f"{bundle.id} forecast", threads=threads)

    def __enter__(self) -> Forecaster:
        self._backend.activate()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._backend.deactivate()

    def forecast(
        self,
        history: History,
        image: NDArray[np.uint8] | None = None,
        *,
        picture: str | None = None,
        problems: Sequence[Problem] = (),
    ) -> Forecast:
        """The forecast of a history; `image` is uint8 (height, width, 3) BGR, the client's newest picture, or None.

        `picture` is its name, for the result; `problems` are those that were met beside the history's own.

        Raises:
            ForecastError, InferenceError: the network fails, or answers what are no probabilities.
        """
        lacks = missing(history, self.role)
        outlook: Outlook | None = None
        reasons: list[Attribution] = []
        found: Known | None = None
        if not lacks:
            found = known(history, self.role, image)
            outlook, reasons = self._speak(found)
        troubles = [*history.problems, *problems]
        days = [entry.day for part in (history.visits, history.records) for entry in part]
        return Forecast(
            client=history.client,
            as_of=max(days, default=None),
            forecast=outlook,
            missing=lacks,
            attributions=reasons,
            course=courses(history),
            used=Used(
                visits=len(history.visits),
                records=len(history.records),
                intervals=0 if found is None else found.intervals,
                interval=self.role.interval,
                picture=picture if found is not None and found.has_picture else None,
                answers=len(history.answers),
            ),
            problems=[Trouble(where=t.where, what=t.what) for t in troubles[:MOST_TROUBLES]],
            problem_count=len(troubles),
            bundle=self.bundle.id,
            validated_on_real_labels=self.role.card.validated_on_real_labels,
            version=__version__,
        )

    def _speak(self, found: Known) -> tuple[Outlook, list[Attribution]]:
        inputs = inputs_of(found, self.role)
        rows = self._probabilities(with_each_taken_away(found, self.role, inputs))
        scores = rows @ np.linspace(0, 1, rows.shape[1])
        labels = self.role.labels
        outlook = Outlook(
            label=labels[int(rows[0].argmax())],
            score=float(np.clip(scores[0], 0, 1)),
            probabilities={label: float(value) for label, value in zip(labels, rows[0], strict=True)},
        )
        return outlook, attributions(inputs, scores, "the risk" if len(labels) == 2 else "the stage")

    def _probabilities(self, batch: dict[str, NDArray[np.generic]]) -> NDArray[np.float64]:
        answer = self._backend.infer(batch)
        wanted = (len(next(iter(batch.values()))), len(self.role.labels))
        rows = np.asarray(answer.get(OUTPUT, ()), np.float64)
        if rows.shape != wanted or not np.isfinite(rows).all() or rows.min() < 0 or np.abs(rows.sum(1) - 1).max() > SUM_SLACK:
            raise ForecastError(
                f"{self.bundle.id}: its forecast answers what are no probabilities of {wanted[1]} labels: take another bundle"
            )
        return np.clip(rows, 0, 1)


def courses(history: History) -> list[Course]:
    """How each measured figure has gone over the visits that have it: least squares, by time."""
    found = []
    for name in MEASURED:
        rows = [(visit.day.toordinal() / DAYS_A_YEAR, visit.measured[name]) for visit in history.visits if name in visit.measured]
        if not rows:
            continue
        years, values = np.array(rows).T
        away = years - years.mean()
        spread = float(away @ away)
        slope = float(away @ values) / spread if len(rows) > 1 else None
        std = None
        if slope is not None and len(rows) > 2:
            rest = values - values.mean() - slope * away
            std = float(np.sqrt(rest @ rest / (len(rows) - 2) / spread))
        found.append(
            Course(figure=name, visits=len(rows), first=rows[0][1], last=rows[-1][1], change_per_year=slope, change_per_year_std=std)
        )
    return found
