"""U²-Netp (Qin et al. 2020, "U²-Net: going deeper with nested U-structure", the small variant): what the live network is compared to.

Written from the paper's tables with the parameter names of its published checkpoints, 1,131,181 parameters, so that those load.
Each stage is itself a U-Net: an RSU of height 7 … 4, or of height 4 with dilations instead of pooling (RSU-4F).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


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
    return functional.interpolate(x, size=other.shape[2:], mode="bilinear", align_corners=False)


class RSU(nn.Module):
    """Residual U-block of `height` levels: each but the deepest two halves the map; the deepest is dilated by 2."""

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
        y: Tensor = self.get_submodule(f"rebnconv{self.height}")(maps[-1])
        for level in range(self.height - 1, 0, -1):
            y = self.get_submodule(f"rebnconv{level}d")(torch.cat([_like(y, maps[level - 1]), maps[level - 1]], 1))
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


class U2NetP(nn.Module):
    """Pictures float32 (batch, 3, height, width), normalised, to the fused logits (batch, 1, height, width)."""

    def __init__(self) -> None:
        super().__init__()
        for stage, (height, in_ch) in enumerate(zip((7, 6, 5, 4), (3, 64, 64, 64), strict=True), 1):
            self.add_module(f"stage{stage}", RSU(height, in_ch, 16, 64))
            self.add_module(f"pool{stage}{stage + 1}", nn.MaxPool2d(2, stride=2, ceil_mode=True))
        self.stage5 = RSU4F(64, 16, 64)
        self.pool56 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.stage6 = RSU4F(64, 16, 64)
        self.stage5d = RSU4F(128, 16, 64)
        for stage, height in ((4, 4), (3, 5), (2, 6), (1, 7)):
            self.add_module(f"stage{stage}d", RSU(height, 128, 16, 64))
        for side in range(1, 7):
            self.add_module(f"side{side}", nn.Conv2d(64, 1, 3, padding=1))
        self.outconv = nn.Conv2d(6, 1, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        maps: list[Tensor] = []
        x = pictures
        for stage in range(1, 7):
            if stage > 1:
                x = self.get_submodule(f"pool{stage - 1}{stage}")(maps[-1])
            maps.append(self.get_submodule(f"stage{stage}")(x))
        seen = [maps[5]]
        for stage in range(5, 0, -1):
            seen.append(self.get_submodule(f"stage{stage}d")(torch.cat([_like(seen[-1], maps[stage - 1]), maps[stage - 1]], 1)))
        sides = [self.get_submodule(f"side{side}")(seen[6 - side]) for side in range(1, 7)]
        y: Tensor = self.outconv(torch.cat([sides[0], *(_like(side, sides[0]) for side in sides[1:])], 1))
        return y
