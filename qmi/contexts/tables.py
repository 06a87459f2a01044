"""What ``show_instruments()``, ``show_contexts()`` and their like print."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from qmi.actors.call import with_words
from qmi.config.validators import printable
from qmi.contexts.base import ContextBase
from qmi.errors import QMI_Exception
from qmi.messages import LockInfo, QueryLock
from qmi.names import parse_address

LOCKS_SHOWN_WITHIN = 2.0
"""How long the answers of other programs about locks are waited for, in seconds."""


class InfoText(str):
    """A text of several lines that a prompt shows as it is, not in quotes on one line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def show_table(header: tuple[str, ...], found: Sequence[tuple[str, ...]]) -> None:
    """Print a table."""
    rows = [tuple(printable(cell) for cell in row) for row in found]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    line = " ".join("-" * width for width in widths)
    for row in (header, None, *rows, None):
        text = line if row is None else " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(text.rstrip())  # noqa: T201 - what show_...() is for


def show_objects(core: ContextBase, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table of objects, with the holders of their locks if there are any.

    Args:
        core: The context that asks for them.
        header: The head of the table.
        rows: Its rows; the address comes first.
    """
    # All objects are asked before the first answer is awaited.
    addresses = [parse_address(row[0]) for row in rows]
    answers = [core.request(address, QueryLock(address.object)) for address in addresses]
    deadline = time.monotonic() + LOCKS_SHOWN_WITHIN
    holders: list[str] = []
    infos: list[LockInfo | None] = []
    for answer in answers:
        try:
            info = answer.wait(max(0.0, deadline - time.monotonic()))
        except QMI_Exception:  # it has gone meanwhile, or its program does not answer
            info = None
        infos.append(info)
    for address, info in zip(addresses, infos, strict=True):
        if info is not None and address.context != core.name:
            words = core.reservations.ask_words(address)
            with suppress(QMI_Exception):  # an older version; then there are no words
                info = with_words(info, words.wait(max(0.0, deadline - time.monotonic())))
        holders.append("" if info is None else info.describe())
    if any(holders):
        header = (*header, "locked by")
        rows = [(*row, holder) for row, holder in zip(rows, holders, strict=True)]
    show_table(header, rows)


def known_contexts(core: ContextBase) -> list[tuple[str, str, str]]:
    """Name, address and state of the link of each context that a program knows, itself first."""
    connections = core.connections
    rows = {core.name: (core.name, f"port {connections.port}" if connections.port else "-", "(this context)")}
    for name, config in core.config.contexts.items():
        address = f"{config.host or '127.0.0.1'}:{config.tcp_server_port}" if config.tcp_server_port else "-"
        rows.setdefault(name, (name, address, "no"))
    for name in connections.names():
        rows[name] = (name, connections.address_of(name), "yes")
    return list(rows.values())
