"""What Linux alone offers for punctual waiting: a timer with a descriptor, a thread without timer slack, short turns.

Everything here says no, rather than failing, where the platform does not have it.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from qmi.runtime.forks import abandon_in_child

__all__ = ["TimerFd", "open_timer", "remove_timer_slack", "take_short_turns"]

_PR_SET_TIMERSLACK: Final = 29
_SCHED_OTHER: Final = 0
_SHORTEST_TURN: Final = 100_000
# size, policy, flags, nice, priority, runtime, deadline, period: struct sched_attr as it is everywhere.
_SCHED_ATTR: Final = struct.Struct("IIQiIQQQ")
# The numbers of sched_setattr and sched_getattr, which older C libraries have no functions for.
_SCHED_CALLS: Final = {"x86_64": (314, 315), "aarch64": (274, 275), "riscv64": (274, 275)}
_CLOCK_MONOTONIC: Final = 1
_TFD_TIMER_ABSTIME: Final = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


def _c_library() -> ctypes.PyDLL | None:
    """The C library with calls that keep the GIL: none of those made here can block."""
    if sys.platform == "linux":
        with suppress(OSError):
            return ctypes.PyDLL(None, use_errno=True)
    return None


def remove_timer_slack() -> bool:
    """Let the kernel wake this thread when its timers end, not up to 50 µs later (the default, to save power).

    Holds for the calling thread until it ends. Returns whether it worked.
    """
    prctl = getattr(_c_library(), "prctl", None)
    if prctl is None:
        return False
    one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
    return bool(prctl(_PR_SET_TIMERSLACK, one, none, none, none) == 0)


def _machine() -> str:
    if sys.platform == "linux" and sys.maxsize > 1 << 32:
        return os.uname().machine
    return ""


def take_short_turns() -> bool:
    """Let this thread go first when it wakes and others want its processor, for turns of 0.1 ms.

    From Linux 6.12 on, of several threads the one goes first whose turn would end first, even before the turn of one
    that runs is over; turns are some milliseconds unless a thread asks for shorter ones. What part of a processor it
    gets stays the same. Holds for the calling thread until it ends, and for threads that it begins. Returns whether it
    worked; older systems do not heed it.
    """
    syscall, numbers = getattr(_c_library(), "syscall", None), _SCHED_CALLS.get(_machine())
    if syscall is None or numbers is None:
        return False
    change, look = (ctypes.c_long(number) for number in numbers)
    me, size = ctypes.c_long(0), ctypes.c_long(_SCHED_ATTR.size)
    now = ctypes.create_string_buffer(_SCHED_ATTR.size)
    if syscall(look, me, now, size, ctypes.c_long(0)) != 0:
        return False
    _, policy, flags, nice, priority, _, deadline, period = _SCHED_ATTR.unpack(now.raw)
    if policy != _SCHED_OTHER:  # somebody knows better
        return False
    wanted = _SCHED_ATTR.pack(_SCHED_ATTR.size, policy, flags, nice, priority, _SHORTEST_TURN, deadline, period)
    return bool(syscall(change, me, wanted, ctypes.c_long(0)) == 0)


class TimerFd:
    """A timer of the kernel on the monotonic clock whose descriptor is readable when it has fired."""

    __slots__ = ("__weakref__", "_reference", "_set", "_value", "fd")

    def __init__(self, fd: int, settime: Callable[..., int]) -> None:
        self.fd: int = fd
        self._set = settime
        timer = _Itimerspec()
        self._value = timer.it_value
        self._reference = ctypes.byref(timer)
        abandon_in_child(self)  # whoever arms it there would arm that of the parent

    def arm(self, t: float) -> None:
        """Fire at this time of ``time.monotonic()``; forgets that it fired before, so there is nothing to read."""
        seconds = int(t)
        self._value.tv_sec = seconds
        # All zero would switch the timer off.
        self._value.tv_nsec = max(int((t - seconds) * 1e9), 1)
        if self._set(self.fd, _TFD_TIMER_ABSTIME, self._reference, None) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"timerfd_settime for {t!r}: {os.strerror(code)}")

    def abandon(self) -> None:
        """This is a forked child, which has its own timers."""
        self.close()

    def close(self) -> None:
        """Give the descriptor back; once is enough, more does no harm."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_timer() -> TimerFd | None:
    """A new timer, or None where there is none to be had (another platform, no descriptors left)."""
    library = _c_library()
    create, settime = getattr(library, "timerfd_create", None), getattr(library, "timerfd_settime", None)
    if create is None or settime is None:
        return None
    # In one step, so that a fork at this moment does not inherit it; Linux has both.
    fd = create(_CLOCK_MONOTONIC, getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
    return TimerFd(fd, settime) if fd >= 0 else None
