"""What a forked child must not share with its parent: sockets, timers, and what wakes the parent's event loop.

A descriptor that is open in two processes belongs to both. A child that kept a listening socket would keep its port
busy; one that kept a link would keep it open after the parent's end, and could write into it; one that kept trio's
epoll instance would take events away from the parent's loop. So the code that opens such a thing registers it here,
and the child *closes* it, first of all. It never shuts a connection down: ``shutdown()`` acts on the connection itself,
and so would end the parent's.

Only the thread that forked lives on in the child. Locks that other threads held at that moment stay held for ever, and
nothing here takes any: the registries are weak sets, which are changed under the GIL alone.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import weakref
from contextlib import suppress
from typing import NoReturn, Protocol, runtime_checkable

import trio

EXIT_CODE = 70
"""Exit status of a child that came back into code of its parent (``EX_SOFTWARE``)."""


class Inherited(Protocol):
    """Something that a forked child gets a copy of."""

    def abandon(self) -> None:
        """Let it be of no effect in this process. Called in the child, with no other thread; takes no lock."""


@runtime_checkable
class _Descriptor(Protocol):
    def fileno(self) -> int: ...

    def close(self) -> None: ...


_SOCKETS: weakref.WeakSet[socket.socket] = weakref.WeakSet()
_OTHERS: weakref.WeakSet[Inherited] = weakref.WeakSet()


def close_in_child(sock: socket.socket) -> socket.socket:
    """Have a socket closed in every child that is forked while it is open; returns the socket."""
    _SOCKETS.add(sock)
    return sock


def abandon_in_child(thing: Inherited) -> None:
    """Have something abandoned in every child that is forked while it is there."""
    _OTHERS.add(thing)


def _after_fork_in_child() -> None:
    for sock in list(_SOCKETS):
        with suppress(OSError):  # it was being closed in the moment of the fork
            sock.close()
    for thing in list(_OTHERS):
        thing.abandon()
    _SOCKETS.clear()
    _OTHERS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def end_child(what: str) -> NoReturn:
    """End this process: it was forked in code that was called on behalf of the parent, and came back from there.

    Nothing of the parent's is flushed or cleaned up: that is the parent's to do.

    Args:
        what: What it came back from.
    """
    with suppress(Exception):  # the child ends whatever becomes of its last words
        sys.stderr.write(
            f"Process {os.getpid()} was forked in {what} and came back from there; it ends here. "
            "A forked child ends by os._exit()\n"
        )
        sys.stderr.flush()
    os._exit(EXIT_CODE)


class LoopDescriptors:
    """What trio itself has open for the loop of the calling thread: its epoll or kqueue, and what wakes it.

    They have no public names; where a version of trio keeps them elsewhere, the child keeps them. Then it can disturb
    the loop of its parent only if it goes on in trio's own code.
    """

    __slots__ = ("_closable", "_run_context", "_runner")

    def __init__(self) -> None:
        core = getattr(trio._core, "_run", None)
        self._run_context: object = getattr(core, "GLOBAL_RUN_CONTEXT", None)
        self._runner: object = getattr(self._run_context, "runner", None)
        io = getattr(self._runner, "io_manager", None)
        wakeups = [getattr(getattr(self._runner, "entry_queue", None), "wakeup", None), getattr(io, "_force_wakeup", 0)]
        found: list[object] = [getattr(io, "_epoll", None), getattr(io, "_kqueue", None)]
        for wakeup in wakeups:
            found += [getattr(wakeup, "wakeup_sock", None), getattr(wakeup, "write_sock", None)]
        self._closable = [thing for thing in found if isinstance(thing, _Descriptor)]

    def close(self) -> None:
        """Close them in a forked child; a loop that runs in the thread that forked is none any more."""
        _forget_wakeup_fd({thing.fileno() for thing in self._closable if not getattr(thing, "closed", False)})
        for thing in self._closable:
            with suppress(OSError, ValueError):
                thing.close()
        if self._runner is not None and getattr(self._run_context, "runner", None) is self._runner:
            # The thread that forked was in the loop. What comes back to trio's code fails there, since nothing can be
            # waited for; what does not may run a loop of its own.
            self._run_context.__dict__.clear()


def _forget_wakeup_fd(numbers: set[int]) -> None:
    # Python writes a byte to this descriptor at each signal. Once it is closed, another file may get its number.
    with suppress(ValueError):  # this is not the main thread, or not the main interpreter
        number = signal.set_wakeup_fd(-1)
        if number not in numbers and number >= 0:
            signal.set_wakeup_fd(number)
