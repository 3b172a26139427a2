"""MobileSAM's encoder (Zhang et al.: Faster Segment Anything, 2023): a TinyViT (Wu et al., ECCV 2022) whose last stage halves nothing.

Written from the two papers. Parameters carry the names of the `MobileSAM` package; its classifier, which nothing uses, can be had for
counts of parameters.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.sam.layers import Neck, into_windows, out_of_windows, sides

WIDTHS, DEPTHS, HEADS, WINDOWS = (64, 128, 160, 320), (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7)
STEPS = (2, 2, 1)
"""By how much each stage makes the map smaller for the next one; in TinyViT itself the last is 2 as well."""
RATIO = 4
UNUSED = ("norm_head.", "head.")
"""Beginnings of the names of the classifier's parameters."""


def _conv(inner: int, outer: int, size: int = 1, step: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, and normalisation."""
    conv = nn.Conv2d(inner, outer, size, step, size // 2, groups=groups, bias=False)
    return nn.Sequential(OrderedDict(c=conv, bn=nn.BatchNorm2d(outer)))


class Stem(nn.Module):
    """The picture at a quarter of its size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(_conv(3, width // 2, 3, 2), nn.GELU(), _conv(width // 2, width, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.seq(x)
        return y


class InvertedBottleneck(nn.Module):
    """1×1 to more channels, 3×3 on each, 1×1 back; what came in is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inside = RATIO * width
        self.conv1 = _conv(width, inside)
        self.conv2 = _conv(inside, inside, 3, groups=inside)
        self.conv3 = _conv(inside, width)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.gelu(self.conv2(functional.gelu(self.conv1(x))))
        return functional.gelu(self.conv3(y) + x)


class Merging(nn.Module):
    """To the next stage's channels, and its size: 1×1, 3×3 with a step, 1×1."""

    def __init__(self, inner: int, outer: int, step: int) -> None:
        super().__init__()
        self.conv1 = _conv(inner, outer)
        self.conv2 = _conv(outer, outer, 3, step, outer)
        self.conv3 = _conv(outer, outer)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv3(functional.gelu(self.conv2(functional.gelu(self.conv1(x)))))
        return y


class WindowAttention(nn.Module):
    """Attention within squares (m, side, side, width), biased by how many rows and columns are between two places."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self._heads = heads
        self._side = side
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, side * side))

    def forward(self, x: Tensor) -> Tensor:
        m, side, _, width = sides(x)
        places, each = side * side, width // self._heads
        # a head's queries, keys and values lie side by side
        q, k, v = self.qkv(self.norm(x)).reshape(m, places, self._heads, 3, each).permute(3, 0, 2, 1, 4)
        weights = (q @ k.transpose(2, 3)) * each**-0.5 + self.attention_biases[:, _apart(self._side)]
        y: Tensor = self.proj((weights.softmax(-1) @ v).transpose(1, 2).reshape(m, side, side, width))
        return y


def _apart(side: int) -> Tensor:
    """Which bias two places of a square have: int64 (side², side²), rows apart times the side plus columns apart."""
    at = torch.arange(side * side)
    row, column = at // side, at % side
    return (row[:, None] - row[None]).abs() * side + (column[:, None] - column[None]).abs()


class Mlp(nn.Module):
    """Norm and feed-forward on the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, RATIO * width)
        self.fc2 = nn.Linear(RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(functional.gelu(self.fc1(self.norm(x))))
        return y


class TinyBlock(nn.Module):
    """Attention in windows, a 3×3 on each channel, feed-forward; on maps (n, width, rows, columns)."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self._window = window
        self.attn = WindowAttention(width, heads, window)
        self.mlp = Mlp(width)
        self.local_conv = _conv(width, width, 3, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = sides(x)[2:]
        squares, windows = into_windows(x.permute(0, 2, 3, 1), self._window)
        x = x + out_of_windows(self.attn(squares), windows, rows, columns).permute(0, 3, 1, 2)
        y = self.local_conv(x).permute(0, 2, 3, 1)
        out: Tensor = (y + self.mlp(y)).permute(0, 3, 1, 2)
        return out


class TinyStage(nn.Module):
    """Blocks on one grid, and what leads to the next."""

    def __init__(self, number: int) -> None:
        super().__init__()
        width, last = WIDTHS[number], number + 1 == len(WIDTHS)
        one = InvertedBottleneck if number == 0 else TinyBlock
        sizes = (width,) if number == 0 else (width, HEADS[number], WINDOWS[number])
        self.blocks = nn.ModuleList(one(*sizes) for _ in range(DEPTHS[number]))
        self.downsample = None if last else Merging(width, WIDTHS[number + 1], STEPS[number])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class TinyEncoder(nn.Module):
    """Float32 (n, 3, side, side), normalised RGB, to an embedding float32 (n, EMBEDDING, side / 16, side / 16)."""

    def __init__(self, *, classes: int = 0) -> None:
        super().__init__()
        self.patch_embed = Stem(WIDTHS[0])
        self.layers = nn.ModuleList(TinyStage(number) for number in range(len(WIDTHS)))
        self.neck = Neck(WIDTHS[-1])
        if classes:
            self.norm_head = nn.LayerNorm(WIDTHS[-1])
            self.head = nn.Linear(WIDTHS[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.neck(x)
        return y
