"""What goes into the networks of each role and what comes out, by names, element types and numbers of sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runtime.bundles.parts import Golden, PictureInput, Variant
from runtime.bundles.roles import ConditionsRole, ForecastRole, RefinerRole, Role, SegmenterRole, SeverityRole, StageRole

FLOAT32, UINT8, INT64 = 1, 2, 7  # TensorProto.DataType
NUMPY: Final = {FLOAT32: "float32", UINT8: "uint8", INT64: "int64"}


@dataclass(frozen=True)
class Interface:
    """Inputs: element type and number of sides by name, exactly these. Outputs: the names that must be there."""

    inputs: Mapping[str, tuple[int, int]]
    outputs: frozenset[str]


DECODER: Final = Interface(
    {"embedding": (FLOAT32, 4), "point_coords": (FLOAT32, 3), "point_labels": (FLOAT32, 2)}, frozenset({"masks", "iou"})
)
"""Of a refiner of kind points."""


@dataclass(frozen=True)
class Network:
    """One network of a role: what it is called beside others of the role ("" for `Role.model`), its files, and its golden data."""

    label: str
    model: str
    variants: tuple[Variant, ...]
    golden: Golden
    interface: Interface


def networks_of(role: Role) -> tuple[Network, ...]:
    """Every network that `role` needs, the main one first."""
    main = Network("", role.model, role.variants, role.golden, interface_of(role))
    if isinstance(role, RefinerRole) and role.decoder is not None and role.decoder_golden is not None:
        return main, Network("decoder", role.decoder, (), role.decoder_golden, DECODER)
    return (main,)


def interface_of(role: Role) -> Interface:
    """What the network of `role` must take and give, in every precision; of a refiner of kind points, its encoder."""
    if isinstance(role, RefinerRole):
        picture = {role.input.name: (UINT8, 4)}
        if role.kind == "points":
            return Interface(picture, frozenset({"embedding"}))
        return Interface({**picture, "prompts": (FLOAT32, 4)}, frozenset({"masks", "iou"}))
    if isinstance(role, SegmenterRole):
        return Interface({role.input.name: (UINT8, 4)}, frozenset({"hair", "marks", "features"}))
    if isinstance(role, SeverityRole):
        return Interface({role.input: (FLOAT32, 2)}, frozenset({"probabilities"}))
    if isinstance(role, ConditionsRole):
        return Interface({role.picture.name: (_kind(role.picture), 4)}, frozenset({"presence", "grades"}))
    if isinstance(role, ForecastRole):
        inputs = {"records": (FLOAT32, 3)}
        if role.picture is not None:
            inputs[role.picture.name] = (_kind(role.picture), 4)
        if role.markers:
            inputs["markers"] = (INT64, 2)
        return Interface(inputs, frozenset({"probabilities"}))
    if isinstance(role, StageRole):
        return Interface({role.picture.name: (_kind(role.picture), 5), "present": (FLOAT32, 2)}, frozenset({"probabilities", "attention"}))
    raise TypeError(f"{type(role).__name__} is no role that is known here")


def _kind(picture: PictureInput) -> int:
    return UINT8 if picture.dtype == "uint8" else FLOAT32
