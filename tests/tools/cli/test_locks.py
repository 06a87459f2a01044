"""``qmi lock``, ``reserve`` and ``unlock``."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pexpect
import pytest

from qmi.actors.lock_pass import VARIABLE, passes_in
from qmi.core.context import QMI_Context
from qmi.names import Address
from qmi.tools.cli.child import run_child
from qmi.tools.cli.locks import own_token
from tests.support.cli import Cli, serving, write_lab
from tests.support.programs import ROOT
from tests.support.shell_driver import ShellSupply


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def served(config: Path) -> Iterator[QMI_Context]:
    with serving(config) as context:
        context.make_instrument("psu", ShellSupply)
        yield context


@pytest.fixture
def psu(served: QMI_Context) -> Iterator[Any]:
    proxy = served.get_instrument("lab.psu")
    yield proxy
    proxy.force_unlock()


def test_reservation_stays_until_it_is_given_back(cli: Cli, psu: Any) -> None:
    done = cli("reserve", "lab.psu", "alignment until 18:00")
    assert (done.code, done.out, done.err) == (0, "", "qmi: lab.psu is reserved\n")
    assert psu.lock_info().reason == "alignment until 18:00"
    again = cli("reserve", "lab.psu", "something else")
    assert again.code == 1
    assert "for 'alignment until 18:00'" in again.err
    assert cli("unlock", "lab.psu", "--json").json["state"] == "unlocked"
    assert psu.lock_info() is None
    assert cli("unlock", "lab.psu").err == "qmi: lab.psu is not locked\n"


def test_lock_is_held_for_a_time(cli: Cli, psu: Any) -> None:
    done = cli("lock", "lab.psu", "--for", "0.01s", "--reason", "test")
    assert (done.code, done.err) == (0, "qmi: lab.psu is locked\nqmi: lab.psu is unlocked\n")
    assert psu.lock_info() is None


def test_lock_of_somebody_else_is_taken_by_force_alone(cli: Cli, psu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert psu.lock(reason="mine")
    for command in (["lock", "lab.psu"], ["reserve", "lab.psu", "x"], ["unlock", "lab.psu"]):
        done = cli(*command)
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert "held by context 'lab'" in done.err
        assert "for 'mine'" in done.err
    monkeypatch.setattr("sys.stdin", io.StringIO())
    refused = cli("unlock", "lab.psu", "--force")
    assert (refused.code, refused.err) == (2, "qmi: there is no terminal to ask: --force needs --yes\n")
    assert psu.lock_info() is not None
    assert cli("unlock", "lab.psu", "--force", "--yes", "--reason", "urgent").code == 0
    assert psu.lock_info() is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lock", "lab.psu", "--for", "long"], "must be a duration such as 90s, 30m or 2h, got 'long'"),
        (["lock", "psu"], "such as lab.psu"),
        (["reserve", "lab.psu"], "REASON"),
        (["unlock", "lab.psu", "--yes"], "--yes and --reason go with --force"),
    ],
)
def test_wrong_arguments_are_told_in_a_line(cli: Cli, psu: Any, arguments: list[str], said: str) -> None:
    done = cli(*arguments)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err


def test_guest_may_not_lock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_lab(tmp_path, lab={"host": "127.0.0.1", "tcp_server_port": 0, "operators": ["boss"]})
    with serving(config) as context:
        context.make_instrument("psu", ShellSupply)
        for command in (["lock", "lab.psu", "--for", "1s"], ["reserve", "lab.psu", "x"]):
            done = Cli(config, capsys)(*command)
            assert (done.code, done.err.count("\n")) == (1, 1)
            assert "is a guest there" in done.err


def spawn(config: Path, *arguments: str) -> pexpect.spawn[str]:
    return pexpect.spawn(
        sys.executable, ["-m", "qmi", "--config", str(config), *arguments],
        cwd=str(ROOT), encoding="utf-8", timeout=30, echo=False,
    )  # fmt: skip


@pytest.mark.slow
def test_force_asks_on_a_terminal_and_tells_the_holder(config: Path, psu: Any) -> None:
    holder = spawn(config, "lock", "lab.psu", "--reason", "mine")
    holder.expect("lab.psu is locked")
    for answer, said in (("n", "lab.psu stays locked"), ("y", "lab.psu is unlocked")):
        terminal = spawn(config, "unlock", "lab.psu", "--force", "--reason", "urgent")
        terminal.expect(r"for 'mine'\. Take the lock away\? \[y/N\] ")
        terminal.sendline(answer)
        terminal.expect(said)
        terminal.expect(pexpect.EOF)
    holder.expect("has taken the lock on lab.psu: urgent")
    holder.expect(pexpect.EOF)
    holder.close()
    assert holder.exitstatus == 1


@pytest.mark.slow
def test_lock_is_given_back_at_ctrl_c(config: Path, psu: Any) -> None:
    holder = spawn(config, "lock", "lab.psu")
    holder.expect("lab.psu is locked")
    assert psu.lock_info() is not None
    holder.sendintr()
    holder.expect("lab.psu is unlocked")
    holder.expect(pexpect.EOF)
    holder.close()
    assert holder.exitstatus == 0
    assert psu.lock_info() is None


def test_token_of_a_reservation_is_that_of_the_user() -> None:
    assert own_token() == own_token()


# lock -- COMMAND


def test_command_runs_while_the_lock_is_held_and_its_exit_code_is_passed_on(
    cli: Cli, psu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def run(command: list[str], environment: dict[str, str]) -> int:
        info = psu.lock_info()
        seen.append((command, info.reason, list(passes_in(environment[VARIABLE]))))
        return 7

    monkeypatch.setattr("qmi.tools.cli.child.run_child", run)
    done = cli("lock", "--reason", "alignment", "lab.psu", "--", "align", "--for", "--", "x")
    assert (done.code, done.out, done.err) == (7, "", "")
    assert cli("lock", "lab.psu", "--", "align", "it's").code == 7
    assert seen == [
        (["align", "--for", "--", "x"], "alignment", [Address("lab", "psu")]),
        (["align", "it's"], "align 'it'\"'\"'s'", [Address("lab", "psu")]),
    ]
    assert psu.lock_info() is None


@pytest.mark.parametrize(
    ("command", "code"), [("sys.exit(3)", 3), ("sys.exit()", 0), ("os.kill(os.getpid(), 9)", 137), ("1/0", 1)]
)
def test_exit_code_of_a_program(command: str, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_child([sys.executable, "-S", "-c", f"import os, sys; {command}"], os.environ) == code


def test_signals_are_passed_on_to_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    class Child:
        """A program that tells its parent to end, as one that is busy when that comes."""

        sent: ClassVar[list[int]] = []

        def __init__(self, command: object, env: object) -> None:
            os.kill(os.getpid(), signal.SIGHUP)  # before anybody knows that it is there

        def send_signal(self, number: int) -> None:
            self.sent.append(number)

        def wait(self) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)  # the terminal gives that one to both
            return 5

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]
    monkeypatch.setattr("qmi.tools.cli.child.subprocess.Popen", Child)
    assert run_child(["x"], {}) == 5
    assert Child.sent == [signal.SIGHUP, signal.SIGTERM]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)] == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["lab.psu", "--"], 2, "after -- comes the program that is to be run"),
        (["lab.psu", "--for", "1s", "--", "true"], 2, "--for does not go with a program"),
        (["lab.psu", "true"], 2, "unrecognized arguments: true"),
        (["lab.psu", "--", "/nowhere/align"], 127, "there is no program '/nowhere/align'"),
        (["lab.psu", "--", "/"], 126, "/ cannot be run: Permission denied"),
    ],
)
def test_command_that_cannot_be_run_leaves_no_lock(
    cli: Cli, psu: Any, arguments: list[str], code: int, said: str
) -> None:
    done = cli("lock", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert said in done.err
    assert psu.lock_info() is None


@pytest.mark.parametrize("lost", ["force", "removed"])
def test_exit_code_is_that_of_the_command_also_when_the_lock_is_gone(
    cli: Cli, served: QMI_Context, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    dmm = served.make_instrument("dmm", ShellSupply)
    ends = {"force": dmm.force_unlock, "removed": lambda: served.remove_rpc_object(dmm)}

    def run(command: list[str], environment: dict[str, str]) -> int:
        ends[lost]()
        return 7

    monkeypatch.setattr("qmi.tools.cli.child.run_child", run)
    done = cli("lock", "lab.dmm", "--", "align")
    if lost == "force":
        ends["removed"]()
    assert done.code == 7
    assert "the lock of lab.dmm was gone before the end" in done.err


def test_locks_of_several_objects_are_handed_on_one_within_the_other(
    cli: Cli, psu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = {VARIABLE: "lab.dmm=pass:1234"}
    monkeypatch.setitem(os.environ, VARIABLE, outer[VARIABLE])
    seen = []

    def run(command: list[str], environment: dict[str, str]) -> int:
        seen.append((command, sorted(map(str, passes_in(environment[VARIABLE])))))
        return 0

    monkeypatch.setattr("qmi.tools.cli.child.run_child", run)
    assert cli("lock", "lab.psu", "--", "qmi", "lock", "lab.x", "--", "align").code == 0
    assert seen == [(["qmi", "lock", "lab.x", "--", "align"], ["lab.dmm", "lab.psu"])]


def test_command_is_not_run_where_somebody_else_holds_the_lock(cli: Cli, psu: Any) -> None:
    assert psu.lock(reason="mine")
    done = cli("lock", "lab.psu", "--", "/nowhere/align")
    assert done.code == 1
    assert "could not be locked: it is held by" in done.err


@pytest.mark.slow
def test_commands_within_the_command_use_the_object(config: Path, psu: Any) -> None:
    qmi = f"{sys.executable} -m qmi --config {config}"
    script = f"{qmi} set lab.psu.voltage 7 && {qmi} lock lab.psu -- {qmi} get lab.psu.voltage && exit 4"
    done = subprocess.run(
        [*qmi.split(), "lock", "lab.psu", "--", "sh", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (4, "7.0 V\n", "")
    assert psu.lock_info() is None
