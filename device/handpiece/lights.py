"""Light commands on their way: each is sent, acknowledged or sent again, and given up; what was set is set again after a restart.

At most one command per light waits (a later one replaces it) and at most one is on the line. Pure: bytes and times in and out.
"""

from __future__ import annotations

from dataclasses import dataclass

from device.handpiece.sentences import Light, LightAcknowledged, LightChanged, LightRefused, SetLight, encode

ACK_NS = 200_000_000  # four times what the protocol grants the handpiece
TRIES = 3

REFUSALS = {2: "the light ring is too hot: let it cool", 3: "the supply is too weak: use a powered USB port", 6: "it has no such light"}


@dataclass(frozen=True)
class Outcome:
    """How a command ended: the level in force, or why there is none."""

    level: int | None
    problem: str = ""


@dataclass
class _Order:
    light: Light
    level: int
    ticket: int | None  # None: nobody waits for it
    number: int = 0
    tries: int = 0
    sent_ns: int = 0


class LightDesk:
    """Takes orders for lights. `in_force` holds the levels that the handpiece has confirmed since it last started."""

    def __init__(self) -> None:
        self.in_force: dict[Light, int] = {}
        self._wanted: dict[Light, int] = {}
        self._waiting: dict[Light, _Order] = {}
        self._flying: _Order | None = None
        self._outcomes: dict[int, Outcome | None] = {}  # of the tickets that somebody waits for
        self._tickets = 0
        self._number = 0

    def ask(self, light: Light, level: int) -> int:
        """Order `light` to `level` (0–100); the ticket under which the outcome will be had. Whoever asks calls `withdraw` in the end."""
        self._tickets += 1
        self._outcomes[self._tickets] = None
        if level == 0:
            self._wanted[light] = 0  # a light that was to go out must not come back with a restart, whatever becomes of the command
        self._wait(_Order(light, level, self._tickets))
        return self._tickets

    def outcome(self, ticket: int) -> Outcome | None:
        """How the order ended, None while it has not."""
        return self._outcomes[ticket]

    def withdraw(self, ticket: int) -> None:
        """Nobody waits for this order any more; where it has not ended, it is not sent (again): no light comes on after its time."""
        self._outcomes.pop(ticket, None)
        self._waiting = {light: order for light, order in self._waiting.items() if order.ticket != ticket}
        if self._flying is not None and self._flying.ticket == ticket:
            self._flying = None

    def restore(self) -> None:
        """The handpiece has (re)started and is dark: order again what was set before."""
        self.in_force.clear()
        for light, level in self._wanted.items():
            if level and light not in self._waiting:
                self._wait(_Order(light, level, None))

    def abandon(self, why: str) -> None:
        """The handpiece went away: what is on its way fails."""
        orders = [*self._waiting.values()] + ([self._flying] if self._flying else [])
        self._waiting.clear()
        self._flying = None
        self.in_force.clear()
        for order in orders:
            self._end(order, Outcome(None, why))

    def due(self, now_ns: int) -> bytes:
        """What to send now."""
        order = self._flying
        if order is not None:
            if now_ns - order.sent_ns < ACK_NS:
                return b""
            if order.tries >= TRIES:
                self._flying = None
                self._end(order, Outcome(None, f"it did not acknowledge {TRIES} commands: check cable and firmware"))
                order = None
        if order is None:
            if not self._waiting:
                return b""
            order = self._waiting.pop(next(iter(self._waiting)))
            self._number = (self._number + 1) % 1000
            order.number = self._number
            self._flying = order
        order.tries += 1
        order.sent_ns = now_ns
        return encode(SetLight(order.number, order.light, order.level))

    def acknowledged(self, answer: LightAcknowledged) -> None:
        """The handpiece says that it is done."""
        order = self._flying
        self.in_force[answer.light] = answer.level
        if order is not None and (order.number, order.light) == (answer.number, answer.light):
            self._flying = None
            self._wanted[order.light] = order.level
            self._end(order, Outcome(answer.level))

    def refused(self, answer: LightRefused) -> None:
        """The handpiece says that it will not."""
        order = self._flying
        if order is not None and order.number == answer.number:
            self._flying = None
            self._end(order, Outcome(None, REFUSALS.get(answer.code, f"it refused with code {answer.code}: see PROTOCOL.md")))

    def changed(self, news: LightChanged) -> None:
        """The handpiece changed a level by itself."""
        self.in_force[news.light] = news.level

    def _wait(self, order: _Order) -> None:
        before = self._waiting.pop(order.light, None)
        if before is not None:
            self._end(before, Outcome(None, "another command for the same light replaced it"))
        self._waiting[order.light] = order

    def _end(self, order: _Order, outcome: Outcome) -> None:
        if order.ticket in self._outcomes:
            self._outcomes[order.ticket] = outcome
