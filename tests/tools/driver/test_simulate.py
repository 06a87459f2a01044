"""The command that serves the simulated device of a driver."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qmi.core.scpi_protocol import ScpiProtocol
from qmi.core.transport import create_transport
from qmi.testing import SimulatorServer
from qmi.tools.driver.cli import main
from tests.support.driver_folders import forgotten_drivers, write

OVEN = "tests.support.oven_driver:Oven"
INSIDE = """
from qmi.core.driver import Simulator

class Inside(Simulator):
    @Simulator.command("WHO?")
    def who(self):
        return "me"
"""

BROKEN = """
from qmi.core.driver import ScpiInstrument, parameter

class Broken(ScpiInstrument):
    voltage = parameter("VOLT", float)

    def __init__(self, context, name, transport):
        super().__init__(context, name, transport)
        self.inverse = 1 / 0
"""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[SimulatorServer], None]], None]:
    """Has a function called while the command serves, and Ctrl-C pressed after it."""

    def while_serving(use: Callable[[SimulatorServer], None]) -> None:
        def wait(server: SimulatorServer, timeout: float | None = None) -> bool:
            use(server)
            raise KeyboardInterrupt

        monkeypatch.setattr(SimulatorServer, "wait", wait)

    return while_serving


def ask(descriptor: str, *questions: str) -> list[str]:
    with create_transport(descriptor) as transport:
        device = ScpiProtocol(transport, default_timeout=10.0)
        return [device.ask(question) for question in questions]


Serving = Callable[[Callable[[SimulatorServer], None]], None]


@pytest.mark.parametrize("where", ["127.0.0.1:0", ":0", "0"])
def test_simulate_serves_a_driver_over_tcp(where: str, served: Serving, capsys: pytest.CaptureFixture[str]) -> None:
    answers: list[str] = []
    served(lambda server: answers.extend(ask(server.address, "SETP 80;SETP?", "PROG?")))
    assert main(["simulate", OVEN, "--tcp", where]) == 0
    assert float(answers[0]) == 80.0
    assert answers[1] == "BAKE"
    shown = capsys.readouterr()
    assert shown.out.startswith("Oven is simulated at tcp:127.0.0.1:")
    assert shown.out.endswith("; Ctrl-C ends it\n")
    assert shown.err == ""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals")
def test_simulate_serves_on_a_pseudo_terminal(served: Serving, capsys: pytest.CaptureFixture[str]) -> None:
    answers: list[str] = []
    served(lambda server: answers.extend(ask(server.address, "LIGHT:STATE?")))
    assert main(["simulate", OVEN, "--pty"]) == 0
    assert answers == ["LIT"]
    assert capsys.readouterr().out.startswith("Oven is simulated at serial:")


def test_simulate_serves_a_simulator_alone(
    tmp_path: Path, served: Serving, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(write(tmp_path, {"inside.py": INSIDE}))
    answers: list[str] = []
    served(lambda server: answers.extend(ask(server.address, "WHO?")))
    with forgotten_drivers():
        assert main(["simulate", "inside.py:Inside", "--tcp", ":0"]) == 0
    assert answers == ["me"]


def test_simulate_hands_arguments_to_the_constructor(served: Serving, capsys: pytest.CaptureFixture[str]) -> None:
    served(lambda server: None)
    assert main(["simulate", OVEN, "--tcp", ":0", "--with", "kitchen=theirs"]) == 0
    assert main(["simulate", OVEN, "--tcp", ":0", "--with", "cellar=1"]) == 1
    assert "cellar" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([OVEN], 2, "one of the arguments --tcp --pty is required"),
        ([OVEN, "--tcp", ":0", "--pty"], 2, "not allowed with argument"),
        ([OVEN, "--tcp", "nowhere"], 1, "--tcp takes HOST:PORT, such as 127.0.0.1:5025, got 'nowhere'"),
        ([OVEN, "--tcp", "localhost:70000"], 1, "--tcp takes HOST:PORT"),
        ([OVEN, "--tcp", ":0", "--with", "kitchen"], 1, "--with takes NAME=VALUE, such as channels=2, got 'kitchen'"),
        (["tests.support.oven_driver", "--tcp", ":0"], 1, "several drivers: Oven, Stove, Grill"),
        (["tests.support.oven_driver:Grill", "--tcp", ":0"], 1, "Grill has no transport"),
        (["tests.support.oven_driver:Recipe", "--tcp", ":0"], 1, "Recipe of tests.support.oven_driver is no driver"),
        (["no_such_module", "--tcp", ":0"], 1, "no module 'no_such_module'"),
    ],
)
def test_simulate_says_what_is_wrong(
    arguments: list[str], code: int, message: str, served: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    served(lambda server: None)
    assert main(["simulate", *arguments]) == code
    assert message in capsys.readouterr().err


def test_simulate_says_where_the_driver_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(write(tmp_path, {"broken.py": BROKEN}))
    with forgotten_drivers():
        assert main(["simulate", "broken", "--tcp", ":0"]) == 1
    assert "Broken cannot be made: ZeroDivisionError: division by zero (" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["127.0.0.1:{}", ":{}", "{}"])
def test_fault_23_simulate_names_who_has_the_port(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["simulate", OVEN, "--tcp", form.format(port)]) == 2
    said = capsys.readouterr().err
    assert f"The simulator cannot be served at tcp:127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}, by " in said
    assert f"(pid {os.getpid()}); name another address by --tcp" in said
    assert said.count("\n") == 1


def test_simulate_refuses_an_address_of_another_computer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", OVEN, "--tcp", "192.0.2.1:0"]) == 2
    assert "cannot be served at tcp:192.0.2.1:0: " in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_simulate_ends_by_a_signal(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "qmi.tools.driver", "simulate", OVEN, "--tcp", ":0"]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        address = program.stdout.readline().split()[4].rstrip(";")
        assert float(ask(address, "SETP?")[0]) == 20.0
        program.send_signal(number)
        try:
            rest, errors = program.communicate(timeout=30)
        finally:
            program.kill()
    assert (program.returncode, rest, errors) == (0, "", "")
