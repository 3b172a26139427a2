"""Whether a better mask of captured fields is worth its time: what it gains over the mask before it, on rendered frames of unseen seeds.

Everything is found as captures find it (`runtime.refining.better`), where a mask that is passed over leaves the one before it standing.
Not Dice alone decides: a mask with a finer border that breaks hairs in two, or grows some on bald skin, is no better for a report.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from device.simulated.scene import RenderedFrame
from export.conversion.trust import mask_dice
from export.errors import ConversionError
from export.scenes import bald_frames, validation_frames
from runtime.analysis.ensemble import EnsembleSegmenter
from runtime.analysis.learned import LearnedSegmenter, hair_pieces
from runtime.analysis.segmentation import Mask, Segmentation
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import RefinerRole, TeacherRole
from runtime.pipeline import analyse
from runtime.refining.better import BetterMasks, Masks
from runtime.refining.prompts import Prompts
from runtime.refining.refiner import Combination, Refined, Refiner, open_refiner, why_refused

TEACHER_SEED: Final = 900_004
REFINER_SEED: Final = 900_003
"""Of rendered frames that nothing else draws."""
LEAST_GAIN: Final = 0.001
"""Of the mean Dice: what a better mask must gain to be worth its time."""
MOST_LOST: Final = 0.002
"""Of the Dice of any kind of frame."""
MOST_MISCOUNTED: Final = 0.02
"""By how much the count error of any kind may grow."""
MOST_ON_SKIN: Final = 0.0005
"""By how much the share of bald frames that is taken for hair may grow."""
COMBINATIONS: Final[tuple[Combination, ...]] = ("and", "weighed")

Image = NDArray[np.uint8]


@dataclass
class Tally:
    """One way to a mask over all frames.

    Attributes:
        dice: of each frame with hair, by its kind.
        miscounted, hairs: |hairs found − true| and true hairs, summed over the frames of each kind.
        false_area: share of each frame without hair that was taken for hair.
        passed_over: frames with hair on which the mask before stood.
    """

    dice: dict[str, list[float]] = field(default_factory=dict)
    miscounted: dict[str, int] = field(default_factory=dict)
    hairs: dict[str, int] = field(default_factory=dict)
    false_area: list[float] = field(default_factory=list)
    passed_over: int = 0

    def add(self, frame: RenderedFrame, found: Segmentation) -> None:
        """Enter what was found in a frame."""
        self.add_mask(frame, found.mask)
        if not frame.mask.any():
            return
        kind, true = frame.truth.kind, len(frame.truth.counted)
        counted = analyse(frame.image, name=kind, segmentation=found).hair_count
        self.miscounted[kind] = self.miscounted.get(kind, 0) + abs(counted - true)
        self.hairs[kind] = self.hairs.get(kind, 0) + true

    def add_mask(self, frame: RenderedFrame, mask: NDArray[np.bool_]) -> None:
        """Enter a mask alone, bool (height, width), whose hairs are not counted."""
        if frame.mask.any():
            self.dice.setdefault(frame.truth.kind, []).append(mask_dice(mask, frame.mask))
        else:
            self.false_area.append(float(np.mean(mask)))

    @property
    def mean_dice(self) -> float:
        """Over all frames with hair. Raises ConversionError where there is none."""
        values = [*chain.from_iterable(self.dice.values())]
        if not values:
            raise ConversionError("no rendered frame has hair: use more frames a kind")
        return float(np.mean(values))

    def dice_of(self, kind: str) -> float:
        """The mean of a kind."""
        return float(np.mean(self.dice[kind]))

    def count_error(self, kind: str) -> float:
        """Pooled over the frames of a kind with hair: miscounted by true hairs."""
        return self.miscounted[kind] / max(1, self.hairs[kind])

    def on_skin(self) -> float:
        """The mean share of a frame without hair that is taken for hair, 0 where there was no such frame."""
        return float(np.mean(self.false_area)) if self.false_area else 0.0

    def metrics(self, name: str) -> dict[str, float]:
        """All of it as plain figures, whose names end in `name` and the kind."""
        found = {f"dice_{name}": self.mean_dice}
        found |= {f"dice_{name}_{kind}": self.dice_of(kind) for kind in self.dice}
        found |= {f"count_error_{name}_{kind}": self.count_error(kind) for kind in self.hairs}
        return found | {f"false_area_{name}": self.on_skin(), f"passed_over_{name}": float(self.passed_over)}


def worth_it(before: Tally, after: Tally) -> bool:
    """Whether `after` gains enough over `before`, and loses too much nowhere; both are of the same frames."""
    return (
        after.mean_dice - before.mean_dice >= LEAST_GAIN
        and all(after.dice_of(kind) >= before.dice_of(kind) - MOST_LOST for kind in before.dice)
        and all(after.count_error(kind) <= before.count_error(kind) + MOST_MISCOUNTED for kind in before.hairs)
        and after.on_skin() <= before.on_skin() + MOST_ON_SKIN
    )


@dataclass(frozen=True)
class RefinerEvidence:
    """What was found of a refiner: the ensemble to take, whether it is worth it, and all figures."""

    combination: Combination
    use: bool
    metrics: dict[str, float]


def teacher_evidence(teacher: Bundle, live: Bundle, *, per_kind: int) -> tuple[bool, dict[str, float]]:
    """Whether the teacher is worth its time beside the live network, and the figures of both, each with the classical mask.

    Args:
        teacher: a bundle with the role, whatever its `use` says.
        live: with the live network.
        per_kind: rendered frames of each kind; a third as many bald ones are looked at besides.

    Raises:
        ConversionError: none of the frames has hair.
        BundleError: the live network does not do what its role promises. A teacher that does not is passed over on every frame.
    """
    role = teacher.manifest.roles.teacher
    assert role is not None
    before, after = Tally(), Tally()
    with closing(EnsembleSegmenter(LearnedSegmenter(live, threads=_threads(), flips=True))) as segmenter:
        better = BetterMasks(_with(teacher, role.model_copy(update={"use": True})), open_teacher=_opened)
        with ExitStack() as stack:
            stack.callback(better.release)
            for frame in _frames(per_kind, TEACHER_SEED):
                found, classical = segmenter.with_classical(frame.image)
                before.add(frame, found)
                _bettered(better, frame, Masks(found, classical, segmenter.threshold), after)
    return worth_it(before, after), before.metrics("live_classical") | after.metrics("teacher_classical")


def refiner_evidence(refiner: Bundle, live: Bundle, teacher: Bundle | None, *, per_kind: int) -> RefinerEvidence:
    """What the refiner's ensembles gain over the mask that prompts it: the teacher's, where one is used, else the live network's.

    Args:
        refiner: a bundle with the role, whatever its `use` and `combination` say.
        live, per_kind: as for `teacher_evidence`.
        teacher: a bundle with the role `teacher`, None where there is none; one that is not used does not prompt at work either.

    Raises:
        ConversionError: none of the frames has hair.
        BundleError: a network does not do what its role promises.
    """
    role = refiner.manifest.roles.refiner
    assert role is not None
    taught = None if teacher is None else teacher.manifest.roles.teacher
    before, alone = Tally(), Tally()
    after = {how: Tally() for how in COMBINATIONS}
    with ExitStack() as stack:
        segmenter = stack.enter_context(closing(EnsembleSegmenter(LearnedSegmenter(live, threads=_threads(), flips=True))))
        asked = _Remembering(open_refiner(refiner, threads=_threads()))
        stack.callback(asked.let_go)
        prompting = None
        if teacher is not None and taught is not None and taught.use:
            prompting = BetterMasks(teacher, open_teacher=_opened)
            stack.callback(prompting.release)
        ways = {
            how: BetterMasks(_with(refiner, role.model_copy(update={"use": True, "combination": how})), open_refiner=lambda _: asked)
            for how in COMBINATIONS
        }
        for frame in _frames(per_kind, REFINER_SEED):
            found, classical = segmenter.with_classical(frame.image)
            masks = Masks(found, classical, segmenter.threshold)
            if prompting is not None and taught is not None:
                bettered, reason = _best(prompting, frame.image, masks)
                if reason is not None:
                    continue  # no refiner is asked then either: what follows would be of another mask
                masks = Masks(bettered, classical, taught.threshold)
            before.add(frame, masks.live)
            asked.answer = None
            for how, better in ways.items():
                _bettered(better, frame, masks, after[how])
            alone.add_mask(frame, _alone(asked.answer, masks.live.mask, role.threshold))
    metrics = before.metrics("prompting") | after["and"].metrics("both") | after["weighed"].metrics("weighed")
    chosen = [how for how in COMBINATIONS if worth_it(before, after[how])]
    return RefinerEvidence(
        combination=max(chosen or COMBINATIONS, key=lambda how: after[how].mean_dice),
        use=bool(chosen),
        metrics=metrics | {"dice_refined": alone.mean_dice, "false_area_refined": alone.on_skin()},
    )


class _Remembering:
    """A refiner that is asked the same of a frame for each ensemble, and works once; closed by `let_go` alone."""

    def __init__(self, refiner: Refiner) -> None:
        self._refiner = refiner
        self.name = refiner.name
        self.answer: Refined | None = None
        """Of the frame in work; None before it was asked."""

    def refine(self, image: Image, prompts: Prompts) -> Refined:
        """The answer to the frame in work."""
        if self.answer is None:
            self.answer = self._refiner.refine(image, prompts)
        return self.answer

    def cancel(self) -> None:
        """Nothing: nobody is in a hurry here."""

    def resume(self) -> None:
        """Nothing was cancelled."""

    def close(self) -> None:
        """Nothing: each ensemble would."""

    def let_go(self) -> None:
        """Give memory and threads back."""
        self._refiner.close()


def _bettered(better: BetterMasks, frame: RenderedFrame, masks: Masks, tally: Tally) -> None:
    """Enter the better mask of a frame, or the one before where that stands."""
    found, reason = _best(better, frame.image, masks)
    if reason is not None and frame.mask.any():
        tally.passed_over += 1
    tally.add(frame, found)


def _alone(answer: Refined | None, before: Mask, threshold: float) -> Mask:
    """The mask of a refiner's answer, or the one before where it was not asked or is not believed."""
    if answer is None or why_refused(before, answer, threshold) is not None:
        return before
    return hair_pieces(answer.probability, threshold)


def _best(better: BetterMasks, image: Image, masks: Masks) -> tuple[Segmentation, str | None]:
    """The best mask that is to be had, the one before at worst, and why a better one is not."""
    ready = [masks.live]

    def take(found: Segmentation) -> bool:
        ready.append(found)
        return True

    reason = better.work(image, lambda: masks, take)
    return ready[-1], reason


def _frames(per_kind: int, seed: int) -> Iterable[RenderedFrame]:
    return chain(validation_frames(per_kind, seed), bald_frames(max(2, per_kind // 3), seed))


def _opened(bundle: Bundle) -> LearnedSegmenter:
    role = bundle.manifest.roles.teacher
    return LearnedSegmenter(bundle, role="teacher", threads=_threads(), flips=role is not None and role.flips)


def _with(bundle: Bundle, role: TeacherRole | RefinerRole) -> Bundle:
    """`bundle` with another role in place of the one of its kind."""
    name = "teacher" if isinstance(role, TeacherRole) else "refiner"
    roles = bundle.manifest.roles.model_copy(update={name: role})
    return Bundle(bundle.manifest.model_copy(update={"roles": roles}), bundle.content, bundle.sha256)


def _threads() -> int:
    return max(1, min(8, os.cpu_count() or 1))
