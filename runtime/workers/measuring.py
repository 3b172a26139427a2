"""How the threads measure a frame: the pipeline with a segmenter of their own, and the scale that is stated for the frame."""

from __future__ import annotations

import structlog

from calib.errors import ScaleError
from calib.scale import NO_SCALE, Scale, given_scale
from device.frame import Frame
from device.jpeg import jpeg_size
from runtime.analysis.measurement import CutoffProfile, Measurement
from runtime.analysis.segmentation import Segmenter
from runtime.errors import PictureError
from runtime.pipeline import analyse

log = structlog.get_logger(__name__)


class FrameMeasurer:
    """Measures frames of one camera, one at a time; a segmenter is not shared between threads."""

    def __init__(self, segmenter: Segmenter, *, stated: Scale, cutoff: CutoffProfile, paper: bool, max_megapixels: float) -> None:
        """Store the arguments. `stated` is the configured scale; where it has none, the frame's own counts, else none."""
        self._segmenter = segmenter
        self._stated = stated
        self._cutoff = cutoff
        self._paper = paper
        self._max_megapixels = max_megapixels
        self._absurd: float | None = None

    def __call__(self, frame: Frame) -> Measurement:
        """The measurement of `frame`.

        Raises:
            FrameDecodeError: its bytes are no picture.
            PictureError: it is too small or too large.
        """
        self._refuse_large(frame)
        return analyse(
            frame.image,
            name=frame.source.rpartition("/")[2],  # a replayed file by its name, as analyze calls it
            segmentation=self._segmenter,
            scale=self._scale_of(frame),
            paper=self._paper,
            cutoff=self._cutoff,
        )

    def _refuse_large(self, frame: Frame) -> None:
        """Before anything is decoded, where the frame has a header to look at."""
        size = None if frame.jpeg is None else jpeg_size(frame.jpeg)
        if size is not None and size[0] * size[1] > self._max_megapixels * 1e6:
            raise PictureError(
                f"{frame.source}: {size[0]}×{size[1]} px is over {self._max_megapixels:g} megapixels: "
                "set the camera to a smaller picture (or raise analysis.max_megapixels)"
            )

    def _scale_of(self, frame: Frame) -> Scale:
        if self._stated.um_per_px is not None or frame.stated_um_per_px is None:
            return self._stated
        try:
            return given_scale(frame.stated_um_per_px)
        except ScaleError as error:
            if frame.stated_um_per_px != self._absurd:  # said once, not at every frame
                self._absurd = frame.stated_um_per_px
                log.warning("the scale that the camera states is not used", why=str(error))
            return NO_SCALE
