"""``qmi data show``: what is known of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from qmi.errors import QMI_Exception
from qmi.tools.cli.errors import EXIT_OK
from qmi.tools.cli.terminal import Block, Table, Terminal, Text

if TYPE_CHECKING:
    from qmi.data.rows import Row
    from qmi.data.run_details import RunDetails

_MOST = 8
"""How many changed parameters of an instrument are shown."""


def show(run: str, context: str | None, folder: str | None, rows: int | None, terminal: Terminal) -> int:
    """Print what is known of a run; returns the exit code.

    Args:
        run: Its id or its name.
        context: The context on whose computer it is; None for this one.
        folder: The folder of runs on this computer.
        rows: How many of its rows are printed, too.
        terminal: Where to print.
    """
    from qmi.data.run_details import details

    found = details(run, context=context, folder=folder)
    if terminal.json:
        told = _json(found)
        if rows is not None:
            told["first_rows"] = [dict(row) for row in _rows(found, context, folder, rows)]
        terminal.write_json(told)
        return EXIT_OK
    terminal.show(list(_blocks(found)))
    if rows is not None:
        from qmi.tools.cli.row_view import RowPrinter

        terminal.write()
        printer = RowPrinter({column.name: column.unit for column in found.columns}, terminal)
        printer.begin()
        for row in _rows(found, context, folder, rows):
            printer(row)
    return EXIT_OK


def _rows(found: RunDetails, context: str | None, folder: str | None, count: int) -> Iterator[Row]:
    from qmi.data.follower import follow

    with follow(found.info.run_id, context=context, folder=folder) as follower:
        # No more than there were: one that goes on is not waited for.
        yield from islice(follower, min(count, found.info.rows))


def _json(found: RunDetails) -> dict[str, object]:
    info = asdict(found.info)
    return {
        **info,
        "file": str(found.info.file),
        "rows_lost": found.rows_lost,
        "columns": [asdict(column) for column in found.columns],
        "comments": [{"time": time, "text": text} for time, text in found.comments],
        "recorded": found.recorded,
        "gaps": found.gaps,
        "metadata": found.metadata,
    }


def _blocks(found: RunDetails) -> Iterator[Block]:
    yield from _head(found)
    columns = Table(("column", "unit", "values", ""))
    for column in found.columns:
        shape = f" x {'x'.join(map(str, column.shape))}" if column.shape else ""
        kind = "" if column.kind == "none" else f"{column.kind}{shape}"
        columns.add(column.name, column.unit, kind, "coordinate" if column.is_coordinate else None)
    yield Text()
    yield columns
    yield from _snapshots(found)
    if found.gaps:
        gaps = Table(("gap", "source", "kind", "missing"))
        for gap in found.gaps:
            gaps.add(_local(str(gap["time"])), gap.get("source"), gap.get("kind"), gap.get("missing"))
        yield Text()
        yield gaps


def _head(found: RunDetails) -> Iterator[Block]:
    from qmi.scan.progress import duration

    info, metadata = found.info, found.metadata
    style = {"running": "green", "failed": "red", "interrupted": "yellow"}.get(info.state, "")
    error = _dict(metadata.get("end")).get("error")
    yield Text(info.run_id, "bold").add("  ").add(info.state, style).add(f": {error}" if error else "")
    began = f"{info.started.astimezone():%Y-%m-%d %H:%M:%S}"
    lost = f", {found.rows_lost} lost since its log was damaged" if found.rows_lost else ""
    took = "" if info.ended is None else f", took {duration((info.ended - info.started).total_seconds())}"
    yield Text(f"began {began}{took}, {info.rows} rows{lost}")
    if info.tags:
        yield Text(f"tags {', '.join(info.tags)}")
    for time, text in found.comments:
        yield Text(f"comment of {_local(time)}: {' / '.join(text.splitlines())}")
    by = " ".join(f"{word} {metadata[key]}" for word, key in (("by", "user"), ("on", "host"), ("in context", "context"))
                  if metadata.get(key))  # fmt: skip
    script = _dict(metadata.get("script"))
    git = _dict(script.get("git"))
    commit = f" ({str(git['commit'])[:10]}{', changed' if git.get('changed') else ''})" if git.get("commit") else ""
    yield Text(f"recorded {by}" + (f", by {script['file']}{commit}" if script.get("file") else ""))
    for name, value in _dict(metadata.get("user_metadata")).items():
        from qmi.tools.cli.results import cell_of

        yield Text(f"{name}: {cell_of(value)}")
    if info.state != "running":
        yield Text(f"file {info.file}")


def _local(time: str) -> str:
    return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M:%S}"


def _snapshots(found: RunDetails) -> Iterator[Block]:
    begin = _dict(found.metadata.get("instruments_at_begin"))
    end = _dict(_dict(found.metadata.get("end")).get("instruments_at_end"))
    if not begin and not end:
        return
    table = Table(("instrument", "class", "read", "changed during the run"))
    for address in [*begin, *(address for address in end if address not in begin)]:
        one, other = begin.get(address), end.get(address)
        shown = _dict(one or other)
        kind = str(shown.get("class", "")).rpartition(".")[2]
        table.add(address, kind, _read(shown), "\n".join(_changes(one, other)))
    yield Text()
    yield table


def _dict(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _read(plain: Mapping[str, object]) -> str:
    missing = plain.get("missing")
    if isinstance(missing, str):
        return missing
    readings = len(_dict(plain.get("readings")))
    total = readings + len(_dict(missing))
    return f"{readings} of {total} parameters"


def _changes(one: object, other: object) -> list[str]:
    from qmi.parameters.snapshot import Snapshot, diff

    try:
        changes = diff(Snapshot.from_dict(one), Snapshot.from_dict(other))
    except (QMI_Exception, ValueError, TypeError, KeyError):  # one of them was not made, or is of a driver's own kind
        return []
    texts = [str(change) for change in changes]
    return texts if len(texts) <= _MOST else [*texts[:_MOST], f"and {len(texts) - _MOST} more"]
