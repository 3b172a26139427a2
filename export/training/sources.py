"""Which networks a training learns from, so that it does not go on with others than it began with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from export.conversion.part import read_parts
from export.errors import TrainingError
from runtime.bundles.roles import SegmenterName
from runtime.errors import TrichoscopeError

SOURCES = "sources"
"""Key of a checkpoint."""


def network_sha256(folder: Path, role: SegmenterName) -> str:
    """SHA-256 of the network that stands in for `role` in the bundle, or part of one, in `folder`.

    Raises:
        TrainingError: it cannot be read, or has no such network.
    """
    try:
        bundle = read_parts(folder)
    except TrichoscopeError as problem:
        raise TrainingError(f"{problem}; a training learns from it: name another bundle") from problem
    found = bundle.manifest.roles.segmenter if role == "segmenter" else bundle.manifest.roles.teacher
    if found is None:
        raise TrainingError(f"{folder}: no {role} in this bundle: name another")
    return hashlib.sha256(bundle.content[found.model]).hexdigest()


def check_sources(folder: Path, kept: object, given: Mapping[str, str]) -> None:
    """Whether the training in `folder` may go on with the networks `given`, SHA-256 by name; `kept` is what its checkpoint says of them.

    Raises:
        TrainingError: it began with others, with one more or without one. Not where the checkpoint says nothing.
    """
    if not isinstance(kept, dict):
        return
    for name in sorted({*kept, *given}):
        if name not in given:
            raise TrainingError(f"{folder}: this training began with a {name} network: name the same one with --{name}")
        if name not in kept:
            raise TrainingError(f"{folder}: this training began without a {name} network: leave --{name} out")
        if kept[name] != given[name]:
            raise TrainingError(
                f"{folder}: this training began with another {name} network than the one in the bundle that was named: "
                f"name the same one with --{name}, or start anew in another folder"
            )
