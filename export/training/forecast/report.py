"""What a training has come to: every network and forest on persons that nothing was learnt from, as tables, JSON and pictures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from export.evaluation.forecast import Figures, Interval, area_under_curve, as_plain, calibration, figures, gain, gains_table, table
from export.evaluation.forecast_pictures import calibration_svg, curves_svg
from export.networks.hybrid import GREY, HybridNet
from export.persons import SETS
from export.training import checkpoint
from export.training.forecast.batches import People, people
from export.training.forecast.forest import forest_probabilities, picture_table, records_table
from export.training.forecast.loop import History
from export.training.forecast.recipe import HYBRID, Contestant, contestants
from export.training.forecast.training import LABELS, TEST_SEED, ForecastTraining, cohort_for, forecasts

TABLE, FIGURES, CALIBRATION, CURVES = "table.md", "figures.json", "calibration.svg", "curves.svg"
NAMES = {"both": "hybrid CNN–LSTM", "picture": "CNN alone", "records": "LSTM alone"}
BLIND, BARE = "hybrid CNN–LSTM, not given a picture", "hybrid CNN–LSTM, given a picture alone"
FOREST, FULL_FOREST = "random forest", "random forest with picture figures"
SAID = {"both": "", "picture": ", only the picture tells", "records": ", only records and markers tell"}


@dataclass(frozen=True, eq=False)
class Report:
    """All figures of one training.

    Attributes:
        rows: by method's name.
        gains: AUC of a hybrid less that of the method or branch named, on persons of the same set.
        bounds: of each set the AUC of who knew the scores that the labels were drawn with.
        told: probabilities of each method on persons of the set `both`.
        labels: of the set `both`.
    """

    rows: dict[str, Figures]
    gains: dict[str, Interval]
    bounds: dict[str, float]
    told: dict[str, NDArray[np.float64]]
    labels: NDArray[np.int64]

    def markdown(self) -> str:
        """The tables, for people."""
        bounds = ", ".join(f"{name} {value:.3f}" for name, value in self.bounds.items())
        gains = f"{gains_table(self.gains)}\n\n" if self.gains else ""
        return f"{table(self.rows)}\n\n{gains}AUC of who knows the scores that labels were drawn with: {bounds}\n"


def name_of(which: Contestant) -> str:
    """As the table calls it."""
    return NAMES[which.branches] + SAID[which.set]


def tested_people(training: ForecastTraining, advance: Callable[[int], None], seed: int = TEST_SEED, count: int | None = None) -> People:
    """Persons that nothing was learnt from."""
    return people(cohort_for(training.architecture, seed, count or training.recipe.tested, advance=advance))


def without_pictures(found: People) -> People:
    """The same persons, nobody with a picture."""
    grey = np.full((1, *found.cohort.pictures.shape[1:]), int(GREY), np.uint8)
    cohort = dataclasses.replace(found.cohort, pictures=np.broadcast_to(grey, found.cohort.pictures.shape))
    return People(cohort, found.records)


def without_records(found: People) -> People:
    """The same persons, of whom nobody knows more than a picture."""
    cohort = dataclasses.replace(found.cohort, markers=np.zeros_like(found.cohort.markers), lengths=np.ones_like(found.cohort.lengths))
    return People(cohort, np.zeros_like(found.records))


def report(training: ForecastTraining, networks: dict[Contestant, HybridNet], tested: People, learnt_by_forests: People | None) -> Report:
    """Figures of the networks, and of two forests that learn from `learnt_by_forests` where that is given.

    Raises:
        EvaluationError: too few persons to tell apart.
    """
    told = {which: forecasts(network, tested, training.device) for which, network in networks.items()}
    rows = {name_of(which): figures(found, tested.targets(training.head, which.set)) for which, found in told.items()}
    labels = tested.targets(training.head, "both")
    for name, less in ((BLIND, without_pictures(tested)), (BARE, without_records(tested))):
        rows[name] = figures(forecasts(networks[HYBRID], less, training.device), labels)
    plain = {name_of(which): found for which, found in told.items() if which.set == "both"}
    if learnt_by_forests is not None:
        learnt_labels, count = learnt_by_forests.targets(training.head, "both"), len(LABELS[training.head])
        tables = [(records_table(of), picture_table(of)) for of in (learnt_by_forests, tested)]
        for name, both in ((FOREST, False), (FULL_FOREST, True)):
            learnt, asked = (np.concatenate(pair, 1) if both else pair[0] for pair in tables)
            plain[name] = forest_probabilities(learnt, learnt_labels, asked, training.recipe, training.seed, count)
            rows[name] = figures(plain[name], labels)
    order = [*plain, *(name for name in rows if name not in plain)]
    gains = {name: gain(told[HYBRID], found, labels) for name, found in plain.items() if name != name_of(HYBRID)}
    for which, found in told.items():
        hybrid = Contestant(which.set, "both")
        if which.set != "both" and which != hybrid:
            gains[name_of(which)] = gain(told[hybrid], found, tested.targets(training.head, which.set))
    bounds: dict[str, float] = (
        {name: area_under_curve(tested.cohort.logits[name], tested.cohort.high[name]) for name in SETS} if training.head == "risk" else {}
    )
    return Report({name: rows[name] for name in order}, gains, bounds, plain, labels)


def write_report(training: ForecastTraining, found: Report, histories: dict[str, History]) -> None:
    """Table, figures and pictures into the training's folder.

    Raises:
        TrainingError: it cannot be written.
    """
    title = f"forecast, recipe {training.recipe.name}, architecture {training.architecture}, seed {training.seed}"
    wanted = [which.folder for which in contestants(training.head)]
    plain = as_plain(found.rows, found.gains) | {"bounds": found.bounds, "architecture": training.architecture, "seed": training.seed}
    bins = {name: calibration(told, found.labels) for name, told in found.told.items()}
    content = {
        TABLE: found.markdown().encode(),
        FIGURES: (json.dumps(plain, indent=1, allow_nan=False) + "\n").encode(),
        CALIBRATION: calibration_svg(title, bins),
        CURVES: curves_svg(title, {k: histories[k].loss for k in wanted}, {k: histories[k].quality for k in wanted}),
    }
    for name, data in content.items():
        checkpoint.write_atomically(training.folder / name, data)


def finished_networks(training: ForecastTraining) -> dict[Contestant, HybridNet]:
    """All networks of a training that has finished.

    Raises:
        TrainingError: one has not, or its checkpoint is damaged.
    """
    with torch.no_grad():
        return {which: training.trained(which)[0] for which in contestants(training.head)}
