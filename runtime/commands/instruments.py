"""What a command measures with: the bundle that a person names, else the one that serves here, as far as the profile of use allows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from runtime.analysis.fallback import INSTEAD, FallingBackSegmenter
from runtime.analysis.graders import Graders
from runtime.analysis.segmenters import SegmenterSource, make_segmenter, segmenter_asked_for
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import FACTORY, Bundle, read_bundle
from runtime.bundles.trial import ModelStore
from runtime.config import Settings
from runtime.intended_use.in_force import UseInForce
from runtime.workers.models import Instruments

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


def instruments_asked_for(
    settings: Settings, use: UseInForce, kind: Literal["learned", "classical"], path: Path | None, complain: Complain, *, threads: int
) -> Instruments:
    """The instruments of captures, to be closed by the caller.

    Args:
        kind: what finds hair; the classical mask needs no bundle, and nothing is graded beside it.
        path: of the bundle that a person names, None for the one that serves.

    Raises:
        BundleError: the named bundle cannot be used.
    """
    if kind == "classical":
        return Instruments(FallingBackSegmenter(None), Graders(None, ()))
    if path is not None:
        bundle: Bundle | None = read_bundle(path)
    else:
        bundle = serving_bundle(settings, complain)
    if bundle is not None and bundle.manifest.roles.segmenter is None:
        finder: Bundle | None = read_bundle(FACTORY)
    else:
        finder = bundle
    if path is not None and finder is bundle:
        segmenter = segmenter_asked_for(kind, path, threads=threads, thorough=True)
    elif finder is None:
        segmenter = FallingBackSegmenter(None)
    else:
        segmenter = make_segmenter(SegmenterSource(finder, None), threads=threads, thorough=True)
    graders = Graders(bundle, use.roles, threads=threads, thorough=True)
    for problem in filter(None, (segmenter.problem, graders.problem)):
        complain(problem)
    return Instruments(segmenter, graders)
