"""A scan from its description, in the program that carries it out."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from qmi.errors import QMI_Exception, QMI_UsageException
from qmi.names import parse_parameter_path
from qmi.scan.columns import readable, settable
from qmi.scan.description import Description, PointsOf, Reference, find_function, is_published
from qmi.scan.engine import Scan, scan
from qmi.scan.points import adaptive, grid, repeat
from qmi.scan.points import zip as zip_points

Functions = Mapping[Reference, Callable[..., Any]]


def load_functions(description: Description, modules: Collection[str]) -> Functions:
    """The functions that a scan uses, from modules that are imported for them. Imports may take seconds.

    Args:
        description: The scan.
        modules: The modules and packages whose functions may be used.

    Raises:
        QMI_UsageException: If there is no such function, or it is not one of these modules.
    """
    return {each: _load(each, modules) for each in description.references if each.kind == "function"}


def _load(reference: Reference, modules: Collection[str]) -> Callable[..., Any]:
    if not _is_allowed(reference.where, modules):
        allowed = f"it takes those of {', '.join(sorted(modules))}" if modules else "it takes none"
        raise QMI_UsageException(
            f"The queue takes no functions of module {reference.where!r}, such as {reference}: {allowed}. Whoever "
            f'makes the queue says which: make_task("scans", ScanQueue, modules=[{reference.where!r}])'
        )
    try:
        importlib.import_module(reference.where)
    except (SystemExit, Exception) as error:  # a module of the user's: shown as its fault
        raise QMI_UsageException(
            f"The program of the queue cannot import {reference.where!r}, for {reference}: {type(error).__name__}: "
            f"{error}. Modules are looked for where that program was started, and in the python_path of its context"
        ) from error
    private = any(part.startswith("_") for part in reference.name.split("."))
    found = None if private else find_function(reference.where, reference.name)
    # What a module has imported from elsewhere has the name of another module, and nobody has allowed that one.
    if not callable(found) or not _is_allowed(getattr(found, "__module__", None), modules):
        raise QMI_UsageException(
            f"There is no function {reference.name!r} of its own in module {reference.where!r}, as the program of the "
            "queue has it; it may have to be started again to see what was changed"
        )
    if inspect.iscoroutinefunction(found):
        raise QMI_UsageException(f"{reference} has to be awaited: a queue takes plain functions, which may block")
    return found


def _is_allowed(module: object, modules: Collection[str]) -> bool:
    return isinstance(module, str) and any(module == each or module.startswith(f"{each}.") for each in modules)


def build(description: Description, proxies: Mapping[str, Any], functions: Functions) -> Scan:
    """Make the scan.

    Args:
        description: What it is.
        proxies: Proxies of the objects that it uses, by their addresses.
        functions: The functions that it uses.

    Raises:
        QMI_Exception: If something of it is not there, or cannot be set or measured.
    """

    def thing(reference: Reference) -> Any:
        if reference.kind == "function":
            return functions[reference]
        return _part_of(proxies[reference.where], reference)

    targets = [settable(thing(each.what), name=each.name, unit=each.unit) for each in description.targets]
    made = scan(targets, _points(description.points, functions), run=description.run_name or None)
    made.measure(*(readable(thing(each.what), name=each.name, unit=each.unit) for each in description.readables))
    for part in description.ending:
        if part.column:
            what = settable(thing(part.what), name=part.column, unit=part.unit)
            made.finally_set(what, part.value, ramp=part.ramp, deadline=part.deadline)
        else:
            made.finally_call(thing(part.what), deadline=part.deadline)
    for watched in description.watches:
        condition = watched.condition
        made.suspend_when(
            thing(watched.signal), functions[condition] if isinstance(condition, Reference) else condition
        )
    if description.patience is not None:
        made.wait_when_lost(description.patience)
    made.settle(description.settle)
    return made.annotate(tags=description.tags, comment=description.comment, metadata=description.metadata)


def _part_of(proxy: Any, reference: Reference) -> Any:
    try:
        if reference.kind == "parameter":
            return proxy.parameters[reference.name]
        owner, name = proxy, reference.name
        path = parse_parameter_path(reference.name)
        if path is not None and path.group:
            owner, name = getattr(proxy, path.group)[path.number], path.name
        found = None if name.startswith("_") else getattr(owner, name)
    except (AttributeError, LookupError) as error:
        if isinstance(error, QMI_Exception):
            raise
        raise QMI_UsageException(f"{reference.where} has no {reference.kind} {reference.name!r}") from error
    is_method = inspect.ismethod(found) and is_published(owner, name)
    is_one = hasattr(found, "subscribe") if reference.kind == "signal" else is_method
    if not is_one:
        raise QMI_UsageException(f"{reference.where} has no {reference.kind} {reference.name!r}")
    return found


def _points(points: PointsOf, functions: Functions) -> Iterable[object]:
    if points.kind == "values":
        return list(points.parts)
    parts: list[Any] = [
        _points(part, functions)
        if isinstance(part, PointsOf)
        else functions[part]
        if isinstance(part, Reference)
        else part
        for part in points.parts
    ]
    if points.kind == "repeat":
        return repeat(parts[0], parts[1])
    if points.kind == "adaptive":
        return adaptive(parts[0])
    return grid(*parts) if points.kind == "grid" else zip_points(*parts)
