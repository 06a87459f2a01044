"""How each call, grant and signal is written down while processes are killed, and what must be true of it afterwards.

Each line is one write to a file that is opened for appending, so that what was written survives SIGKILL. Lines of a
client: ``b id`` (a call begins), ``e id outcome`` (it has ended), ``g session`` (a lock was granted), ``r session how``
(it was given back, or lost), ``v words`` (something that must not happen). Lines of a server: ``x id`` (a call is
carried out), ``v words``.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

VALUE = "value"
NOT_DELIVERED = "QMI_NotDeliveredException"


class Ledger:
    """One process writes one ledger. Safe for threads.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._count = 0
        self._mutex = threading.Lock()

    def number(self) -> str:
        """A name for a call or session that no other process uses."""
        with self._mutex:
            self._count += 1
            return f"{os.getpid()}.{self._count}"

    def write(self, *words: str) -> None:
        """Write a line."""
        os.write(self._file, (" ".join(words).replace("\n", " | ") + "\n").encode())


@dataclass
class Sum:
    """What all ledgers say together.

    Attributes:
        outcomes: How often calls ended in which way.
        open: Calls that have not ended, of processes that lived to the end.
        killed: Calls that had not ended when their process was killed.
        grants: Grants of locks.
        faults: What must not be, one sentence each.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    open: int = 0
    killed: int = 0
    grants: int = 0
    faults: list[str] = field(default_factory=list)


def add_up(clients: list[Path], servers: list[Path], killed: set[int]) -> Sum:
    """Read all ledgers.

    Args:
        clients: Ledgers of clients.
        servers: Ledgers of servers.
        killed: Processes that were killed, whose calls may have no end.
    """
    result = Sum()
    carried_out: Counter[str] = Counter()
    for path in servers:
        for kind, words in _lines(path):
            if kind == "x":
                carried_out[words[0]] += 1
            else:
                result.faults.append(f"{path.name}: {' '.join(words)}")
    result.faults += [
        f"call {number} was carried out {count} times" for number, count in carried_out.items() if count > 1
    ]
    for path in clients:
        _add_client(result, path, carried_out, killed)
    return result


def _add_client(result: Sum, path: Path, carried_out: Counter[str], killed: set[int]) -> None:
    begun: dict[str, str | None] = {}
    grants: dict[str, bool] = {}
    for kind, words in _lines(path):
        if kind == "b":
            begun[words[0]] = None
        elif kind == "e":
            if begun.get(words[0], "unknown") is not None:
                result.faults.append(f"call {words[0]} ended twice: {begun.get(words[0])}, then {words[1]}")
            begun[words[0]] = words[1]
        elif kind == "g":
            grants[words[0]] = False
        elif kind == "r":
            grants[words[0]] = True
        else:
            result.faults.append(f"{path.name}: {' '.join(words)}")
    for number, outcome in begun.items():
        was_killed = int(number.partition(".")[0]) in killed
        if outcome is None:
            result.killed += was_killed
            result.open += not was_killed
        else:
            result.outcomes[outcome] += 1
        if outcome == VALUE and not carried_out[number]:
            result.faults.append(f"call {number} gave a value but was never carried out")
        if outcome == NOT_DELIVERED and carried_out[number]:
            result.faults.append(f"call {number} was carried out although it ended as not delivered")
    result.grants += len(grants)
    lost = [session for session, done in grants.items() if not done and int(session.partition(".")[0]) not in killed]
    result.faults += [f"grant {session} was never given back" for session in lost]
    if result.open:
        result.faults.append(f"{path.name}: {result.open} calls never ended")


def _lines(path: Path) -> list[tuple[str, list[str]]]:
    found = []
    for line in path.read_text().splitlines():
        kind, *words = line.split(" ")
        found.append((kind, words))
    return found
