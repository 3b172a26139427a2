"""EfficientFormerV2 (Li et al.: Rethinking Vision Transformers for MobileNet Size and Speed, ICCV 2023), written from the paper.

Parameters carry timm's names, so that `efficientformerv2_s0.*` checkpoints of timm load as they are. Attention's position biases are
one for each distance on the grid: a network serves one size of picture, timm's checkpoints 224×224.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Grid = tuple[int, int]  # rows, columns

WIDTHS_S0 = (32, 48, 96, 176)
EXPANSIONS_S0 = ((4, 4), (4, 4), (4, 3, 3, 3, 4, 4), (4, 3, 3, 4))
ATTENTION_BLOCKS = 2  # the last of the third and of the fourth stage
HEADS, RATIO, KEY_WIDTH, DOWN_KEY_WIDTH = 8, 4, 32, 16
LAYER_SCALE = 1e-5


class ConvNorm(nn.Module):
    """Convolution (with bias, as published) and normalisation; sides are kept but for the stride."""

    def __init__(self, inner: int, outer: int, size: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, size, stride, size // 2, groups=groups)
        self.bn = nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(self.conv(x))
        return y


class ConvNormAct(nn.Module):
    """The same with GELU."""

    def __init__(self, inner: int, outer: int, size: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, size, stride, size // 2, groups=groups)
        self.bn = nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gelu(self.bn(self.conv(x)))


def _halved(grid: Grid) -> Grid:
    return math.ceil(grid[0] / 2), math.ceil(grid[1] / 2)


def _distances(queries: Grid, keys: Grid, step: int) -> Tensor:
    """Which bias each pair of places has: int64 (queries, keys), the rows' distance times the columns plus the columns' distance."""
    rows, columns = keys
    of_keys = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")).flatten(1)
    at = torch.stack(torch.meshgrid(torch.arange(queries[0]) * step, torch.arange(queries[1]) * step, indexing="ij")).flatten(1)
    away = (at[:, :, None] - of_keys[:, None, :]).abs()
    return away[0] * columns + away[1]


def _heads(x: Tensor) -> Tensor:
    """(n, HEADS · d, rows, columns) as (n, HEADS, rows · columns, d)."""
    n, channels, rows, columns = x.shape
    return x.reshape(n, HEADS, channels // HEADS, rows * columns).transpose(2, 3)


class Attention2d(nn.Module):
    """Attention over a grid whose heads talk to each other; with a `stride` on a coarser grid, its answer enlarged again."""

    def __init__(self, channels: int, grid: Grid, stride: int | None) -> None:
        super().__init__()
        self.scale = KEY_WIDTH**-0.5
        wide = RATIO * KEY_WIDTH * HEADS
        self.stride_conv: nn.Module | None = None
        self.upsample: nn.Module | None = None
        if stride is not None:
            grid = (math.ceil(grid[0] / stride), math.ceil(grid[1] / stride))
            self.stride_conv = ConvNorm(channels, channels, 3, stride, channels)
            self.upsample = nn.Upsample(scale_factor=stride, mode="bilinear")
        self.grid = grid
        self.q = ConvNorm(channels, KEY_WIDTH * HEADS)
        self.k = ConvNorm(channels, KEY_WIDTH * HEADS)
        self.v = ConvNorm(channels, wide)
        self.v_local = ConvNorm(wide, wide, 3, groups=wide)
        self.talking_head1 = nn.Conv2d(HEADS, HEADS, 1)
        self.talking_head2 = nn.Conv2d(HEADS, HEADS, 1)
        self.proj = ConvNorm(wide, channels)
        self.attention_biases = nn.Parameter(torch.zeros(HEADS, grid[0] * grid[1]))
        self.register_buffer("attention_bias_idxs", _distances(grid, grid, 1), persistent=False)
        self.attention_bias_idxs: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if self.stride_conv is not None:
            x = self.stride_conv(x)
        v = self.v(x)
        weights = (_heads(self.q(x)) @ _heads(self.k(x)).transpose(2, 3)) * self.scale
        weights = self.talking_head1(weights + self.attention_biases[:, self.attention_bias_idxs])
        weights = self.talking_head2(weights.softmax(-1))
        y = (weights @ _heads(v)).transpose(2, 3).reshape(-1, v.shape[1], *self.grid) + self.v_local(v)
        if self.upsample is not None:
            y = self.upsample(y)
        out: Tensor = self.proj(nn.functional.gelu(y))
        return out


class LocalGlobalQuery(nn.Module):
    """Queries of every second place: picked out, and filtered from its surroundings."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(1, 2, 0)
        self.local = nn.Conv2d(inner, inner, 3, 2, 1, groups=inner)
        self.proj = ConvNorm(inner, outer)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.proj(self.local(x) + self.pool(x))
        return y


class Attention2dDownsample(nn.Module):
    """Attention of every second place to all places of a grid."""

    def __init__(self, inner: int, outer: int, grid: Grid) -> None:
        super().__init__()
        self.scale = DOWN_KEY_WIDTH**-0.5
        self.halved = _halved(grid)
        wide = RATIO * DOWN_KEY_WIDTH * HEADS
        self.q = LocalGlobalQuery(inner, DOWN_KEY_WIDTH * HEADS)
        self.k = ConvNorm(inner, DOWN_KEY_WIDTH * HEADS)
        self.v = ConvNorm(inner, wide)
        self.v_local = ConvNorm(wide, wide, 3, 2, wide)
        self.proj = ConvNorm(wide, outer)
        self.attention_biases = nn.Parameter(torch.zeros(HEADS, grid[0] * grid[1]))
        self.register_buffer("attention_bias_idxs", _distances(self.halved, grid, 2), persistent=False)
        self.attention_bias_idxs: Tensor

    def forward(self, x: Tensor) -> Tensor:
        v = self.v(x)
        weights = (_heads(self.q(x)) @ _heads(self.k(x)).transpose(2, 3)) * self.scale
        weights = (weights + self.attention_biases[:, self.attention_bias_idxs]).softmax(-1)
        y = (weights @ _heads(v)).transpose(2, 3).reshape(-1, v.shape[1], *self.halved) + self.v_local(v)
        out: Tensor = self.proj(nn.functional.gelu(y))
        return out


class Downsample(nn.Module):
    """Halves a map by a strided convolution, in the last stage by attention too."""

    def __init__(self, inner: int, outer: int, grid: Grid, attentive: bool) -> None:
        super().__init__()
        self.conv = ConvNorm(inner, outer, 3, 2)
        self.attn = Attention2dDownsample(inner, outer, grid) if attentive else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y if self.attn is None else self.attn(x) + y


class LayerScale2d(nn.Module):
    """A learnt factor for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(LAYER_SCALE * torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.view(1, -1, 1, 1)


class Mlp(nn.Module):
    """Feed-forward with a depthwise 3×3 in its middle."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        inside = channels * expansion
        self.fc1 = ConvNormAct(channels, inside)
        self.mid = ConvNormAct(inside, inside, 3, groups=inside)
        self.fc2 = ConvNorm(inside, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(self.mid(self.fc1(x)))
        return y


class Block(nn.Module):
    """Attention (in the last blocks of the last stages) and feed-forward, each added to what came in."""

    def __init__(self, channels: int, expansion: int, grid: Grid, attentive: bool, stride: int | None) -> None:
        super().__init__()
        self.token_mixer = Attention2d(channels, grid, stride) if attentive else None
        self.ls1 = LayerScale2d(channels) if attentive else None
        self.mlp = Mlp(channels, expansion)
        self.ls2 = LayerScale2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.token_mixer is not None and self.ls1 is not None:
            x = x + self.ls1(self.token_mixer(x))
        y: Tensor = x + self.ls2(self.mlp(x))
        return y


class Stage(nn.Module):
    """Blocks on one grid; all but the first stage halve what they get."""

    def __init__(self, number: int, inner: int, outer: int, expansions: tuple[int, ...], grid: Grid) -> None:
        super().__init__()
        self.downsample = Downsample(inner, outer, grid, number >= 3) if number else nn.Identity()
        grid = _halved(grid) if number else grid
        first = len(expansions) - ATTENTION_BLOCKS if number >= 2 else len(expansions)
        stride = 2 if number == 2 else None
        self.blocks = nn.Sequential(*(Block(outer, e, grid, place >= first, stride) for place, e in enumerate(expansions)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.blocks(self.downsample(x))
        return y


class EfficientFormerV2(nn.Module):
    """Float32 (n, 3, height, width), normalised RGB of the size it was made for, to features (n, `channels`, height / 32, width / 32).

    With `classes` it has timm's two classifiers too, which only a count of parameters or a check against timm wants.

    Raises:
        ValueError: a side that is no multiple of 32.
    """

    def __init__(
        self,
        height: int = 224,
        width: int = 224,
        widths: tuple[int, ...] = WIDTHS_S0,
        expansions: tuple[tuple[int, ...], ...] = EXPANSIONS_S0,
        classes: int = 0,
    ) -> None:
        super().__init__()
        if height % 32 or width % 32:
            raise ValueError(f"{width}×{height} px: sides of EfficientFormerV2's pictures are multiples of 32")
        self.channels = widths[-1]
        self.stem = nn.Sequential()
        self.stem.add_module("conv1", ConvNormAct(3, widths[0] // 2, 3, 2))
        self.stem.add_module("conv2", ConvNormAct(widths[0] // 2, widths[0], 3, 2))
        grid, inner, stages = (height // 4, width // 4), widths[0], []
        for number, (outer, by_block) in enumerate(zip(widths, expansions, strict=True)):
            stages.append(Stage(number, inner, outer, by_block, grid))
            grid, inner = (_halved(grid) if number else grid), outer
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], classes) if classes else nn.Identity()
        self.head_dist = nn.Linear(widths[-1], classes) if classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.stages(self.stem(x)))
        return y
