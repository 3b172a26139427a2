"""What the networks of the SAM family are built of in common: norms over channels, perceptrons, and the neck behind every encoder."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

EMBEDDING = 256
"""Channels of an embedding, of every kind."""
MOST_WEIGHTS = 1 << 25
"""Numbers of an attention map that are held at once: 128 MB as float32. Without it the largest encoders take gigabytes."""

Windows = tuple[int, int, int]  # pictures, windows down, windows across
Sides = tuple[int, int, int, int]


def sides(x: Tensor) -> Sides:
    """The four sides as plain numbers: tracing would put them into the graph as things to compute."""
    a, b, c, d = (int(side) for side in x.shape)
    return a, b, c, d


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of a map (n, channels, rows, columns), each place by itself."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        last = functional.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
        return last.permute(0, 3, 1, 2)


class FeedForward(nn.Module):
    """Two linear layers on the last axis, an activation between them."""

    def __init__(self, channels: int, inside: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(channels, inside)
        self.lin2 = nn.Linear(inside, channels)
        self._activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.lin2(self._activation(self.lin1(x)))
        return y


class Perceptron(nn.Module):
    """Linear layers of these widths on the last axis, ReLU between them."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inner, outer) for inner, outer in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = layer(functional.relu(x) if number else x)
        return x


class Neck(nn.Sequential):
    """From an encoder's channels to EMBEDDING, with a look at the neighbours."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, EMBEDDING, 1, bias=False),
            ChannelNorm(EMBEDDING),
            nn.Conv2d(EMBEDDING, EMBEDDING, 3, padding=1, bias=False),
            ChannelNorm(EMBEDDING),
        )


def into_windows(x: Tensor, side: int) -> tuple[Tensor, Windows]:
    """A map (n, rows, columns, channels) as squares (n · windows, side, side, channels); zeros fill the last ones."""
    n, rows, columns, channels = sides(x)
    down, across = -(-rows // side), -(-columns // side)
    x = functional.pad(x, (0, 0, 0, across * side - columns, 0, down * side - rows))
    x = x.reshape(n, down, side, across, side, channels).transpose(2, 3)
    return x.reshape(n * down * across, side, side, channels), (n, down, across)


def out_of_windows(x: Tensor, windows: Windows, rows: int, columns: int) -> Tensor:
    """What `into_windows` took apart, put together again: (n, rows, columns, channels)."""
    (n, down, across), (_, side, _, channels) = windows, sides(x)
    x = x.reshape(n, down, across, side, side, channels).transpose(2, 3)
    return x.reshape(n, down * side, across * side, channels)[:, :rows, :columns]
