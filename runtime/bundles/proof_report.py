"""A proof as files: its numbers as JSON, and a page for people with a plot of how much of each tolerance was used."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from runtime.bundles.proof import Proof
from runtime.errors import TrichoscopeError

NUMBERS, PAGE, PLOT = "proof.json", "proof.md", "proof.png"
LEAST_SHOWN = 1e-6  # of a tolerance: the axis is logarithmic


def markdown(proofs: Sequence[Proof]) -> str:
    """The page: what was proven, a table of outputs, one of end figures, and what failed."""
    lines = []
    for proof in proofs:
        verdict = "passed" if proof.passed else "**failed**"
        lines += [
            f"# Proof of {proof.bundle}, {proof.precision}, on {proof.backend}: {verdict}",
            "",
            f"Golden inputs through the backend, against the fp32 reference's answers in the bundle; {proof.milliseconds:.0f} ms in all"
            + "".join(f", {name} {ms:.1f} ms a case" for name, ms in proof.inference_ms.items())
            + ".",
            "",
            "| role | output | numbers | greatest difference | relative | of the tolerance | where | allowed | |",
            "|---|---|---:|---:|---:|---:|---|---|---|",
        ]
        for row in proof.rows:
            where = "" if row.place is None else f"case {row.case}, {list(row.place)}"
            allowed = "" if row.absolute is None else f"{row.absolute:g} + {row.relative or 0:g} · size"
            lines.append(
                f"| {row.role} | {row.output} | {row.compared} | {_number(row.max_abs)} | {_number(row.max_rel)} | {_number(row.used)} "
                f"| {where} | {allowed} | {'passed' if row.passed else f'**failed** {row.problem or str()}'} |"
            )
        if proof.ends:
            lines += ["", "| role | end figure | change | allowed | |", "|---|---|---:|---:|---|"]
            for end in proof.ends:
                told = "passed" if end.passed else f"**failed** {end.problem or ''}"
                lines.append(f"| {end.role} | {end.metric} | {_number(end.change)} | {end.allowed:g} | {told} |")
        failed = proof.failures()
        if failed:
            lines += ["", "What failed:", "", *(f"* {line}" for line in failed)]
        lines.append("")
    return "\n".join([*lines, f"![How much of each tolerance was used]({PLOT})", ""])


def plot(proofs: Sequence[Proof]) -> bytes:
    """PNG: a bar for each output and end figure, the share of what is allowed that was used; red beyond it or where nothing was had."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to load, and wanted here alone
    from matplotlib.figure import Figure

    bars: list[tuple[str, float | None, bool]] = []
    for proof in proofs:
        bars += [(f"{row.role} {row.output}, {proof.precision}", row.used, row.passed) for row in proof.rows]
        for end in proof.ends:
            share = None if end.change is None else end.change / end.allowed if end.allowed else float(end.change > 0)
            bars.append((f"{end.role} {end.metric}, {proof.precision}", share, end.passed))
    figure = Figure(figsize=(8, 1.2 + 0.32 * max(1, len(bars))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = range(len(bars))
    shares = [max(LEAST_SHOWN, min(1e3, 1e3 if share is None else share)) for _, share, _ in bars]
    axes.barh(list(places), shares, color=["tab:green" if passed else "tab:red" for _, _, passed in bars])
    axes.set_yticks(list(places), [label for label, _, _ in bars], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(LEAST_SHOWN, 1e3)
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("share of the allowed difference that was used")
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return data.getvalue()


def write_report(folder: Path, proofs: Sequence[Proof]) -> None:
    """`proof.json` (one proof a line), `proof.md` and `proof.png` into `folder`, which is made where it is missing.

    Raises:
        TrichoscopeError: the folder cannot be written to.
    """
    from runtime.commands.files import output_folder, write_atomically

    if not proofs:
        raise TrichoscopeError(f"{folder}: no proof to report: prove at least one precision")
    output_folder(folder)
    write_atomically(folder / PLOT, plot(proofs))
    write_atomically(folder / PAGE, markdown(proofs).encode())
    write_atomically(folder / NUMBERS, "".join(f"{proof.to_json()}\n" for proof in proofs).encode())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
