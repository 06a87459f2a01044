"""``qmi shell`` in a real terminal, and the names that it gives."""

from __future__ import annotations

import builtins
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from qmi.config.loader import load_config
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_Exception, QMI_TaskRunException
from qmi.core.task import QMI_Task
from qmi.tools.cli import shell
from qmi.tools.cli.session import Laboratory
from qmi.tools.cli.shell_names import ContextNames, choose
from tests.support.cli import Cli, serving, write_lab
from tests.support.cli_terminal import plain, spawn
from tests.support.devices import AsyncBench
from tests.support.ports import free_port
from tests.support.programs import ROOT
from tests.support.shell_driver import ShellSupply

pytest.importorskip("IPython")


# Names


def test_shell_names_objects_that_are_unique() -> None:
    chosen = choose({"lab": ["psu", "dmm"], "bench": ["dmm", "nsg"]}, [])
    assert chosen.contexts == {"lab": "lab", "bench": "bench"}
    assert chosen.objects == {"psu": ("lab", "psu"), "nsg": ("bench", "nsg")}
    assert chosen.hidden == dict.fromkeys(("lab.dmm", "bench.dmm"), "there are 2 of that name")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("print", "of its own"),
        ("open", "of its own"),
        ("exit", "of its own"),
        ("In", "of its own"),
        ("_1", "of its own"),
        ("class", "no name in Python"),
        ("psu-2", "no name in Python"),
        ("2psu", "no name in Python"),
        ("psu(2)", "no name in Python"),
        ("np", "something else here"),
        ("lab", "something else here"),
    ],
)
def test_shell_names_hide_nothing(name: str, why: str) -> None:
    chosen = choose({"lab": [name]}, ["np", "scan", "qmi"])
    assert chosen.objects == {}
    assert why in chosen.hidden[f"lab.{name}"]
    if name != "lab":
        chosen = choose({name: ["psu"]}, ["np", "scan", "qmi"])
        assert chosen.contexts == {}
        assert why in chosen.hidden[name]
        assert chosen.objects == {"psu": (name, "psu")}
    assert builtins.print is print


@pytest.fixture
def fixed(tmp_path: Path) -> Path:
    """A configuration in which the context has the same port whenever it runs."""
    return write_lab(tmp_path, lab={"host": "127.0.0.1", "tcp_server_port": free_port()})


def test_shell_context_that_is_away_says_so_and_comes_back(fixed: Path) -> None:
    laboratory = Laboratory(load_config(str(fixed)), reconnect=True)
    lab: Any = ContextNames(laboratory, "lab", why="not running")
    try:
        assert repr(lab) == "<context lab: away: not running>"
        with pytest.raises(QMI_Exception, match="context 'lab' of workgroup 'cli' does not run at"):
            lab.psu.get_voltage()
        assert "away" in lab._repr_html_()
        with serving(fixed) as context:
            context.make_instrument("psu", ShellSupply)
            psu = lab.psu
            assert psu.voltage == 1.5
            assert lab["psu"] is psu
            assert dir(lab) == ["psu"]
            assert repr(lab) == "<context lab: psu>"
            assert "ShellSupply" in lab._repr_html_()
            with pytest.raises(QMI_Exception, match="nothing"):
                _ = lab.nothing
        with serving(fixed) as context:
            context.make_instrument("psu", ShellSupply)
            laboratory.context.disconnect_from_peer("lab")  # else its link would be made again by and by
            assert "the link is lost" in repr(lab)
            lab._why = "of before"
            laboratory.connect("lab")  # by a command
            assert repr(lab) == "<context lab: psu>"
            assert lab.psu.voltage == 1.5
    finally:
        laboratory.close()


class FailingTask(QMI_Task[None, None]):
    """Fails at once."""

    def run(self) -> None:
        raise ValueError("the water is off")


def test_shell_has_what_has_failed_too(tmp_path: Path) -> None:
    psu = "tests.support.shell_driver:ShellSupply"
    instruments = {
        "psu": {"driver": psu},
        "shut": {"driver": "tests.support.oven_driver:Oven", "args": ["tcp:127.0.0.1:1"]},
        "unmade": {"driver": psu, "args": [1, 2, 3]},
    }
    port = free_port()
    config = write_lab(tmp_path, lab={"host": "127.0.0.1", "tcp_server_port": port, "instruments": instruments})
    with serving(config) as context:
        context.make_configured()
        task = context.make_task("hold", FailingTask)
        task.start()
        with pytest.raises(QMI_TaskRunException):
            task.join()
        laboratory = Laboratory(load_config(str(config)))
        try:
            found: tuple[dict[str, Any], str] = shell._session(laboratory, shell._find(laboratory, ["lab"]))
            variables, banner = found
            assert variables["hold"].is_running() is False
            assert variables["shut"].is_open() is False
            assert "psu" in variables
            assert "unmade" not in variables
            assert "Also without the context: hold, psu, shut\n" in banner
            assert "lab.unmade is not there: " in banner
        finally:
            laboratory.close()


def test_shell_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = cli("shell")
    assert found.code == 1
    assert "pip install 'qmi-trio[shell]'" in found.err


def test_import_of_the_library_costs_nothing_for_its_extension() -> None:
    code = "import sys, qmi; assert not {'IPython', 'trio', 'argparse', 'qmi.tools'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


# In a terminal

_HISTORY = """
from IPython.core.history import HistoryAccessor
print(list(HistoryAccessor().get_tail(9, include_latest=True)))
"""


class Session:
    """Somebody at ``qmi shell``."""

    def __init__(self, config: Path, *names: str) -> None:
        self.terminal = spawn(config, "shell", *names, term="dumb")
        self._line = 1
        self.banner = self.wait()

    def wait(self) -> str:
        """What is printed up to the next prompt."""
        self.terminal.expect(rf"In \[{self._line}\]: ")
        self._line += 1
        return plain(self.terminal.before)

    def type(self, line: str) -> str:
        """Type a line; what it printed."""
        self.terminal.sendline(line)
        return self.wait()


@pytest.fixture
def session(config: Path, lab: QMI_Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    lab.make_instrument("psu", ShellSupply).open()
    lab.make_instrument("print", ShellSupply)
    made = Session(config)
    yield made
    made.terminal.close(force=True)


@pytest.mark.slow
def test_shell_has_the_laboratory_under_its_names(session: Session, lab: QMI_Context) -> None:
    assert "lab: print, psu" in session.banner
    assert "Also without the context: psu" in session.banner
    assert "lab.print has no short name" in session.banner
    assert "Out[1]: 1.5" in session.type("lab.psu.voltage")
    assert "Out[2]: 1.5" in session.type("await psu.rpc_async.voltage")
    assert "voltage" in (shown := session.type("psu"))
    assert "open, idle, not locked" in shown
    assert "function print" in session.type("print")
    assert "OBJECT" in session.type("%qmi ls lab")
    session.type('%qmi lock lab.psu --reason "tests"')
    info = lab.get_instrument("psu").lock_info()
    assert info is not None
    assert info.reason == "tests"
    session.type("psu.voltage = 2.5")  # the lock is that of the variable
    assert "2.5" in session.type("%qmi get lab.psu.voltage")
    session.type("%qmi unlock lab.psu")
    assert not lab.get_instrument("psu").is_locked()
    assert "UsageError: qmi: lab.psu has no parameter" in session.type("%qmi get lab.psu.nothing")
    lab.get_instrument("psu").set_voltage(3.5)
    session.terminal.sendline("%qmi monitor lab.psu.voltage")
    session.terminal.expect("3.5")
    session.terminal.sendintr()
    session.wait()
    assert re.search(r"Out\[\d+\]: 3.5", session.type("psu.voltage"))


@pytest.mark.slow
def test_shell_call_that_is_awaited_and_interrupted_is_cancelled(session: Session, lab: QMI_Context) -> None:
    lab.make_instrument("awaited", AsyncBench)
    actor = lab.async_context.registry.get("awaited")
    assert actor is not None
    session.terminal.sendline("await lab.awaited.rpc_async.forever()")
    assert actor.object.entered.wait(30.0)
    session.terminal.sendintr()
    assert "CancelledError: interrupted by Ctrl-C" in session.wait()
    assert actor.object.cancelled.wait(30.0)
    assert "Out[2]: 1.5" in session.type("await psu.rpc_async.voltage")
    assert session.terminal.isalive()
    assert "qmi_cli" not in session.type("%qmi ls")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["Ctrl-D", "exit()", "SIGTERM", "SIGTERM in a call", "SIGHUP in an await"])
def test_shell_ends_in_order(session: Session, lab: QMI_Context, tmp_path: Path, way: str) -> None:
    session.type("psu.lock()")
    assert lab.get_instrument("psu").is_locked()
    if way == "Ctrl-D":
        session.terminal.send("x")  # who shows it reads keys now; before, the end of the file would be no key
        session.terminal.expect("x")
        session.terminal.send("\x7f\x04")
    elif way == "exit()":
        session.terminal.sendline("exit()")
    elif way == "SIGTERM":
        session.terminal.kill(signal.SIGTERM)
    else:
        lab.make_instrument("awaited", AsyncBench)
        actor = lab.async_context.registry.get("awaited")
        assert actor is not None
        session.terminal.sendline("lab.awaited.forever()" if "call" in way else "await lab.awaited.rpc_async.forever()")
        assert actor.object.entered.wait(30.0)
        session.terminal.kill(signal.SIGTERM if "SIGTERM" in way else signal.SIGHUP)
    session.terminal.expect(pexpect.EOF)
    session.terminal.close()
    assert " in " in way or "Traceback" not in plain(session.terminal.before)
    if "SIG" in way:
        number = signal.SIGHUP if "SIGHUP" in way else signal.SIGTERM
        assert session.terminal.signalstatus == number or session.terminal.exitstatus == 128 + number
    else:
        assert session.terminal.exitstatus == 0
    assert lab.get_instrument("psu").lock(5.0)  # the link has ended, and with it the lock
    history = subprocess.run(
        [sys.executable, "-c", _HISTORY],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "psu.lock()" in history.stdout
