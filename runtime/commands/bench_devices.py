"""`trichoscope bench devices`: the device layer on simulated hardware, driven hard. `bench.py` has it among its verbs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer
from rich.console import Console


def devices(
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long the capture thread streams.")] = 60.0,
    cycles: Annotated[int, typer.Option(min=2, max=100_000, help="How often each device is pulled out and put back.")] = 1000,
    presses: Annotated[int, typer.Option(min=1, max=1000, help="How often the button is pressed.")] = 20,
    noise_bytes: Annotated[int, typer.Option(min=1000, max=10**9, help="Random bytes into each serial parser.")] = 1_000_000,
    only: Annotated[Literal["camera", "handpiece"] | None, typer.Option(help="This device alone.", show_default="both")] = None,
) -> None:
    """Capture thread, choice of the frame, serial parsers under noise, and plugs pulled and put back, on simulated hardware."""
    from runtime.bench.devices import camera, handpiece
    from runtime.commands.bench import machine

    parts: dict[str, dict[str, tuple[str, Callable[[], Any]]]] = {
        "camera": {
            "capture": (f"the capture thread for {seconds:g} s", lambda: camera.measure_capture(seconds)),
            "choice": (f"the button pressed {presses} times", lambda: camera.measure_choice(presses)),
            "replug": (f"the microscope pulled {cycles} times", lambda: camera.measure_replug(cycles)),
        },
        "handpiece": {
            "noise": (f"{noise_bytes} random bytes into each parser", lambda: handpiece.measure_noise(noise_bytes)),
            "replug": (f"the handpiece pulled {cycles} times", lambda: handpiece.measure_replug(cycles)),
        },
    }
    messages = Console(stderr=True)
    found: dict[str, Any] = {}
    for device, measures in parts.items():
        if only in (None, device):
            found[device] = {}
            for name, (what, measure) in measures.items():
                with messages.status(what):
                    result = measure()
                found[device][name] = [asdict(each) for each in result] if isinstance(result, list) else asdict(result)
    typer.echo(json.dumps({"bench": "devices", "machine": machine()} | found, indent=2))
