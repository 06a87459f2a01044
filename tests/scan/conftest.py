from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from qmi.runtime.sigint import INTERRUPTS
from qmi.scan import lost


@pytest.fixture
def python_handles_ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, and scans leave nothing behind that handles it otherwise."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert INTERRUPTS.stoppers == []
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow at once."""
    monkeypatch.setattr(lost, "FIRST_DELAY", 1e-6)
    monkeypatch.setattr(lost, "LONGEST_DELAY", 1e-6)
