"""``qmi monitor --plot``: what comes, drawn in the terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from qmi.errors import QMI_MissingLibraryException
from qmi.runtime.flags import Flag
from qmi.tools.cli.news import News

if TYPE_CHECKING:
    from qmi.data.plot_drawing import Drawing

_PAUSE = 0.1
"""How long a drawing stays at least, in seconds."""


def check_library() -> None:
    """Refuse to draw without what drawing needs.

    Raises:
        QMI_MissingLibraryException: If it is not installed.
    """
    if "numpy" not in sys.modules and find_spec("numpy") is None:
        raise QMI_MissingLibraryException(
            "Plots need the Python package 'numpy', which is not installed: pip install 'qmi-trio[numpy]'"
        )


def columns_of(news: News, units: Mapping[str, str]) -> dict[str, object]:
    """The values of what came, by the names of their curves: a signal with several arguments has one for each.

    Args:
        news: What came.
        units: The units of the curves.
    """
    values = news.value if news.what == "signal" and isinstance(news.value, tuple) else (news.value,)
    names = [news.name] if len(values) == 1 else [f"{news.name}[{index}]" for index in range(len(values))]
    return {name: value for name, value in zip(names, values, strict=True) if name in units}


class LivePlot:
    """A drawing that is renewed in its place as values come; in a pipe it is drawn once, at the end. ``with`` it.

    A thread draws, so that what comes in quick succession is drawn once, and the last of it is always drawn.

    Args:
        units: The curves, with their units.
        file: Where to.
    """

    def __init__(self, units: Mapping[str, str], file: TextIO) -> None:
        from qmi.data.plot_drawing import Drawer, RunToDraw
        from qmi.data.plot_show import Terminal, terminal_size
        from qmi.data.plot_table import Table

        self._units = dict(units)
        self._table = Table(units)
        self._drawer = Drawer(RunToDraw("monitor", "", units))
        self._screen = Terminal(file, lambda: terminal_size(file), pinned=False)
        self._mutex = threading.Lock()  # of the table and the remark, which the thread reads
        self._remark = ""
        self._news: SimpleQueue[None] = SimpleQueue()
        self._ended = Flag()
        self._thread = threading.Thread(target=self._draw_each, name="qmi plot", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._news.put(None)
        self._thread.join()
        if kind is None or kind is KeyboardInterrupt:
            self._screen.show(self.drawing(), last=True)

    def add(self, news: News) -> None:
        """Take in what came: a value, or what there is to say of missing ones."""
        from qmi.data.rows import Row

        with self._mutex:
            if news.is_value:
                values = columns_of(news, self._units)
                moment = datetime.fromtimestamp(news.time, UTC)
                row = Row({name: values.get(name) for name in self._units}, self._table.rows, moment)
                self._table.add([row])
            else:
                self._remark = f"{news.name} {news.text()}"
        if self._news.empty():  # else the thread has not yet looked at the table since it was told
            self._news.put(None)

    def drawing(self) -> Drawing:
        """The drawing of what is there now."""
        from dataclasses import replace

        with self._mutex:
            snapshot, remark = self._table.snapshot(), self._remark
        drawn = self._drawer.draw(snapshot, "")
        count = f"{snapshot.rows:,} value{'' if snapshot.rows == 1 else 's'}"
        notes = drawn.subtitle.partition("; ")[2]  # what could not be shown
        return replace(drawn, subtitle="; ".join(filter(None, (count, remark, notes))))

    def _draw_each(self) -> None:
        while not self._ended.is_set():
            self._news.get()  # before the table is looked at: what comes from now on is drawn the next time
            if not self._ended.is_set():
                self._screen.show(self.drawing(), last=False)
            self._ended.wait(_PAUSE)
