"""The ways to a mask that a bundle, or a part of one, has: each of its networks alone, its ensembles, and what captures are measured on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.conversion.part import is_part
from export.errors import EvaluationError
from export.evaluation.segmentation import Method, segmenter_method
from runtime.analysis.ensemble import EnsembleSegmenter
from runtime.analysis.learned import LearnedSegmenter, hair_pieces
from runtime.analysis.segmentation import Mask, Segmentation
from runtime.analysis.segmenters import thorough_segmenter
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import RefinerRole
from runtime.refining.better import has_better
from runtime.refining.prompts import prompts_as_learnt
from runtime.refining.refiner import Refined, Refiner, combined, open_refiner, why_not_asked, why_not_combined, why_refused

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Prompting:
    """The mask that prompts a refiner: whose it is, what finds it, and the threshold of its soft mask."""

    name: str
    segment: Callable[[Image], Segmentation]
    threshold: float


def name_of(folder: Path, bundle: Bundle) -> str:
    """What the rows of `bundle`, which `read_parts` gave from `folder`, are called.

    A bundle has its id; parts have none that tells them apart, and are called by the end of their path.
    """
    return "/".join(folder.absolute().parts[-2:]) if is_part(folder) else bundle.id


def ways_of(
    bundle: Bundle, stack: ExitStack, *, name: str, threads: int, flips: bool, prompting: Prompting | None
) -> tuple[list[Method], Prompting | None]:
    """Every way of `bundle`, to be closed by `stack`; and what prompts refiners of later bundles that have no mask of their own.

    A teacher has its rows also where evidence did not choose it. In a bundle with a live network it then prompts nothing, as at work.

    Args:
        name: what the rows are called, before what each is.
        flips: the live network alone looks at each picture mirrored three ways as well.
        prompting: of the bundles before, for a refiner that comes alone.

    Raises:
        BundleError: a network does not do what its role promises.
        EvaluationError: a refiner that nothing prompts.
    """
    roles, found = bundle.manifest.roles, list[Method]()
    if roles.segmenter is not None:
        live = stack.enter_context(LearnedSegmenter(bundle, threads=threads, flips=flips))
        found.append(segmenter_method(f"{name}, live network", live))
        thorough = LearnedSegmenter(bundle, threads=threads, flips=True)
        prompting = _thorough(name, thorough, stack)
        found.append(Method(f"{name}, live network & classical", prompting.segment))
    if roles.teacher is not None:
        alone = stack.enter_context(LearnedSegmenter(bundle, role="teacher", threads=threads, flips=roles.teacher.flips))
        found.append(segmenter_method(f"{name}, teacher", alone))
        thorough = LearnedSegmenter(bundle, role="teacher", threads=threads, flips=roles.teacher.flips)
        taught = _thorough(name, thorough, stack)
        found.append(Method(f"{name}, teacher & classical", taught.segment))
        if roles.teacher.use or roles.segmenter is None:
            prompting = taught
    if roles.refiner is not None:
        if prompting is None:
            raise EvaluationError(
                f"{name}: a refiner, and nothing before it whose mask prompts it: name a bundle with a segmenter or a teacher first"
            )
        refiner = open_refiner(bundle, threads=threads)
        stack.callback(refiner.close)
        found += _refined(name if prompting.name == name else f"{name} after {prompting.name}", refiner, roles.refiner, prompting)
    if roles.segmenter is not None and has_better(bundle):
        captured = thorough_segmenter(bundle, threads)
        stack.callback(captured.close)
        found.append(segmenter_method(f"{name}, as captures are measured", captured))
    return found, prompting


def _thorough(name: str, learned: LearnedSegmenter, stack: ExitStack) -> Prompting:
    segmenter = EnsembleSegmenter(learned)
    stack.callback(segmenter.close)
    return Prompting(name, segmenter.segment, learned.threshold)


def _refined(name: str, refiner: Refiner, role: RefinerRole, prompting: Prompting) -> list[Method]:
    """The refiner's mask alone, and both ensembles with the mask that prompts it, which stands where the answer is passed over."""

    def way(mask_of: Callable[[Image, Segmentation, Refined], Mask]) -> Callable[[Image], Segmentation]:
        def found(image: Image) -> Segmentation:
            before = prompting.segment(image)
            prompts = prompts_as_learnt(before.mask, role.preprocessing.longest_side, variant=role.prompts)
            if why_not_asked(prompts) is not None:  # nothing to refine
                return before
            answer = refiner.refine(image, prompts)
            reason = why_refused(before.mask, answer, role.threshold)
            if reason is None:
                mask = mask_of(image, before, answer)
                reason = why_not_combined(before.mask, mask)
                if reason is None:
                    return replace(before, mask=mask)
            return replace(before, passed_over=reason)

        return found

    def alone(_: Image, __: Segmentation, answer: Refined) -> Mask:
        return hair_pieces(answer.probability, role.threshold)

    def both(image: Image, before: Segmentation, answer: Refined) -> Mask:
        return combined("and", before, answer, role.threshold, prompting.threshold, image)[1]

    def weighed(image: Image, before: Segmentation, answer: Refined) -> Mask:
        return combined("weighed", before, answer, role.threshold, prompting.threshold, image)[1]

    named = {"refined alone": alone, "M̂ AND M_AP": both, "weighed": weighed}
    return [Method(f"{name}, {what}", way(mask_of)) for what, mask_of in named.items()]
