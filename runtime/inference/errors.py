"""The exceptions of the inference backends."""

from runtime.errors import TrichoscopeError


class InferenceError(TrichoscopeError):
    """A backend could not take a network, or failed while running it."""
