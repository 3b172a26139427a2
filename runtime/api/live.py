"""The live view over a WebSocket: the camera's own JPEG, results as JSON, and the state, to each page that looks.

One frame and one result are in flight to a client: the next goes out only after it acknowledged the one before, and is then the
latest there is. So a slow client sees fewer frames, never old ones, and neither buffers nor other clients grow because of it.

To the client, binary: 4 bytes big-endian N, N bytes of UTF-8 JSON {number, sequence, width, height, age_ms}, then JPEG.
To the client, text: {type: "state", …} at each change and once a second; {type: "result", sequence, captured_ns_age_ms, measurement}.
From the client, text: {type: "ack", number} when a frame is drawn, {type: "ack_result", sequence} when a result is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Literal

import structlog
from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from device.rate import RateMeter
from runtime.api.parts import Parts
from runtime.api.preview import PreviewMaker

log = structlog.get_logger(__name__)

ACK_DEADLINE_S = 10.0
STATE_EVERY_S = 1.0
AGES_KEPT = 150  # about five seconds of pictures for the rolling p95
MAX_MESSAGE_BYTES = 1024  # from a client; an acknowledgement is under 50
TRY_AGAIN_LATER, POLICY = 1013, 1008  # WebSocket close codes


class _FromClient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Ack(_FromClient):
    """The frame of this number is drawn."""

    type: Literal["ack"]
    number: int


class AckResult(_FromClient):
    """The result of the frame of this sequence is taken."""

    type: Literal["ack_result"]
    sequence: int


CLIENT_MESSAGE: TypeAdapter[Ack | AckResult] = TypeAdapter(Annotated[Ack | AckResult, Field(discriminator="type")])


@dataclass(frozen=True)
class InFlight:
    """Something sent that the client has not acknowledged yet; `key` is what the acknowledgement must name."""

    key: int
    captured_ns: int
    sent_at: float


class RollingAges:
    """The ages of the last pictures, in ms, and their 95th percentile. Overflow policy: the oldest are forgotten."""

    def __init__(self) -> None:
        self._ages: deque[float] = deque(maxlen=AGES_KEPT)

    def add(self, age_ms: float) -> None:
        """A picture of this age was drawn."""
        self._ages.append(age_ms)

    def p95(self) -> float | None:
        """Nearest-rank 95th percentile in ms, None before the first picture."""
        if not self._ages:
            return None
        return sorted(self._ages)[(95 * len(self._ages) + 99) // 100 - 1]


class LiveView:
    """All pages that look at the live picture. Overflow policy: refuse those above `max_clients`."""

    def __init__(self, parts: Parts, *, max_clients: int) -> None:
        self.parts = parts
        self.preview = PreviewMaker()
        self.clients = 0
        self._max_clients = max_clients

    async def serve(self, websocket: WebSocket) -> None:
        """Show the live picture to one page until it leaves."""
        await websocket.accept()  # first, or the page would see HTTP 403 instead of the close code
        if self.clients >= self._max_clients:
            await websocket.close(TRY_AGAIN_LATER, f"{self._max_clients} pages look already: close one")
            return
        self.clients += 1
        try:
            await LiveClient(self, websocket).run()
        except WebSocketDisconnect:
            pass  # it left while something was being sent to it
        finally:
            self.clients -= 1


class LiveClient:
    """The conversation with one page."""

    def __init__(self, view: LiveView, websocket: WebSocket) -> None:
        self._view = view
        self._parts = view.parts
        self._websocket = websocket
        self._news: asyncio.Event
        self._gone = False
        self._refusal: str | None = None
        self._frame_in_flight: InFlight | None = None
        self._result_in_flight: InFlight | None = None
        self._frame_number = 0  # the last one sent
        self._result_number = 0
        self._drawn = RateMeter()
        self._ages = RollingAges()
        self._state_sent_at = 0.0
        self._state_sent: object = None

    async def run(self) -> None:
        """Talk until the page leaves, breaks the protocol, or is silent for too long."""
        with self._parts.bridge.listening() as self._news:
            receiver = asyncio.create_task(self._receive())
            receiver.add_done_callback(lambda _: self._leave())
            try:
                await self._send_what_is_new()
            finally:
                receiver.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await receiver

    async def _send_what_is_new(self) -> None:
        while not self._gone:
            if self._refusal is None and self._silent_for_s() > ACK_DEADLINE_S:
                self._refusal = f"no acknowledgement within {ACK_DEADLINE_S:g} s"
            if self._refusal is not None:
                log.info("live page sent away", why=self._refusal)
                await self._websocket.close(POLICY, self._refusal)
                return
            self._news.clear()  # before looking: what comes from here on wakes us again
            await self._send_state()
            await self._send_frame()
            await self._send_result()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._until_due_s())

    def _silent_for_s(self) -> float:
        waits = [sent.sent_at for sent in (self._frame_in_flight, self._result_in_flight) if sent is not None]
        return time.monotonic() - min(waits) if waits else 0.0

    def _until_due_s(self) -> float:
        """Until the next state message or the deadline of an acknowledgement, whichever is first."""
        state_due = self._state_sent_at + STATE_EVERY_S - time.monotonic()
        return max(0.01, min(state_due, ACK_DEADLINE_S - self._silent_for_s()))

    async def _send_state(self) -> None:
        view, parts = self._view, self._parts
        handpiece = parts.handpiece_state()
        state = {
            "camera": parts.camera_state().model_dump(),
            "analysis": parts.analysis_state().model_dump(),
            "segmenter": parts.segmenter_state().model_dump(),
            "models": parts.models_state().model_dump(),
            "calibration": parts.calibration_state().model_dump(),
            "handpiece": handpiece.model_dump(exclude={"distance_mm", "distance_std_mm", "temperature_c"}),  # these change always
            "store": parts.store_state().model_dump(),
        }
        captures = parts.captures.kept
        now = time.monotonic()
        if (state, captures) == self._state_sent and now - self._state_sent_at < STATE_EVERY_S:
            return
        p95 = self._ages.p95()
        stats = {
            "preview_fps": round(self._drawn.per_second(), 1),
            "capture_fps": round(parts.capture.rate.per_second(), 1),
            "results_per_s": round(parts.analysis.rate.per_second(), 1),
            "age_ms_p95": None if p95 is None else round(p95, 1),
            "captures": captures,
            "distance_mm": None if handpiece.distance_mm is None else round(handpiece.distance_mm, 1),
            "clients": view.clients,
        }
        self._state_sent, self._state_sent_at = (state, captures), now
        await self._within_deadline(self._websocket.send_text(json.dumps({"type": "state", **state, "stats": stats})))

    async def _send_frame(self) -> None:
        if self._frame_in_flight is not None or (latest := self._parts.slot.latest()) is None:
            return
        number, frame = latest
        if number == self._frame_number:
            return
        self._frame_number = number
        picture = await self._view.preview.of(number, frame)
        if picture is None:
            return  # no picture in it; the next one
        now_ns = time.monotonic_ns()
        header = json.dumps(
            {
                "number": number,
                "sequence": frame.sequence,
                "width": picture.width,
                "height": picture.height,
                "age_ms": round((now_ns - frame.captured_ns) / 1e6, 1),
            }
        ).encode()
        self._frame_in_flight = InFlight(number, frame.captured_ns, time.monotonic())
        await self._within_deadline(self._websocket.send_bytes(b"".join((struct.pack(">I", len(header)), header, picture.jpeg))))

    async def _send_result(self) -> None:
        if self._result_in_flight is not None or (result := self._parts.analysis.latest()) is None:
            return
        if result.number == self._result_number:
            return
        self._result_number = result.number
        age_ms = round((time.monotonic_ns() - result.captured_ns) / 1e6, 1)
        self._result_in_flight = InFlight(result.sequence, result.captured_ns, time.monotonic())
        head = f'{{"type":"result","sequence":{result.sequence},"captured_ns_age_ms":{age_ms},"measurement":'
        await self._within_deadline(self._websocket.send_text(f"{head}{result.json}}}"))

    async def _within_deadline(self, sending: Coroutine[None, None, None]) -> None:
        """Wait until the message is in the client's buffer; a client that reads nothing at all is sent away."""
        try:
            await asyncio.wait_for(sending, ACK_DEADLINE_S)
        except asyncio.TimeoutError:
            self._refusal = f"nothing read within {ACK_DEADLINE_S:g} s"

    async def _receive(self) -> None:
        """Take the client's acknowledgements until it leaves; what is none of them ends the conversation."""
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            try:
                if text is None or len(text) > MAX_MESSAGE_BYTES:
                    raise ValueError("not a text message of the live protocol")
                self._acknowledge(CLIENT_MESSAGE.validate_json(text))
            except (ValidationError, ValueError):
                self._refusal = "not a message of the live protocol"
            self._news.set()

    def _leave(self) -> None:
        self._gone = True
        self._news.set()

    def _acknowledge(self, ack: Ack | AckResult) -> None:
        """What is acknowledged is no longer in flight; an acknowledgement of anything else is late or wrong, and is nothing."""
        if isinstance(ack, AckResult):
            if self._result_in_flight is not None and self._result_in_flight.key == ack.sequence:
                self._result_in_flight = None
        elif self._frame_in_flight is not None and self._frame_in_flight.key == ack.number:
            age_s = (time.monotonic_ns() - self._frame_in_flight.captured_ns) / 1e9
            self._frame_in_flight = None
            self._drawn.tick()
            self._ages.add(age_s * 1e3)
            self._parts.metrics.picture_age_s.observe(age_s)
