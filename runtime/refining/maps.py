"""Our own promptable network: a picture and two maps of points in, several soft masks and how good each expects to be out.

One ONNX graph. Inputs: the picture, uint8 (1, height, width, 3) BGR, by the name that the role gives it, and `prompts`, float32
(1, 2, height, width), the maps of `prompt_maps`; both sides are multiples of the role's stride. Outputs: `masks`, float32
(1, m, height, width), probabilities, and `iou`, float32 (1, m), predicted intersection over union.
"""

from __future__ import annotations

from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.analysis.learned import TRY_SIDE, padded, reduced
from runtime.bundles.errors import BundleError
from runtime.bundles.reader import Bundle
from runtime.inference.backend import as_float32
from runtime.inference.errors import InferenceError
from runtime.inference.onnx import OnnxBackend
from runtime.refining.prompts import Prompts, prompt_maps
from runtime.refining.refiner import SLACK, Refined, why_not_asked

Float = NDArray[np.float32]
PROMPTS, MASKS, IOU = "prompts", "masks", "iou"
MOST_MASKS = 16


class MapsRefiner:
    """A bundle's refiner of the kind "maps". Used by one thread at a time; ready when made.

    Args:
        threads: computing threads of the backend.

    Raises:
        BundleError: the bundle has no such refiner, or its network does not do what the manifest says.
    """

    def __init__(self, bundle: Bundle, *, threads: int) -> None:
        role = bundle.manifest.roles.refiner
        if role is None or role.kind != "maps":
            raise BundleError(f"{bundle.id}: it has no refiner of the kind 'maps': name another bundle")
        self._role = role
        self._name = bundle.id
        self._backend = OnnxBackend(bundle.content[role.model], name=self._name, threads=threads)
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

    def cancel(self) -> None:
        """What is computed is no longer wanted: it raises InferenceError as soon as it can, as all does until `resume`. Any thread."""
        self._backend.cancel()

    def resume(self) -> None:
        """Take work again after `cancel`."""
        self._backend.resume()

    def close(self) -> None:
        """Give the backend's memory and threads back; the refiner is of no use afterwards."""
        self._backend.deactivate()

    def __enter__(self) -> MapsRefiner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def refine(self, image: NDArray[np.uint8], prompts: Prompts) -> Refined:
        """The hair in `image`, uint8 (height, width, 3) BGR of at least 8×8 px: of the network's masks the one that expects most of itself.

        Raises:
            InferenceError: the backend failed, answered in another form than it promised, or there is no positive prompt.
        """
        if (reason := why_not_asked(prompts)) is not None:
            raise InferenceError(f"{self._name}: not asked: {reason}")
        height, width = image.shape[:2]
        working = reduced(image, self._role.preprocessing)
        rows, columns = working.shape[:2]
        picture = padded(working, self._role.input)
        masks, iou = self._asked(picture, prompt_maps(prompts.scaled(columns / width, rows / height), (rows, columns)))
        best = int(np.argmax(np.nan_to_num(iou, nan=-np.inf)))
        soft = np.ascontiguousarray(masks[best, :rows, :columns])
        if soft.shape != (height, width):
            soft = np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        return Refined(soft, float(np.clip(iou[best], 0, 1)))  # of NaN it is NaN, which is refused

    def _asked(self, picture: NDArray[np.uint8], maps: Float) -> tuple[Float, Float]:
        """Masks (m, h, w) and predicted IoU (m,) of a padded picture (1, h, w, 3); nothing is pointed at in its padding.

        Raises:
            InferenceError: see `refine`.
        """
        _, height, width, _ = picture.shape
        asked = np.zeros((1, 2, height, width), np.float32)
        asked[0, :, : maps.shape[1], : maps.shape[2]] = maps
        found = self._backend.infer({self._role.input.name: picture, PROMPTS: asked})
        for name, shape in ((MASKS, (1, -1, height, width)), (IOU, (1, -1))):
            got = found.get(name)
            promised = got is not None and got.dtype.kind == "f" and got.ndim == len(shape) and 1 <= got.shape[1] <= MOST_MASKS
            if got is None or not promised or (got.shape[0], *got.shape[2:]) != (shape[0], *shape[2:]):
                there = "missing" if got is None else f"{got.dtype} {got.shape}"
                wanted = "(1, m)" if name == IOU else f"(1, m, {height}, {width})"
                raise InferenceError(f"{self._name}: output {name!r} is {there}, float {wanted} with m of 1 to {MOST_MASKS} was promised")
        masks, iou = as_float32(found[MASKS])[0], as_float32(found[IOU])[0]
        if len(masks) != len(iou):
            raise InferenceError(f"{self._name}: {len(masks)} masks and {len(iou)} predicted IoUs, as many of both were promised")
        return masks, iou

    def _try_out(self) -> None:
        """One small picture with one point on hair through the network: its outputs must be what the manifest promises.

        Raises:
            BundleError, InferenceError: they are not, or the backend failed.
        """
        spec = self._role.input
        picture = padded(np.zeros((TRY_SIDE, TRY_SIDE, 3), np.uint8), spec)
        middle = Prompts(np.full((1, 2), TRY_SIDE / 2), np.ones(1, np.bool_))
        for name, got in zip((MASKS, IOU), self._asked(picture, prompt_maps(middle, (TRY_SIDE, TRY_SIDE))), strict=True):
            if not np.isfinite(got).all() or got.min() < -SLACK or got.max() > 1 + SLACK:
                raise BundleError(f"{self._name}: output {name!r} is beyond 0 to 1: make the bundle again")
