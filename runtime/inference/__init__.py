"""Backends that run a bundle's networks; nothing here knows what the numbers mean."""

import os

# Since 1.29 ONNX Runtime's Linux builds make a device id and send events to their maker unless this is set before they are loaded.
# Nothing leaves the kiosk.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
