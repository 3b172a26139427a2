"""A finished training of our own refiner as a part of a bundle: joined, proven, and chosen or not on frames that no training saw.

Whether the answer is used beside the mask that prompted it, and how the two are combined, is decided on rendered frames
(`export.conversion.evidence`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.simulated.scene import RenderedFrame, render_frame
from export.conversion.evidence import refiner_evidence
from export.conversion.golden import golden_of
from export.conversion.joined import POINTS, parity, refiner_onnx
from export.conversion.onnx_graph import INPUT
from export.conversion.part import RolePart, as_bundle
from export.conversion.segmenter import END, GOLDEN_FRAMES, INPUT_SPEC, PREPROCESSING
from export.conversion.teacher import card_of, live_network, repeat_of, trained_thick
from export.networks.thick import PROMPTS
from export.training.refiner import MASKS, RECIPES
from export.training.segmenter import CURVES
from runtime.analysis.learned import padded
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import RefinerRole
from runtime.refining.prompts import DEFAULT, automatic_prompts, prompt_maps

MODEL, GOLDEN = "refiner.onnx", "refiner.golden.npz"
GOLDEN_SIZE = (192, 128)
THRESHOLD = 0.5
DESCRIPTION = (
    "Refines the mask of a captured field: shown the picture and points on hair and on skin (ScalpVision, Algorithm 1), it answers with "
    "several masks and the IoU that it expects of each. It corrects the live network's maps, which it holds in itself."
)
LIMITS = (
    "Learnt from rendered scenes alone and not validated on labels of real patients. Points are those that Algorithm 1 draws from a mask: "
    "it was not made for a person's clicks."
)


def refiner_part(training: Path, live: Bundle, teacher: Bundle | None = None, *, per_kind: int = 20) -> RolePart:
    """The part of the training in the folder `training`.

    Args:
        live: the bundle whose live network was corrected.
        teacher: whose mask prompts it at work (a bundle with the role `teacher`), if it is used there; else the live network's does.
        per_kind: rendered frames of each kind on which is decided.

    Raises:
        TrainingError, ConversionError: see there.
    """
    network, state = trained_thick(training, prompts=PROMPTS, masks=MASKS)
    corrected = live_network(live)
    model = refiner_onnx(network, corrected)
    differences = parity(network, corrected, model)
    width, height = GOLDEN_SIZE
    frames = (render_frame(seed, width=width, height=height, kind=kind) for kind, seed in GOLDEN_FRAMES)
    golden, golden_file = golden_of(GOLDEN, model, [_golden_input(frame) for frame in frames], end=END)
    more = "" if teacher is None else " --teacher TEACHER"
    undecided = RefinerRole(
        kind="maps",
        model=MODEL,
        golden=golden,
        card=card_of(training, state, DESCRIPTION, LIMITS, repeat_of("refiner", state, live, RECIPES, more)),
        input=INPUT_SPEC,
        preprocessing=PREPROCESSING,
        threshold=THRESHOLD,
        prompts=DEFAULT,
        combination="and",
        use=False,
    )
    content = {MODEL: model, GOLDEN: golden_file}
    if (training / CURVES).is_file():
        content[f"refiner.{CURVES}"] = (training / CURVES).read_bytes()
    found = refiner_evidence(as_bundle(RolePart("refiner", undecided, content)), live, teacher, per_kind=per_kind)
    metrics = found.metrics | {f"parity_{k}": v for k, v in differences.items()}
    decided = undecided.model_copy(
        update={"combination": found.combination, "use": found.use, "metrics": {k: round(v, 7) for k, v in metrics.items()}}
    )
    return RolePart("refiner", decided, content)


def _golden_input(frame: RenderedFrame) -> dict[str, NDArray[np.uint8] | NDArray[np.float32]]:
    maps = prompt_maps(automatic_prompts(frame.mask | frame.faint), frame.mask.shape)
    return {INPUT: padded(frame.image, INPUT_SPEC), POINTS: maps[None]}
