"""``docs TARGET``: the tables of a driver's page, in Markdown; also written into a page, between two marks."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from enum import Enum

from qmi.actors.parameter_values import SIG_CHANGED
from qmi.core.rpc import QMI_RpcObject
from qmi.errors import QMI_UsageException
from qmi.parameters.declaration import Parameter
from qmi.parameters.declared import type_name
from qmi.tools.driver import target
from qmi.tools.driver.members import STARS, Members, Method, is_of_every_driver, members_of
from qmi.tools.driver.parameter_text import access_text, command_texts, range_text
from qmi.tools.driver.stub_types import StubTypes

BEGIN = "<!-- driver: {target} -->"
_PUBLIC = ("qmi.core.driver", "qmi.core.instrument", "qmi.core.rpc")
"""Where the base classes of drivers are, which have pages of their own."""
END = "<!-- end of driver -->"
_MARKED = re.compile(r"^<!-- driver: (?P<target>\S+) -->$.*?^<!-- end of driver -->$", re.MULTILINE | re.DOTALL)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help=f"{target.HELP}; here without :CLASS all of them; not with --into"
    )
    parser.add_argument(
        "--into",
        metavar="PAGE",
        action="append",
        default=[],
        help="bring a page up to date: what stands between the lines '<!-- driver: TARGET -->' and "
        "'<!-- end of driver -->' is written anew",
    )
    parser.add_argument(
        "--check", action="store_true", help="with --into: write nothing, and fail if a page is out of date"
    )


def run(given: argparse.Namespace) -> int:
    """Carry out the command."""
    if bool(given.target) == bool(given.into):
        raise QMI_UsageException("Name a driver, or pages with --into that name theirs")
    if not given.into:
        sys.stdout.write(tables_of(target.find_drivers(given.target)))
        return 0
    code = 0
    for page in given.into:
        with open(page, encoding="utf-8", newline="") as stream:
            before = stream.read()
        after = brought_up_to_date(before, page)
        if after == before:
            sys.stdout.write(f"{page}: up to date\n")
        elif given.check:
            sys.stdout.write(f"{page}: out of date; python -m qmi.tools.driver docs --into {page}\n")
            code = 1
        else:
            with open(page, "w", encoding="utf-8", newline="") as stream:
                stream.write(after)
            sys.stdout.write(f"{page}: written\n")
    return code


def brought_up_to_date(text: str, page: str) -> str:
    """A page with the tables of its drivers as they are now.

    Args:
        text: The page.
        page: Its name, for messages.

    Raises:
        QMI_UsageException: If it has no place for tables, or a driver cannot be found.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n")
    if not _MARKED.search(text):
        raise QMI_UsageException(
            f"{page} has no place for tables: a line '{BEGIN.format(target='MODULE:CLASS')}', and a line '{END}' below"
        )

    def tables(found: re.Match[str]) -> str:
        named = found["target"]
        level = _level_at(text, found.start()) + 1
        return f"{BEGIN.format(target=named)}\n\n{tables_of(target.find_drivers(named), level)}\n{END}"

    return _MARKED.sub(tables, text).replace("\n", newline)


def tables_of(drivers: Sequence[type[QMI_RpcObject]], level: int = 2) -> str:
    """The tables of drivers, one after the other.

    Args:
        drivers: The drivers.
        level: Of their headings.
    """
    return "\n".join("\n".join(_driver(cls, level)) + "\n" for cls in drivers)


def _level_at(text: str, position: int) -> int:
    """The level of the heading that a place of a page is under; 0 if there is none."""
    code, level = False, 0
    # The headings of other drivers belong to their tables.
    for line in _MARKED.sub("", text[:position]).splitlines():
        code ^= line.lstrip().startswith("```")
        heading = re.match(r"(#+) ", line)
        if heading and not code:
            level = len(heading[1])
    return min(level, 5)


def _driver(cls: type[QMI_RpcObject], level: int) -> Iterator[str]:
    shared = tuple(base for base in cls.__mro__[1:] if base.__module__ in _PUBLIC)
    offered = members_of(cls, without=shared)
    for name in [name for name in offered.methods if is_of_every_driver(cls, name)]:
        del offered.methods[name]
    yield f"{'#' * level} {cls.__name__}"
    yield ""
    yield _first_paragraph(inspect.getdoc(cls) or "") or f"`{cls.__module__}.{cls.__qualname__}`"
    yield from _tables(offered, "")
    for name, declared in offered.channels.items():
        numbers = declared.numbers
        yield ""
        where = f"`{name}[n]`"
        yield f"Each of {where}, with n from {numbers[0]} to {numbers[-1]}:" if len(numbers) else f"Each of {where}:"
        yield from _tables(members_of(declared.channel_class), f"{name}[n].")
    if shared:
        base = members_of(shared[0])
        names = [*(f"`{name}()`" for name in base.methods), *(f"`{name}`" for name in base.signals)]
        if names:
            yield ""
            yield f"As every `{shared[0].__name__}`, it also has {', '.join(names)}."


def _tables(offered: Members, prefix: str) -> Iterator[str]:
    if offered.parameters:
        rows = [_parameter(prefix + name, declared) for name, declared in offered.parameters.items()]
        yield from _table(["parameter", "type", "unit", "range", "", "command", "what it is"], rows)
    if offered.constants or offered.properties:
        rows = [[f"`{prefix}{name}`", f"constant, {_code(repr(value))}"] for name, value in offered.constants.items()]
        rows += [[f"`{prefix}{name}`", "property"] for name in offered.properties]
        yield from _table(["value", ""], rows)
    rows = [_method(prefix, method) for name, method in offered.methods.items() if name not in offered.accessors]
    if rows:
        yield from _table(["method", "gives", "what it does"], rows)
    rows = [
        [f"`{prefix}{name}`", ", ".join(f"`{kind.__name__}`" for kind in signal.arg_types)]
        for name, signal in offered.signals.items()
        if name != SIG_CHANGED  # every driver with settings has it
    ]
    if rows:
        yield from _table(["signal", "with"], rows)


def _table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """A table; a column in which no row has anything is left out."""
    kept = [index for index in range(len(head)) if any(row[index] for row in rows)]
    yield ""
    yield _row([head[index] for index in kept])
    yield _row(["---"] * len(kept))
    yield from (_row([row[index] for index in kept]) for row in rows)


def _row(cells: list[str]) -> str:
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


def _parameter(name: str, declared: Parameter[object]) -> list[str]:
    return [
        f"`{name}`",
        _plain(type_name(declared)),
        _plain(declared.unit),
        _plain(range_text(declared)),
        access_text(declared),
        ", ".join(map(_code, command_texts(declared))),
        _plain(_first_paragraph(declared.doc)),
    ]


def _method(prefix: str, method: Method) -> list[str]:
    arguments = []
    for argument in method.arguments:
        star = STARS.get(argument.kind, "")
        arguments.append(f"{star}{argument.name}{_default(argument.default)}")
    gives = StubTypes({}).text(method.returns)
    return [
        _code(f"{prefix}{method.name}({', '.join(arguments)})"),
        "" if gives in ("None", "Any") else _code(gives),
        _plain(_first_paragraph(method.doc)),
    ]


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return ""
    return f"={type(value).__name__}.{value.name}" if isinstance(value, Enum) else f"={value!r}"


def _first_paragraph(text: str) -> str:
    """The first paragraph of a documentation, in one line, as Markdown: roles and double backquotes become single."""
    first = " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
    first = re.sub(r":[a-z:]+:`[~.]?([^`]+)`", r"`\1`", first)
    return first.replace("``", "`")


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
