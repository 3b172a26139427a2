"""Several fields of one site pooled: at 150 hairs/cm² a field holds about a dozen, so that only several together say much of the site.

Densities are sums of counts over sums of areas. Their sampling error shrinks with the fields, by the law in `sampling`; where the fields
differ more than that explains, it is widened to what they show. The error of the scale is taken to be common to all fields, that of
finding hairs in part (the same hair, another place). What goes wrong with a field is told, not hidden: it is left
out, or noted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime import __version__
from runtime.analysis import diameters, figures, sampling, tangles, units
from runtime.analysis.figures import Rule
from runtime.analysis.measurement import Density, Measurement, TerminalVellus
from runtime.analysis.pooled import LeftOut, Pooled, PooledDensity, PooledDiameter, PooledDistance, PooledDiversity, PooledShare

UNCOUNTABLE = {"too much hair to count", tangles.REASON}  # reasons in `quality` with which a field cannot be pooled
# correlation of finding errors (over their stated standard errors) of two fields of one scalp: on 12 simulated scalps of four fields each
# 0.55 for hairs, 0.47 for rooted ones, 0.29 for follicles
IN_COMMON = 0.5
TELLING = 1.2  # factor of widening from which it is noted


def slim(field: Measurement) -> Measurement:
    """The measurement without the points of its hairs: all that pooling needs, so that hundreds of fields fit into memory."""
    return field.model_copy(update={"hairs": [hair.model_copy(update={"points": []}) for hair in field.hairs]})


def pool(name: str, fields: Sequence[Measurement]) -> Pooled:
    """The fields of one site taken together.

    Left out, with the reason: the same image a second time, a field too full of hair to be counted, and, where others have a scale, a
    field without one. Raises ValueError for no field at all.
    """
    if not fields:
        raise ValueError(f"{name}: no field to pool: give at least one measurement")
    kept, left_out = _sorted_out(fields)
    notes = [f"{m.image}: {', '.join(m.quality.reasons)}" for m in kept if not m.quality.ok]
    if len(kept) == 1:
        notes.append("a single field: how much the fields of the site differ cannot be seen")
    per_unit = [m for field in kept for m in field.hairs_per_follicle]
    if kept and not per_unit:
        notes.append("no follicular unit was found: what is told of units is null")
    counts = _counts(kept)
    scaled = [m for m in kept if m.scale.um_per_px is not None]
    result = Pooled(
        name=name,
        fields=[m.image for m in kept],
        left_out=left_out,
        notes=[],
        hair_count=counts.get("hair_count"),
        rooted_hair_count=counts.get("rooted_hair_count"),
        hair_count_in_frame=counts.get("hair_count_in_frame"),
        follicle_count=counts.get("follicle_count"),
        empty_follicle_count=counts.get("empty_follicle_count"),
        hairs_per_follicle=per_unit,
        area_cm2=None,
        density_per_cm2=None,
        follicle_density_per_cm2=None,
        cumulative_thickness_mm_per_cm2=None,
        diameter_um=None,
        terminal_vellus=None,
        diameter_diversity=None,
        single_hair_unit_share=_share(sum(m == 1 for m in per_unit), len(per_unit)),
        interfollicular_distance_um=None,
        version=__version__,
    )
    if not scaled:
        notes.append("no scale: nothing can be told in µm or per cm²" if kept else "no field could be pooled")
        return result.model_copy(update={"notes": notes})
    return result.model_copy(update=_with_scale(scaled, per_unit, notes) | {"notes": notes})


def _sorted_out(fields: Sequence[Measurement]) -> tuple[list[Measurement], list[LeftOut]]:
    any_scale = any(m.scale.um_per_px is not None and UNCOUNTABLE.isdisjoint(m.quality.reasons) for m in fields)
    kept: dict[str, Measurement] = {}
    left_out = []
    for m in fields:
        if m.image in kept:
            reason = "the same image again"
        elif not UNCOUNTABLE.isdisjoint(m.quality.reasons):
            reason = next(each for each in m.quality.reasons if each in UNCOUNTABLE)
        elif any_scale and m.scale.um_per_px is None:
            reason = "no scale, which other fields have: give it one"
        else:
            kept[m.image] = m
            continue
        left_out.append(LeftOut(image=m.image, reason=reason))
    return list(kept.values()), left_out


def _counts(fields: Sequence[Measurement]) -> dict[str, int]:
    """The sums of the counts of the fields; a count that a field lacks is not there, and none is where there is no field."""
    found: dict[str, int] = {}
    for name in ("hair_count", "rooted_hair_count", "hair_count_in_frame", "follicle_count", "empty_follicle_count"):
        values = [getattr(m, name) for m in fields]
        if values and None not in values:
            found[name] = sum(values)
    return found


def _with_scale(fields: Sequence[Measurement], per_unit: Sequence[int], notes: list[str]) -> dict[str, object]:
    """The figures that need a scale, which all fields have. Adds to the notes."""
    if any(m.scale.um_per_px_std is None for m in fields):
        notes.append("the scale's uncertainty is not stated: the intervals leave it out")
    areas = [_area(m) for m in fields]
    area = sum(areas)
    relative_std = sum((m.scale.um_per_px_std or 0.0) / _um(m) * part for m, part in zip(fields, areas, strict=True)) / area
    rule = figures.rule_of_lengths([h.length_px < m.height_px / 2 for m in fields for h in m.hairs])
    counts = [_counted(m, rule) for m in fields]
    count_std = _summed([figures.counted_std(m.hair_count_std, n, m.hair_count) for m, n in zip(fields, counts, strict=True)])
    more = sampling.between_fields(counts, areas, sampling.dispersion(per_unit))
    if more > TELLING**2:
        notes.append(f"the fields differ {more**0.5:.1f} times as much as sampling explains: the interval of the density is wider for it")
    density = figures.density(sum(counts), count_std, area, relative_std, rule, per_unit, more)
    found = [m.follicle_count for m in fields]
    more = sampling.between_fields(found, areas, sampling.dispersion(None))
    unit_std = _summed([m.follicle_count_std for m in fields])
    unit_density = figures.density(sum(found), unit_std, area, relative_std, "rooted", None, more)
    values = diameters.known([h.diameter_um for m in fields for h in m.hairs])
    if not len(values):
        notes.append("no hair has a diameter: what is told of diameters is null")
    kinds = _kinds(fields, notes)
    told = kinds.terminal + kinds.vellus if kinds else 0
    mean_unit, _ = sampling.unit_moments(per_unit)
    return {
        "area_cm2": area,
        "density_per_cm2": _with_interval(density, mean_unit / area),
        "follicle_density_per_cm2": _with_interval(unit_density, 1.0 / area),
        "cumulative_thickness_mm_per_cm2": _thickness(fields, relative_std, per_unit, values),
        "diameter_um": _diameter(values, relative_std),
        "terminal_vellus": kinds,
        "diameter_diversity": PooledDiversity(
            cv=diameters.diameter_diversity(values, None).cv,
            cv_interval_95=sampling.variation_interval(values),
            below_cutoff_share=_share(kinds.vellus if kinds else 0, told),
        ),
        "interfollicular_distance_um": _distance(fields, relative_std),
    }


def _um(m: Measurement) -> float:
    assert m.scale.um_per_px is not None
    return m.scale.um_per_px


def _area(m: Measurement) -> float:
    assert m.area_cm2 is not None
    return m.area_cm2


def _summed(stds: Sequence[float]) -> float:
    """Standard error of a sum over fields whose errors go together in part."""
    each = np.asarray(stds, dtype=np.float64)
    return float(np.sqrt((1.0 - IN_COMMON) * (each**2).sum() + IN_COMMON * each.sum() ** 2))


def _counted(m: Measurement, rule: Rule) -> int:
    return m.rooted_hair_count if rule == "rooted" else m.hair_count_in_frame


def _with_interval(density: Density, step: float) -> PooledDensity:
    """`step` is what one unit more would raise the density by."""
    interval = None if density.std_site is None else sampling.rate_interval(density.value, density.std_site, step)
    return PooledDensity(**density.model_dump(), interval_95=interval)


def _share(hits: int, n: int) -> PooledShare | None:
    interval = sampling.share_interval(hits, n)
    return None if interval is None else PooledShare(value=hits / n, n=n, interval_95=interval)


def _diameter(values: NDArray[np.float64], relative_std: float) -> PooledDiameter:
    found = diameters.distribution(values)
    mean = None if found.mean is None or found.sd is None else sampling.mean_interval(found.mean, found.sd, found.n, relative_std)
    return PooledDiameter(**found.model_dump(), mean_interval_95=mean, median_interval_95=sampling.median_interval(values, relative_std))


def _kinds(fields: Sequence[Measurement], notes: list[str]) -> TerminalVellus | None:
    kinds = [m.terminal_vellus for m in fields if m.terminal_vellus is not None]
    if not kinds or len({k.cutoff_um for k in kinds}) > 1:
        notes.append("the fields were measured with different cut-offs: terminal and vellus hair cannot be pooled")
        return None
    return kinds[0].model_copy(update={name: sum(getattr(k, name) for k in kinds) for name in ("terminal", "vellus", "undetermined")})


def _thickness(
    fields: Sequence[Measurement], relative_std: float, per_unit: Sequence[int], values: NDArray[np.float64]
) -> PooledDensity | None:
    """Cumulative hair thickness of the fields, each by its own rule of counting, over the area of those in which it could be had."""
    parts = [(m, m.cumulative_thickness_mm_per_cm2) for m in fields]
    had = [(m, part) for m, part in parts if part is not None]
    if not had:
        return None
    area = sum(_area(m) for m, _ in had)
    sums_mm = [part.value * _area(m) for m, part in had]
    counts = [_counted(m, part.rule) for m, part in had]
    rules = {part.rule for _, part in had}
    rule: Rule = "counting-frame" if rules == {"counting-frame"} else "rooted"
    if not sum(counts):
        return PooledDensity(value=0.0, std_frame=None, std_site=None, rule=rule, interval_95=None)
    total, mean_mm = sum(sums_mm), sum(sums_mm) / sum(counts)
    variance_mm = float((values / diameters.UM_PER_MM).var(ddof=1)) if len(values) > 1 else 0.0
    finding = mean_mm * _summed([figures.counted_std(m.hair_count_std, n, m.hair_count) for (m, _), n in zip(had, counts, strict=True)])
    per_hair = sampling.dispersion(per_unit) * mean_mm**2 + variance_mm
    more = sampling.between_fields(sums_mm, [_area(m) for m, _ in had], per_hair / mean_mm)
    # the errors of single widths, which go in all directions, are too small to matter here
    frame = float(np.hypot(finding, relative_std * total))
    site = float(np.sqrt(frame**2 + sum(counts) * per_hair * more))
    mean_unit, _ = sampling.unit_moments(per_unit)
    density = Density(value=total / area, std_frame=frame / area, std_site=site / area, rule=rule)
    return _with_interval(density, mean_unit * mean_mm / area)


def _distance(fields: Sequence[Measurement], relative_std: float) -> PooledDistance:
    distances = []
    for m in fields:
        places = np.array([(f.x, f.y) for f in m.follicles if f.hair_ids], np.float64).reshape(-1, 2)
        distances.append(units.nearest_distances(places * _um(m), m.width_px * _um(m), m.height_px * _um(m)))
    together = units.joined(distances)
    found = units.interfollicular_distance(together)
    return PooledDistance(**found.model_dump(), mean_interval_95=units.distance_interval(together, relative_std))
