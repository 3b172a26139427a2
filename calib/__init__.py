"""Pixels to micrometres, raw colour to comparable colour. Knows nothing of models, storage or HTTP."""
