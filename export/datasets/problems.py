"""What is wrong with labelled data: every fault named and counted, and refused where the user asked for strictness."""

from __future__ import annotations

from dataclasses import dataclass, field

from export.errors import DataError

NAMED = 20  # of each kind of fault as many are kept by name


@dataclass
class Problems:
    """Faults by kind: how many, and the first few by name."""

    count: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """Count a fault."""
        self.count[kind] = self.count.get(kind, 0) + 1
        kept = self.names.setdefault(kind, [])
        if len(kept) < NAMED:
            kept.append(name)

    def lines(self) -> list[str]:
        """One line for each kind, for people."""
        return [f"{kind}: {count} ({', '.join(self.names[kind][:3])}{', …' if count > 3 else ''})" for kind, count in self.count.items()]

    def refuse(self, where: str) -> None:
        """Raises DataError where there is any fault."""
        if self.count:
            raise DataError(f"{where}: {'; '.join(self.lines())}: correct the data, or leave out --strict to skip what is faulty")
