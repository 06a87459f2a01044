"""A link for tests of who reads: one byte is one message."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from qmi.net.protocol.events import Event, PeerLost
from qmi.net.protocol.link_ends import LossKind
from qmi.runtime.doorbell import Doorbell, Idler

LOST = PeerLost(LossKind.DISCONNECTED, "gone")


class LetterLink:
    """A letter is handled by whoever reads, "!" is for the loop only, "*" is handled by code with a fault."""

    def __init__(self) -> None:
        self.far, self.near = socket.socketpair()
        self.near.setblocking(False)
        self.is_up = True
        self.is_wanted_by_loop = False
        self.is_amid = False
        self.volume = 0
        self.holds_more = False
        self.read: list[tuple[str, str]] = []
        self.calls = 0
        self.freed = 0
        self.came = threading.Condition()

    @property
    def is_for_threads(self) -> bool:
        return self.is_up and not self.is_wanted_by_loop

    def descriptor(self) -> int:
        return self.near.fileno()

    def read_once(self) -> tuple[bool, list[Event]]:
        try:
            letter = self.near.recv(1).decode()
        except BlockingIOError:
            return False, []
        if not letter:
            self.is_up = False
            return False, [LOST]
        if letter == "!":
            return False, [LOST]
        if letter == "*":
            raise ValueError("a bug")
        with self.came:
            self.read.append((letter, threading.current_thread().name))
            self.came.notify_all()
        return self.holds_more, []

    def call_loop(self) -> None:
        self.calls += 1

    def free(self) -> None:
        self.freed += 1

    def letters(self) -> str:
        return "".join(letter for letter, _ in self.read)

    def has(self, number: int) -> bool:
        return len(self.read) >= number

    def wait_for(self, letters: str) -> None:
        with self.came:
            assert self.came.wait_for(lambda: self.letters() == letters, 10), self.letters()


class AnsweredThread:
    """The calling thread, of an object that has answered. It has something to do once it was given it or read a letter.

    Args:
        link: What it reads; None: what it reads is for others.
    """

    def __init__(self, link: LetterLink | None = None) -> None:
        self.bell = Doorbell()
        self.idle: Callable[[Idler], object] | None = None
        self.given = False
        self._link = link
        self._before = 0 if link is None else len(link.read)

    def is_wanted(self) -> bool:
        return self.given or (self._link is not None and len(self._link.read) > self._before)

    def give(self) -> None:
        self.given = True
        self.bell.ring()
