"""What goes on until q or Ctrl-C: a terminal shows the newest state in place, a pipe gets one after the other."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from qmi.errors import QMI_Exception
from qmi.runtime.flags import GLANCE, Flag
from qmi.tools.cli.terminal import Block, Terminal, Text

T = TypeVar("T")

_GLANCE = 0.2
"""Where the system cannot wait for a key and for news at once: how often it is looked for keys, in seconds."""


def watch(
    look: Callable[[], T],
    show: Callable[[T], None],
    draw: Callable[[T], Sequence[Block]],
    terminal: Terminal,
    interval: float,
) -> None:
    """Look again and again, and show what is seen, until q or Ctrl-C.

    Args:
        look: Looks once; called in another thread. An error of it is shown, and it is called again.
        show: Prints what was seen, where there is no terminal or JSON is wanted.
        draw: What a terminal shows.
        terminal: Where to show it.
        interval: Seconds between two looks.
    """
    with suppress(KeyboardInterrupt), Looker(look, interval) as looker:
        if terminal.is_terminal and not terminal.json:
            _draw_each(looker, draw, terminal)
            return
        while True:
            seen = looker.next()
            if isinstance(seen, QMI_Exception):
                terminal.error(str(seen))
            elif seen is not None:
                show(seen)
                terminal.flush()


def _draw_each(looker: Looker[T], draw: Callable[[T], Sequence[Block]], terminal: Terminal) -> None:
    from rich.live import Live

    # Drawn only when there is something new: nothing flickers, and a slow line carries little.
    with (
        _single_keys() as keys,
        Live(console=terminal.console, auto_refresh=False, vertical_overflow="ellipsis") as live,
    ):
        while True:
            seen = looker.next(keys)
            if seen is None:
                return
            blocks = [Text(str(seen), "red")] if isinstance(seen, QMI_Exception) else draw(seen)
            live.update(terminal.drawn(blocks), refresh=True)


class Looker(Generic[T]):
    """A thread that looks again and again; whoever waits for what it saw can be interrupted. ``with`` it.

    Args:
        look: Looks once.
        interval: Seconds between two looks.
    """

    def __init__(self, look: Callable[[], T], interval: float) -> None:
        self._look = look
        self._interval = interval
        self._seen: SimpleQueue[T | Exception] = SimpleQueue()
        self._ended = Flag()
        self._news, self._bell = os.pipe()
        # A daemon, and not waited for: a context that does not answer must not keep the command from its end.
        self._thread = threading.Thread(target=self._run, name="qmi watch", daemon=True)

    def __enter__(self) -> Looker[T]:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Look no more."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._seen.put(self._look())
            except Exception as error:  # noqa: BLE001 - raised again by next(), who would wait for ever otherwise
                self._seen.put(error)
            os.write(self._bell, b"!")
            self._ended.wait(self._interval)

    def next(self, keys: int | None = None) -> T | QMI_Exception | None:
        """Wait for what is seen next; None if q was pressed.

        Args:
            keys: The file of a keyboard; None is none.

        Raises:
            Exception: What the look raised, if it is no error of this library.
        """
        while sys.platform != "win32":
            # Not without end: Ctrl-C between Python's last look and the sleep would not end it.
            ready, _, _ = select.select([self._news] if keys is None else [self._news, keys], [], [], GLANCE)
            if keys in ready and os.read(keys or 0, 32)[:1] in (b"q", b"Q", b""):
                return None
            if self._news in ready:
                os.read(self._news, 1)
                return _answer(self._seen.get())
        while True:  # there, select takes sockets alone: glance at the keyboard
            with suppress(Empty):
                return _answer(self._seen.get(timeout=_GLANCE))
            if _pressed() in (b"q", b"Q"):
                return None


def _answer(seen: T | Exception) -> T | QMI_Exception:
    if isinstance(seen, Exception) and not isinstance(seen, QMI_Exception):
        raise seen
    return seen


def _pressed() -> bytes:
    if sys.platform == "win32":
        import msvcrt

        if msvcrt.kbhit():
            return msvcrt.getch()
    return b""


@contextmanager
def _single_keys() -> Iterator[int | None]:
    """Let keys come without Enter, and unseen; gives the file that they come from, if there is a keyboard."""
    # In the background, whoever reads a key is stopped.
    if sys.platform != "win32" and sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp():
        import termios
        import tty

        keyboard = sys.stdin.fileno()
        before = termios.tcgetattr(keyboard)
        tty.setcbreak(keyboard)
        try:
            yield keyboard
        finally:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
    else:
        yield None
