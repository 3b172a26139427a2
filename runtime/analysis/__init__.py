"""The analysis of one frame: each stage a function of arrays and small frozen dataclasses."""
