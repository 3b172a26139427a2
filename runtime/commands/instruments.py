"""What a command measures with: the bundle that a person names, else the one that serves here, as far as the profile of use allows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from runtime.analysis.fallback import INSTEAD, FallingBackSegmenter
from runtime.analysis.graders import Graders
from runtime.analysis.instruments import Instruments
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import FACTORY, Bundle, read_bundle, read_for_use
from runtime.bundles.trial import ModelStore
from runtime.config import Settings
from runtime.intended_use.in_force import UseInForce

Complain = Callable[[str], None]


def serving_bundle(settings: Settings, complain: Complain) -> Bundle | None:
    """The bundle that the daemon of these settings would serve with: configured, installed and active, or the program's own.

    None, with a word to `complain`, where not even that can be read.
    """
    store = ModelStore(settings.models_folder, settings.models, configured=settings.analysis.bundle, factory=FACTORY)
    try:
        chosen = store.choose()
    except BundleError as problem:
        complain(f"{INSTEAD}: {problem}")
        return None
    if chosen.notice:
        complain(chosen.notice)
    return chosen.bundle


def bundle_asked_for(settings: Settings, path: Path | None, complain: Complain) -> Bundle:
    """The bundle at `path`, which a person names, else the one that serves here.

    Raises:
        BundleError: the named one cannot be used, or none serves.
    """
    found = serving_bundle(settings, complain) if path is None else read_for_use(path)
    if found is None:
        raise BundleError("no bundle serves here: name one with --bundle")
    return found


def instruments_asked_for(
    settings: Settings,
    use: UseInForce,
    hair_from: Literal["learned", "classical", "masks"],
    path: Path | None,
    complain: Complain,
    *,
    threads: int,
) -> Instruments:
    """The instruments of captures, to be closed by the caller.

    Args:
        hair_from: a network; the classical mask, which needs no bundle: none is read, nothing is graded, and ONNX Runtime is not loaded; or
            masks that are given: the segmenter is then of no use.
        path: of the bundle that a person names, None for the one that serves.

    Raises:
        BundleError: the named bundle cannot be used.
    """
    if hair_from == "classical":
        return Instruments(FallingBackSegmenter(None), Graders(None, ()))
    bundle = serving_bundle(settings, complain) if path is None else read_for_use(path)
    segmenter = FallingBackSegmenter(None) if hair_from == "masks" else _segmenter(bundle, use, threads, named=path is not None)
    graders = Graders(bundle, use.roles, threads=threads, thorough=True)
    for problem in filter(None, (segmenter.problem, graders.problem)):
        complain(problem)
    return Instruments(segmenter, graders)


def _segmenter(bundle: Bundle | None, use: UseInForce, threads: int, *, named: bool) -> FallingBackSegmenter:
    """Of the bundle, or of the program's own where it has none: unhurried, so that figures are the same on every run.

    Raises:
        BundleError: the live network of a named bundle cannot be used.
    """
    if bundle is None:
        return FallingBackSegmenter(None)
    from runtime.analysis.segmenters import SegmenterSource, make_segmenter, thorough_segmenter  # brings ONNX Runtime
    from runtime.refining.captured import UNHURRIED_S

    if named and bundle.manifest.roles.segmenter is not None:
        return FallingBackSegmenter(thorough_segmenter(bundle, threads, roles=use.roles))
    finder = bundle if bundle.manifest.roles.segmenter is not None else read_bundle(FACTORY)
    return make_segmenter(SegmenterSource(finder, None), threads=threads, thorough=True, roles=use.roles, deadline_s=UNHURRIED_S)
