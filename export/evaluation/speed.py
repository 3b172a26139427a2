"""How fast a bundle's segmenter is beside U²-Netp, as ratios in one run: only those mean something on a machine with other work."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from device.simulated.scene import render_frame
from export.conversion.onnx_graph import to_onnx
from export.errors import EvaluationError
from export.networks.u2net import U2Net
from runtime.analysis.learned import LearnedSegmenter
from runtime.bundles.reader import Bundle
from runtime.inference.onnx import OnnxBackend

FRAME_SEED = 2**31  # no training draws it; a frame with hair, as what follows the network takes no time where there is none
U2NETP_SIDE = 320
WARM_UP = 3


class _Answer(nn.Module):
    """U²-Netp from normalised pictures to the fused logits alone."""

    def __init__(self) -> None:
        super().__init__()
        self.network = U2Net("small")

    def forward(self, pictures: Tensor) -> Tensor:
        fused: Tensor = self.network(pictures).fused
        return fused


def compare_speed(bundle: Bundle, *, threads: int = 2, rounds: int = 30) -> dict[str, float]:
    """Median milliseconds, and ratios, of: the bundle's bare inference, its whole step on a rendered 640×480 frame, U²-Netp at 320×320.

    The three take turns, so that other work on the machine slows all alike; a ratio is the median of the ratios of the rounds.
    """
    rng = np.random.default_rng(0)
    frame = render_frame(FRAME_SEED, width=640, height=480, kind="realistic").image
    small = rng.standard_normal((1, 3, U2NETP_SIDE, U2NETP_SIDE)).astype(np.float32)
    role = bundle.manifest.roles.segmenter
    if role is None:
        raise EvaluationError(f"{bundle.id}: it has no segmenter: name another bundle")
    u2netp = to_onnx(_Answer().eval(), torch.zeros(1, 3, U2NETP_SIDE, U2NETP_SIDE), "picture", ("hair",), {})
    with (
        LearnedSegmenter(bundle, threads=threads) as segmenter,
        OnnxBackend(bundle.content[role.model], threads=threads) as bare,
        OnnxBackend(u2netp, threads=threads) as other,
    ):
        parts: dict[str, Callable[[], object]] = {
            "bare_ms": lambda: bare.infer({role.input.name: frame[None]}),
            "whole_step_ms": lambda: segmenter.segment(frame),
            "u2netp_320_ms": lambda: other.infer({"picture": small}),
        }
        rows: dict[str, list[float]] = {name: [] for name in parts}
        for turn in range(rounds + WARM_UP):
            for name, part in parts.items():
                taken = _ms(part)
                if turn >= WARM_UP:
                    rows[name].append(taken)
    table = {name: np.array(values) for name, values in rows.items()}
    return {name: float(np.median(values)) for name, values in table.items()} | {
        "u2netp_over_bare": float(np.median(table["u2netp_320_ms"] / table["bare_ms"])),
        "whole_step_over_bare": float(np.median(table["whole_step_ms"] / table["bare_ms"])),
        "threads": threads,
        "rounds": rounds,
    }


def _ms(part: Callable[[], object]) -> float:
    began = time.perf_counter()
    part()
    return (time.perf_counter() - began) * 1e3
