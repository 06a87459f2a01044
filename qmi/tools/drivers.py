"""Fetches drivers that others wrote, and shows where drivers come from.

::

    python -m qmi.tools.drivers add qmi==0.54.2       # the drivers of QMI 0.54.2, fetched by pip, under its licence
    python -m qmi.tools.drivers list                  # what was fetched, and every folder that is searched
    python -m qmi.tools.drivers remove qmi

Of a distribution, only ``qmi/instruments`` is taken, and those modules of ``qmi/utils`` that its drivers import. The
files go to a folder of the user's, and every program of this user finds them; nothing is installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence

from qmi.config.command_line import ToolParser, tell_error
from qmi.config.validators import printable
from qmi.drivers.finder import GROUP, entry_point_names
from qmi.drivers.search import DriverFolder, driver_folders
from qmi.drivers.store import DriverStore
from qmi.errors import QMI_Exception

_PIP_NAMES = {
    **dict.fromkeys(("colorama", "matplotlib", "nidaqmx", "numpy", "pandas", "psutil", "pyvisa", "scipy", "zhinst")),
    "PIL": "Pillow", "clr": "pythonnet", "cv2": "opencv-python", "hid": "hidapi", "pywintypes": "pywin32",
    "serial": "pyserial", "skimage": "scikit-image", "usb": "pyusb", "usb1": "libusb1", "usbtmc": "python-usbtmc",
    "visa": "pyvisa", "vxi11": "python-vxi11", "win32com": "pywin32", "yaml": "PyYAML", "zmq": "pyzmq",
}  # fmt: skip
"""What pip calls a library that drivers import; None where that is the same."""


_PROGRAM = "python -m qmi.tools.drivers"


def main(arguments: Sequence[str] | None = None, program: str = _PROGRAM) -> int:
    """Carry out a command line; return the exit code: 0, 1 for a failure, 2 for a wrong command line."""
    try:
        given = make_parser(program).parse_args(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    store = DriverStore(given.folder)
    try:
        lines = {"add": _add, "list": _list, "remove": _remove}[given.command](store, given)
        sys.stdout.writelines(f"{line}\n" for line in lines)
    except QMI_Exception as error:
        tell_error(str(error), program, "error: ")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    return 0


def make_parser(program: str = _PROGRAM) -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = ToolParser(
        prog=program,
        description="Fetch drivers that others wrote, and show where drivers come from.",
    )
    parser.add_argument(
        "--folder",
        help="where fetched drivers are kept; one that is not the default has to be named in $QMI_DRIVERS or "
        'as "drivers" in the configuration',
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{add,list,remove}")
    add = commands.add_parser("add", help="fetch a distribution with pip and take its drivers")
    add.add_argument("requirement", help="such as qmi==0.54.2, or the file of a wheel")
    add.add_argument("--utils", action="store_true", help="take all of qmi/utils, not only what the drivers import")
    show = commands.add_parser("list", help="show what was fetched, and the folders that are searched")
    show.add_argument("--modules", action="store_true", help="name every package of drivers, and what hides it")
    remove = commands.add_parser("remove", help="remove the drivers of a distribution")
    remove.add_argument("name", help="of the distribution, such as qmi")
    return parser


def _add(store: DriverStore, given: argparse.Namespace) -> Iterator[str]:
    item = store.add(given.requirement, all_utils=given.utils)
    yield f"{item.name} {item.version}: drivers of {_count(item.packages, 'package')} are in {item.folder}"
    licences = ", ".join(item.licences())
    yield f"You use them under their own licence: {licences or 'the distribution has no file with one'}"
    if item.hidden:
        yield f"Not taken, since this library has its own: {', '.join(item.hidden)}"
    if item.missing_for:
        yield f"Imported by some of them and not installed here: {', '.join(item.missing_for)}"
        for library, users in item.missing_for.items():
            shown = ", ".join(user.removeprefix("qmi.instruments.") for user in users)
            yield f"  {library} ({_name_for_pip(library)}) is needed by {shown}"
    if not any(folder.path == item.folder for folder in driver_folders()):
        yield f"To have them found: export QMI_DRIVERS={item.folder}"


def _name_for_pip(library: str) -> str:
    """How a missing library is installed; of one that is not known, a stranger's package may have the name."""
    if library in _PIP_NAMES:
        return f"pip install {_PIP_NAMES[library] or library}"
    return "pip may know it by the same name; its maker's pages say so"


def _list(store: DriverStore, given: argparse.Namespace) -> Iterator[str]:
    fetched = store.fetched()
    yield f"Fetched drivers in {store.folder}: {'' if fetched else 'none'}".rstrip()
    for item in fetched:
        yield f"  {item.name} {item.version}: {', '.join(item.packages)}"
    yield "Drivers are looked for in this order:"
    folders = driver_folders()
    for number, folder in enumerate(folders, 1):
        yield f"  {number}. {_described(folder)}"
    yield f"  {len(folders) + 1}. entry points of the group {GROUP}"
    for name, value in sorted(entry_point_names().items()):
        yield f"       {name} = {value}"
    if given.modules:
        yield "Modules:"
        yield from _modules(folders)


def _described(folder: DriverFolder) -> str:
    text = f"{printable(folder.path)} ({folder.origin})"
    return f"{text}: nothing is found here, {folder.problem}" if folder.problem else text


def _modules(folders: list[DriverFolder]) -> Iterator[str]:
    """Every module with its file; one of a later folder is hidden by that of an earlier one."""
    files: dict[str, str] = {}
    for folder in folders:
        for name, file in _files(folder.instruments):
            note = f" (hidden by {files[name]})" if name in files else ""
            files.setdefault(name, file)
            yield f"  {name}: {printable(file)}{note}"


def _files(top: str) -> Iterator[tuple[str, str]]:
    for directory, inner, names in os.walk(top):
        inner[:] = sorted(name for name in inner if name.isidentifier() and name != "__pycache__")
        package = os.path.relpath(directory, top).replace(os.sep, ".")
        for name in sorted(names):
            if name.endswith(".py") and name != "__init__.py" and name[:-3].isidentifier():
                prefix = "" if package == "." else f"{package}."
                yield f"qmi.instruments.{prefix}{name[:-3]}", os.path.join(directory, name)


def _remove(store: DriverStore, given: argparse.Namespace) -> Iterator[str]:
    item = store.remove(given.name)
    yield f"{item.name} {item.version}: removed from {store.folder}"


def _count(items: Sequence[object], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())
