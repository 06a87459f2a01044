"""``qmi ls``: what contexts there are, and what is in them. Nothing of an object runs for it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qmi.errors import QMI_UsageException
from qmi.names import is_valid_name
from qmi.tools.cli.errors import EXIT_FAILED, EXIT_OK
from qmi.tools.cli.options import CommandParser, positive_seconds
from qmi.tools.cli.terminal import Block, Terminal, Text

if TYPE_CHECKING:
    from qmi.presenting.seen import Seen
    from qmi.tools.cli.session import Laboratory

DESCRIPTION = """
Show the contexts that answer on the network, are at the site or in the configuration: where they are, what version
of the library they run, for how long, and how quickly they answer.

With names of contexts, show what is in them: instruments, tasks and other objects, who holds their locks,
what they are busy with, how punctual tasks are, and links to other contexts. With CONTEXT.OBJECT, show the
methods, parameters and signals of an object.

Nothing is changed by looking: no method of an object is called.
"""

_INTERVAL = 1.0


def add_arguments(parser: CommandParser) -> None:
    """Add what the command takes."""
    parser.add_argument("names", nargs="*", metavar="CONTEXT[.OBJECT]", help="what to show, instead of all contexts")
    parser.add_argument("-w", "--watch", action="store_true", help="go on until q or Ctrl-C")
    parser.add_argument("--interval", type=positive_seconds, default=_INTERVAL, metavar="S",
                        help="with --watch: seconds between two looks (%(default)g)")  # fmt: skip


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code: 1 if a context that was named does not run."""
    for name in arguments.names:
        context, dot, member = name.partition(".")
        if not is_valid_name(context) or (dot and not is_valid_name(member)):
            raise QMI_UsageException(f"a context is named lab, an object lab.psu; got {name!r}")
    objects = [name for name in arguments.names if "." in name]
    if objects and (arguments.watch or len(objects) < len(arguments.names)):
        raise QMI_UsageException("show objects, such as lab.psu, in a command of their own, without --watch")
    from qmi.tools.cli.session import laboratory

    with laboratory(arguments) as lab:
        if objects:
            from qmi.tools.cli.ls_object import show_objects

            return show_objects(lab, objects, terminal)
        if arguments.watch:
            from qmi.tools.cli.watch import watch

            watch(lambda: _look(lab, arguments.names), lambda found: _show(found, arguments, terminal),
                  lambda found: _blocks(found, arguments.names, terminal), terminal, arguments.interval)  # fmt: skip
            return EXIT_OK
        found = _look(lab, arguments.names)
        _show(found, arguments, terminal)
        if lab.site_fault:
            terminal.note(lab.site_fault)
        return _code(lab, found, arguments.names, terminal)


def _look(lab: Laboratory, names: Sequence[str]) -> list[Seen]:
    from qmi.tools.cli.overview import look

    return look(lab, names)


def _show(found: list[Seen], arguments: Namespace, terminal: Terminal) -> None:
    if terminal.json:
        from qmi.presenting.seen import as_json

        terminal.write_json([as_json(seen) for seen in found], line=arguments.watch)
    else:
        terminal.show(_blocks(found, arguments.names, terminal))


def _blocks(found: list[Seen], names: Sequence[str], terminal: Terminal) -> list[Block]:
    from qmi.tools.cli import ls_view

    if not names:
        return ls_view.contexts(found) if found else []
    blocks: list[Block] = []
    for seen in found:
        blocks += [Text()] if blocks else []
        blocks += ls_view.one_context(seen, wide=not terminal.is_terminal or terminal.width >= ls_view.WIDE)
    missing = [name for name in names if name not in {seen.name for seen in found}]
    return blocks + [Text(name, "bold").add(" was not found", "red") for name in missing if terminal.is_terminal]


def _code(lab: Laboratory, found: list[Seen], names: Sequence[str], terminal: Terminal) -> int:
    if not names:
        if not found:
            terminal.note(f"no context of workgroup {lab.config.workgroup!r} answers, and none is configured")
        return EXIT_OK
    missing = [name for name in names if name not in {seen.name for seen in found}]
    for name in missing:
        terminal.error(str(lab.not_there(name)))
    return EXIT_FAILED if missing or any(seen.status is None for seen in found) else EXIT_OK
