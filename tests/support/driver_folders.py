"""Folders with drivers for tests, and a package ``qmi.instruments`` that forgets them afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import qmi.instruments
import qmi.utils
from qmi.drivers import search


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files below a folder and return it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def add_entry_point(folder: Path, line: str, name: str = "acme_drivers") -> Path:
    """Make a folder look like one with an installed distribution that has an entry point for drivers."""
    return write(
        folder,
        {
            f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{name}-1.0.dist-info/entry_points.txt": f"[qmi.instruments]\n{line}\n",
        },
    )


@contextmanager
def forgotten_drivers() -> Iterator[None]:
    """What is imported within the block is not there after it."""
    packages = (qmi.instruments, qmi.utils)
    modules, path, configured = dict(sys.modules), list(sys.path), dict(search._CONFIGURED)
    names = {package: dict(vars(package)) for package in packages}
    paths = {package: list(package.__path__) for package in packages}
    try:
        yield
    finally:
        for name in set(sys.modules) - set(modules):
            del sys.modules[name]
        sys.path[:] = path
        search._CONFIGURED.clear()
        search._CONFIGURED.update(configured)
        for package in packages:
            for name in set(vars(package)) - set(names[package]):
                delattr(package, name)
            package.__path__[:] = paths[package]
