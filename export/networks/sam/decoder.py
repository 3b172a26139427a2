"""SAM's decoder: tokens and picture attend to each other twice, and each mask token becomes a mask and a prediction of its IoU.

Written from the paper (Kirillov et al. 2023, appendix A); parameters carry the names of the `segment-anything` package.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.networks.sam.layers import EMBEDDING, ChannelNorm, FeedForward, Perceptron, sides

DEPTH, HEADS, INSIDE = 2, 8, 2048
MASKS = 4
"""The first is meant for several points, the other three for one point that may mean a part, more, or the whole."""


class Attention(nn.Module):
    """Queries (b, n, EMBEDDING) look at keys and values (b or 1, m, EMBEDDING), `narrower` times as narrow."""

    def __init__(self, narrower: int = 1) -> None:
        super().__init__()
        self._each = EMBEDDING // narrower // HEADS
        self.q_proj = nn.Linear(EMBEDDING, EMBEDDING // narrower)
        self.k_proj = nn.Linear(EMBEDDING, EMBEDDING // narrower)
        self.v_proj = nn.Linear(EMBEDDING, EMBEDDING // narrower)
        self.out_proj = nn.Linear(EMBEDDING // narrower, EMBEDDING)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = self._heads(self.q_proj(q)), self._heads(self.k_proj(k)), self._heads(self.v_proj(v))
        weights = ((q @ k.transpose(2, 3)) * self._each**-0.5).softmax(-1)
        y: Tensor = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        return y

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], HEADS, self._each).transpose(1, 2)


class TwoWayBlock(nn.Module):
    """Tokens among themselves, tokens to picture, feed-forward of tokens, picture to tokens; each added and normalised."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self._first = first
        self.self_attn = Attention()
        self.norm1 = nn.LayerNorm(EMBEDDING)
        self.cross_attn_token_to_image = Attention(2)
        self.norm2 = nn.LayerNorm(EMBEDDING)
        self.mlp = FeedForward(EMBEDDING, INSIDE, functional.relu)
        self.norm3 = nn.LayerNorm(EMBEDDING)
        self.norm4 = nn.LayerNorm(EMBEDDING)
        self.cross_attn_image_to_token = Attention(2)

    def forward(self, tokens: Tensor, picture: Tensor, prompts: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        if self._first:  # the tokens are the prompts still: nothing is added to them, nor to what comes of them
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            asking = tokens + prompts
            tokens = self.norm1(tokens + self.self_attn(asking, asking, tokens))
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + prompts, picture + positions, picture))
        tokens = self.norm3(tokens + self.mlp(tokens))
        picture = self.norm4(picture + self.cross_attn_image_to_token(picture + positions, tokens + prompts, tokens))
        return tokens, picture


class TwoWayTransformer(nn.Module):
    """DEPTH blocks, and a last look of the tokens at the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(first=number == 0) for number in range(DEPTH))
        self.final_attn_token_to_image = Attention(2)
        self.norm_final_attn = nn.LayerNorm(EMBEDDING)

    def forward(self, picture: Tensor, positions: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (b, n, EMBEDDING) and picture (b, places, EMBEDDING) after they have looked at each other."""
        tokens = prompts
        for layer in self.layers:
            tokens, picture = layer(tokens, picture, prompts, positions)
        tokens = tokens + self.final_attn_token_to_image(tokens + prompts, picture + positions, picture)
        return self.norm_final_attn(tokens), picture


class MaskDecoder(nn.Module):
    """An embedding and the tokens of prompts to MASKS masks and their predicted IoU."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer()
        self.iou_token = nn.Embedding(1, EMBEDDING)
        self.mask_tokens = nn.Embedding(MASKS, EMBEDDING)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(EMBEDDING, EMBEDDING // 4, 2, 2),
            ChannelNorm(EMBEDDING // 4),
            nn.GELU(),
            nn.ConvTranspose2d(EMBEDDING // 4, EMBEDDING // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Perceptron(EMBEDDING, EMBEDDING, EMBEDDING, EMBEDDING // 8) for _ in range(MASKS))
        self.iou_prediction_head = Perceptron(EMBEDDING, EMBEDDING, EMBEDDING, MASKS)

    def forward(self, embedding: Tensor, positions: Tensor, no_mask: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (b, MASKS, 4 s, 4 s) and predicted IoU (b, MASKS).

        Args:
            embedding: (1, EMBEDDING, s, s).
            positions: of its places, (1, s², EMBEDDING).
            no_mask: added to every place, (1, 1, EMBEDDING).
            prompts: tokens (b, n, EMBEDDING).
        """
        s = sides(embedding)[2]
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own[None].expand(prompts.shape[0], -1, -1), prompts], 1)
        picture = embedding.flatten(2).transpose(1, 2) + no_mask
        tokens, picture = self.transformer(picture, positions, tokens)
        larger = self.output_upscaling(picture.transpose(1, 2).reshape(-1, EMBEDDING, s, s))
        weights = torch.stack([net(tokens[:, 1 + number]) for number, net in enumerate(self.output_hypernetworks_mlps)], 1)
        masks = (weights @ larger.flatten(2)).reshape(-1, MASKS, 4 * s, 4 * s)
        return masks, self.iou_prediction_head(tokens[:, 0])
