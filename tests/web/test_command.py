"""``qmi web`` as a program of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a signal")
def test_command_prints_the_address_and_ends_by_ctrl_c(config: Path) -> None:
    command = [sys.executable, "-m", "qmi", "--config", str(config), "web", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline().startswith("The laboratory is shown at http://127.0.0.1:")
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=30)[1] == ""
        assert program.returncode == 0
