"""Which drivers a command line means: ``MODULE:CLASS``, ``MODULE``, or the same with the file of a module."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from types import ModuleType

from qmi.core.rpc import QMI_RpcObject
from qmi.core.task import QMI_Task
from qmi.errors import QMI_UsageException

HELP = "the driver: MODULE:CLASS or FILE.py:CLASS; without :CLASS the only one that the module has"


def find_driver(target: str) -> type[QMI_RpcObject]:
    """The one driver that is meant.

    Args:
        target: Such as ``acme_psu:AcmePsu``, ``acme_psu``, ``drivers/acme_psu.py``.

    Raises:
        QMI_UsageException: If the module cannot be imported, has no such class, or has several drivers and the
            target does not say which.
    """
    found = find_drivers(target)
    if len(found) > 1:
        names = ", ".join(cls.__name__ for cls in found)
        raise QMI_UsageException(f"{target} has several drivers: {names}. Say which one: {target}:{found[0].__name__}")
    return found[0]


def find_drivers(target: str) -> list[type[QMI_RpcObject]]:
    """The driver that is meant, or all drivers of a module, in the order of its text.

    Raises:
        QMI_UsageException: As in :func:`find_driver`; also if the module has none.
    """
    name, class_name = split_target(target)
    module = import_target(name)
    if not class_name:
        return _drivers_of(module)
    found = find_class(module, class_name)
    if not issubclass(found, QMI_RpcObject):
        raise QMI_UsageException(
            f"{class_name} of {module.__name__} is no driver: it must derive from QMI_Instrument (or QMI_RpcObject), "
            f"and is {_bases(found)}"
        )
    return [found]


def split_target(target: str) -> tuple[str, str]:
    """The module or file, and the class, which is empty if none is named."""
    if target.endswith(".py"):
        return target, ""
    name, colon, class_name = target.rpartition(":")
    if colon and not class_name:
        raise QMI_UsageException(f"{target!r} names no class after the colon; expected MODULE:CLASS")
    return (name, class_name) if colon else (target, "")


def find_class(module: ModuleType, name: str) -> type:
    """A class of a module.

    Raises:
        QMI_UsageException: If it has no such class; says which drivers it has.
    """
    found = getattr(module, name, None)
    if isinstance(found, type):
        return found
    known = ", ".join(cls.__name__ for cls in _candidates(module)) or "none"
    raise QMI_UsageException(f"{module.__name__} has no class {name!r}; drivers in it: {known}")


def import_target(name: str) -> ModuleType:
    """Import a module by its name, or by its file; the current directory is looked in first, as by Python itself.

    Raises:
        QMI_UsageException: If there is none, or it fails. Says in which line.
    """
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    if name.endswith(".py"):
        name = _module_of_file(name)
    elif os.sep in name or "/" in name:
        raise QMI_UsageException(f"{name!r} is no module and no Python file: a file ends in .py")
    if not all(part.isidentifier() for part in name.split(".")):
        raise QMI_UsageException(f"{name!r} is no name of a module; expected MODULE:CLASS, such as acme_psu:AcmePsu")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise QMI_UsageException(
                f"There is no module {error.name!r}, neither here ({here}) nor installed ({error})"
            ) from error
        raise QMI_UsageException(f"{name} cannot be imported: {reason(error)}") from error
    except (Exception, SystemExit) as error:  # a user's module may raise anything, and its line is what matters
        raise QMI_UsageException(f"{name} cannot be imported: {reason(error)}") from error


def _module_of_file(file: str) -> str:
    path = os.path.abspath(file)
    if not os.path.isfile(path):
        raise QMI_UsageException(f"There is no file {path}")
    folder, name = os.path.dirname(path), os.path.basename(path)[: -len(".py")]
    parts = [] if name == "__init__" else [name]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return ".".join(parts)


def reason(error: BaseException) -> str:
    """What went wrong, and where in the user's text.

    Args:
        error: What code of a user has raised.
    """
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}, line {error.lineno})"
    own = os.path.dirname(os.path.abspath(sys.modules["qmi"].__file__ or "")) + os.sep
    loader = os.path.dirname(os.path.abspath(importlib.__file__)) + os.sep
    inside = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((own, loader, "<frozen "))
    ]
    where = f" ({inside[-1].filename}, line {inside[-1].lineno})" if inside else ""
    return f"{type(error).__name__}: {error}{where}"


def _drivers_of(module: ModuleType) -> list[type[QMI_RpcObject]]:
    found = _candidates(module)
    if not found:
        raise QMI_UsageException(
            f"{module.__name__} has no driver, that is no class that derives from QMI_Instrument (or QMI_RpcObject)"
        )
    return found


def _candidates(module: ModuleType) -> list[type[QMI_RpcObject]]:
    """Drivers that a module defines, or a package takes from modules of its own; tasks and helpers are none."""
    own = module.__name__
    return [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, QMI_RpcObject)
        and not issubclass(value, QMI_Task)
        and not name.startswith("_")
        and (value.__module__ == own or (hasattr(module, "__path__") and value.__module__.startswith(own + ".")))
    ]


def _bases(cls: type) -> str:
    return "derived from " + ", ".join(base.__name__ for base in cls.__bases__)
