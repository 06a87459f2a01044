from __future__ import annotations

import json
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmi.config.schema import CfgQmi
from qmi.proc.cli import Environment
from qmi.proc.control_client import SocketLink
from qmi.proc.network_scan import NetworkDiscovery
from qmi.tools import proc
from tests.support.ports import free_port

COMMAND = Path(sys.executable).with_name("qmi_proc")


@pytest.fixture(autouse=True)
def keep_ctrl_c() -> Iterator[None]:
    """At its end the command ignores Ctrl-C; these tests go on."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def configure(home: Path) -> None:
    demo = {"host": "127.0.0.1", "tcp_server_port": free_port(), "enabled": True, "program_module": "proc_demo"}
    server = {"host": "127.0.0.1", "tcp_server_port": free_port()}
    (home / "qmi.conf").write_text(json.dumps({"contexts": {"instr_server": server, "proc_demo": demo}}))


@pytest.mark.parametrize("command", [[str(COMMAND)], [sys.executable, "-m", "qmi.tools.proc"]])
def test_the_command_runs_under_both_its_names(home: Path, command: list[str]) -> None:
    if not Path(command[0]).exists():
        pytest.skip("qmi_proc is not installed beside this Python")
    configure(home)
    found = subprocess.run([*command, "status"], capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (0, "proc_demo: OFFLINE\n", "")


def test_the_command_asks_real_links_and_a_real_network(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    configure(home)
    used: list[Environment] = []

    def note(outside: Environment, *command_line: object) -> int:
        used.append(outside)
        return 5

    monkeypatch.setattr(proc, "run", note)
    assert proc.main() == 5
    [outside] = used
    assert outside.link is SocketLink
    assert isinstance(outside.discovery(CfgQmi()), NetworkDiscovery)


def test_the_module_runs_as_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["qmi_proc", "--help"])
    monkeypatch.delitem(sys.modules, "qmi.tools.proc")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("qmi.tools.proc", run_name="__main__")
    assert caught.value.code == 0
    assert "usage: qmi_proc" in capsys.readouterr().out
