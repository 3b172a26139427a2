"""The ways to a mask that a bundle, or a part of one, has: each of its networks alone, its ensembles, and what captures are measured on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.evaluation.segmentation import Method, segmenter_method
from runtime.analysis.ensemble import EnsembleSegmenter
from runtime.analysis.learned import LearnedSegmenter, hair_pieces
from runtime.analysis.segmentation import Mask, Segmentation
from runtime.analysis.segmenters import thorough_segmenter
from runtime.bundles.reader import Bundle
from runtime.refining.better import has_better
from runtime.refining.prompts import automatic_prompts
from runtime.refining.refiner import Refined, Refiner, combined, open_refiner, why_not_asked, why_refused

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Prompting:
    """The mask that prompts a refiner: what finds it, and the threshold of its soft mask."""

    name: str
    segment: Callable[[Image], Segmentation]
    threshold: float


def ways_of(
    bundle: Bundle, stack: ExitStack, *, threads: int, flips: bool, prompting: Prompting | None
) -> tuple[list[Method], Prompting | None]:
    """Every way of `bundle`, to be closed by `stack`; and what prompts refiners of later bundles that have no mask of their own.

    Args:
        flips: the live network alone looks at each picture mirrored three ways as well.
        prompting: of the bundles before, for a refiner that comes alone.

    Raises:
        BundleError: a network does not do what its role promises.
    """
    roles, found = bundle.manifest.roles, list[Method]()
    if roles.segmenter is not None:
        live = stack.enter_context(LearnedSegmenter(bundle, threads=threads, flips=flips))
        found.append(segmenter_method(f"{bundle.id}, live network", live))
        thorough = LearnedSegmenter(bundle, threads=threads, flips=True)
        prompting = _thorough(bundle, thorough, stack)
        found.append(_way(f"{bundle.id}, live network & classical", prompting.segment))
    if roles.teacher is not None:
        alone = stack.enter_context(LearnedSegmenter(bundle, role="teacher", threads=threads, flips=roles.teacher.flips))
        found.append(segmenter_method(f"{bundle.id}, teacher", alone))
        thorough = LearnedSegmenter(bundle, role="teacher", threads=threads, flips=roles.teacher.flips)
        prompting = _thorough(bundle, thorough, stack)
        found.append(_way(f"{bundle.id}, teacher & classical", prompting.segment))
    if roles.refiner is not None and prompting is not None:
        refiner = open_refiner(bundle, threads=threads)
        stack.callback(refiner.close)
        found += _refined(bundle.id, refiner, roles.refiner.threshold, prompting)
    if roles.segmenter is not None and has_better(bundle):
        captured = thorough_segmenter(bundle, threads)
        stack.callback(captured.close)
        found.append(segmenter_method(f"{bundle.id}, as captures are measured", captured))
    return found, prompting


def _thorough(bundle: Bundle, learned: LearnedSegmenter, stack: ExitStack) -> Prompting:
    segmenter = EnsembleSegmenter(learned)
    stack.callback(segmenter.close)
    return Prompting(bundle.id, segmenter.segment, learned.threshold)


def _way(name: str, segment: Callable[[Image], Segmentation]) -> Method:
    return Method(name, lambda image: segment(image).mask)


def _refined(name: str, refiner: Refiner, threshold: float, prompting: Prompting) -> list[Method]:
    """The refiner's mask alone, and both ensembles with the mask that prompts it, which stands where the answer is passed over."""

    def asked(image: Image) -> tuple[Segmentation, Refined | None]:
        before = prompting.segment(image)
        prompts = automatic_prompts(before.mask)
        if why_not_asked(prompts) is not None:
            return before, None
        answer = refiner.refine(image, prompts)
        return before, None if why_refused(before.mask, answer, threshold) is not None else answer

    def alone(image: Image) -> Mask:
        before, answer = asked(image)
        return before.mask if answer is None else hair_pieces(answer.probability, threshold)

    def both(image: Image) -> Mask:
        before, answer = asked(image)
        return before.mask if answer is None else combined("and", before, answer, threshold, prompting.threshold)[1]

    def weighed(image: Image) -> Mask:
        before, answer = asked(image)
        return before.mask if answer is None else combined("weighed", before, answer, threshold, prompting.threshold)[1]

    return [Method(f"{name}, refined alone", alone), Method(f"{name}, M̂ AND M_AP", both), Method(f"{name}, weighed", weighed)]
