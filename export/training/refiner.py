"""The training of our own promptable refiner: the thick network with planes of prompts, several masks, and an IoU predicted for each.

Prompts are those of Algorithm 1 and its variants, equally often, mostly from the live network's masks, as at work, and else
from the true mask; some are left out, so that few suffice. Of several masks the best one learns most, as in "Segment Anything"
(Kirillov 2023, 3): a doubtful hair may be in one and not in another. It begins with the weights of a teacher where one is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from export.errors import TrainingError
from export.networks.live import LINE
from export.networks.thick import NEGATIVE, POSITIVE, PROMPTS, ThickNet
from export.training import checkpoint
from export.training.live_maps import LiveMaps
from export.training.losses import DICE_WEIGHT, GAP_WEIGHT, SMOOTH_PX, THIN_WEIGHT
from export.training.recipe import TrainingRecipe
from export.training.samples import CropSamples
from export.training.segmenter import SegmenterTraining
from export.training.teacher import TeacherSamples
from runtime.refining.prompts import VARIANTS, Prompts, automatic_prompts, prompt_maps

CPU = TrainingRecipe("cpu", 3000, 5, 256, 8, 8000, 3e-3, 200, 1e-2, 0.25, 0.999, 1000, 1, base_channels=16, precision="bfloat16")
GPU = TrainingRecipe("gpu", 6000, 40, 320, 48, 16_000, 2e-3, 500, 1e-2, 0.25, 0.9995, 1000, 12, base_channels=40)
SMOKE = TrainingRecipe("smoke", 6, 1, 64, 2, 8, 2e-3, 2, 1e-2, 0.25, 0.5, 4, 0, base_channels=8)
RECIPES = {recipe.name: recipe for recipe in (CPU, GPU, SMOKE)}

MASKS = 3
LIVE_THRESHOLD = 0.5  # from which a pixel of the live map is hair to prompts
FROM_TRUTH, NONE_AT_ALL = 0.3, 0.03  # shares of crops: prompted by the true mask, by nothing
FEWEST = 0.2  # of the prompts, in the crops that keep fewest
OTHERS_WEIGHT = 0.1  # of the mean over all masks beside the best one: none is to be forgotten
IOU_WEIGHT = 0.3
UNSEEN = 0.5
"""Share of the pictures whose live maps are withheld. Shown them always, the network has little to learn from a picture that the live
network has not said already, and learns to trust that one alone: a teacher trained so was as good as the live network, and no better."""
APART = 0.5  # logits by which the first and the last mask differ from the teacher's at the beginning


def drawn_prompts(truth: NDArray[np.bool_], live: NDArray[np.bool_], rng: np.random.Generator) -> Prompts:
    """The prompts of one crop. Both masks are bool (side, side)."""
    mask = truth if rng.random() < FROM_TRUTH else live
    variant = VARIANTS[int(rng.integers(len(VARIANTS)))]  # all alike: else the usual one would win the ablation for being the usual one
    prompts = automatic_prompts(mask, variant=variant, seed=int(rng.integers(2**31)))
    share = 0.0 if rng.random() < NONE_AT_ALL else float(rng.uniform(FEWEST, 1))
    kept = rng.random(len(prompts)) < share
    return Prompts(prompts.points[kept], prompts.positive[kept])


class RefinerSamples(Dataset[tuple[Tensor, ...]]):
    """A sample of `TeacherSamples` and its prompts, float32 (PROMPTS, side, side)."""

    def __init__(self, samples: TeacherSamples, seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        sample = self.samples[index]
        rng = np.random.default_rng([self.seed, 6, self.samples.crops.first + index])
        truth, live = sample[1][0].numpy(), sample[4][0].numpy() >= LIVE_THRESHOLD
        planes = prompt_maps(drawn_prompts(truth, live, rng), truth.shape)
        return *sample, torch.from_numpy(np.ascontiguousarray(planes[[POSITIVE, NEGATIVE]]))


def refiner_loss(masks: Tensor, iou: Tensor, hair: Tensor, gaps: Tensor, line: Tensor) -> Tensor:
    """The scalar loss of a batch: each picture's best mask counts, the others a little, and each predicted IoU is held to the true one.

    Args:
        masks: logits (batch, masks, height, width); iou: logits (batch, masks).
        hair, gaps, line: float (batch, 1, height, width), as in `export.training.losses`; `line` are centre lines.
    """
    truth = hair.expand_as(masks)
    weight = (1 + GAP_WEIGHT * gaps + THIN_WEIGHT * line).expand_as(masks)
    entropy = functional.binary_cross_entropy_with_logits(masks, truth, weight=weight, reduction="none").mean((2, 3))
    soft = torch.sigmoid(masks)
    both = (soft * truth).sum((2, 3))
    total = soft.sum((2, 3)) + truth.sum((2, 3))
    each = entropy + DICE_WEIGHT * (1 - (2 * both + SMOOTH_PX) / (total + SMOOTH_PX))
    with torch.no_grad():
        found = masks > 0
        shared = (found & (truth > 0.5)).sum((2, 3)).float()
        either = (found | (truth > 0.5)).sum((2, 3)).float()
        true_iou = (shared + 1) / (either + 1)
    said = functional.mse_loss(torch.sigmoid(iou), true_iou)
    return each.min(1).values.mean() + OTHERS_WEIGHT * each.mean() + IOU_WEIGHT * said


class RefinerTraining(SegmenterTraining):
    """A training of the refiner in one folder.

    Args:
        live: the bundle whose live network is corrected.
        teacher: the folder of a teacher's training whose weights it begins with, None for a new beginning.

    Raises:
        TrainingError: the teacher's checkpoint is missing, or of another width.
    """

    subject = "refiner"

    def __init__(
        self, folder: Path, recipe: TrainingRecipe, seed: int, *, device: str = "cpu", live: Path, teacher: Path | None = None
    ) -> None:
        self.live = LiveMaps(live)
        super().__init__(folder, recipe, seed, device=device)
        if teacher is not None:
            for network in (self.network, self.average):
                begin_with(network, teacher)

    def _make_network(self) -> nn.Module:
        network = ThickNet(self.recipe.base_channels, prompts=PROMPTS, masks=MASKS)
        _apart(network)
        return network

    def _dataset(self, paths: list[Path], first: int, count: int) -> Dataset[tuple[Tensor, ...]]:
        crops = CropSamples(paths, self.recipe.side, self.seed, first, count, self.recipe.overlay_share)
        return RefinerSamples(TeacherSamples(crops, self.live), self.seed)

    def _loss(self, *batch: Tensor) -> Tensor:
        pictures, hair, gaps, marks, live, live_marks, points = (part.to(self.device) for part in batch)
        x = pictures.float().contiguous(memory_format=torch.channels_last)
        unseen = (torch.rand(len(x), 1, 1, 1) < UNSEEN).to(self.device)  # the random state is the step's
        live, live_marks = (torch.where(unseen, maps.new_tensor(0.5), maps) for maps in (live, live_marks))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            found = self.network(x, live, live_marks, points)
        line = functional.interpolate(marks[:, LINE : LINE + 1], scale_factor=2.0, mode="nearest")
        return refiner_loss(found.masks.float(), found.iou.float(), hair.float(), gaps.float(), line)

    def _whole(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        live, marks = self.live.of(image)
        planes = prompt_maps(automatic_prompts(live[0] >= LIVE_THRESHOLD), image.shape[:2])
        x = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))[None]).to(self.device).float()
        rest = (torch.from_numpy(np.array(part))[None].to(self.device) for part in (live, marks, planes))
        found = self.average(x.contiguous(memory_format=torch.channels_last), *rest)
        best = int(found.iou[0].argmax())
        return np.asarray((found.masks[0, best] > 0).cpu().numpy(), np.bool_)


def begin_with(network: ThickNet, training: Path) -> None:
    """Give `network` the averaged weights of the teacher trained in `training`: prompts mean nothing yet, and the masks are
    its mask, a little wider and narrower.

    Raises:
        TrainingError: no such checkpoint, or one of another width.
    """
    state: dict[str, Any] = checkpoint.load(training)
    try:
        weights: dict[str, Tensor] = dict(state["average"])
        for name in ("hair.weight", "hair.bias"):
            weights[name] = torch.cat([weights[name]] * network.count)
        missing, unexpected = network.load_state_dict(weights, strict=False)
    except (KeyError, TypeError, RuntimeError) as problem:
        first = str(problem).partition("\n")[0]
        raise TrainingError(f"{training}: not the training of a teacher as wide as this refiner ({first}): name another") from problem
    if unexpected or any(not name.startswith(("points.", "iou.")) for name in missing):
        raise TrainingError(f"{training}: not the training of a teacher: name another with --teacher")
    if network.points is not None:
        nn.init.zeros_(network.points.weight)
    _apart(network)


@torch.no_grad()
def _apart(network: ThickNet) -> None:
    """Make the masks a little wider and narrower than each other: of masks all alike one would be the best, and learn, by chance."""
    bias = network.hair.bias
    if bias is not None:
        bias += torch.linspace(-APART, APART, network.count).repeat_interleave(bias.numel() // network.count)
