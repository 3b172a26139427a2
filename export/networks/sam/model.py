"""A whole network of the SAM family by its kind: what a checkpoint of the `segment-anything` or `MobileSAM` package fills."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from export.networks.sam.decoder import MaskDecoder
from export.networks.sam.prompts import PromptEncoder
from export.networks.sam.tiny_vit import TinyEncoder
from export.networks.sam.vit import PATCH, VIT_B, VIT_H, VIT_L, ViTEncoder, ViTSizes

Kind = Literal["vit_b", "vit_l", "vit_h", "mobile"]
KINDS: tuple[Kind, ...] = get_args(Kind)
VITS: Mapping[str, ViTSizes] = {"vit_b": VIT_B, "vit_l": VIT_L, "vit_h": VIT_H}
SIDE = 1024
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of red, green and blue, 0…255: what a picture is normalised by."""


class Sam(nn.Module):
    """Encoder of the picture, encoder of prompts, decoder.

    Args:
        side: of the square picture, a multiple of 16; checkpoints of the `vit_` kinds are for SIDE alone, MobileSAM's encoder takes any.
        classes: of MobileSAM's classifier, which nothing uses: for counts of parameters.
        sizes: another thickness than the kind's, for tests.

    Raises:
        ValueError: no such kind, or a side that is no multiple of 16.
    """

    def __init__(self, kind: Kind, *, side: int = SIDE, classes: int = 0, sizes: ViTSizes | None = None) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"{kind!r}: no kind of SAM: choose {', '.join(KINDS)}")
        if side % PATCH or side < PATCH:
            raise ValueError(f"{side} px: sides of pictures are multiples of {PATCH}")
        self.side, self.grid = side, side // PATCH
        self.image_encoder: nn.Module = TinyEncoder(classes=classes) if kind == "mobile" else ViTEncoder(sizes or VITS[kind], side)
        self.prompt_encoder = PromptEncoder(side, self.grid)
        self.mask_decoder = MaskDecoder()

    def embed(self, picture: Tensor) -> Tensor:
        """float32 (1, 3, side, side), normalised RGB, to an embedding (1, EMBEDDING, grid, grid)."""
        found: Tensor = self.image_encoder(picture)
        return found

    def decode(self, embedding: Tensor, coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Masks (b, MASKS, 4 grid, 4 grid), logits, and predicted IoU (b, MASKS) of points (b, n, 2), px, with labels (b, n)."""
        prompts = self.prompt_encoder
        found: tuple[Tensor, Tensor] = self.mask_decoder(embedding, prompts.positions(), prompts.no_mask(), prompts(coords, labels))
        return found


def kind_of(state: Mapping[str, Tensor]) -> Kind | None:
    """Which kind weights are of, by their names and shapes; None where they are of none."""
    positions = state.get("image_encoder.pos_embed")
    if positions is not None:
        widths: dict[int, Kind] = {VIT_B.width: "vit_b", VIT_L.width: "vit_l", VIT_H.width: "vit_h"}
        return widths.get(positions.shape[-1]) if positions.ndim == 4 else None
    return "mobile" if "image_encoder.patch_embed.seq.0.c.weight" in state else None


def shapes_of(kind: Kind, *, side: int = SIDE) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter and buffer of a kind; takes no memory."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in Sam(kind, side=side).state_dict().items()}
