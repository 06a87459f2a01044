"""Devices of ophyd, and what has its protocol: ``read()``, ``describe()``, ``set()``, ``trigger()``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from qmi.hosting.adapter import PlainAdapter, is_method, method_of, public_members
from qmi.hosting.content import Content, HostedParameter

_PROTOCOL = (
    *("read", "describe", "read_configuration", "describe_configuration", "configure"),
    *("trigger", "set", "stop", "stage", "unstage", "pause", "resume"),
    *("kickoff", "complete", "collect", "describe_collect", "check_value"),
)
"""Methods of the protocol of Bluesky that are published."""
_READINGS = ("position", "egu", "moving", "limits")
"""Properties of positioners of ophyd that are published."""
_LIBRARY = "ophyd."
_SIGNAL = "value"


class OphydAdapter(PlainAdapter):
    """Devices and signals of ophyd, and classes with the same protocol.

    The signals of a device are parameters, those of its parts under names that begin with that of the part. A method
    that gives a status returns when that is done, and fails if it failed.
    """

    def fits(self, driver_class: type) -> bool:
        """Whether a class has ``read()`` and ``describe()``, and ``set()`` or ``trigger()``, none of them async."""
        found = [name for name in ("read", "describe", "set", "trigger") if _is_plain(driver_class, name)]
        return found[:2] == ["read", "describe"] and len(found) > 2

    def make(self, driver_class: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a device; its name is that of the instrument."""
        named: inspect.Parameter | None = None
        with suppress(TypeError, ValueError):  # one of C, which does not say what it takes
            named = inspect.signature(driver_class).parameters.get("name")
        if named is not None and named.kind is inspect.Parameter.KEYWORD_ONLY:
            kwargs = {"name": name, **kwargs}
        return driver_class(*args, **kwargs)

    def describe(self, driver: Any) -> Content:
        """What a device has. Nothing is asked of it; signals that connect only when used are connected then."""
        content = Content(doc=inspect.getdoc(type(driver)) or "")
        for name, member in public_members(type(driver)):
            if is_method(member) and (name in _PROTOCOL or not _is_of_library(type(driver), name)):
                content.methods.append(method_of(driver, name))
            elif isinstance(member, property) and (name in _READINGS or not _is_of_library(type(driver), name)):
                content.parameters.append(self.property_of(driver, name, member))
        taken = {one.name for one in content.parameters} | {method.name for method in content.methods}
        if _is_signal(driver):
            content.parameters.append(_signal_parameter(_SIGNAL, lambda driver: driver, driver))
        for name, find, signal in _signals(driver, ""):
            if name not in taken:
                content.parameters.append(_signal_parameter(name, find, signal))
        return content

    def close(self, driver: Any) -> Any:
        """End the connection: ``destroy()`` of ophyd, or what such a class has for it."""
        if is_method(inspect.getattr_static(type(driver), "destroy", None)):
            return driver.destroy()
        return super().close(driver)

    def value(self, value: Any) -> Any:
        """What a caller gets: a status is waited for, and mappings are dicts."""
        if _is_status(value):
            value.wait()
            return None
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        return value


def _is_plain(cls: type, name: str) -> bool:
    found = inspect.getattr_static(cls, name, None)
    return is_method(found) and not inspect.iscoroutinefunction(found)


def _is_of_library(cls: type, name: str) -> bool:
    owner = next(base for base in cls.__mro__ if name in vars(base))
    return f"{owner.__module__}.".startswith(_LIBRARY)


def _is_status(value: Any) -> bool:
    return all(inspect.getattr_static(value, name, None) is not None for name in ("done", "success", "wait"))


def _is_signal(thing: Any) -> bool:
    """Whether something has one value, that can be got and may be set."""
    cls = type(thing)
    return _is_plain(cls, "get") and _is_plain(cls, "read") and not getattr(thing, "component_names", ())


def _parts(driver: Any) -> Iterator[str]:
    yield from getattr(driver, "component_names", None) or [name for name in vars(driver) if not name.startswith("_")]


def _signals(driver: Any, prefix: str) -> Iterator[tuple[str, Callable[[Any], Any], Any]]:
    """The signals of a device and its parts: name, what finds it, and the signal."""
    for name in _parts(driver):
        part = getattr(driver, name, None)
        if name in ("parent", "root") or part is driver:
            continue
        if _is_signal(part):
            yield prefix + name, _finder(name), part
        elif getattr(part, "component_names", None):
            for inner, find, signal in _signals(part, f"{prefix}{name}_"):
                yield inner, _through(_finder(name), find), signal


def _finder(name: str) -> Callable[[Any], Any]:
    return lambda driver: getattr(driver, name)


def _through(outer: Callable[[Any], Any], inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda driver: inner(outer(driver))


def _signal_parameter(name: str, find: Callable[[Any], Any], signal: Any) -> HostedParameter:
    settable = _is_plain(type(signal), "set") and getattr(signal, "write_access", True)

    def put(driver: Any, value: Any) -> None:
        status = find(driver).set(value)
        if _is_status(status):
            status.wait()

    return HostedParameter(
        name,
        get=lambda driver: find(driver).get(),
        set=put if settable else None,
        doc=inspect.cleandoc(getattr(signal, "doc", None) or ""),
    )
