"""``qmi web`` as a program of its own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a signal")
def test_command_prints_the_address_and_ends_by_ctrl_c(config: Path) -> None:
    command = [sys.executable, "-m", "qmi", "--config", str(config), "web", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline().startswith("The laboratory is shown at http://127.0.0.1:")
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=30)[1] == ""
        assert program.returncode == 0


def test_users_are_added_listed_and_removed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(tmp_path / "users")
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    assert cli("web", "user", "add", "alice", "--users", file).code == 0
    assert cli("web", "user", "list", "--users", file).out == "alice\n"
    assert cli("web", "user", "remove", "bob", "--users", file).code == 1
    assert cli("web", "user", "remove", "alice", "--users", file).code == 0
    assert cli("web", "user", "list").code == 2
    assert cli("web", "user", "rename", "a", "--users", file).code == 2
