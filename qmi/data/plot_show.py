"""Follows a run and shows it again and again: in a window, a file, a terminal, or through a pipe to a notebook."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, TextIO

from qmi.data.plot_drawing import Drawer, Drawing, RunToDraw
from qmi.data.plot_process import FRAME, PNG, TEXT, PlotOrder
from qmi.data.plot_table import Table
from qmi.data.plot_text import Style, draw_text
from qmi.data.rows import Row
from qmi.data.whole_files import temporary_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHORTEST: Final = 0.2
"""The shortest time between two pictures, in seconds."""
_SHARE: Final = 4
"""How many times as long as a picture takes there is none."""
_SIZE: Final = (8.0, 5.0)


class Followed(Protocol):
    """A run that is followed, as :class:`~qmi.data.follower.Follower` does it."""

    @property
    def run_id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def state(self) -> str:
        """How it is; "running" until its last row was read."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Units of the columns by their names."""

    @property
    def coordinates(self) -> Sequence[str]:
        """The names of the coordinates."""

    @property
    def axes(self) -> Mapping[str, Mapping[str, tuple[str, Any]]]:
        """For columns of arrays: their axes."""

    def read(self, timeout: float | None = None) -> list[Row]:
        """The rows that are there now."""


class Target(Protocol):
    """Where drawings are shown."""

    def show(self, drawing: Drawing, *, last: bool) -> None:
        """Show a drawing; the last one stays."""


class Picture:
    """What is to be drawn of a run that is followed.

    Args:
        follower: The run.
        order: What of it.
    """

    def __init__(self, follower: Followed, order: PlotOrder) -> None:
        run = RunToDraw(follower.name, follower.run_id, follower.columns, follower.coordinates, follower.axes)
        x, y = list(order.x) or None, list(order.y) or None
        self._follower = follower
        self._live = order.live
        self._table = Table(run.columns, cells=run.makes_cells(x))
        self._drawer = Drawer(run, x, y)
        self._mutex = threading.Lock()
        self._shown: tuple[int, str] | None = None

    def read(self, timeout: float) -> bool:
        """Take rows in that are there, or come in time; False if there will be no more that are wanted."""
        rows = self._follower.read(timeout=timeout if self._live else 0.0)
        with self._mutex:
            self._table.add(rows)
        return self._follower.state == "running" and (self._live or bool(rows))

    def draw(self) -> Drawing | None:
        """The drawing of what is there now; None if it would be the same as before."""
        state = self._follower.state
        with self._mutex:
            if self._shown == (self._table.rows, state):
                return None
            self._shown = (self._table.rows, state)
            snapshot = self._table.snapshot()
        return self._drawer.draw(snapshot, state)


def draw_until_end(
    follower: Followed, order: PlotOrder, target: Target, clock: Callable[[], float] = time.monotonic
) -> None:
    """Show a run until it ends, and the last drawing of it."""
    picture = Picture(follower, order)
    due = clock()
    more = True
    drawing: Drawing | None = None
    while more:
        more = picture.read(max(0.0, min(SHORTEST, due - clock())) or SHORTEST)
        if clock() < due and more:
            continue
        begun = clock()
        drawing = picture.draw() or (None if more else drawing)
        if drawing is not None and more:
            target.show(drawing, last=False)
        due = clock() + max(SHORTEST, _SHARE * (clock() - begun))
    if drawing is not None:
        target.show(drawing, last=True)


# Terminals


class Terminal:
    """A terminal, in which the drawing is renewed in its place; or a pipe, to which the last one is written.

    Args:
        file: Where to.
        size: Tells the size, in characters and lines.
        pinned: Draw at the top of the screen, and leave the cursor where it is, for others who write there as well.
    """

    def __init__(self, file: TextIO, size: Callable[[], os.terminal_size], *, pinned: bool) -> None:
        self._file = file
        self._size = size
        self._pinned = pinned
        self._terminal = file.isatty()
        encoding = (getattr(file, "encoding", None) or "ascii").lower().replace("-", "")
        self._style = Style(colour=self._terminal and _wants_colour(), fine=encoding.startswith("utf"))
        self._drawn = 0
        self._last_size: os.terminal_size | None = None

    def show(self, drawing: Drawing, *, last: bool) -> None:
        """Draw it."""
        size = self._size()
        if not self._terminal:
            if last:
                self._write("\n".join(draw_text(drawing, size.columns, max(size.lines, 24), self._style)) + "\n")
            return
        height = size.lines // 2 if self._pinned else size.lines - 1
        lines = draw_text(drawing, size.columns - 1, height, self._style)
        text = ""
        if self._last_size is None and self._pinned:  # so that who writes next does so below the drawing
            text = "\n" * (height + 1)
        elif self._last_size not in (size, None):  # lines may have been broken in two
            text = "\x1b[2J\x1b[H"
            self._drawn = 0
            text += "\n" * (height + 1) if self._pinned else ""
        self._last_size = size
        if self._pinned:
            lines += [""] * (self._drawn - len(lines))
            text += "\x1b7\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in lines) + "\x1b8"
        else:
            text += (f"\x1b[{self._drawn}A\r" if self._drawn else "") + "".join(f"{line}\x1b[K\n" for line in lines)
            text += "\x1b[J"
        self._drawn = len(lines)
        self._write(text)

    def _write(self, text: str) -> None:
        # With one write, so that what others write to the terminal comes before or after it.
        encoding = getattr(self._file, "encoding", None) or "ascii"
        self._file.write(text.encode(encoding, "replace").decode(encoding))
        self._file.flush()


def _wants_colour() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("", "dumb")


# matplotlib


def _figure() -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


class File:
    """A file, which is replaced when a new one is whole.

    Args:
        path: The file; its ending says of which kind.
    """

    def __init__(self, path: Path) -> None:
        from qmi.data.plot_figure import FigurePainter

        self._path = path
        self._figure = _figure()
        self._painter = FigurePainter(self._figure)

    def show(self, drawing: Drawing, *, last: bool) -> None:
        """Write it.

        Raises:
            OSError: If it cannot be written.
            ValueError: If matplotlib does not know this kind of file.
        """
        self._painter.paint(drawing)
        with temporary_file(self._path) as part:
            self._figure.savefig(part, dpi=150, format=self._path.suffix[1:] or "png")
            os.replace(part, self._path)


class Frames:
    """A pipe, which pictures for a notebook go through.

    Args:
        pipe: The pipe.
        text: Whether they are texts.
    """

    def __init__(self, pipe: IO[bytes], *, text: bool) -> None:
        self._pipe = pipe
        self._text = text
        if not text:
            from qmi.data.plot_figure import FigurePainter

            self._figure = _figure()
            self._painter = FigurePainter(self._figure)

    def show(self, drawing: Drawing, *, last: bool) -> None:
        """Send it.

        Raises:
            OSError: If nobody is there any more.
        """
        if self._text:
            kind, data = TEXT, "\n".join(draw_text(drawing, 100, 30, Style(colour=False))).encode()
        else:
            self._painter.paint(drawing)
            buffer = io.BytesIO()
            self._figure.savefig(buffer, format="png", dpi=90)
            kind, data = PNG, buffer.getvalue()
        self._pipe.write(FRAME.pack(kind, len(data)) + data)
        self._pipe.flush()


class Window:
    """A window of matplotlib, whose main loop runs in this thread; a thread of its own follows the run.

    Args:
        follower: The run.
        order: What is to be drawn of it.
    """

    def __init__(self, follower: Followed, order: PlotOrder) -> None:
        self._picture = Picture(follower, order)
        self._name = follower.name
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Open it, and return when it was closed.

        Raises:
            RuntimeError: If no window can be opened.
            Exception: If the run cannot be followed, or not be drawn.
        """
        from matplotlib import get_backend, pyplot

        from qmi.data.plot_figure import FigurePainter

        figure = pyplot.figure(self._name, figsize=_SIZE, layout="constrained")
        if figure.canvas.manager is None or not hasattr(type(figure.canvas), "required_interactive_framework"):
            raise RuntimeError(f"the backend {get_backend()} opens no windows")
        if type(figure.canvas).required_interactive_framework is None and get_backend().lower() not in ("webagg",):
            raise RuntimeError(
                f"matplotlib has found no toolkit for windows (its backend is {get_backend()}): "
                "pip install PyQt6, or install the tkinter of this Python"
            )
        painter = FigurePainter(figure)
        timer = figure.canvas.new_timer(interval=int(1000 * SHORTEST))
        busy_until = 0.0

        def renew() -> None:
            nonlocal busy_until
            begun = time.monotonic()
            if begun < busy_until:
                return
            if self._failure is not None:
                pyplot.close(figure)
                return
            drawing = self._picture.draw()
            if drawing is not None:
                painter.paint(drawing)
                figure.canvas.draw()
            now = time.monotonic()
            busy_until = now + _SHARE * (now - begun)

        def failing() -> None:
            try:
                renew()
            except Exception as error:  # noqa: BLE001 - toolkits print what their callbacks raise, and go on
                self._failure = error
                pyplot.close(figure)

        timer.add_callback(failing)
        threading.Thread(target=self._follow, name="follower", daemon=True).start()
        timer.start()
        pyplot.show(block=True)
        if self._failure is not None:
            raise self._failure

    def _follow(self) -> None:
        try:
            while self._picture.read(SHORTEST):
                pass
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self._failure = error


def terminal_size(file: TextIO) -> os.terminal_size:
    """The size of the terminal that a file is."""
    try:
        return os.get_terminal_size(file.fileno())
    except OSError:
        return os.terminal_size((80, 24))


def standard_terminal(*, pinned: bool) -> Terminal:
    """The terminal of this program."""
    return Terminal(sys.stdout, lambda: terminal_size(sys.stdout), pinned=pinned)
