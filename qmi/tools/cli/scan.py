"""``qmi scan``: scans that go on in a laboratory, and queues of scans: seen, steered and begun."""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from qmi.errors import QMI_UsageException
from qmi.tools.cli.errors import EXIT_FAILED, EXIT_OK, CommandError
from qmi.tools.cli.options import CommandParser, add_common, positive_seconds, row_number, seconds_of
from qmi.tools.cli.terminal import Terminal

if TYPE_CHECKING:
    from qmi.scan.handles import ScanHandle
    from qmi.tools.cli.scan_list import SeenScan
    from qmi.tools.cli.session import Laboratory

DESCRIPTION = """
See and steer the scans that go on in a laboratory, whatever runs them, and queues of scans.

  qmi scan ls
  qmi scan pause scans-17
  qmi scan follow scans-17
  qmi scan queue lab.scans pause --reason "helium is low"
  qmi scan run lab.psu.voltage 0 5 51 --measure lab.dmm.voltage --run iv --finally lab.psu.voltage=0
"""

_RUN = """
Set a parameter to one value after the other, and measure at each. Rows are printed as they come; with --run they are
kept in a run. Ctrl-C once finishes the point and does what --finally says; twice ends the point at once.

  qmi scan run lab.psu.voltage 0 5V 51 --measure lab.dmm.voltage --run iv --finally lab.psu.voltage=0
  qmi scan run lab.psu.voltage --values 0,1,5V --measure I=lab.dmm.current --settle 0.5 --queue lab.scans
"""

_STEER = {
    "pause": ("have a scan wait before its next point", "is to wait"),
    "resume": ("have a scan go on after a pause", "is to go on"),
    "stop": ("have a scan end after this point; one that waits in a queue is removed", "is to end after this point"),
    "abort": ("have a scan end now; one that waits in a queue is removed", "is to end now"),
}
_QUEUE = ("ls", "pause", "resume", "remove", "first")


def add_arguments(parser: CommandParser) -> None:
    """Declare the subcommands and their arguments."""
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True, title="commands")

    def add(name: str, text: str, description: str = "") -> CommandParser:
        command = commands.add_parser(
            name, help=text, description=(description or f"{text[0].upper()}{text[1:]}.").strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        add_common(command)
        return command

    listing = add("ls", "list the scans that go on or wait: who, what, how far")
    listing.add_argument("names", nargs="*", metavar="CONTEXT", help="only those of these contexts")
    listing.add_argument("--all", action="store_true", help="those that have ended lately, too")
    listing.add_argument("--watch", action="store_true", help="look again and again, until q or Ctrl-C")
    listing.add_argument("--interval", type=positive_seconds, default=1.0, metavar="S", help="with --watch: how often")
    for name, (text, _) in _STEER.items():
        _add_id(add(name, text))
    following = add("follow", "print the rows of a scan and how far it is, until it ends")
    _add_id(following)
    following.add_argument("--first", type=row_number, default=0, metavar="N", help="begin with row N; the first is 0")
    queue = add("queue", "see and steer a queue: pause ends no scan, remove and first take the ID of one that waits")
    queue.add_argument("queue", metavar="CONTEXT.OBJECT", help="the queue, such as lab.scans")
    queue.add_argument("what", choices=_QUEUE, nargs="?", default="ls", help="what to do; ls is the default")
    waiting = queue.add_argument("id", nargs="?", metavar="ID", help="a scan that waits")
    waiting.completer = scan_ids  # type: ignore[attr-defined]
    queue.add_argument("--reason", metavar="TEXT", default="", help="with pause: why; everybody can see it")
    _add_run(add("run", "scan a parameter, here or in a queue", _RUN))


def _add_id(command: argparse.ArgumentParser) -> None:
    command.add_argument("id", metavar="ID", help="the scan, as 'qmi scan ls' shows it").completer = scan_ids  # type: ignore[attr-defined]
    command.add_argument("--context", metavar="CONTEXT", help="its context, where several have scans of that id")


def _add_run(command: CommandParser) -> None:
    command.allow_numbers()
    command.add_argument("target", metavar="CONTEXT.OBJECT.PARAMETER", help="what is set")
    command.add_argument("points", nargs="*", metavar="START STOP NUMBER", help="first value, last value, how many")
    command.add_argument("--values", metavar="LIST", help="the values instead: 0,1,5V")
    command.add_argument("-m", "--measure", action="append", default=[], metavar="CONTEXT.OBJECT.PARAMETER",
                         help="what is measured; also NAME=lab.dmm.voltage, for the name of its column")  # fmt: skip
    command.add_argument("--run", metavar="NAME", help="name of the run that keeps the rows")
    command.add_argument("--tag", action="append", default=[], metavar="TAG", help="a tag of the run")
    command.add_argument("--comment", default="", metavar="TEXT", help="what is said of it")
    command.add_argument("--settle", type=_length, default=0.0, metavar="S", help="wait before each measurement")
    command.add_argument("--finally", dest="finally_set", action="append", default=[], metavar="PARAMETER=VALUE",
                         help="set this at the end, whatever ends the scan")  # fmt: skip
    command.add_argument("--ramp", type=_positive, metavar="RATE", help="with --finally: how fast, in units per second")
    command.add_argument("--wait-when-lost", type=positive_seconds, metavar="S",
                         help="wait so long for an instrument that is lost")  # fmt: skip
    command.add_argument("--queue", metavar="CONTEXT.OBJECT", help="give it to this queue, and end")
    command.add_argument("--follow", action="store_true", help="with --queue: go on as 'qmi scan follow'")


def _positive(text: str) -> float:
    try:
        return positive_seconds(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}") from None


def _length(text: str) -> float:
    seconds = seconds_of(text)
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"must be a duration such as 0.5, 200ms or 2min, got {text!r}")
    return seconds


def scan_ids(prefix: str, config: str) -> list[str]:
    """The scans that go on or wait, for completion."""
    from qmi.tools.cli.fetch import in_time
    from qmi.tools.cli.scan_list import OVER, look

    found = in_time(look, config)
    return [] if found is None else [seen.info.id for seen in found.scans if seen.info.state not in OVER]


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out one of the subcommands; returns the exit code."""
    if arguments.action == "run":
        from qmi.tools.cli import scan_run

        return scan_run.run(arguments, terminal)
    from qmi.tools.cli.session import laboratory

    with laboratory(arguments, reconnect=arguments.action == "follow") as lab:
        if arguments.action == "ls":
            return _list(lab, arguments, terminal)
        if arguments.action == "queue":
            return _queue(lab, arguments, terminal)
        seen = _find(lab, arguments)
        if arguments.action == "follow":
            from qmi.tools.cli.scan_follow import follow_scan
            from qmi.tools.cli.session import default_context

            handle = _handle(lab, seen)
            with default_context(lab.context):
                return follow_scan(handle, terminal, first=arguments.first)
        getattr(_handle(lab, seen), arguments.action)()
        told = {"scan": seen.info.id, "asked": arguments.action}
        _told(told, f"{seen.info.id} ({seen.info.what}) {_STEER[arguments.action][1]}", terminal)
        return EXIT_OK


def _told(told: dict[str, object], text: str, terminal: Terminal) -> None:
    if terminal.json:
        terminal.write_json(told)
    else:
        terminal.note(text)


def _list(lab: Laboratory, arguments: Namespace, terminal: Terminal) -> int:
    from qmi.tools.cli import scan_list

    def show(found: scan_list.SeenScans) -> None:
        if terminal.json:
            terminal.write_json(found.as_json(ended=arguments.all), line=arguments.watch)
        else:
            terminal.show(draw(found))

    def draw(found: scan_list.SeenScans) -> Any:
        return scan_list.blocks(found, ended=arguments.all, width=terminal.width if terminal.is_terminal else 1000)

    if arguments.watch:
        from qmi.tools.cli.watch import watch

        watch(lambda: scan_list.look(lab, arguments.names), show, draw, terminal, arguments.interval)
        return EXIT_OK
    found = scan_list.look(lab, arguments.names)
    show(found)
    for why in found.failed.values():
        terminal.error(why)
    return EXIT_FAILED if found.failed else EXIT_OK


def _find(lab: Laboratory, arguments: Namespace) -> SeenScan:
    from qmi.tools.cli.scan_list import look

    found = look(lab, [arguments.context] if arguments.context else [])
    if arguments.context and found.failed:
        raise CommandError(next(iter(found.failed.values())))
    return found.find(arguments.id)


def _handle(lab: Laboratory, seen: SeenScan) -> ScanHandle:
    from qmi.scan.handles import SCANS, ScanHandle

    context = lab.connect(seen.context)
    address = seen.queue or f"{seen.context}.{SCANS}"
    return ScanHandle(context.get_rpc_object(address), seen.info.id)


def _queue(lab: Laboratory, arguments: Namespace, terminal: Terminal) -> int:
    from qmi.tools.cli.scan_list import SeenScans, blocks, look_at_queue
    from qmi.tools.cli.session import parse_object

    address = parse_object(arguments.queue)
    needs_id = arguments.what in ("remove", "first")
    if needs_id != (arguments.id is not None):
        raise QMI_UsageException(
            f"'{arguments.what}' takes "
            + ("the ID of a scan that waits" if needs_id else f"no ID, got {arguments.id!r}")
        )
    if arguments.reason and arguments.what != "pause":
        raise QMI_UsageException("--reason goes with pause")
    proxy = lab.proxy(str(address))
    if not {"pause_queue", "move_scan"} <= set(proxy.__rpc_interface__.methods):
        raise CommandError(f"{address} is no queue of scans, but a {proxy.__rpc_interface__.class_name}")
    if arguments.what == "ls":
        import time

        queue, scans = look_at_queue(lab, address, time.time())
        found = SeenScans([queue], scans, [address.context], {})
        if terminal.json:
            terminal.write_json({"address": queue.address, "paused": queue.paused,
                                 "scans": [seen.as_json() for seen in scans]})  # fmt: skip
        else:
            terminal.show(blocks(found, ended=True, width=terminal.width if terminal.is_terminal else 1000))
        return EXIT_OK
    text = {
        "pause": f"{address} begins no other scan; the one that runs goes on",
        "resume": f"{address} goes on",
        "remove": f"{arguments.id} is removed",
        "first": f"{arguments.id} is the next one",
    }[arguments.what]
    if arguments.what == "pause":
        proxy.pause_queue(arguments.reason)
    elif arguments.what == "resume":
        proxy.resume_queue()
    elif arguments.what == "remove":
        proxy.remove_scan(arguments.id)
    else:
        proxy.move_scan(arguments.id)
    told: dict[str, object] = {"queue": str(address), "asked": arguments.what}
    _told({**told, "scan": arguments.id} if needs_id else told, text, terminal)
    return EXIT_OK
