"""Wakes a thread that sleeps on a descriptor as well as on what other threads give it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol


class Doorbell:
    """A descriptor that becomes readable when somebody rings, if its thread listens.

    The thread sets :attr:`is_listening`, looks whether there is something to do, and sleeps; whoever has something for
    it puts that where it looks, and rings then. So either the thread finds it, or it is woken.

    Attributes:
        is_listening: Whether to ring is of any use.
    """

    __slots__ = ("_descriptor", "is_listening")

    def __init__(self) -> None:
        self.is_listening: bool = False
        self._descriptor = -1

    def fileno(self) -> int:
        """The descriptor, opened when it is asked for first; negative where there is none.

        Raises:
            OSError: If the system has no descriptor left.
        """
        if self._descriptor < 0 and sys.platform == "linux" and hasattr(os, "eventfd"):
            self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return self._descriptor

    def ring(self) -> None:
        """Wake the thread, if it listens. From any thread, without the thread's having to run for it."""
        if self.is_listening and sys.platform == "linux":
            with suppress(BlockingIOError):  # it has rung very often already
                os.eventfd_write(self._descriptor, 1)

    def answer(self) -> bool:
        """Whether somebody has rung since the last time."""
        if sys.platform == "linux" and self._descriptor >= 0:
            with suppress(BlockingIOError):
                os.eventfd_read(self._descriptor)
                return True
        return False

    def __del__(self) -> None:
        # Not before nobody can ring any more: the number may be that of another file then.
        if self._descriptor >= 0:
            os.close(self._descriptor)


class Idler(Protocol):
    """A thread that has just answered a request, and has nothing to do until the next one.

    Attributes:
        idle: Where it waits when it has dropped what it has answered; set in this thread.
    """

    idle: Callable[[Idler], object] | None

    @property
    def bell(self) -> Doorbell:
        """Rung by whoever gives it something to do."""

    @property
    def is_wanted(self) -> Callable[[], object]:
        """Tells whether it has something to do. It is asked several times for each message."""
