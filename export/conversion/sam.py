"""A checkpoint of the SAM family as a refiner of kind "points": encoder and decoder as ONNX, proven against PyTorch, with golden data.

The checkpoint is the user's: of SAM by the names of the `segment-anything` package, or of MobileSAM by those of its own. A bundle's
files are at most MAX_FILE_BYTES, which MobileSAM alone keeps. The pair of larger kinds can be had as two files, which are for other
programs: nothing here runs a refiner that is in no bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from device.simulated.scene import RenderedFrame, render_frame
from export.conversion.golden import FP32_TOLERANCE, golden_cases
from export.conversion.halves import half_graph
from export.conversion.onnx_graph import to_onnx
from export.conversion.part import RolePart, as_bundle
from export.conversion.sam_weights import Checkpoint
from export.conversion.torch_graph import TOLERANCE, TensorSpec, network_onnx
from export.errors import ConversionError
from export.networks.sam.layers import EMBEDDING as CHANNELS
from export.networks.sam.model import MEAN, STD, Kind, Sam
from runtime.bundles.golden import GoldenCase, pack
from runtime.bundles.parts import FP32_MOST, MAX_FILE_BYTES, Golden, ModelCard, Tolerance, Variant
from runtime.bundles.proof import prove
from runtime.bundles.roles import InputSpec, Preprocessing, RefinerRole
from runtime.inference.onnx import OnnxBackend
from runtime.refining.points import COORDS, EMBEDDING, IOU, LABELS, MASKS, in_square, point_groups
from runtime.refining.prompts import Prompts, automatic_prompts

ENCODER, DECODER, HALF_ENCODER = "refiner.onnx", "refiner-decoder.onnx", "refiner.fp16.onnx"
GOLDEN, DECODER_GOLDEN = "refiner.golden.npz", "refiner-decoder.golden.npz"
PICTURE = "picture"
LARGEST_ONNX = (1 << 31) - 1
"""Bytes of a protocol buffer: no ONNX file that holds its own weights is larger."""
GOLDEN_SEED = 2**32 - 200  # beyond what any training draws
COARSE = 2.0**-6
"""The decoder's golden embedding is rounded to this: an input as good as any, and a file half as large."""
HALF_APART = 0.05
"""How far an embedding in half precision may be from the reference's, of its largest value."""
HALF_ROOM = 2.0
DICE_CHANGE = 0.01
STEPS = 5
"""Of a conversion: how often `Told` is called at most."""

Precision = Literal["fp32", "fp16"]
Told = Callable[[str], None]
DESCRIPTION = "Finds the hair at which points lie: a network of the SAM family ({kind}), encoder and decoder."
LIMITS = (
    "Taught by its publisher on pictures of every kind, none of them of the scalp through a microscope, or by whoever tuned the "
    "checkpoint; not validated on real labels here. Its masks have a quarter of the resolution of the square that it looks at, so that "
    "thin hair comes out too wide or not at all. It answers what the points say: wrong points make wrong masks."
)


@dataclass(frozen=True, eq=False)
class Pair:
    """Encoder and decoder as ONNX bytes, and the greatest difference of each output from PyTorch, relative to its scale."""

    encoder: bytes
    decoder: bytes
    parity: dict[str, float]


class EncoderGraph(nn.Module):
    """uint8 (1, side, side, 3) BGR to the embedding (1, CHANNELS, grid, grid)."""

    def __init__(self, network: Sam) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> Tensor:
        bgr = picture.permute(0, 3, 1, 2).float()
        mean, std = (torch.tensor(values[::-1]).reshape(1, 3, 1, 1) for values in (MEAN, STD))
        return self.network.embed(((bgr - mean) / std)[:, [2, 1, 0]])


class DecoderGraph(nn.Module):
    """The embedding and b batches of n points to masks (b, 4, 4 grid, 4 grid), logits, and their predicted IoU (b, 4)."""

    def __init__(self, network: Sam) -> None:
        super().__init__()
        self.network = network

    def forward(self, embedding: Tensor, point_coords: Tensor, point_labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.decode(embedding, point_coords, point_labels)


def check_size(kind: Kind, *, bundled: bool) -> None:
    """Whether a kind's encoder fits where it is to go: to be asked before anything is read.

    Raises:
        ConversionError: it is larger than one ONNX file can be, or than a bundle's file may be; which kinds fit is told.
    """
    with torch.device("meta"):
        size = 4 * sum(tensor.numel() for tensor in Sam(kind).image_encoder.parameters())
    if size > LARGEST_ONNX:
        raise ConversionError(
            f"{kind}: its encoder has {size / 1e9:.1f} GB of weights, one ONNX file can hold 2.1 GB: take vit_l, vit_b or mobile"
        )
    if bundled and size > MAX_FILE_BYTES:
        raise ConversionError(
            f"{kind}: its encoder has {size / 1e6:.0f} MB of weights (half of it as fp16), a file of a bundle has at most "
            f"{MAX_FILE_BYTES / 1e6:.0f} MB: convert MobileSAM for a bundle, or name --out NAME.onnx for the pair alone, which other "
            "programs can run and this one does not"
        )


def encoder_onnx(network: Sam) -> bytes:
    """The encoder's ONNX file. Raises ConversionError where the graph is not valid."""
    example = torch.zeros((1, network.side, network.side, 3), dtype=torch.uint8)
    return to_onnx(EncoderGraph(network).eval(), example, PICTURE, (EMBEDDING,), {})  # one run of it: the larger kinds take a minute each


def decoder_onnx(network: Sam) -> bytes:
    """The decoder's ONNX file, for any number of batches and of points. Raises ConversionError where the graph is not valid."""
    given = [
        TensorSpec(EMBEDDING, (1, CHANNELS, network.grid, network.grid)),
        TensorSpec(COORDS, (2, 3, 2)),
        TensorSpec(LABELS, (2, 3)),
    ]
    axes = {COORDS: {0: "batch", 1: "points"}, LABELS: {0: "batch", 1: "points"}}
    return network_onnx(DecoderGraph(network), given, (MASKS, IOU), axes=axes, exporter="tracing")


def sam_pair(network: Sam, *, told: Told = lambda _: None) -> Pair:
    """Both graphs of a filled network, proven.

    Raises:
        ConversionError: a graph is not valid, or does not give the network's numbers.
    """
    network = network.eval()
    told("encoder")
    encoder = encoder_onnx(network)
    told("decoder")
    decoder = decoder_onnx(network)
    told("parity with PyTorch")
    return Pair(encoder, decoder, sam_parity(network, encoder, decoder))


@torch.no_grad()
def sam_parity(network: Sam, encoder: bytes, decoder: bytes) -> dict[str, float]:
    """The largest |ONNX Runtime − PyTorch| of each output relative to its scale: a rendered frame, and points in several numbers.

    Raises:
        ConversionError: a difference above TOLERANCE, another shape, or numbers that are none.
    """
    network = network.eval()
    picture = _picture(network.side)[PICTURE]
    worst: dict[str, float] = {}
    wanted = EncoderGraph(network)(torch.from_numpy(picture))
    with OnnxBackend(encoder, name="parity") as backend:
        _compare(worst, {EMBEDDING: wanted}, backend.infer({PICTURE: picture}))
    rng = np.random.default_rng(0)
    with OnnxBackend(decoder, name="parity") as backend:
        for batches, points in ((1, 1), (2, 7), (1, 129)):
            coords = rng.uniform(0, network.side, (batches, points, 2)).astype(np.float32)
            labels = rng.integers(-1, 2, (batches, points)).astype(np.float32)
            given = {EMBEDDING: wanted.numpy(), COORDS: coords, LABELS: labels}
            answer = network.decode(wanted, torch.from_numpy(coords), torch.from_numpy(labels))
            _compare(worst, dict(zip((MASKS, IOU), answer, strict=True)), backend.infer(given))
    beyond = {name: value for name, value in worst.items() if not value <= TOLERANCE}
    if beyond:
        raise ConversionError(f"parity: {beyond} above {TOLERANCE}: the graph does not give the network's numbers")
    return worst


def half_pair(pair: Pair) -> Pair:
    """Both graphs in half precision, half as large, with how far their outputs are from the reference's on a rendered frame.

    Raises:
        ConversionError: the embedding is further off than HALF_APART of its scale.
    """
    encoder, decoder = half_graph(pair.encoder), half_graph(pair.decoder)
    side = _side(pair.encoder)
    (expected,) = golden_cases(pair.encoder, [_picture(side)])
    with OnnxBackend(encoder, name="half") as backend:
        apart = _apart(expected.outputs[EMBEDDING], backend.infer(expected.inputs)[EMBEDDING])
    if not apart <= HALF_APART:
        raise ConversionError(f"fp16: the embedding is off by {apart:.3g} of its scale, {HALF_APART} are taken: convert it as fp32")
    return Pair(encoder, decoder, {**pair.parity, f"fp16_{EMBEDDING}": apart})


def sam_part(
    checkpoint: Checkpoint,
    *,
    precision: Precision = "fp32",
    combination: Literal["and", "weighed"] = "and",
    use: bool = False,
    told: Told = lambda _: None,
) -> RolePart:
    """The part of a bundle that a checkpoint makes: role `refiner`, kind "points".

    Args:
        precision: "fp16" adds the encoder in half precision beside the reference.
        combination, use: as `RefinerRole` has them.

    Raises:
        ConversionError: see `check_size`, `sam_pair` and `half_pair`; the part does not prove itself.
    """
    network = checkpoint.network
    check_size(checkpoint.kind, bundled=True)
    pair = sam_pair(network, told=told)
    told("golden data")
    (encoded,) = golden_cases(pair.encoder, [_picture(network.side)])
    (decoded,) = golden_cases(pair.decoder, [_points(network.side, encoded)])
    content = {ENCODER: pair.encoder, DECODER: pair.decoder, GOLDEN: pack([encoded]), DECODER_GOLDEN: pack([decoded])}
    variants: Sequence[Variant] = ()
    if precision == "fp16":
        halves = half_pair(pair)
        largest = float(np.abs(encoded.outputs[EMBEDDING]).max())
        allowed = float(f"{HALF_ROOM * halves.parity[f'fp16_{EMBEDDING}'] * largest:.2g}")
        held = (Tolerance(output=EMBEDDING, absolute=allowed),)
        variants = (Variant(precision="fp16", model=HALF_ENCODER, tolerances=held),)
        content[HALF_ENCODER] = halves.encoder
    side = network.side
    role = RefinerRole(
        kind="points",
        model=ENCODER,
        decoder=DECODER,
        variants=tuple(variants),
        golden=_golden(GOLDEN, encoded),
        decoder_golden=_golden(DECODER_GOLDEN, decoded, dice=DICE_CHANGE),
        card=_card(checkpoint),
        metrics={f"parity_{name}": round(value, 9) for name, value in pair.parity.items()},
        input=InputSpec(name=PICTURE, colour="BGR", layout="NHWC", dtype="uint8", stride=side, min_side=side),
        preprocessing=Preprocessing(longest_side=side, padding="mean", normalised_in_graph=True),
        threshold=0.5,
        prompts="skeleton+complement",
        combination=combination,
        use=use,
    )
    part = RolePart("refiner", role, content)
    prove(as_bundle(part)).require()
    if variants:
        prove(as_bundle(part), precision="fp16").require()
    return part


def _card(checkpoint: Checkpoint) -> ModelCard:
    kind = checkpoint.kind
    return ModelCard(
        description=DESCRIPTION.format(kind="MobileSAM" if kind == "mobile" else f"SAM {kind}"),
        recipe={"kind": kind, "side_px": checkpoint.network.side, "checkpoint_sha256": checkpoint.sha256},
        seed=0,
        steps=0,
        seconds=0.0,
        machine="not trained here",
        trained_on="not known here: the user's checkpoint; those that were published with the papers are of SA-1B, or a part of it",
        validated_on_real_labels=False,
        licence="that of the user's checkpoint; those that were published with the papers are under Apache-2.0",
        repeat=f"trichoscope-export convert sam CHECKPOINT --kind {kind} --side {checkpoint.network.side} --out PART",
        limits=LIMITS,
    )


def _frame() -> RenderedFrame:
    return render_frame(GOLDEN_SEED, width=640, height=480, kind="realistic")


def _picture(side: int) -> dict[str, NDArray[Any]]:
    """The encoder's golden input."""
    return {PICTURE: in_square(_frame().image, side)[0]}


def _points(side: int, encoded: GoldenCase) -> dict[str, NDArray[Any]]:
    """The decoder's golden input: the first batch of points of the rendered frame's true mask, on its embedding."""
    frame = _frame()
    _, rows, columns = in_square(frame.image, side)
    height, width = frame.mask.shape
    prompts: Prompts = automatic_prompts(frame.mask).scaled(columns / width, rows / height)
    coords, labels = next(point_groups(prompts))
    embedding = np.asarray(np.rint(encoded.outputs[EMBEDDING] / COARSE) * COARSE, np.float32)
    return {EMBEDDING: embedding, COORDS: coords, LABELS: labels}


def _golden(file: str, case: GoldenCase, *, dice: float | None = None) -> Golden:
    """Each output is held to FP32_TOLERANCE of its scale: logits may be large."""
    tolerances = tuple(
        Tolerance(
            output=name,
            absolute=min(FP32_MOST, float(f"{FP32_TOLERANCE * max(1.0, float(np.abs(values).max())):.2g}")),
            relative=FP32_TOLERANCE,
        )
        for name, values in sorted(case.outputs.items())
    )
    return Golden(file=file, tolerances=tolerances, end={} if dice is None else {"dice": dice})


def _compare(worst: dict[str, float], wanted: dict[str, Tensor], found: dict[str, NDArray[Any]]) -> None:
    for name, tensor in wanted.items():
        expected = tensor.numpy()
        if found[name].shape != expected.shape:
            raise ConversionError(f"parity: {name}: shape {found[name].shape} where the network gives {expected.shape}")
        if not np.isfinite(expected).all():
            raise ConversionError(f"parity: {name}: the network gives NaN or infinity on a rendered frame: take another checkpoint")
        worst[name] = max(worst.get(name, 0.0), _apart(expected, found[name]))


def _apart(expected: NDArray[Any], found: NDArray[Any]) -> float:
    """The greatest difference, of the scale of what was expected (of one at least)."""
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    return float(difference.max()) / max(1.0, float(np.abs(expected).max()))


def _side(encoder: bytes) -> int:
    import onnx

    (picture,) = onnx.load_from_string(encoder).graph.input
    return int(picture.type.tensor_type.shape.dim[1].dim_value)
