"""Where Ctrl-C may strike: user code and waits, but never the few microseconds in which a message changes hands.

Python raises KeyboardInterrupt between any two instructions of the main thread. In the middle of a call that would
leave an object with a turn that nobody ends: whoever stops a measurement loop by Ctrl-C could not use the instrument
any more. So as long as contexts run, a handler looks at what was interrupted, and if that is this library's own
machinery, the signal is sent again a moment later. Calls pay nothing for this.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

AGAIN = 0.0005
"""How soon, in seconds, an interrupt is tried again that came at a bad moment."""

_ROOT = Path(__file__).parent
MACHINERY = frozenset(
    {
        *("actors", "links", "net", "blocking.py", "bridge.py", "connections.py", "context.py"),
        *("doorway.py", "entrance.py", "finding.py", "kernel.py", "portal.py", "session.py", "signalling.py"),
    }
)
"""Rooms and files in which a thread must not be interrupted; what they call counts as theirs."""

WAITS = frozenset(
    {
        ("bridge.py", "wait_on"),
        ("bridge.py", "_wait_and_glance"),
        ("net/rush.py", "Rush._poll"),
        ("net/wire.py", "PlainWire.is_writable"),
    }
)
"""But in these functions it waits, and Ctrl-C is to end the wait."""

CALLS_USER_CODE = frozenset(
    {
        ("actors/inline.py", "_run"),
        ("actors/making.py", "_construct"),
        ("kernel.py", "Kernel._in_context"),
    }
)
"""And what these functions call is the user's."""


class InterruptHandler:
    """A handler for Ctrl-C, in place of Python's own.

    It leaves handlers alone that somebody else has set, and does nothing outside the main thread.

    Attributes:
        due: Whether an interrupt came at a bad moment and has yet to strike.
    """

    __slots__ = ("_again", "_installed", "due")

    def __init__(self) -> None:
        self.due: bool = False
        self._again = False
        self._installed = False

    def install(self) -> None:
        """Take over from Python's own handler."""
        if _in_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True

    def uninstall(self) -> None:
        """Give back to Python's own handler; without effect in other threads, where that is impossible."""
        if self._installed and _in_main_thread() and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False

    def strike(self) -> None:
        """Raise what is due; for the beginning of calls, so that a loop of nothing but calls ends, too."""
        if _in_main_thread():
            self.due = False
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> Any:
        again, self._again = self._again, False
        if again and not self.due:
            return  # it has struck in the meantime
        if may_interrupt(frame):
            self.due = False
            signal.default_int_handler(number, frame)
        if again or not self.due:
            self.due = True
            # No threading.Thread: what was interrupted may hold the locks of that module.
            _thread.start_new_thread(self._try_again, ())

    def _try_again(self) -> None:
        time.sleep(AGAIN)
        main_thread = threading.main_thread().ident
        if not self.due or main_thread is None:
            return
        self._again = True
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(main_thread, signal.SIGINT)
        else:  # Windows
            _thread.interrupt_main()


INTERRUPTS = InterruptHandler()
"""The one of this process: a signal belongs to the process, whoever handles it."""


def may_interrupt(frame: FrameType | None) -> bool:
    """Whether an exception may be raised in this frame: it belongs to the user, or to a wait."""
    innermost = frame
    while frame is not None:
        place = _place(frame.f_code)
        if place in WAITS:
            return True
        if place in CALLS_USER_CODE:
            return frame is not innermost
        if place is not None:
            return False
        frame = frame.f_back
    return True


def _place(code: CodeType) -> tuple[str, str] | None:
    """File and function of a piece of the machinery; None for other code."""
    try:
        path = Path(code.co_filename).relative_to(_ROOT)
    except ValueError:
        return None
    return (path.as_posix(), code.co_qualname) if path.parts[0] in MACHINERY else None


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
