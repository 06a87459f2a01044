"""``stub TARGET``: the types of a driver in a ``.pyi`` file, for programs that use it and do not have it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from qmi.core.rpc import QMI_RpcObject
from qmi.tools.driver import target
from qmi.tools.driver.members import members_of
from qmi.tools.driver.stub_async import AsyncClasses
from qmi.tools.driver.stub_class import blocking_class
from qmi.tools.driver.stub_types import StubTypes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("target", metavar="TARGET", help=f"{target.HELP}; here without :CLASS all of them")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there; without it, the stub is printed")


def run(given: argparse.Namespace) -> int:
    """Carry out the command."""
    text = stub_of(target.find_drivers(given.target), given.target)
    if given.output is None:
        sys.stdout.write(text)
        return 0
    with open(given.output, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
    module = os.path.splitext(os.path.basename(given.output))[0]
    sys.stdout.write(f"{given.output} has the types. Beside a program, they are imported by type checkers alone:\n\n")
    name = target.find_drivers(given.target)[0].__name__
    sys.stdout.write(f"  if TYPE_CHECKING:\n      from {module} import {name}\n\n")
    sys.stdout.write(f'  supply: "{name}" = qmi.get_instrument("lab.supply")\n')
    sys.stdout.write(f'\nIn a trio program it is "Async{name}".\n')
    return 0


def stub_of(drivers: Sequence[type[QMI_RpcObject]], origin: str) -> str:
    """The text of the stub.

    Args:
        drivers: The drivers, in the order in which they are to stand there.
        origin: What they were named by, for the head of the file.
    """
    classes = _with_channels(drivers)
    types = StubTypes({cls.__name__: cls for cls in classes})
    bodies = ["\n".join(blocking_class(cls, classes, types)) for cls in classes]
    bodies += AsyncClasses(classes, types).texts()
    head = [
        f'"""Types of the drivers of {origin}, for programs that use them from afar and need not have them.',
        "",
        f"Written by: python -m qmi.tools.driver stub {origin}",
        '"""',
        "",
    ]
    parts = ["\n".join([*head, *types.imports()]), *types.declarations(), *bodies]
    return "\n\n".join(part for part in parts if part) + "\n"


def _with_channels(drivers: Sequence[type]) -> list[type]:
    """The classes that the stub declares: bases before those that derive from them, channels before instruments."""
    found: dict[type, None] = {}

    def add(cls: type) -> None:
        for base in reversed(cls.__mro__[1:]):
            if base in drivers:
                found.setdefault(base)
        for declared in members_of(cls).channels.values():
            add(declared.channel_class)
        found.setdefault(cls)

    for driver in drivers:
        add(driver)
    return list(found)
