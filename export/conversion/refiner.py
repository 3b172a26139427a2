"""A finished training of our own refiner as a part of a bundle: joined, proven, and chosen or not on frames that no training saw.

Whether the answer is used beside the mask that prompted it, and how the two are combined, is decided on rendered frames: what is best
there, if it is better than the prompting mask alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.simulated.scene import RenderedFrame, render_frame
from export.conversion.golden import golden_of
from export.conversion.joined import POINTS, parity, refiner_onnx
from export.conversion.onnx_graph import INPUT
from export.conversion.part import RolePart, as_bundle
from export.conversion.segmenter import END, GOLDEN_FRAMES, INPUT_SPEC, PREPROCESSING
from export.conversion.teacher import card_of, live_network, repeat_of, trained_thick
from export.conversion.trust import mask_dice
from export.errors import ConversionError
from export.networks.thick import PROMPTS
from export.scenes import validation_frames
from export.training.refiner import MASKS, RECIPES
from export.training.segmenter import CURVES
from runtime.analysis.ensemble import EnsembleSegmenter
from runtime.analysis.learned import LearnedSegmenter, hair_pieces, padded
from runtime.bundles.reader import Bundle
from runtime.bundles.roles import RefinerRole
from runtime.refining.maps import MapsRefiner
from runtime.refining.prompts import DEFAULT, automatic_prompts, prompt_maps
from runtime.refining.refiner import Combination, combined

MODEL, GOLDEN = "refiner.onnx", "refiner.golden.npz"
GOLDEN_SIZE = (192, 128)
CHOICE_SEED = 900_003  # rendered frames that nothing else draws
THRESHOLD = 0.5
LEAST_GAIN = 0.001
"""Of the mean Dice: what the ensemble must gain over the mask that prompts it to be worth its time."""
DESCRIPTION = (
    "Refines the mask of a captured field: shown the picture and points on hair and on skin (ScalpVision, Algorithm 1), it answers with "
    "several masks and the IoU that it expects of each. It corrects the live network's maps, which it holds in itself."
)
LIMITS = (
    "Learnt from rendered scenes alone and not validated on labels of real patients. Points are those that Algorithm 1 draws from a mask: "
    "it was not made for a person's clicks."
)
COMBINATIONS: tuple[Combination, ...] = ("and", "weighed")


@dataclass(frozen=True)
class Evidence:
    """Mean Dice over rendered frames with hair: of the mask that prompts, the answer alone, and both ensembles."""

    prompting: float
    refined: float
    both: float
    weighed: float

    @property
    def combination(self) -> Combination:
        """The better ensemble."""
        return "and" if self.both > self.weighed else "weighed"

    @property
    def use(self) -> bool:
        """Whether that gains enough over the mask that prompts."""
        return max(self.both, self.weighed) >= self.prompting + LEAST_GAIN


def refiner_part(training: Path, live: Bundle, teacher: Bundle | None = None, *, per_kind: int = 20) -> RolePart:
    """The part of the training in the folder `training`.

    Args:
        live: the bundle whose live network was corrected.
        teacher: whose mask prompts it at work (a bundle with the role `teacher`); the live network's where None.
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
    found = evidence(as_bundle(RolePart("refiner", undecided, content)), live, teacher, per_kind=per_kind)
    metrics = {f"dice_{name}": value for name, value in vars(found).items()} | {f"parity_{k}": v for k, v in differences.items()}
    decided = undecided.model_copy(
        update={"combination": found.combination, "use": found.use, "metrics": {k: round(v, 7) for k, v in metrics.items()}}
    )
    return RolePart("refiner", decided, content)


def evidence(refiner: Bundle, live: Bundle, teacher: Bundle | None, *, per_kind: int) -> Evidence:
    """What the refiner gains over the mask that prompts it, on rendered frames that no training saw.

    Raises:
        ConversionError: none of the frames has hair.
    """
    taught = None if teacher is None else teacher.manifest.roles.teacher
    if teacher is None or taught is None:
        finder = LearnedSegmenter(live, flips=True)
    else:
        finder = LearnedSegmenter(teacher, role="teacher", flips=taught.flips)
    rows = []
    with closing(EnsembleSegmenter(finder)) as segmenter, MapsRefiner(refiner, threads=2) as asked:
        for frame in _with_hair(per_kind):
            mask = segmenter.segment(frame.image)
            prompts = automatic_prompts(mask.mask)
            if not prompts.positive.any():
                continue
            answer = asked.refine(frame.image, prompts)
            masks = (
                mask.mask,
                hair_pieces(answer.probability, THRESHOLD),
                *(combined(how, mask, answer, THRESHOLD, finder.threshold)[1] for how in COMBINATIONS),
            )
            rows.append([mask_dice(found, frame.mask) for found in masks])
    if not rows:
        raise ConversionError("no rendered frame has hair: use more frames a kind")
    return Evidence(*(float(value) for value in np.mean(rows, 0)))


def _with_hair(per_kind: int) -> Iterator[RenderedFrame]:
    return (frame for frame in validation_frames(per_kind, CHOICE_SEED) if frame.mask.any())


def _golden_input(frame: RenderedFrame) -> dict[str, NDArray[np.uint8] | NDArray[np.float32]]:
    maps = prompt_maps(automatic_prompts(frame.mask | frame.faint), frame.mask.shape)
    return {INPUT: padded(frame.image, INPUT_SPEC), POINTS: maps[None]}
