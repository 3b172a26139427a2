"""The exceptions of the runtime layer that cross its folders; messages name the thing and the remedy."""


class TrichoscopeError(Exception):
    """Base of everything that `runtime` raises on purpose. `str()` of it is fit for a person."""


class PictureError(TrichoscopeError):
    """A file that should be a picture is not one, is truncated, or has a size that cannot be analysed."""


class ConfigError(TrichoscopeError):
    """A configuration file cannot be read, or holds an unknown key or a value that is not allowed."""


class StoreError(TrichoscopeError):
    """The state folder or its database cannot be used."""


class StoreFullError(StoreError):
    """The disk is full, or below its reserve: nothing was kept."""


class BusyError(TrichoscopeError):
    """A bounded queue is full: what was asked for was refused, nothing was dropped. HTTP 409 at the API."""
