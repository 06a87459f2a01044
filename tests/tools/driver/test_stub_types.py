"""What types are called in a stub, and what it imports for them."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import pathlib
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypeVar, Union

import numpy as np
import numpy.typing as npt
import pytest
import trio

from qmi.core.instrument import QMI_Instrument, QMI_InstrumentIdentification
from qmi.tools.driver.stub_types import StubTypes, docstring, hints_of

T = TypeVar("T")
Volts = NewType("Volts", float)


class Mode(enum.Enum):
    """What is kept constant."""

    VOLTAGE = "CV"
    CURRENT = "CC"
    OTHER = object()


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of a sweep."""

    x: float
    mode: Mode
    next: Point | None = None
    tags: list[str] = dataclasses.field(default_factory=list)
    _: dataclasses.KW_ONLY
    note: str = ""


class Pair(NamedTuple):
    first: int
    second: Vendor | int = 0


class Vendor:
    pass


class Driver(QMI_Instrument):
    class Inner(enum.Enum):
        A = 1


DECLARED: dict[str, type] = {"Driver": Driver}


@pytest.mark.parametrize(
    ("annotation", "text", "imports"),
    [
        (float, "float", []),
        (None, "None", []),
        (type(None), "None", []),
        (list[int], "list[int]", []),
        (dict[str, list[float]], "dict[str, list[float]]", []),
        (tuple[int, ...], "tuple[int, ...]", []),
        (float | None, "float | None", []),
        (Optional[int], "int | None", []),  # noqa: UP045 - as older drivers have it
        (Union[int, str, None], "int | str | None", []),  # noqa: UP007 - the same
        (typing.List[int], "list[int]", []),  # noqa: UP006 - the same
        (Literal["a", 1, None], "Literal['a', 1, None]", ["from typing import Literal"]),
        (Annotated[float, "V"], "float", []),
        (Any, "Any", ["from typing import Any"]),
        (T, "Any", ["from typing import Any"]),
        ("Unknown", "Any", ["from typing import Any"]),
        (Volts, "float", []),
        (typing.Self, "Self", ["from typing import Self"]),
        (Sequence[float], "Sequence[float]", ["from collections.abc import Sequence"]),
        (typing.Mapping[str, int], "Mapping[str, int]", ["from collections.abc import Mapping"]),
        (Iterator[Any], "Iterator[Any]", ["from collections.abc import Iterator", "from typing import Any"]),
        (Callable[[int, str], None], "Callable[[int, str], None]", ["from collections.abc import Callable"]),
        (Callable[..., int], "Callable[..., int]", ["from collections.abc import Callable"]),
        (type[int], "type[int]", []),
        (datetime.datetime, "datetime", ["from datetime import datetime"]),
        (pathlib.Path, "Path", ["from pathlib import Path"]),
        (np.ndarray, "ndarray", ["from numpy import ndarray"]),
        (np.float32, "float32", ["from numpy import float32"]),
        (QMI_InstrumentIdentification, "QMI_InstrumentIdentification",
         ["from qmi.core.instrument import QMI_InstrumentIdentification"]),
        (Driver, "Driver", []),
        (Vendor, "Any", ["from typing import Any"]),
        (trio.Event, "Any", ["from typing import Any"]),
        (list[trio.Event], "list[Any]", ["from typing import Any"]),
        (trio.Event | None, "Any", ["from typing import Any"]),
        (Mapping[str, trio.Event], "Mapping[str, Any]",
         ["from collections.abc import Mapping", "from typing import Any"]),
    ],
)  # fmt: skip
def test_types_of_a_client_are_imported(annotation: object, text: str, imports: list[str]) -> None:
    types = StubTypes(DECLARED)
    assert (types.text(annotation), types.imports(), types.declarations()) == (text, imports, [])


def test_arrays_are_those_of_numpy() -> None:
    types = StubTypes({})
    text = types.text(npt.NDArray[np.float64])
    assert text.startswith("ndarray[")
    assert text.endswith("dtype[float64]]")
    assert "from numpy import dtype, float64, ndarray" in types.imports()


def test_enumerations_and_records_are_declared_after_what_they_need() -> None:
    types = StubTypes({})
    assert types.text(list[Point] | None) == "list[Point] | None"
    assert types.text(Literal[Mode.CURRENT]) == "Literal[Mode.CURRENT]"
    assert types.text(Pair) == "Pair"
    assert types.text(Level) == "Level"
    assert (
        "\n\n".join(types.declarations())
        == '''\
class Mode(Enum):
    """What is kept constant."""
    VOLTAGE = 'CV'
    CURRENT = 'CC'
    OTHER = ...

@dataclass(frozen=True)
class Point:
    """A point of a sweep."""
    x: float
    mode: Mode
    next: Point | None = ...
    tags: list[str] = ...
    note: str = field(kw_only=True, default=...)

class Pair(NamedTuple):
    first: int
    second: Any = ...

class Level(IntEnum):
    LOW = 1'''
    )
    assert types.imports() == [
        "from dataclasses import dataclass, field",
        "from enum import Enum, IntEnum",
        "from typing import Any, Literal, NamedTuple",
    ]


def test_names_that_are_hidden_are_written_in_full() -> None:
    types = StubTypes({})
    types.within({"list", "Sequence"})
    assert types.text(list[Sequence[int]]) == "builtins.list[collections.abc.Sequence[int]]"
    assert types.imports() == ["import builtins", "import collections.abc"]


def test_two_types_of_one_name_are_told_apart() -> None:
    types = StubTypes({"datetime": Driver})
    assert types.text(datetime.datetime) == "datetime.datetime"
    other = dataclasses.make_dataclass("Mode", ["a"])
    other.__module__ = __name__
    assert (types.text(Mode), types.text(other)) == ("Mode", "Any")


def test_hints_are_made_out_one_by_one() -> None:
    def method(self: Any, a: int, b: Unknown, c: list[Mode]) -> Unknown:  # type: ignore[name-defined]  # noqa: F821
        raise AssertionError

    assert hints_of(method) == {"self": Any, "a": int, "c": list[Mode]}


@pytest.mark.parametrize(
    "text",
    ["One line.", "Two\n\n    lines: \\n.\n", 'It says """so""".', 'It ends in a "quote"', "ends in \\"],
)
def test_docstrings_are_kept_as_they_are(text: str) -> None:
    space: dict[str, Any] = {}
    exec("\n".join(["def f():", *docstring(text), "    return"]), space)
    import inspect

    assert inspect.getdoc(space["f"]) == inspect.cleandoc(text)


def test_docstrings_that_nobody_wrote_are_left_out() -> None:
    assert list(docstring(None)) == []
    assert list(docstring(Pair.__doc__, of_class=Pair)) == []
