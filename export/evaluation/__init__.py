"""Segmenters side by side over folders of pictures and true masks."""
