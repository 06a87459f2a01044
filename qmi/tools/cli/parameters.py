"""``qmi get``, ``set``, ``snapshot`` and ``restore``: the parameters of objects."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from qmi.errors import QMI_Exception, QMI_UsageException
from qmi.names import Address, parse_member
from qmi.parameters.snapshot import Change, Snapshot, diff, with_unit
from qmi.presenting.annotations import configured_modules, resolver
from qmi.presenting.places import Place, find_places
from qmi.presenting.value_text import text_of
from qmi.tools.cli.errors import EXIT_FAILED, EXIT_OK, CommandError, user_errors
from qmi.tools.cli.options import CommandParser
from qmi.tools.cli.results import cell_of
from qmi.tools.cli.session import Laboratory, laboratory, parse_object
from qmi.tools.cli.terminal import Terminal

_DESCRIPTIONS = {
    "get": """
Read values of objects, and print them with their units:

  qmi get lab.psu.voltage
  qmi get lab.psu.voltage "lab.psu.outputs[2].voltage"
  qmi get "lab.psu.*"                         all parameters, in one turn
""",
    "set": """
Set a value of an object:

  qmi set lab.psu.voltage 5
  qmi set lab.psu.voltage 300 mV              converted to the unit of the parameter
  qmi set lab.psu.mode CURRENT                a member of an enumeration, by its name
""",
    "snapshot": """
Show the parameters of an object as they were read or set last, or what has changed since an earlier snapshot:

  qmi snapshot lab.psu
  qmi snapshot lab.psu --update -o psu.json   ask the device for all of them, and keep them in a file
  qmi snapshot lab.psu "outputs[2].*"         some of them
  qmi snapshot lab.psu --update --diff psu.json
""",
    "restore": """
Set what differs from a snapshot that was kept in a file:

  qmi restore lab.psu psu.json --dry-run      only show what would be set
  qmi restore lab.psu psu.json "outputs[2].*"
""",
}


def add_arguments(parser: CommandParser) -> None:
    """Declare the arguments of one of the commands."""
    command = parser.prog.split()[-1]
    parser.description = _DESCRIPTIONS[command].strip()
    parser.set_defaults(command=command)
    if command == "get":
        parser.add_argument("paths", nargs="+", metavar="CONTEXT.OBJECT.NAME", help="what to read; * fits any name")
    elif command == "set":
        # A value may begin with "-", as -5 does.
        parser.allow_numbers()
        parser.add_argument("path", metavar="CONTEXT.OBJECT.NAME", help="what to set")
        parser.add_argument("value", nargs="+", metavar="VALUE", help="the value, with its unit if it has one")
    else:
        parser.add_argument("object", metavar="CONTEXT.OBJECT", help="the object")
        if command == "restore":
            parser.add_argument("file", metavar="FILE", help="the file of a snapshot")
            parser.add_argument("--dry-run", action="store_true", help="set nothing, and show what would be set")
        else:
            parser.add_argument("--update", action="store_true", help="ask the device for all of them, in one turn")
            parser.add_argument("--diff", metavar="FILE", help="show what differs from the snapshot in that file")
            parser.add_argument("-o", "--output", metavar="FILE", help="keep the snapshot in a file")
        parser.add_argument("patterns", nargs="*", metavar="NAME", help="only these parameters; * fits any name")


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out one of the commands; returns the exit code."""
    command = {"get": _get, "set": _set, "snapshot": _snapshot, "restore": _restore}[arguments.command]
    return command(arguments, terminal)


# get


def _get(arguments: Namespace, terminal: Terminal) -> int:
    wanted = [_parse(path) for path in arguments.paths]
    with laboratory(arguments) as lab:
        found: dict[str, tuple[Place, object]] = {}
        failed: dict[str, str] = {}
        for address, pattern in wanted:
            places = find_places(lab.proxy(str(address)), address, pattern)
            found |= _read_all(places, arguments.timeout, failed)
    if terminal.json:
        told: dict[str, object] = {name: place.as_json(value) for name, (place, value) in found.items()}
        terminal.write_json({**told, **{name: {"error": why} for name, why in failed.items()}})
    elif len(wanted) == 1 and len(found) == 1 and not failed and "*" not in arguments.paths[0]:
        ((place, value),) = found.values()
        terminal.write(_with_unit(value, place.unit))
    elif found:
        terminal.table(("name", "value"), [(name, _with_unit(value, at.unit)) for name, (at, value) in found.items()])
    for name, why in failed.items():
        terminal.error(why if name in why else f"{name}: {why}")
    return EXIT_FAILED if failed else EXIT_OK


def _parse(path: str) -> tuple[Address, str]:
    try:
        return parse_member(path)
    except QMI_UsageException as error:
        if path.count(".") != 1 or "*" in path:
            raise
        raise QMI_UsageException(f"{error}; '{path}.*' are all parameters of {path}") from None


def _read_all(
    places: Sequence[Place], timeout: float | None, failed: dict[str, str]
) -> dict[str, tuple[Place, object]]:
    """Read values of one object; of several parameters in one turn."""
    together = {place.path: place for place in places if place.is_parameter}
    taken: Snapshot | None = None
    if len(together) > 1 and _has(places[0].proxy, "snapshot"):
        taken = places[0].proxy.snapshot(update=True, names=list(together), rpc_timeout=timeout)
    found: dict[str, tuple[Place, object]] = {}
    for place in places:
        if taken is not None and place.path in taken:
            found[place.where] = (place, taken[place.path].value)
            continue
        try:  # also what no snapshot has, such as a text of bytes
            with user_errors(place.where):
                found[place.where] = (place, place.get(timeout))
        except QMI_Exception as error:
            failed[place.where] = str(error)
    return found


def _has(proxy: Any, name: str) -> bool:
    return name in proxy.__rpc_interface__.methods


def _with_unit(value: object, unit: str) -> str:
    text = cell_of(value) if value is not None else text_of(value)
    return f"{text} {unit}" if unit else text


# set


def _set(arguments: Namespace, terminal: Terminal) -> int:
    address, path = parse_member(arguments.path)
    if "*" in path:
        raise CommandError(f"only one value is set at a time, got {arguments.path!r}", 2)
    with laboratory(arguments) as lab:
        (place,) = find_places(lab.proxy(str(address)), address, path)
        resolve = resolver(place.class_name, configured_modules(lab.config))
        value = place.read(" ".join(arguments.value), resolve)
        with user_errors(place.where):
            place.set(value, arguments.timeout)
    if terminal.json:
        terminal.write_json({place.where: place.as_json(value)})
    return EXIT_OK


# snapshot and restore


def _object(lab: Laboratory, arguments: Namespace, method: str) -> tuple[Address, Any]:
    address = parse_object(arguments.object)
    proxy = lab.proxy(str(address))
    if not _has(proxy, method) or proxy.__rpc_interface__.parameters is None:
        raise CommandError(f"{address} has no parameters; 'qmi call {address}' lists its methods")
    return address, proxy


def _snapshot(arguments: Namespace, terminal: Terminal) -> int:
    before = _load(arguments.diff) if arguments.diff else None
    with laboratory(arguments) as lab:
        address, proxy = _object(lab, arguments, "snapshot")
        with user_errors(f"{address}.snapshot()"):
            taken: Snapshot = proxy.snapshot(update=arguments.update, rpc_timeout=arguments.timeout)
    if arguments.patterns:
        taken = taken.select(*arguments.patterns)
        before = before.select(*arguments.patterns) if before is not None else None
    if arguments.output:
        taken.save(arguments.output)
        terminal.note(f"{len(taken)} parameters of {address} are kept in {arguments.output}")
    if before is not None:
        if not arguments.update and (unread := [name for name in before if name in taken.missing]):
            terminal.note(f"not read yet, and so not compared: {', '.join(unread)} (--update asks for them)")
            before = before.without(*unread) if len(unread) < len(before) else None
        _show_changes([] if before is None else diff(before, taken), terminal)
    elif terminal.json:
        terminal.write_json(taken.to_dict())
    elif not arguments.output:
        terminal.write(str(taken))
    return EXIT_OK


def _restore(arguments: Namespace, terminal: Terminal) -> int:
    kept = _load(arguments.file)
    if arguments.patterns:
        kept = kept.select(*arguments.patterns)
    with laboratory(arguments) as lab:
        address, proxy = _object(lab, arguments, "restore")
        if kept.class_name != proxy.__rpc_interface__.class_name:
            terminal.note(
                f"the snapshot is one of {kept.address} ({kept.class_name}), and {address} is of another class"
            )
        with user_errors(f"{address}.restore()"):
            changes = proxy.restore(kept, dry_run=arguments.dry_run, rpc_timeout=arguments.timeout)
    if not changes and not terminal.json:
        terminal.note(f"nothing to set: what can be set of {address} is as in {arguments.file}")
    _show_changes(changes, terminal)
    return EXIT_OK


def _load(file: str) -> Snapshot:
    try:
        return Snapshot.load(file)
    except OSError as error:
        raise CommandError(f"the snapshot {file!r} cannot be read: {error.strerror or error}") from None


def _show_changes(changes: Sequence[Change], terminal: Terminal) -> None:
    if terminal.json:
        terminal.write_json([_change_json(change) for change in changes])
    elif changes and terminal.is_terminal:
        rows = [(change.name, *(_change_text(value, change.unit) for value in change[1:3])) for change in changes]
        terminal.table(("name", "before", "after"), rows)
    else:
        for change in changes:
            terminal.write(str(change))


def _change_text(value: object, unit: str) -> str:
    return "?" if value is None else with_unit(value, unit)


def _change_json(change: Change) -> dict[str, object]:
    told: dict[str, object] = {"name": change.name, "before": text_or_plain(change.before)}
    return {**told, "after": text_or_plain(change.after), "unit": change.unit}


def text_or_plain(value: object) -> object:
    """A value for JSON, a member of an enumeration by its name."""
    return value if value is None or isinstance(value, bool | int | float) else text_of(value)
