"""The hybrid CNN–LSTM forecast: what the scalp looks like, joined with years of records and with markers, to a risk or a stage.

Image branch: convolutions 3×3 ("same", ReLU) of 32, 64 and 128 filters, max-pooling after every two, flattened. Read as two of each
width: with one of each, 256×256 px would be flattened to two million figures. Sequence branch: LSTM 128 and LSTM 64 over the records,
whose state after the last record that is there is kept, beside an embedding of each categorical marker. Both are concatenated; dense
128, dense 64, dropout 0.5; a sigmoid (two labels) or a softmax (more).

Architecture "paper" is that, 17 million weights for 256×256 px. Architecture "device" has the same branches for pictures of 64×64 px
and averages the last map to 2×2 before it is flattened: under 0.6 million weights, what a bundle ships.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

WIDTHS = (32, 64, 128)
LSTM_1, LSTM_2, DENSE_1, DENSE_2, DROPOUT = 128, 64, 128, 64, 0.5
EMBEDDED = 4  # figures a marker
GREY, SPREAD = 128.0, 64.0
"""A picture of plain grey is all zeros to the network: that stands for "no picture", in training as on the device."""

Branches = Literal["both", "picture", "records"]
Head = Literal["risk", "stage"]


@dataclass(frozen=True)
class Architecture:
    """What differs between the paper's network and the device's: the picture's side in px, and how many cells a side the last map is
    averaged to before it is flattened (None: as it is)."""

    name: str
    side: int
    cells: int | None


ARCHITECTURES = {a.name: a for a in (Architecture("device", 64, 2), Architecture("paper", 256, None))}


class ImageBranch(nn.Module):
    """uint8 or float (batch, side, side, 3) BGR, 0…255, to (batch, `size`)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        layers: list[nn.Module] = []
        inner = 3
        for width in WIDTHS:
            layers += [nn.Conv2d(inner, width, 3, padding="same"), nn.ReLU(), nn.Conv2d(width, width, 3, padding="same"), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
            inner = width
        cells = architecture.side // 2 ** len(WIDTHS)
        if architecture.cells is not None:
            layers.append(nn.AvgPool2d(cells // architecture.cells))
            cells = architecture.cells
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.size = inner * cells * cells

    def forward(self, picture: Tensor) -> Tensor:
        x = (picture.permute(0, 3, 1, 2).float() - GREY) * (1 / SPREAD)
        y: Tensor = self.layers(x)
        return y


class SequenceBranch(nn.Module):
    """Markers int64 (batch, markers), 0 not known, and records float (batch, length, 2 · series) to (batch, `size`).

    Of `records` the second half of the columns says what is there; a month without anything may stand anywhere, and what comes after
    the last month with something (padding of a batch) changes nothing.
    """

    def __init__(self, markers: Sequence[int], series: int) -> None:
        super().__init__()
        self.series = series
        self.embeddings = nn.ModuleList(nn.Embedding(values + 1, EMBEDDED) for values in markers)
        self.first = nn.LSTM(2 * series, LSTM_1, batch_first=True)
        self.second = nn.LSTM(LSTM_1, LSTM_2, batch_first=True)
        self.size = LSTM_2 + EMBEDDED * len(markers)

    def forward(self, markers: Tensor, records: Tensor) -> Tensor:
        states, _ = self.second(self.first(records)[0])
        there = (records[:, :, self.series :].sum(2) > 0).float()
        place = torch.cumsum(torch.ones_like(there), 1)
        # packed sequences cannot be exported; the state after the last record is taken by its place
        last = (there * place).amax(1, keepdim=True).clamp(min=1.0)
        state = (states * (place == last).float().unsqueeze(2)).sum(1)
        return torch.cat([state, *(embed(markers[:, i]) for i, embed in enumerate(self.embeddings))], 1)


class HybridNet(nn.Module):
    """Logits float32 (batch, 1) for a risk, (batch, labels) for a stage.

    Args:
        markers: number of values of each categorical input.
        series: number of recorded series.
        labels: 2 for a risk (one logit), more for stages (one each).
        branches: "both", or one of them alone, as the single-branch baselines are.
    """

    def __init__(
        self, architecture: Architecture, markers: Sequence[int], series: int, *, labels: int = 2, branches: Branches = "both"
    ) -> None:
        super().__init__()
        self.architecture, self.labels, self.branches = architecture, labels, branches
        self.image = ImageBranch(architecture) if branches != "records" else None
        self.sequence = SequenceBranch(markers, series) if branches != "picture" else None
        joined = sum(branch.size for branch in (self.image, self.sequence) if branch is not None)
        self.head = nn.Sequential(
            nn.Linear(joined, DENSE_1),
            nn.ReLU(),
            nn.Linear(DENSE_1, DENSE_2),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(DENSE_2, 1 if labels == 2 else labels),
        )

    def forward(self, picture: Tensor, markers: Tensor, records: Tensor) -> Tensor:
        return self.joined(None if self.image is None else self.image(picture), markers, records)

    def joined(self, seen: Tensor | None, markers: Tensor, records: Tensor) -> Tensor:
        """As `forward`, from what the image branch has already seen in the picture (batch, image.size)."""
        parts = [] if seen is None else [seen]
        if self.sequence is not None:
            parts.append(self.sequence(markers, records))
        y: Tensor = self.head(torch.cat(parts, 1))
        return y


def probabilities(logits: Tensor) -> Tensor:
    """Of each label, (batch, labels), from logits as HybridNet gives them."""
    if logits.shape[1] == 1:
        high = torch.sigmoid(logits)
        return torch.cat([1 - high, high], 1)
    return torch.softmax(logits, 1)
