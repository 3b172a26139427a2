"""Errors as the API answers them: JSON with what is wrong and what to do, whatever was raised."""

from __future__ import annotations

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from runtime.api.models import Problem
from runtime.errors import BusyError, PictureError, StoreError, StoreFullError, TrichoscopeError

log = structlog.get_logger(__name__)


class ApiError(Exception):
    """Something that a route refuses, with its HTTP status."""

    def __init__(self, status: int, error: str, remedy: str) -> None:
        super().__init__(f"{error}: {remedy}")
        self.status = status
        self.problem = Problem(error=error, remedy=remedy)


# the first class that fits; the remedies of messages without one
_STATUS_OF: tuple[tuple[type[TrichoscopeError], int, str], ...] = (
    (BusyError, 409, "wait a moment and try again"),
    (PictureError, 422, "take another picture"),
    (StoreFullError, 507, "free some space on the disk of the state folder"),
    (StoreError, 503, "read the log; the store's folder must be writable"),
    (TrichoscopeError, 503, "try again; the log has the details"),
)

NO_SUCH_PLACE = {
    404: ("there is nothing at this address", "GET /api/openapi.json lists what there is"),
    405: ("this address is not used in this way", "GET /api/openapi.json lists how"),
}


def answer(status: int, error: str, remedy: str) -> JSONResponse:
    """An error as JSON."""
    return JSONResponse(Problem(error=error, remedy=remedy).model_dump(), status_code=status)


def _split(message: str, remedy: str) -> tuple[str, str]:
    """(what is wrong, what to do) from a message of the form "thing: remedy", or with the remedy given."""
    head, colon, tail = message.rpartition(": ")
    return (head, tail) if colon else (message, remedy)


def answer_errors(app: FastAPI) -> None:
    """Have `app` answer every error in the form of `Problem`."""

    async def refused(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return JSONResponse(error.problem.model_dump(), status_code=error.status)

    async def on_purpose(_request: Request, error: Exception) -> JSONResponse:
        status, remedy = next((s, r) for kind, s, r in _STATUS_OF if isinstance(error, kind))
        return answer(status, *_split(str(error), remedy))

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return answer(422, f"{where}: {first['msg']}", "see /api/openapi.json for what is expected")

    async def http(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        what, remedy = NO_SUCH_PLACE.get(error.status_code, (str(error.detail), "see /api/openapi.json"))
        return answer(error.status_code, what, remedy)

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("a request failed", path=request.url.path, exc_info=error)
        return answer(500, "the daemon made a mistake", "try again; the log has the details")

    app.add_exception_handler(ApiError, refused)
    app.add_exception_handler(TrichoscopeError, on_purpose)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)
