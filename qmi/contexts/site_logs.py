"""The log of another context: from the site, if both are at one; else its context is asked by a link."""

from __future__ import annotations

from typing import Any, Protocol

from qmi.actors.future import QMI_RpcFuture, call_async
from qmi.actors.log_records import LogBatch
from qmi.contexts.log_reader import LogReader, LogSource
from qmi.messages import Call, Request
from qmi.names import CONTEXT_OBJECT_NAME, Address
from qmi.runtime.wakeup import Loop


class LogsAtSite(Protocol):
    """The logs of other contexts at a site."""

    async def follow(self, context: str) -> LogSource | None:
        """The log of a context; None if the site knows of none."""


class PartInSite(Protocol):
    """What a context does at its site."""

    @property
    def logs(self) -> LogsAtSite | None:
        """The logs of other contexts; None without a site."""


class Reader(Protocol):
    """The context that reads."""

    name: str
    loop: Loop

    @property
    def at_site(self) -> PartInSite:
        """Its part in a site."""

    def request(self, address: Address, message: Request) -> QMI_RpcFuture[Any]:
        """Send a message to an object, wherever it lives."""


async def read_site_log(
    reader: Reader,
    name: str,
    after: int | None = None,
    level: str | int = 0,
    limit: int = 200,
    wait: float = 0.0,
    run: str = "",
) -> LogBatch | None:
    """Read the log of another context at the site, as ``read_log`` of ``$context`` does.

    Args:
        reader: The context that reads.
        name: Whose log.
        after: As for ``read_log``, and so are the others.
        level: The lowest level that is wanted.
        limit: How many records are wanted at most.
        wait: How many seconds to wait until there is one.
        run: Of which process something was read last.

    Returns:
        A part of the log; None if the site knows of none.

    Raises:
        QMI_InvalidValueException: If an argument makes no sense.
        QMI_NotDeliveredException: If there is nothing new, and nothing can come now.
    """
    logs = reader.at_site.logs
    ring = None if logs is None or name == reader.name else await logs.follow(name)
    return None if ring is None else await LogReader(reader.loop, after, level, limit, wait, run, ring=ring).wait()


async def read_log(reader: Reader, name: str, **request: Any) -> LogBatch:
    """Read the log of a context, by the site or by the link to it.

    Args:
        reader: The context that reads.
        name: Whose log.
        request: As for :func:`read_site_log`.

    Raises:
        QMI_Exception: If that context does not answer, or as for :func:`read_site_log`.
    """
    batch = await read_site_log(reader, name, **request)
    if batch is not None:
        return batch
    call = Call(CONTEXT_OBJECT_NAME, "read_log", (), request)
    return LogBatch.from_plain(await call_async(reader.request(Address(name, CONTEXT_OBJECT_NAME), call)))
