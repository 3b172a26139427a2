"""The features of one mask that ScalpVision's severity classifier reads (3.2, Appendix E), in one call."""

from __future__ import annotations

from runtime.analysis.measurement import PaperFeatures
from runtime.analysis.paper.lines import line_count
from runtime.analysis.paper.skeleton import Mask, drop_small
from runtime.analysis.paper.thickness import section_widths, thickness_statistics

MIN_AREA_PX = 250


def paper_features(mask: Mask) -> PaperFeatures:
    """Thickness statistics and line count of `mask`, bool (height, width), in pixels of it.

    Never raises for a mask of at least 1×1 px: without hair, or without any background (where the paper's skeleton has no
    end), n and the line count are 0 and the rest is null. The source of each part, and each place where the paper and the
    published code differ, stand with the functions that do it. The same mask gives the same features.
    """
    hair = drop_small(mask, MIN_AREA_PX)
    return PaperFeatures(thickness_px=thickness_statistics(section_widths(hair)), line_count=line_count(hair))
