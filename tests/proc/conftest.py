"""Every test has a home of its own, and leaves no program behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from qmi.proc.child import restore_ctrl_c
from tests.support.proc import PROGRAMS


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home directory; what was started with it is ended with the test."""
    restore_ctrl_c()
    directory = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(directory))
    for name in ("QMI_HOME", "QMI_CONFIG", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    yield directory
    if not (directory / ".qmi_proc").exists():
        return
    for process in psutil.process_iter(["environ"]):
        environment = process.info["environ"] or {}
        if environment.get("HOME") == str(directory) and str(PROGRAMS) in environment.get("PYTHONPATH", ""):
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(process.pid, signal.SIGKILL)
