"""``qmi data``: the runs that were recorded, and those that are recorded now."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qmi.errors import QMI_UsageException
from qmi.tools.cli.errors import EXIT_OK, CommandError
from qmi.tools.cli.options import CommandParser, add_common, positive_count, row_number, seconds_of
from qmi.tools.cli.terminal import Terminal

if TYPE_CHECKING:
    from qmi.data.run_index import RunInfo

DESCRIPTION = """
Find, show, follow and export runs. A run is given by its id, or by its name for the newest run of that name.

  qmi data ls --tag A12 --since 2d
  qmi data show cooldown
  qmi data follow cooldown --context lab
  qmi data export cooldown cooldown.csv
  qmi data annotate cooldown --comment "the pump was loud"

Runs are those of this computer, where the configuration says that they are; --context NAME takes those of the computer
of another context.
"""

_STATES = ("running", "done", "failed", "interrupted")
_SHOWN = 50
_KNOWN = 1000
_FORMATS = ("csv", "zarr", "matlab")


def add_arguments(parser: CommandParser) -> None:
    """Declare the subcommands and their arguments."""
    commands = parser.add_subparsers(dest="action", metavar="COMMAND", required=True, title="commands")

    def add(name: str, text: str, *, run: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        add_common(command)
        command.add_argument("--folder", metavar="FOLDER", help="the folder of the runs, instead of the configured one")
        if run:
            command.add_argument("run", metavar="RUN", help="id or name of a run").completer = _runs  # type: ignore[attr-defined]
        return command

    listing = add("ls", "list runs, oldest first", run=False)
    name = listing.add_argument(
        "name", nargs="?", metavar="NAME", help="only those of this name; * stands for anything"
    )
    name.completer = _names  # type: ignore[attr-defined]
    listing.add_argument("--name", dest="only", metavar="NAME", help="the same")
    listing.add_argument("--tag", metavar="TAG", help="only those with this tag")
    since = 'only those that began since then: "2026-11-26 14:00", or 2d for two days ago'
    listing.add_argument("--since", metavar="TIME", type=_moment, help=since)
    listing.add_argument("--until", metavar="TIME", type=_moment, help="only those that began before then")
    listing.add_argument("--state", choices=_STATES, help="only those that are so")
    listing.add_argument(
        "-n", "--limit", metavar="N", type=positive_count, help=f"the latest N ({_SHOWN} on a terminal)"
    )
    shown = add("show", "show what is known of a run, also while it goes on")
    shown.add_argument("--rows", metavar="N", type=positive_count, help="print the first N rows, too")
    _add_plot(add("plot", "draw a run, and go on while it is recorded"))
    export = add("export", "write a run to a file of another program")
    export.add_argument("file", metavar="FILE", help="ends with .csv, .zarr or .mat")
    export.add_argument("--format", choices=_FORMATS, help="where the name does not say it")
    export.add_argument("--force", action="store_true", help="replace a file that is there")
    annotating = add("annotate", "add a comment or tags to a run that has ended")
    annotating.add_argument("--comment", metavar="TEXT", default="", help="a comment; earlier ones stay")
    annotating.add_argument("--tag", action="append", default=[], metavar="TAG", help="a tag to add")
    annotating.add_argument("--untag", action="append", default=[], metavar="TAG", help="a tag to take away")
    following = add("follow", "print the rows of a run, and go on while it is recorded")
    following.add_argument("--first", metavar="N", type=row_number, default=0, help="begin with row N; the first is 0")
    following.add_argument("--wait", metavar="TIME", type=_length, help="how long to wait for a run that has not begun")
    recovering = add("recover", "make files of runs that were cut short, and the index anew", run=False)
    for command in commands.choices.values():
        if command not in (recovering, annotating):
            command.add_argument("--context", metavar="CONTEXT", help="the runs of the computer of another context")


def _add_plot(plot: argparse.ArgumentParser) -> None:
    plot.add_argument(
        "-x", action="append", metavar="COLUMN", help="the column on the horizontal axis; two for an image"
    )
    plot.add_argument("-y", action="append", metavar="COLUMN", help="a column to draw; all numbers where none is given")
    where = plot.add_mutually_exclusive_group()
    where.add_argument("--term", action="store_true", help="draw in the terminal")
    where.add_argument("--file", metavar="FILE", help="draw into a file, such as cooldown.png")
    plot.add_argument("--now", action="store_true", help="draw what is there now, and do not wait for more")


def _length(text: str) -> float:
    seconds = seconds_of(text)
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"must be a duration such as 90s, 30m or 2h, got {text!r}")
    return seconds


def _moment(text: str) -> datetime | timedelta:
    """A time, or how long ago."""
    from qmi.presenting.argument_text import duration

    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        ago = duration(text.removesuffix(" ago"))
        datetime.now() - ago  # there may be no such time
    except (ValueError, OverflowError):
        ago = timedelta(-1)
    if ago < timedelta(0):
        raise argparse.ArgumentTypeError(
            f"must be a time such as '2026-11-26 14:00', or a duration such as 2d, got {text!r}"
        )
    return ago


# Where runs are


class Place(NamedTuple):
    """Where runs are: on this computer in a folder, or on that of a context.

    Attributes:
        context: The context; None for this computer.
        folder: The folder; None for another computer.
    """

    context: str | None
    folder: str | None


@contextmanager
def _place(arguments: Namespace, *, reconnect: bool = False) -> Iterator[Place]:
    from qmi.tools.cli.session import default_context, laboratory, quiet_logging

    quiet_logging()
    context: str | None = getattr(arguments, "context", None)
    if context is None:
        if arguments.folder and not Path(arguments.folder).is_dir():
            raise CommandError(f"there is no folder {arguments.folder}")
        yield Place(None, arguments.folder or configured_folder(arguments.config))
        return
    if arguments.folder:
        raise QMI_UsageException("--folder and --context do not go together: a context knows its own folder")
    with laboratory(arguments, reconnect=reconnect) as lab, default_context(lab.connect(context)):
        yield Place(context, None)


def configured_folder(config: str) -> str:
    """The folder of runs of this computer.

    Args:
        config: As given with ``--config``; empty for the usual one.
    """
    from qmi.config.loader import load_config
    from qmi.data.run_folder import folder_of

    return str(folder_of(load_config(config), ""))


def _known(config: str) -> list[RunInfo]:
    """The runs of this computer, the latest first, for completion: nothing is changed or recovered for that."""
    from qmi.data.run_folder import RunFolder

    return RunFolder(configured_folder(config)).index.find(limit=200)[::-1]


def _runs(prefix: str, config: str) -> list[str]:
    known = _known(config)
    names = list(dict.fromkeys(info.name for info in known))
    # Ids are many, and begin with their time: whoever wants one has begun with a digit.
    return [*names, *(info.run_id for info in known)] if prefix[:1].isdecimal() else names


def _names(prefix: str, config: str) -> list[str]:
    return list(dict.fromkeys(info.name for info in _known(config)))


# The subcommands


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out one of the subcommands; returns the exit code."""
    with _place(arguments, reconnect=arguments.action == "follow") as place:
        if arguments.action == "show":
            from qmi.tools.cli.data_show import show

            return show(arguments.run, place.context, place.folder, arguments.rows, terminal)
        return {
            "ls": _list, "plot": _plot, "export": _export, "follow": _follow, "annotate": _annotate,
            "recover": _recover,
        }[arguments.action](arguments, place, terminal)  # fmt: skip


def _list(arguments: Namespace, place: Place, terminal: Terminal) -> int:
    from qmi.data.archive import runs

    if arguments.name and arguments.only:
        raise QMI_UsageException("NAME and --name are the same: give one of them")
    # One more than is shown, so that it is known whether there are more.
    limit: int | None = arguments.limit or (_SHOWN + 1 if terminal.is_terminal and not terminal.json else None)
    found = list(
        runs(
            arguments.name or arguments.only, tag=arguments.tag, since=arguments.since, until=arguments.until,
            state=arguments.state, limit=limit, context=place.context, folder=place.folder,
        )
    )  # fmt: skip
    if not arguments.limit and len(found) == limit:
        terminal.note(f"there are more before these {_SHOWN}: -n 500 shows more of them")
        found = found[1:]
    if not found and not terminal.json:
        terminal.note(_none_of(arguments, place))
        return EXIT_OK
    show_runs(found, terminal)
    return EXIT_OK


def _none_of(arguments: Namespace, place: Place) -> str:
    """Say that there are no runs, or that none of them is such a one."""
    from qmi.data.archive import runs
    from qmi.names import nearest

    where = f" of the computer of context {place.context}" if place.context else f" in {place.folder}"
    name = arguments.name or arguments.only
    wanted = {"name": name, "--tag": arguments.tag, "--since": arguments.since, "--until": arguments.until,
              "--state": arguments.state}  # fmt: skip
    asked = [kind if kind in ("--since", "--until") else f"{kind} {value}" for kind, value in wanted.items() if value]
    known = [info.name for info in runs(limit=_KNOWN, context=place.context, folder=place.folder)] if asked else []
    if not known:
        return f"no runs{where}"
    near = nearest(name, dict.fromkeys(known)) if name and name not in known else None
    return f"no run{where} goes with {', '.join(asked)}" + (f". Did you mean {near!r}?" if near else "")


def show_runs(found: list[RunInfo], terminal: Terminal) -> None:
    """Print runs as a table, or as a list in JSON."""
    from qmi.scan.progress import duration
    from qmi.tools.cli.terminal import Table

    if terminal.json:
        terminal.write_json([info_json(info) for info in found])
        return
    table = Table(
        ("run", "started", "took", "state", "rows", "tags", "comment"), right=("took", "rows"), whole=("run",)
    )
    for info in found:
        took = "" if info.ended is None else duration((info.ended - info.started).total_seconds())
        rows = None if info.state == "running" else info.rows
        comment = " / ".join(info.comment.splitlines())
        started = f"{info.started.astimezone():%Y-%m-%d %H:%M:%S}"
        table.add(info.run_id, started, took, info.state, rows, ", ".join(info.tags), comment)
        table.styles.append({"running": "green", "failed": "red", "interrupted": "yellow"}.get(info.state, ""))
    terminal.show([table])


def info_json(info: RunInfo) -> dict[str, object]:
    """A run for programs; the rows of one that goes on are not counted."""
    told = asdict(info)
    if info.state == "running":
        told["rows"] = None
    return {**told, "file": str(info.file)}


def _plot(arguments: Namespace, place: Place, terminal: Terminal) -> int:
    from qmi.data.plotting import plot

    if terminal.json:
        raise QMI_UsageException("there is no JSON of a plot; 'qmi data follow --json' prints the rows")
    try:
        shown = plot(
            arguments.run, arguments.x, arguments.y, context=place.context, folder=place.folder,
            live=not arguments.now, term=arguments.term, file=arguments.file,
        )  # fmt: skip
        if shown is not None:
            shown.wait()
            shown.check()
    except KeyboardInterrupt:  # the usual end of one that goes on
        pass
    return EXIT_OK


def _export(arguments: Namespace, place: Place, terminal: Terminal) -> int:
    from qmi.data.export_files import export_so_far

    if Path(arguments.file).exists() and not arguments.force:
        raise CommandError(f"there is {arguments.file} already: give another name, or --force to replace it")
    written, lasting = export_so_far(
        arguments.run, arguments.file, format=arguments.format, overwrite=arguments.force,
        context=place.context, folder=place.folder,
    )  # fmt: skip
    if terminal.json:
        terminal.write_json({"file": str(written)} | ({"running": lasting} if lasting else {}))
    elif lasting:
        terminal.note(f"{written} is written with the rows so far: run {lasting} still lasts")
    else:
        terminal.note(f"{written} is written")
    return EXIT_OK


def _annotate(arguments: Namespace, place: Place, terminal: Terminal) -> int:
    from qmi.data.annotating import annotate

    if not (arguments.comment or arguments.tag or arguments.untag):
        raise QMI_UsageException("there is nothing to change: give --comment TEXT, --tag TAG or --untag TAG")
    show_runs(
        [
            annotate(
                arguments.run, comment=arguments.comment, tags=arguments.tag, remove_tags=arguments.untag,
                folder=place.folder,
            )
        ],
        terminal,
    )  # fmt: skip
    return EXIT_OK


def _follow(arguments: Namespace, place: Place, terminal: Terminal) -> int:
    from qmi.data.follower import follow
    from qmi.tools.cli.row_view import print_rows

    found = follow(
        arguments.run, context=place.context, folder=place.folder, first=arguments.first, wait=arguments.wait
    )
    return print_rows(found, terminal)


def _recover(arguments: Namespace, place: Place, terminal: Terminal) -> int:
    from qmi.data.archive import recover

    found = list(recover(place.folder))
    if not found and not terminal.json:
        terminal.note(f"no run in {place.folder} was cut short; the index is complete")
    else:
        show_runs(found, terminal)
    return EXIT_OK
