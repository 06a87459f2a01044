"""A process that was started here, until its end, and how it ended."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from qmi.runtime.flags import Flag

if TYPE_CHECKING:
    import subprocess


def restore_ctrl_c() -> None:
    """Let programs that are started from now on receive SIGINT, even if this one ignores it.

    A shell's background job ignores it, and so would all that it starts: such a program without a port could not be
    asked to stop. To be called from the main thread.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Child:
    """A process that we started; a thread waits for its end, so that it never stays behind as a zombie.

    Attributes:
        pid: Its number.
        output: The file that it writes to.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.pid: int = process.pid
        self.output = output
        self._process = process
        self._ended = Flag()
        # A daemon: the program outlives us, so our exit must not wait for it.
        threading.Thread(target=self._reap, name=f"reap {process.pid}", daemon=True).start()

    def _reap(self) -> None:
        self._process.wait()
        self._ended.set()

    def ended_within(self, seconds: float) -> bool:
        """Wait for its end, at most so many seconds; return whether it has ended."""
        return self._ended.wait(seconds)

    def how_it_ended(self) -> str:
        """Say so in words, after its end."""
        return how_it_ended(self._process.returncode)


def how_it_ended(code: int | None) -> str:
    """How a process has ended, in words.

    Args:
        code: Its exit status; negative for the number of a signal.
    """
    if code is not None and code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit status {code}"
