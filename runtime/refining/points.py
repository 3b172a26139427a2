"""Refiners of SAM's family: one network looks at the picture once, a second answers points on it with masks.

The picture is enlarged or reduced until its longest side is the square's, put into the square's upper left corner, and the rest is
filled with the mean colour that the encoder takes away: after normalisation it is zero within a hundredth, as SAM's own padding is.

Hair is one mask of everything, which ScalpVision asks for by all points at once. A decoder's attention grows with its points, and it
was never taught with hundreds: so the positive points are dealt in turn to batches of at most GROUP, each of which sees hair all over
the picture and at most GROUP negative points, evenly drawn; of each answer the mask with the highest predicted IoU is taken, and the
masks are joined by the maximum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.bundles.errors import BundleError
from runtime.bundles.graph import Value, read_graph
from runtime.bundles.reader import Bundle
from runtime.inference.backend import Array, as_float32
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.refining.prompts import Prompts
from runtime.refining.refiner import Refined, why_not_asked

Float = NDArray[np.float32]
Sides = tuple[int | None, ...]
EMBEDDING, COORDS, LABELS, MASKS, IOU = "embedding", "point_coords", "point_labels", "masks", "iou"
ON, OFF, NO_POINT = 1.0, 0.0, -1.0
"""Labels of points."""
FINER = 4
"""How many times finer masks are than the embedding."""
FILLED = (104, 116, 124)
"""Blue, green and red beside the picture: SAM's mean colour, (103.53, 116.28, 123.675), as bytes."""
GROUP, MOST_GROUPS = 64, 32
"""Points of either kind in a batch, and batches: of more than 2048 positive points evenly spaced ones are asked."""
MOST_MASKS = 16
LARGEST_LOGIT = 60.0  # beyond it a probability is 0 or 1
FLOAT32, UINT8 = 1, 2  # TensorProto.DataType


@dataclass(frozen=True, eq=False)
class PointFiles:
    """A pair of networks outside a bundle, for the workstation: ONNX bytes; `picture` is the encoder's input."""

    name: str
    encoder: bytes
    decoder: bytes
    picture: str = "picture"


@dataclass(frozen=True)
class PointShapes:
    """What the two graphs agree on: side of the square in px, channels and side of the embedding."""

    side: int
    channels: int
    grid: int


class PointsRefiner:
    """A bundle's refiner of the kind "points", or a pair of files. Used by one thread at a time; ready when made.

    Args:
        threads: computing threads of each of the two backends, which never run at once.

    Raises:
        BundleError: the bundle has no such refiner, its decoder does not fit its encoder, or they do not do what the manifest says.
    """

    def __init__(self, source: Bundle | PointFiles, *, threads: int) -> None:
        files, promised = (source, None) if isinstance(source, PointFiles) else _of_bundle(source)
        self._name, self._picture = files.name, files.picture
        self._shapes = shapes_of(files)
        if promised not in (None, self._shapes.side):
            raise BundleError(
                f"{self._name}: the encoder takes pictures of {self._shapes.side} px, the manifest says {promised}: make the bundle again"
            )
        self._encoder = OnnxBackend(files.encoder, name=f"{self._name} encoder", threads=threads)
        self._decoder = OnnxBackend(files.decoder, name=f"{self._name} decoder", threads=threads)
        try:
            self._encoder.activate()
            self._decoder.activate()
            self._try_out()
        except InferenceError as problem:
            self.close()
            raise BundleError(f"{problem}: install the bundle again") from problem

    @property
    def name(self) -> str:
        """The bundle's id."""
        return self._name

    @property
    def side(self) -> int:
        """Of the square that pictures are put into, px."""
        return self._shapes.side

    def cancel(self) -> None:
        """What is computed is no longer wanted: it raises InferenceError as soon as it can, as all does until `resume`. Any thread."""
        self._encoder.cancel()
        self._decoder.cancel()

    def resume(self) -> None:
        """Take work again after `cancel`."""
        self._encoder.resume()
        self._decoder.resume()

    def close(self) -> None:
        """Give the memory and threads of both networks back; the refiner is of no use afterwards."""
        self._encoder.deactivate()
        self._decoder.deactivate()

    def __enter__(self) -> PointsRefiner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def refine(self, image: NDArray[np.uint8], prompts: Prompts) -> Refined:
        """The hair in `image`, uint8 (height, width, 3) BGR, at which `prompts` point; the predicted IoU is the mean of the batches'.

        Raises:
            InferenceError: a backend failed, answered in another form than promised or with what are no numbers, or there is no positive
                prompt.
        """
        if (reason := why_not_asked(prompts)) is not None:
            raise InferenceError(f"{self._name}: not asked: {reason}")
        picture, rows, columns = in_square(image, self.side)
        height, width = image.shape[:2]
        embedding = self._embedding(picture)
        joined: Float | None = None
        expected = []
        for coords, labels in point_groups(prompts.scaled(columns / width, rows / height)):
            mask, iou = self._answer(embedding, coords, labels)
            joined = mask if joined is None else np.maximum(joined, mask)
            expected.append(iou)
        assert joined is not None  # there is a positive prompt
        whole = cv2.resize(joined, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        logits = cv2.resize(np.ascontiguousarray(whole[:rows, :columns]), (width, height), interpolation=cv2.INTER_LINEAR)
        bounded = np.clip(logits, -LARGEST_LOGIT, LARGEST_LOGIT)
        return Refined(np.asarray(1 / (1 + np.exp(-bounded)), np.float32), float(np.clip(np.mean(expected), 0, 1)))

    def _embedding(self, picture: NDArray[np.uint8]) -> Float:
        """Of a square picture uint8 (1, side, side, 3): float32 (1, channels, grid, grid)."""
        shapes = self._shapes
        found = self._encoder.infer({self._picture: picture}).get(EMBEDDING)
        return self._promised(EMBEDDING, found, (1, shapes.channels, shapes.grid, shapes.grid))

    def _answer(self, embedding: Float, coords: Float, labels: Float) -> tuple[Float, float]:
        """The mask that is predicted to be the best for one batch of points, logits (FINER · grid, FINER · grid), and its predicted IoU."""
        found = self._decoder.infer({EMBEDDING: embedding, COORDS: coords, LABELS: labels})
        side = FINER * self._shapes.grid
        given = found.get(IOU)
        count = min(MOST_MASKS, max(1, given.size)) if given is not None else 1
        iou = self._promised(IOU, given, (1, count))[0]
        masks = self._promised(MASKS, found.get(MASKS), (1, count, side, side))[0]
        best = int(np.argmax(iou))
        return masks[best], float(iou[best])

    def _promised(self, output: str, found: Array | None, shape: tuple[int, ...]) -> Float:
        if found is None or found.shape != shape or found.dtype.kind != "f":
            there = "missing" if found is None else f"{found.dtype} {found.shape}"
            raise InferenceError(f"{self._name}: output {output!r} is {there}, float {shape} was promised")
        if not np.isfinite(found).all():
            raise InferenceError(f"{self._name}: output {output!r} holds values that are no numbers")
        return as_float32(found)

    def _try_out(self) -> None:
        """The fewest and the most points through the decoder; a picture through the encoder takes too long, whose shapes were looked at."""
        shapes = self._shapes
        nothing = np.zeros((1, shapes.channels, shapes.grid, shapes.grid), np.float32)
        for on, off in ((1, 0), (GROUP, GROUP)):  # and the one that is none
            middle = Prompts(np.full((on + off, 2), shapes.side / 2), np.arange(on + off) < on)
            for coords, labels in point_groups(middle):
                self._answer(nothing, coords, labels)


def shapes_of(files: PointFiles) -> PointShapes:
    """What the pair's graphs say of their shapes. Nothing is run.

    Raises:
        BundleError: one is no graph of its kind, or the decoder does not take what the encoder gives.
    """
    encoder = read_graph(files.encoder, f"{files.name} encoder")
    decoder = read_graph(files.decoder, f"{files.name} decoder")
    remedy = "take both from one conversion"
    given, taken = _shape(encoder.outputs, EMBEDDING), _shape(decoder.inputs, EMBEDDING)
    if given is None or taken is None or given != taken:
        raise BundleError(f"{files.name}: the encoder gives an embedding {_told(given)}, the decoder takes {_told(taken)}: {remedy}")
    picture = _shape(encoder.inputs, files.picture)
    if len(given) != 4 or given[0] != 1 or given[2] != given[3] or None in given:
        raise BundleError(f"{files.name}: the encoder's embedding is {_told(given)}, (1, channels, side, side) is expected: {remedy}")
    if picture is None or len(picture) != 4 or picture[0] != 1 or picture[1] != picture[2] or picture[3] != 3 or picture[1] is None:
        raise BundleError(f"{files.name}: the encoder takes {_told(picture)}, a picture (1, side, side, 3) is expected: {remedy}")
    for name, sides in ((COORDS, 3), (LABELS, 2)):
        points = _shape(decoder.inputs, name)
        if points is None or len(points) != sides:
            raise BundleError(f"{files.name}: the decoder's {name} is {_told(points)}, {sides} sides are expected: {remedy}")
    if encoder.inputs[files.picture].kind != UINT8 or {encoder.outputs[EMBEDDING].kind, decoder.inputs[EMBEDDING].kind} != {FLOAT32}:
        raise BundleError(f"{files.name}: a picture uint8 and an embedding float32 are expected: {remedy}")
    _, channels, grid, _ = given
    return PointShapes(picture[1], int(channels or 0), int(grid or 0))


def in_square(image: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], int, int]:
    """`image`, uint8 (height, width, 3), as an encoder takes it: uint8 (1, side, side, 3), and its rows and columns in there."""
    factor = side / max(image.shape[:2])
    rows, columns = (min(side, max(1, int(length * factor + 0.5))) for length in image.shape[:2])
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(image, (columns, rows), interpolation=how) if image.shape[:2] != (rows, columns) else image
    square = cv2.copyMakeBorder(resized, 0, side - rows, 0, side - columns, cv2.BORDER_CONSTANT, value=FILLED)
    return np.asarray(np.ascontiguousarray(square)[None], np.uint8), rows, columns


def point_groups(prompts: Prompts) -> Iterator[tuple[Float, Float]]:
    """The batches that a decoder is asked: coordinates float32 (1, n, 2) and labels float32 (1, n), at most MOST_GROUPS of them.

    Positive points are dealt in turn; of the negative ones every batch has all, or GROUP evenly spaced ones that begin elsewhere each
    time. A last point that is none closes each batch, as SAM does it where no box is given.
    """
    on, off = prompts.points[prompts.positive], prompts.points[~prompts.positive]
    if len(on) > GROUP * MOST_GROUPS:
        on = on[np.arange(GROUP * MOST_GROUPS) * len(on) // (GROUP * MOST_GROUPS)]
    groups = -(-len(on) // GROUP)
    for number in range(groups):
        ours = on[number::groups]
        theirs = off if len(off) <= GROUP else off[(np.arange(GROUP) * len(off) // GROUP + number) % len(off)]
        points = np.concatenate((ours, theirs, np.zeros((1, 2))))
        labels = np.repeat(np.array((ON, OFF, NO_POINT), np.float32), (len(ours), len(theirs), 1))
        yield np.asarray(points[None], np.float32), labels[None]


def _of_bundle(bundle: Bundle) -> tuple[PointFiles, int]:
    """The networks of a bundle's refiner, and the side that its manifest says."""
    role = bundle.manifest.roles.refiner
    if role is None or role.kind != "points" or role.decoder is None:
        raise BundleError(f"{bundle.id}: it has no refiner of the kind 'points': name another bundle")
    return PointFiles(bundle.id, bundle.content[role.model], bundle.content[role.decoder], role.input.name), role.input.min_side


def _shape(values: Mapping[str, Value], name: str) -> Sides | None:
    """Of an input or output; None where there is none of the name, or nothing is said."""
    return values[name].shape if name in values else None


def _told(shape: Sides | None) -> str:
    return "none" if shape is None else f"({', '.join('any' if side is None else str(side) for side in shape)})"
