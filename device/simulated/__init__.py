"""The simulated microscope: scene, lens, sensor. The one place in `device` that knows hair and micrometres; no driver imports it."""
