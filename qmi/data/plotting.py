"""Plots of runs: while they are measured, and afterwards."""

from __future__ import annotations

import base64
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from qmi.data.follower import Follower, follow
from qmi.data.plot_layout import Names, check_axes, names_in
from qmi.data.plot_process import PNG, Plot, PlotOrder, start_plot
from qmi.data.run_folder import RunFolder
from qmi.data.run_index import RunInfo
from qmi.data.run_metadata import active_context
from qmi.errors import (
    QMI_Exception,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_MissingLibraryException,
    QMI_UnknownNameException,
)
from qmi.runtime.wakeup import refuse_on_loop

_WITHOUT_WINDOWS: Final = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")


def plot(
    run: str | RunInfo,
    x: Names = None,
    y: Names = None,
    *,
    context: str | None = None,
    folder: str | Path | None = None,
    live: bool = True,
    term: bool = False,
    file: str | Path | None = None,
) -> Plot | None:
    """Draw a run, while it is measured or afterwards.

    It is drawn by another process, in a window, or in a notebook below the cell. Coordinates are on the horizontal
    axis, else the time of the rows; two coordinates that fill a grid make an image, and so does a column of arrays.

    Args:
        run: The id of a run; or a name, for the newest run of that name; or an entry of :func:`runs`.
        x: The column on the horizontal axis, ``"time"`` for the times of the rows, or two columns for an image.
        y: The columns to draw; None for all numbers. ``"trace[-1]"`` is the last array of a column of arrays.
        context: The context that records the run, or that is connected to the one that does; None: a run of this
            computer, or else of a connected context.
        folder: Where the run is on this computer; as for :func:`run`.
        live: Follow the run until it ends; False draws the rows that are there now.
        term: Draw in the terminal, until the run ends; Ctrl-C ends that. In a pipe it is drawn once, at the end.
        file: Draw into a file, such as ``"cooldown.png"`` or ``"cooldown.pdf"``: for a run that has ended, or with
            ``live=False``, the file is there when this returns; else it is renewed until the run ends.

    Returns:
        The plot; None in a terminal.

    Raises:
        QMI_InvalidValueException: If there is no such column.
        QMI_UnknownNameException: If there is no such run.
        QMI_MissingLibraryException: If matplotlib is not installed.
        QMI_InvalidOperationException: If no window can be opened here.
        QMI_RecordingException: If the file cannot be written.
    """
    refuse_on_loop("qmi.data.plot()", "await trio.to_thread.run_sync(qmi.data.plot, ...)")
    if not term:
        check_place(file)
    found, place, peer = _find(run, context, folder)
    with found:
        check_axes(list(found.columns), x, y)
        running = found.state == "running" and not _has_ended(found, place)
        order = PlotOrder(
            found.run_id, tuple(names_in(x)), tuple(names_in(y)), place, *_link(peer), live, file=_absolute(file)
        )
    if term and not _kernel():
        _in_terminal(order)
        return None
    return show_plot(order, term=term, running=running)


def plot_of_run(
    run_id: str,
    folder: Path,
    columns: Mapping[str, str],
    x: Names,
    y: Names,
    *,
    live: bool,
    term: bool,
    file: str | Path | None,
    running: bool,
) -> Plot:
    """Draw a run of this program; it only starts the process that draws."""
    check_axes(list(columns), x, y)
    if not term:
        check_place(file)
    order = PlotOrder(
        run_id, tuple(names_in(x)), tuple(names_in(y)), os.fspath(folder), live=live, file=_absolute(file)
    )
    return show_plot(order, term=term, running=running)


def show_plot(order: PlotOrder, *, term: bool, running: bool) -> Plot:
    """Start drawing, where there is room for it.

    Args:
        order: What is to be drawn.
        term: In the terminal, or as text in a notebook.
        running: Whether the run goes on.
    """
    values = {**vars(order), "target": "terminal" if term else "window"}
    if order.file:
        shown = start_plot(PlotOrder(**{**values, "target": "file"}))
        if not (running and order.live):
            shown.wait()
            shown.check()
        return shown
    if _kernel():
        return start_plot(PlotOrder(**{**values, "target": "pipe", "text": term}), _cell())
    return start_plot(PlotOrder(**values))


_ENDINGS = ("png", "pdf", "svg", "jpg", "jpeg", "eps", "ps", "tif", "tiff", "webp", "gif", "avif", "svgz", "pgf")
"""The kinds of files that matplotlib makes of a figure; which is not asked for them, since its import takes long."""


def check_place(file: str | Path | None) -> None:
    """See whether there is what windows, or files, need; nothing is imported for that.

    Raises:
        QMI_MissingLibraryException: If matplotlib is not installed.
        QMI_InvalidOperationException: If there is no window system.
        QMI_InvalidValueException: If the file is of no known kind, or its folder does not exist.
    """
    if "matplotlib" not in sys.modules and find_spec("matplotlib") is None:
        raise QMI_MissingLibraryException(
            "Plots need the Python package 'matplotlib', which is not installed: pip install 'qmi-trio[plot]'; "
            "term=True draws in the terminal without it"
        )
    if file is not None:
        parent = Path(file).absolute().parent
        if not parent.is_dir():
            raise QMI_InvalidValueException(f"file must be in a folder that exists, got {os.fspath(file)!r}")
        ending = Path(file).name.rpartition(".")[2] if "." in Path(file).name else "png"
        if ending.lower() not in _ENDINGS:
            raise QMI_InvalidValueException(
                f"file must end with one of {', '.join(f'.{known}' for known in _ENDINGS)}, got {os.fspath(file)!r}"
            )
        return
    if _kernel():
        return
    instead = 'term=True draws in the terminal, file="plot.png" into a file'
    backend = os.environ.get("MPLBACKEND", "").lower()
    if backend in _WITHOUT_WINDOWS:
        raise QMI_InvalidOperationException(f"MPLBACKEND is {backend!r}, which opens no windows: {instead}")
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform == "linux" and backend != "webagg" and not any(os.environ.get(name) for name in displays):
        raise QMI_InvalidOperationException(
            f"There is no window system here ({' and '.join(displays)} are not set, as over SSH): {instead}"
        )


def _find(run: str | RunInfo, context: str | None, folder: str | Path | None) -> tuple[Follower, str, str]:
    """A follower of the run, and where it is: a folder of this computer, or a context."""
    own = active_context()
    if context is not None and (own is None or context != own.name):
        return _opened(follow(run, context=context)), "", context
    if isinstance(run, RunInfo) and folder is None:
        folder = run.file.parent.parent
    place = RunFolder(folder).path
    try:
        return _opened(follow(run, folder=place)), os.fspath(place), ""
    except QMI_UnknownNameException:
        if own is None or folder is not None or context is not None:
            raise
        for name in own.async_context.connections.names():
            try:
                return _opened(follow(run, context=name)), "", name
            except QMI_Exception:  # it has no such run, or does not answer
                continue
        raise


def _opened(follower: Follower) -> Follower:
    return follower.__enter__()


def _has_ended(follower: Follower, folder: str) -> bool:
    return bool(folder) and RunFolder(folder).file_of(follower.run_id).exists()


def _link(peer: str) -> tuple[str, str, str]:
    """The context that another process is to follow the run from, where it is, and the configuration for that."""
    own = active_context()
    if not peer or own is None:
        return "", "", ""
    return peer, own.async_context.connections.address_of(peer), own.get_config().config_file or ""


def _absolute(file: str | Path | None) -> str:
    return "" if file is None else os.path.abspath(Path(file).expanduser())


def _in_terminal(order: PlotOrder) -> None:
    """Follow the run in this terminal, in this program."""
    from qmi.data.plot_show import Terminal, draw_until_end

    with follow(order.run, folder=order.folder or None, context=order.context or None) as follower:
        draw_until_end(follower, order, Terminal(sys.stdout, shutil.get_terminal_size, pinned=False))


# Notebooks


class Shown(Protocol):
    """What a notebook has shown, and can change."""

    def update(self, data: dict[str, object], /, *, raw: bool) -> object:
        """Show this instead."""


def _kernel() -> bool:
    """Whether this is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None


def _cell() -> Callable[[bytes, bytes], object]:
    """A place below the cell, which pictures are shown in."""
    from IPython.display import display

    show: Callable[..., Shown | None] = display
    shown = show({"text/plain": ""}, raw=True, display_id=True)

    def update(kind: bytes, picture: bytes) -> None:
        if shown is None:
            return
        if kind == PNG:
            shown.update({"image/png": base64.b64encode(picture).decode(), "text/plain": "<plot>"}, raw=True)
        else:
            shown.update({"text/plain": picture.decode()}, raw=True)

    return update
