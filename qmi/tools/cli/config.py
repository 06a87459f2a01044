"""``qmi config``: checks a configuration file, and shows which settings are in force and where they come from."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

from qmi.errors import QMI_ConfigurationException
from qmi.tools.cli.errors import EXIT_OK, EXIT_USAGE
from qmi.tools.cli.options import CommandParser, add_common
from qmi.tools.cli.terminal import Terminal

if TYPE_CHECKING:
    from qmi.config.positions import SettingPath
    from qmi.config.schema import CfgQmi

DESCRIPTION = """
check: say all that is wrong with a configuration file, with line and setting; exit code 2 if anything is.
show: print the settings in force, and where each comes from: a line of the file, the environment, or the
default.

Without FILE it is the file that programs read: $QMI_CONFIG, else qmi.conf in the home directory.
"""

DEFAULT = "default"


def add_arguments(parser: CommandParser) -> None:
    """Add what the command takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="check|show")
    for name, text in (("check", "say all that is wrong"), ("show", "print the settings in force")):
        action = actions.add_parser(name, help=text)
        action.add_argument("file", nargs="?", default="", metavar="FILE", help="instead of the usual file")
        if name == "show":
            action.add_argument("--set", action="store_true", dest="only_set", help="only those that are no defaults")
        add_common(action)


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code: 2 if the file has faults."""
    name = arguments.file or arguments.config
    if arguments.action == "check":
        return _check(name, terminal)
    settings = effective(name)
    if arguments.only_set:
        settings = [setting for setting in settings if setting.origin != DEFAULT]
    if terminal.json:
        terminal.write_json([setting._asdict() for setting in settings])
    else:
        rows = [(setting.name, _shown(setting), setting.origin) for setting in settings]
        terminal.table(("setting", "value", "from"), rows, styles=["dim" if row[2] == DEFAULT else "" for row in rows])
    return EXIT_OK


# Checking


class Fault(NamedTuple):
    """A fault of a configuration file.

    Attributes:
        line: Where; None if it is in no line.
        text: What is wrong: the setting, what was found, and what was expected.
    """

    line: int | None
    text: str


def _check(name: str, terminal: Terminal) -> int:
    path, faults = check(name)
    if terminal.json:
        terminal.write_json({"file": path, "faults": [fault._asdict() for fault in faults]})
    elif faults:
        for fault in faults:
            terminal.write(f"{path}{'' if fault.line is None else f':{fault.line}'}: {fault.text}")
        terminal.note("1 fault" if len(faults) == 1 else f"{len(faults)} faults")
    else:
        terminal.write(f"{path}: no faults" if path else "there is no configuration file: defaults are in force")
    return EXIT_USAGE if faults else EXIT_OK


def check(name: str) -> tuple[str, list[Fault]]:
    """All that is wrong with a configuration file.

    Args:
        name: The file; "" is the one that programs read.

    Returns:
        Its path, empty if there is none, and its faults.

    Raises:
        QMI_ConfigurationException: If it is not there or cannot be read.
    """
    from qmi.config.loader import completed, find_config_file, load_config, read_config_text
    from qmi.config.parser import parse
    from qmi.config.positions import positions

    path = find_config_file(name)
    if path is None:
        return "", []
    text = read_config_text(path, f"The configuration file {path}")
    try:
        parse(text, str(path))
    except QMI_ConfigurationException as error:
        return str(path), [_placed(fault) for fault in error.faults or [str(error)]]
    known = positions(text)
    found: dict[str, None] = {}
    try:
        config = load_config(path)
        for context in config.contexts:
            try:
                completed(config, context)
            except QMI_ConfigurationException as error:
                found.update(dict.fromkeys(error.faults or [str(error)]))
    except QMI_ConfigurationException as error:
        found.update(dict.fromkeys(error.faults or [str(error)]))
    return str(path), sorted((Fault(_line(fault, known), fault) for fault in found), key=lambda fault: fault.line or 0)


def _placed(fault: str) -> Fault:
    # What is no JSON5 begins with its line: "line 3, column 7: ...".
    head, _, rest = fault.partition(":")
    words = head.replace(",", "").split()
    if len(words) >= 2 and words[0] == "line" and words[1].isdecimal():
        column = f"column {words[3]}: " if len(words) >= 4 and words[2] == "column" else ""
        return Fault(int(words[1]), column + rest.strip())
    return Fault(None, fault)


def _line(fault: str, known: Mapping[SettingPath, int]) -> int | None:
    """The line of the setting that a fault begins with: the longest one whose name it has."""
    from qmi.config.structure import path_text

    best: tuple[int, int] | None = None
    for path, line in known.items():
        name = path_text(path)
        if fault.startswith(name) and fault[len(name) : len(name) + 1] in ("", ":", ".", "[", " "):
            best = max(best or (0, 0), (len(name), line))
    return None if best is None else best[1]


# Showing


class Setting(NamedTuple):
    """A setting that is in force.

    Attributes:
        name: Where it stands: ``contexts.lab.host``.
        value: Its value.
        origin: Where that comes from: file and line, an environment variable, or "default".
        full: The full path, for folders.
    """

    name: str
    value: object
    origin: str
    full: str = ""


def effective(name: str) -> list[Setting]:
    """The settings in force.

    Args:
        name: The file; "" is the one that programs read.

    Raises:
        QMI_ConfigurationException: If it is not usable.
    """
    from qmi.config.loader import find_config_file, load_config, read_config_text
    from qmi.config.positions import line_of, positions
    from qmi.config.structure import path_text, unstructure

    path = find_config_file(name)
    config = load_config(name if path is None else path)
    known = positions(read_config_text(path, str(path))) if path is not None else {}
    folders = _folders(config)
    found = []
    for place, value in _leaves(unstructure(config), ()):
        line = known.get(place) or (line_of(place, known) if _is_of_user(place) else None)
        origin = DEFAULT if line is None else f"{path}:{line}"
        if place == ("config_file",):
            named = "the command line" if name else "$QMI_CONFIG" if os.environ.get("QMI_CONFIG") else DEFAULT
            origin = named if value else DEFAULT
        elif place == ("qmi_home",) and value is None and os.environ.get("QMI_HOME"):
            value, origin = os.environ["QMI_HOME"], "$QMI_HOME"
        elif place in (("logging", "loglevel"), ("logging", "console_loglevel")) and "QMI_DEBUG" in os.environ:
            value, origin = "DEBUG", "$QMI_DEBUG"
        found.append(Setting(path_text(place), value, origin, folders.get(place, "")))
    return found


def _folders(config: CfgQmi) -> dict[SettingPath, str]:
    from qmi.config.paths import Places

    places = Places(config)
    found: dict[SettingPath, str] = {("qmi_home",): places.qmi_home(), ("log_dir",): places.log_dir()}
    if config.datastore is not None:
        found["datastore",] = places.datastore()
    return found


def _leaves(value: object, path: SettingPath) -> Iterator[tuple[SettingPath, object]]:
    if isinstance(value, dict) and value:
        for key, inner in cast("dict[str, object]", value).items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path, value


def _is_of_user(path: SettingPath) -> bool:
    """Whether a setting is part of a value of the user's own, all of which stands in the file."""
    return any(key in path[:-1] for key in ("args", "kwargs"))


def _shown(setting: Setting) -> str:
    from qmi.presenting.json_values import dumps

    text = "-" if setting.value is None else dumps(setting.value, indent=None)
    return f"{text} -> {setting.full}" if setting.full and setting.full != setting.value else text
