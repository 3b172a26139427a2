"""What every request passes first: the names under which the daemon answers, who may call it, how much it reads.

The daemon listens on loopback, but a browser on this machine shows foreign pages too. A foreign page may have its own name
resolve to 127.0.0.1 (DNS rebinding): the Host header then carries that name, and is refused. It may call the daemon by its right
name: the Origin header then carries the page's, and is refused. Starlette checks neither, for WebSockets least of all.
Answers carry the headers that keep the page from loading anything from elsewhere.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 16 * 1024  # the largest request, a capture with its site, is under 200 bytes

SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class BodyTooLargeError(Exception):
    """A request without a stated length sent more than MAX_BODY_BYTES. FastAPI, which reads bodies, makes its own error of it."""


class Guard:
    """Pure ASGI middleware around the whole application, for HTTP and WebSockets alike."""

    def __init__(self, app: ASGIApp, *, port: int) -> None:
        """Guard `app`, which is served on loopback at `port`."""
        self.app = app
        names = ("127.0.0.1", "localhost", "[::1]")
        self._hosts = {f"{name}:{port}".encode() for name in names}
        if port == 80:
            self._hosts |= {name.encode() for name in names}  # browsers leave the default port out

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused; pass on the rest."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            if refusal is None:
                await self.app(scope, receive, send)
            else:
                await receive()  # websocket.connect
                await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})  # before accepting: HTTP 403
            return
        if refusal is not None:
            await _answer(_with_headers(send), *refusal)
            return
        await self._pass_http(scope, receive, _with_headers(send))

    async def _pass_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = 0
        begun = refused = False

        async def counted_receive() -> Message:
            nonlocal read, refused
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > MAX_BODY_BYTES:
                    refused = True
                    raise BodyTooLargeError
            return message

        async def noted_send(message: Message) -> None:
            nonlocal begun
            if refused and not begun:
                return  # what the application makes of the error; the answer follows
            begun = True
            await send(message)

        with contextlib.suppress(BodyTooLargeError):
            await self.app(scope, counted_receive, noted_send)
        if refused and not begun:
            await _answer(send, *_TOO_LARGE)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """(HTTP status, what is wrong, remedy), or None where the request may pass."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return 421, "this is not the address of the microscope's page", f"open http://{self._own_name()}/ on this machine"
        origins = _values(scope, b"origin")
        if len(origins) > 1 or (origins and origins[0].lower() != b"http://" + hosts[0].lower()):
            return 403, "another page may not use the microscope", f"use the page at http://{self._own_name()}/"
        lengths = _values(scope, b"content-length")
        if scope["type"] == "http" and lengths and not (lengths[0].isdigit() and int(lengths[0]) <= MAX_BODY_BYTES):
            return _TOO_LARGE
        return None

    def _own_name(self) -> str:
        return min(self._hosts, key=lambda host: (not host.startswith(b"127"), host)).decode()


_TOO_LARGE = (413, "the request is too large", f"send at most {MAX_BODY_BYTES} bytes")


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", []))
            named = {key.lower() for key, _ in own}
            own += [(key, value) for key, value in SECURITY_HEADERS if key not in named]
            if b"cache-control" not in named:
                own.append((b"cache-control", b"no-cache"))  # ask again each time: the page must fit the daemon
            message = {**message, "headers": own}
        await send(message)

    return send_with_headers


async def _answer(send: Send, status: int, error: str, remedy: str) -> None:
    body = json.dumps({"error": error, "remedy": remedy}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
