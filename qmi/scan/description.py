"""What a scan is, as plain data that travels to another program: which parameters, functions and points it has.

Parameters, published methods and signals are named by the address of their object, functions by their module; what has
no such name, since it lives in one program alone, is refused with what to write in its place.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

from qmi.errors import QMI_InvalidValueException, QMI_UsageException
from qmi.scan.columns import Readable, Settable, is_proxy
from qmi.scan.conditions import SignalOf
from qmi.scan.ending import FinalCall, FinalSet
from qmi.scan.points import Points, length_of
from qmi.scan.thresholds import UNSET, Threshold

_VERSION = 1
_SETTLING = 2
"""The version of a scan that waits before it measures: who does not know that must not carry it out."""
_COMBINED = frozenset({"grid", "zip", "repeat", "adaptive"})
_DEPTH = 20
"""How deep combinations of points may be nested."""
_WHY = "The scan cannot be handed to another program"
_INSTEAD = "Make it a function of a module that the other program can import, or use a parameter or a published method"


class Reference(NamedTuple):
    """What has a name in other programs.

    Attributes:
        kind: "parameter", "method", "signal" or "function".
        where: The address of the object, ``"context.object"``; of a function, its module.
        name: Its name there; that of a channel's parameter or method has the channel in it.
    """

    kind: str
    where: str
    name: str

    def __str__(self) -> str:
        return f"{self.where}{':' if self.kind == 'function' else '.'}{self.name}"


class Column(NamedTuple):
    """What is set or measured.

    Attributes:
        name: The name of its column.
        unit: Its unit.
        what: What it is.
    """

    name: str
    unit: str
    what: Reference


class Final(NamedTuple):
    """A part of the end.

    Attributes:
        what: What is set, or the function that is called.
        column: The name of its column, if it is set; else empty.
        unit: Its unit.
        value: What it is set to.
        ramp: How fast, in units per second; None for at once.
        deadline: How long it may take, in seconds.
    """

    what: Reference
    column: str
    unit: str
    value: object
    ramp: float | None
    deadline: float


class Watched(NamedTuple):
    """A signal that suspends the scan.

    Attributes:
        signal: The signal.
        condition: When it does.
    """

    signal: Reference
    condition: Reference | Threshold


class PointsOf(NamedTuple):
    """Points, as they were combined.

    Attributes:
        kind: "values", or the name of the function that combines them.
        parts: The values, or what is combined.
    """

    kind: str
    parts: tuple[object, ...]

    def references(self) -> Iterator[Reference]:
        """The functions that choose points."""
        if self.kind != "values":
            for part in self.parts:
                if isinstance(part, PointsOf):
                    yield from part.references()
                elif isinstance(part, Reference):
                    yield part


@dataclass(frozen=True)
class Description:
    """What a scan is.

    Attributes:
        targets: What is set.
        points: What to.
        readables: What is measured.
        ending: What is done at its end.
        watches: What suspends it.
        patience: For how many seconds it waits for an instrument that is lost; None: it does not.
        run_name: The name of the run that keeps its rows; empty: they are kept nowhere.
        tags: Tags of the run.
        comment: What its user says of it.
        length: How many points there are; None if that is not known.
        settle: For how many seconds it waits at each point before it measures.
        metadata: What else the run keeps.
    """

    targets: tuple[Column, ...]
    points: PointsOf
    readables: tuple[Column, ...] = ()
    ending: tuple[Final, ...] = ()
    watches: tuple[Watched, ...] = ()
    patience: float | None = None
    run_name: str = ""
    tags: tuple[str, ...] = ()
    comment: str = ""
    length: int | None = None
    settle: float = 0.0
    metadata: Mapping[str, object] = field(default_factory=dict)
    references: tuple[Reference, ...] = field(init=False)

    def __post_init__(self) -> None:
        found = [column.what for column in (*self.targets, *self.readables)]
        found += [part.what for part in self.ending]
        for watched in self.watches:
            found.append(watched.signal)
            if isinstance(watched.condition, Reference):
                found.append(watched.condition)
        found += self.points.references()
        object.__setattr__(self, "references", tuple(dict.fromkeys(found)))

    def __str__(self) -> str:
        names = ", ".join(column.name for column in self.targets) or "nothing"
        points = "" if self.length is None else f", {self.length} points"
        measured = ", ".join(column.name for column in self.readables)
        return f"scan of {names}{points}" + (f", measures {measured}" if measured else "")

    def addresses(self) -> list[str]:
        """The objects that it uses, each once."""
        return sorted({each.where for each in self.references if each.kind != "function"})

    def plain(self) -> dict[str, object]:
        """The same of dicts, lists and values, as it travels."""
        return {
            "version": _SETTLING if self.settle else _VERSION,
            "targets": [_plain_column(column) for column in self.targets],
            "points": _plain_points(self.points),
            "readables": [_plain_column(column) for column in self.readables],
            "ending": [[list(part.what), *part[1:]] for part in self.ending],
            "watches": [[list(watched.signal), _plain_condition(watched.condition)] for watched in self.watches],
            "patience": self.patience,
            "run": self.run_name,
            "tags": list(self.tags),
            "comment": self.comment,
            "length": self.length,
            **({"settle": self.settle} if self.settle else {}),
            "metadata": dict(self.metadata),
        }

    def moved(self, context: str, name: str) -> Description:
        """The same where objects of a context are known by another name of it."""
        prefix = f"{context}."

        def moved(what: Reference) -> Reference:
            if what.kind == "function" or not what.where.startswith(prefix):
                return what
            return what._replace(where=f"{name}.{what.where.removeprefix(prefix)}")

        return replace(
            self,
            targets=tuple(each._replace(what=moved(each.what)) for each in self.targets),
            readables=tuple(each._replace(what=moved(each.what)) for each in self.readables),
            ending=tuple(each._replace(what=moved(each.what)) for each in self.ending),
            watches=tuple(each._replace(signal=moved(each.signal)) for each in self.watches),
        )


def _plain_column(column: Column) -> list[object]:
    return [column.name, column.unit, list(column.what)]


def _plain_condition(condition: Reference | Threshold) -> list[object]:
    if isinstance(condition, Reference):
        return list(condition)
    if condition.equals is not UNSET:
        return ["equals", condition.equals]
    return ["beyond", condition.below, condition.above]


def _plain_points(points: PointsOf) -> list[object]:
    if points.kind == "values":
        return ["values", list(points.parts)]
    return [points.kind, *(_plain_part(part) for part in points.parts)]


def _plain_part(part: object) -> object:
    if isinstance(part, PointsOf):
        return _plain_points(part)
    return list(part) if isinstance(part, Reference) else part


# Made from a scan


@dataclass(frozen=True)
class ScanParts:
    """What a scan is made of.

    Attributes:
        targets: What it sets.
        points: What to.
        readables: What it measures.
        ending: What is done at its end.
        watches: The signals that suspend it, each with its condition.
        patience: For how many seconds it waits for an instrument that is lost; None: it does not.
        run_name: The name of the run that keeps its rows, or None.
        tags: Tags of the run.
        comment: What its user says of it.
        settle: For how many seconds it waits at each point before it measures.
        metadata: What else the run keeps.
    """

    targets: Sequence[Settable]
    points: Iterable[object]
    readables: Sequence[Readable]
    ending: Sequence[FinalCall | FinalSet]
    watches: Sequence[tuple[SignalOf, Callable[..., object]]]
    patience: float | None
    run_name: str | None
    tags: tuple[str, ...]
    comment: str
    metadata: Mapping[str, object]
    settle: float = 0.0


def describe(parts: ScanParts) -> Description:
    """What a scan is, for another program.

    Args:
        parts: What it is made of.

    Raises:
        QMI_UsageException: If something of it has no name in other programs; says what, and what to write.
    """
    return Description(
        targets=tuple(_column(each, each.set, f"{each.name}, which is set,") for each in parts.targets),
        points=_points(parts.points),
        readables=tuple(_column(each, each.get, f"{each.name}, which is measured,") for each in parts.readables),
        ending=tuple(_final(part) for part in parts.ending),
        watches=tuple(_watched(signal, condition) for signal, condition in parts.watches),
        patience=parts.patience,
        run_name=parts.run_name or "",
        tags=parts.tags,
        comment=parts.comment,
        length=length_of(parts.points),
        settle=parts.settle,
        metadata=dict(parts.metadata),
    )


def _column(column: Settable | Readable, function: Callable[..., object], part: str) -> Column:
    return Column(column.name, column.unit, _reference(column, function, part))


def _reference(column: Settable | Readable, function: Callable[..., object], part: str) -> Reference:
    handle = column.handle
    if handle is not None:
        return Reference("parameter", handle.address, handle.name)
    return reference_of(function, part)


def _final(part: FinalCall | FinalSet) -> Final:
    if isinstance(part, FinalCall):
        return Final(reference_of(part.function, "what finally_call() calls"), "", "", None, None, part.deadline)
    target = part.target
    what = _reference(target, target.set, f"{target.name}, which finally_set() sets,")
    return Final(what, target.name, target.unit, part.value, part.ramp, part.deadline)


def _watched(signal: SignalOf, condition: Callable[..., object]) -> Watched:
    address, name = getattr(signal, "address", None), getattr(signal, "name", None)
    if not isinstance(address, str) or not isinstance(name, str):
        raise QMI_UsageException(f"{_WHY}: {signal!r} of suspend_when() is no signal of a proxy")
    found = Reference("signal", address, name)
    if isinstance(condition, Threshold):
        return Watched(found, condition)
    instead = f"Say equals=, below= or above= in its place. {_INSTEAD}"
    return Watched(found, reference_of(condition, f"the condition for {found} of suspend_when()", instead))


def _points(points: object) -> PointsOf:
    if isinstance(points, Points) and points.kind in _COMBINED:
        if points.kind == "adaptive":
            return PointsOf("adaptive", (reference_of(points.parts[0], "what adaptive() calls"),))
        if points.kind == "repeat":
            return PointsOf("repeat", (_points(points.parts[0]), points.parts[1]))
        return PointsOf(points.kind, tuple(map(_points, points.parts)))
    if type(points).__module__.partition(".")[0] == "numpy" and hasattr(points, "tolist"):
        values = points.tolist()
        return PointsOf("values", tuple(values if isinstance(values, list) else [values]))
    if isinstance(points, list | tuple | range):
        return PointsOf("values", tuple(points))
    if inspect.isgenerator(points):
        raise QMI_UsageException(
            f"{_WHY}: its points come from the generator {points.__name__}, which runs in this one. Give list(...) of "
            "it, or if they are chosen by what is measured, adaptive() with a function of a module"
        )
    raise QMI_UsageException(f"{_WHY}: its points are of type {type(points).__name__}; give list(...) of them")


def reference_of(function: object, part: str, instead: str = _INSTEAD) -> Reference:
    """What a function or method is called in other programs.

    Args:
        function: It.
        part: Which part of the scan it is, for messages.
        instead: What to do about one that has no name.

    Raises:
        QMI_UsageException: If it has no name there.
    """
    owner: Any = getattr(function, "__self__", None)
    if is_proxy(owner) and inspect.ismethod(function):
        if not is_published(owner, function.__name__):
            raise QMI_UsageException(
                f"{_WHY}: {part} is {function.__name__}() of {owner!r}, which is no published method"
            )
        path = getattr(owner, "path", None) if not hasattr(owner, "address") else None
        prefix = "" if path is None else f"{path}."
        return Reference("method", str(owner.__rpc__.address), f"{prefix}{function.__name__}")
    if fault := _fault_of(function, owner):
        raise QMI_UsageException(f"{_WHY}: {part} is {fault}. {instead}")
    return Reference("function", str(getattr(function, "__module__", "")), str(getattr(function, "__qualname__", "")))


def is_published(owner: Any, name: str) -> bool:
    """Whether an object, or a channel of it, publishes a method of this name; those of locks are not published."""
    return not hasattr(owner, "address") or name in type(owner).__rpc_interface__.methods


def _fault_of(function: object, owner: object) -> str:
    name = getattr(function, "__qualname__", None)
    if isinstance(function, partial) or not isinstance(name, str):
        return f"an object of type {type(function).__name__}, which lives in this one"
    short = name.rpartition(".")[2]
    if short == "<lambda>":
        return "a lambda, which lives in this one"
    if "<locals>" in name:
        return f"the function {short}() within another one, which lives in this one"
    if owner is not None and not isinstance(owner, ModuleType):
        return f"the method {short}() of an object of this one"
    module = getattr(function, "__module__", None)
    if module == "__main__":
        return f"the function {short}() of this script or notebook, which the other program cannot import"
    if not isinstance(module, str) or find_function(module, name) is not function:
        return f"{name}, which is not what its module {module} has under this name"
    return ""


def find_function(module: str, name: str) -> object:
    """What a module that is imported has under a name; None if there is nothing."""
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


# Made from what has come


def description_of(plain: object) -> Description:
    """A scan, from the plain data of :meth:`Description.plain`. They may come from any program.

    Raises:
        QMI_InvalidValueException: If they are something else.
    """
    if not isinstance(plain, Mapping) or plain.get("version") != (_SETTLING if "settle" in plain else _VERSION):
        raise _malformed("the whole", plain)
    length, metadata = plain.get("length"), plain.get("metadata", {})
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
        raise _malformed("metadata", metadata)
    return Description(
        targets=tuple(map(_read_column, _items(plain, "targets"))),
        points=_read_points(plain.get("points"), 0),
        readables=tuple(map(_read_column, _items(plain, "readables"))),
        ending=tuple(map(_read_final, _items(plain, "ending"))),
        watches=tuple(map(_read_watched, _items(plain, "watches"))),
        patience=_read_number("patience", plain.get("patience")),
        run_name=_read_text("run", plain.get("run")),
        tags=tuple(_read_text("tags", tag) for tag in _items(plain, "tags")),
        comment=_read_text("comment", plain.get("comment")),
        length=length if isinstance(length, int) and length >= 0 else None,
        settle=_read_settle(plain.get("settle", 0.0)),
        metadata=dict(metadata),
    )


def _malformed(what: str, found: object) -> QMI_InvalidValueException:
    text = repr(found)
    return QMI_InvalidValueException(
        f"What came is no scan that this program understands: {what} is {text[:80] + '...' if len(text) > 80 else text}"
    )


def _items(plain: Mapping[object, object], key: str) -> list[object]:
    found = plain.get(key)
    if not isinstance(found, list | tuple):
        raise _malformed(key, found)
    return list(found)


def _read_text(what: str, found: object) -> str:
    if not isinstance(found, str):
        raise _malformed(what, found)
    return found


def _read_number(what: str, found: object) -> float | None:
    if found is not None and (isinstance(found, bool) or not isinstance(found, int | float)):
        raise _malformed(what, found)
    return found


def _read_settle(found: object) -> float:
    seconds = _read_number("settle", found)
    if seconds is None or not 0 <= seconds < math.inf:
        raise _malformed("settle", found)
    return float(seconds)


def _parts(what: str, found: object, number: int) -> list[object]:
    if not isinstance(found, list | tuple) or len(found) != number:
        raise _malformed(what, found)
    return list(found)


def _read_reference(found: object, kinds: Iterable[str]) -> Reference:
    kind, where, name = _parts("a name", found, 3)
    reference = Reference(_read_text("a name", kind), _read_text("a name", where), _read_text("a name", name))
    if reference.kind not in kinds:
        raise _malformed("a name", found)
    return reference


_CALLED = ("parameter", "method", "function")


def _read_column(found: object) -> Column:
    name, unit, what = _parts("a column", found, 3)
    return Column(_read_text("a column", name), _read_text("a unit", unit), _read_reference(what, _CALLED))


def _read_final(found: object) -> Final:
    what, column, unit, value, ramp, deadline = _parts("a part of the end", found, 6)
    limit = _read_number("a deadline", deadline)
    if limit is None:
        raise _malformed("a deadline", deadline)
    return Final(
        _read_reference(what, _CALLED),
        _read_text("a column", column),
        _read_text("a unit", unit),
        value,
        _read_number("a ramp", ramp),
        limit,
    )


def _read_watched(found: object) -> Watched:
    signal, condition = _parts("a condition", found, 2)
    read = _read_reference(signal, ("signal",))
    if isinstance(condition, list | tuple) and len(condition) == 2 and condition[0] == "equals":
        return Watched(read, Threshold(condition[1]))
    if isinstance(condition, list | tuple) and len(condition) == 3 and condition[0] == "beyond":
        below, above = (_read_number("a limit", limit) for limit in condition[1:])
        return Watched(read, Threshold(UNSET, below, above))
    return Watched(read, _read_reference(condition, ("function",)))


def _read_points(found: object, depth: int) -> PointsOf:
    if not isinstance(found, list | tuple) or not found or depth > _DEPTH:
        raise _malformed("points", found)
    kind, *parts = found
    if kind == "values" and len(parts) == 1 and isinstance(parts[0], list | tuple):
        return PointsOf("values", tuple(parts[0]))
    if kind == "adaptive" and len(parts) == 1:
        return PointsOf(kind, (_read_reference(parts[0], ("function",)),))
    if kind == "repeat" and len(parts) == 2 and (parts[1] is None or type(parts[1]) is int):
        return PointsOf(kind, (_read_points(parts[0], depth + 1), parts[1]))
    if kind in ("grid", "zip"):
        return PointsOf(kind, tuple(_read_points(part, depth + 1) for part in parts))
    raise _malformed("points", found)
