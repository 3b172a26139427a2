"""The exceptions that only the store raises; those that cross to other folders are in `runtime.errors`."""

from __future__ import annotations

from runtime.errors import StoreError


class CaptureNotFoundError(StoreError):
    """No capture has this id. HTTP 404 at the API."""


class PictureMissingError(StoreError):
    """The row of a capture is there, its picture file is not (deleted by hand, or lost by the disk). HTTP 410 at the API."""


class StoreDamagedError(StoreError):
    """The database was found damaged while it was open. Closing the store and opening it again moves it aside and rebuilds it."""


class DamagedDatabaseError(Exception):
    """Inside the store only: the database file cannot be trusted and is to be moved aside."""
