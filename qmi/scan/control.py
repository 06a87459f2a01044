"""What others ask of a scan while it runs: to pause, to go on, to stop after this point, to stop now.

There is no mutex here: a signal handler, which asks too, must not wait for one that its own thread holds. Each
attribute is written in one step. A scan that waits notes its waker first and looks then, and whoever asks writes first
and wakes then; so either the scan sees what was written, or the writer sees the waker.
"""

from __future__ import annotations

import _thread
import math
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum

import trio

from qmi.errors import QMI_CancelledCallException, QMI_InvalidValueException
from qmi.runtime.call_context import EXECUTION, Execution, Facade, current_interrupt
from qmi.runtime.sigint import INTERRUPTS
from qmi.runtime.wakeup import Interrupt, ThreadWaker, Waker


class Request(IntEnum):
    """What was asked for; the greater one counts."""

    NONE = 0
    STOP = 1
    ABORT = 2


def check_rest(seconds: object) -> float:
    """Refuse what is no time to wait within a point.

    Raises:
        QMI_InvalidValueException: If it is none.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise QMI_InvalidValueException(f"seconds must be a number of seconds, 0 or more, got {seconds!r}")
    return float(seconds)


def _aborted() -> QMI_CancelledCallException:
    return QMI_CancelledCallException("The scan was aborted while this call was waited for")


class PointInterrupt(Interrupt):
    """Ends what a point of a scan waits for, as that of a task around it does.

    Without a mutex, like all of this module: a wait is registered first and looks then, and a request is written first
    and wakes then.
    """

    __slots__ = ("outer",)

    def __init__(self) -> None:
        super().__init__()
        self.outer: Interrupt | None = None

    @property
    def requested(self) -> bool:
        """Whether the waits of this thread are to end."""
        return self._error is not None or (self.outer is not None and self.outer.requested)

    def request(self, error: Callable[[], BaseException]) -> None:
        """Make this and every later wait raise what the function returns."""
        self._error = error
        for waiter in self._waiters.copy():
            waiter.wake()

    def enter(self, waiter: Waker) -> None:
        """Register a wait; raises at once if there is a request."""
        self._waiters.append(waiter)
        try:
            if self.outer is not None:
                self.outer.enter(waiter)
            self.check()
        except BaseException:
            self.leave(waiter)
            raise

    def check(self, waiter: Waker | None = None) -> None:
        """Raise if there is a request."""
        if self.outer is not None:
            self.outer.check(waiter)
        super().check(waiter)

    def leave(self, waiter: Waker) -> None:
        """The wait is over."""
        with suppress(ValueError):
            self._waiters.remove(waiter)
        if self.outer is not None:
            self.outer.leave(waiter)


class Control:
    """What is asked of one scan.

    Args:
        why_held: Tells why the scan is to wait apart from a pause, if it is; called by the scan itself.
        changed: Called when something has changed that others see of the scan; from any thread.

    Attributes:
        request: Whether it is to end.
        paused: Whether it is to wait.
        suspended: Why it waits apart from that, if it does.
        presses: How often Ctrl-C was pressed while it ran.
        raised: Whether KeyboardInterrupt was raised for that.
        finishing: Whether it is at its end, where nothing interrupts it.
    """

    def __init__(self, why_held: Callable[[], str | None], changed: Callable[[], object] = lambda: None) -> None:
        self._why_held = why_held
        self._changed = changed
        self.request: Request = Request.NONE
        self.paused: bool = False
        self.suspended: str | None = None
        self.presses: int = 0
        self.raised: bool = False
        self.finishing = False
        self._withheld = False  # an interrupt of INTERRUPTS that is pending there
        self._wake: Callable[[], object] | None = None
        self._cancel: Callable[[], object] | None = None
        self._interrupt = PointInterrupt()
        self._outer: Execution | None = None
        self._own: Execution | None = None

    def ask(self, request: Request) -> None:
        """Ask for the end; from any thread, or a signal handler."""
        self.request = max(self.request, request)
        cancel = self._cancel
        if request is Request.ABORT:
            self._interrupt.request(_aborted)
            if cancel is not None:
                cancel()
        self.look()

    def pause(self, paused: bool) -> None:
        """Have it wait before the next point, or wait no more; from any thread."""
        self.paused = paused
        self.look()
        self._changed()

    def look(self) -> None:
        """Let it look again whether to wait."""
        wake = self._wake
        if wake is not None:
            wake()

    # Ctrl-C

    def take_ctrl_c(self, again: bool) -> bool:
        """Ctrl-C was pressed; runs in the signal handler.

        Args:
            again: Whether it is an earlier one, which came at a bad moment.

        Returns:
            Whether that is all for now; if not, KeyboardInterrupt is raised as without a scan.
        """
        if self.finishing:
            self.presses += 1
            self._withheld |= again
            return True
        if again:
            return False
        self.presses += 1
        self.ask(Request.STOP if self.presses == 1 else Request.ABORT)
        if self.presses != 2:  # one KeyboardInterrupt is enough, and a second one would tear the end
            return True
        self.raised = True
        return False

    def begin(self) -> None:
        """Take Ctrl-C from now on, in the main thread."""
        if threading.current_thread() is threading.main_thread():
            INTERRUPTS.install()
            INTERRUPTS.stoppers.append(self.take_ctrl_c)

    def end(self) -> None:
        """Take it no more."""
        if self.take_ctrl_c not in INTERRUPTS.stoppers:
            return
        INTERRUPTS.stoppers.remove(self.take_ctrl_c)
        if self._withheld:  # it is raised by the scan
            INTERRUPTS.drop_pending()
        INTERRUPTS.uninstall()

    @staticmethod
    def postpone() -> None:
        """Have KeyboardInterrupt raised a moment later: now Python would swallow it."""
        main = threading.main_thread().ident
        if INTERRUPTS.postpone() or main is None:
            return
        if hasattr(signal, "pthread_kill"):
            _thread.start_new_thread(signal.pthread_kill, (main, signal.SIGINT))
        else:  # Windows
            _thread.start_new_thread(_thread.interrupt_main, ())

    # The scan itself

    def enter_point(self, facade: Facade | None) -> None:
        """From now on, what this thread waits for ends when the scan is to end now.

        Args:
            facade: The context of the code that scans; without one, nothing is waited for.
        """
        if facade is None:
            return
        outer = EXECUTION.get()
        if self._own is None or outer is not self._outer:
            self._interrupt.outer = None if outer is None else outer.interrupt
            own = Execution(facade) if outer is None else outer
            self._outer, self._own = outer, own._replace(interrupt=self._interrupt)
        EXECUTION.set(self._own)

    def leave_point(self) -> None:
        """What this thread waits for is no concern of the scan any more; also if it is not now."""
        if self._own is not None and EXECUTION.get() is self._own:
            EXECUTION.set(self._outer)

    def _may_go(self, why: str | None) -> bool:
        held = self._why_held() or why
        if held != self.suspended:
            self.suspended = held
            self._changed()
        return self.suspended is None and not self.paused

    def wait(self, why: str = "", seconds: float = 0.0) -> bool:
        """Wait as long as it is to wait, in a thread; False if it is to end.

        Args:
            why: Why it waits in any case.
            seconds: For how long.
        """
        interrupt = current_interrupt()
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic() if why else 0.0
            waker = ThreadWaker()
            self._wake = waker.wake
            try:
                if self.request is not Request.NONE:
                    return False
                if interrupt is not None:  # a scan of plain functions has no other place where it hears of it
                    interrupt.check()
                if self._may_go(why if left > 0 else None):
                    return True
                if interrupt is not None:  # that of a task that is asked to stop
                    interrupt.enter(waker)
                waker.wait(left if left > 0 else None)
            finally:
                self._wake = None
                if interrupt is not None:
                    interrupt.leave(waker)
            if interrupt is not None:
                interrupt.check()

    def rest(self, seconds: float) -> bool:
        """Wait within a point, in a thread; False if it is to end now.

        Args:
            seconds: For how long.
        """
        interrupt = current_interrupt()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            waker = ThreadWaker()
            self._wake = waker.wake
            try:
                if self.request is Request.ABORT:  # looked at when there is a waker, so that none comes in between
                    return False
                if interrupt is not None:  # that of a task that is asked to stop
                    interrupt.check()
                    interrupt.enter(waker)
                waker.wait(left)
            finally:
                self._wake = None
                if interrupt is not None:
                    interrupt.leave(waker)
            if interrupt is not None:
                interrupt.check()
        return self.request is not Request.ABORT

    async def wait_async(self, why: str = "", seconds: float = 0.0) -> bool:
        """The same in a trio task. A checkpoint."""
        await trio.lowlevel.checkpoint()
        token = trio.lowlevel.current_trio_token()
        until = trio.current_time() + seconds
        while True:
            left = until - trio.current_time() if why else 0.0
            event = trio.Event()
            # Not set at once: in a signal handler trio may be in the midst of something.
            self._wake = lambda: token.run_sync_soon(event.set)  # noqa: B023 - of this turn of the loop
            try:
                if self.request is not Request.NONE:
                    return False
                if self._may_go(why if left > 0 else None):
                    return True
                with trio.move_on_after(left if left > 0 else float("inf")):
                    await event.wait()
            finally:
                self._wake = None

    def cancels(self, scope: trio.CancelScope | None) -> None:
        """What to cancel when it is to end now; None when there is nothing."""
        if scope is None:
            self._cancel = None
            return
        token = trio.lowlevel.current_trio_token()
        self._cancel = lambda: token.run_sync_soon(scope.cancel)
        if self.request is Request.ABORT:  # asked for before this was noted
            scope.cancel()
