"""The daemon and every command: inference, bundles, analysis, pipeline, store, API, kiosk page. Knows nothing of training."""

from importlib.metadata import version

__version__ = version("trichoscope")
