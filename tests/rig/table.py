"""What became of each fault, and the table of it: as text, as Markdown for the README, as JSON."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One fault and what our driver made of it. Times in seconds on the host's clock, from the fault, or from its
    end, to the line in our driver's log.

    Attributes:
        said: our driver's own words, or what it counted.
        seen_s: until it was noticed, None where it never was.
        back_s: from the end of the fault until the stream or the readings went on, None where they never stopped; `node_s`: of that, until
            the kernel had made the device's node, None where it did not go.
        through: damaged frames that were handed on, or readings that nobody sent.
        problem: why the row fails, "" where it passes.
    """

    fault: str
    said: str
    seen_s: float | None = None
    back_s: float | None = None
    node_s: float | None = None
    through: int | None = None
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether our driver did what it should."""
        return not self.problem


def as_dict(row: Row) -> dict[str, object]:
    """For JSON."""
    return {**dataclasses.asdict(row), "passed": row.passed}


def as_text(rows: list[Row]) -> str:
    """A line a row, and below a failed one why."""
    out = [f"{'':4} {'fault':44} {'seen s':>7} {'back s':>7} {'node s':>7} {'through':>7}  our driver"]
    for row in rows:
        numbers = f"{_number(row.seen_s):>7} {_number(row.back_s):>7} {_number(row.node_s):>7} {_number(row.through):>7}"
        out.append(f"{'ok' if row.passed else 'FAIL':4} {row.fault:44} {numbers}  {row.said}")
        if row.problem:
            out.append(f"     ↳ {row.problem}")
    return "\n".join(out)


def as_markdown(rows: list[Row]) -> str:
    """For the README."""
    out = [
        "| fault | what our driver says | seen after s | back after s (of that, the kernel's node) | damaged through |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        said = re.sub(r"(/dev/\S+?/by-id/)\S+?([?:) ]|$)", r"\1…\2", row.said).replace("|", "\\|")
        back = _number(row.back_s) + ("" if row.node_s is None else f" ({_number(row.node_s)})")
        mark = "" if row.passed else f" **failed: {row.problem}**"
        out.append(f"| {row.fault} | {said}{mark} | {_number(row.seen_s)} | {back} | {_number(row.through)} |")
    return "\n".join(out)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.1f}"
