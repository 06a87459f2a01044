"""What a scan sets and what it measures: parameters of instruments, and functions, each with a name and a unit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from qmi.core.driver import AsyncParameterHandle, NonblockingParameterHandle, ParameterHandle
from qmi.core.exceptions import QMI_InvalidValueException, QMI_UsageException
from qmi.data import rows as data

Handle: TypeAlias = ParameterHandle | AsyncParameterHandle | NonblockingParameterHandle

_HANDLES = (ParameterHandle, AsyncParameterHandle, NonblockingParameterHandle)


class Row(data.Row):
    """What was set and measured at one point: ``row["psu_voltage"]`` or ``row.psu_voltage``.

    Attributes:
        number: The number of the point; the first one is 0.
        time: When it was measured, in UTC.
    """

    __slots__ = ()


class Recorder(Protocol):
    """What rows are added to: a run, or anything with such a method."""

    def add(self, /, **values: object) -> object:
        """Keep a row.

        Args:
            values: The values by the names of their columns.
        """


@dataclass(frozen=True)
class Settable:
    """Something that a scan sets; made by :func:`settable`.

    Attributes:
        name: The name of its column.
        unit: Its unit; empty if it has none.
        set: Sets it; what it returns may have to be awaited.
        get: Reads it; None if it cannot be read.
        handle: The handle of the parameter that it is, if it is one.
    """

    name: str
    unit: str
    set: Callable[[object], object]
    get: Callable[[], object] | None = None
    handle: Handle | None = None


@dataclass(frozen=True)
class Readable:
    """Something that a scan measures; made by :func:`readable`.

    Attributes:
        name: The name of its column.
        unit: Its unit; empty if it has none.
        get: Measures it; what it returns may have to be awaited.
        handle: The handle of the parameter that it is, if it is one.
    """

    name: str
    unit: str
    get: Callable[[], object]
    handle: Handle | None = None


def settable(what: object, *, name: str | None = None, unit: str | None = None) -> Settable:
    """Something that a scan sets, with a name and a unit of your own.

    Args:
        what: A handle such as ``psu.parameters.voltage``, a pair ``(psu, "voltage")``, or a function that takes the
            value.
        name: The name of the column. Without it: instrument and parameter, such as ``psu_voltage``, or the name of
            the function without ``set_``.
        unit: The unit. Without it: that of the parameter.

    Raises:
        QMI_UsageException: If it is something else, or can only be read.
    """
    if isinstance(what, Settable):
        return Settable(name or what.name, what.unit if unit is None else unit, what.set, what.get, what.handle)
    thing = _handle_of(what)
    if isinstance(thing, _HANDLES):
        if not thing.settable:
            raise QMI_UsageException(f"{thing.name} of {thing.address} can only be read; a scan cannot set it")
        get = thing.get if thing.gettable else None
        return Settable(name or _column(thing), thing.unit if unit is None else unit, thing.set, get, thing)
    if callable(thing) and not is_proxy(thing):
        return Settable(name or _function_name(thing, "set_", "settable"), unit or "", thing)
    raise QMI_UsageException(_refusal("set", what, "a function that takes the value"))


def readable(what: object, *, name: str | None = None, unit: str | None = None) -> Readable:
    """Something that a scan measures, with a name and a unit of your own.

    Args:
        what: A handle such as ``dmm.parameters.voltage``, a pair ``(dmm, "voltage")``, or a function without arguments.
        name: The name of the column. Without it: instrument and parameter, such as ``dmm_voltage``, or the name of
            the function without ``get_``.
        unit: The unit. Without it: that of the parameter.

    Raises:
        QMI_UsageException: If it is something else, or can only be set.
    """
    if isinstance(what, Readable):
        return Readable(name or what.name, what.unit if unit is None else unit, what.get, what.handle)
    thing = _handle_of(what)
    if isinstance(thing, _HANDLES):
        if not thing.gettable:
            raise QMI_UsageException(f"{thing.name} of {thing.address} can only be set; a scan cannot measure it")
        return Readable(name or _column(thing), thing.unit if unit is None else unit, thing.get, thing)
    if callable(thing) and not is_proxy(thing):
        return Readable(name or _function_name(thing, "get_", "readable"), unit or "", thing)
    raise QMI_UsageException(_refusal("measure", what, "a function without arguments"))


def targets_of(what: object) -> list[Settable]:
    """What a scan sets: one thing, or a list of several."""
    if isinstance(what, list) or (isinstance(what, tuple) and not _is_pair(what)):
        return [settable(each) for each in what]
    return [settable(what)]


def check_names(columns: list[Settable | Readable]) -> None:
    """Refuse names that no column can have, and those of two columns.

    Raises:
        QMI_InvalidValueException: If there is one.
    """
    seen: set[str] = set()
    for column in columns:
        if not isinstance(column.name, str) or not column.name.isidentifier():
            raise QMI_InvalidValueException(f"The name of a column must be one that Python takes, got {column.name!r}")
        if column.name in seen:
            raise QMI_InvalidValueException(
                f"Two columns are called {column.name!r}: give one of them another name, by settable(..., name=...) or "
                "measure(name=...)"
            )
        seen.add(column.name)


def check_handle(handle: Handle, wanted: type) -> None:
    """Refuse the handle of a proxy that a scan cannot use in the way in which it is gone through.

    Args:
        handle: The handle.
        wanted: The class of those that it can: blocking or awaited ones.

    Raises:
        QMI_UsageException: If it is one of the others.
    """
    if isinstance(handle, wanted):
        return
    found = f"{handle.name} of {handle.address}"
    if wanted is ParameterHandle:
        raise QMI_UsageException(
            f"{found} is a parameter of an awaited proxy: go through the scan by 'async for', or take the handle of a "
            "blocking proxy (proxy.rpc_blocking.parameters...)"
        )
    raise QMI_UsageException(
        f"{found} is a parameter of a blocking proxy, which would block the event loop: take the handle of an awaited "
        "proxy (proxy.rpc_async.parameters...)"
    )


def values_of(point: object, targets: list[Settable]) -> tuple[object, ...]:
    """The values of a point, one for each target.

    Raises:
        QMI_InvalidValueException: If there are more or less of them.
    """
    if len(targets) == 1 and not isinstance(point, tuple):
        return (point,)
    if type(point).__module__ == "numpy" and hasattr(point, "tolist"):  # a row of a matrix of points
        point = point.tolist()
    values = tuple(point) if isinstance(point, tuple | list) else (point,)
    if len(values) != len(targets):
        names = ", ".join(target.name for target in targets) or "nothing"
        raise QMI_InvalidValueException(
            f"The scan sets {names}, so that each point must have {len(targets)} values, got {point!r}"
        )
    return values


def _is_pair(what: object) -> bool:
    return isinstance(what, tuple) and len(what) == 2 and isinstance(what[1], str)


def is_proxy(what: object) -> bool:
    """Whether something is a proxy, or a channel of one."""
    return hasattr(type(what), "__rpc__") or hasattr(what, "__rpc__")


def _handle_of(what: object) -> object:
    if isinstance(what, tuple) and _is_pair(what):
        proxy, path = what
        parameters = getattr(proxy, "parameters", None)
        if parameters is None:
            raise QMI_UsageException(f"{proxy!r} has no parameters; expected a pair such as (psu, 'voltage')")
        handle: object = parameters[path]
        return handle
    return what


def _column(handle: Handle) -> str:
    instrument = handle.address.rpartition(".")[2]
    return re.sub(r"\W+", "_", f"{instrument}_{handle.name}").strip("_")


def _function_name(function: Callable[..., object], prefix: str, maker: str) -> str:
    name = getattr(function, "__name__", "")
    name = name if isinstance(name, str) else ""
    if not name.isidentifier():
        raise QMI_UsageException(f"{function!r} has no name: write {maker}(function, name=...)")
    return name.removeprefix(prefix) or name


def _refusal(verb: str, what: object, function: str) -> str:
    found = f"{type(what).__name__} {what!r}"
    if isinstance(what, int | float | complex | str | bool):
        return (
            f"A scan cannot {verb} the value {what!r}: psu.voltage is the voltage at this moment. "
            "Write psu.parameters.voltage, which stands for the parameter"
        )
    if is_proxy(what):
        return f"A scan cannot {verb} {what!r} itself: write which of its parameters, such as psu.parameters.voltage"
    return f"A scan cannot {verb} {found}: expected a handle such as psu.parameters.voltage, or {function}"
