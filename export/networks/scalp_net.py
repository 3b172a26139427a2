"""The network that grades dandruff, sebum and erythema (ScalpVision, 3.3): a backbone with four heads.

One head tells which of the three are present, three tell the grade of one each. The backbone is one of the published ones, or a small
one of our own for the device, in the manner of MobileNetV2 (Sandler 2018). That one's description of a picture keeps what global pooling
alone loses and grades hang on: how much of a map is lit at all (second moments), maps of a sixteenth of the size, where single flakes and
sparks still stand apart, and the picture's plain colour. It sees every pixel of a camera's field, four of them as channels of one (Shi
2016): a spark of three pixels is gone from a picture of half the size, and convolving at full size would cost four times as much.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.conditions import CONDITIONS, GRADES, UNKNOWN
from export.networks.densenet import DenseNet
from export.networks.efficientformer import EfficientFormerV2
from export.networks.live import InvertedResidual

RGB_MEAN, RGB_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet, 0…255
SIZES = {"small": (480, 640), "densenet169": (240, 320), "efficientformerv2_s0": (224, 224)}
"""Height and width of each backbone's pictures; the published ones' checkpoints want, or bear, these."""
HIDDEN = 64
SPREAD_FLOOR, SHARE_FLOOR = 1e-2, 2e-3
SHARES_OF = (0.0, 0.15, 0.5)  # of a cell
MAPS_WEIGHT = 4.0
"""Of the maps' cross-entropy beside the four losses: it is an average over cells most of which are bare."""


@dataclass(frozen=True)
class Graded:
    """What the network says of a batch.

    Attributes:
        presence: logits (batch, 3), whether each condition is there at all.
        grades: logits (batch, 3, GRADES); with an ordinal head already logarithms of probabilities.
        maps: logits (batch, 2, height / MAP_STRIDE, width / MAP_STRIDE) of the share of each cell that flakes cover, and that shines; None
            of backbones that draw none.
    """

    presence: Tensor
    grades: Tensor
    maps: Tensor | None


FOLD = 2  # pixels of a side that the small backbone takes as channels of one


def folded(pictures: Tensor) -> Tensor:
    """(n, height, width, 3) as (n, 3 · FOLD², height / FOLD, width / FOLD): each colour of a block of pixels is a channel; kind of number
    and order in memory (channels last) stay, so that it costs one copy of the bytes."""
    n, height, width, colours = pictures.shape
    blocks = pictures.reshape(n, height // FOLD, FOLD, width // FOLD, FOLD, colours).permute(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, height // FOLD, width // FOLD, FOLD * FOLD * colours).permute(0, 3, 1, 2)


def in_float32(found: Graded) -> Graded:
    """`found` of a network that computed in fewer digits: losses want all of theirs."""
    return Graded(found.presence.float(), found.grades.float(), None if found.maps is None else found.maps.float())


class SmallBackbone(nn.Module):
    """Normalised BGR pictures, `folded`, to a description (n, `channels`) and maps of flakes and shine.

    Sides of the pictures are multiples of MAP_STRIDE.
    """

    def __init__(self, base: int = 16) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = base * 2, base * 3 // 2, base * 5 // 2, base * 9 // 2, base * 7
        # plain convolutions until an eighth of the size: expanding there is most of the work, and sees nothing
        self.stem = nn.Sequential(*_convolved(3 * FOLD * FOLD, c1), *_convolved(c1, c2), InvertedResidual(c2, c2, expand=2))
        self.down16 = nn.Sequential(InvertedResidual(c2, c3, expand=4, stride=2), *(InvertedResidual(c3, c3, expand=4) for _ in range(2)))
        self.down32 = nn.Sequential(InvertedResidual(c3, c4, expand=4, stride=2), *(InvertedResidual(c4, c4, expand=4) for _ in range(2)))
        self.down64 = nn.Sequential(InvertedResidual(c4, c5, expand=4, stride=2), InvertedResidual(c5, c5, expand=4))
        self.last = nn.Sequential(nn.Conv2d(c5, c5, 1, bias=False), nn.BatchNorm2d(c5), nn.ReLU6(inplace=True))
        self.maps = nn.Conv2d(c3, 2, 1)
        nn.init.constant_(self.maps.bias, -3.0)  # type: ignore[arg-type]  # most skin is bare
        self.channels = 2 * (3 + c3 + c4 + c5) + 2 * len(SHARES_OF)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The description, and the logits of the maps."""
        x16 = self.down16(self.stem(x))
        x32 = self.down32(x16)
        maps = self.maps(x16)
        # what the maps say is learnt from the maps: grades would pull at single cells
        cells = torch.sigmoid(maps).detach()
        # shares of the picture: the mean, and how many cells have more than so much; grades go by their logarithms
        shares = [cells.mean((2, 3))] + [torch.sigmoid((cells - level) * 20).mean((2, 3)) for level in SHARES_OF[1:]]
        amounts = torch.log(torch.cat(shares, 1) + SHARE_FLOOR)
        parts = [_moments(x, 3), *(_moments(part) for part in (x16, x32, self.last(self.down64(x32))))]
        return torch.cat([*parts, amounts], 1), maps


def _convolved(inner: int, outer: int) -> list[nn.Module]:
    return [nn.Conv2d(inner, outer, 3, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU6(inplace=True)]


def _moments(x: Tensor, colours: int = 0) -> Tensor:
    """Mean and spread of each channel, (n, 2 · channels); of each of `colours` where the channels are those, block after block."""
    x = x.float()  # differences of squares want all their digits
    mean, square = x.mean((2, 3)), (x * x).mean((2, 3))
    if colours:
        mean, square = (part.reshape(-1, x.shape[1] // colours, colours).mean(1) for part in (mean, square))
    spread = torch.sqrt(torch.relu(square - mean * mean) + SPREAD_FLOOR)
    return torch.cat([mean, spread], 1)


class OrdinalHead(nn.Module):
    """Proportional odds (McCullagh 1980): one score and ordered cut points; the logarithms of the grades' probabilities."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.score = nn.Linear(inner, 1)
        self.first = nn.Parameter(torch.tensor(-1.0))
        self.steps = nn.Parameter(torch.full((GRADES - 2,), 1.0))

    def forward(self, x: Tensor) -> Tensor:
        cuts = torch.cat([self.first[None], self.first + torch.cumsum(functional.softplus(self.steps), 0)])
        above = torch.sigmoid(self.score(x) - cuts)  # of grade k + 1 or more
        ones, none = torch.ones_like(above[:, :1]), torch.zeros_like(above[:, :1])
        return torch.log(torch.clamp(torch.cat([ones, above], 1) - torch.cat([above, none], 1), min=1e-7))


def _head(inner: int, last: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inner, HIDDEN), nn.ReLU(), nn.Dropout(0.2), last)


class ScalpNet(nn.Module):
    """BGR pictures uint8 (batch, height, width, 3) to `Graded`.

    Args:
        backbone: one of SIZES; EfficientFormerV2 takes pictures of `size` (height, width) only.
        ordinal: cumulative logits in place of one for each grade.
        base: width of the small backbone.

    Raises:
        ValueError: no such backbone.
    """

    def __init__(self, backbone: str = "small", *, ordinal: bool = False, base: int = 16, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        if backbone not in SIZES:
            raise ValueError(f"{backbone!r} is no backbone: choose {', '.join(SIZES)}")
        self.size = size or SIZES[backbone]
        self.backbone: SmallBackbone | DenseNet | EfficientFormerV2
        if backbone == "small":
            self.backbone = SmallBackbone(base)
        elif backbone == "densenet169":
            self.backbone = DenseNet()
        else:
            self.backbone = EfficientFormerV2(*self.size)
        inner = self.backbone.channels
        self.presence = _head(inner, nn.Linear(HIDDEN, len(CONDITIONS)))
        self.grades = nn.ModuleList(_head(inner, OrdinalHead(HIDDEN) if ordinal else nn.Linear(HIDDEN, GRADES)) for _ in CONDITIONS)
        self.register_buffer("mean", torch.tensor(RGB_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(RGB_STD)[:, None, None], persistent=False)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, pictures: Tensor) -> Graded:
        if isinstance(self.backbone, SmallBackbone):
            blocks = FOLD * FOLD
            mean, std = (part.flip(0).repeat(blocks, 1, 1) for part in (self.mean, self.std))
            x, maps = self.backbone((folded(pictures).float() - mean) * (1 / std))
        else:
            rgb = pictures.permute(0, 3, 1, 2).flip(1).float()
            x, maps = self.backbone((rgb - self.mean) / self.std).mean((2, 3)), None
        return Graded(self.presence(x), torch.stack([head(x) for head in self.grades], 1), maps)


def conditions_loss(found: Graded, grades: Tensor, maps: Tensor | None = None) -> Tensor:
    """The sum of the four losses (ScalpVision 3.3): binary cross-entropy of presence, cross-entropy of each condition's grade.

    Where `maps` are known (of rendered scenes they are), the cross-entropy of the network's maps joins them: a network that is shown
    which cells are flaked or shine need not find out from the grades alone what they count.

    Args:
        grades: int64 (batch, 3), 0…3.
        maps: float32 (batch, 2, height / MAP_STRIDE, width / MAP_STRIDE), shares 0…1, UNKNOWN where nobody can say.
    """
    loss = functional.binary_cross_entropy_with_logits(found.presence, (grades > 0).to(found.presence.dtype))
    for index in range(len(CONDITIONS)):
        loss = loss + functional.cross_entropy(found.grades[:, index], grades[:, index])
    if maps is not None and found.maps is not None:
        known = (maps != UNKNOWN).to(maps.dtype)
        entropy = functional.binary_cross_entropy_with_logits(found.maps, maps.clamp(min=0), reduction="none")
        loss = loss + MAPS_WEIGHT * (entropy * known).sum() / (known.sum() + 1)
    return loss
