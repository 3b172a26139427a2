"""The exceptions of forecasts."""

from runtime.errors import TrichoscopeError


class RecordsError(TrichoscopeError):
    """A file of records cannot be read, is none, or, where asked to be strict, holds something that cannot be used as it stands."""


class ForecastError(TrichoscopeError):
    """A bundle has no forecast, its network answers something impossible, or forecasts are not allowed under the declared use."""
