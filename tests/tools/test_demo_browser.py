"""The chapter of the demonstration that shows the laboratory in a browser."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import json5
import pytest

from qmi.config.structure import structure
from qmi.tools import demo, demo_browser
from qmi.tools.demo_browser import SECTION, _as_written
from qmi.tools.stage import Stage
from tests.support.desk import Desk, Program

COMMAND = "python3 -m qmi.tools.demo browser"


def test_section_is_shown_as_it_can_be_written() -> None:
    shown = _as_written(SECTION)
    read = json5.loads("{" + shown + "}")
    assert read == SECTION
    assert structure({"contexts": {"bench": read}}).contexts["bench"].web is not None


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_browser, "find_spec", lambda name: None if name in ("jinja2", "uplot") else name)
    output = io.StringIO()
    assert demo.main(["browser"], Stage(output, 200)) == 0
    assert "Not installed here: jinja2, uplot. Type: pip install 'qmi-trio[web]'" in output.getvalue()


class Keyboard(io.StringIO):
    """A standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


class Screen(io.StringIO):
    """A standard output that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stage, int]]:
    """A terminal at which somebody sits, and where the test presses keys."""
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stdin", Keyboard())
    monkeypatch.setattr(demo_browser, "_keys", lambda fd, size: os.read(reading, size))
    yield Stage(Screen(), 80), writing
    os.close(writing)


@pytest.mark.parametrize("screen", [io.StringIO, Screen])
def test_nothing_is_waited_for_without_a_terminal(screen: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO() if screen is Screen else Keyboard())
    output = screen()
    demo_browser._wait(Stage(output, 80), "http://127.0.0.1:9/")
    assert "(At a terminal it is served until you press Enter; here it has ended.)" in output.getvalue()


def test_pages_end_when_enter_is_pressed(terminal: tuple[Stage, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_browser, "ALONE", 1e6)
    monkeypatch.setattr(demo_browser, "LOOK", 60.0)
    stage, keys = terminal
    os.write(keys, b"\n")
    demo_browser._wait(stage, "http://127.0.0.1:9/")


def test_pages_end_by_themselves_when_nobody_looks_any_more(
    terminal: tuple[Stage, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([True, True, False, False])
    times = iter([0.0, 1.0, 50.0, 50.0, 99.0, 99.0, 150.0, 159.0])
    monkeypatch.setattr(demo_browser, "LOOK", 0.0)
    monkeypatch.setattr(demo_browser, "_is_looked_at", lambda url: next(looks))
    monkeypatch.setattr(demo_browser, "_now", lambda: next(times))
    demo_browser._wait(terminal[0], "http://127.0.0.1:9/")
    assert next(looks, None) is None


def test_pages_end_by_ctrl_c(terminal: tuple[Stage, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def press(url: str) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_browser, "LOOK", 0.0)
    monkeypatch.setattr(demo_browser, "_is_looked_at", press)
    demo_browser._wait(terminal[0], "http://127.0.0.1:9/")


@pytest.mark.parametrize(
    ("text", "looked"),
    [("qmi_web_browsers 1\n", True), ("# x\nqmi_web_browsers 0\n", False), ("", False), (OSError("gone"), False)],
)
def test_metrics_say_whether_somebody_looks(text: str | OSError, looked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(url: str) -> str:
        if isinstance(text, OSError):
            raise text
        return text

    monkeypatch.setattr(demo_browser, "_read", read)
    assert demo_browser._is_looked_at("http://127.0.0.1:9/") == looked


# In real programs


@pytest.mark.slow
def test_demo_without_a_terminal_shows_an_address_and_ends(home: Path) -> None:
    with Desk(home) as desk:
        run = desk.run(COMMAND)
    assert (run.returncode, run.stderr) == (0, "")
    assert re.search(r"^http://127\.0\.0\.1:\d+/login#token=[\w-]{32}$", run.stdout, re.MULTILINE)
    assert "The first page comes in " in run.stdout
    assert list(home.iterdir()) == []


def open_pages(program: Program) -> tuple[str, object]:
    """Open the pages that the demonstration offers; their address, and a parameter's value that was set there."""
    url = re.findall(r"http://127\.0\.0\.1:\d+/login#token=[\w-]{32}", program.expect("Enter ends it"))[0]
    address, _, token = url.partition("login#token=")
    psu = "api/objects/bench/psu/parameters/channels[1].voltage"
    with httpx.Client(base_url=address, trust_env=False, headers={"authorization": f"Bearer {token}"}) as client:
        assert client.put(psu, json={"value": 1.25}).status_code == 200
        return address, client.get(psu).json()["value"]


@pytest.mark.slow
@pytest.mark.parametrize("key", ["enter", "ctrl-c"])
def test_demo_at_a_terminal_serves_until_a_key_is_pressed(home: Path, key: str) -> None:
    with Desk(home) as desk:
        program = desk.program(COMMAND)
        address, value = open_pages(program)
        assert value == 1.25
        program.send("") if key == "enter" else program.interrupt()
        status, printed = program.wait()
    assert (status, "Traceback" in printed) == (0, False)
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, trust_env=False)
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_demo_that_is_killed_leaves_no_pages(home: Path) -> None:
    with Desk(home) as desk:
        program = desk.program(COMMAND)
        address, _ = open_pages(program)
        with httpx.stream("GET", f"{address}api/events?topic=site", trust_env=False) as stream:
            program.child.kill(9)
            with suppress(httpx.HTTPError):  # it is over, or is cut, when the program that serves it ends
                for _ in stream.iter_raw():
                    pass


def test_demo_ends_early_if_its_program_does(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "print('bench: 3 of 3 ready')"]
    early = pytest.raises(RuntimeError, match="ended early")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ended, early:
        demo_browser._address(ended)
