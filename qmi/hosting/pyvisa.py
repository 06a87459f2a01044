"""Resources of PyVISA: reading, writing and asking, and the attributes that VISA has for them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection
from enum import Enum, Flag
from typing import Any

from qmi.errors import QMI_UsageException
from qmi.hosting.adapter import PlainAdapter, getter_of, setter_of
from qmi.hosting.content import Content, HostedParameter, Limits

_BASE = "pyvisa.resources.resource"
_ATTRIBUTE = "pyvisa.attributes"
_GENERAL = frozenset({"Resource", "MessageBasedResource", "RegisterBasedResource"})
_SETTINGS = {
    "query_delay": ("s", "Time between the writing and the reading of a query."),
    "chunk_size": ("", "How many bytes are read at once."),
}
"""Attributes of PyVISA's own that are neither properties nor attributes of VISA."""


class PyVisaAdapter(PlainAdapter):
    """Resources of PyVISA.

    A driver takes what ``ResourceManager.open_resource()`` takes, and ``visa_library``, which is the VISA library as
    PyVISA names it. A resource belongs to its instrument alone, so that neither its session nor VISA's locks and
    handlers are shown.
    """

    hidden: Collection[str] = frozenset(
        {"open", "close", "before_close", "register", "session", "last_status", "resource_info", "ignore_warning"}
        | {"lock", "lock_excl", "lock_context", "unlock", "lock_state", "read_termination_context"}
        | {"install_handler", "uninstall_handler", "wrap_handler"}
        | {"enable_event", "disable_event", "discard_events", "wait_on_event"}
    )

    def fits(self, driver_class: type) -> bool:
        """Whether a class is one of PyVISA's resources."""
        return any(base.__module__ == _BASE for base in driver_class.__mro__)

    def make(self, driver_class: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Open a resource.

        Raises:
            QMI_UsageException: If it is not said which one.
        """
        options = dict(kwargs)
        library = options.pop("visa_library", "")
        if not args and "resource_name" not in options:
            raise QMI_UsageException(
                f"Instrument {name!r} needs the name of a resource of PyVISA, such as 'TCPIP::192.168.1.5::INSTR'"
            )
        if driver_class.__name__ not in _GENERAL:
            options.setdefault("resource_pyclass", driver_class)
        pyvisa: Any = sys.modules["pyvisa"]  # the class is of it
        return pyvisa.ResourceManager(library).open_resource(*args, **options)

    def describe(self, driver: Any) -> Content:
        """What a resource has."""
        content = super().describe(driver)
        cls = type(driver)
        for name in dir(cls):
            member = inspect.getattr_static(cls, name)
            if name in self.hidden or name.startswith("_"):
                continue
            if name in _SETTINGS:
                unit, doc = _SETTINGS[name]
                content.parameters.append(HostedParameter(name, getter_of(name), setter_of(name), unit, doc))
            elif _is_attribute(member):
                content.parameters.append(_parameter(name, member))
        return content

    def opens(self, driver: Any) -> bool:
        """Whether ``open()`` connects it: a resource is connected when it is made, and settings end with it."""
        return False

    def open(self, driver: Any) -> None:
        """Nothing is to be done."""

    def close(self, driver: Any) -> None:
        """Close the resource. Others of the same resource manager stay open."""
        driver.close()

    def value(self, value: Any) -> Any:
        """What a caller gets: members of PyVISA's enumerations become their numbers."""
        return value.value if isinstance(value, Enum) else value


def _is_attribute(member: object) -> bool:
    return any(base.__module__ == _ATTRIBUTE and base.__name__ == "Attribute" for base in type(member).__mro__)


def _parameter(name: str, attribute: Any) -> HostedParameter:
    if name == "timeout":  # its values are not those that VISA has
        doc = "How long reading and writing wait; None for ever."
        return HostedParameter(name, _read_timeout, setter_of(name), "ms", doc)
    limits, values = _allowed(attribute)
    return HostedParameter(
        name,
        get=getter_of(name) if attribute.read else None,
        set=setter_of(name) if attribute.write else None,
        doc=inspect.cleandoc(type(attribute).__doc__ or ""),
        type=int if limits is not None else object,
        limits=limits,
        values=values,
    )


def _read_timeout(driver: Any) -> float | None:
    found: float = driver.timeout
    return None if found == float("inf") else found


def _allowed(attribute: Any) -> tuple[Limits | None, tuple[object, ...] | None]:
    """The limits or the values of an attribute of VISA."""
    low, high = getattr(attribute, "min_value", None), getattr(attribute, "max_value", None)
    others = getattr(attribute, "values", None)
    if isinstance(low, int) and isinstance(high, int):
        return (None, None) if others else ((low, high)), None  # values outside the range
    kind = getattr(attribute, "enum_type", None)
    if isinstance(kind, type) and issubclass(kind, Enum) and not issubclass(kind, Flag):
        return None, tuple(member.value for member in kind)
    return None, tuple(others) if others else None
