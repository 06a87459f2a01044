"""Where drivers are looked for that did not come with the library: which folders, and in which order.

1. those of this library, so that nothing on the path takes their place,
2. the folders in ``$QMI_DRIVERS``,
3. the folders of ``drivers`` in the configuration,
4. every ``qmi/instruments`` on Python's path, of a laboratory or of a distribution,
5. what ``python -m qmi.tools.drivers`` fetched.

The folders are looked at again at each import of a driver that is not loaded yet, which takes some 0.1 ms: a change of
``sys.path``, of the environment or of the configuration is seen by the next import.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

from qmi.errors import QMI_Exception

VARIABLE = "QMI_DRIVERS"
PACKAGES = ("instruments", "utils")
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class DriverFolder(NamedTuple):
    """A folder with drivers.

    Attributes:
        origin: Who named it: "qmi-trio", "$QMI_DRIVERS", "configuration", "path" or "fetched".
        path: The folder as it was named.
        instruments: Its packages below ``qmi.instruments``; empty if there are none.
        utils: Its modules below ``qmi.utils``; empty if there are none.
        problem: Why nothing can be found in it; empty if nothing is wrong.
    """

    origin: str
    path: str
    instruments: str = ""
    utils: str = ""
    problem: str = ""

    def package(self, name: str) -> str:
        """Return the folder of ``instruments`` or ``utils``; empty if there is none."""
        return self.instruments if name == "instruments" else self.utils


_CONFIGURED: dict[str, None] = {}
"""Folders that contexts of this process were configured with, in the order of their start."""


def add_configured(folders: list[str]) -> None:
    """Have drivers looked for in the folders of a context's configuration, from now on.

    Args:
        folders: Full paths. A context that stops takes nothing along: its drivers are imported already.
    """
    _CONFIGURED.update(dict.fromkeys(folders))


def driver_folders() -> list[DriverFolder]:
    """Every folder that drivers are looked for in, in order, with what is wrong with it."""
    found: list[DriverFolder] = []
    seen = set()
    for folder in _candidates():
        known = (_real(folder.instruments), _real(folder.utils)) if not folder.problem else folder
        if known not in seen:
            seen.add(known)
            found.append(folder)
    return found


def package_path(name: str) -> list[str]:
    """The folders that make up the package ``qmi.instruments`` or ``qmi.utils``.

    Args:
        name: One of :data:`PACKAGES`.
    """
    return list(dict.fromkeys(path for folder in driver_folders() if (path := folder.package(name))))


def _candidates() -> Iterator[DriverFolder]:
    yield _of_project("qmi-trio", os.path.dirname(_OWN))
    for path in os.environ.get(VARIABLE, "").split(os.pathsep):
        if path.strip():
            yield _named("$" + VARIABLE, _absolute(os.path.expanduser(path.strip())))
    yield from _configured()
    for entry in sys.path:
        # Python passes over entries of other types, and so does this.
        if isinstance(entry, str) and os.path.isdir(os.path.join(entry, "qmi", "instruments")):
            yield _of_project("path", _absolute(entry))
    for path in fetched_folders():
        yield _of_project("fetched", path)


def _configured() -> Iterator[DriverFolder]:
    try:
        paths = _default_configuration()
    except (QMI_Exception, OSError) as error:  # a file that is wrong fails the start of a context, not an import
        yield DriverFolder("configuration", "qmi.conf", problem=str(error))
        paths = []
    for path in dict.fromkeys([*_CONFIGURED, *paths]):
        yield _named("configuration", path)


_LAST_READ: tuple[object, list[str]] = (None, [])
"""What the default configuration file was when it was read (path, time, size, home), and the folders it names."""


def _default_configuration() -> list[str]:
    """Folders of the file that a context without one of its own would read: imports come before its start."""
    global _LAST_READ  # replaced as a whole: a thread that imports at the same time reads the file once more
    file = os.path.expanduser(os.environ.get("QMI_CONFIG") or os.path.join("~", "qmi.conf"))
    try:
        status = os.stat(file)
    except (OSError, ValueError):  # the start of a context says so, if that is wrong
        return []
    state = (
        _absolute(file),
        status.st_mtime_ns,
        status.st_size,
        os.environ.get("QMI_HOME"),
        os.environ.get("HOME"),
    )
    if _LAST_READ[0] != state:
        _LAST_READ = (state, _folders_of(file))
    return _LAST_READ[1]


def _folders_of(file: str) -> list[str]:
    from qmi.config.files import read_file

    if b"drivers" not in read_file(file, 1 << 24):  # most files: the reader takes 60 ms to import
        return []
    from qmi.config.loader import load_config
    from qmi.config.paths import Places

    return Places(load_config(file)).driver_folders()


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except OSError:  # the current directory was removed
        return path


def _real(path: str) -> str:
    try:
        return os.path.realpath(path) if path else ""
    except OSError:
        return path


def _named(origin: str, path: str) -> DriverFolder:
    """A folder of the user's: with ``qmi/instruments`` in it, or with packages of drivers."""
    if not os.path.isdir(path):
        reason = "it is no folder" if os.path.exists(path) else "there is no such folder"
        return DriverFolder(origin, path, problem=reason)
    if os.path.isdir(os.path.join(path, "qmi", "instruments")):
        return _of_project(origin, path)
    parent, name = os.path.split(path)
    if name == "instruments" and os.path.basename(parent) == "qmi":
        return _of_project(origin, os.path.dirname(parent), as_named=path)
    return DriverFolder(origin, path, instruments=path)


def _of_project(origin: str, path: str, as_named: str = "") -> DriverFolder:
    folders = [os.path.join(path, "qmi", package) for package in PACKAGES]
    instruments, utils = (folder if os.path.isdir(folder) else "" for folder in folders)
    return DriverFolder(origin, as_named or path, instruments, utils)


def user_folder() -> str:
    """The folder for fetched drivers, where the system keeps data of a user's programs; need not exist."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.path.join(base, "qmi", "drivers")


def fetched_folders(folder: str | None = None) -> list[str]:
    """One folder for each fetched distribution, by its name.

    Args:
        folder: Where they are; None is :func:`user_folder`.
    """
    folder = user_folder() if folder is None else folder
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # nothing was fetched yet
        return []
    # A name that begins with a dot is a distribution that is just being fetched, or removed.
    paths = [os.path.join(folder, name) for name in names if not name.startswith(".")]
    return [path for path in paths if os.path.isdir(os.path.join(path, "qmi", "instruments"))]
