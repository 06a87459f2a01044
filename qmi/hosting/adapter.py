"""How a library's drivers are made, opened, closed and described; here for plain classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from typing import Any, ClassVar, Literal, get_type_hints

from qmi.errors import QMI_UsageException
from qmi.hosting.content import Content, HostedMethod, HostedParameter

OPENING = ("open", "connect")
"""Names of the methods that connect a driver, the first that there is."""
CLOSING = ("close", "disconnect", "shutdown")
"""Names of the methods that end the connection, likewise."""


class Adapter:
    """What is known of the drivers of one library; for another library, derive from this class.

    An adapter is registered by an entry point of the group ``qmi.hosting``, or given to :func:`qmi.hosted`. Its methods
    are called in the thread of the instrument, except :meth:`fits`.

    Attributes:
        awaited: Whose event loop the drivers' methods are awaited in, ``"asyncio"`` or ``"trio"``: then all that is
            called of them may be ``async def``, and so may :meth:`open` and :meth:`close`. Empty for plain drivers.
    """

    awaited: ClassVar[Literal["", "asyncio", "trio"]] = ""

    def fits(self, driver_class: type) -> bool:
        """Whether this adapter is for drivers of a class. It must not import the library.

        Args:
            driver_class: The class.
        """
        raise NotImplementedError(f"{type(self).__name__}.fits() is missing")

    def make(self, driver_class: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a driver.

        Args:
            driver_class: Its class.
            name: Name of the instrument.
            args: What was given for the driver.
            kwargs: Likewise, by name.
        """
        return driver_class(*args, **kwargs)

    def describe(self, driver: Any) -> Content:
        """What a driver has. Nothing may be asked of the device.

        Args:
            driver: The driver.
        """
        raise NotImplementedError(f"{type(self).__name__}.describe() is missing")

    def opens(self, driver: Any) -> bool:
        """Whether :meth:`open` connects the driver, and can do so again after :meth:`close`.

        One that cannot is connected when it is made, and made anew when it is opened again.

        Args:
            driver: The driver.
        """
        return False

    def open(self, driver: Any) -> Any:
        """Connect a driver that is not connected when it is made.

        Args:
            driver: The driver.
        """

    def close(self, driver: Any) -> Any:
        """End the connection.

        Args:
            driver: The driver.
        """

    def value(self, value: Any) -> Any:
        """What a caller gets for a value of the library.

        Args:
            value: What a parameter was read as, or what a method returned.
        """
        return value


class PlainAdapter(Adapter):
    """Any class: its public methods and properties. ``get_x()`` and ``set_x(value)`` are a parameter, too."""

    hidden: Collection[str] = ()
    """Names of methods and properties that are not published."""

    def fits(self, driver_class: type) -> bool:
        """Whether this adapter is for drivers of a class: it is, for every one."""
        return True

    def describe(self, driver: Any) -> Content:
        """What a driver has: nothing is asked of the device."""
        cls = type(driver)
        content = Content(doc=inspect.getdoc(cls) or "")
        for name, member in public_members(cls):
            if name in self.hidden:
                continue
            if isinstance(member, property | cached_property):
                content.parameters.append(self.property_of(driver, name, member))
            elif not self.awaited and (inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)):
                raise QMI_UsageException(
                    f"{cls.__name__}.{name}() is async, and {type(self).__name__} is for drivers with plain methods: "
                    "take AsyncioAdapter or TrioAdapter"
                )
            elif name not in (*OPENING, *CLOSING) and is_method(member):
                content.methods.append(method_of(driver, name))
        add_pairs(driver, content)
        return content

    def property_of(self, driver: Any, name: str, member: property | cached_property[Any]) -> HostedParameter:
        """The parameter for a property of a driver.

        Args:
            driver: The driver.
            name: Name of the property.
            member: The property, as its class has it.
        """
        getter = member.fget if isinstance(member, property) else member.func
        return HostedParameter(
            name,
            get=None if getter is None else getter_of(name),
            set=setter_of(name) if getattr(member, "fset", None) is not None else None,
            doc=inspect.getdoc(member) or "",
            type=returned_type(getter),
        )

    def opens(self, driver: Any) -> bool:
        """Whether the driver has a method that connects it."""
        return first_method(driver, OPENING) is not None

    def open(self, driver: Any) -> Any:
        """Connect a driver, unless it says that it is connected."""
        method = first_method(driver, OPENING)
        if method is not None and not says_that_it_is_open(driver):
            method()

    def close(self, driver: Any) -> Any:
        """Call the first of the methods that end a connection that the driver has."""
        method = first_method(driver, CLOSING)
        if method is not None:
            method()


def first_method(driver: Any, names: Collection[str]) -> Callable[[], object] | None:
    """The first of some methods that a driver has."""
    for name in names:
        if is_method(inspect.getattr_static(type(driver), name, None)):
            found: Callable[[], object] = getattr(driver, name)
            return found
    return None


def says_that_it_is_open(driver: Any) -> bool:
    """Whether a driver says by ``is_open``, ``is_opened``, ``is_connected`` or ``connected`` that it is connected."""
    for name in ("is_open", "is_opened", "is_connected", "connected"):
        if inspect.getattr_static(driver, name, None) is not None:
            found = getattr(driver, name)
            return (found() if callable(found) else found) is True
    return False


def public_members(cls: type) -> Iterator[tuple[str, Any]]:
    """The public names of a class in the order in which they were written, base classes first, and what they are."""
    names = (name for base in reversed(cls.__mro__) if base is not object for name in vars(base))
    for name in dict.fromkeys(names):
        if not name.startswith("_"):
            yield name, inspect.getattr_static(cls, name, None)


def is_method(member: object) -> bool:
    """Whether something that a class has is a method."""
    if isinstance(member, staticmethod | classmethod):
        return True
    return inspect.isroutine(member) and not isinstance(member, type)


def method_of(driver: Any, name: str) -> HostedMethod:
    """A method of a driver, as its class has it."""
    found = getattr(driver, name)
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # one of C, which does not say what it takes
        signature = None

    def call(driver: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(driver, name)(*args, **kwargs)

    return HostedMethod(name, call, signature, inspect.getdoc(found) or "", _is_generator(found))


def _is_generator(function: object) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def getter_of(name: str) -> Callable[[Any], object]:
    """Reads an attribute of a driver."""
    return lambda driver: getattr(driver, name)


def setter_of(name: str) -> Callable[[Any, Any], None]:
    """Sets an attribute of a driver."""
    return lambda driver, value: setattr(driver, name, value)


def add_pairs(driver: Any, content: Content) -> None:
    """Add a parameter ``x`` for each pair of methods ``get_x()`` and ``set_x(value)`` that need no other arguments."""
    methods = {method.name: method for method in content.methods}
    known = {one.name for one in content.parameters} | set(methods)
    for name, method in methods.items():
        match = re.fullmatch(r"get_(\w+)", name)
        setter = methods.get(f"set_{match[1]}") if match else None
        if match is None or setter is None or match[1] in known:
            continue
        if takes(method.signature, 0) and takes(setter.signature, 1):
            kind = returned_type(getattr(type(driver), name, None))
            content.parameters.append(HostedParameter(match[1], method.call, setter.call, doc=method.doc, type=kind))


def takes(signature: inspect.Signature | None, count: int) -> bool:
    """Whether a method can be called with so many arguments."""
    if signature is None:
        return False
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def returned_type(function: object) -> type:
    """What a getter is annotated to return, where that is one of Python's simple types; else ``object``."""
    try:
        found = get_type_hints(function).get("return")
    except Exception:  # noqa: BLE001 - a name that only type checkers know
        return object
    return found if found in (float, int, bool, str) else object
