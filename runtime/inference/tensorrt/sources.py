"""Which of a bundle's networks TensorRT gets for a role, and with which options: the same for who builds an engine and who runs it."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.bundles.parts import PictureInput, Precision
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import ConditionsRole, Role, RoleName, SegmenterRole, StageRole
from runtime.inference.errors import InferenceError
from runtime.inference.tensorrt.options import BuildOptions, EnginePrecision, Shapes

ROLES: tuple[RoleName, ...] = ("segmenter",)
"""The live picture's. The others are asked a few times a visit and take a processor some milliseconds: not worth an engine's memory."""
USUAL_SIZE = (480, 640)
MOST_PICTURES = 4  # of one head or site, looked at in one call
VARIANTS: dict[EnginePrecision, Precision] = {"fp32": "fp32", "fp16": "fp16", "int8": "int8-symmetric"}


@dataclass(frozen=True)
class EngineSource:
    """What an engine of a role is built from.

    Attributes:
        file, model: the network's file in the bundle, and its bytes.
        proven_as: the precision whose tolerances its numbers are held to.
    """

    role: RoleName
    file: str
    model: bytes
    options: BuildOptions
    proven_as: Precision


def engine_source(bundle: Bundle, name: RoleName, *, precision: EnginePrecision | None = None, weak: bool = False) -> EngineSource:
    """The network of a role in a precision, None for fp16 where the bundle has it and fp32 where not.

    With `weak`, TensorRT 10 chooses the precision layer by layer: fp16 is then made from the fp32 reference.

    Raises:
        InferenceError: the bundle has no such role or no such network, or the role is none for TensorRT.
    """
    role = bundle.manifest.roles.present().get(name)
    if role is None or name not in ROLES:
        why = "the bundle has no such role" if role is None else "not a role for TensorRT"
        raise InferenceError(f"{bundle.id}: {name}: {why}: choose among {', '.join(roles_of(bundle)) or 'those of another bundle'}")
    files = {variant.precision: variant.model for variant in role.variants} | {"fp32": role.model}
    if precision is None:
        precision = "fp16" if "fp16" in files else "fp32"
    held_to = VARIANTS[precision]
    file = files["fp32"] if weak and precision == "fp16" else files.get(held_to)
    if file is None:
        raise InferenceError(
            f"{bundle.id}: {name}: it has no {held_to} network: choose another precision, or make it with `trichoscope-export quantise`"
        )
    options = BuildOptions(precision=precision, typing="weak" if weak else "strong", shapes=_shapes(role), max_batch=MOST_PICTURES)
    return EngineSource(name, file, bundle.content[file], options, held_to if held_to in files else "fp32")


def roles_of(bundle: Bundle) -> tuple[RoleName, ...]:
    """The bundle's roles that TensorRT may run."""
    return tuple(name for name in bundle.manifest.roles.present() if name in ROLES)


def _shapes(role: Role) -> dict[str, Shapes]:
    """Least, usual and greatest shape of each input that the manifest describes."""
    if isinstance(role, SegmenterRole):
        least, most = (_up(side, role.input.stride) for side in (role.input.min_side, role.preprocessing.longest_side))
        height, width = (min(max(_up(side, role.input.stride), least), most) for side in USUAL_SIZE)
        return {role.input.name: ((1, least, least, 3), (1, height, width, 3), (1, max(least, most), max(least, most), 3))}
    if isinstance(role, ConditionsRole):
        return {role.picture.name: ((1, *_picture(role.picture)), (1, *_picture(role.picture)), (MOST_PICTURES, *_picture(role.picture)))}
    if isinstance(role, StageRole):
        whole = (1, len(role.views), *_picture(role.picture))
        present = (1, len(role.views))
        return {role.picture.name: (whole, whole, whole), "present": (present, present, present)}
    return {}


def _picture(picture: PictureInput) -> tuple[int, ...]:
    sides = (picture.height, picture.width)
    return (*sides, 3) if picture.layout == "NHWC" else (3, *sides)


def _up(side: int, stride: int) -> int:
    return -(-side // stride) * stride
