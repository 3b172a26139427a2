"""What a bundle's live network says of pictures that others learn from: its maps beside them, computed where the pictures are prepared."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.conversion.part import read_parts
from export.errors import TrainingError
from runtime.analysis.learned import padded
from runtime.bundles.roles import SegmenterName, SegmenterRole
from runtime.errors import TrichoscopeError
from runtime.inference.backend import as_float32
from runtime.inference.onnx import OnnxBackend

Float = NDArray[np.float32]


class LiveMaps:
    """The live network of the bundle (or part) in `folder`; opened in each process when it is first asked, and never closed.

    Args:
        role: whose network: the teacher's maps are of the same form.
    """

    def __init__(self, folder: Path, *, role: SegmenterName = "segmenter") -> None:
        self.folder, self.role = folder, role
        self._opened: tuple[SegmenterRole, OnnxBackend] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(LiveMaps, role=self.role), (self.folder,)  # an open session is not for another process

    def of(self, image: NDArray[np.uint8]) -> tuple[Float, Float]:
        """Probabilities of hair, float32 (1, height, width), and of the marks, float32 (MARKS, height / 2, width / 2).

        Args:
            image: uint8 (height, width, 3) BGR, sides multiples of the network's stride.

        Raises:
            TrainingError: the bundle cannot be read, or has no segmenter.
        """
        role, backend = self._open()
        found = backend.infer({role.input.name: padded(image, role.input)})
        height, width = image.shape[:2]
        return as_float32(found["hair"])[0, :, :height, :width], as_float32(found["marks"])[0, :, : height // 2, : width // 2]

    def _open(self) -> tuple[SegmenterRole, OnnxBackend]:
        if self._opened is None:
            try:
                bundle = read_parts(self.folder)
            except TrichoscopeError as problem:
                raise TrainingError(f"{problem}; its maps are wanted for the training: name another bundle") from problem
            roles = bundle.manifest.roles
            role = roles.segmenter if self.role == "segmenter" else roles.teacher
            if role is None:
                raise TrainingError(f"{self.folder}: no {self.role} in this bundle: name another")
            backend = OnnxBackend(bundle.content[role.model], name=bundle.id, threads=1)
            backend.activate()
            self._opened = role, backend
        return self._opened
