"""The live segmenter's network: a thin U-Net of inverted residuals (MobileNetV2, Sandler 2018) that two CPU cores run at camera rate.

The stem halves the picture at once and nothing convolves at full size: the last layer gives each half-size pixel the four logits
of the pixels that it stands for (sub-pixel convolution, Shi 2016), so that borders are as fine as the picture. The same trunk feeds
three maps at half size: centre lines, the openings (ostia) from which hair grows, and which hair is too like the skin to count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 32  # sides of the input are multiples of this
LINE, OSTIUM, FAINT = range(3)  # channels of the auxiliary heads
MARKS = 3


@dataclass(frozen=True)
class Outputs:
    """What the network says of a batch.

    Attributes:
        hair: logits (batch, 1, height, width).
        marks: logits (batch, MARKS, height / 2, width / 2): LINE, OSTIUM and FAINT; the last means something inside hair only.
        features: (batch, channels), means of the channels at an eighth of the size, by which unfamiliar pictures are told: deeper
            layers have forgotten what does not matter to hair.
    """

    hair: Tensor
    marks: Tensor
    features: Tensor


def _norm_act(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU6(inplace=True)]


class InvertedResidual(nn.Module):
    """Expand, filter each channel alone, project; added to its input where the shapes allow."""

    def __init__(self, inner: int, outer: int, *, expand: int, stride: int = 1) -> None:
        super().__init__()
        wide = inner * expand
        self.adds = stride == 1 and inner == outer
        self.body = nn.Sequential(
            nn.Conv2d(inner, wide, 1, bias=False),
            *_norm_act(wide),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            *_norm_act(wide),
            nn.Conv2d(wide, outer, 1, bias=False),
            nn.BatchNorm2d(outer),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.adds else y


class Separable(nn.Module):
    """A 3×3 filter a channel, then a mix of the channels."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inner, inner, 3, 1, 1, groups=inner, bias=False),
            *_norm_act(inner),
            nn.Conv2d(inner, outer, 1, bias=False),
            *_norm_act(outer),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y


class Join(nn.Module):
    """One step up of the decoder: the deeper map enlarged, the encoder's map of that size added, both filtered."""

    def __init__(self, deep: int, skip: int, outer: int) -> None:
        super().__init__()
        self.deep = nn.Conv2d(deep, outer, 1)
        self.skip = nn.Conv2d(skip, outer, 1)
        self.mix = Separable(outer, outer)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        raised = functional.interpolate(self.deep(deep), scale_factor=2.0, mode="nearest")
        y: Tensor = self.mix(raised + self.skip(skip))
        return y


class LiveNet(nn.Module):
    """BGR pictures float32 (batch, 3, height, width), 0…255, sides multiples of STRIDE, to `Outputs`.

    `base` channels at half size; deeper stages grow from it.
    """

    def __init__(self, base: int = 16) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = base, base * 3 // 2, base * 2, base * 4, base * 6
        self.base = base
        self.stem = nn.Sequential(nn.Conv2d(3, c1, 3, 2, 1, bias=False), *_norm_act(c1), Separable(c1, c1))
        self.down4 = nn.Sequential(InvertedResidual(c1, c2, expand=3, stride=2), InvertedResidual(c2, c2, expand=3))
        self.down8 = nn.Sequential(InvertedResidual(c2, c3, expand=4, stride=2), *(InvertedResidual(c3, c3, expand=4) for _ in range(2)))
        self.down16 = nn.Sequential(InvertedResidual(c3, c4, expand=4, stride=2), *(InvertedResidual(c4, c4, expand=3) for _ in range(2)))
        self.down32 = nn.Sequential(InvertedResidual(c4, c5, expand=4, stride=2), InvertedResidual(c5, c5, expand=3))
        self.up16 = Join(c5, c4, base * 3)
        self.up8 = Join(base * 3, c3, c3)
        self.up4 = Join(c3, c2, c2)
        self.up2 = Join(c2, c1, c1)
        self.refine = Separable(c1, c1)
        self.hair = nn.Conv2d(c1, 4, 1)
        self.marks = nn.Conv2d(c1, MARKS, 1)

    def forward(self, pictures: Tensor) -> Outputs:
        x2 = self.stem((pictures - 127.5) * (1 / 64))
        x4 = self.down4(x2)
        x8 = self.down8(x4)
        x16 = self.down16(x8)
        x32 = self.down32(x16)
        y = self.up2(self.up4(self.up8(self.up16(x32, x16), x8), x4), x2)
        hair = functional.pixel_shuffle(self.hair(self.refine(y)), 2)
        return Outputs(hair, self.marks(y), torch.mean(x8, dim=(2, 3)))


def parameter_count(network: nn.Module) -> int:
    """Number of learnt parameters."""
    return sum(p.numel() for p in network.parameters())
