"""Which classes the annotations of a driver's methods name, without importing what another program merely names.

What is imported already is used, and what this library, the installed drivers or the configuration have. Of other
classes only the names are known (:func:`qmi.presenting.annotation_types.foreign_type`).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection
from types import ModuleType

from qmi.config.schema import CfgQmi
from qmi.presenting.annotation_types import Resolve, foreign_type

_TRUSTED = ("qmi.",)


def configured_modules(config: CfgQmi) -> frozenset[str]:
    """The modules that the configuration names: those of instruments and tasks."""
    return frozenset(
        (name or "").removeprefix("hosted:").partition(":")[0]
        for context in config.contexts.values()
        for name in (
            *(item.driver for item in context.instruments.values()),
            *(item.task for item in context.tasks.values()),
        )
    )


def resolver(class_name: str, modules: Collection[str] = ()) -> Resolve:
    """Finds the classes that the methods of a driver name.

    Args:
        class_name: Full name of the driver's class.
        modules: Further modules that may be imported for it.
    """

    def resolve(name: str) -> object:
        owner = class_name.rpartition(".")[0]
        home = _module(owner, modules)
        if home is not None and (found := _below(home, name)) is not None:
            return found
        cls = None if home is None else _below(home, class_name.removeprefix(f"{home.__name__}."))
        for base in cls.__mro__ if isinstance(cls, type) else ():
            if (found := _below(sys.modules.get(base.__module__), name)) is not None:
                return found
        module, _, qualname = name.rpartition(".")
        if module and (found := _below(_module(module, modules), qualname)) is not None:
            return found
        return foreign_type(module or owner, qualname) if qualname[:1].isupper() else None

    return resolve


def _module(name: str, modules: Collection[str]) -> ModuleType | None:
    if name not in sys.modules and (name in modules or name.startswith(_TRUSTED)):
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - the module of a driver, which may need what is not installed here
            return None
    return sys.modules.get(name)


def _below(module: ModuleType | None, name: str) -> object:
    """What a module has by a name with dots in it, looked up without running code."""
    found: object = module
    for part in name.split("."):
        found = vars(found).get(part) if isinstance(found, ModuleType | type) else None
    return found
