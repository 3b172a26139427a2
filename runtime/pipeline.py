"""The order of the stages, from a picture to its measurement. The only place that knows it; live and captured paths both come here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calib.scale import NO_SCALE, Scale
from runtime import __version__
from runtime.analysis import diameters, figures, follicles, quality, skeleton, tangles, tracing, units, visibility, widths
from runtime.analysis.hairs import HairPath, Ostium
from runtime.analysis.measurement import (
    MIN_SIDE_PX,
    CutoffProfile,
    Follicle,
    Hair,
    Measurement,
    Point,
    ScaleUsed,
    SegmentationTrust,
)
from runtime.analysis.paper import paper_features
from runtime.analysis.segmentation import Segmentation, Segmenter
from runtime.errors import PictureError


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
    scale: Scale = NO_SCALE,
    paper: bool = False,
    cutoff: CutoffProfile = "trichoscopy",
) -> Measurement:
    """Measure one picture.

    Args:
        image: uint8 (height, width, 3) BGR; not changed.
        name: what the result calls the picture.
        segmentation: a segmenter to run, or a segmentation that is given (its mask has the image's size).
        scale: µm per pixel; with NO_SCALE nothing is reported in µm or per cm².
        paper: also compute ScalpVision's features (the slower, captured path).
        cutoff: the profile by which hair is terminal or vellus.

    Raises:
        PictureError: the picture is too small to hold a hair, or a given mask has another size.
    """
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE_PX:
        raise PictureError(f"{name}: {width}×{height} px is too small to measure: give a picture of at least {MIN_SIDE_PX} px a side")
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
        frame_quality = quality.assess(image, found.mask, share=found.probability)
    others = (replace(other, reliability=found.reliability) for other in found.others)  # of the same soft mask
    readings = [(reading, _traced(reading, image, clock)) for reading in (found, *others)]
    middle = sorted(len(paths) for _, paths in readings)[len(readings) // 2]
    found, paths = next((reading, paths) for reading, paths in readings if len(paths) == middle)
    frame_quality = tangles.with_tangles(frame_quality, paths, max(height, width))
    with clock.stage("follicles"):
        paths, ostia = follicles.find_follicles(paths, image, found)
        ostia = visibility.empty_or_counted(ostia, paths, found)
    with clock.stage("paper"):
        features = paper_features(found.mask) if paper else None
    with clock.stage("figures"):
        used = ScaleUsed(um_per_px=scale.um_per_px, um_per_px_std=scale.um_per_px_std, source=scale.source)
        hairs = _hairs(paths, ostia, scale)
        count_std, follicle_std = figures.hair_count_std(paths), figures.follicle_count_std(ostia, paths)
        with_hair = [o for o in ostia if o.hairs]
        per_unit = [len(o.hairs) for o in with_hair]
        counted = figures.counted_hairs(paths, width, height, count_std)
        in_frame = counted.count if counted.rule == "counting-frame" else figures.counting_frame_count(paths, width, height)
        diameters_px, diameters_um = [h.diameter_px for h in hairs], [h.diameter_um for h in hairs]
        places = np.array([(o.x, o.y) for o in with_hair], np.float64).reshape(-1, 2)
        apart_px = units.interfollicular_distance(units.nearest_distances(places, width, height))
        area_cm2 = density = follicle_density = thickness = kinds = in_um = apart_um = None
        if scale.um_per_px is not None:
            area_cm2 = figures.area_cm2(width, height, scale.um_per_px)
            density = figures.hair_density(counted, area_cm2, scale, per_unit)
            follicle_density = figures.follicle_density(len(with_hair), follicle_std, area_cm2, scale)
            thickness = diameters.cumulative_thickness(paths, counted, area_cm2, scale, per_unit)
            kinds = diameters.terminal_vellus(diameters_um, [h.diameter_um_max for h in hairs], cutoff)
            in_um = diameters.distribution(diameters_um)
            apart_um = units.scaled(apart_px, scale.um_per_px)
    return Measurement(
        image=name,
        width_px=width,
        height_px=height,
        scale=used,
        quality=frame_quality,
        field=None,
        segmentation=SegmentationTrust(reliability=found.reliability, unfamiliar=found.unfamiliar),
        hair_count=len(hairs),
        hair_count_std=count_std,
        rooted_hair_count=sum(h.rooted for h in hairs),
        hair_count_in_frame=in_frame,
        follicle_count=len(with_hair),
        follicle_count_std=follicle_std,
        empty_follicle_count=None if found.ostium_probability is None else len(ostia) - len(with_hair),
        hairs_per_follicle=per_unit,
        area_cm2=area_cm2,
        density_per_cm2=density,
        follicle_density_per_cm2=follicle_density,
        diameter_px=diameters.distribution(diameters_px),
        diameter_um=in_um,
        terminal_vellus=kinds,
        diameter_diversity=diameters.diameter_diversity(diameters_px, kinds),
        cumulative_thickness_mm_per_cm2=thickness,
        single_hair_unit_share=units.single_hair_unit_share(per_unit),
        interfollicular_distance_px=apart_px,
        interfollicular_distance_um=apart_um,
        hairs=hairs,
        follicles=[Follicle(id=i, x=round(o.x, 2), y=round(o.y, 2), hair_ids=list(o.hairs)) for i, o in enumerate(ostia)],
        paper=features,
        alopecia=None,
        conditions=None,
        models={"segmenter": segmenter_name},
        calibration=None,
        version=__version__,
        timing_ms=clock.done(),
    )


def _hairs(paths: tuple[HairPath, ...], ostia: tuple[Ostium, ...], scale: Scale) -> list[Hair]:
    follicle_of = {hair: i for i, ostium in enumerate(ostia) for hair in ostium.hairs}
    hairs = []
    for i, (path, points) in enumerate(zip(paths, _points(paths), strict=True)):
        diameter_px = path.diameter_px if np.isfinite(path.diameter_px) else None
        diameter_um = diameter_um_std = None
        if scale.um_per_px is not None and diameter_px is not None:
            diameter_um = diameter_px * scale.um_per_px
            if np.isfinite(path.diameter_px_std):
                diameter_um_std = float(np.hypot(path.diameter_px_std * scale.um_per_px, diameter_px * (scale.um_per_px_std or 0.0)))
        hairs.append(
            Hair(
                id=i,
                follicle_id=follicle_of.get(i),
                diameter_px=_rounded(diameter_px),
                diameter_um=_rounded(diameter_um),
                diameter_um_std=_rounded(diameter_um_std),
                diameter_um_max=_diameter_um_max(path, scale),
                length_px=round(path.length_px, 2),
                rooted=path.rooted,
                confidence=round(path.confidence, 3),
                points=points,
            )
        )
    return hairs


def _points(paths: tuple[HairPath, ...]) -> list[list[Point]]:
    """The points of each hair as they are reported; all hairs' numbers are rounded at once."""
    if not paths:
        return []
    x, y = np.concatenate([path.points for path in paths]).round(2).T.tolist()
    widths = np.concatenate([path.widths_px for path in paths]).round(3)
    known: list[float | None] = [w if finite else None for w, finite in zip(widths.tolist(), np.isfinite(widths).tolist(), strict=True)]
    points: list[Point] = list(zip(x, y, known, strict=True))
    stops = np.cumsum([len(path.points) for path in paths]).tolist()
    return [points[stop - len(path.points) : stop] for path, stop in zip(paths, stops, strict=True)]


def _diameter_um_max(path: HairPath, scale: Scale) -> float | None:
    """The most that a hair can measure whose diameter could not be had for it is too thin."""
    if scale.um_per_px is None or not np.isfinite(path.diameter_px_max):
        return None
    return _rounded(path.diameter_px_max * scale.um_per_px)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 3)
