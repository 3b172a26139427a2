"""`trichoscope calibrate`: targets to print, scales, profiles and their use; a verb a file."""

from __future__ import annotations

import typer

from runtime.commands.calibrate.fit import fit
from runtime.commands.calibrate.predict import predict
from runtime.commands.calibrate.reapply import reapply
from runtime.commands.calibrate.run import run
from runtime.commands.calibrate.scale import scale
from runtime.commands.calibrate.show import show
from runtime.commands.calibrate.target import target
from runtime.commands.calibrate.verify import verify

app = typer.Typer(no_args_is_help=True, help="From pixels to micrometres: targets, scales, profiles.", pretty_exceptions_enable=False)
for verb in (run, target, scale, fit, predict, verify, show, reapply):
    app.command(verb.__name__)(verb)


@app.callback()
def calibrate() -> None:
    """From pixels to micrometres: targets, scales, profiles."""
