"""Reads a checkpoint of the SAM family: nothing in it runs, its kind is told from names and shapes, and what is of another is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from export.conversion.loading import MAX_BYTES, PREFIXES, RETRAIN, load_state
from export.errors import ConversionError
from export.networks.sam.model import SIDE, Kind, Sam, kind_of, shapes_of
from export.networks.sam.tiny_vit import UNUSED

PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
LEFT_OUT = (*(f"image_encoder.{name}" for name in UNUSED), "pixel_mean", "pixel_std")
"""Beginnings of names that checkpoints have and nothing uses: MobileSAM's classifier, and what pictures are normalised by."""
TABLES = ("attention_bias_idxs", ".ab")
"""Ends of names of what is computed from the rest."""
COUNTED = "num_batches_tracked"
"""End of names of whole numbers: of a batch norm."""
LEAST_SIDE = 256
BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A filled network, of which kind it is, and the SHA-256 of the file that it came from."""

    kind: Kind
    network: Sam
    sha256: str


def read_checkpoint(path: Path, *, kind: Kind | None = None, side: int = SIDE) -> Checkpoint:
    """The network in a checkpoint of SAM or MobileSAM.

    Args:
        kind: that it must be of; None where the file is to say it.
        side: of the square picture; another than SIDE is MobileSAM's alone.

    Raises:
        ConversionError: no such file, too large, damaged, a pickle with code, of another network or kind, or numbers that are none.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConversionError(
                f"{path}: larger than {MAX_BYTES >> 30} GiB, as SAM's vit_h is: its encoder does not fit into one ONNX file: "
                "take a checkpoint of vit_l, vit_b or mobile"
            )
    except OSError as problem:
        raise ConversionError(f"{path}: {problem.strerror or problem}: name a checkpoint that may be read") from problem
    state = _named(load_state(path))
    found = kind_of(state)
    if found is None:
        shown = ", ".join(sorted(state)[:3])
        raise ConversionError(
            f"{path}: no checkpoint of SAM or MobileSAM (it holds {shown}{' …' if len(state) > 3 else ''}): "
            "name one by the names of the segment-anything or MobileSAM package"
        )
    if kind not in (None, found):
        raise ConversionError(f"{path}: it is of the kind {found}, not {kind}: take --kind {found}, or another checkpoint")
    check_side(found, side)
    _check_fit(state, found, str(path))
    _check_numbers(state, str(path))
    # made without memory and given the tensors of the file: the larger kinds would take it twice
    with torch.device("meta"):
        network = Sam(found, side=side)
    network.load_state_dict({name: _number(tensor) for name, tensor in state.items()}, assign=True)
    return Checkpoint(found, network.eval().requires_grad_(False), _sha256(path))


def check_side(kind: Kind | None, side: int) -> None:
    """Raises ConversionError where networks of that kind cannot look at a square picture of `side` px."""
    if kind not in (None, "mobile") and side != SIDE:
        raise ConversionError(f"--side {side}: {kind} has learnt positions for {SIDE} px alone: leave it out, or take MobileSAM")
    if side % 16 or not LEAST_SIDE <= side <= SIDE:
        raise ConversionError(f"--side {side}: no multiple of 16 from {LEAST_SIDE} to {SIDE}: choose one")


def _named(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by the packages' names, without what wrappers put before them and without what nothing uses."""
    found = dict(state)
    for prefix in PREFIXES:
        if found and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return {name: tensor for name, tensor in found.items() if not name.startswith(LEFT_OUT) and not name.endswith(TABLES)}


def _check_fit(state: Mapping[str, Tensor], kind: Kind, where: str) -> None:
    wanted = shapes_of(kind)
    missing, strange = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    other = [name for name in sorted(set(wanted) & set(state)) if tuple(state[name].shape) != wanted[name]]
    shapes = [f"{name} {tuple(state[name].shape)} for {wanted[name]}" for name in other]
    if missing or strange or shapes:
        told = "; ".join(
            f"{what} {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"
            for what, names in (("it lacks", missing), (f"{kind} lacks", strange), ("of another shape:", shapes))
            if names
        )
        raise ConversionError(f"{where}: nearly a checkpoint of {kind}, and none ({told}): take one of SAM or MobileSAM as published")


def _check_numbers(state: Mapping[str, Tensor], where: str) -> None:
    """Whether all weights are plain numbers: the network takes the tensors of the file as they are, whole or complex ones too."""
    for name, tensor in state.items():
        whole = name.endswith(COUNTED)
        if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_floating_point() == whole:
            kind = str(tensor.dtype if tensor.layout == torch.strided else tensor.layout).removeprefix("torch.")
            raise ConversionError(f"{where}: weights that are no plain numbers ({name} is {kind}): {RETRAIN}")
        if not whole and not bool(torch.isfinite(tensor.float()).all()):
            raise ConversionError(f"{where}: {name} holds NaN or infinity: take another checkpoint")


def _number(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
    return found.hexdigest()
