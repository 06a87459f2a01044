"""Where Ctrl-C may strike: user code and waits, but never the few microseconds in which a message changes hands.

Python raises KeyboardInterrupt between any two instructions of the main thread. In the middle of a call that would
leave an object with a turn that never ends: after stopping a measurement loop by Ctrl-C one could not use the
instrument any more. So as long as contexts run, a handler looks at what was interrupted, and acts by the tables in
:mod:`qmi.runtime.interrupt_rules`. What has to wait is *pending*: the signal is sent again a moment later.

Calls pay next to nothing for it: each looks whether something is pending, and whether the handler is still there.

SIGTERM and SIGHUP would end the process at once. Where nobody else handles them, they are handled the same way: the
program ends by an exception, as it does after Ctrl-C, so that blocks are left and contexts are stopped.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Final, NoReturn, ParamSpec, TypeAlias, TypeVar
from weakref import WeakSet, WeakValueDictionary

import trio

from qmi.runtime.interrupt_rules import (
    CALLS_USER_CODE,
    FINALIZER,
    MACHINERY,
    PATIENCE,
    RELEASES,
    RULES,
    RULES_FOR_THE_SECOND,
    TAKEN_OVER,
    Handler,
    Place,
    Runs,
    Then,
    who_runs,
    who_runs_in_trio,
)

try:
    from _signal import getsignal as _getsignal  # type: ignore[import-not-found]
except ImportError:  # another interpreter than CPython
    from signal import getsignal as _getsignal

P = ParamSpec("P")
T = TypeVar("T")

SIGINT: Final = int(signal.SIGINT)
SignalHandler: TypeAlias = Callable[[int, FrameType | None], object] | int | None
current_handler: Final[Callable[[int], SignalHandler]] = _getsignal
"""The function behind ``signal.getsignal``, which takes a fiftieth of its time: each call of a method looks."""
AGAIN = 0.0005
"""How soon, in seconds, an interrupt is tried again that came at a bad moment."""
AGAIN_AFTER_RELEASE = 0.01
"""The same for one that came during a release, which may take long."""
END_SIGNALS: Final = tuple(int(getattr(signal, name)) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_OF_PROGRAMS: Final = tuple(
    int(getattr(signal, name)) for name in ("SIGALRM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
_IGNORED: Final = int(signal.SIG_IGN)
_ALL_SIGNALS: Final = tuple(sorted(map(int, signal.valid_signals())))
_LOOK_AT_HANDLERS = 0.05
"""How often, in seconds, the handlers of all signals are looked at."""

_ROOT = Path(__file__).parents[1]
_WEAK = frozenset({WeakSet.__init__.__code__.co_filename, WeakValueDictionary.__init__.__code__.co_filename})
_NAMED: Final = CALLS_USER_CODE | RELEASES
_FILES = frozenset(file for file, _ in _NAMED)


class ProgramEnd(SystemExit):
    """The process was told to end by a signal; its exit code says by which."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class InterruptHandler:
    """A handler for Ctrl-C, in place of Python's own and of trio's, as long as somebody uses it.

    Handlers that somebody else has set are left alone. Outside the main thread, where nobody can set one, the next
    blocking call of the main thread takes over.

    Attributes:
        pending: Whether an interrupt came at a bad moment and has yet to be raised.
        handler: What is set as the handler; always the very same object.
        ended_by: The signal that has told this process to end, if one has.
        raised_end: Whether :class:`ProgramEnd` has been raised for it.
        bodies: Cancel the blocks of the contexts of trio programs; called when the process is told to end.
        overdue: Stops all contexts; called in a thread when the process has taken too long to end.
        stoppers: What takes Ctrl-C before the rules do, the last one only: called with whether it is one that was
            pending; returns whether that is all for now.
    """

    __slots__ = (
        *("_again", "_cancelled_bodies", "_is_due", "_mutex", "_number", "_pid", "_previous", "_run", "_users"),
        *("bodies", "pending", "ended_by", "handler", "overdue", "raised_end", "stoppers"),
    )

    def __init__(self) -> None:
        self.pending: bool = False
        self.handler: Final[Callable[[int, FrameType | None], None]] = self._handle
        self.ended_by: int | None = None
        self.raised_end: bool = False
        self.bodies: list[Callable[[], object]] = []
        self.overdue: Callable[[int], object] = lambda number: None
        self.stoppers: list[Callable[[bool], bool]] = []
        self._again = False
        self._cancelled_bodies = False
        self._is_due = False  # to be taken over, which only the main thread can
        self._number = SIGINT  # what is due
        self._users = 0
        self._pid = os.getpid()
        # Guards the number of users. A thread also holds it while it sends a signal again, and the main thread while it
        # hands the handlers back, so that no other handler is called for what has been raised already. The handler
        # itself never takes it.
        self._mutex = _thread.allocate_lock()
        self._previous: SignalHandler = signal.default_int_handler
        self._run: trio.lowlevel.TrioToken | None = None  # the trio run whose handler was replaced

    # Whose handler is set

    def install(self) -> None:
        """Somebody needs it: take over from Python's own handler, or trio's."""
        with self._mutex:
            self._users += 1
            if self._users == 1:
                self._again = False  # what was sent again may have come when the handler was not there any more
        self._pid = os.getpid()
        self._is_due = True
        self._take_over()

    def uninstall(self) -> None:
        """Somebody needs it no more; after the last one, the handler that was there comes back.

        What is pending then goes to that one, at once: nobody would raise it later, or somebody twice.
        """
        with self._mutex:
            self._users -= 1
            if self._users or not _in_main_thread():
                return
            pending, self.pending = self.pending, False
            self._hand_back()
        if pending and self._number == SIGINT:
            signal.raise_signal(SIGINT)
        elif pending:
            self._raise(self._number)

    def _take_over(self) -> None:
        if not self._users or not _in_main_thread():
            return
        self._is_due = False
        if self.whose() in TAKEN_OVER:
            self._previous = current_handler(SIGINT)
            self._run = trio.lowlevel.current_trio_token() if trio.lowlevel.in_trio_run() else None
            signal.signal(SIGINT, self.handler)
        for number in END_SIGNALS:
            if current_handler(number) == signal.SIG_DFL:  # not ignored, as under nohup, and not the program's
                signal.signal(number, self.handler)

    def _hand_back(self) -> None:
        if not _in_main_thread():
            return
        for number in END_SIGNALS:
            if current_handler(number) is self.handler:
                signal.signal(number, signal.SIG_DFL)
        if current_handler(SIGINT) is not self.handler:
            return
        previous, self._previous = self._previous, signal.default_int_handler
        run, self._run = self._run, None
        here = trio.lowlevel.current_trio_token() if trio.lowlevel.in_trio_run() else None
        # The handler of a trio run that has ended would swallow every Ctrl-C.
        signal.signal(SIGINT, previous if run is None or run is here else signal.default_int_handler)

    def whose(self) -> Handler:
        """Whose handler there is now."""
        handler = current_handler(SIGINT)
        if handler is self.handler:
            return Handler.OURS
        if handler is signal.default_int_handler:
            return Handler.PYTHON
        if not callable(handler):
            return Handler.NONE
        return Handler.TRIO if getattr(handler, "__module__", "").startswith("trio.") else Handler.PROGRAM

    def is_exposed(self) -> bool:
        """Whether this is the main thread and a handler of the program may raise an exception here at any moment."""
        handler = current_handler(SIGINT)
        is_other = callable(handler) and handler is not self.handler
        return is_other and _in_main_thread() and self.whose() is Handler.PROGRAM

    # What calls do first

    def look(self) -> None:
        """Take over if Python's own handler is back, and raise what is pending, unless this is a release.

        For the beginning of calls. A loop of nothing but calls might never be interrupted elsewhere.
        """
        handler = current_handler(SIGINT)
        # A shell's script has what it starts in the background ignore Ctrl-C: each call of such a program comes here.
        if (handler == _IGNORED and not (self.pending or self._is_due)) or not _in_main_thread():
            return
        if handler is not self.handler:
            self._take_over()
        if self.pending:
            self.raise_pending(sys._getframe(1))

    def raise_pending(self, frame: FrameType | None) -> None:
        """Raise what is pending, unless this is a release; in the main thread only.

        Args:
            frame: Where the stack of the caller begins.
        """
        if self.pending and _in_main_thread() and who_runs(_places(frame)) not in (Runs.RELEASE, Runs.RELEASE_WAIT):
            self._raise(self._number)

    def _raise(self, number: int) -> NoReturn:
        self.pending = False
        if number == SIGINT:
            signal.default_int_handler(number, None)  # which raises it without a line of this file in the traceback
        self.raised_end = True
        raise ProgramEnd(number)

    def end_of_body(self) -> None:
        """End the program if it was told to: its block was cancelled for that.

        Raises:
            ProgramEnd: If it was.
        """
        if self.ended_by is not None:
            self._raise(self.ended_by)

    def reset(self) -> None:
        """Restore the handlers that were there before; for a process that was forked."""
        self._users = 0
        self.pending = False
        self._mutex = _thread.allocate_lock()  # another thread of the parent may have held it
        self.bodies.clear()
        self.stoppers.clear()
        self._hand_back()

    def drop_pending(self) -> None:
        """The program is at its end: nobody is left whom an exception could stop."""
        with self._mutex:
            self.pending = False

    def postpone(self) -> bool:
        """Have a KeyboardInterrupt raised a moment later instead of now; False where Ctrl-C is not handled here."""
        if not _in_main_thread() or current_handler(SIGINT) is not self.handler:
            return False
        self.pending, self._number = True, SIGINT
        _thread.start_new_thread(self._try_again, ())
        return True

    # When Ctrl-C comes

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self._again = self._again, False
        if again and not self.pending:
            return  # it was raised in the meantime
        self._check_users(number)
        if number == SIGINT and self.stoppers and self.stoppers[-1](again):
            return
        if number != SIGINT and not again:
            if self.raised_end:
                return  # it ends already, and whatever it does for that must not be torn
            self._begin_end(number)
        then = self._decide(frame, second=self.pending and not again)
        if number != SIGINT and self._cancelled_bodies and trio.lowlevel.in_trio_run():
            return  # the block of the context was cancelled, and ends the program when it has ended
        if then is Then.TRIO and _deliver_to_trio():
            self.pending = False
        elif then in (Then.RAISE, Then.TRIO):
            self._raise(number)
        elif again or not self.pending:
            self.pending, self._number = True, number
            # No threading.Thread: what was interrupted may hold the locks of that module.
            _thread.start_new_thread(self._try_again, (AGAIN if then is Then.LATER else AGAIN_AFTER_RELEASE,))

    def _check_users(self, number: int) -> None:
        if os.getpid() != self._pid:  # in a child that was forked, and has not got around to reset() yet
            self.reset()
        if not self._users:  # the last one left in another thread
            self._hand_back()
            if number != SIGINT:
                signal.raise_signal(number)

    @staticmethod
    def _decide(frame: FrameType | None, *, second: bool) -> Then:
        if trio.lowlevel.in_trio_run():
            return RULES[who_runs_in_trio(_places(frame), protected=trio.lowlevel.currently_ki_protected())]
        return (RULES_FOR_THE_SECOND if second else RULES)[who_runs(_places(frame))]

    def _try_again(self, delay: float = AGAIN) -> None:
        time.sleep(delay)
        main_thread = threading.main_thread().ident
        with self._mutex:
            if not self.pending or main_thread is None:
                return
            self._again = True
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(main_thread, self._number)
            else:  # Windows
                _thread.interrupt_main(signal.Signals(self._number))

    def _begin_end(self, number: int) -> None:
        if self.ended_by is not None:
            return
        self.ended_by = number
        mute_closed_outputs()
        self._cancelled_bodies = bool(self.bodies)
        for cancel in list(self.bodies):
            cancel()
        _thread.start_new_thread(self._enforce_end, (number,))

    def _enforce_end(self, number: int) -> None:
        # Somebody may swallow the exception (a prompt does), or never come to an end.
        time.sleep(PATIENCE)
        try:
            self.overdue(number)
        finally:
            os._exit(128 + number)


INTERRUPTS = InterruptHandler()
"""The one of this process: a signal belongs to the whole process."""
HANDLER: Final = INTERRUPTS.handler


class ProgramHandlers:
    """Whether the program has handlers of its own, for any signal.

    Python calls them between any two steps of the main thread, and they may raise, take their time, or make calls
    themselves. So the main thread does nothing then for which others would have to wait.
    """

    __slots__ = ("_due", "_found", "_main_thread")

    def __init__(self) -> None:
        self._due = 0.0
        self._found = False
        self._main_thread = threading.main_thread().ident  # another one in a forked child, which begins anew

    def may_break_in(self) -> bool:
        """Whether one may raise an exception in this thread at any moment: one for Ctrl-C, or for an alarm.

        Handlers of other signals are not expected to raise: those that end a program, and those that trio and asyncio
        have of their own.
        """
        if _thread.get_ident() != self._main_thread:
            return False
        if any(map(callable, map(current_handler, _OF_PROGRAMS))):
            return True
        return current_handler(SIGINT) is not HANDLER and INTERRUPTS.is_exposed()

    def may_run_here(self, *, asked: bool = False) -> bool:
        """Whether any may be called in this thread.

        Each call of a method asks: the signals that programs send themselves are looked at each time, and all of them
        now and then.

        Args:
            asked: Whether this thread has just found that none may break in.
        """
        if _thread.get_ident() != self._main_thread:
            return False
        if not asked and self.may_break_in():
            return True
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _LOOK_AT_HANDLERS
            self._found = any(self._is_the_programs(number) for number in _ALL_SIGNALS)
        return self._found

    @staticmethod
    def _is_the_programs(number: int) -> bool:
        if number == SIGINT:
            return INTERRUPTS.whose() is Handler.PROGRAM
        handler = current_handler(number)
        return callable(handler) and handler is not HANDLER


PROGRAM_HANDLERS = ProgramHandlers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROGRAM_HANDLERS.__init__)  # type: ignore[misc]


def may_interrupt(frame: FrameType | None) -> bool:
    """Whether an exception may be raised in this frame at once, outside of trio."""
    return RULES[who_runs(_places(frame))] is Then.RAISE


def _deliver_to_trio() -> bool:
    """Have the trio run of this thread raise KeyboardInterrupt in its main task; False if this trio cannot.

    This is what trio's own handler calls. There is no public name for it; a test pins it.
    """
    from trio._core import _run

    runner = getattr(_run.GLOBAL_RUN_CONTEXT, "runner", None)
    deliver = getattr(runner, "deliver_ki", None)
    if deliver is None:
        return False
    deliver()
    return True


@contextmanager
def ctrl_c_for_main_task() -> Iterator[None]:
    """In this block, Ctrl-C raises KeyboardInterrupt in the main task of trio, and in no other that runs just then.

    For programs whose other tasks run a library's code that would take it for a fault and go on, as web servers do.
    """

    def deliver(_: bool) -> bool:
        if not (trio.lowlevel.in_trio_run() and _deliver_to_trio()):
            return False
        INTERRUPTS.pending = False  # one that was sent again is raised now, and not once more by the next call
        return True

    if not _in_main_thread():
        yield
        return
    INTERRUPTS.install()
    INTERRUPTS.stoppers.append(deliver)
    try:
        yield
    finally:
        INTERRUPTS.stoppers.remove(deliver)
        INTERRUPTS.uninstall()


def _places(frame: FrameType | None) -> Iterator[Place | None]:
    while frame is not None:
        yield _place(frame.f_code)
        frame = frame.f_back


def _place(code: CodeType) -> Place | None:
    """File and function of a piece of this library that the rules name, or a finalizer; None for other code."""
    if code.co_name == "__del__" or (code.co_filename in _WEAK and code.co_name in ("remove", "_remove", "__call__")):
        return FINALIZER
    try:
        path = Path(code.co_filename).relative_to(_ROOT)
    except ValueError:
        return None
    place = (path.as_posix(), code.co_qualname)
    if path.parts[0] in MACHINERY or place[0] in MACHINERY:
        return place
    return place if place[0] in _FILES and place in _NAMED else None


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def mute_closed_outputs() -> None:
    """Let standard output and standard error go nowhere if nobody can read them any more.

    That is so when a terminal or an SSH session was closed, or the reader of a pipe has ended. Whatever is printed
    would raise OSError, and a driver that prints a line before it switches its heater off would leave it on.
    """
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            output = -1 if stream is None else stream.fileno()
        except (OSError, ValueError):  # closed, or no file
            continue
        if output >= 0 and _is_closed(output):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, output)
            os.close(nowhere)


def _is_closed(output: int) -> bool:
    """Whether what reads from this descriptor has gone; not known where there is no poll()."""
    if sys.platform != "win32" and hasattr(select, "poll"):
        poll = select.poll()
        poll.register(output, 0)  # reports errors alone
        return bool(dict(poll.poll(0)).get(output, 0) & (select.POLLERR | select.POLLHUP))
    return False


# Blocks whose exit is a release


class SafeBlock(AbstractContextManager[T]):
    """A ``with`` block that Ctrl-C never leaves without its exit: it comes before, or is raised when that is done.

    The frames of :mod:`contextlib` are nobody's: an exception that is raised there, when the generator has given back
    what it has acquired or before it goes on, would skip the rest of the generator. These methods are the library's.
    """

    __slots__ = ("_block",)

    def __init__(self, block: AbstractContextManager[T]) -> None:
        self._block = block

    def __enter__(self) -> T:
        return self._block.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        suppressed = self._block.__exit__(kind, error, traceback)
        if INTERRUPTS.pending:
            INTERRUPTS.raise_pending(sys._getframe(1))
        return suppressed


def safe_contextmanager(function: Callable[P, Iterator[T]]) -> Callable[P, SafeBlock[T]]:
    """Like :func:`contextlib.contextmanager`, for a generator that gives back at its end what it has taken."""
    make = contextmanager(function)

    @wraps(function)
    def block(*args: P.args, **kwargs: P.kwargs) -> SafeBlock[T]:
        return SafeBlock(make(*args, **kwargs))

    return block
