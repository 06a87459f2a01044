"""The public import paths; what lies behind them may move."""

# Scripts write "import qmi" and then qmi.core.task.QMI_Task: a module is imported when somebody asks for it.

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

_MODULES = (
    "config",
    "config_defs",
    "config_struct",
    "context",
    "context_singleton",
    "exceptions",
    "instrument",
    "logging_init",
    "messaging",
    "pubsub",
    "read_keyboard",
    "rpc",
    "scpi_protocol",
    "task",
    "thread",
    "transport",
    "transport_gpib_visa",
    "transport_usbtmc_pyusb",
    "transport_usbtmc_visa",
    "usbtmc",
    "util",
    "vxi11",
)

# To a type checker, this function would make any name one of the package's.
if not TYPE_CHECKING:

    def __getattr__(name):
        """Import a module of the package when it is first used."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
