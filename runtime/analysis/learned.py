"""The learned segmenter: a bundle's network over a frame of any size, and how far its mask can be trusted.

Larger frames are reduced until hairs are as wide as those that the network has learnt; borders are found again in the soft mask
enlarged to the frame. The network's own uncertainty says how reliable a mask is, by a formula that the bundle carries and that was
fitted on rendered frames, whose true masks are known.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.pieces import boxed
from runtime.analysis.segmentation import Mask, Segmentation
from runtime.analysis.slits import without_slits
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import InputSpec, Preprocessing, SegmenterName
from runtime.inference.backend import Backend, as_float32
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend

Float = NDArray[np.float32]
OSTIUM, FAINT, MARKS = 1, 2, 3  # channels of the output `marks`; channel 0 holds centre lines
NO_HAIR_SHARE = 5e-4
"""Of the frame: added to both sides of the expected Dice, so that a frame without hair and without doubt is trusted."""
FIGURES = 5
"""How many uncertainty figures there are; a bundle has one weight for each and a constant."""
TRY_SIDE = 64
SMALL_PX = 256
"""Longest side of pictures that are smaller than the crops that networks of this kind learn from."""
SHORTEST_PX, SHORTEST_SHARE = 24.0, 0.035
"""A hair counts from 24 px of visible length, in small pictures from this share of their longest side: shorter pieces are none."""
SURE = 0.7
"""A piece that is nowhere so probable is no hair."""
FAINT_WINDOW = 9
"""Side of the square, in quarter-size pixels, over which faintness is averaged along hair: a hair counts as a whole."""


def uncertainty_figures(probability: Float) -> NDArray[np.float64]:
    """What a soft mask says of its own doubt, float64 (FIGURES,), each 0…1 and about 0 where there is none.

    1 minus the Dice to be expected if the probabilities were true (between the mask and draws of it); doubt per length of border;
    mean doubt inside the mask; share of the mask's area that is undecided (0.2…0.8); hair coverage.

    Args:
        probability: float32 (height, width), 0…1.
    """
    p = np.ascontiguousarray(probability[::2, ::2])  # a quarter of the pixels says the same
    inside = p >= 0.5
    area, total = float(np.count_nonzero(inside)), float(p.sum())
    both = float(p[inside].sum())
    slack = NO_HAIR_SHARE * p.size
    expected = (2 * both + slack) / (total + area + slack)
    doubt = float(np.minimum(p, 1 - p).sum())
    grown = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8))
    border = float(np.count_nonzero(grown)) - area
    undecided = float(np.count_nonzero(np.abs(p - np.float32(0.5)) < np.float32(0.3)))
    return np.array(
        [
            1 - expected,
            min(1.0, doubt / (border + slack)),
            (area - both) / (area + slack),
            min(1.0, undecided / (area + slack)),
            area / p.size,
        ]
    )


def hair_pieces(probability: Float, threshold: float) -> Mask:
    """The connected pieces of `probability` (float32, height, width) ≥ `threshold` that are long enough for a hair, and somewhere sure.

    Pieces are told apart at half size: a gap of one pixel parts none.
    """
    height, width = probability.shape
    mask: Mask = probability >= np.float32(threshold)
    labels, box = boxed(_halved(mask), 8)
    extent = 2 * np.hypot(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
    wanted = np.zeros(len(box), np.bool_)
    wanted[labels[_halved(probability >= np.float32(SURE))]] = True
    wanted &= extent >= min(SHORTEST_PX, SHORTEST_SHARE * max(mask.shape))
    wanted[0] = False
    kept = np.asarray(wanted[labels]).view(np.uint8)
    whole = cv2.resize(kept, (2 * kept.shape[1], 2 * kept.shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(mask & whole[:height, :width].view(np.bool_), np.bool_)


def _halved(mask: Mask) -> Mask:
    """Where any of the four pixels is set, bool of half the size (rounded up)."""
    planes = mask.view(np.uint8)
    height, width = planes.shape
    if height % 2 or width % 2:
        planes = np.asarray(cv2.copyMakeBorder(planes, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT, value=0), np.uint8)
    rows = planes[::2] | planes[1::2]
    return np.asarray(rows[:, ::2] | rows[:, 1::2]).view(np.bool_)


def faint_hair(hair: Float, faintness: Float, threshold: float) -> Mask | None:
    """Where hair is too like the skin to count, bool (height, width); None where nothing is near it.

    Args:
        hair: float32 (height, width), probability of hair.
        faintness: float32 (about height / 2, width / 2), the network's map, which means something inside hair only.
        threshold: of the mean faintness of the hair around a pixel, from which it is faint.
    """
    sure = hair[::4, ::4]
    told = faintness[::2, ::2]
    rows, columns = min(sure.shape[0], told.shape[0]), min(sure.shape[1], told.shape[1])
    weight = np.where(sure[:rows, :columns] >= np.float32(0.5), np.float32(1), np.float32(0))
    faint = weight * told[:rows, :columns]
    if not faint.size or float(faint.max()) < threshold:
        return None
    window = (FAINT_WINDOW, FAINT_WINDOW)
    mean = cv2.boxFilter(faint, -1, window, normalize=False) / np.maximum(cv2.boxFilter(weight, -1, window, normalize=False), 1)
    mean *= weight  # beside hair it means nothing
    if float(mean.max()) < threshold:
        return None
    mean = cv2.dilate(mean, np.ones((3, 3), np.uint8))  # quarter-size pixels miss the rims of hair
    return np.asarray(_resized(np.asarray(mean, np.float32), (hair.shape[0], hair.shape[1])) >= np.float32(threshold), np.bool_)


class LearnedSegmenter:
    """A bundle's segmenter on a backend. Used by one thread at a time; ready when made.

    Args:
        role: whose network: the live segmenter's, or the teacher's.
        threads: computing threads of the backend.
        flips: also look at the frame mirrored three ways and average: for captures, four times slower.
        backend: makes the backend from the network's bytes; ONNX Runtime where None.

    Raises:
        BundleError: the network does not do what the manifest says, or the backend cannot run it.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        role: SegmenterName = "segmenter",
        threads: int = 2,
        flips: bool = False,
        backend: Callable[[bytes], Backend] | None = None,
    ) -> None:
        roles = bundle.manifest.roles
        found = roles.segmenter if role == "segmenter" else roles.teacher
        if found is None:
            raise BundleError(f"{bundle.id}: it has no {role}: name another bundle")
        self._role = found
        self._name = bundle.id
        self._flips = flips
        self._trust = (
            np.array(self._role.trust.features, np.float32),
            np.array(self._role.trust.feature_axes, np.float32),
            np.array(self._role.trust.weights, np.float64),
        )
        if len(self._trust[2]) != FIGURES + 1:
            raise BundleError(f"{self._name}: {len(self._trust[2])} weights of reliability, {FIGURES + 1} wanted: make the bundle again")
        model = bundle.content[self._role.model]
        self._backend = OnnxBackend(model, name=self._name, threads=threads) if backend is None else backend(model)
        try:
            self._backend.activate()
            self._try_out()
        except InferenceError as problem:
            self._backend.deactivate()
            raise BundleError(f"{problem}: install the bundle again") from problem
        except BundleError:
            self._backend.deactivate()
            raise

    @property
    def name(self) -> str:
        """The bundle's id."""
        return self._name

    @property
    def backend(self) -> Backend:
        """What runs the network, to be asked how it is."""
        return self._backend

    @property
    def threshold(self) -> float:
        """The probability from which a pixel is hair."""
        return self._role.threshold

    def cancel(self) -> None:
        """What is computed is no longer wanted: it raises InferenceError as soon as it can, as all does until `resume`. Any thread."""
        self._backend.cancel()

    def resume(self) -> None:
        """Take work again after `cancel`."""
        self._backend.resume()

    def close(self) -> None:
        """Give the backend's memory and threads back; the segmenter is of no use afterwards."""
        self._backend.deactivate()

    def __enter__(self) -> LearnedSegmenter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def segment(self, image: NDArray[np.uint8]) -> Segmentation:
        """The hair in `image`, uint8 (height, width, 3) BGR.

        Raises:
            InferenceError: the backend failed; no picture of at least 8×8 px is a reason for it.
        """
        height, width = image.shape[:2]
        working = reduced(image, self._role.preprocessing)
        hair, ostia, faintness, features = self._looked_at(working)
        reliability, unfamiliar = self._judged(hair, features)
        unlike = faint_hair(hair, faintness, self._role.faint_threshold)
        if hair.shape != (height, width):
            hair = _resized(hair, (height, width))
        if ostia.shape != (height, width):
            ostia = _resized(ostia, (height, width))
        faint = np.zeros(hair.shape, np.bool_)
        counting = hair
        if unlike is not None:
            if unlike.shape != hair.shape:
                unlike = cv2.resize(unlike.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).view(np.bool_)
            faint = unlike & (hair >= np.float32(self._role.threshold))
            counting = np.where(unlike, np.float32(0), hair)
        mask, hair = without_slits(hair_pieces(counting, self._role.threshold), hair, image)
        return Segmentation(
            mask=mask, probability=hair, reliability=reliability, unfamiliar=unfamiliar, ostium_probability=ostia, faint=faint
        )

    def _looked_at(self, image: NDArray[Any]) -> tuple[Float, Float, Float, Float]:
        """Planes and features as `_once` gives them; a picture smaller than what was learnt is looked at twice as large, too."""
        look = self._averaged if self._flips else self._once
        hair, ostia, faintness, features = look(image)
        height, width = image.shape[:2]
        if max(height, width) > SMALL_PX:
            return hair, ostia, faintness, features
        larger = look(cv2.resize(image, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC))
        hair, ostia, faintness = (
            np.asarray((plane + cv2.resize(of_larger, plane.shape[::-1], interpolation=cv2.INTER_AREA)) / 2, np.float32)
            for plane, of_larger in zip((hair, ostia, faintness), larger[:3], strict=True)
        )
        return hair, ostia, faintness, features

    def _once(self, image: NDArray[Any]) -> tuple[Float, Float, Float, Float]:
        """Soft mask (h, w), openings and faintness (h / 2, w / 2) and features (c,) of a picture (h, w, 3)."""
        height, width = image.shape[:2]
        spec = self._role.input
        found = self._backend.infer({spec.name: padded(image, spec)})
        hair = as_float32(found["hair"])[0, 0, :height, :width]
        marks = as_float32(found["marks"])[0, :, : (height + 1) // 2, : (width + 1) // 2]
        return np.ascontiguousarray(hair), np.ascontiguousarray(marks[OSTIUM]), marks[FAINT], as_float32(found["features"])[0]

    def _averaged(self, image: NDArray[Any]) -> tuple[Float, Float, Float, Float]:
        """As `_once`, the mean over the picture and its three mirror images."""
        height, width = image.shape[:2]
        image = image[: height - height % 2, : width - width % 2] if min(height, width) > 1 else image
        seen = []
        for vertical, horizontal in itertools.product((1, -1), (1, -1)):
            hair, ostia, faintness, features = self._once(np.ascontiguousarray(image[::vertical, ::horizontal]))
            turned = (plane[::vertical, ::horizontal] for plane in (hair, ostia, faintness))
            seen.append((*turned, features))
        hair, ostia, faintness, features = (np.asarray(np.mean(maps, 0), np.float32) for maps in zip(*seen, strict=True))
        lost = (height - hair.shape[0], width - hair.shape[1])
        return np.pad(hair, ((0, lost[0]), (0, lost[1])), mode="edge"), ostia, faintness, features

    def _judged(self, hair: Float, features: Float) -> tuple[float, bool]:
        mean, axes, weights = self._trust
        reliability = float(np.clip(weights[:-1] @ uncertainty_figures(hair) + weights[-1], 0, 1))
        distance = float(np.sqrt(np.mean((axes @ (features - mean)) ** 2)))
        return reliability, distance > self._role.trust.unfamiliar_above

    def _try_out(self) -> None:
        """One small picture through the network: its outputs must be what the manifest promises."""
        side = -(-TRY_SIDE // self._role.input.stride) * self._role.input.stride
        found = self._backend.infer({self._role.input.name: np.zeros((1, side, side, 3), np.uint8)})
        wanted = {"hair": (1, 1, side, side), "marks": (1, MARKS, side // 2, side // 2), "features": (1, len(self._trust[0]))}
        for name, shape in wanted.items():
            got = found.get(name)
            if got is None or got.shape != shape or got.dtype.kind != "f":
                there = "missing" if got is None else f"{got.dtype} {got.shape}"
                raise BundleError(f"{self._name}: output {name!r} is {there}, float {shape} was promised: make the bundle again")
            if not np.isfinite(got).all():
                raise BundleError(f"{self._name}: output {name!r} is not finite: make the bundle again")


def reduced(image: NDArray[np.uint8], how: Preprocessing) -> NDArray[np.uint8]:
    """`image`, uint8 (height, width, 3), made smaller where it is larger than the pictures that the network has learnt."""
    factor = how.longest_side / max(image.shape[:2])
    if factor >= 1:
        return image
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def padded(image: NDArray[Any], spec: InputSpec) -> NDArray[np.uint8]:
    """`image`, uint8 (height, width, 3), as the network takes it: uint8 (1, h, w, 3), mirrored beyond its right and lower border."""
    down, right = (_padding(side, spec.stride, spec.min_side) for side in image.shape[:2])
    if down or right:
        image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REFLECT)
    return np.asarray(np.ascontiguousarray(image)[None], np.uint8)


def _padding(side: int, stride: int, least: int) -> int:
    """Pixels to add to `side` for a multiple of `stride` of at least `least`."""
    return max(-(-max(side, least) // stride) * stride - side, 0)


def _resized(plane: Float, shape: tuple[int, int]) -> Float:
    return np.asarray(cv2.resize(plane, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)
