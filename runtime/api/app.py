"""The web application of the daemon, put together: guard, page, live view, API."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, WebSocket
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from runtime import __version__, kiosk
from runtime.api.captures import capture_routes
from runtime.api.errors import answer_errors
from runtime.api.guard import Guard
from runtime.api.live import LiveView
from runtime.api.parts import Parts
from runtime.api.status import status_routes
from runtime.api.use import use_routes

KIOSK_FOLDER = Path(kiosk.__file__).parent
PAGE_KINDS = {".html", ".js", ".css", ".svg"}  # what the folder holds besides belongs to the package


class PageFiles(StaticFiles):
    """The files of the page, and nothing else that lies beside them."""

    def lookup_path(self, path: str) -> tuple[str, object]:  # type: ignore[override]
        """The file for a path below /static, ("", None) where there is none."""
        return super().lookup_path(path) if Path(path).suffix in PAGE_KINDS else ("", None)


def make_app(parts: Parts, *, port: int, max_clients: int) -> Guard:
    """The ASGI application over `parts`, to be served on loopback at `port`."""
    app = FastAPI(
        title="Trichoscope",
        version=__version__,
        description="Measured hairs, live and kept. Every error answers {error, remedy}.",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    answer_errors(app)
    live = LiveView(parts, max_clients=max_clients)
    app.include_router(status_routes(parts, live))
    app.include_router(capture_routes(parts))
    app.include_router(use_routes(parts))

    @app.websocket("/api/live")
    async def live_view(websocket: WebSocket) -> None:
        await live.serve(websocket)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(KIOSK_FOLDER / "index.html")

    app.mount("/static", PageFiles(directory=KIOSK_FOLDER))
    return Guard(app, port=port)
