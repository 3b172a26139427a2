"""ScalpVision's own features of a hair mask (arXiv 2406.17254, 3.2), as published: its skeleton, boxes, widths and lines."""

from runtime.analysis.paper.features import paper_features

__all__ = ["paper_features"]
