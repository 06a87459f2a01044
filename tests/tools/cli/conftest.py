"""A laboratory of one context, and the command ``qmi``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qmi.core.context import QMI_Context
from qmi.tools.cli import fetch
from tests.support.cli import Cli, serving, write_lab


@pytest.fixture(autouse=True)
def cache_in_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What commands learn is kept in the home directory of the test."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.fixture(autouse=True)
def patient_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Completion waits for the network for as long as a busy machine takes."""
    monkeypatch.setattr(fetch, "LONGEST", 10.0)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The file of a configuration with a context named lab, on any port."""
    return write_lab(tmp_path)


@pytest.fixture
def lab(config: Path) -> Iterator[QMI_Context]:
    """The context, which runs."""
    with serving(config) as context:
        yield context


@pytest.fixture
def cli(config: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command with that configuration: ``cli("ls", "lab").out``."""
    return Cli(config, capsys)
