"""Backends that run a bundle's networks; nothing here knows what the numbers mean."""
