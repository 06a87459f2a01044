"""The event loop behind blocking programs: trio in one background thread, for all blocking contexts of a process."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import trio

from qmi.actors.future import QMI_RpcFuture
from qmi.errors import QMI_RuntimeException
from qmi.runtime.sigint import INTERRUPTS
from qmi.runtime.wakeup import Loop

_logger = logging.getLogger("qmi.core.context")

T = TypeVar("T")


class Disownable(Protocol):
    """A context, as a child sees it that was forked while it ran."""

    def disown(self, why: Callable[[], Exception]) -> None:
        """Refuse everything from here on, by the error that the function makes."""


class PortalUser(Protocol):
    """A context that lives in the loop of the portal."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""

    def stop(self) -> None:
        """Stop it, and wait until it has stopped."""


RUNNING: weakref.WeakSet[Disownable] = weakref.WeakSet()
"""Every context of this process that runs, in whichever loop."""


class Portal:
    """A background thread that runs trio from :meth:`start` to :meth:`stop`.

    The thread is a daemon, so that it never keeps a process from ending.
    """

    def __init__(self) -> None:
        self._ready: QMI_RpcFuture[None] = QMI_RpcFuture("the start of the event loop")
        self._thread = threading.Thread(target=self._run, name="qmi-loop", daemon=True)
        self._loop: Loop
        self._nursery: trio.Nursery
        self._ending: trio.Event

    def start(self) -> None:
        """Start the thread and wait for its loop."""
        self._thread.start()
        try:
            self._ready.wait()
        except BaseException:  # nobody will use the loop
            self._ready.add_done_callback(self._end_soon)
            raise

    def stop(self) -> None:
        """Let the loop end. Whatever runs in it should have ended before."""
        if self._end_soon():
            self._thread.join()

    def _end_soon(self) -> bool:
        return self._loop.soon(self._ending.set)

    def run(self, function: Callable[..., Awaitable[T]], *args: object) -> QMI_RpcFuture[T]:
        """Run an async function in the loop; the future gives its result.

        Giving up the future does not cancel the function.
        """
        future: QMI_RpcFuture[T] = QMI_RpcFuture(getattr(function, "__name__", "the function"))
        if not self._loop.soon(self._spawn, function, args, future):
            future.fail(QMI_RuntimeException("The event loop of this program has ended"))
        return future

    def _spawn(self, function: Callable[..., Awaitable[T]], args: tuple[object, ...], future: QMI_RpcFuture[T]) -> None:
        self._nursery.start_soon(self._settle, function, args, future)

    async def _settle(
        self, function: Callable[..., Awaitable[T]], args: tuple[object, ...], future: QMI_RpcFuture[T]
    ) -> None:
        try:
            future.set_result(await function(*args))
        except trio.Cancelled:
            future.fail(QMI_RuntimeException("The event loop of this program has ended"))
            raise
        except BaseException as error:  # is raised where the future is waited for
            future.fail(error)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # nobody else would see it: this is the bottom of the thread
            _logger.critical("The event loop of this program died", exc_info=True)
            self._ready.fail(error)

    async def _main(self) -> None:
        self._loop = Loop()
        self._ending = trio.Event()
        async with trio.open_nursery() as self._nursery:
            self._ready.set_result(None)
            await self._ending.wait()
            self._nursery.cancel_scope.cancel()


class Portals:
    """The one portal of the process: there is one as long as somebody uses it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything; for a process that was forked."""
        self._mutex = threading.Lock()
        self._portal: Portal | None = None
        self._users: list[PortalUser] = []

    def users(self) -> list[PortalUser]:
        """The users of the portal, latest first."""
        return self._users[::-1]

    def enter(self, user: PortalUser) -> Portal:
        """Use the portal, which is started for the first one."""
        with self._mutex:
            if self._portal is None:
                INTERRUPTS.install()  # first, so that Ctrl-C does not come between the steps that follow
                try:
                    portal = Portal()
                    portal.start()
                except BaseException:
                    INTERRUPTS.uninstall()
                    raise
                self._portal = portal
            self._users.append(user)
            return self._portal

    def leave(self, user: PortalUser) -> None:
        """Use it no more; the last one stops it."""
        with self._mutex:
            if user not in self._users:
                return
            self._users.remove(user)
            portal = None
            if not self._users:
                portal, self._portal = self._portal, None
        if portal is not None:
            portal.stop()
            INTERRUPTS.uninstall()


PORTALS = Portals()
