"""A log that ``qmi log -f`` follows, in this process."""

from __future__ import annotations

import io
import threading
from argparse import Namespace
from collections.abc import Callable
from queue import SimpleQueue

from qmi.core.exceptions import QMI_Exception
from qmi.runtime.flags import Flag
from qmi.tools.cli.log import Follower
from qmi.tools.cli.log_view import LogView
from qmi.tools.cli.session import Laboratory
from qmi.tools.cli.terminal import Terminal


class Followed:
    """A follower in a thread, and what it has to say."""

    def __init__(self, lab: Laboratory, name: str = "lab") -> None:
        self.steps: SimpleQueue[Callable[[], object] | QMI_Exception] = SimpleQueue()
        self.out, self.err = io.StringIO(), io.StringIO()
        self.over = Flag()
        view = LogView(Terminal(self.out, self.err))
        arguments = Namespace(level=0, lines=None, since=None)
        self.follower = Follower(lab, name, arguments, view, self.steps.put, self.over)
        self.thread = threading.Thread(target=self.follower.run)
        self.thread.start()

    def step(self) -> None:
        """Do the next thing."""
        step = self.steps.get(timeout=20)
        if isinstance(step, QMI_Exception):
            raise step
        step()

    def until(self, text: str) -> None:
        """Go on until something was said."""
        while text not in self.out.getvalue() + self.err.getvalue():
            self.step()
