"""A person's own network and checkpoint: `MODULE:FACTORY` makes the network, the checkpoint fills it, and nothing in a checkpoint runs.

A checkpoint comes from anywhere. PyTorch's are read by its weights-only unpickler, safetensors files by the few lines below; the tensors
are found at the top or under the usual keys.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import os
import pickle
import re
import stat
import struct
import sys
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export.errors import ConversionError

MAX_BYTES = 2 << 30
"""Larger checkpoints than this are of no network that a kiosk runs, optimiser included."""
MAX_HEADER_BYTES = 16 << 20
NESTED = ("average", "ema", "state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "weights", "params")
"""Under which keys trainings keep the weights, the averaged ones first."""
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""What wrappers (parallel, compiled, Lightning) put before each name."""
SAFE_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
RETRAIN = "save it again as torch.save(network.state_dict(), FILE)"

State = dict[str, Tensor]


def made_by(factory: str) -> Any:
    """What `MODULE:FACTORY` returns, called without arguments; the working folder is looked in for the module, too.

    Raises:
        ConversionError: no such module or factory, or it failed.
    """
    module_name, colon, name = factory.partition(":")
    if not colon or not module_name or not name:
        raise ConversionError(f"{factory!r}: not MODULE:FACTORY: write for example my_network:make")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        made = getattr(importlib.import_module(module_name), name)()
    except (Exception, SystemExit) as problem:  # a person's code may raise anything, and must not end the command as if all were well
        raise ConversionError(f"{factory}: {type(problem).__name__}: {first_line(problem)}: mend the factory") from problem
    return made


def network_from(factory: str, checkpoint: Path | None) -> nn.Module:
    """The network of a factory, filled from a checkpoint, ready to infer. The checkpoint is read before the factory is imported.

    Raises:
        ConversionError: the checkpoint holds code or is damaged, does not fit, or holds numbers that are none.
    """
    state = None if checkpoint is None else load_state(checkpoint)
    network = made_by(factory)
    if not isinstance(network, nn.Module):
        raise ConversionError(f"{factory}: it gave a {type(network).__name__}: return a torch.nn.Module")
    if state is not None:
        fill(network, state, str(checkpoint))
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ConversionError(f"{checkpoint or factory}: {name} holds NaN or infinity: take an earlier checkpoint")
    return network.eval()


def fill(network: nn.Module, state: State, where: str) -> None:
    """Put the weights into the network, all of them and no others.

    Raises:
        ConversionError: names or shapes differ; the first are told.
    """
    own = network.state_dict()
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state) and not set(state) & set(own):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    missing, strange = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    shapes = [name for name in own if name in state and own[name].shape != state[name].shape]
    if missing or strange or shapes:
        told = "; ".join(
            f"{what} {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"
            for what, names in (("it lacks", missing), ("the network lacks", strange), ("of another shape:", shapes))
            if names
        )
        raise ConversionError(f"{where}: it is not of this network ({told}): name the factory that the checkpoint was trained with")
    network.load_state_dict(state)


def load_state(path: Path) -> State:
    """The weights in a checkpoint, by name. Nothing in the file is run.

    Raises:
        ConversionError: no such file, too large, damaged, no weights in it, or a pickle with code.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConversionError(f"{path}: no plain file: name a checkpoint")
            if status.st_size > MAX_BYTES:
                raise ConversionError(f"{path}: larger than {MAX_BYTES >> 30} GiB: {RETRAIN}")
            content = file.read(status.st_size)
    except OSError as problem:
        raise ConversionError(f"{path}: {problem.strerror or problem}: name a checkpoint that may be read") from problem
    if looks_safetensors(content):
        return read_safetensors(content, str(path))
    _check_archive(content, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a foreign pickle it warns, and then refuses it
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        called = re.search(r"(?:GLOBAL|Unsupported (?:class|global):?)\s+(?:GLOBAL\s+)?([\w.]+)", str(problem))
        if called:
            raise ConversionError(f"{path}: a pickle that would run {called[1]}: do not trust it; {RETRAIN}") from problem
        raise ConversionError(f"{path}: a pickle with more than weights in it, or damaged: {RETRAIN}") from problem
    except Exception as problem:  # what is damaged makes zip reader and unpickler raise nearly anything
        raise ConversionError(f"{path}: damaged, or no checkpoint ({first_line(problem)}): {RETRAIN}") from problem
    return _weights(loaded, path)


def _without_waiting(path: str, flags: int) -> int:
    """Opens a pipe, too, without waiting for who writes."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check_archive(content: bytes, path: Path) -> None:
    """PyTorch does not look at checksums, nor at how large the parts become."""
    if not content.startswith(b"PK\3\4"):
        return  # the form before archives: a plain pickle, which weights-only loading reads as well
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(part.file_size for part in archive.infolist()) > MAX_BYTES:
                raise ConversionError(f"{path}: its parts are larger than {MAX_BYTES >> 30} GiB: {RETRAIN}")
            damaged = archive.testzip()
    except ConversionError:
        raise
    except Exception as problem:  # a damaged archive raises what its parts raise
        raise ConversionError(f"{path}: damaged ({first_line(problem)}): copy it again") from problem
    if damaged is not None:
        raise ConversionError(f"{path}: damaged (the checksum of {damaged} is wrong): copy it again")


def _weights(loaded: object, path: Path) -> State:
    """The dictionary of tensors in what was loaded: it itself, or under one of the usual keys, two deep at most."""
    candidates = [loaded]
    for _ in range(2):
        for candidate in candidates:
            if isinstance(candidate, Mapping) and candidate and all(isinstance(k, str) for k in candidate):
                tensors = {name: value for name, value in candidate.items() if isinstance(value, Tensor)}
                if len(tensors) == len(candidate):
                    return tensors
        candidates = [c[key] for c in candidates if isinstance(c, Mapping) for key in NESTED if isinstance(c.get(key), Mapping)]
    for candidate in candidates:
        if isinstance(candidate, Mapping) and candidate and all(isinstance(v, Tensor) for v in candidate.values()):
            return {str(name): value for name, value in candidate.items()}
    raise ConversionError(f"{path}: no weights at its top nor under {', '.join(NESTED)}: {RETRAIN}")


def looks_safetensors(content: bytes) -> bool:
    """Whether the bytes begin as a safetensors file: the header's length, then a JSON object."""
    if len(content) < 9:
        return False
    (length,) = struct.unpack_from("<Q", content)
    return 2 <= length <= min(MAX_HEADER_BYTES, len(content) - 8) and content[8:9] == b"{"


def read_safetensors(content: bytes, where: str) -> State:
    """The tensors of a safetensors file (8 bytes of header length, JSON header, raw little-endian data).

    Raises:
        ConversionError: the header is no such header, or points outside the data.
    """
    remedy = "copy it again"
    try:
        (length,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + length])
        data = memoryview(content)[8 + length :]
        tensors: State = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            kind, shape = SAFE_TYPES[entry["dtype"]], entry["shape"]
            begin, end = entry["data_offsets"]
            if not all(type(side) is int and 0 <= side < 2**40 for side in (*shape, begin, end)) or len(shape) > 8:
                raise ValueError(f"{name}: sides and offsets are whole numbers")
            if not begin <= end <= len(data) or end - begin != math.prod(shape) * kind.itemsize:
                raise ValueError(f"{name}: its data lie outside the file, or are of another size")
            raw = torch.frombuffer(bytearray(data[begin:end]), dtype=kind) if end > begin else torch.zeros(0, dtype=kind)
            tensors[name] = raw.reshape(shape)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RuntimeError, struct.error) as problem:
        raise ConversionError(f"{where}: not a safetensors file ({type(problem).__name__}: {first_line(problem)}): {remedy}") from problem
    if not tensors:
        raise ConversionError(f"{where}: no weights in it: {remedy}")
    return tensors


def first_line(problem: BaseException) -> str:
    """The first line of what an exception says, at most 300 characters."""
    return str(problem).strip().partition("\n")[0][:300]


def first_cause(problem: BaseException) -> BaseException:
    """The exception that began a chain of them."""
    seen = {id(problem)}
    while (earlier := problem.__cause__ or problem.__context__) is not None and id(earlier) not in seen:
        problem = earlier
        seen.add(id(problem))
    return problem
