"""``qmi web`` as a program of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmi.actors.context_status import PagesStatus
from qmi.core.context import QMI_Context
from qmi.web.tokens import kept_token
from tests.support.cli import Cli, serving, write_lab
from tests.support.ports import free_port


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a signal")
def test_command_prints_the_address_gives_way_and_ends_by_ctrl_c(config: Path) -> None:
    command = [sys.executable, "-m", "qmi", "--config", str(config), "web", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline().startswith("The laboratory is shown at http://127.0.0.1:")
        assert os.getpriority(os.PRIO_PROCESS, program.pid) == min(19, os.nice(0) + 5)
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=30)[1] == ""
        assert program.returncode == 0


def test_fault_23_pages_whose_port_is_taken_name_who_has_it(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        found = cli("web", "--bind", where)
    assert (found.code, found.out) == (2, "")
    assert f"The pages cannot be served at {where}: " in found.err
    assert f"(pid {os.getpid()}) has that address" in found.err


def test_users_are_added_listed_and_removed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(tmp_path / "users")
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    assert cli("web", "user", "add", "alice", "--users", file).code == 0
    assert cli("web", "user", "list", "--users", file).out == "alice\n"
    assert cli("web", "user", "remove", "bob", "--users", file).code == 1
    assert cli("web", "user", "remove", "alice", "--users", file).code == 0
    assert "name the file of the users, --users FILE: the configuration has none" in cli("web", "user", "list").err


@pytest.mark.parametrize(
    "action", [["users"], ["user"], ["user", "add"], ["user", "rename", "a"], ["user", "list", "a"]]
)
def test_what_is_done_with_users_is_said(cli: Cli, action: list[str]) -> None:
    assert cli("web", *action).err.startswith(
        "qmi: it is 'qmi web', 'qmi web login [CONTEXT]', or 'qmi web user add NAME'"
    )


def test_users_of_the_configuration_are_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = Cli(write_lab(tmp_path, lab={"web": {"users": "${context}.users"}}, other={"web": {}}), capsys)
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    assert (
        cli("web", "user", "add", "alice").err == f"qmi: alice may log in with this password, by {tmp_path}/lab.users\n"
    )
    assert cli("web", "user", "list").out == "alice\n"
    assert cli("web", "user", "remove", "bob").err.endswith("lab.users: it has alice\n")
    several = Cli(write_lab(tmp_path, lab={"web": {"users": "a"}}, other={"web": {"users": "b"}}), capsys)
    assert several("web", "user", "list").err.endswith(f"--users FILE: there are {tmp_path}/a, {tmp_path}/b\n")


def test_name_and_password_are_refused_before_more_is_typed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    typed = iter(["short", "correct horse", "correct house", "correct horse", "correct horse"])
    monkeypatch.setattr(sys, "stdin", Keyboard())

    def getpass(text: str) -> str:
        asked.append(text)
        return next(typed)

    monkeypatch.setattr("getpass.getpass", getpass)
    assert "the name of a user has letters" in cli("web", "user", "add", "a b", "--users", "u").err
    assert asked == []
    file = str(cli.config.parent / "u")
    assert "a password must have 8 characters" in cli("web", "user", "add", "alice", "--users", file).err
    assert asked == ["Password of alice: "]
    assert "these were two passwords" in cli("web", "user", "add", "alice", "--users", file).err
    assert cli("web", "user", "add", "alice", "--users", file).code == 0


class Keyboard(io.StringIO):
    """A standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a signal")
@pytest.mark.slow
def test_command_prints_addresses_as_json(config: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    command = [sys.executable, "-m", "qmi", "--config", str(config), "--json", "web", "--bind", "127.0.0.1:0"]
    command += ["--token-file", str(token), "--public-reading", "no", "--dashboards", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        found = json.loads(program.stdout.readline()) | json.loads(program.stdout.readline())
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(found["url"] + "api/contexts")
        program.send_signal(signal.SIGINT)
    assert found["login"] == f"{found['url']}login#token={token.read_text().strip()}"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, QMI_Context]]:
    """A context that says where its pages are."""
    web = {"bind": "127.0.0.1:0"}
    config = write_lab(tmp_path, lab={"host": "127.0.0.1", "tcp_server_port": free_port(), "web": web}, bench={})
    config.write_text(json.dumps({**json.loads(config.read_text()), "qmi_home": str(tmp_path)}))
    with serving(config) as lab:
        yield config, lab


def test_login_prints_the_address_with_the_token(
    served: tuple[Path, QMI_Context], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli, lab = Cli(served[0], capsys), served[1]
    assert cli("web", "login").err.endswith("the pages of lab are not served: the program was started without\n")
    lab.async_context.pages = PagesStatus()
    assert cli("web", "login").err.endswith("the pages of lab are not served: they are just starting\n")
    assert "\npages starting\n" in cli("ls", "lab").out
    lab.async_context.pages = PagesStatus(why="no room")
    assert cli("web", "login").err.endswith("the pages of lab are not served: no room\n")
    assert "\npages not served: no room\n" in cli("ls", "lab").out
    file = tmp_path / "lab_web.token"
    lab.async_context.pages = PagesStatus("http://127.0.0.1:1/", token_file="/elsewhere")
    assert f", and not in {file}\n" in cli("web", "login").err
    token = kept_token(file)
    assert cli("web", "login").out == f"http://127.0.0.1:1/login#token={token}\n"
    assert cli("--json", "web", "login", "lab").json == {"url": f"http://127.0.0.1:1/login#token={token}"}
    assert "\npages at http://127.0.0.1:1/ (token to log in: /elsewhere)\n" in cli("ls", "lab").out
    # Whoever answers for the context, the token is for the server of the configuration alone.
    lab.async_context.pages = PagesStatus("https://evil.example:2/", token_file=str(file))
    assert cli("web", "login").out == f"http://127.0.0.1:2/login#token={token}\n"
    assert cli("web", "login", "bench").code == 2


@pytest.mark.parametrize(
    ("contexts", "fault"),
    [
        ({"lab": {}}, "no context has a section web, in "),
        ({"a": {"web": {}}, "b": {"web": {}}}, "'qmi web login CONTEXT' with one of a, b, in "),
        ({"lab": {"web": {}, "host": "127.0.0.1", "tcp_server_port": 1}}, "lab does not run: 'qmi_proc start lab'"),
    ],
)
def test_login_needs_pages(
    contexts: dict[str, dict[str, object]], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fault in Cli(write_lab(tmp_path, **contexts), capsys)("web", "login").err
