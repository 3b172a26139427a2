"""Which segmenter serves: the learned one of a bundle, or the classical one where no bundle can be used, and why."""

from __future__ import annotations

from pathlib import Path

from runtime.analysis.classical import ClassicalSegmenter
from runtime.analysis.learned import LearnedSegmenter
from runtime.analysis.segmentation import Segmenter
from runtime.analysis.settings import AnalysisSettings
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import FACTORY, read_bundle


def make_segmenter(settings: AnalysisSettings, *, bundle: Path | None = None, flips: bool = False) -> tuple[Segmenter, str | None]:
    """The learned segmenter of `bundle` (of the factory's where None), else the classical one and the reason for a person to read.

    Args:
        settings: computing threads come from here.
        flips: average over mirror images: better and four times slower, for captures.
    """
    try:
        return LearnedSegmenter(read_bundle(FACTORY if bundle is None else bundle), threads=settings.opencv_threads, flips=flips), None
    except BundleError as problem:
        return ClassicalSegmenter(), f"the classical mask is used instead of the learned one: {problem}"
