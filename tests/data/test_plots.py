from __future__ import annotations

import io
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import qmi
import qmi.data
from qmi.core.exceptions import (
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_MissingLibraryException,
    QMI_UnknownNameException,
)
from qmi.data import plotting
from qmi.data.plot_drawing import Drawing
from qmi.data.plot_process import PlotOrder
from qmi.data.plot_show import Terminal, draw_until_end
from qmi.data.rows import Row
from tests.support.outside import wait_for_end, wait_for_file
from tests.support.plots import drawing_of, rows_of


@pytest.fixture(autouse=True)
def _no_window_system(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ended(folder: Path) -> Path:
    """A folder with a run that has ended."""
    with qmi.data.run("cooldown", {"T": "K", "V": "V"}, folder=folder) as run:
        for step in range(5):
            run.add(T=300.0 - step, V=0.1 * step)
    return folder


# -- what is refused


def test_plot_without_a_window_system_says_what_to_do(ended: Path) -> None:
    with pytest.raises(QMI_InvalidOperationException) as caught:
        qmi.data.plot("cooldown", folder=ended)
    assert "There is no window system here" in str(caught.value)
    assert 'term=True draws in the terminal, file="plot.png" into a file' in str(caught.value)


def test_plot_with_a_backend_without_windows_says_so(ended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(QMI_InvalidOperationException, match="MPLBACKEND is 'agg', which opens no windows"):
        qmi.data.plot("cooldown", folder=ended)


def test_plot_without_matplotlib_says_how_to_get_it(ended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plotting, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    with pytest.raises(QMI_MissingLibraryException, match=r"pip install 'qmi-trio\[plot\]'"):
        qmi.data.plot("cooldown", folder=ended)


def test_plot_of_columns_that_there_are_not_is_refused(ended: Path) -> None:
    with pytest.raises(QMI_InvalidValueException, match=r"y must be a column \(T, V\), got 'Q'"):
        qmi.data.plot("cooldown", y="Q", folder=ended, term=True)
    with (
        qmi.data.run("other", {"T": "K"}, folder=ended) as run,
        pytest.raises(QMI_InvalidValueException, match=r"x must be a column \(T, time\)"),
    ):
        run.plot(x="Q", term=True)


def test_plot_of_a_run_that_there_is_not_is_refused(ended: Path) -> None:
    with pytest.raises(QMI_UnknownNameException, match="warmup"):
        qmi.data.plot("warmup", folder=ended, term=True)


def test_plot_of_a_run_that_has_not_begun_is_refused(folder: Path) -> None:
    with pytest.raises(QMI_InvalidOperationException, match="has not begun"):
        qmi.data.run("cooldown", {"T": "K"}, folder=folder).plot(term=True)


def test_file_in_a_folder_that_there_is_not_is_refused(ended: Path) -> None:
    with pytest.raises(QMI_InvalidValueException, match="file must be in a folder that exists"):
        qmi.data.plot("cooldown", folder=ended, file=ended / "nowhere" / "x.png")


async def test_plot_by_name_is_refused_in_an_event_loop(ended: Path) -> None:
    with pytest.raises(Exception, match=r"qmi.data.plot\(\)"):
        qmi.data.plot("cooldown", folder=ended, term=True)


# -- how often


class Feed:
    """A run of which the rows come when they are asked for."""

    run_id = "20261126-140501_sample"
    name = "sample"
    columns: dict[str, str] = {"T": "K"}  # noqa: RUF012 - as a follower has it
    coordinates = ()
    axes: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, parts: list[int], now: list[float], took: float) -> None:
        self._parts = parts
        self._now = now
        self._took = took
        self.state = "running"

    def read(self, timeout: float | None = None) -> list[Row]:
        self._now[0] += self._took
        rows = rows_of([{"T": 1.0}] * self._parts.pop(0)) if self._parts else []
        if not self._parts:
            self.state = "done"
        return rows


class Shown:
    """Takes a time to show something."""

    def __init__(self, now: list[float], takes: float) -> None:
        self._now = now
        self._takes = takes
        self.times: list[float] = []
        self.drawings: list[tuple[str, bool]] = []

    def show(self, drawing: Drawing, *, last: bool) -> None:
        self.times.append(self._now[0])
        self.drawings.append((drawing.subtitle, last))
        self._now[0] += self._takes


def test_drawing_is_renewed_at_most_five_times_a_second() -> None:
    now = [0.0]
    shown = Shown(now, 0.001)
    draw_until_end(Feed([1] * 300, now, 0.01), PlotOrder("run"), shown, lambda: now[0])
    pauses = [after - before for before, after in zip(shown.times[:-2], shown.times[1:-1], strict=True)]
    assert min(pauses) >= 0.2
    assert shown.drawings[-1] == ("20261126-140501_sample: done, 300 rows", True)


def test_drawing_that_takes_long_is_renewed_less_often() -> None:
    now = [0.0]
    shown = Shown(now, 1.0)
    draw_until_end(Feed([1] * 300, now, 0.1), PlotOrder("run"), shown, lambda: now[0])
    pauses = [after - before for before, after in zip(shown.times[:-2], shown.times[1:-1], strict=True)]
    assert min(pauses) >= 5.0


def test_drawing_of_what_is_there_now_is_shown_once() -> None:
    now = [0.0]
    shown = Shown(now, 0.001)
    draw_until_end(Feed([7, 3, 0, 5], now, 0.0), PlotOrder("run", live=False), shown, lambda: now[0])
    assert shown.drawings[-1] == ("20261126-140501_sample: running, 10 rows", True)


def test_run_without_rows_is_shown_at_its_end() -> None:
    now = [0.0]
    shown = Shown(now, 0.001)
    draw_until_end(Feed([0], now, 0.0), PlotOrder("run"), shown, lambda: now[0])
    assert shown.drawings[-1] == ("20261126-140501_sample: done, 0 rows", True)


# -- terminals


class Screen(io.StringIO):
    """A terminal, or a pipe."""

    encoding = "utf-8"

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def show_twice(screen: Screen, *, pinned: bool) -> None:
    sizes = iter([os.terminal_size((80, 24)), os.terminal_size((80, 24)), os.terminal_size((60, 24))])
    terminal = Terminal(screen, lambda: next(sizes), pinned=pinned)
    terminal.show(drawing_of({"T": "K"}, [{"T": n} for n in range(3)]), last=False)
    terminal.show(drawing_of({"T": "K"}, [{"T": n} for n in range(5)], state="done"), last=True)


def test_pipe_gets_the_last_drawing_alone() -> None:
    screen = Screen(terminal=False)
    show_twice(screen, pinned=False)
    assert screen.getvalue().count("sample\n") == 1
    assert "done, 5 rows" in screen.getvalue()
    assert "\x1b" not in screen.getvalue()


def test_terminal_is_drawn_in_its_place() -> None:
    screen = Screen(terminal=True)
    show_twice(screen, pinned=False)
    first, _, second = screen.getvalue().partition("\x1b[23A\r")
    assert "running, 3 rows" in first
    assert "done, 5 rows" in second


def test_pinned_drawing_leaves_the_cursor_where_it_was() -> None:
    screen = Screen(terminal=True)
    show_twice(screen, pinned=True)
    assert screen.getvalue().startswith("\n" * 13)
    assert screen.getvalue().count("\x1b7\x1b[H") == screen.getvalue().count("\x1b8") == 2


def test_run_is_drawn_in_a_pipe(ended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert qmi.data.plot("cooldown", folder=ended, term=True) is None
    text = capsys.readouterr().out
    assert "T [K]" in text
    assert "done, 5 rows" in text


def test_characters_that_the_terminal_has_not_are_replaced() -> None:
    screen = Screen(terminal=False)
    screen.encoding = "ascii"
    terminal = Terminal(screen, lambda: os.terminal_size((80, 24)), pinned=False)
    terminal.show(drawing_of({"温": "Ω"}, [{"温": n} for n in range(3)]), last=True)
    assert screen.getvalue().isascii()


# -- the other process


@pytest.fixture
def closing() -> Iterator[list[Any]]:
    """Plots that are closed at the end of the test."""
    plots: list[Any] = []
    yield plots
    for plot in plots:
        plot.close()
        assert plot.wait(15)


@pytest.mark.slow
def test_run_that_has_ended_is_drawn_into_a_file(ended: Path) -> None:
    file = ended / "cooldown.png"
    plot = qmi.data.plot("cooldown", folder=ended, file=file)
    assert plot is not None
    assert file.read_bytes().startswith(b"\x89PNG")
    assert not plot.is_open
    with pytest.raises(QMI_InvalidValueException, match=r"^file must end with one of \.png, .* got '.*cooldown\.odd'$"):
        qmi.data.plot("cooldown", folder=ended, file=ended / "cooldown.odd")


@pytest.mark.slow
def test_file_is_renewed_until_the_run_has_ended(folder: Path, tmp_path: Path, closing: list[Any]) -> None:
    file = tmp_path / "live.png"
    with qmi.data.run("cooldown", {"T": "K"}, folder=folder) as run:
        run.add(T=1.0)
        plot = run.plot(file=file)
        closing.append(plot)
        wait_for_file(file.exists, tmp_path)
        before = file.read_bytes()
        run.add(T=2.0)
        wait_for_file(lambda: file.read_bytes() != before, tmp_path)
        assert plot.is_open
    assert plot.wait(15)
    assert plot.error == ""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["SIGKILL", "SIGSTOP", "SIGTERM"])
def test_run_goes_on_whatever_becomes_of_its_plot(
    what: str, folder: Path, tmp_path: Path, closing: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "live.png"
    with qmi.data.run("cooldown", {"T": "K"}, folder=folder) as run:
        run.add(T=0.0)
        plot = run.plot(file=file)
        closing.append(plot)
        assert os.getsid(plot.pid) == plot.pid  # Ctrl-C in the terminal of this program does not reach it
        wait_for_file(file.exists, tmp_path)
        os.kill(plot.pid, getattr(signal, what))
        if what != "SIGSTOP":
            wait_for_end(plot.pid)
        begun = time.monotonic()
        for step in range(2000):
            run.add(T=float(step))
        assert time.monotonic() - begun < 5.0
    assert run.info is not None
    assert (run.info.state, run.info.rows) == ("done", 2001)


PROGRAM = """
import qmi.data, sys
with qmi.data.run("cooldown", {"T": "K"}, folder="runs") as run:
    plot = run.plot(%s)
    for step in range(5):
        run.add(T=float(step))
print("ended", plot.pid, flush=True)
"""


@pytest.mark.slow
def test_plot_outlives_the_program_that_measures(home: Path) -> None:
    program = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM % "file='live.png'"],
        cwd=home, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert (program.returncode, program.stderr) == (0, "")
    wait_for_end(int(program.stdout.split()[-1]))
    assert (home / "live.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_run_draws_into_the_pipe_of_its_program_once(home: Path) -> None:
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM % "term=True"], cwd=home, capture_output=True, text=True, timeout=50, check=False
    )
    assert program.stdout.count("T [K]") == 1
    assert "done, 5 rows" in program.stdout


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A screen that nobody sees."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    pytest.importorskip("tkinter")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1000x700x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[writing], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading) as pipe:
        number = pipe.readline().strip()
    monkeypatch.setenv("DISPLAY", f":{number}")
    yield f":{number}"
    server.terminate()
    server.wait()


def colours_on(display: str) -> set[tuple[int, ...]]:
    from PIL import ImageGrab

    picture = ImageGrab.grab(xdisplay=display)
    if target := os.environ.get("QMI_TEST_SCREENSHOT"):
        picture.save(target)
    return {colour for _, colour in picture.getcolors(1 << 20) or []}  # type: ignore[misc]


@pytest.mark.slow
def test_window_shows_the_run_and_stays_when_it_has_ended(display: str, folder: Path, closing: list[Any]) -> None:
    with qmi.data.run("cooldown", {"T": "K"}, folder=folder) as run:
        plot = run.plot()
        closing.append(plot)
        for step in range(50):
            run.add(T=300 * math.exp(-step / 20))
        blue = (31, 119, 180)  # the first colour of matplotlib's lines
        end = time.monotonic() + 20
        while blue not in colours_on(display):
            assert plot.is_open, plot.error
            assert time.monotonic() < end
            plot.wait(0.1)
    assert not plot.wait(1.0)
    assert blue in colours_on(display)
    plot.close()
    assert plot.wait(10)
    assert plot.error == ""


@pytest.mark.slow
def test_plot_whose_window_cannot_be_opened_is_logged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, closing: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DISPLAY", ":12345")
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    with qmi.data.run("cooldown", {"T": "K"}, folder=folder) as run:
        plot = run.plot()
        closing.append(plot)
        run.add(T=1.0)
        assert plot.wait(20)
    assert plot.error
    assert "is not plotted any more" in caplog.text


# -- notebooks, terminals, other computers


@pytest.mark.slow
def test_plot_in_a_notebook_renews_itself_and_does_not_block_the_cell(home: Path) -> None:
    from tests.support.notebook import Notebook

    notebook = Notebook(home)
    try:
        setup = "import qmi.data\nrun = qmi.data.run('cooldown', {'T': 'K'}, folder='runs').__enter__()\nrun.add(T=1.0)"
        assert notebook.run(setup)[1] == ""
        assert notebook.run("plot = run.plot()")[1] == ""
        assert notebook.picture().startswith("iVBOR")  # a PNG
        assert notebook.run("run.add(T=2.0)\nrun.add(T=5.0)")[1] == ""
        assert notebook.picture().startswith("iVBOR")
        assert notebook.run("run.__exit__(None, None, None)\nprint(plot.wait(20), plot.error)") == ("True \n", "")
    finally:
        notebook.close()


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 200])
def test_run_is_drawn_in_a_real_terminal(columns: int, home: Path) -> None:
    pexpect = pytest.importorskip("pexpect")
    script = (
        "import qmi.data, time\n"
        "with qmi.data.run('cooldown', {'T': 'K'}, folder='runs') as run:\n"
        "    plot = run.plot(term=True)\n"
        "    for step in range(3): run.add(T=step); print('row', step)\n"
        "print('ended'); plot.wait(20); print('over')\n"
        "qmi.data.plot('cooldown', folder='runs', term=True)\n"
    )
    child = pexpect.spawn(
        sys.executable, ["-c", script], cwd=str(home), dimensions=(40, columns), encoding="utf-8", timeout=30,
        env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    child.expect("ended")
    child.expect("over")
    pinned = child.before
    child.expect(pexpect.EOF)
    filled = child.before
    for text in (pinned, filled):
        assert "done, 3 rows" in text
        plain = re.sub(r"\x1b(\[[\d;]*[A-Za-z]|[78])", "", text)
        assert columns - 8 < max(len(line.rstrip("\r")) for line in plain.split("\n")) < columns
    assert "\x1b[H" in pinned
    child.close()


RECORDER = """
import qmi, qmi.data, sys
qmi.start("lab", None, init_logging=False, context_cfg={"lab": {"host": "127.0.0.1", "tcp_server_port": 0}})
with qmi.data.run("cooldown", {"T": "K"}) as run:
    for step in range(5):
        run.add(T=float(step))
    print(qmi.context().get_tcp_server_port(), flush=True)
    sys.stdin.readline()
qmi.stop()
"""


@pytest.mark.slow
def test_run_of_another_computer_is_drawn(home: Path) -> None:
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    recorder = subprocess.Popen(
        [sys.executable, "-c", RECORDER], cwd=elsewhere, env={**os.environ, "QMI_HOME": str(elsewhere)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert recorder.stdout is not None
    assert recorder.stdin is not None
    qmi.start("desk", None, init_logging=False)
    try:
        qmi.context().connect_to_peer("lab", f"127.0.0.1:{int(recorder.stdout.readline())}")
        for context in ("lab", None):
            file = home / f"{context}.png"
            qmi.data.plot("cooldown", context=context, file=file, live=False)
            assert file.read_bytes().startswith(b"\x89PNG")
    finally:
        qmi.stop()
        recorder.communicate("\n", timeout=30)
    assert recorder.returncode == 0
