"""How the threads measure a frame: the pipeline with instruments of their own, and the scale that they are given for the frame."""

from __future__ import annotations

from collections.abc import Callable

from calib.field import FrameScale
from device.frame import Frame
from device.jpeg import jpeg_size
from runtime.analysis.instruments import InUse
from runtime.analysis.measurement import CutoffProfile, Measurement
from runtime.errors import PictureError
from runtime.pipeline import analyse


class FrameMeasurer:
    """Measures frames of one camera, one at a time; instruments are not shared between threads."""

    def __init__(
        self,
        instruments: InUse,
        *,
        scale_of: Callable[[Frame], FrameScale],
        cutoff: CutoffProfile,
        paper: bool,
        max_megapixels: float,
    ) -> None:
        """Store the arguments. `scale_of` gives a frame its scale; it may be shared between threads."""
        self._instruments = instruments
        self._scale_of = scale_of
        self._cutoff = cutoff
        self._paper = paper
        self._max_megapixels = max_megapixels

    def __call__(self, frame: Frame) -> Measurement:
        """The measurement of `frame`.

        Raises:
            FrameDecodeError: its bytes are no picture.
            PictureError: it is too small or too large.
        """
        self._refuse_large(frame)
        with self._instruments.taken() as instruments:
            return analyse(
                frame.image,
                name=frame.source.rpartition("/")[2],  # a replayed file by its name, as analyze calls it
                segmentation=instruments.segmenter,
                scale=self._scale_of(frame),
                paper=self._paper,
                cutoff=self._cutoff,
                graders=instruments.graders,
            )

    def _refuse_large(self, frame: Frame) -> None:
        """Before anything is decoded, where the frame has a header to look at."""
        size = None if frame.jpeg is None else jpeg_size(frame.jpeg)
        if size is not None and size[0] * size[1] > self._max_megapixels * 1e6:
            raise PictureError(
                f"{frame.source}: {size[0]}×{size[1]} px is over {self._max_megapixels:g} megapixels: "
                "set the camera to a smaller picture (or raise analysis.max_megapixels)"
            )
