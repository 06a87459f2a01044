"""How the result of a call is printed for people, and written to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qmi.parameters.snapshot import Snapshot
from qmi.presenting.value_text import fields_of, text_of
from qmi.tools.cli.errors import EXIT_USAGE, CommandError
from qmi.tools.cli.terminal import Terminal

SUFFIXES = (".npy", ".csv")
"""The files that a result can be written to."""

_MOST_SHOWN = 6
_MOST_ROWS = 1000


def show(value: object, terminal: Terminal) -> None:
    """Print a result: as JSON if that is wanted, else as people read it. There is nothing to print of None."""
    if terminal.json:
        terminal.write_json(value)
    elif isinstance(value, str | Snapshot):
        terminal.write(str(value))
    elif (fields := _fields_of(value)) is not None:
        terminal.table(("name", "value"), [(name, cell_of(item)) for name, item in fields.items()])
    elif isinstance(value, Mapping):
        _show_mapping(value, terminal)
    elif isinstance(value, list | tuple | set | frozenset) and value:
        _show_list(list(value), terminal)
    elif value is not None:
        terminal.write(cell_of(value))


def show_item(value: object, terminal: Terminal) -> None:
    """Print one of many results that come one after the other: on a line, at once."""
    if terminal.json:
        terminal.write_json(value, line=True)
    else:
        terminal.write(cell_of(value))
        terminal.flush()


def _show_mapping(value: Mapping[object, object], terminal: Terminal) -> None:
    rows = [_fields_of(item) for item in value.values()]
    if value and all(row is not None for row in rows):
        # A row for each item; the fields that all of them leave empty say nothing.
        found = [row or {} for row in rows]
        columns = [name for name in found[0] if any(row.get(name) not in (None, "") for row in found)]
        titles = ["", *(column for column in columns if column != "name" or list(value) != [r["name"] for r in found])]
        cells = [[text_of(key), *(cell_of(row.get(name)) for name in titles[1:])]
                 for key, row in zip(value, found, strict=True)]  # fmt: skip
        terminal.table(titles, cells)
        return
    terminal.table(("name", "value"), [(text_of(key), cell_of(item)) for key, item in value.items()])


def _show_list(value: list[object], terminal: Terminal) -> None:
    rows = [_fields_of(item) if not isinstance(item, Mapping) else dict(item) for item in value]
    if rows[0] and all(row is not None and list(row) == list(rows[0]) for row in rows):
        titles = [str(name) for name in rows[0]]
        terminal.table(titles, [[cell_of(item) for item in (row or {}).values()] for row in rows[:_MOST_ROWS]])
    else:
        for item in value[:_MOST_ROWS]:
            terminal.write(cell_of(item))
    if len(value) > _MOST_ROWS:
        terminal.note(f"{len(value) - _MOST_ROWS} more are left out; --json prints all, and --output writes them")


def cell_of(value: object) -> str:
    """A value on a line."""
    if value is None:
        return ""
    if is_array(value):
        return array_text(value)
    if isinstance(value, list | tuple) and len(value) > 2 * _MOST_SHOWN and not hasattr(value, "_fields"):
        shown = ", ".join(map(text_of, value[:_MOST_SHOWN]))
        return f"[{shown}, ...] ({len(value)} items)"
    return text_of(value)


def is_array(value: object) -> bool:
    """Whether a value is an array of numpy; numpy is not imported for that."""
    return type(value).__module__ == "numpy" and bool(getattr(value, "ndim", 0))


def array_text(array: Any) -> str:
    """An array on a line: its first and last numbers, and its shape and type."""
    flat = array.reshape(-1)
    numbers = [text_of(item) for item in flat[:_MOST_SHOWN].tolist()]
    if len(flat) > _MOST_SHOWN:
        numbers += ["...", text_of(flat[-1].item())]
    return f"[{', '.join(numbers)}] ({'x'.join(map(str, array.shape))} {array.dtype})"


def _fields_of(value: object) -> dict[str, object] | None:
    return None if isinstance(value, Snapshot) else fields_of(value)


# Files


def check_output(file: str) -> None:
    """Refuse a file whose kind is not known, before anything is called.

    Raises:
        CommandError: Saying which there are.
    """
    if Path(file).suffix.lower() not in SUFFIXES:
        raise CommandError(f"--output must be a file that ends in {' or '.join(SUFFIXES)}, got {file!r}", EXIT_USAGE)


def write_output(value: object, file: str) -> str:
    """Write a result to a file: an array, numbers in lists, or a table.

    Args:
        value: The result.
        file: Its name ends in ``.npy`` or ``.csv``.

    Returns:
        What was written, in words.

    Raises:
        CommandError: If it has no place in such a file.
    """
    import numpy

    rows = _rows_of(value)
    if Path(file).suffix.lower() == ".csv" and rows is not None:
        _write_rows(rows, file)
        return f"{len(rows)} rows"
    try:
        array = numpy.asarray([[*(row.values())] for row in rows] if rows is not None else value)
    except ValueError as error:
        raise CommandError(f"the result has no place in {file}: {error}") from None
    if array.dtype == object or value is None:
        raise CommandError(f"the result has no place in {file}: it is {cell_of(value) or 'nothing'}")
    if Path(file).suffix.lower() == ".npy":
        with open(file, "wb") as stream:
            numpy.save(stream, array)
    elif array.ndim > 2:
        raise CommandError(f"a .csv file has two dimensions, and the result {array.ndim}: write it to a .npy file")
    else:
        table = array.reshape(1, -1) if array.ndim == 0 else array
        lines = [[item] if array.ndim <= 1 else item for item in (table if array.ndim else table[0]).tolist()]
        _write_lines(lines, file)
    return f"an array of shape {'x'.join(map(str, array.shape)) or '1'}"


def _rows_of(value: object) -> list[dict[str, object]] | None:
    """The rows of a table, each by the names of its columns; None if the value is none."""
    if isinstance(value, Mapping):
        value = [{"name": key, **(_fields_of(item) or {"value": item})} for key, item in value.items()]
    if not isinstance(value, list | tuple) or not value:
        return None
    rows = [dict(item) if isinstance(item, Mapping) else _fields_of(item) for item in value]
    found = [{str(name): item for name, item in row.items()} for row in rows if row]
    return found if len(found) == len(rows) else None


def _write_rows(rows: Sequence[Mapping[str, object]], file: str) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    _write_lines([columns, *([row.get(name) for name in columns] for row in rows)], file)


def _write_lines(lines: Sequence[Sequence[object]], file: str) -> None:
    import csv

    with open(file, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(
            ["" if item is None else item if isinstance(item, str) else text_of(item) for item in line]
            for line in lines
        )
