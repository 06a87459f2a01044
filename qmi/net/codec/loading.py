"""What is imported when a value of it arrives: this library's own modules, and a few libraries of values.

The names are fixed here; nothing that comes over a link chooses what is imported. Every other type is looked up among
the modules that the program has imported itself.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

OWN_MODULES: dict[str, str] = {
    "qmi.core.config_defs": "qmi.core.config_defs",
    "qmi.core.context": "qmi.core.context",
    "qmi.core.driver": "qmi.simulation.travelling",
    "qmi.core.exceptions": "qmi.errors",
    "qmi.core.instrument": "qmi.core.instrument",
    "qmi.core.pubsub": "qmi.core.pubsub",
    "qmi.core.rpc": "qmi.core.rpc",
    "qmi.core.task": "qmi.core.task",
    "qmi.core.transport": "qmi.core.transport",
    "qmi.data.dataset": "qmi.data.structure",
    "qmi.errors": "qmi.errors",
    "qmi.messages": "qmi.messages",
    "qmi.parameters.snapshot": "qmi.parameters.snapshot",
}
"""The module that a type of this library names as its own -> the module that has it."""
LIBRARIES = frozenset({"astropy.units", "numpy", "numpy.ma", "pandas", "pint", "xarray"})


def find_own_module(name: str) -> ModuleType | None:
    """Return a module of this library that has types that travel, imported if need be; None for any other name."""
    home = OWN_MODULES.get(name)
    if home is None:
        return None
    found = sys.modules.get(home)
    return found if found is not None else importlib.import_module(home)


def load_library(name: str) -> ModuleType:
    """Return one of the libraries whose values travel.

    Raises:
        ImportError: If it is not installed here.
    """
    assert name in LIBRARIES
    found = sys.modules.get(name)
    return found if found is not None else importlib.import_module(name)


def loaded_library(name: str) -> ModuleType | None:
    """Return such a library if this program has imported it, else None: nothing can be of one of its types then."""
    return sys.modules.get(name)
