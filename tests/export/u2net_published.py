"""What the published U²-Net checkpoints hold, written down from the authors' package (model/u2net.py): names, shapes, order."""

from __future__ import annotations

# of each stage its blocks in order, rebnconv + the word, with the channels of the convolution; then the convolutions of the sides

FULL = """
stage1: in 3>64, 1 64>32, 2 32>32, 3 32>32, 4 32>32, 5 32>32, 6 32>32, 7 32>32,
  6d 64>32, 5d 64>32, 4d 64>32, 3d 64>32, 2d 64>32, 1d 64>64
stage2: in 64>128, 1 128>32, 2 32>32, 3 32>32, 4 32>32, 5 32>32, 6 32>32,
  5d 64>32, 4d 64>32, 3d 64>32, 2d 64>32, 1d 64>128
stage3: in 128>256, 1 256>64, 2 64>64, 3 64>64, 4 64>64, 5 64>64, 4d 128>64, 3d 128>64, 2d 128>64, 1d 128>256
stage4: in 256>512, 1 512>128, 2 128>128, 3 128>128, 4 128>128, 3d 256>128, 2d 256>128, 1d 256>512
stage5: in 512>512, 1 512>256, 2 256>256, 3 256>256, 4 256>256, 3d 512>256, 2d 512>256, 1d 512>512
stage6: in 512>512, 1 512>256, 2 256>256, 3 256>256, 4 256>256, 3d 512>256, 2d 512>256, 1d 512>512
stage5d: in 1024>512, 1 512>256, 2 256>256, 3 256>256, 4 256>256, 3d 512>256, 2d 512>256, 1d 512>512
stage4d: in 1024>256, 1 256>128, 2 128>128, 3 128>128, 4 128>128, 3d 256>128, 2d 256>128, 1d 256>256
stage3d: in 512>128, 1 128>64, 2 64>64, 3 64>64, 4 64>64, 5 64>64, 4d 128>64, 3d 128>64, 2d 128>64, 1d 128>128
stage2d: in 256>64, 1 64>32, 2 32>32, 3 32>32, 4 32>32, 5 32>32, 6 32>32,
  5d 64>32, 4d 64>32, 3d 64>32, 2d 64>32, 1d 64>64
stage1d: in 128>64, 1 64>16, 2 16>16, 3 16>16, 4 16>16, 5 16>16, 6 16>16,
  7 16>16, 6d 32>16, 5d 32>16, 4d 32>16, 3d 32>16, 2d 32>16, 1d 32>64
side1: 64>1 3x3
side2: 64>1 3x3
side3: 128>1 3x3
side4: 256>1 3x3
side5: 512>1 3x3
side6: 512>1 3x3
outconv: 6>1 1x1
"""
SMALL = """
stage1: in 3>64, 1 64>16, 2 16>16, 3 16>16, 4 16>16, 5 16>16, 6 16>16, 7 16>16,
  6d 32>16, 5d 32>16, 4d 32>16, 3d 32>16, 2d 32>16, 1d 32>64
stage2: in 64>64, 1 64>16, 2 16>16, 3 16>16, 4 16>16, 5 16>16, 6 16>16, 5d 32>16, 4d 32>16, 3d 32>16, 2d 32>16, 1d 32>64
stage3: in 64>64, 1 64>16, 2 16>16, 3 16>16, 4 16>16, 5 16>16, 4d 32>16, 3d 32>16, 2d 32>16, 1d 32>64
stage4: in 64>64, 1 64>16, 2 16>16, 3 16>16, 4 16>16, 3d 32>16, 2d 32>16, 1d 32>64
stage5: in 64>64, 1 64>16, 2 16>16, 3 16>16, 4 16>16, 3d 32>16, 2d 32>16, 1d 32>64
stage6: in 64>64, 1 64>16, 2 16>16, 3 16>16, 4 16>16, 3d 32>16, 2d 32>16, 1d 32>64
stage5d: in 128>64, 1 64>16, 2 16>16, 3 16>16, 4 16>16, 3d 32>16, 2d 32>16, 1d 32>64
stage4d: in 128>64, 1 64>16, 2 16>16, 3 16>16, 4 16>16, 3d 32>16, 2d 32>16, 1d 32>64
stage3d: in 128>64, 1 64>16, 2 16>16, 3 16>16, 4 16>16, 5 16>16, 4d 32>16, 3d 32>16, 2d 32>16, 1d 32>64
stage2d: in 128>64, 1 64>16, 2 16>16, 3 16>16, 4 16>16, 5 16>16, 6 16>16,
  5d 32>16, 4d 32>16, 3d 32>16, 2d 32>16, 1d 32>64
stage1d: in 128>64, 1 64>16, 2 16>16, 3 16>16, 4 16>16, 5 16>16, 6 16>16,
  7 16>16, 6d 32>16, 5d 32>16, 4d 32>16, 3d 32>16, 2d 32>16, 1d 32>64
side1: 64>1 3x3
side2: 64>1 3x3
side3: 64>1 3x3
side4: 64>1 3x3
side5: 64>1 3x3
side6: 64>1 3x3
outconv: 6>1 1x1
"""
TABLES = {"full": FULL, "small": SMALL}


def published(size: str) -> dict[str, tuple[int, ...]]:
    """Shape by name of every tensor in the checkpoint of that size, in its order."""
    found: dict[str, tuple[int, ...]] = {}
    for row in TABLES[size].replace(",\n ", ",").split("\n"):
        part, _, rest = row.partition(": ")
        if part.startswith("stage"):
            for block in rest.split(", "):
                word, channels = block.split()
                inner, outer = map(int, channels.split(">"))
                name = f"{part}.rebnconv{word}"
                found[f"{name}.conv_s1.weight"] = (outer, inner, 3, 3)
                found[f"{name}.conv_s1.bias"] = (outer,)
                found |= {f"{name}.bn_s1.{what}": (outer,) for what in ("weight", "bias", "running_mean", "running_var")}
                found[f"{name}.bn_s1.num_batches_tracked"] = ()
        elif part:
            channels, kernel = rest.split()
            inner, outer = map(int, channels.split(">"))
            found[f"{part}.weight"] = (outer, inner, *map(int, kernel.split("x")))
            found[f"{part}.bias"] = (outer,)
    return found
