"""`trichoscope calibrate target`: a target to print or to lay under the simulated microscope, at true scale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from calib.targets import FORMS
from runtime.commands.calibrate.options import UsageError, messages, refusals, target_of

KINDS: dict[str, Literal["pdf", "svg", "png"]] = {".pdf": "pdf", ".svg": "svg", ".png": "png"}
DPI = 2400.0


def target(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"{FORMS}.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.pdf|.svg|.png", help="Where to draw it; the name's ending says how.", show_default=False)
    ],
    sheet: Annotated[
        str | None,
        typer.Option("--sheet", metavar="WxH|a4|a5|card", help="Size of the sheet in mm.", show_default="as large as it needs"),
    ] = None,
    dpi: Annotated[float, typer.Option(min=25, max=100_000, help="Resolution of a PNG in dots per inch.")] = DPI,
    bare: Annotated[
        bool, typer.Option("--bare", help="The target alone: no margin, ruler or text; the opening of a hood ring is clear in a PNG.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file of the same name.")] = False,
) -> None:
    """Draw a target at true scale, with a ruler that tells whether the printer kept it.

    Print at 100 %, never fitted to the page, and measure the ruler. PDF and SVG are vector; a PNG states its resolution in its header.
    """
    from calib.sheet import lay_out, parse_sheet, sheet_bytes
    from runtime import __version__
    from runtime.commands.files import write_atomically

    console = messages()
    with refusals(console):
        wanted = target_of(kind)
        form = KINDS.get(out.suffix.lower())
        if form is None:
            raise UsageError(f"{out}: drawn as PDF, SVG or PNG: let its name end in {', '.join(KINDS)}")
        if out.exists() and not force:
            raise UsageError(f"{out}: exists already: give another name, or replace it with --force")
        page = lay_out(wanted, None if sheet is None else parse_sheet(sheet), bare=bare)
        write_atomically(out, sheet_bytes(page, form, f"trichoscope {__version__}", dpi))
    resolution = f" at {dpi:g} dpi ({25400 / dpi:.4g} µm per px)" if form == "png" else ""
    ruler = f"; its ruler must measure {page.ruler_mm} mm when printed" if page.ruler_mm else ""
    console.print(f"{out}: {wanted} on {page.width_mm:g}×{page.height_mm:g} mm{resolution}{ruler}", markup=False)
