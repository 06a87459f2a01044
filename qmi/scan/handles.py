"""Scans of other programs: which there are, and what one does with them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qmi.data.follower import Follower, follow
from qmi.data.run_metadata import active_context
from qmi.errors import (
    QMI_Exception,
    QMI_InvalidOperationException,
    QMI_NoActiveContextException,
    QMI_NotConnectedException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from qmi.runtime.identity import own_identity
from qmi.scan.running import ScanInfo

if TYPE_CHECKING:
    from qmi.contexts.blocking_context import QMI_Context
    from qmi.scan.description import Description

SCANS = "$scans"
"""The object of each context that tells of its scans."""


class ScanHandle:
    """A scan that goes on somewhere else, or waits in a queue.

    The methods that end in ``_async`` are for trio programs.

    Attributes:
        id: Its id, in its context.
        address: What is asked about it: ``"lab.$scans"``, or the queue that it was given to.
    """

    def __init__(self, proxy: Any, scan_id: str) -> None:
        # Its two views, of which each method is taken by its name.
        self._blocking: object = proxy.rpc_blocking if _is_async(proxy) else proxy
        self._awaited: object = proxy if _is_async(proxy) else proxy.rpc_async
        self.id: str = scan_id
        self.address: str = str(proxy.address)

    def __repr__(self) -> str:
        return f"<scan {self.id} of {self.address}>"

    def _call(self, method: str) -> Any:
        return getattr(self._blocking, method)(self.id)

    async def _call_async(self, method: str) -> Any:
        return await getattr(self._awaited, method)(self.id)

    def info(self) -> ScanInfo:
        """How it is.

        Raises:
            QMI_UnknownNameException: If there is nothing known of it any more.
        """
        return _info(self._call("get_scan"))

    async def info_async(self) -> ScanInfo:
        """The same in a trio program."""
        return _info(await self._call_async("get_scan"))

    def pause(self) -> None:
        """Have it wait before its next point.

        Raises:
            QMI_InvalidOperationException: If it does not go on, or this program is a guest there.
        """
        self._call("pause_scan")

    async def pause_async(self) -> None:
        """The same in a trio program."""
        await self._call_async("pause_scan")

    def resume(self) -> None:
        """Have it go on after a pause; errors as for :meth:`pause`."""
        self._call("resume_scan")

    async def resume_async(self) -> None:
        """The same in a trio program."""
        await self._call_async("resume_scan")

    def stop(self) -> None:
        """Have it end after this point; errors as for :meth:`pause`. One that waits in a queue is removed."""
        self._call("stop_scan")

    async def stop_async(self) -> None:
        """The same in a trio program."""
        await self._call_async("stop_scan")

    def abort(self) -> None:
        """Have it end now; errors as for :meth:`pause`. One that waits in a queue is removed."""
        self._call("abort_scan")

    async def abort_async(self) -> None:
        """The same in a trio program."""
        await self._call_async("abort_scan")

    def wait(self) -> ScanInfo:
        """Wait until a scan of a queue has ended. Giving up leaves it as it is.

        Returns:
            How it has ended; an error of it is not raised, but in ``reason``.

        Raises:
            QMI_InvalidOperationException: If it is not one of a queue.
        """
        return _info(self._call(self._outcome()))

    async def wait_async(self) -> ScanInfo:
        """The same in a trio program."""
        return _info(await self._call_async(self._outcome()))

    def _outcome(self) -> str:
        if self.address.endswith(SCANS):
            raise QMI_InvalidOperationException(
                f"{self!r} is no scan of a queue, whose end can be waited for: look at sig_changed of {self.address}"
            )
        return "get_outcome"

    def follow(self, *, first: int = 0) -> Follower:
        """The rows of its run, as they are measured; see :func:`qmi.data.follow`.

        Args:
            first: The number of the first row that is wanted.

        Raises:
            QMI_InvalidOperationException: If it has not begun, or keeps no run.
        """
        return self._follow(self.info(), first)

    async def follow_async(self, *, first: int = 0) -> Follower:
        """The same in a trio program, where ``async for`` goes through what is returned."""
        return self._follow(await self.info_async(), first)

    def _follow(self, info: ScanInfo, first: int) -> Follower:
        if not info.run_id:
            why = "has not begun" if info.started is None else "keeps no run: give it one, scan(..., run='iv')"
            raise QMI_InvalidOperationException(f"{self!r} {why}")
        here, there = active_context(), self.address.rpartition(".")[0]
        elsewhere = here is not None and here.name != there
        return follow(info.run_id, context=there if elsewhere else None, first=first)


def _is_async(proxy: Any) -> bool:
    return bool(type(proxy).__rpc_view__ == "async")


def _info(told: object) -> ScanInfo:
    """What a program tells of a scan; it may be of another version."""
    if isinstance(told, ScanInfo):
        return told
    raise QMI_UsageException(f"The other program runs a version that tells of scans in another way: {told!r}")


def _infos(told: object) -> list[ScanInfo]:
    return [_info(each) for each in told] if isinstance(told, Sequence) else []


def _own_context(what: str) -> QMI_Context:
    context = active_context()
    if context is None:
        raise QMI_NoActiveContextException(f"{what} needs a context of this program: qmi.start() makes one")
    return context


def _names(context: QMI_Context, wanted: str | None) -> list[str]:
    core = context.async_context
    if wanted is None:
        return [context.name, *core.connections.names()]
    if wanted != context.name and not core.has_peer_context(wanted):
        raise QMI_NotConnectedException(
            f"Context {context.name!r} is not connected to context {wanted!r}: connect_to_peer({wanted!r}) first"
        )
    return [wanted]


def _passing_over(context: str | None) -> suppress:
    """Where all contexts are asked, one that does not scan, or goes just now, is passed over."""
    return suppress(*(() if context is not None else (QMI_Exception,)))


def scans(context: str | None = None) -> list[ScanInfo]:
    """The scans that go on.

    Args:
        context: Of which context; None takes this one and all that it is connected to.

    Raises:
        QMI_NotConnectedException: If there is no link to that context.
        QMI_UnknownNameException: If the program of that context does not scan.
    """
    here = _own_context("qmi.scan.scans()")
    found: list[ScanInfo] = []
    for name in _names(here, context):
        with _passing_over(context):
            found += _infos(here.get_rpc_object(f"{name}.{SCANS}").list_scans())
    return found


async def scans_async(context: str | None = None) -> list[ScanInfo]:
    """The same in a trio program; see :func:`scans`."""
    here = _own_context("qmi.scan.scans_async()")
    found: list[ScanInfo] = []
    for name in _names(here, context):
        with _passing_over(context):
            proxy = await here.async_context.get_rpc_object(f"{name}.{SCANS}")
            found += _infos(await proxy.list_scans())
    return found


def find(scan_id: str, context: str | None = None) -> ScanHandle:
    """A scan that goes on.

    Args:
        scan_id: Its id, as :func:`scans` tells it.
        context: Its context; None looks in this one and in all that it is connected to.

    Raises:
        QMI_UnknownNameException: If there is none of that id.
        QMI_NotConnectedException: If there is no link to that context.
    """
    here = _own_context("qmi.scan.find()")
    for name in _names(here, context):
        with _passing_over(context):
            proxy = here.get_rpc_object(f"{name}.{SCANS}")
            _info(proxy.get_scan(scan_id))
            return ScanHandle(proxy, scan_id)
    raise _unknown(scan_id)


async def find_async(scan_id: str, context: str | None = None) -> ScanHandle:
    """The same in a trio program; see :func:`find`."""
    here = _own_context("qmi.scan.find_async()")
    for name in _names(here, context):
        with _passing_over(context):
            proxy = await here.async_context.get_rpc_object(f"{name}.{SCANS}")
            _info(await proxy.get_scan(scan_id))
            return ScanHandle(proxy, scan_id)
    raise _unknown(scan_id)


def _unknown(scan_id: str) -> QMI_UnknownNameException:
    return QMI_UnknownNameException(f"No scan {scan_id!r} goes on here or in a context that this one is connected to")


# Queues


def submit(description: Description, queue: Any) -> ScanHandle:
    """Give a scan to a queue; see :meth:`.Scan.submit`."""
    proxy = _own_context("submit()").get_task(queue, auto_connect=True) if isinstance(queue, str) else queue
    _check_queue(proxy)
    proxy = proxy.rpc_blocking if _is_async(proxy) else proxy
    return ScanHandle(proxy, str(proxy.submit(description.plain(), _context_of(proxy), *own_identity())))


async def submit_async(description: Description, queue: Any) -> ScanHandle:
    """The same in a trio program."""
    proxy: Any = queue
    if isinstance(queue, str):
        proxy = await _own_context("submit_async()").async_context.get_task(queue, auto_connect=True)
    _check_queue(proxy)
    proxy = proxy if _is_async(proxy) else proxy.rpc_async
    return ScanHandle(proxy, str(await proxy.submit(description.plain(), _context_of(proxy), *own_identity())))


def _context_of(proxy: Any) -> str:
    return str(proxy.address).rpartition(".")[0]


def _check_queue(proxy: Any) -> None:
    interface = getattr(type(proxy), "__rpc_interface__", None)
    if interface is None or not {"submit", "get_outcome"} <= set(interface.methods):
        raise QMI_UsageException(
            f"A scan is given to a queue, the address of a ScanQueue such as 'lab.scans', got {proxy!r}"
        )


for _public in (ScanHandle, find, find_async, scans, scans_async):
    _public.__module__ = "qmi.scan"
