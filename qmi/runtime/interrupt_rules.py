"""What Ctrl-C does, by what runs in the main thread when it comes: the rules, as two tables.

Python calls a signal handler between any two instructions of the main thread. What was interrupted is known by its
stack. Each frame of this library has a *place*, (file, function); frames of other code have none. Read from the
innermost frame outwards, the places say what runs. :mod:`qmi.runtime.sigint` carries the rules out;
``docs/interrupts.md`` tells users about them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, TypeAlias

Place: TypeAlias = tuple[str, str]
"""File, relative to the package, and qualified name of a function."""


class Runs(Enum):
    """What runs in the main thread."""

    USER = "code of the user: a script, a driver's method, a function that it called"
    WAIT = "a wait of this library: for an answer, a lock, a signal"
    LIBRARY = "a step of this library"
    RELEASE = "this library, on its way to release something"
    RELEASE_WAIT = "a wait, or code of the user, within a release"
    TRIO_USER = "code of the user in a trio task"
    TRIO_LIBRARY = "a step of this library in a trio task"
    TRIO = "trio itself, or what it protects"


class Then(Enum):
    """What happens."""

    RAISE = "KeyboardInterrupt is raised at once"
    LATER = "it is raised as soon as the step is over"
    AFTER = "it is raised when the release is done"
    TRIO = "trio raises it in its main task, at the next checkpoint"


PATIENCE: Final = 30.0
"""How long, in seconds, a program may take that SIGTERM or SIGHUP has told to end; then its contexts are stopped."""

RULES: Final[dict[Runs, Then]] = {
    Runs.USER: Then.RAISE,
    Runs.WAIT: Then.RAISE,
    Runs.LIBRARY: Then.LATER,
    Runs.RELEASE: Then.AFTER,
    Runs.RELEASE_WAIT: Then.AFTER,
    Runs.TRIO_USER: Then.RAISE,
    Runs.TRIO_LIBRARY: Then.TRIO,
    Runs.TRIO: Then.TRIO,
}
RULES_FOR_THE_SECOND: Final[dict[Runs, Then]] = {**RULES, Runs.RELEASE_WAIT: Then.RAISE}
"""The same while one is pending already: a release that hangs can be broken off by pressing Ctrl-C again."""


class Handler(Enum):
    """Whose function is called when Ctrl-C comes."""

    OURS = "this library's"
    PYTHON = "Python's own: at the start; put back by a notebook before each cell; at a debugger's prompt"
    TRIO = "that of a trio run"
    PROGRAM = "one that the program has set, or a debugger"
    NONE = "nobody's: the signal is ignored, or ends the process"


TAKEN_OVER: Final = frozenset({Handler.PYTHON, Handler.TRIO})
"""These are replaced while contexts run, also when they come back; all others stay.

Under a handler that the program has set, an exception may come anywhere. So the main thread then only waits, and the
event loop's thread does what must not be torn: it writes to links and reads them."""

MACHINERY: Final = frozenset(
    {"actors", "contexts", "net", "peers", "site", "runtime/call_context.py", "runtime/sigint.py", "runtime/wakeup.py"}
)
"""Packages and files in which a thread must not be interrupted; what they call counts as theirs."""

WAITS: Final[frozenset[Place]] = frozenset(
    {
        ("runtime/wakeup.py", "wait_on"),
        ("net/io/reader_handoff.py", "ReaderHandoff._poll"),
        ("net/io/transport.py", "PlainWire.is_writable"),
    }
)
"""But in these functions it waits, and Ctrl-C is to end the wait."""

CALLS_USER_CODE: Final[frozenset[Place]] = frozenset(
    {
        ("actors/inline.py", "_run"),
        ("actors/actor.py", "Actor._construct"),
        ("contexts/stop_handlers.py", "StopHandlers._call"),
        ("utils/context_managers.py", "_lock_unlock"),
        ("utils/context_managers.py", "open_close"),
        ("utils/context_managers.py", "start_stop"),
        ("utils/context_managers.py", "start_stop_join"),
        ("utils/context_managers.py", "_subscribed"),
    }
)
"""And what these functions call is the user's."""

RELEASES: Final[frozenset[Place]] = frozenset(
    {
        ("actors/lock_block.py", "AsyncLockBlock.__aexit__"),
        ("actors/lock_block.py", "LockBlock.__exit__"),
        ("actors/proxy.py", "QMI_RpcProxy.__exit__"),
        ("actors/proxy.py", "QMI_RpcProxy.force_unlock"),
        ("actors/proxy.py", "QMI_RpcProxy.unlock"),
        ("actors/proxy.py", "ProxySignal.unsubscribe"),
        ("actors/streams.py", "RpcStream.close"),
        ("contexts/blocking_context.py", "QMI_Context.__exit__"),
        ("contexts/blocking_context.py", "QMI_Context.unsubscribe_signal"),
        ("runtime/sigint.py", "SafeBlock.__exit__"),
        ("contexts/default.py", "_stop_all"),
        ("scan/control.py", "Control.begin"),
        ("scan/control.py", "Control.end"),
        ("scan/ending.py", "Ending.run"),
    }
)
"""These functions give something back; nothing is raised before that is done."""


FINALIZER: Final[Place] = ("", "a finalizer")
"""The place of ``__del__`` and of what weak references call. Python prints an exception that is raised there, and goes
on as if nothing had happened; so it counts as a release."""


def who_runs(stack: Iterable[Place | None]) -> Runs:
    """What runs in a thread, outside of trio.

    Args:
        stack: The places of its frames, innermost first.
    """
    inner: Runs | None = None
    innermost = True
    for place in stack:
        if place == FINALIZER:
            return Runs.RELEASE if inner is Runs.LIBRARY else Runs.RELEASE_WAIT
        if place in RELEASES:
            return Runs.RELEASE if inner in (None, Runs.LIBRARY) else Runs.RELEASE_WAIT
        if inner is None and place is not None:
            if place in WAITS:
                inner = Runs.WAIT
            elif place in CALLS_USER_CODE:
                inner = Runs.LIBRARY if innermost else Runs.USER
            else:
                inner = Runs.LIBRARY
        innermost = False
    return inner or Runs.USER


def who_runs_in_trio(stack: Iterable[Place | None], *, protected: bool) -> Runs:
    """What runs in a thread that is in a trio run.

    Args:
        stack: The places of its frames, innermost first.
        protected: Whether trio protects the innermost frame.
    """
    if protected:
        return Runs.TRIO
    return Runs.TRIO_USER if who_runs(stack) is Runs.USER else Runs.TRIO_LIBRARY
