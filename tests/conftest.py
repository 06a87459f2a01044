"""Every test starts in a fresh home directory, with nothing configured."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import pytest

import qmi
from qmi.core.context import Context
from tests.support.examples import choose
from tests.support.heap import Heap
from tests.support.limits import limit_trio_tests
from tests.support.workers import sendable

# A shell ignores Ctrl-C on behalf of what it runs in the background, and so would every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # nor under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

HEAP = Heap()


def pytest_configure(config: pytest.Config) -> None:
    """Whoever asks for the slow tests gets many examples, too."""
    choose(thorough="not slow" not in config.getoption("markexpr"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """An async test that hangs fails alone."""
    limit_trio_tests(config, items)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """What a worker reports can be sent, whatever was printed."""
    return sendable((yield))


def pytest_collection_finish() -> None:
    """Thousands of tests and all libraries are there by now, and stay."""
    HEAP.put_away()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """So does much of what a file of tests leaves."""
    if HEAP.is_slow and (nextitem is None or nextitem.path != item.path):
        HEAP.put_away()


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory; no variable of QMI is set."""
    directory = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(directory))
    for name in ("QMI_HOME", "QMI_CONFIG", "QMI_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return directory


@pytest.fixture
async def trio_lab() -> AsyncIterator[Context]:
    """A context named lab, in the trio run of the test."""
    async with qmi.open_context("lab", None, init_logging=False) as lab:
        yield lab
