"""The program that draws a run: another process, which the measuring one starts and never waits for.

It follows the run by itself, in a session of its own, so that neither Ctrl-C nor the end of this program ends it; and
what becomes of it (closed, killed, stopped) is nothing to the run. What it has to know travels through its standard
input. Threads of this program only wait: one for its end, and in a notebook one for its pictures.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import IO, Final

from qmi.errors import QMI_RecordingException

_logger = logging.getLogger("qmi.data")

PROGRAM: Final = "qmi.tools.plotter"
FRAME: Final = struct.Struct("<cI")
"""Begins a picture that is sent through a pipe: :data:`PNG` or :data:`TEXT`, and its length."""
PNG: Final = b"P"
TEXT: Final = b"T"
_MAX_ERROR: Final = 4000
_INLINE: Final = ("module://matplotlib_inline", "inline", "module://ipykernel")


@dataclass(frozen=True)
class PlotOrder:
    """What the program is to draw, and where.

    Attributes:
        run: The id of the run.
        x: What is on the horizontal axis; two columns for an image; empty for the usual.
        y: What is drawn; empty for the usual.
        folder: The folder of the run; empty if it is followed over a link.
        context: The context that the run is followed from; empty for a run of this computer.
        address: Where that context is.
        config_file: The configuration for the link; empty without one.
        live: Whether it is drawn until the run ends, or once.
        target: "window", "file", "pipe" (pictures for a notebook) or "terminal".
        file: The file.
        text: Whether pictures for a notebook are texts.
    """

    run: str
    x: tuple[str, ...] = ()
    y: tuple[str, ...] = ()
    folder: str = ""
    context: str = ""
    address: str = ""
    config_file: str = ""
    live: bool = True
    target: str = "window"
    file: str = ""
    text: bool = False

    def to_json(self) -> str:
        """As it travels."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PlotOrder:
        """What has travelled."""
        values = json.loads(text)
        return cls(**{**values, "x": tuple(values["x"]), "y": tuple(values["y"])})


class Plot:
    """A plot that another process draws.

    It is closed by closing its window, or by :meth:`close`. When the run has ended, its window stays.
    """

    def __init__(
        self, order: PlotOrder, process: subprocess.Popen[bytes], show: Callable[[bytes, bytes], object]
    ) -> None:
        self._order = order
        self._process = process
        self._show = show
        self._closed = False
        self._errors = b""
        self._watcher = threading.Thread(target=self._watch, name=f"plot of {order.run}", daemon=True)
        self._watcher.start()

    def __repr__(self) -> str:
        return f"<plot of run {self._order.run}: {'open' if self.is_open else 'closed'}>"

    @property
    def is_open(self) -> bool:
        """Whether it is still drawn, or its window still open."""
        return self._watcher.is_alive()

    @property
    def pid(self) -> int:
        """The number of the process that draws it."""
        return self._process.pid

    def close(self) -> None:
        """End the process that draws it, and with it the window; does not wait for it."""
        self._closed = True
        self._process.kill()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is closed.

        Args:
            timeout: How long, in seconds; None for as long as it takes.

        Returns:
            Whether it is closed.
        """
        self._watcher.join(timeout)
        return not self._watcher.is_alive()

    @property
    def error(self) -> str:
        """Why it cannot be drawn; empty if it can."""
        if self.is_open or self._closed or self._process.returncode == 0:
            return ""
        text = self._errors.decode(errors="replace").strip()
        return text.splitlines()[-1] if text else f"its process has ended with {self._process.returncode}"

    def check(self) -> None:
        """Raise what has kept it from being drawn.

        Raises:
            QMI_RecordingException: If something has.
        """
        if self.error:
            raise QMI_RecordingException(f"Run {self._order.run} cannot be plotted: {self.error}")

    # In its thread: nothing of this is waited for, and nothing of it waits for the run.

    def _watch(self) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            with process.stdin as pipe:
                pipe.write(self._order.to_json().encode())
        except OSError:
            pass  # it has died; its end says why
        if process.stdout is not None:
            threading.Thread(target=self._receive, args=(process.stdout,), name="pictures", daemon=True).start()
        with process.stderr as pipe:
            while part := pipe.read1(_MAX_ERROR):  # type: ignore[attr-defined]  # a BufferedReader
                self._errors = (self._errors + part)[-_MAX_ERROR:]
        process.wait()
        if not self._closed and process.returncode > 0:
            text = self._errors.decode(errors="replace").strip().splitlines()
            _logger.warning("Run %s is not plotted any more: %s", self._order.run, text[-1] if text else "it failed")

    def _receive(self, pipe: IO[bytes]) -> None:
        with pipe:
            while len(head := pipe.read(FRAME.size)) == FRAME.size:
                kind, length = FRAME.unpack(head)
                picture = pipe.read(length)
                if len(picture) == length:
                    self._show(kind, picture)


def start_plot(order: PlotOrder, show: Callable[[bytes, bytes], object] | None = None) -> Plot:
    """Start the program.

    Args:
        order: What it is to draw.
        show: For pictures through a pipe: is called with each, in a thread.

    Raises:
        QMI_RecordingException: If no process can be started.
    """
    out: int | None = (
        subprocess.PIPE if show is not None else None if order.target == "terminal" else subprocess.DEVNULL
    )
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.PIPE,
            env=_environment(order),
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    except OSError as error:
        raise QMI_RecordingException(
            f"Run {order.run} cannot be plotted: no process can be started: {error}"
        ) from error
    return Plot(order, process, show or _nothing)


def _nothing(kind: bytes, picture: bytes) -> None:
    """There is no picture through a pipe."""


def _environment(order: PlotOrder) -> dict[str, str]:
    """Variables with which it finds the same libraries as this program."""
    found = dict(os.environ)
    paths = [path or os.getcwd() for path in sys.path]
    found["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    if order.target != "window" or found.get("MPLBACKEND", "").startswith(_INLINE):
        found.pop("MPLBACKEND", None)
    return found
