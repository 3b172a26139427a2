"""The exceptions of the calibration layer; messages name the thing and the remedy."""


class CalibrationError(Exception):
    """Base of everything that `calib` raises on purpose."""


class ScaleError(CalibrationError):
    """A scale is absent where one is needed, or absurd (not finite, not positive, outside what a microscope can have)."""


class TargetError(CalibrationError):
    """The description of a target cannot be understood, or describes a target that nobody could print or see."""


class TargetNotFoundError(CalibrationError):
    """A picture does not show the target, or too little of it; the message says what was seen, what was expected and what to do."""


class CurveError(CalibrationError):
    """Scales and distances do not make a curve: too few, all at one distance, or not on a line."""


class DistanceError(CalibrationError):
    """A distance lies outside what a curve was calibrated for, or is no distance."""


class ProfileError(CalibrationError):
    """A profile file is damaged, foreign, expired or of another device; the message says which and what to do."""
