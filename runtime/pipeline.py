"""The order of the stages, from a picture to its measurement. The only place that knows it; live and captured paths both come here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calib.field import FrameScale
from calib.scale import NO_SCALE, Scale
from runtime import __version__
from runtime.analysis import diameters, figures, follicles, quality, skeleton, tangles, tracing, units, visibility, widths
from runtime.analysis.graders import Graded, Graders
from runtime.analysis.hairs import HairPath
from runtime.analysis.measurement import MIN_SIDE_PX, CutoffProfile, Follicle, Measurement, SegmentationTrust, reading_used, scale_used
from runtime.analysis.micrometres import in_micrometres
from runtime.analysis.opening import opening_mask, within
from runtime.analysis.paper import paper_features
from runtime.analysis.scalp.colour import correction_of
from runtime.analysis.scalp.indices import ScalpIndices
from runtime.analysis.scalp.maps import ScalpMaps
from runtime.analysis.scalp.measuring import measure_scalp
from runtime.analysis.segmentation import Segmentation, Segmenter
from runtime.errors import PictureError

TOO_BLURRED = "too blurred for widths at this distance"


class StageClock:
    """Milliseconds of each stage, in the order in which they ran; monotonic."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self._began = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside; what a stage takes in several goes is summed."""
        began = time.perf_counter()
        yield
        self.ms[name] = round(self.ms.get(name, 0.0) + (time.perf_counter() - began) * 1e3, 3)

    def done(self) -> dict[str, float]:
        """All stages and their `total` since the clock was made."""
        return self.ms | {"total": round((time.perf_counter() - self._began) * 1e3, 3)}


def _traced(found: Segmentation, image: NDArray[np.uint8], clock: StageClock) -> tuple[HairPath, ...]:
    """The hairs of one reading of a picture that count, their widths measured."""
    with clock.stage("skeleton"):
        graph = skeleton.skeleton_graph(found.mask)
    with clock.stage("hairs"):
        paths = tracing.trace_hairs(graph, found.mask, image, found.reliability)
    with clock.stage("widths"):
        return visibility.visible_hairs(widths.measure_widths(paths, image, found), image, found)


def analyse(
    image: NDArray[np.uint8],
    *,
    name: str,
    segmentation: Segmenter | Segmentation,
    scale: Scale | FrameScale = NO_SCALE,
    paper: bool = False,
    cutoff: CutoffProfile = "trichoscopy",
    graders: Graders | None = None,
) -> Measurement:
    """Measure one picture.

    Args:
        image: uint8 (height, width, 3) BGR; not changed.
        name: what the result calls the picture.
        segmentation: a segmenter to run, or a segmentation that is given (its mask has the image's size).
        scale: µm per pixel, the same everywhere or as a calibration profile gives it over the field; without one nothing is reported in µm
            or per cm². Only what lies within the hood's opening, where it is known, is measured.
        paper: also compute ScalpVision's features and the indices of the scalp (the slower, captured path).
        cutoff: the profile by which hair is terminal or vellus.
        graders: what grades hair loss and scalp; nothing does where None.

    Raises:
        PictureError: the picture is too small to hold a hair, or a given mask has another size.
    """
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE_PX:
        raise PictureError(f"{name}: {width}×{height} px is too small to measure: give a picture of at least {MIN_SIDE_PX} px a side")
    if isinstance(scale, Scale):
        scale = FrameScale(scale)
    clock = StageClock()
    with clock.stage("segment"):
        if isinstance(segmentation, Segmentation):
            found, segmenter_name = segmentation, "given"
        else:
            found, segmenter_name = segmentation.segment(image), segmentation.name
        if not 0.0 <= found.reliability <= 1.0:  # a network that gave no number is not to be trusted at all
            found = replace(found, reliability=min(max(found.reliability, 0.0), 1.0) if np.isfinite(found.reliability) else 0.0)
    if found.mask.shape != (height, width):
        raise PictureError(
            f"{name}: the mask is {found.mask.shape[1]}×{found.mask.shape[0]} px, the picture {width}×{height}: "
            "give a mask of the same size"
        )
    with clock.stage("quality"):
        field = None if scale.opening_px is None else opening_mask(scale.opening_px, width, height)
        if field is not None:
            found = within(found, field)
        frame_quality = quality.assess(image, found.mask, field, share=found.probability)
        if scale.too_blurred:
            frame_quality = frame_quality.model_copy(update={"ok": False, "reasons": [*frame_quality.reasons, TOO_BLURRED]})
    whole = found
    others = (replace(other, reliability=found.reliability) for other in found.others)  # of the same soft mask
    readings = [(reading, _traced(reading, image, clock)) for reading in (found, *others)]
    middle = sorted(len(paths) for _, paths in readings)[len(readings) // 2]
    found, paths = next((reading, paths) for reading, paths in readings if len(paths) == middle)
    frame_quality = tangles.with_tangles(frame_quality, paths, max(height, width))
    with clock.stage("follicles"):
        paths, ostia = follicles.find_follicles(paths, image, found)
        ostia = visibility.empty_or_counted(ostia, paths, found)
    if scale.too_blurred:
        paths = tuple(_without_widths(path) for path in paths)
    with clock.stage("paper"):
        features = paper_features(found.mask) if paper else None
    with clock.stage("figures"):
        count_std, follicle_std = figures.hair_count_std(paths), figures.follicle_count_std(ostia, paths)
        with_hair = [o for o in ostia if o.hairs]
        per_unit = [len(o.hairs) for o in with_hair]
        counted = figures.counted_hairs(paths, width, height, count_std)
        in_frame = counted.count if counted.rule == "counting-frame" else figures.counting_frame_count(paths, width, height)
        places = np.array([(o.x, o.y) for o in with_hair], np.float64).reshape(-1, 2)
        apart_px = units.interfollicular_distance(units.nearest_distances(places, width, height))
        um = in_micrometres(
            paths, ostia, width=width, height=height, counted=counted, follicle_std=follicle_std, scale=scale, cutoff=cutoff
        )
    with clock.stage("scalp"):
        scalp = scalp_of(image, found, scale)[0] if paper else None
    with clock.stage("grades"):
        graded = Graded() if graders is None else graders.grade(image, um.hairs, frame_quality, scale.scale.um_per_px)
    return Measurement(
        image=name,
        width_px=width,
        height_px=height,
        scale=scale_used(scale),
        quality=frame_quality,
        field=None if scale.opening_px is None else list(scale.opening_px),
        segmentation=SegmentationTrust(
            reliability=found.reliability, unfamiliar=found.unfamiliar, mask=whole.mask_source, passed_over=whole.passed_over
        ),
        hair_count=len(um.hairs),
        hair_count_std=count_std,
        rooted_hair_count=sum(h.rooted for h in um.hairs),
        hair_count_in_frame=in_frame,
        follicle_count=len(with_hair),
        follicle_count_std=follicle_std,
        empty_follicle_count=None if found.ostium_probability is None else len(ostia) - len(with_hair),
        hairs_per_follicle=per_unit,
        area_cm2=um.area_cm2,
        density_per_cm2=um.density_per_cm2,
        follicle_density_per_cm2=um.follicle_density_per_cm2,
        diameter_px=diameters.distribution([h.diameter_px for h in um.hairs]),
        diameter_um=um.diameter_um,
        terminal_vellus=um.terminal_vellus,
        diameter_diversity=um.diameter_diversity,
        cumulative_thickness_mm_per_cm2=um.cumulative_thickness_mm_per_cm2,
        single_hair_unit_share=units.single_hair_unit_share(per_unit),
        interfollicular_distance_px=apart_px,
        interfollicular_distance_um=um.interfollicular_distance_um,
        hairs=um.hairs,
        follicles=[Follicle(id=i, x=round(o.x, 2), y=round(o.y, 2), hair_ids=list(o.hairs)) for i, o in enumerate(ostia)],
        paper=features,
        alopecia=graded.alopecia,
        conditions=graded.conditions,
        scalp=scalp,
        models={"segmenter": segmenter_name} | dict(whole.models) | dict(graded.models),
        calibration=scale.profile_id,
        scale_reading=reading_used(scale),
        version=__version__,
        timing_ms=clock.done(),
    )


def scalp_of(image: NDArray[np.uint8], found: Segmentation, scale: FrameScale) -> tuple[ScalpIndices, ScalpMaps]:
    """The measured indices of the skin between the hairs of a picture, and their maps; hair too like the skin to count is no skin either.

    Args:
        image: uint8 (height, width, 3) BGR.
    """
    hair = found.mask if found.faint is None else found.mask | found.faint
    field = None if scale.opening_px is None else opening_mask(scale.opening_px, image.shape[1], image.shape[0])
    colour = correction_of(scale.light, scale.reading.distance_mm)
    return measure_scalp(image, hair, field, colour, scale.scale.um_per_px)


def _without_widths(path: HairPath) -> HairPath:
    """The hair without what its blur makes doubtful."""
    unknown = float("nan")
    return replace(
        path, widths_px=np.full(len(path.points), unknown), diameter_px=unknown, diameter_px_std=unknown, diameter_px_max=unknown
    )
