"""``new NAME``: writes the folder of a package with a driver, its simulator, its tests and its page."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import os
import re
import shlex
import shutil
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from string import Template

from qmi._version import __version__
from qmi.drivers.finder import entry_point_names
from qmi.errors import QMI_UsageException
from qmi.tools.driver.template import FILES

_LONGEST = 60
_TAKEN = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
"""Names that Windows has for devices."""
_NAMES_OF_DRIVERS = {"Range", "ScpiInstrument", "ScriptedTransport", "Simulator"}
"""What the files of the template import."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("name", metavar="NAME", help="of the package and its folder, such as acme_psu: maker and model")
    parser.add_argument("--class", dest="class_name", metavar="CLASS", help="of the driver, such as AcmePsu")
    parser.add_argument("--folder", default=".", help="where the package's folder is put; the current one if left out")


def run(given: argparse.Namespace) -> int:
    """Carry out the command."""
    path = write_package(given.name, given.class_name, given.folder)
    words = {"package": given.name, "driver": given.class_name or class_name_of(given.name)}
    shown = os.path.normpath(os.path.join(given.folder, os.path.basename(path)))
    sys.stdout.writelines(f"{line}\n" for line in _next_steps(shown, words))
    return 0


def write_package(name: str, class_name: str | None = None, folder: str = ".") -> str:
    """Write the package of a new driver.

    Args:
        name: Of the package, and of its folder.
        class_name: Of the driver; None makes one from the name.
        folder: Where the package's folder is put.

    Returns:
        The path of the package's folder.

    Raises:
        QMI_UsageException: If a name will not do, or the folder exists already. Nothing has been written then.
        OSError: If it cannot be written.
    """
    check_name(name)
    class_name = class_name_of(name) if class_name is None else class_name
    if not class_name.isidentifier() or keyword.iskeyword(class_name) or class_name.startswith("_"):
        raise QMI_UsageException(
            f"The class must have a name of letters, digits and _, beginning with a letter, got {class_name!r}"
        )
    if class_name in _NAMES_OF_DRIVERS:
        raise QMI_UsageException(
            f"The class cannot be called {class_name}, which the driver imports; choose another name"
        )
    if not os.path.isdir(folder):
        raise QMI_UsageException(f"There is no folder {folder!r} to put the package into")
    path = os.path.join(os.path.abspath(folder), name)
    if os.path.lexists(path):
        raise QMI_UsageException(f"{path} exists already; choose another name, or remove it first")
    _check_free(name)
    words = {
        "package": name,
        "driver": class_name,
        "distribution": name.replace("_", "-").lower(),
        "title": name.replace("_", " "),
        "version": __version__,
    }
    # Written elsewhere and then given its name: there is the whole folder, or none.
    draft = tempfile.mkdtemp(prefix=f".{name}-", dir=folder)
    try:
        os.chmod(draft, 0o777 & ~_umask())
        for file, text in FILES.items():
            target = os.path.join(draft, Template(file).substitute(words))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(Template(text).substitute(words))
        os.rename(draft, path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return path


def class_name_of(name: str) -> str:
    """The name of the class in a package: ``acme_psu2`` has ``AcmePsu2``."""
    return "".join(part[0].upper() + part[1:] for part in name.split("_") if part)


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a package everywhere.

    Raises:
        QMI_UsageException: Says what is wrong, and proposes a name that would do.
    """
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_+[A-Za-z0-9]+)*", name) and not keyword.iskeyword(name):
        if len(name) > _LONGEST:
            raise QMI_UsageException(f"NAME must have at most {_LONGEST} characters, got {len(name)}: {name!r}")
        if name.lower() in _TAKEN:
            raise QMI_UsageException(f"NAME cannot be {name!r}, which is the name of a device on Windows")
        return
    if keyword.iskeyword(name):
        raise QMI_UsageException(f"NAME cannot be {name!r}, which is a word of Python; such as {name}_driver will do")
    plain = "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))
    better = re.sub(r"[^A-Za-z0-9]+", "_", plain).lstrip("_0123456789").rstrip("_").lower()
    proposal = f"; {better} would do" if better and not keyword.iskeyword(better) else ""
    raise QMI_UsageException(
        f"NAME must be an identifier, of ASCII letters, digits and _, beginning with a letter, got {name!r}{proposal}"
    )


def _check_free(name: str) -> None:
    """Refuse a name under which Python would import something else."""
    if name in ("docs", "tests"):
        raise QMI_UsageException(f"NAME cannot be {name!r}, which is a folder of every package")
    if name in sys.stdlib_module_names:
        raise QMI_UsageException(f"NAME cannot be {name!r}, which is a module of Python itself")
    if name in entry_point_names() or _is_known(f"qmi.instruments.{name}"):
        raise QMI_UsageException(f"There are drivers already in qmi.instruments.{name}; choose another name")
    found = importlib.util.find_spec(name)
    if found is not None:
        where = found.origin or ", ".join(found.submodule_search_locations or ())
        raise QMI_UsageException(f"There is a module {name} already, in {where}; choose another name")


def _is_known(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # says where it was looked for
        return False


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


_STEPS = {
    "$package/driver.py": "one line for each setting and reading; what is neither, as a method",
    "$package/enums.py": "what its choices are called, for driver and simulator",
    "$package/simulator.py": "what the device would answer",
    "tests/test_driver.py": "what has to be written to the device for each of them",
    "$package/__init__.py": "which names programs import, such as your enumerations",
    "pyproject.toml": "what it is; and numpy, if you use Block",
    "README.md": "how your device is used",
}
_COMMANDS = {
    "check $package": "tries what every driver has to get right",
    "docs --into docs/$package.md": "writes its tables into its page",
    "simulate $package --tcp :5025": "serves the simulator",
}


def _next_steps(path: str, words: dict[str, str]) -> Iterator[str]:
    """What to do with the folder."""
    yield f"{path} has a driver that works, with simulator, tests and page. Begin with its tests, which pass:"
    yield ""
    yield f"  cd {shlex.quote(path)}"
    yield "  python -m pip install -e '.[test]'"
    yield "  python -m pytest"
    yield ""
    yield "It is for a power supply that nobody has. With the manual of your device, change:"
    yield ""
    for step, what in _aligned(_STEPS, words):
        yield f"  {step}  {what}"
    yield ""
    yield "python -m qmi.tools.driver ..."
    for command, what in _aligned(_COMMANDS, words):
        yield f"  {command}  {what}"
    yield ""
    yield f"Every program here then finds it: from qmi.instruments.{words['package']} import {words['driver']}"


def _aligned(table: dict[str, str], words: dict[str, str]) -> Iterator[tuple[str, str]]:
    rows = {Template(key).substitute(words): what for key, what in table.items()}
    width = max(map(len, rows))
    return ((key.ljust(width), what) for key, what in rows.items())
