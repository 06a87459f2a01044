"""Arguments of a driver's constructor, as they are written on a command line."""

from __future__ import annotations

import argparse
import ast
import inspect
from collections.abc import Sequence

from qmi.errors import QMI_UsageException


def add_constructor_arguments(parser: argparse.ArgumentParser) -> None:
    """Have a command take them."""
    parser.add_argument(
        "--with",
        dest="arguments",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an argument of the driver's constructor, such as channels=2; the transport is that of the simulator",
    )


def constructor_arguments(given: Sequence[str], made: type | None = None) -> dict[str, object]:
    """The arguments by name.

    Args:
        given: Such as ``channels=2``, ``label='left'``; what is no literal of Python is taken as text.
        made: The class of the driver.

    Raises:
        QMI_UsageException: If one has no name, the driver takes none of that name, or it needs another one.
    """
    found: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise QMI_UsageException(f"--with takes NAME=VALUE, such as channels=2, got {text!r}")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    if made is not None:
        _compare(made, found)
    return found


def _compare(made: type, found: dict[str, object]) -> None:
    """See to it that a driver can be made with these arguments and a transport."""
    known = dict(list(inspect.signature(made).parameters.items())[2:])  # without the context and the name
    kinds = {argument.kind for argument in known.values()}
    for name in found:
        if name not in known and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise QMI_UsageException(
                f"{made.__name__} takes no argument {name!r}; it takes {', '.join(known) or 'none'}"
            )
    stars = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for name, argument in known.items():
        is_needed = argument.default is inspect.Parameter.empty and argument.kind not in stars
        if is_needed and name not in found and "transport" not in name:
            raise QMI_UsageException(f"{made.__name__} needs the argument {name!r}: give it by --with {name}=VALUE")
