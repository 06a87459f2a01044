from __future__ import annotations

from pathlib import Path

import pytest

from qmi.data import run_metadata


@pytest.fixture(autouse=True)
def _no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs do not ask git for the state of this repository, which takes a while."""
    monkeypatch.setattr(run_metadata, "of_git", lambda directory: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where runs are."""
    return tmp_path / "runs"
