"""What a frame tells of the scalp beside its hair: flakes, shine and redness, measured or graded by a network."""
