"""An instrument that does what must not be done. It runs under this library and under upstream QMI alike."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from qmi.core.context import QMI_Context
from qmi.core.instrument import QMI_Instrument
from qmi.core.rpc import rpc_method


class Device(QMI_Instrument):
    """Everything that a driver can do to its program."""

    def __init__(self, context: QMI_Context, name: str) -> None:
        super().__init__(context, name)
        self.other: Any = None

    @rpc_method
    def echo(self, value: Any) -> Any:
        return value

    @rpc_method
    def leave(self) -> None:
        raise SystemExit(3)

    @rpc_method
    def fail_locally(self) -> None:
        class Local(Exception):
            pass

        raise Local("only known here")

    @rpc_method
    def give_mutex(self) -> Any:
        return threading.Lock()

    @rpc_method
    def block(self, seconds: float) -> None:
        time.sleep(seconds)

    @rpc_method
    def meet(self, name: str) -> None:
        self.other = self._context.get_rpc_object_by_name(name)

    @rpc_method
    def call_other(self, method: str, *args: Any) -> Any:
        return getattr(self.other, method)(*args)

    @rpc_method
    def own_pid(self) -> int:
        return os.getpid()


class Trap:
    """A value that wants to run something where it arrives."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (_write_pid, (self.path,))


def _write_pid(path: str) -> str:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    return path
