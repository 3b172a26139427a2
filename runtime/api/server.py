"""The HTTP server: a socket that is bound before anything else starts, and uvicorn on it until it is told to stop."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import uvicorn

from runtime.api.bridge import Bridge
from runtime.api.guard import Guard
from runtime.errors import TrichoscopeError

BACKLOG = 64
GRACE_S = 1  # for answers under way when the daemon stops
MAX_LIVE_MESSAGE_BYTES = 4096  # what a page sends over the WebSocket is under 100 bytes


class PortError(TrichoscopeError):
    """The port of the page cannot be had: another program uses it, or it is reserved."""


def bind_port(host: str, port: int) -> socket.socket:
    """A listening TCP socket on loopback; port 0 takes a free one.

    Raises:
        PortError: naming the port and the remedy.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise PortError(
                f"port {port} of {host} is in use: stop the program that uses it (perhaps another trichoscope run), "
                "or give another with --port N; --port 0 takes a free one"
            ) from error
        if error.errno == errno.EACCES:
            raise PortError(f"port {port} of {host} is reserved for the system: give one above 1023 with --port N") from error
        raise PortError(f"port {port} of {host} cannot be had ({error.strerror}): see server.host and server.port") from error
    bound.setblocking(False)
    return bound


def address_of(bound: socket.socket) -> str:
    """The URL of the page that is served on the socket."""
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class PageServer(uvicorn.Server):
    """uvicorn that says when it serves."""

    def __init__(self, app: Guard, on_serving: Callable[[], None], on_stopping: Callable[[], None]) -> None:
        """Serve `app`; `on_serving` and `on_stopping` are called once, on the event loop, and must not wait."""
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="websockets-sansio",
                ws_per_message_deflate=False,  # JPEG does not shrink, and trying costs six times the processor
                ws_max_size=MAX_LIVE_MESSAGE_BYTES,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
                timeout_keep_alive=15,
            )
        )
        self._on_serving = on_serving
        self._on_stopping = on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        if self.started:
            self._on_serving()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the connections."""
        self._on_stopping()
        await super().shutdown(sockets)

    def stop(self) -> None:
        """Have `serve_on` return soon. Any thread."""
        self.should_exit = True

    async def serve_on(self, bound: socket.socket, bridge: Bridge) -> None:
        """Serve until `stop` is called, or SIGTERM or SIGINT comes where this runs in the main thread."""
        with bridge.attached():
            await self.serve(sockets=[bound])
