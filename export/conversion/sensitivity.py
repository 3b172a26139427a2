"""Which nodes of a network must stay in float so that its end figures stay within limits: each alone is tried, the worst are left out.

Nothing is left out where everything may be changed. Else the nodes (or groups of neighbours, in large networks) are put in order of the
damage that each does alone, and the shortest beginning of that order is sought whose absence suffices: doubled until it does, then
halved back. The number of tries is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from export.errors import ConversionError

MAX_GROUPS = 64
MAX_TRIES = 14

Build = Callable[[frozenset[str]], bytes]
Nothing = Callable[[], None]


@dataclass(frozen=True)
class Measured:
    """End figures of a changed network, and by how much each may change.

    Attributes:
        limits: of figures that other frames would give otherwise: they are chosen with a margin.
        firm: of figures that are what they are, on inputs that travel with the network.
    """

    figures: Mapping[str, float]
    limits: Mapping[str, float]
    firm: Mapping[str, float] = field(default_factory=dict)

    def kept(self, margin: float = 1.0) -> bool:
        """Whether every figure is within its limit, those that may turn out otherwise within `margin` of it."""
        return self._used(self.limits) <= margin and self._used(self.firm) <= 1

    @property
    def worst(self) -> float:
        """The greatest share of a limit that is used."""
        return max(self._used(self.limits), self._used(self.firm))

    def _used(self, limits: Mapping[str, float]) -> float:
        return max((_share(self.figures[name], limit) for name, limit in limits.items()), default=0.0)


def _share(value: float, limit: float) -> float:
    if not limit > 0:
        return 0.0 if value == 0 else float("inf")
    return value / limit if value == value else float("inf")


@dataclass(frozen=True, eq=False)
class Found:
    """The network that was found.

    Attributes:
        left_out: nodes that stay in float, of those that could have been changed.
        damage: what each group does alone, by its first node; empty where nothing had to be left out.
        tries: how many groups were left out in each try, and the share of the limits that it used.
    """

    model: bytes
    left_out: tuple[str, ...]
    changed: int
    measured: Measured
    damage: Mapping[str, float]
    tries: tuple[tuple[int, float], ...]


def least_left_out(
    nodes: Sequence[str],
    build: Build,
    damage: Callable[[bytes], float],
    measure: Callable[[bytes], Measured],
    *,
    margin: float = 0.8,
    advance: Nothing = lambda: None,
) -> Found:
    """The network with as few of `nodes` left out as keep its end figures within `margin` of their limits.

    Args:
        build: the network without the nodes of that set changed.
        damage: a quick figure of how far a network is from the reference.
        measure: its end figures.
        advance: called after each step, of which there are at most `steps(len(nodes))`.

    Raises:
        ConversionError: no node can be changed, or the limits are kept with none of them alone.
    """
    if not nodes:
        raise ConversionError("no node of this network can be changed to that precision: leave the precision out")
    size = -(-len(nodes) // MAX_GROUPS)
    groups = [tuple(nodes[at : at + size]) for at in range(0, len(nodes), size)]
    tries: list[tuple[int, float]] = []
    order: list[tuple[str, ...]] = []
    alone: dict[str, float] = {}

    def attempt(count: int) -> Found:
        left = tuple(name for group in order[:count] for name in group)
        model = build(frozenset(left))
        measured = measure(model)
        tries.append((count, measured.worst))
        advance()
        return Found(model, tuple(name for name in nodes if name in left), len(nodes) - len(left), measured, alone, tuple(tries))

    best = attempt(0)
    if best.measured.kept(margin):
        return best
    every = frozenset(nodes)
    for group in groups:
        alone[group[0]] = damage(build(every - set(group)))
        advance()
    order = sorted(groups, key=lambda group: -alone[group[0]])
    fails, holds, found = 0, len(groups), None
    count = 1
    while holds - fails > 1 and len(tries) < MAX_TRIES:
        count = min(count, holds - 1) if found is None else (fails + holds) // 2
        tried = attempt(count)
        if tried.measured.kept(margin):
            holds, found = count, tried
        else:
            fails, count = count, count * 2
    if found is None:
        raise ConversionError(
            f"no {len(groups) - 1} of {len(groups)} groups of nodes left in float keep the end figures (limits used "
            f"{tries[-1][1]:.2f} times): leave this precision out, or allow more"
        )
    return Found(found.model, found.left_out, found.changed, found.measured, alone, tuple(tries))


def steps(nodes: int) -> int:
    """The most steps that `least_left_out` takes for so many nodes."""
    return MAX_TRIES + -(-nodes // max(1, -(-nodes // MAX_GROUPS)))
