"""What is taken of a distribution: its drivers, and the helpers that these import."""

from __future__ import annotations

import ast
import re
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.parser import HeaderParser
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from qmi.errors import QMI_UsageException

INSTRUMENTS = "qmi/instruments/"
UTILS = "qmi/utils/"
_LIBRARY_PART = re.compile(r"[^/]+\.data/(?:purelib|platlib)/")
_LICENCE = re.compile(r"[^/]+\.dist-info/(?:licenses/.+|(?:LICEN[CS]E|COPYING|NOTICE|AUTHORS)[^/]*)\Z", re.IGNORECASE)
_LARGEST = 1 << 30


@dataclass
class Selection:
    """What is taken of a wheel.

    Attributes:
        name: Of the distribution.
        version: Its version.
        files: The files of drivers and their helpers, by their path below the folder of the drivers.
        licences: The files with its licence, likewise.
        hidden: Modules that it shares with this library, whose own are used.
        missing: Packages that some of the drivers import and that are not installed here, each with these drivers.
    """

    name: str
    version: str
    files: dict[str, bytes] = field(default_factory=dict)
    licences: dict[str, bytes] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)

    def packages(self) -> list[str]:
        """The names below ``qmi.instruments``."""
        return sorted(
            {PurePosixPath(path).parts[2].removesuffix(".py") for path in self.files if path.startswith(INSTRUMENTS)}
        )


def select(wheel: Path, own: Path, *, all_utils: bool = False) -> Selection:
    """Read a wheel and choose what is taken of it.

    Args:
        wheel: The file.
        own: The folder of this library's package ``qmi``: what is in it is not taken.
        all_utils: Whether all of ``qmi/utils`` is taken, and not only what the drivers import.

    Raises:
        QMI_UsageException: If it is no wheel, has names that lead elsewhere, or no drivers.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = {
                _LIBRARY_PART.sub("", info.filename, count=1): info for info in archive.infolist() if not info.is_dir()
            }
            _check(wheel, members, sum(info.file_size for info in members.values()))
            metadata = [name for name in members if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
            if len(metadata) != 1:
                raise QMI_UsageException(
                    f"{wheel} is no wheel: expected one file *.dist-info/METADATA, found {len(metadata)}"
                )
            headers = HeaderParser().parsestr(archive.read(members[metadata[0]]).decode("utf-8", "replace"))
            chosen = Selection(headers.get("Name", ""), headers.get("Version", ""))
            if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", chosen.name):
                raise QMI_UsageException(f"{wheel} is no wheel: its METADATA has no name of a distribution")
            wanted = _without_cache(name for name in members if name.startswith((INSTRUMENTS, UTILS)))
            contents = {name: archive.read(members[name]) for name in wanted}
            licences = {name: archive.read(members[name]) for name in members if _LICENCE.match(name)}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, OSError) as error:
        raise QMI_UsageException(f"{wheel} cannot be read as a wheel: {error}") from error
    drivers = {name: data for name, data in contents.items() if name.startswith(INSTRUMENTS)}
    drivers.pop(INSTRUMENTS + "__init__.py", None)
    if not drivers:
        raise QMI_UsageException(
            f"{chosen.name} {chosen.version} has no drivers: there is no folder qmi/instruments in it"
        )
    contents.pop(UTILS + "__init__.py", None)
    helpers = {name: data for name, data in contents.items() if name.startswith(UTILS)}
    taken = {**drivers, **(helpers if all_utils else _helpers(drivers, contents))}
    for path, data in sorted(taken.items()):
        if (own.parent / path).exists():
            chosen.hidden.append(_module(path))
        else:
            chosen.files[path] = data
    chosen.licences = {f"licences/{PurePosixPath(name).name}": data for name, data in licences.items()}
    chosen.missing = _missing(chosen.files)
    return chosen


def _check(wheel: Path, names: Iterable[str], size: int) -> None:
    """A file is written under its name, which must not lead out of the folder."""
    for name in names:
        if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
            raise QMI_UsageException(
                f"{wheel} has a file named {name!r}, which leads out of its folder; nothing was taken"
            )
    if size > _LARGEST:
        raise QMI_UsageException(f"{wheel} holds {size} bytes; at most {_LARGEST} are taken")


def _without_cache(names: Iterable[str]) -> list[str]:
    return [name for name in names if "/__pycache__/" not in name]


def _helpers(drivers: dict[str, bytes], contents: dict[str, bytes]) -> dict[str, bytes]:
    """The modules of ``qmi.utils`` that drivers import, those that these import, and so on."""
    found: dict[str, bytes] = {}
    waiting = list(drivers.items())
    while waiting:
        path, source = waiting.pop()
        for name in sorted(_helpers_of(path, source)):
            module, package = f"{UTILS}{name}.py", f"{UTILS}{name}/"
            new = {p: d for p, d in contents.items() if (p == module or p.startswith(package)) and p not in found}
            found.update(new)
            waiting += new.items()
    return found


def _helpers_of(path: str, source: bytes) -> set[str]:
    return {
        name.split(".")[2]
        for name in imported_names(path, source)
        if name.startswith("qmi.utils.") and name.count(".") >= 2
    }


def imported_names(path: str, source: bytes) -> set[str]:
    """The dotted names that a file imports, ``a.b.c`` for ``from a.b import c``; empty if it is no Python.

    Args:
        path: From which relative imports start.
        source: What is in it.
    """
    if not path.endswith(".py"):
        return set()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # drivers for other versions of Python are taken, and fail when they are imported
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(PurePosixPath(path).parent.parts)
            base = base[: len(base) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            names.update(f"{start}.{alias.name}" for alias in node.names)
    return names


def _missing(files: dict[str, bytes]) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for path, source in sorted(files.items()):
        for name in {name.partition(".")[0] for name in imported_names(path, source)}:
            users.setdefault(name, []).append(_module(path))
    known = {"qmi", *sys.stdlib_module_names}
    return {name: users[name] for name in sorted(users) if name not in known and find_spec(name) is None}


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
