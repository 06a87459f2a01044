"""Drivers and tasks that configurations of these tests name, and what is known of them."""

from __future__ import annotations

import enum
import os
import threading
from pathlib import Path
from typing import Any, ClassVar

from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_Task

HERE = "tests.support.configured"


class Mode(enum.Enum):
    """How a meter measures."""

    FAST = 1
    SLOW = 2


class Meter(QMI_Instrument):
    """A device that is there if a file says so."""

    opened: ClassVar[list[str]] = []

    def __init__(self, context: Any, name: str, there: str = "", *, mode: Mode = Mode.FAST) -> None:
        super().__init__(context, name)
        self._there = there
        self._mode = mode

    @rpc_method
    def open(self) -> None:
        """Open it."""
        if self._there and not Path(self._there).exists():
            raise OSError(f"nothing answers at {self._there}")
        super().open()
        self.opened.append(self._name)

    @rpc_method
    def get_mode(self) -> str:
        """How it measures."""
        return self._mode.name

    @rpc_method
    def get_pid(self) -> int:
        """The process that it lives in."""
        return os.getpid()

    @rpc_method
    def get_id(self) -> int:
        """What tells this object from another."""
        return id(self)


class Broken(QMI_Instrument):
    """Cannot be made."""

    def __init__(self, context: Any, name: str, text: str = "no such device") -> None:
        super().__init__(context, name)
        raise RuntimeError(text)


class Hanging(QMI_Instrument):
    """Cannot be opened before somebody says so."""

    may_open: ClassVar[threading.Event] = threading.Event()

    @rpc_method
    def open(self) -> None:
        """Open it."""
        self.may_open.wait(20.0)
        super().open()


class HangingMake(QMI_Instrument):
    """Cannot be made before somebody says so."""

    may_go: ClassVar[threading.Event] = threading.Event()

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.may_go.wait(20.0)


class Watch(QMI_Task[None, None]):
    """Waits for its end; fails in the first runs."""

    runs: ClassVar[list[str]] = []

    def __init__(self, task_runner: Any, name: str, failures: int = 0) -> None:
        super().__init__(task_runner, name)
        self._failures = failures

    def run(self) -> None:
        """Run."""
        self.runs.append(self._name)
        if len(self.runs) <= self._failures:
            raise RuntimeError("not yet")
        self.sleep(20.0)


class NoDriver:
    """What is no instrument."""
