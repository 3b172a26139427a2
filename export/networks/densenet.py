"""DenseNet (Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, CVPR 2017), written from the paper.

Parameters carry timm's names, so that `densenet169.*` checkpoints of timm load as they are.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

BOTTLENECK = 4  # channels of a layer's 1×1 convolution, in growth rates
GROWTH = 32
LAYERS_169 = (6, 12, 32, 32)


class DenseLayer(nn.Module):
    """Norm, ReLU, 1×1, norm, ReLU, 3×3: `GROWTH` new channels from all that came before."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, BOTTLENECK * GROWTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * GROWTH)
        self.conv2 = nn.Conv2d(BOTTLENECK * GROWTH, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(functional.relu(self.norm2(self.conv1(functional.relu(self.norm1(x))))))
        return y


class DenseBlock(nn.Module):
    """Layers that each see what all before them gave."""

    def __init__(self, inner: int, layers: int) -> None:
        super().__init__()
        for index in range(layers):
            self.add_module(f"denselayer{index + 1}", DenseLayer(inner + index * GROWTH))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], 1)
        return x


def _transition(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(norm=nn.BatchNorm2d(inner), relu=nn.ReLU(), conv=nn.Conv2d(inner, outer, 1, bias=False), pool=nn.AvgPool2d(2, 2))
    )


class DenseNet(nn.Module):
    """Float32 (n, 3, height, width), normalised RGB, to features float32 (n, `channels`, height / 32, width / 32).

    With `classes` it has timm's classifier too, which only a count of parameters or a check against timm wants.
    """

    def __init__(self, layers: tuple[int, ...] = LAYERS_169, stem: int = 64, classes: int = 0) -> None:
        super().__init__()
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, stem, 7, 2, 3, bias=False), norm0=nn.BatchNorm2d(stem), relu0=nn.ReLU(), pool0=nn.MaxPool2d(3, 2, 1)
        )
        channels = stem
        for index, count in enumerate(layers):
            parts[f"denseblock{index + 1}"] = DenseBlock(channels, count)
            channels += count * GROWTH
            if index + 1 < len(layers):
                parts[f"transition{index + 1}"] = _transition(channels, channels // 2)
                channels //= 2
        parts["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(parts)
        self.channels = channels
        self.classifier = nn.Linear(channels, classes) if classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.features(x))
