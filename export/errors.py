"""The exceptions of the workstation that cross its folders; messages name the thing and the remedy."""

from runtime.errors import TrichoscopeError


class ExportError(TrichoscopeError):
    """Base of what `export` raises on purpose."""


class TrainingError(ExportError):
    """Training cannot start or go on: the folder is of another training, the disk is nearly full, a checkpoint is damaged."""


class ConversionError(ExportError):
    """A network could not be made an ONNX graph that gives the same numbers."""


class EvaluationError(ExportError):
    """A folder of image and mask pairs cannot be evaluated."""


class DataError(ExportError):
    """A data set cannot be used: nothing of it is whole, or something is wrong and the user asked for strictness."""


class KeyFileError(ExportError):
    """A file of a private key cannot be used: missing, readable by others, of another kind, or locked by another passphrase."""
