"""The time that a simulated device goes by: real, that of the context, of trio, or one that a test has put there."""

from __future__ import annotations

import time
from types import BuiltinFunctionType
from typing import Protocol, runtime_checkable

import trio

_LEAST_STEP = 1e-9
"""By how much a virtual clock is moved on at least: a time that is due could be missed by a rounding for ever."""


@runtime_checkable
class VirtualTime(Protocol):
    """A clock that somebody moves on; :class:`qmi.actors.clock.virtual.VirtualClock` is one."""

    def now(self) -> float:
        """The time, in seconds."""

    def advance(self, seconds: float) -> None:
        """Move the time on."""


class DeviceClock:
    """The time of a simulated device.

    Args:
        clock: The clock of the context. It counts if it is virtual; otherwise time is real, or that of trio's clock.
    """

    def __init__(self, clock: object = None) -> None:
        self._clock = clock if isinstance(clock, VirtualTime) else None

    def now(self) -> float:
        """The time, in seconds."""
        if self._clock is not None:
            return self._clock.now()
        # The clock of a test that jumps over waits; all that uses the device then runs in its loop.
        if trio.lowlevel.in_trio_run() and hasattr(trio.lowlevel.current_clock(), "jump"):
            return trio.current_time()
        return time.monotonic()

    @property
    def is_virtual(self) -> bool:
        """Whether time is none that passes by itself, or a test has put another clock into :mod:`time`."""
        return self._clock is not None or not isinstance(time.sleep, BuiltinFunctionType)

    def advance(self, seconds: float) -> bool:
        """Move the time on, if it is virtual, and say whether it was; nobody else moves it meanwhile."""
        if self._clock is not None:
            self._clock.advance(max(seconds, _LEAST_STEP))
            return True
        if not self.is_virtual:
            return False
        # A clock that sleeping moves; if it does not move, time is real after all.
        before = time.monotonic()
        time.sleep(max(seconds, _LEAST_STEP))
        return time.monotonic() > before

    # What transports wait by, under the names that they use.

    def monotonic(self) -> float:
        """The time, in seconds."""
        return self.now()

    def sleep(self, seconds: float, /) -> None:
        """Wait in a thread."""
        if not self.advance(seconds):
            time.sleep(seconds)


class AsyncDeviceClock:
    """The same for the event loop.

    Args:
        clock: The time of the device.
    """

    def __init__(self, clock: DeviceClock) -> None:
        self._device = clock

    def current_time(self) -> float:
        """The time, in seconds."""
        return self._device.now()

    async def sleep(self, seconds: float) -> None:
        """Wait in the event loop."""
        if self._device.advance(seconds):
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(seconds)
