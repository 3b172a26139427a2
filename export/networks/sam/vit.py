"""SAM's encoder (Kirillov et al.: Segment Anything, ICCV 2023): a vision transformer that attends in windows, in four blocks globally.

Written from the paper and those that it builds on: plain transformers for detection (Li et al., ECCV 2022), positions relative and
decomposed by axis (Li et al.: MViTv2, CVPR 2022). Parameters carry the names of the `segment-anything` package.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.sam.layers import MOST_WEIGHTS, FeedForward, Neck, into_windows, out_of_windows, sides

PATCH, WINDOW, RATIO, EPS = 16, 14, 4, 1e-6


@dataclass(frozen=True)
class ViTSizes:
    """How thick a transformer is; `whole` are the blocks that attend globally, counted from 0."""

    width: int
    depth: int
    heads: int
    whole: tuple[int, ...]


VIT_B = ViTSizes(768, 12, 12, (2, 5, 8, 11))
VIT_L = ViTSizes(1024, 24, 16, (5, 11, 17, 23))
VIT_H = ViTSizes(1280, 32, 16, (7, 15, 23, 31))


class RelativeAttention(nn.Module):
    """Attention of every place of a square map (n, side, side, width) to every other, biased by rows and columns between them."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self._heads = heads
        each = width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, each))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, each))

    def forward(self, x: Tensor) -> Tensor:
        n, side, _, width = sides(x)
        places, each = side * side, width // self._heads
        qkv = self.qkv(x).reshape(n, places, 3, self._heads, each).permute(2, 0, 3, 1, 4).reshape(3, n * self._heads, places, each)
        at_once = max(1, MOST_WEIGHTS // (places * places))
        parts = [self._attend(qkv[:, first : first + at_once], side) for first in range(0, n * self._heads, at_once)]
        y = torch.cat(parts) if len(parts) > 1 else parts[0]
        y = y.reshape(n, self._heads, side, side, each).permute(0, 2, 3, 1, 4).reshape(n, side, side, width)
        out: Tensor = self.proj(y)
        return out

    def _attend(self, qkv: Tensor, side: int) -> Tensor:
        """Queries, keys and values (3, m, places, d) to the weighed mean of the values, (m, places, d)."""
        q, k, v = qkv.unbind(0)
        m, places, each = (int(length) for length in q.shape)
        weights = (q * each**-0.5) @ k.transpose(1, 2)
        on_map = q.reshape(m, side, side, each)
        by_row = on_map @ _between(self.rel_pos_h, side).transpose(1, 2)
        by_column = (on_map.transpose(1, 2) @ _between(self.rel_pos_w, side).transpose(1, 2)).transpose(1, 2)
        weights = weights.reshape(m, side, side, side, side) + by_row[..., None] + by_column[..., None, :]
        mean: Tensor = weights.reshape(m, places, places).softmax(-1) @ v
        return mean


def _between(table: Tensor, side: int) -> Tensor:
    """The row of `table` for each pair of places on an axis of `side`: (side, side, d)."""
    at = torch.arange(side)
    return table[at[:, None] - at[None, :] + (side - 1)]


class Block(nn.Module):
    """Attention, in windows where `window`, and feed-forward, each on what was normalised and added to what came in."""

    def __init__(self, width: int, heads: int, side: int, window: int | None) -> None:
        super().__init__()
        self._window = window
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = RelativeAttention(width, heads, window or side)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = FeedForward(width, RATIO * width, functional.gelu)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        if self._window is None:
            y = self.attn(y)
        else:
            squares, windows = into_windows(y, self._window)
            y = out_of_windows(self.attn(squares), windows, *sides(x)[1:3])
        x = x + y
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Patches(nn.Module):
    """The picture cut into squares of PATCH px: (n, 3, side, side) to (n, side / PATCH, side / PATCH, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.proj(x)
        return y.permute(0, 2, 3, 1)


class ViTEncoder(nn.Module):
    """Float32 (n, 3, side, side), normalised RGB, to an embedding float32 (n, EMBEDDING, side / 16, side / 16)."""

    def __init__(self, sizes: ViTSizes, side: int) -> None:
        super().__init__()
        grid = side // PATCH
        self.patch_embed = Patches(sizes.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, sizes.width))
        self.blocks = nn.ModuleList(
            Block(sizes.width, sizes.heads, grid, None if number in sizes.whole else WINDOW) for number in range(sizes.depth)
        )
        self.neck = Neck(sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return y
