"""`trichoscope simulate handpiece`: a handpiece on a pseudo-terminal, held by a hand that follows a script or the keyboard."""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

from device.errors import HandpieceUriError
from device.simulated.following import HandState, read_state, state_file
from device.simulated.hand import DEFAULT_SCRIPT
from device.simulated.handpiece import HandpieceSimulator

LOOK_S = 0.05  # also between two states of the hand in the file of --follow
KEYS: dict[bytes, tuple[str, float | None]] = {
    b"a": ("approach", None),
    b"t": ("tremble", None),
    b"c": ("contact", None),
    b"w": ("withdraw", None),
    b" ": ("press", None),
    b"n": ("noise", 200),
    b"x": ("cut", 1),
    b"k": ("checksum", 1),
    b"s": ("silence", 3),
    b"v": ("version", 2),
    b"r": ("restart", None),
    b"h": ("hangup", 2),
}
QUIT = (b"q", b"\x03", b"\x04")


def handpiece(
    script: Annotated[
        str | None,
        typer.Option(metavar="STEPS", help=f"What hand and handpiece do, round and round: {DEFAULT_SCRIPT!r}.", show_default=False),
    ] = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Follow keys on stdin instead: " + ", ".join(f"{k.decode()!r} {a}" for k, (a, _) in KEYS.items()))
    ] = False,
    speaks: Annotated[Literal["reference", "tofsense", "gy53"], typer.Option(help="Which protocol it speaks.")] = "reference",
    rate: Annotated[float, typer.Option(min=1, max=100, help="Ranges a second.")] = 30.0,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of tremor and noise.")] = 7,
    link: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Also a link that leads to the terminal, after a hang-up too.", show_default=False),
    ] = None,
    follow: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write where the hand is, for the microscope `simulated:?hand=FILE`.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=0, help="End after so many seconds.", show_default="at Ctrl-C")] = None,
) -> None:
    """A handpiece on a pseudo-terminal, until Ctrl-C. The first line on stdout is the path to open: `--handpiece pty:PATH`."""
    if keys and script is not None:
        raise typer.BadParameter("a hand follows either a script or keys: leave one out", param_hint="--keys")
    if link is not None and link.exists() and not link.is_symlink():
        raise typer.BadParameter(f"{link} is there and no link: name another path", param_hint="--link")
    if follow is not None and (follow.exists() or follow.is_symlink()) and read_state(follow) is None:
        raise typer.BadParameter(f"{follow} is there and tells of no hand: name another path", param_hint="--follow")
    try:
        followed = "" if keys else script or DEFAULT_SCRIPT
        simulator = HandpieceSimulator(speaks=speaks, script=followed, rate_hz=rate, seed=seed, link=link)
    except HandpieceUriError as error:
        raise typer.BadParameter(str(error), param_hint="--script") from error
    try:
        with _told_to_end() as told, simulator, state_file(follow) as tell:

            def tell_hand() -> None:
                lights = simulator.lights if speaks == "reference" else None  # a range sensor alone has no lamps
                tell(HandState(simulator.distance_mm, lights, time.monotonic()))

            _live(simulator, keys, math.inf if seconds is None else time.monotonic() + seconds, told, tell_hand)
    except OSError as error:
        typer.echo(
            f"no handpiece can be simulated: {error}: is there room in /dev/pts, and may link and file be written?",
            err=True,
        )
        raise typer.Exit(1) from error
    typer.echo("the simulated handpiece is gone", err=True)


def _live(simulator: HandpieceSimulator, keys: bool, until: float, told: list[int], tell_hand: Callable[[], None]) -> None:
    """Until `until` (monotonic seconds), a signal, the key to quit, or the end of the keys; `tell_hand` is called every LOOK_S or so."""
    path = ""
    with _single_keys(keys):
        while time.monotonic() < until and not told:
            tell_hand()
            if simulator.path != path:
                path = simulator.path
                typer.echo(path)
                sys.stdout.flush()
            if not keys:
                time.sleep(min(LOOK_S, max(0.0, until - time.monotonic())))
            elif select.select([sys.stdin], [], [], LOOK_S)[0]:
                key = os.read(sys.stdin.fileno(), 1)
                if not key or key in QUIT:
                    return
                if key in KEYS:
                    simulator.do(*KEYS[key])
                    typer.echo(f"{KEYS[key][0]}: {simulator.distance_mm:.1f} mm, lights {simulator.lights}", err=True)


@contextmanager
def _single_keys(wanted: bool) -> Iterator[None]:
    """Keys come one by one and unseen where stdin is a terminal; as it was afterwards."""
    if not wanted or not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextmanager
def _told_to_end() -> Iterator[list[int]]:
    """The signals (Ctrl-C, SIGTERM) that have come. No exception breaks in anywhere, so that terminal and link never stay behind."""
    told: list[int] = []  # a handler must not take a lock, as that of an Event, which the main thread may hold

    def tell(number: int, frame: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
