"""Libraries that only some transports need, imported when the first of these is made."""

from __future__ import annotations

import importlib
from types import ModuleType

from qmi.errors import QMI_MissingLibraryException


def import_library(name: str, what: str, install: str) -> ModuleType:
    """Import a library.

    Args:
        name: The module.
        what: What needs it.
        install: What is to be installed with pip where it is missing.

    Raises:
        QMI_MissingLibraryException: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != name.partition(".")[0]:
            raise
        raise QMI_MissingLibraryException(
            f"{what} need the Python package {name!r}, which is not installed: pip install '{install}'"
        ) from error


def import_serial() -> ModuleType:
    """Pyserial."""
    return import_library("serial", "Serial ports", "pyserial")


def import_pyvisa() -> ModuleType:
    """PyVISA."""
    return import_library("pyvisa", "VISA, USBTMC, GPIB and VXI-11 devices", "qmi-trio[visa]")
