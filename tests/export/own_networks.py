"""Networks and estimators as a person's own module has them, for tests of the conversion."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Grader(nn.Module):
    """Pictures float32 (n, 3, 32, 48) to presence (n, 3) and grades (n, 3, 4), as a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.heads = nn.Linear(8, 15)

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        found = self.heads(self.body(picture))
        grades = torch.softmax(found[:, 3:].reshape(-1, 3, 4), -1)
        return {"grades": grades, "presence": torch.sigmoid(found[:, :3])}


class Recurrent(nn.Module):
    """Records float32 (n, length, 4) to probabilities (n, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(4, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, records: Tensor) -> Tensor:
        found, _ = self.memory(records)
        return torch.softmax(self.head(found[:, -1]), -1)


class Stubborn(nn.Module):
    """Asks for what no graph has."""

    def forward(self, picture: Tensor) -> Tensor:
        return torch.linalg.eig(picture)[0].real


class Forgetful(nn.Module):
    """Does another thing from the fourth record on, which tracing loses."""

    def forward(self, records: Tensor) -> Tensor:
        return records.sum(1) * (2 if records.shape[1] > 3 else 1)


def grader() -> Grader:
    torch.manual_seed(0)
    return Grader()


def recurrent() -> Recurrent:
    torch.manual_seed(0)
    return Recurrent()


def stubborn() -> Stubborn:
    return Stubborn()


def forgetful() -> Forgetful:
    return Forgetful()


def no_network() -> str:
    return "dear"


def broken() -> None:
    raise RuntimeError("no such GPU")


def ends() -> None:
    """As a module without a guard for `__main__` does."""
    raise SystemExit(0)


def classifier() -> object:
    """A fitted pipeline of four classes over three columns."""
    import numpy as np
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, (120, 3))
    return make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=4, max_depth=2, random_state=0)).fit(
        rows, np.arange(120) % 4
    )


def coarse() -> object:
    """Rows far from what the scaler was fitted to: float32 rounds what it makes of them otherwise than doubles do."""
    import numpy as np
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    rows = np.random.default_rng(0).normal(0, 1, (200, 3))
    found = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=4, random_state=0)).fit(rows, np.arange(200) % 2)
    found[0].fit(rows + 1e6)
    found[1].fit(found[0].transform(rows), np.arange(200) % 2)
    return found


def numberless() -> object:
    """A classifier whose coefficients are no numbers."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(0).normal(0, 1, (60, 3))
    found = LogisticRegression().fit(rows, np.arange(60) % 2)
    found.coef_[:] = np.nan
    return found
