"""``qmi monitor``: signals and parameters as they come."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from qmi.core.context import QMI_Context
from qmi.names import Address
from qmi.tools.cli.monitor_plot import LivePlot
from qmi.tools.cli.news import News, NewsStream
from tests.support.cli import Cli, serving, write_lab
from tests.support.ports import free_port
from tests.support.programs import ROOT, Program
from tests.support.shell_driver import ShellSupply


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module", autouse=True)
def served(config: Path) -> Iterator[QMI_Context]:
    with serving(config) as context:
        context.make_instrument("psu", ShellSupply).open()
        yield context


def test_published_and_asked_parameters_come_with_their_units(cli: Cli) -> None:
    done = cli("monitor", "lab.psu.pressure", "lab.psu.temp*", "--interval", "0.01", "--count", "4")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert len(lines) == 4
    for line in lines:
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  lab\.psu\.(pressure     7\.5 mbar|temperature  41\.5 degC)", line)


def test_polled_parameter_comes_as_it_is_published(cli: Cli) -> None:
    done = cli("monitor", "lab.psu.pressure", "-n", "2", "--json")
    told = [json.loads(line) for line in done.out.splitlines()]
    assert [(item["name"], item["value"], item["unit"]) for item in told] == [("lab.psu.pressure", 7.5, "mbar")] * 2


def take(news: Iterator[News], count: int = 1) -> list[tuple[str, object]]:
    return [(item.name, item.value) for item in itertools.islice(news, count)]


@pytest.fixture
def stream(served: QMI_Context) -> Iterator[NewsStream]:
    with NewsStream(served.get_rpc_object, None, 3600.0) as stream:
        yield stream


def test_signals_come_with_their_arguments(stream: NewsStream, served: QMI_Context) -> None:
    psu = served.get_instrument("lab.psu")
    stream.add(Address("lab", "psu"), "sig_to*")
    psu.tell("hello", 3)
    news = next(iter(stream))
    assert (news.name, news.text()) == ("lab.psu.sig_told", "hello, 3")
    assert news.as_json()["args"] == ["hello", 3]


def test_setting_of_a_parameter_comes_at_once(stream: NewsStream, served: QMI_Context) -> None:
    psu = served.get_instrument("lab.psu")
    for path in ("voltage", "outputs[2].voltage"):
        stream.add(Address("lab", "psu"), path)
    news = iter(stream)
    assert sorted(name for name, _ in take(news, 2)) == ["lab.psu.outputs[2].voltage", "lab.psu.voltage"]  # asked once
    psu.outputs[1].voltage = 3.0  # nobody wanted this one
    psu.outputs[2].voltage = 4.0
    psu.voltage = 5.0
    assert take(news, 2) == [("lab.psu.outputs[2].voltage", 4.0), ("lab.psu.voltage", 5.0)]


def test_failed_reading_is_told_once(served: QMI_Context, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = iter([True, True, False])

    def read(self: object) -> float:
        if next(broken, False):
            raise ValueError("no sensor")
        return 20.0

    monkeypatch.setattr(ShellSupply.temperature, "getter", read)
    with NewsStream(served.get_rpc_object, 0.001, 1.0) as stream:
        stream.add(Address("lab", "psu"), "temperature")
        first, second = itertools.islice(stream, 2)
    assert (first.what, first.text()) == ("error", "(ValueError: no sensor)")
    assert (second.what, second.value) == ("value", 20.0)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["lab.psu.sig_tol"], 1, "lab.psu has no signal 'sig_tol'. Did you mean 'sig_told'?"),
        (["lab.psu.voltag"], 1, "lab.psu has no parameter 'voltag'. Did you mean 'voltage'?"),
        (["lab.psu.echo"], 1, "lab.psu.echo is a method and no value"),
        (["lab.psu"], 2, "such as lab.psu.voltage"),
        (["lab.psu.voltage", "--count", "0"], 2, "must be a whole number from 1 on, got '0'"),
        (["lab.psu.voltage", "--interval", "x"], 2, "must be a number of seconds above 0, got 'x'"),
    ],
)
def test_wrong_names_are_told_in_a_line(cli: Cli, arguments: list[str], code: int, said: str) -> None:
    done = cli("monitor", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert said in done.err


def test_end_of_all_objects_ends_it(cli: Cli, served: QMI_Context) -> None:
    lonely = served.make_instrument("lonely", ShellSupply)
    with NewsStream(served.get_rpc_object, None, 1.0) as stream:
        stream.add(Address("lab", "lonely"), "sig_told")
        served.remove_rpc_object(lonely)
        assert take(iter(stream), 5) == [("lab.lonely.sig_told", "ended")]


# --plot


def test_values_are_drawn_once_in_a_pipe(cli: Cli) -> None:
    done = cli("monitor", "lab.psu.pressure", "lab.psu.voltage", "--interval", "0.001", "--count", "6", "--plot")
    assert (done.code, done.err) == (0, "")
    title, subtitle, *lines = done.out.splitlines()
    assert (title, subtitle) == ("monitor", "6 values")
    assert "lab.psu.pressure [mbar]" in done.out
    assert "lab.psu.voltage [V]" in done.out
    assert len(lines) > 10


def test_drawing_has_a_curve_for_each_argument_and_says_what_is_missing(
    stream: NewsStream, served: QMI_Context
) -> None:
    stream.add(Address("lab", "psu"), "sig_told")
    stream.add(Address("lab", "psu"), "voltage")
    assert stream.columns == {"lab.psu.sig_told[0]": "", "lab.psu.sig_told[1]": "", "lab.psu.voltage": "V"}
    out = io.StringIO()
    with LivePlot(stream.columns, out) as plot:
        for number in range(3):
            plot.add(News("lab.psu.sig_told", 1000.0 + number, ("a", number), what="signal"))
        plot.add(News("lab.psu.voltage", 1003.0, 5.0, "V"))
        plot.add(News("lab.psu.voltage", 1004.0, "lost", what="gap"))
        drawn = plot.drawing()
    assert drawn.subtitle == "4 values; lab.psu.voltage (link lost)"
    labels = [curve[0] for panel in drawn.panels for curve in getattr(panel, "curves", ())]
    assert any("sig_told[1]" in label for label in labels), labels
    assert "4 values" in out.getvalue()


def test_plot_without_its_library_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.tools.cli.monitor_plot.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "numpy")
    done = cli("monitor", "lab.psu.pressure", "--plot")
    assert done.code == 2
    assert done.err == (
        "qmi: Plots need the Python package 'numpy', which is not installed: pip install 'qmi-trio[numpy]'\n"
    )
    assert cli("monitor", "lab.psu.pressure", "--plot", "--json").code == 2


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 200])
def test_plot_in_a_terminal_is_renewed_in_its_place(config: Path, served: QMI_Context, width: int) -> None:
    terminal = spawn(
        config, "monitor", "lab.psu.voltage", "--plot", "--interval", "0.05", dimensions=(24, width)
    )  # fmt: skip
    terminal.expect(r"1 value")
    terminal.expect("\x1b\\[23A\r")  # back to its first line
    terminal.expect(r"[2-9] values")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert "Traceback" not in (terminal.before or "")


SERVER = """
import threading
from qmi.config.loader import load_config
from qmi.core.context import QMI_Context
from qmi.names import Address
from tests.support.shell_driver import ShellSupply
context = QMI_Context("lab", load_config({config!r}))
context.start()
subscribed, broker = threading.Event(), context.async_context.broker
def subscribe_peer(*args, subscribe=broker.subscribe_peer):
    subscribe(*args)
    subscribed.set()
broker.subscribe_peer = subscribe_peer
psu = context.make_instrument("psu", ShellSupply)
"""


def spawn(config: Path, *arguments: str, **options: Any) -> pexpect.spawn[str]:
    return pexpect.spawn(
        sys.executable, ["-m", "qmi", "--config", str(config), *arguments], cwd=str(ROOT), encoding="utf-8",
        timeout=30, echo=False, env={**os.environ, "TERM": "xterm-256color"}, **options,
    )  # fmt: skip


@pytest.mark.slow
def test_monitor_in_a_terminal_tells_of_a_lost_and_restored_link_until_ctrl_c(tmp_path: Path) -> None:
    config = write_lab(tmp_path, lab={"host": "127.0.0.1", "tcp_server_port": free_port()})
    begin = SERVER.format(config=str(config))
    with Program() as first:
        first.run(begin)
        terminal = spawn(config, "monitor", "lab.psu.sig_told", "lab.psu.label", dimensions=(24, 80))
        terminal.expect(r"lab\.psu\.label +hello\r\n")
        first.run("psu.tell('before', 1)")
        terminal.expect(r"lab\.psu\.sig_told +before, 1\r\n")
    terminal.expect(r"lab\.psu\.sig_told +\(link lost\)\r\n")
    with Program() as second:
        second.run(begin)
        terminal.expect(r"lab\.psu\.sig_told +\(its program was started again; signals are missing\)\r\n")
        second.run("subscribed.wait(20)")  # the object may come later than the link
        second.run("psu.tell('after', 2)")
        terminal.expect(r"lab\.psu\.sig_told +after, 2\r\n")
        terminal.expect(r"lab\.psu\.label +hello\r\n")
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == 0
        assert "Traceback" not in (terminal.before or "")
