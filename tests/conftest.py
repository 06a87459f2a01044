"""Every test starts in a fresh home directory, with nothing configured."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

# A shell ignores Ctrl-C on behalf of what it runs in the background, and so would every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory; no variable of QMI is set."""
    directory = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(directory))
    for name in ("QMI_HOME", "QMI_CONFIG", "QMI_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return directory
