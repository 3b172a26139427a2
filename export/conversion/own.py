"""A person's own network as a part of a bundle: how its pictures are fed, golden data from rendered frames, and the fields they give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from device.simulated.scene import render_frame
from export.conversion.golden import golden_of
from export.conversion.part import MODELS, RolePart, role_of
from export.conversion.torch_graph import TensorSpec
from export.errors import ConversionError
from runtime.bundles.manifest import MAX_MANIFEST_BYTES
from runtime.bundles.parts import PictureInput
from runtime.bundles.roles import RoleName
from runtime.inference.pictures import picture_tensor

GOLDEN_CASES = 4
GOLDEN_SEED = 2**32 - 100  # beyond what any training draws

Triple = tuple[float, float, float]


def picture_input(
    inputs: Sequence[TensorSpec],
    *,
    colour: Literal["BGR", "RGB"],
    layout: Literal["NHWC", "NCHW"],
    resize: Literal["stretch", "crop"],
    scale: float,
    mean: Triple,
    std: Triple,
) -> PictureInput | None:
    """How a picture becomes the first input of four axes; None where no input has four.

    Raises:
        ConversionError: that input has not three colours in this layout, or a uint8 one is to be normalised.
    """
    spec = next((spec for spec in inputs if len(spec.shape) == 4), None)
    if spec is None:
        return None
    channels, height, width = (spec.shape[1], spec.shape[2], spec.shape[3]) if layout == "NCHW" else (spec.shape[3], *spec.shape[1:3])
    if channels != 3:
        raise ConversionError(f"--input {spec.name}: {channels} colours in {layout}, 3 make a picture: choose the other --layout")
    try:
        return PictureInput.model_validate(
            {
                "name": spec.name,
                "colour": colour,
                "layout": layout,
                "dtype": spec.dtype,
                "width": width,
                "height": height,
                "resize": resize,
                "scale": scale,
                "mean": mean,
                "std": std,
            }
        )
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the picture"
        raise ConversionError(f"--input {spec.name}: {key}: {first['msg']}: give other options") from problem


def golden_inputs(inputs: Sequence[TensorSpec], picture: PictureInput | None) -> list[dict[str, NDArray[Any]]]:
    """GOLDEN_CASES inputs: rendered frames as the network takes them; other inputs are drawn at random."""
    rng = np.random.default_rng(GOLDEN_SEED)
    cases = []
    for number in range(GOLDEN_CASES):
        case: dict[str, NDArray[Any]] = {}
        for spec in inputs:
            if picture is not None and spec.name == picture.name:
                frame = render_frame(GOLDEN_SEED + number, width=320, height=240, kind=("easy", "realistic")[number % 2]).image
                case[spec.name] = np.repeat(picture_tensor(frame, picture), spec.shape[0], 0)
            elif spec.dtype == "float32":
                case[spec.name] = rng.normal(0, 1, spec.shape).astype(np.float32)
            else:
                case[spec.name] = rng.integers(0, 2, spec.shape).astype(spec.dtype)
        cases.append(case)
    return cases


def own_part(
    role: RoleName,
    model: bytes,
    inputs: Sequence[TensorSpec],
    picture: PictureInput | None,
    fields: Mapping[str, Any],
    *,
    metrics: Mapping[str, float],
) -> RolePart:
    """The part of a person's network for `role`; `fields` are those of the role's manifest entry that nothing here can know.

    Raises:
        ConversionError: fields are missing or wrong.
    """
    golden_file, model_file = f"{role}.npz", f"{role}.onnx"
    golden, data = golden_of(
        golden_file, model, golden_inputs(inputs, picture), end={} if role in ("segmenter", "teacher", "refiner") else {role: 0.0}
    )
    known: dict[str, Any] = {"model": model_file, "golden": golden.model_dump(mode="json"), "metrics": dict(metrics)}
    if picture is not None and "picture" in MODELS[role].model_fields:
        known["picture"] = picture.model_dump(mode="json")
    name, made = role_of(role, known | dict(fields), "--fields")
    return RolePart(name, made, {model_file: model, golden_file: data})


def read_fields(path: Path | None) -> dict[str, Any]:
    """The JSON object of a file, small; empty where no file is named.

    Raises:
        ConversionError: it cannot be read, or is no JSON object.
    """
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            text = file.read(MAX_MANIFEST_BYTES + 1)
        found = json.loads(text) if len(text) <= MAX_MANIFEST_BYTES else None
    except OSError as problem:
        raise ConversionError(f"{path}: {problem.strerror or problem}: name a file that may be read") from problem
    except (ValueError, RecursionError) as problem:
        raise ConversionError(f"{path}: not valid JSON ({problem}): mend it") from problem
    if not isinstance(found, dict):
        raise ConversionError(f"{path}: no JSON object: write the fields of the role, as in a manifest")
    return found
