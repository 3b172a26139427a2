"""The exceptions of bundles."""

from runtime.errors import TrichoscopeError


class BundleError(TrichoscopeError):
    """A bundle is missing, damaged, or says something that this program does not take."""
