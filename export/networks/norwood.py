"""The staging network: one small backbone looks at each view of a head, attention over the views that are there joins them.

A view's feature is told which view it is by a learnt embedding. The stage is ordinal: one score against six rising thresholds
(cumulative logits, McCullagh 1980), so that the seven probabilities of a score come from one order. The same head speaks for each view
alone, by which a result can say what each view said. The attention is that of Ilse 2018 (attention-based multiple-instance pooling).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

VIEWS, GRADES = 5, 7
FAR_BELOW = -1e4  # attention of a view that is not there


@dataclass(frozen=True)
class Staged:
    """What the network says of a batch.

    Attributes:
        logits: (batch, GRADES - 1), that the grade is above I, above II, … above VI; never rising.
        attention: (batch, VIEWS), sums to 1; 0 where there is no view.
        view_logits: (batch, VIEWS, GRADES - 1), as `logits`, of each view alone; without meaning where there is none.
    """

    logits: Tensor
    attention: Tensor
    view_logits: Tensor


class Residual(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He 2016); `stride` halves."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(inplace=True),
            nn.Conv2d(outer, outer, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outer),
        )
        self.short = nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.short(x))


class StageNet(nn.Module):
    """BGR views to `Staged`; `width` channels after the stem, twice and four times as many deeper."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        wide = 4 * width
        self.width = width
        self.backbone = nn.Sequential(
            nn.Conv2d(3, width, 5, 2, 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            Residual(width, width, 1),
            Residual(width, 2 * width, 2),
            Residual(2 * width, wide, 2),
        )
        self.project = nn.Sequential(nn.Linear(2 * wide, wide), nn.ReLU(inplace=True))
        self.embedding = nn.Parameter(torch.randn(VIEWS, wide) * 0.1)
        self.mix = nn.Sequential(nn.Linear(wide, wide), nn.ReLU(inplace=True))
        self.attend = nn.Sequential(nn.Linear(wide, wide // 2), nn.Tanh(), nn.Linear(wide // 2, 1))
        self.head = nn.Sequential(nn.Linear(wide, wide // 2), nn.ReLU(inplace=True), nn.Dropout(0.1), nn.Linear(wide // 2, 2))
        self.first = nn.Parameter(torch.tensor(-2.5))
        self.gaps = nn.Parameter(torch.full((GRADES - 2,), 0.54))  # softplus of it is about 1

    def features(self, pictures: Tensor) -> Tensor:
        """What is seen in pictures of any views, float32 (n, 3, side, side) 0…255 BGR: (n, 4 · width)."""
        x = self.backbone((pictures - 127.5) * (1 / 64))
        # the mean tells how much is bare, the greatest value that something is bare somewhere
        found: Tensor = self.project(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))
        return found

    def judge(self, features: Tensor, present: Tensor) -> Staged:
        """The stage from features (batch, VIEWS, 4 · width) and which views are there, float32 (batch, VIEWS), 1 or 0."""
        each = self.mix(features + self.embedding)
        score = self.attend(each).squeeze(-1)
        attention = torch.softmax(score + (1 - present) * FAR_BELOW, dim=1) * present
        attention = attention / attention.sum(dim=1, keepdim=True).clamp_min(1e-6)
        joined = (attention.unsqueeze(-1) * each).sum(dim=1)
        return Staged(self._ordinal(joined), attention, self._ordinal(each))

    def forward(self, pictures: Tensor, present: Tensor) -> Staged:
        """Pictures float32 (batch, VIEWS, 3, side, side), 0…255, and which of them are there, float32 (batch, VIEWS)."""
        features = self.features(pictures.flatten(0, 1))
        return self.judge(features.reshape(-1, VIEWS, features.shape[1]), present)

    def _ordinal(self, x: Tensor) -> Tensor:
        score, sureness = self.head(x).split(1, dim=-1)
        thresholds = torch.cumsum(torch.cat([self.first.reshape(1), functional.softplus(self.gaps)]), dim=0)
        logits: Tensor = (score - thresholds) * torch.exp(2 * torch.tanh(sureness / 2))
        return logits


def probabilities(logits: Tensor) -> Tensor:
    """Of the seven grades, (…, GRADES), from cumulative logits (…, GRADES - 1); they sum to 1."""
    above = torch.sigmoid(logits)
    return torch.cat([1 - above[..., :1], above[..., :-1] - above[..., 1:], above[..., -1:]], dim=-1)
