"""In which order contexts start and stop: after those that they connect to, and the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter

from msgspec import Struct

from qmi.proc.selection import Target


class Order(Struct):
    """Which contexts have to wait for which.

    Attributes:
        after: For each name, the names that come before it. Without cycles.
        warnings: What had to be ignored, one line each.
    """

    after: Mapping[str, frozenset[str]]
    warnings: tuple[str, ...] = ()

    def reverse(self) -> Order:
        """The same order backwards: what came first comes last."""
        before = {name: frozenset(other for other in self.after if name in self.after[other]) for name in self.after}
        return Order(before, self.warnings)

    def groups(self) -> list[tuple[str, ...]]:
        """The names in groups: each can run side by side once the groups before it are done."""
        sorter = TopologicalSorter(self.after)
        sorter.prepare()
        groups = []
        while sorter.is_active():
            ready = set(sorter.get_ready())
            groups.append(tuple(name for name in self.after if name in ready))
            sorter.done(*ready)
        return groups


def start_order(targets: Sequence[Target]) -> Order:
    """Return the order that ``connect_to_peers`` implies among the targets.

    Where contexts connect to each other in a circle, a connection to one further down in the file is ignored, so that
    the members of the circle keep the order of the file; a warning names them.
    """
    names = [target.name for target in targets]
    wanted = {target.name: _peers(target, names) for target in targets}
    circles = _circles(names, wanted)
    position = {name: index for index, name in enumerate(names)}
    together = {name: circle for circle in circles for name in circle}
    after = {
        name: frozenset(
            peer for peer in wanted[name] if peer not in together.get(name, ()) or position[peer] < position[name]
        )
        for name in names
    }
    warnings = tuple(
        f"{', '.join(circle)} connect to each other in a circle (connect_to_peers): "
        "they are taken in the order of the configuration file; one that starts before its peer needs "
        "allow_missing_peers"
        for circle in circles
    )
    return Order(after, warnings)


def _peers(target: Target, names: Sequence[str]) -> frozenset[str]:
    return frozenset(peer for peer in target.context.connect_to_peers or () if peer in names and peer != target.name)


def _circles(names: Sequence[str], wanted: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Sets of two or more names that all reach each other, in the order of the names."""
    reach = {name: _reachable(name, wanted) for name in names}
    circles: dict[tuple[str, ...], None] = {}
    for name in names:
        circle = tuple(other for other in names if other in reach[name] and name in reach[other])
        if len(circle) > 1:
            circles[circle] = None
    return list(circles)


def _reachable(name: str, wanted: Mapping[str, Iterable[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for peer in wanted[waiting.pop()]:
            if peer not in found:
                found.add(peer)
                waiting.append(peer)
    return found
