"""The thick network for captured fields: a U-Net of dense convolutions beside the live network, whose answers it is averaged with, or
which it corrects (auto-context, Tu 2008).

`alone` it sees the picture and nothing else, so that its errors are its own. Correcting, its input is the picture beside the live
network's maps as logits; its output are corrections of those, so that it begins as good as the live network and learns only what that one
gets wrong. All of the picture's pixels go in, and each has a logit of its own: they are moved into channels at half size and back (Shi
2016), which loses nothing and spares convolutions at full size.

With further planes of prompts (points on hair and points beside it) and several masks it is the promptable refiner; each mask then has a
predicted IoU, as in "Segment Anything" (Kirillov 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.live import MARKS

STRIDE = 32  # sides of the input are multiples of this, as those of the live network
SHARPEST = 7.0  # live logits are bounded by this: a probability of 0.999
POSITIVE, NEGATIVE = 0, 1  # planes of prompts
PROMPTS = 2


@dataclass(frozen=True)
class Corrected:
    """What the network says of a batch.

    Attributes:
        masks: logits (batch, masks, height, width).
        marks: logits (batch, MARKS, height / 2, width / 2), as the live network's.
        iou: logits (batch, masks) of each mask's IoU with the truth; None of a network that was made without.
    """

    masks: Tensor
    marks: Tensor
    iou: Tensor | None


def logits_of(probability: Tensor) -> Tensor:
    """Logits, bounded by SHARPEST, of probabilities."""
    least = 1.0 / (1.0 + 2.718281828**SHARPEST)
    p = probability.clamp(least, 1 - least)
    return torch.log(p) - torch.log1p(-p)


class Residual(nn.Module):
    """Two 3×3 convolutions beside the identity (He 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return functional.relu(x + y)


def _down(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inner, outer, 3, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(inplace=True))


class Up(nn.Module):
    """The deeper map enlarged and the encoder's of that size added, then one 3×3 convolution."""

    def __init__(self, deep: int, skip: int) -> None:
        super().__init__()
        self.deep = nn.Conv2d(deep, skip, 1)
        self.mix = nn.Sequential(nn.Conv2d(skip, skip, 3, 1, 1, bias=False), nn.BatchNorm2d(skip), nn.ReLU(inplace=True))

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        y: Tensor = self.mix(functional.interpolate(self.deep(deep), scale_factor=2.0, mode="nearest") + skip)
        return y


class ThickNet(nn.Module):
    """Pictures and the live network's maps to `Corrected`.

    Args:
        base: channels at half size.
        prompts: planes of prompts, 0 or PROMPTS.
        masks: how many masks it gives; with more than one, or with prompts, each has a predicted IoU.
        alone: the live network's maps are not looked at.
    """

    def __init__(self, base: int = 32, *, prompts: int = 0, masks: int = 1, alone: bool = False) -> None:
        super().__init__()
        self.base, self.prompts, self.count, self.alone = base, prompts, masks, alone
        c2, c4, c8, c16, c32 = base, base * 2, base * 3, base * 4, base * 4
        self.stem = nn.Conv2d(4 * (3 + 1) + MARKS, c2, 3, 1, 1, bias=False)
        self.points = nn.Conv2d(4 * prompts, c2, 3, 1, 1, bias=False) if prompts else None
        self.enter = nn.Sequential(nn.BatchNorm2d(c2), nn.ReLU(inplace=True), Residual(c2))
        self.down4 = nn.Sequential(_down(c2, c4), Residual(c4))
        self.down8 = nn.Sequential(_down(c4, c8), Residual(c8), Residual(c8))
        self.down16 = nn.Sequential(_down(c8, c16), Residual(c16), Residual(c16))
        self.down32 = nn.Sequential(_down(c16, c32), Residual(c32))
        self.up16, self.up8, self.up4, self.up2 = Up(c32, c16), Up(c16, c8), Up(c8, c4), Up(c4, c2)
        self.last = Residual(c2)
        self.hair = nn.Conv2d(c2, 4 * masks, 1)
        self.marks = nn.Conv2d(c2, MARKS, 1)
        for layer in (self.hair, self.marks):  # it begins by saying what the live network says
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.iou = nn.Sequential(nn.Linear(c32 + 2 * masks, 64), nn.ReLU(), nn.Linear(64, masks)) if prompts or masks > 1 else None

    def forward(self, pictures: Tensor, hair: Tensor, marks: Tensor, points: Tensor | None = None) -> Corrected:
        """
        Args:
            pictures: float32 (batch, 3, height, width) BGR, 0…255, sides multiples of STRIDE.
            hair: float32 (batch, 1, height, width), the live network's probabilities.
            marks: float32 (batch, MARKS, height / 2, width / 2), likewise.
            points: float32 (batch, PROMPTS, height, width), 0…1, of a network with prompts.
        """
        live, live_marks = (torch.zeros_like(maps) if self.alone else logits_of(maps) for maps in (hair, marks))
        full = torch.cat([(pictures - 127.5) * (1 / 64), live * 0.25], 1)
        x = self.stem(torch.cat([functional.pixel_unshuffle(full, 2), live_marks * 0.25], 1))
        if self.points is not None and points is not None:
            x = x + self.points(functional.pixel_unshuffle(points, 2))
        x2 = self.enter(x)
        x4 = self.down4(x2)
        x8 = self.down8(x4)
        x16 = self.down16(x8)
        x32 = self.down32(x16)
        y = self.last(self.up2(self.up4(self.up8(self.up16(x32, x16), x8), x4), x2))
        masks = live + functional.pixel_shuffle(self.hair(y), 2)
        iou = None
        if self.iou is not None:
            soft = torch.sigmoid(masks.detach())
            area = soft.mean((2, 3))
            doubt = torch.minimum(soft, 1 - soft).mean((2, 3)) / (area + 1e-3)
            iou = self.iou(torch.cat([x32.mean((2, 3)), area, doubt], 1))
        return Corrected(masks, live_marks + self.marks(y), iou)
