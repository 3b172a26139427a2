"""SAM's encoder of prompts: where points lie, by random Fourier features (Tancik et al., NeurIPS 2020), and what they say.

Parameters carry the names of the `segment-anything` package; those for boxes and masks are held, so that checkpoints load whole.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from export.networks.sam.layers import EMBEDDING, ChannelNorm

LABELS = 4
"""0 a point on what is not meant, 1 on what is, 2 and 3 a box's first and last corner. −1 is no point."""
NO_POINT = -1
MASK_WIDTH = 16


class FourierPositions(nn.Module):
    """Positions 0…1 as sines and cosines of their projections on random directions."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, EMBEDDING // 2))
        self.positional_encoding_gaussian_matrix: Tensor

    def forward(self, at: Tensor) -> Tensor:
        """(…, 2), x and y, to (…, EMBEDDING)."""
        turns = 2 * math.pi * ((2 * at - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([turns.sin(), turns.cos()], -1)


class PromptEncoder(nn.Module):
    """Points of a picture of `side` px as tokens; the positions of the embedding's places; what stands for "no mask given"."""

    def __init__(self, side: int, grid: int) -> None:
        super().__init__()
        self._side, self._grid = side, grid
        self.pe_layer = FourierPositions()
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, EMBEDDING) for _ in range(LABELS))
        self.not_a_point_embed = nn.Embedding(1, EMBEDDING)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, MASK_WIDTH // 4, 2, 2),
            ChannelNorm(MASK_WIDTH // 4),
            nn.GELU(),
            nn.Conv2d(MASK_WIDTH // 4, MASK_WIDTH, 2, 2),
            ChannelNorm(MASK_WIDTH),
            nn.GELU(),
            nn.Conv2d(MASK_WIDTH, EMBEDDING, 1),
        )
        self.no_mask_embed = nn.Embedding(1, EMBEDDING)

    def forward(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Tokens (b, n, EMBEDDING) of `coords` (b, n, 2) px, centres of pixels at whole numbers, and `labels` (b, n)."""
        where: Tensor = self.pe_layer((coords + 0.5) / self._side) * (labels != NO_POINT).float()[..., None]
        kinds = {NO_POINT: self.not_a_point_embed, **dict(enumerate(self.point_embeddings))}
        for label, embedding in kinds.items():
            said: Tensor = embedding(torch.zeros(1, dtype=torch.long))
            where = where + (labels == label).float()[..., None] * said
        return where

    def positions(self) -> Tensor:
        """Of the embedding's places, (1, places, EMBEDDING), row by row."""
        at = (torch.arange(self._grid) + 0.5) / self._grid
        y, x = torch.meshgrid(at, at, indexing="ij")
        found: Tensor = self.pe_layer(torch.stack([x, y], -1).reshape(1, -1, 2))
        return found

    def no_mask(self) -> Tensor:
        """Added to every place of an embedding, (1, 1, EMBEDDING)."""
        return self.no_mask_embed.weight[None]
