"""Where whoever stands by sleeps until something comes on a link, unless somebody else reads it for itself.

To shut the gate and to open it takes half a microsecond each, and no other thread has to run for it, not even the one
that sleeps there.
"""

from __future__ import annotations

import select
import sys
from typing import Protocol

from qmi.runtime.forks import abandon_in_child


class Poller(Protocol):
    """What ``select.poll()`` makes."""

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait until a descriptor is ready, so many milliseconds at most."""


class ReadGate(Protocol):
    """Readable when the socket is, except while it is shut.

    What comes while it is shut makes it readable when it is opened. The end of a connection makes it readable in any
    case. Only whoever has the right to read shuts and opens it.

    Attributes:
        is_open: Whether it is open.
    """

    is_open: bool

    def fileno(self) -> int:
        """The descriptor that becomes readable."""

    def wait(self, seconds: float) -> bool:
        """Sleep in a thread until there is something that nobody reads for itself, so long at most."""

    def shut(self) -> None:
        """What comes is read by somebody who has the right to."""

    def open(self) -> None:
        """What comes is for whoever stands by."""

    def poller(self, *others: int) -> Poller:
        """Return what waits for the socket itself, for whoever has the right to read, and for other descriptors."""

    def close(self) -> None:
        """Nobody sleeps there any more."""


class SocketSet(Protocol):
    """Some sockets, and on which of them something has come."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when one of the sockets is."""

    def add(self, descriptor: int) -> None:
        """Let a socket in.

        Raises:
            OSError: If the system does not take it.
        """

    def remove(self, descriptor: int) -> None:
        """Take a socket out, which is still open."""

    def ready(self, most: int) -> list[int]:
        """Return those on which something has come, so many at most; others of them come first the next time."""

    def close(self) -> None:
        """Nobody asks any more."""


if sys.platform == "linux":

    class EpollSet:
        """An epoll instance. For Linux alone.

        Raises:
            OSError: If the system has no descriptor left.
        """

        __slots__ = ("_epoll",)

        def __init__(self) -> None:
            self._epoll = select.epoll()

        def fileno(self) -> int:
            """A descriptor that becomes readable when one of the sockets is."""
            return self._epoll.fileno()

        def add(self, descriptor: int) -> None:
            """Let a socket in."""
            self._epoll.register(descriptor, select.EPOLLIN)

        def remove(self, descriptor: int) -> None:
            """Take a socket out."""
            self._epoll.unregister(descriptor)

        def ready(self, most: int) -> list[int]:
            """Return those on which something has come."""
            return [descriptor for descriptor, _ in self._epoll.poll(0, most)]

        def close(self) -> None:
            """Give the descriptor back."""
            self._epoll.close()

    class EpollGate:
        """A gate: an epoll instance with one socket. For Linux alone; elsewhere the loop reads all links.

        Args:
            descriptor: The socket.

        Raises:
            OSError: If the system has no descriptor left.
        """

        __slots__ = ("__weakref__", "_descriptor", "_epoll", "is_open")

        def __init__(self, descriptor: int) -> None:
            self._descriptor = descriptor
            self.is_open: bool = True
            self._epoll = select.epoll()
            try:
                self._epoll.register(descriptor, select.EPOLLIN)
            except OSError:
                self._epoll.close()
                raise
            abandon_in_child(self)

        def fileno(self) -> int:
            """The descriptor that becomes readable."""
            return self._epoll.fileno()

        def wait(self, seconds: float) -> bool:
            """Sleep in a thread."""
            return bool(self._epoll.poll(seconds, 1))

        def shut(self) -> None:
            """Whoever has the right reads."""
            if self.is_open:
                self.is_open = False
                self._epoll.modify(self._descriptor, 0)

        def open(self) -> None:
            """Whoever stands by reads."""
            if not self.is_open:
                self.is_open = True
                self._epoll.modify(self._descriptor, select.EPOLLIN)

        def poller(self, *others: int) -> Poller:
            """Return what waits for the socket itself, and for others; it keeps nothing open."""
            poller = select.poll()
            for descriptor in (self._descriptor, *others):
                poller.register(descriptor, select.POLLIN)
            return poller

        def close(self) -> None:
            """Give the descriptor back."""
            self._epoll.close()

        def abandon(self) -> None:
            """This is a forked child, which must not shut or open the gate of its parent."""
            self._epoll.close()
