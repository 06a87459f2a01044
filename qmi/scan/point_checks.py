"""Points that cannot be set, found before anything moves, where the points and the limits are known by then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, cast

from qmi.core.driver import AsyncParameterHandle, ParameterHandle, ParameterInfo
from qmi.core.exceptions import QMI_InvalidValueException
from qmi.parameters.rules import Rule
from qmi.parameters.units import in_unit
from qmi.scan.columns import Handle, Settable, values_of
from qmi.scan.ending import FinalCall, FinalSet
from qmi.scan.points import Points, length_of

_ASKING: Final = 5.0
"""How long an instrument has to say what it takes, in seconds; without it, each value is checked when it is set."""
_TYPES: Final = {"float": float, "int": int, "bool": bool, "str": str}
"""Types of which a value is the same here and in the program of the instrument."""


def check_points(points: object, targets: list[Settable], parts: Iterable[FinalCall | FinalSet]) -> None:
    """Refuse a scan of which a point, or what is set at its end, is outside of declared limits, before it begins.

    Only points that can be gone through twice are looked at, and only what is declared for good: limits that depend on
    other parameters may have moved by the time at which a point is set.

    Args:
        points: The points.
        targets: What is set.
        parts: What is done at the end.

    Raises:
        QMI_InvalidValueException: If a value is none that can be set, or a point has another number of values.
    """
    for handle, values, what in _checkable(points, targets, parts):
        if isinstance(handle, ParameterHandle):
            try:
                info = handle.info(rpc_timeout=_ASKING)
            except Exception:  # noqa: BLE001 - lost, busy, locked, ...: what comes of that is said at the first point
                continue
            _check(handle, info, values, what)


async def check_points_async(points: object, targets: list[Settable], parts: Iterable[FinalCall | FinalSet]) -> None:
    """The same in a trio program."""
    for handle, values, what in _checkable(points, targets, parts):
        if isinstance(handle, AsyncParameterHandle):
            try:
                info = await handle.info(rpc_timeout=_ASKING)
            except Exception:  # noqa: BLE001 - as above
                continue
            _check(handle, info, values, what)


def _checkable(
    points: object, targets: list[Settable], parts: Iterable[FinalCall | FinalSet]
) -> Iterator[tuple[Handle, list[object], str]]:
    for target, values in zip(targets, _columns(points, targets) or (), strict=False):
        if target.handle is not None and values:
            yield target.handle, values, ""
    for part in parts:
        if isinstance(part, FinalSet) and part.target.handle is not None:
            yield part.target.handle, [part.value], "for the end of the scan"


def _columns(points: object, targets: list[Settable]) -> list[list[object]] | None:
    """The values of each target; None if the points are known only one by one."""
    if isinstance(points, Points):
        return _columns_of_parts(points, targets)
    is_array = type(points).__module__ == "numpy" and hasattr(points, "tolist")
    if not is_array and not isinstance(points, Sequence):
        return None
    found: list[list[object]] = [[] for _ in targets]
    for point in cast("Sequence[object]", points):
        for values, value in zip(found, values_of(point, targets), strict=True):
            values.append(value)
    return found


def _columns_of_parts(points: Points, targets: list[Settable]) -> list[list[object]] | None:
    # By axes, and not by points: a grid has many more of these.
    if points.kind == "repeat":
        return _columns(points.parts[0], targets) if points.length != 0 else None
    if points.kind not in ("grid", "zip") or not points.length:
        return None
    found: list[list[object]] = []
    for axis in points.parts:
        size = _size(axis)
        columns = _columns(axis, targets[len(found) : len(found) + size]) if size else None
        if columns is None:
            return None
        found += columns
    return found if len(found) == len(targets) else None


def _size(axis: object) -> int:
    """How many targets the points of an axis set; 0 if that is not known."""
    if isinstance(axis, Points):
        if axis.kind == "repeat":
            return _size(axis.parts[0])
        sizes = [_size(part) for part in axis.parts] if axis.kind in ("grid", "zip") else [0]
        return sum(sizes) if all(sizes) else 0
    if not isinstance(axis, Sequence):
        return 1 if type(axis).__module__ == "numpy" and getattr(axis, "ndim", 0) == 1 else 0
    return len(axis[0]) if length_of(axis) and isinstance(axis[0], tuple) else 1


def _check(handle: Handle, info: ParameterInfo, values: list[object], what: str) -> None:
    kind = _TYPES.get(info.type)
    if kind is None:
        return
    rule = Rule(kind, info.unit, info.values, None if info.limits_vary else info.step)
    limits = None if info.limits_vary else info.limits
    where = f"{info.name} of {handle.address.rpartition('.')[2]}"
    for number, value in enumerate(values):
        try:
            rule.check(in_unit(value, info.unit, where), limits, where)
        except QMI_InvalidValueException as error:
            at = what or f"value {number + 1} of {len(values)} of the scan"
            raise QMI_InvalidValueException(f"{error} ({at}, which has set nothing yet)") from error
