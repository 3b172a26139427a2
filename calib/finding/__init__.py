"""Finders: where in a picture the points of a target lie, to hundredths of a pixel, and which point of the target each of them is."""
