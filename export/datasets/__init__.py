"""Data sets with labels: loaders that name and count what they cannot use, and split by person."""
