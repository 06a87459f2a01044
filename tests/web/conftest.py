"""A laboratory of one context, and its pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from argon2 import PasswordHasher

from qmi.web.csv_program import write_csv
from tests.support.cli import Cli, write_lab
from tests.support.ports import free_port
from tests.support.web import Web, web_and_lab


@pytest.fixture(scope="session", autouse=True)
def passwords_are_hashed_in_no_time() -> Iterator[None]:
    """A hash takes a tenth of a second on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        cheap = partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr("qmi.web.users.PasswordHasher", cheap)
        yield


@pytest.fixture(autouse=True)
def csv_is_made_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own takes seconds to begin."""

    async def make_csv(run: Path, file: Path) -> None:
        await trio.to_thread.run_sync(write_csv, run, file)

    monkeypatch.setattr("qmi.web.api_data.make_csv", make_csv)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The file of a configuration with a context named lab."""
    return write_lab(tmp_path, lab={"host": "127.0.0.1", "tcp_server_port": free_port()})


@pytest.fixture
async def web(config: Path) -> AsyncIterator[Web]:
    """The pages of a context named lab."""
    async with web_and_lab(config) as found:
        yield found


@pytest.fixture
def cli(config: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command with that configuration."""
    return Cli(config, capsys)
