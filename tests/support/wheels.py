"""Wheels with drivers, made in a test."""

from __future__ import annotations

import zipfile
from pathlib import Path


def make_wheel(folder: Path, files: dict[str, str], name: str = "acme_drivers", version: str = "1.0") -> Path:
    """Write a wheel with some files and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    contents = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **files,
    }
    contents[f"{info}/RECORD"] = "".join(f"{entry},,\n" for entry in [*contents, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for entry, text in contents.items():
            archive.writestr(entry, text)
    return path
