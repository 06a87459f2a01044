"""This library: the same script, and what only it can do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import qmi
from benchmarks.own_drivers import AsyncDriver, CallerDriver
from benchmarks.systems.base import Recording
from benchmarks.systems.qmi_script import QmiScript
from qmi.core.config_defs import CfgDiscovery, CfgQmi
from qmi.core.context import QMI_Context

LINKS = 100


class _Rows(Recording):
    def __init__(self, run: Any, columns: list[str]) -> None:
        self._run = run
        self._columns = columns

    def add(self, row: list[float]) -> None:
        self._run.add(**dict(zip(self._columns, row, strict=True)))


class Ours(QmiScript):
    """This library."""

    def driver_for(self, variant: str) -> type[Any]:
        """A driver that runs on the calling thread, if the variant says so."""
        return CallerDriver if variant == "caller" else self.driver

    def serving(self, variant: str) -> AbstractContextManager[str]:
        """An instrument that others can use, or a crowd of contexts that connect to one: ``crowd=HOST:PORT``."""
        if variant.startswith("crowd="):
            return self.crowd(variant.removeprefix("crowd="))
        return super().serving(variant)

    @contextmanager
    def crowd(self, address: str) -> Iterator[str]:
        """Contexts that are connected to context "bench"."""
        with ExitStack() as stack:
            for number in range(LINKS):
                other = QMI_Context(f"peer{number}", CfgQmi(discovery=CfgDiscovery(enabled=False)))
                stack.enter_context(other)
                other.connect_to_peer("bench", address)
            yield "connected"

    @contextmanager
    def recording(self, variant: str, columns: list[str]) -> Iterator[Recording]:
        """A run."""
        import qmi.data

        with qmi.data.run("rows", columns, folder=Path.cwd() / "runs") as run:
            yield _Rows(run, columns)

    @asynccontextmanager
    async def local_async(self) -> AsyncIterator[Any]:
        """An ``async`` instrument in a trio program, as its async proxy."""
        async with qmi.open_context("bench", None, console_loglevel="ERROR") as context:
            yield await context.make_instrument("driver", AsyncDriver)

    @asynccontextmanager
    async def remote_async(self, address: str) -> AsyncIterator[Any]:
        """An instrument of another program, as its async proxy."""
        async with qmi.open_context("client", None, console_loglevel="ERROR") as context:
            await context.connect_to_peer("server", address)
            yield await context.get_instrument("server.driver")


SYSTEM = Ours()
