"""How drivers from elsewhere are imported, as if they stood in ``qmi/instruments`` and ``qmi/utils``.

Python looks for ``qmi.instruments.acme`` in the folders of ``qmi.instruments.__path__``. Two finders on
``sys.meta_path`` help it. The first, before all others, keeps that list up to date and joins the folders of one
name: the laboratory's ``acme`` and a fetched ``acme`` are one package, and the folder that comes first in the order of
:mod:`qmi.drivers.search` wins file by file. The second, behind all others, knows the entry points of installed
distributions, and says where it was looked when nothing is found.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

from qmi.drivers.search import PACKAGES, DriverFolder, driver_folders, package_path

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.metadata import EntryPoint
else:
    Loader = object  # its module takes 10 ms to import

GROUP = "qmi.instruments"
"""The group of entry points: ``acme = "acme_drivers"`` makes the package ``acme_drivers`` ``qmi.instruments.acme``."""

_ROOTS = {f"qmi.{package}": package for package in PACKAGES}


def install(package: str) -> list[str]:
    """Let a package of this library take in modules from elsewhere.

    Args:
        package: ``qmi.instruments`` or ``qmi.utils``.

    Returns:
        Its ``__path__``.
    """
    if not any(isinstance(finder, FolderFinder) for finder in sys.meta_path):
        # Before all others: that of pytest, which knows one folder of a package, takes every module of a distribution
        # with a plugin for pytest, and this is one.
        sys.meta_path.insert(0, FolderFinder())
        sys.meta_path.append(EntryPointFinder())
    return package_path(_ROOTS[package])


def _root(name: str) -> str:
    """The package of this library that a module is in, or empty."""
    return next((root for root in _ROOTS if name.startswith(root + ".")), "")


def entry_point_names() -> dict[str, str]:
    """The names below ``qmi.instruments`` that installed distributions give to modules of theirs."""
    return {name: point.value for name, point in _points().items()}


class FolderFinder:
    """Finds modules of drivers in all folders, and joins packages of one name."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """Return what to load for a module of drivers; None leaves everything else to other finders."""
        root = _root(name)
        if not root:
            return None
        package, _, last = name.rpartition(".")
        parent = sys.modules.get(package)
        if parent is not None and parent.__name__ != package:
            # The package is that of an entry point: its modules must not be loaded again under another name.
            return _alias(name, f"{parent.__name__}.{last}")
        folders = list(path or ())
        if package == root and parent is not None:
            folders = package_path(_ROOTS[root])
            # Replaced at once: somebody who walks through the package at the same time sees the old or the new folders.
            parent.__path__[:] = folders
        spec = PathFinder.find_spec(name, folders)
        if spec is not None and spec.submodule_search_locations is not None:
            joined = [os.path.join(folder, last) for folder in folders]
            spec.submodule_search_locations = [folder for folder in joined if os.path.isdir(folder)]
        return spec


class EntryPointFinder:
    """Finds drivers by the entry points of installed distributions, after every other finder found nothing."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """Return what to load for a driver.

        Raises:
            ModuleNotFoundError: If a package of drivers is nowhere to be found; says where it was looked for.
        """
        root = _root(name)
        if not root:
            return None
        inner = name[len(root) + 1 :]
        points = _points() if root == GROUP else {}
        if inner in points:
            return _of_point(name, points[inner])
        if any(known.startswith(inner + ".") for known in points):
            package = ModuleSpec(name, None, is_package=True)
            package.submodule_search_locations = []
            return package
        if "." in inner:
            return None
        raise ModuleNotFoundError(_explain(name, driver_folders()), name=name)


def _points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # takes 30 ms, and few drivers come by an entry point

    return {point.name: point for point in entry_points(group=GROUP)}


def _alias(name: str, real: str) -> ModuleSpec | None:
    try:
        module = importlib.import_module(real)
    except ModuleNotFoundError as error:
        if error.name == real:
            return None
        raise
    return _spec_of(name, module)


def _of_point(name: str, point: EntryPoint) -> ModuleSpec:
    module = importlib.import_module(point.module)
    if not point.attr:
        return _spec_of(name, module)
    # "laser = acme.drivers:Laser" is a module with this one name in it.
    holder = ModuleType(name, f"The entry point {point.name} = {point.value}.")
    setattr(holder, point.attr.rpartition(".")[2], point.load())
    return _spec_of(name, holder)


def _spec_of(name: str, module: ModuleType) -> ModuleSpec:
    return ModuleSpec(name, _Loaded(module), is_package=hasattr(module, "__path__"))


class _Loaded(Loader):
    """A loader whose module is loaded already, and stays what it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just given it the description of its other name, with which it could not be reloaded.
        if self._spec is not None:
            module.__spec__ = self._spec


def _explain(name: str, folders: list[DriverFolder]) -> str:
    text = f"No module named {name!r}. It was looked for in "
    places = [folder.path for folder in folders if not folder.problem and folder.origin != "qmi-trio"]
    text += ", ".join(["this library", *places, "the entry points of installed distributions"])
    text += "".join(
        f"; not in {folder.path} (from {folder.origin}): {folder.problem}" for folder in folders if folder.problem
    )
    option = "" if name.startswith(GROUP) else " --utils"
    return f"{text}. What comes with QMI is fetched by 'python -m qmi.tools.drivers add qmi{option}'"
