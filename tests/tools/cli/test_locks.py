"""``qmi lock``, ``reserve`` and ``unlock``."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from qmi.core.context import QMI_Context
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
