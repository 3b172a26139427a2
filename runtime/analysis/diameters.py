"""Figures made of hair diameters: their distribution, terminal and vellus hair, diameter diversity, cumulative hair thickness.

Each hair stands once, by its median apparent width. A hair without a diameter is left out, unless it is known to be thinner than
something, which can be enough to call it vellus.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calib.scale import Scale
from runtime.analysis import sampling
from runtime.analysis.figures import Counted, relative_std
from runtime.analysis.hairs import HairPath
from runtime.analysis.measurement import CutoffProfile, Density, DiameterDiversity, Distribution, TerminalVellus

# hair is terminal above, vellus up to: trichoscopy's "thin hairs" below 0.03 mm (Rakowska, J. Dermatol. Case Rep. 3 (2009) 14);
# TrichoScan's terminal hair thicker than 40 µm (Hoffmann, Dermatology 211 (2005) 54)
CUTOFFS_UM: dict[CutoffProfile, int] = {"trichoscopy": 30, "trichoscan": 40}
UM_PER_MM = 1e3

Diameters = Sequence[float | None] | NDArray[np.float64]


def known(diameters: Diameters) -> NDArray[np.float64]:
    """Those that are finite numbers, float64 (n,); None and NaN are left out."""
    values = np.array([np.nan if d is None else d for d in diameters], dtype=np.float64)
    return values[np.isfinite(values)]


def distribution(diameters: Diameters) -> Distribution:
    """Statistics over hairs; None and values that are not finite are left out. `sd` (of the sample, n − 1) needs two values."""
    values = known(diameters)
    if not len(values):
        return Distribution(n=0, mean=None, median=None, p25=None, p75=None, sd=None)
    p25, median, p75 = (float(v) for v in np.percentile(values, [25, 50, 75]))
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return Distribution(n=len(values), mean=float(values.mean()), median=median, p25=p25, p75=p75, sd=sd)


def terminal_vellus(diameters_um: Diameters, maxima_um: Diameters = (), profile: CutoffProfile = "trichoscopy") -> TerminalVellus:
    """Hairs thicker than the profile's cut-off (terminal) and not (vellus).

    `maxima_um` tells, hair by hair, what a hair without a diameter is known to be thinner than (None where nothing is): at most the
    cut-off, it is vellus. What then remains is undetermined. Both sequences have one entry a hair; `maxima_um` may be empty.
    """
    cutoff = CUTOFFS_UM[profile]
    values = known(diameters_um)
    terminal = int((values > cutoff).sum())
    below = sum(d is None and m is not None and m <= cutoff for d, m in zip(diameters_um, maxima_um, strict=True)) if len(maxima_um) else 0
    vellus = len(values) - terminal + below
    undetermined = len(diameters_um) - terminal - vellus
    return TerminalVellus(profile=profile, cutoff_um=cutoff, terminal=terminal, vellus=vellus, undetermined=undetermined)


def diameter_diversity(diameters: Diameters, kinds: TerminalVellus | None) -> DiameterDiversity:
    """How unlike the diameters are, in any unit: the sign of miniaturisation (de Lacharrière et al., Arch. Dermatol. 137 (2001) 641).

    `cv` is the sample's standard deviation over its mean (the errors of the widths are in it); null below two hairs. `below_cutoff_share`
    is vellus hair among the hairs that could be told (Rakowska 2009 gives norms of 10–13 % at 30 µm); null where none could.
    """
    values = known(diameters)
    cv = float(values.std(ddof=1) / values.mean()) if len(values) > 1 and values.mean() > 0 else None
    told = kinds.terminal + kinds.vellus if kinds else 0
    return DiameterDiversity(cv=cv, below_cutoff_share=kinds.vellus / told if kinds and told else None)


def cumulative_thickness(
    paths: Sequence[HairPath], counted: Counted, area_cm2: float, scale: Scale, hairs_per_unit: Sequence[int]
) -> Density | None:
    """Cumulative hair thickness, mm per cm²: the diameters of the counted hairs summed, over the area (TrichoScan; Hoffmann 2005).

    A counted hair without a diameter stands with the mean d̄ of the others; so this is the density times the counted hairs' mean diameter.
    None without a scale, or where hairs were counted but none has a diameter; 0, of unknown uncertainty, where no hair was counted.

    `std_frame` holds finding, scale and widths: areas go with the square of the scale and diameters with itself, so this goes with its
    inverse. `std_site` adds the sampling of units: with the variance s² of diameters, sums over N hairs vary by
    E N · (dispersion · d̄² + s²), by the law in `sampling`. `hairs_per_unit` are those of the frame.
    """
    if scale.um_per_px is None:
        return None
    own = [path for path, counts in zip(paths, counted.which, strict=True) if counts]
    values = known([path.diameter_px for path in own])
    if not len(values):
        return None if own else Density(value=0.0, std_frame=None, std_site=None, rule=counted.rule)
    errors = known([path.diameter_px_std for path in own])
    mean = float(values.mean())
    variance = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    total = counted.count * mean
    widths = float((errors**2).sum()) + (counted.count - len(values)) * variance
    frame = (counted.std * mean) ** 2 + (relative_std(scale) * total) ** 2 + widths
    sampled = counted.count * (sampling.dispersion(hairs_per_unit) * mean**2 + variance)
    mm_per_cm2 = scale.um_per_px / UM_PER_MM / area_cm2
    return Density(
        value=total * mm_per_cm2,
        std_frame=float(np.sqrt(frame)) * mm_per_cm2,
        std_site=float(np.sqrt(frame + sampled)) * mm_per_cm2,
        rule=counted.rule,
    )
