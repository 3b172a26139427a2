"""The exceptions of the calibration layer; messages name the thing and the remedy."""


class CalibrationError(Exception):
    """Base of everything that `calib` raises on purpose."""


class ScaleError(CalibrationError):
    """A scale is absent where one is needed, or absurd (not finite, not positive, outside what a microscope can have)."""
