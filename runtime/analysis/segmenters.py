"""Which segmenter serves: the learned one of a bundle, or the classical one where that was chosen or no bundle can be used."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.analysis.ensemble import EnsembleSegmenter
from runtime.analysis.fallback import INSTEAD, FallingBackSegmenter
from runtime.analysis.learned import LearnedSegmenter
from runtime.analysis.settings import AnalysisSettings
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import FACTORY, Bundle, read_for_use
from runtime.inference.backend import Backend
from runtime.refining.better import ROLES, BetterMasks, has_better
from runtime.refining.captured import DEADLINE_S, UNHURRIED_S, CapturedSegmenter

MakeBackend = Callable[[bytes], Backend]


@dataclass(frozen=True)
class SegmenterSource:
    """What segmenters are made of: a bundle that was read once for all of them, or none, and the reason for a person to read.

    `problem` is None where the classical segmenter was chosen.
    """

    bundle: Bundle | None
    problem: str | None


def read_source(settings: AnalysisSettings) -> SegmenterSource:
    """What `settings` ask for. A bundle that is missing or broken is a problem that is told, no error."""
    if settings.segmenter == "classical":
        return SegmenterSource(None, None)
    try:
        return SegmenterSource(_read(settings.bundle or FACTORY), None)
    except BundleError as problem:
        return SegmenterSource(None, f"{INSTEAD}: {problem}")


def segmenter_asked_for(
    kind: Literal["learned", "classical"], folder: Path | None, *, threads: int, thorough: bool = False
) -> FallingBackSegmenter:
    """The segmenter that a person asks a command for. A bundle that is named must do; the program's own is fallen back from.

    Nobody waits with a finger on a button: a thorough one takes its time, so that figures are the same on every run.

    Args:
        folder: of the bundle, None for the program's own.
        threads, thorough: as for `make_segmenter`.

    Raises:
        BundleError: the named bundle is missing, damaged, or holds what this program does not take.
    """
    if folder is not None and kind == "learned":
        return FallingBackSegmenter(_of(_read(folder), threads, thorough, deadline_s=UNHURRIED_S))
    return make_segmenter(read_source(AnalysisSettings(segmenter=kind)), threads=threads, thorough=thorough, deadline_s=UNHURRIED_S)


def make_segmenter(
    source: SegmenterSource,
    *,
    threads: int,
    thorough: bool = False,
    roles: Collection[str] = ROLES,
    deadline_s: float = DEADLINE_S,
    backend: MakeBackend | None = None,
) -> FallingBackSegmenter:
    """A segmenter for one thread, to be closed by the caller.

    Args:
        threads: computing threads of the network, the calling one included.
        thorough: for captures, which have time: the frame is also looked at in its mirror images, the classical mask has its say, and so
            have a teacher and a refiner, where the bundle has any.
        roles: those that may be used beside the segmenter's; a profile of use decides on them.
        deadline_s: for a thorough mask; a better one that is not ready by then is passed over.
        backend: makes the backend from the network's bytes; ONNX Runtime where None.
    """
    if source.bundle is None:
        return FallingBackSegmenter(None, source.problem)
    try:
        return FallingBackSegmenter(_of(source.bundle, threads, thorough, backend, roles=roles, deadline_s=deadline_s))
    except BundleError as problem:  # it is whole, and its network does something else than it should
        return FallingBackSegmenter(None, f"{INSTEAD}: {problem}")


def thorough_segmenter(
    bundle: Bundle, threads: int, *, roles: Collection[str] = ROLES, deadline_s: float = UNHURRIED_S, backend: MakeBackend | None = None
) -> EnsembleSegmenter | CapturedSegmenter:
    """The segmenter of captures of a bundle, to be closed by the caller. Raises BundleError where its live network cannot be used."""
    live = EnsembleSegmenter(LearnedSegmenter(bundle, threads=threads, flips=True, backend=backend))
    return CapturedSegmenter(live, BetterMasks(bundle, roles), deadline_s=deadline_s) if has_better(bundle, roles) else live


def _of(
    bundle: Bundle,
    threads: int,
    thorough: bool,
    backend: MakeBackend | None = None,
    *,
    roles: Collection[str] = ROLES,
    deadline_s: float,
) -> LearnedSegmenter | EnsembleSegmenter | CapturedSegmenter:
    if thorough:
        return thorough_segmenter(bundle, threads, roles=roles, deadline_s=deadline_s, backend=backend)
    return LearnedSegmenter(bundle, threads=threads, backend=backend)


def _read(folder: Path) -> Bundle:
    """The bundle in `folder`. Raises BundleError also where the folder cannot even be looked at."""
    try:
        return read_for_use(folder)
    except OSError as problem:
        raise BundleError(f"{folder}: {problem.strerror or problem}: name a folder that this user may read") from problem
