"""The routes of captures: keep the right picture of this moment, list what was kept, and give it back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import FileResponse

from runtime.api.errors import ApiError
from runtime.api.models import CaptureAnswer, CaptureKept, CapturePage, CaptureSummary, CaptureWish, Problem
from runtime.api.parts import Parts
from runtime.errors import StoreError
from runtime.store.errors import CaptureNotFoundError, PictureMissingError
from runtime.store.records import CaptureRow

ANSWER_DEADLINE_S = 30.0  # the captured path takes about a second; behind a full queue some more
MAX_PAGE = 200
FOREVER = "private, max-age=31536000, immutable"  # what was kept under an id never changes

CaptureId = Annotated[int, Path(ge=1, le=2**63 - 1)]


def _summary(row: CaptureRow) -> CaptureSummary:
    return CaptureSummary(
        id=row.id,
        taken_at=row.taken_utc,
        site=row.site,
        width_px=row.width_px,
        height_px=row.height_px,
        hair_count=row.hair_count,
        sha256=row.picture_sha256,
    )


def _passed_over(parts: Parts, capture_id: int) -> str | None:
    """Why a better mask of a capture was not used; None too where that cannot be read: the capture is kept all the same."""
    try:
        return parts.store.measurement(capture_id).segmentation.passed_over
    except StoreError:
        return None


def capture_routes(parts: Parts) -> APIRouter:
    """The routes over the capture worker and the store. Those that only read run in threads of their own: the store may wait."""
    router = APIRouter(prefix="/api/captures", tags=["captures"], responses={404: {"model": Problem}})

    @router.post("", status_code=201, responses={409: {"model": Problem}, 503: {"model": Problem}, 507: {"model": Problem}})
    async def capture(wish: CaptureWish | None = None) -> CaptureKept:
        """Keep the sharpest steady frame around this moment with its measurement. The answer comes when both are safely stored."""
        pressed_ns = time.monotonic_ns()
        if parts.slot.latest() is None:
            raise ApiError(503, "there is no picture to keep", parts.camera_state().message)
        outcome = parts.shutter.press(wish.site if wish else None, pressed_ns)
        try:  # shielded: a page that leaves does not take back what was accepted
            row = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(outcome)), ANSWER_DEADLINE_S)
        except asyncio.TimeoutError:
            raise ApiError(504, "the capture takes unusually long", "it is still being kept: look into the list in a moment") from None
        return CaptureKept(**_summary(row).model_dump(), passed_over=await asyncio.to_thread(_passed_over, parts, row.id))

    @router.get("")
    def captures(
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
        before: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="only captures older than this id")] = None,
    ) -> CapturePage:
        """Captures, newest first."""
        rows = parts.store.list(limit, before)
        return CapturePage(captures=[_summary(row) for row in rows], next_before=rows[-1].id if len(rows) == limit else None)

    @router.get("/{capture_id}")
    def one(capture_id: CaptureId) -> CaptureAnswer:
        """A capture with its measurement."""
        with _absence_told():
            row, measurement = parts.store.get(capture_id), parts.store.measurement(capture_id)
        return CaptureAnswer(**_summary(row).model_dump(), measurement=measurement)

    @router.get("/{capture_id}/picture", response_class=FileResponse)
    def picture(capture_id: CaptureId) -> Response:
        """The picture as the camera gave it."""
        with _absence_told():
            return FileResponse(parts.store.picture(capture_id), headers={"Cache-Control": FOREVER})

    @router.get("/{capture_id}/thumbnail", response_class=Response)
    def thumbnail(capture_id: CaptureId) -> Response:
        """A small JPEG of the picture."""
        with _absence_told():
            return Response(parts.store.thumbnail(capture_id), media_type="image/jpeg", headers={"Cache-Control": FOREVER})

    return router


@contextmanager
def _absence_told() -> Iterator[None]:
    """What the store has not, or no longer, as the HTTP status that says so."""
    try:
        yield
    except CaptureNotFoundError as error:
        raise ApiError(404, str(error), "GET /api/captures lists what was kept") from error
    except PictureMissingError as error:
        raise ApiError(410, str(error), "restore it from a backup") from error
