"""What is typed in a real terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from qmi.config.loader import load_config
from qmi.config.schema import CfgContext
from qmi.proc.launch import Launcher
from tests.support.proc import HELPER, QUICK, ROOT, TextLink, dying, quiet, talker, target
from tests.support.ssh import far_config

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


@pytest.fixture
def config(home: Path) -> Path:
    return far_config(
        home,
        proc_demo=talker("proc_demo"),
        q=quiet(),
        bad=dying(),
        far=CfgContext(host="lab-pc.invalid", program_module="quiet", enabled=True),
    )


@pytest.fixture
def server(config: Path) -> Iterator[pexpect.spawn[str]]:
    terminal = typed("server", "--config", str(config))
    terminal.expect_exact("Type 'START name' or 'STOP name'; anything else ends this")
    terminal.expect_exact("qmi_proc server ready")
    yield terminal
    terminal.close(force=True)


def typed(*arguments: str) -> pexpect.spawn[str]:
    return pexpect.spawn(HELPER[0], [*HELPER[1:], *arguments], cwd=str(ROOT), encoding="utf-8", timeout=30, echo=False)


def ended(terminal: pexpect.spawn[str]) -> int | None:
    terminal.expect(pexpect.EOF)
    terminal.close()
    status: int | None = terminal.exitstatus
    return status


def test_the_server_is_used_as_in_the_tutorial(server: pexpect.spawn[str]) -> None:
    server.sendline("START proc_demo")
    server.expect(r"OK (\d+)")
    assert server.match
    server.sendline("START proc_demo")
    server.expect_exact(f"ERR already running (PID={server.match[1]}, QMI=9.9)")
    server.sendline("STOP proc_demo")
    server.expect_exact("OK 1")
    server.sendline("STOP proc_demo")
    server.expect_exact("OK 0")
    server.sendline("")
    server.sendline("START proc_dmeo")
    server.expect_exact("Did you mean 'proc_demo'?")
    server.sendline("START bad")
    server.expect("ERR ended with exit status 3 at start")
    server.sendline("START far")
    server.expect_exact("ERR 'far' belongs on lab-pc.invalid, not on this machine")
    server.sendline("EXIT")
    server.expect_exact("ERR unknown command 'EXIT'")
    assert ended(server) == 0


def test_the_server_ends_with_its_input(server: pexpect.spawn[str]) -> None:
    server.sendeof()
    assert ended(server) == 0


def test_the_server_ends_with_ctrl_c(server: pexpect.spawn[str]) -> None:
    server.sendintr()
    assert ended(server) == 0


@pytest.mark.slow
def test_a_terminal_shows_a_table(config: Path) -> None:
    terminal = typed("start", "proc_demo", "q", "bad", "--config", str(config))
    assert ended(terminal) == 1
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.before or "")
    last = text[text.rindex("NAME") :]
    assert re.search(r"proc_demo +127\.0\.0\.1 +STARTED +\d+ +9\.9 +\d+\.\d s", last)
    assert re.search(r"q +localhost +STARTED +\d+", last)
    assert re.search(r"bad +127\.0\.0\.1 +FAILED", last)
    assert "something is wrong" in last
    terminal = typed("stop", "proc_demo", "q", "--config", str(config))
    assert ended(terminal) == 0
    assert (terminal.before or "").count("STOPPED") >= 2


def test_a_terminal_is_watched_until_ctrl_c(config: Path) -> None:
    terminal = typed("status", "--watch", "--locals", "--config", str(config))
    terminal.expect_exact("OFFLINE")
    terminal.sendintr()
    assert ended(terminal) == 0


def test_output_is_followed_until_ctrl_c(config: Path) -> None:
    loaded = load_config(str(config))
    launcher = Launcher(loaded, TextLink(), times=QUICK)
    launcher.start(target(loaded, "q"))
    terminal = typed("logs", "-f", "q", "--config", str(config))
    terminal.expect_exact("quiet is ready")
    assert launcher.stop(target(loaded, "q")) == ""
    terminal.expect_exact("quiet ends")
    terminal.sendintr()
    assert ended(terminal) == 0
