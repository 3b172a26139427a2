"""U²-Net and U²-Netp (Qin et al. 2020, "U²-Net: going deeper with nested U-structure for salient object detection").

Written from the paper's table 1 with the parameter names of its published checkpoints, so that those load: 44,009,869 parameters in
the full size and 1,131,181 in the small one (U²-Netp). Each stage is itself a U-Net: an RSU of height 7 … 4, or of height 4 with
dilations instead of pooling (RSU-4F). Every decoder stage and the deepest encoder stage say where the object is, at their own size;
the six are enlarged and fused to a seventh map, the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

Size = Literal["full", "small"]
SIZES: Final[tuple[Size, ...]] = get_args(Size)
SIDES = 6
FEATURES = 64
"""Channels of the first stage in both sizes: of their means are the features by which unfamiliar pictures are told."""

Stage = tuple[int, int, int, int]
"""Height of the block (4 with dilations is written 0), channels that go in, within, and out."""
STAGES: Final[dict[Size, dict[str, Stage]]] = {
    "full": {
        "stage1": (7, 3, 32, 64),
        "stage2": (6, 64, 32, 128),
        "stage3": (5, 128, 64, 256),
        "stage4": (4, 256, 128, 512),
        "stage5": (0, 512, 256, 512),
        "stage6": (0, 512, 256, 512),
        "stage5d": (0, 1024, 256, 512),
        "stage4d": (4, 1024, 128, 256),
        "stage3d": (5, 512, 64, 128),
        "stage2d": (6, 256, 32, 64),
        "stage1d": (7, 128, 16, 64),
    },
    "small": {
        "stage1": (7, 3, 16, 64),
        "stage2": (6, 64, 16, 64),
        "stage3": (5, 64, 16, 64),
        "stage4": (4, 64, 16, 64),
        "stage5": (0, 64, 16, 64),
        "stage6": (0, 64, 16, 64),
        "stage5d": (0, 128, 16, 64),
        "stage4d": (4, 128, 16, 64),
        "stage3d": (5, 128, 16, 64),
        "stage2d": (6, 128, 16, 64),
        "stage1d": (7, 128, 16, 64),
    },
}
INNER: Final[dict[Size, int]] = {size: stages["stage1"][2] for size, stages in STAGES.items()}
"""Inner channels of the first stage, by which the sizes are told apart."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, red first: what the published checkpoints were trained with."""


@dataclass(frozen=True)
class Sides:
    """What the network says of a batch.

    Attributes:
        fused: logits (batch, 1, height, width), the answer.
        sides: six of the same shape, of the stages 1 (decoder, finest) to 6 (encoder, deepest).
        features: (batch, FEATURES), means of the first stage's channels.
    """

    fused: Tensor
    sides: tuple[Tensor, ...]
    features: Tensor

    def all(self) -> tuple[Tensor, ...]:
        """The seven maps that are trained."""
        return (self.fused, *self.sides)


class REBNCONV(nn.Module):
    """Convolution 3×3, batch norm, ReLU."""

    def __init__(self, in_ch: int, out_ch: int, dirate: int = 1) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(in_ch, out_ch, 3, padding=dirate, dilation=dirate)
        self.bn_s1 = nn.BatchNorm2d(out_ch)
        self.relu_s1 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu_s1(self.bn_s1(self.conv_s1(x)))
        return y


def _like(x: Tensor, other: Tensor) -> Tensor:
    """`x` enlarged to the height and width of `other`."""
    return functional.interpolate(x, size=other.shape[2:], mode="bilinear", align_corners=False)


class RSU(nn.Module):
    """Residual U-block of `height` levels: each but the two deepest is half as large as the one above; the deepest is dilated by 2."""

    def __init__(self, height: int, in_ch: int, mid_ch: int, out_ch: int) -> None:
        super().__init__()
        self.height = height
        self.rebnconvin = REBNCONV(in_ch, out_ch)
        for level in range(1, height):
            self.add_module(f"rebnconv{level}", REBNCONV(out_ch if level == 1 else mid_ch, mid_ch))
        self.add_module(f"rebnconv{height}", REBNCONV(mid_ch, mid_ch, 2))
        for level in range(height - 1, 0, -1):
            self.add_module(f"rebnconv{level}d", REBNCONV(2 * mid_ch, out_ch if level == 1 else mid_ch))
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        start: Tensor = self.rebnconvin(x)
        maps = [self.get_submodule("rebnconv1")(start)]
        for level in range(2, self.height):
            maps.append(self.get_submodule(f"rebnconv{level}")(self.pool(maps[-1])))
        deepest = self.height - 1
        y: Tensor = self.get_submodule(f"rebnconv{self.height}")(maps[-1])
        for level in range(deepest, 0, -1):
            beside = maps[level - 1]
            raised = y if level == deepest else _like(y, beside)  # the two deepest are of one size
            y = self.get_submodule(f"rebnconv{level}d")(torch.cat([raised, beside], 1))
        total: Tensor = y + start
        return total


class RSU4F(nn.Module):
    """Residual U-block of four levels at one size, with dilations 1, 2, 4 and 8."""

    def __init__(self, in_ch: int, mid_ch: int, out_ch: int) -> None:
        super().__init__()
        self.rebnconvin = REBNCONV(in_ch, out_ch)
        self.rebnconv1 = REBNCONV(out_ch, mid_ch)
        self.rebnconv2 = REBNCONV(mid_ch, mid_ch, 2)
        self.rebnconv3 = REBNCONV(mid_ch, mid_ch, 4)
        self.rebnconv4 = REBNCONV(mid_ch, mid_ch, 8)
        self.rebnconv3d = REBNCONV(2 * mid_ch, mid_ch, 4)
        self.rebnconv2d = REBNCONV(2 * mid_ch, mid_ch, 2)
        self.rebnconv1d = REBNCONV(2 * mid_ch, out_ch)

    def forward(self, x: Tensor) -> Tensor:
        start: Tensor = self.rebnconvin(x)
        one = self.rebnconv1(start)
        two = self.rebnconv2(one)
        three = self.rebnconv3(two)
        y = self.rebnconv3d(torch.cat([self.rebnconv4(three), three], 1))
        y = self.rebnconv2d(torch.cat([y, two], 1))
        total: Tensor = start + self.rebnconv1d(torch.cat([y, one], 1))
        return total


class U2Net(nn.Module):
    """Normalised pictures (see `official_input`) float32 (batch, 3, height, width) RGB, of any size, to `Sides`."""

    def __init__(self, size: Size = "full") -> None:
        super().__init__()
        self.size: Size = size
        stages = STAGES[size]
        for name, (height, in_ch, mid_ch, out_ch) in stages.items():
            self.add_module(name, RSU(height, in_ch, mid_ch, out_ch) if height else RSU4F(in_ch, mid_ch, out_ch))
        for side in range(1, SIDES + 1):
            name = f"stage{side}" if side == SIDES else f"stage{side}d"
            self.add_module(f"side{side}", nn.Conv2d(stages[name][3], 1, 3, padding=1))
        self.outconv = nn.Conv2d(SIDES, 1, 1)
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)

    def forward(self, pictures: Tensor) -> Sides:
        maps: list[Tensor] = []
        for stage in range(1, SIDES + 1):
            maps.append(self.get_submodule(f"stage{stage}")(self.pool(maps[-1]) if maps else pictures))
        seen = [maps[-1]]
        for stage in range(SIDES - 1, 0, -1):
            beside = maps[stage - 1]
            seen.append(self.get_submodule(f"stage{stage}d")(torch.cat([_like(seen[-1], beside), beside], 1)))
        small = [self.get_submodule(f"side{side}")(seen[SIDES - side]) for side in range(1, SIDES + 1)]
        sides = (small[0], *(_like(side, small[0]) for side in small[1:]))
        return Sides(self.outconv(torch.cat(sides, 1)), sides, torch.mean(maps[0], dim=(2, 3)))


def official_input(pictures: Tensor) -> Tensor:
    """Pictures as the published checkpoints take them: each divided by its own greatest value, then normalised by ImageNet's figures.

    Args:
        pictures: float32 (batch, 3, height, width) BGR, 0…255. A black one stays black.
    """
    greatest = torch.amax(pictures, dim=(1, 2, 3), keepdim=True).clamp(min=1.0)
    mean, std = (torch.tensor(v, dtype=pictures.dtype, device=pictures.device).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return (pictures[:, [2, 1, 0]] / greatest - mean) / std
