"""How the author of a driver declares what can be set and read: :func:`parameter`.

A :class:`Parameter` is data and a descriptor: ``self.voltage`` and ``self.voltage = 5.0`` in the driver read and set
it, by :mod:`qmi.parameters.access`. What is wrong with a declaration is found when the class is made
(:mod:`qmi.parameters.checks`), where class and name are known; nothing here raises.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, cast, get_origin, overload

from qmi.errors import QMI_UsageException
from qmi.parameters import access
from qmi.parameters.blocks import Block
from qmi.parameters.channels import MARK
from qmi.parameters.rules import NUMBERS, Rule, plain_scalar
from qmi.parameters.units import Quantity

if TYPE_CHECKING:
    from numpy import ndarray

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

End: TypeAlias = "float | str | Callable[[Any], Any] | None"
"""One end of limits: a number, None where there is no limit, the name of a parameter, a function of the instrument."""


def class_of(kind: object) -> type | None:
    """The class of a type: of ``list[float]`` it is ``list``. None if there is none, as of ``float | None``."""
    if kind is Any:
        return object
    found = get_origin(kind) or kind
    if not isinstance(found, type) or found is UnionType:
        return None
    if found.__module__ == "numpy":  # a number of numpy's is one of Python's here
        return next((python for python, kinds in NUMBERS.items() if issubclass(found, kinds)), found)
    return found


class Parameter(Generic[T]):
    """A value of an object that is set or read; made by :func:`parameter`, as an attribute of a class.

    On the class it is itself; on an object, in its driver or at a proxy, it is the value.

    Attributes:
        name: Its name.
        owner: The class that declares it.
        command: The command that sets it, or the question that reads it; None if it has none.
        ask: The question; None if it cannot be read by one.
        write: The command that sets it, with ``{value}`` for the value; None if it cannot be set by one.
        type: The type of its values.
        block: How an array is sent; None if it is no array.
        unit: Unit of its values.
        limits: The least and the greatest value, as they were declared.
        values: What it can be, if only some values are allowed.
        texts: What the device calls each of them, if the declaration says that.
        step: What its values are multiples of.
        doc: What it is.
        poll: Each how many seconds it is read and published; None if it is not.
        format: How a value is written for the device: a format such as ``".3f"``, or a function.
        parse: How an answer of the device becomes a value.
        scale: What a number of the device is multiplied by to be in ``unit``.
        simulate: What a simulator answers.
        getter: The function that reads it, if it has one.
        setter: The function that sets it, if it has one.
        rule: Which values it takes.
        given: The arguments, as they were written.
        unnamed: Arguments behind command and type, which there are none of: for the message about them.
        annotated: Whether its type is what the getter is annotated to return.
    """

    def __init__(self, given: dict[str, Any], *, annotated: bool = False) -> None:
        self.unnamed: tuple[object, ...] = given.pop("*", ())
        self.given: dict[str, object] = given
        self.annotated: bool = annotated
        self.name: str = ""
        self.owner: type | None = None
        self.names: list[str] = []
        command, ask, write = given.get("command"), given.get("ask"), given.get("write")
        asks_only = isinstance(command, str) and "?" in command
        self.command: str | None = command
        self.ask: str | None = ask or (command if command is None or asks_only else f"{command}?")
        self.write: str | None = write or (None if command is None or asks_only else f"{command} {{value}}")
        self.getter: Callable[..., object] | None = given.get("getter")
        self.setter_function: Callable[..., object] | None = given.get("setter")
        kind = given.get("type")
        self.block: Block | None = kind if isinstance(kind, Block) else None
        self.type: type = class_of(kind) or object
        self.unit: str = given.get("unit") or ""
        limits = given.get("limits")
        if isinstance(limits, tuple | list):
            limits = tuple(plain_scalar(end) for end in limits)
        self.limits: tuple[object, ...] | Callable[..., object] | None = limits
        values = given.get("values")
        self.values: tuple[object, ...] | None = tuple(values) if isinstance(values, Iterable) else None
        self.texts: Mapping[object, str] | None = values if isinstance(values, Mapping) else None
        self.step: float | None = plain_scalar(given.get("step"))  # type: ignore[assignment]
        self.poll: float | None = plain_scalar(given.get("poll"))  # type: ignore[assignment]
        self.format: str | Callable[..., str] | None = given.get("format")
        self.parse: Callable[[str], object] | None = given.get("parse")
        self.scale: float | None = plain_scalar(given.get("scale"))  # type: ignore[assignment]
        self.simulate: object = given.get("simulate")
        self.doc: str = given.get("doc") or ""
        self.__doc__ = self.doc
        self.rule: Rule = Rule(self.type, self.unit, self.values, self.step)

    def __set_name__(self, owner: type, name: str) -> None:
        self.names.append(f"{owner.__qualname__}.{name}")
        if self.owner is None:
            self.owner, self.name = owner, name
        setattr(owner, MARK, True)

    def __repr__(self) -> str:
        where = f"{self.owner.__qualname__}.{self.name}" if self.owner is not None else "without a name"
        return f"<parameter {where}>"

    @property
    def gettable(self) -> bool:
        """Whether it can be read."""
        return self.getter is not None or self.ask is not None

    @property
    def settable(self) -> bool:
        """Whether it can be set."""
        return self.setter_function is not None or self.write is not None

    @overload
    def __get__(self, instance: None, owner: type) -> Parameter[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Parameter[T] | T:
        if instance is None:
            return self
        return cast("T", access.now(access.reading(instance, self), f"await self.get_{self.name}()"))

    def __set__(self, instance: object, value: T | Quantity) -> None:
        access.now(access.setting(instance, self, value), f"await self.set_{self.name}(...)")

    def changed(self, **given: Any) -> Parameter[T]:
        """The same with other arguments, for a subclass: ``voltage = Supply.voltage.changed(limits=(0, 5))``.

        Args:
            given: What differs, as :func:`parameter` takes it.
        """
        functions = {"getter": self.getter, "setter": self.setter_function}
        return Parameter({**self.given, **functions, **given}, annotated=self.annotated and "type" not in given)

    if TYPE_CHECKING:

        def __call__(self, getter: Callable[[Any], Any]) -> Parameter[T]:
            """Declare how it is read: a decorator for a method, after ``@parameter(type=float)``."""

    def setter(self, function: F) -> F:
        """Declare how it is set; a decorator for a method, which takes the value.

        A method that is called ``set_`` and the name of the parameter is what proxies call, after the value was
        checked; one of another name is called by that.

        Args:
            function: The method.
        """
        if self.owner is not None:
            raise QMI_UsageException(
                f"{self.owner.__qualname__}.{self.name} has been declared already; a class that sets it in another way "
                f"overrides {getattr(self.setter_function, '__name__', 'it')}, or declares it anew"
            )
        self.setter_function = function
        if function.__name__ == self.name or function.__name__ == getattr(self.getter, "__name__", None):
            return cast("F", self)  # the form of a property, which type checkers refuse
        return function


class _Undecorated(Parameter[T]):
    """One with a type, but neither a command nor a getter: it is to decorate the method that reads."""

    def __call__(self, getter: Callable[[Any], Any]) -> Parameter[T]:
        made: Parameter[T] = _of_getter(getter, self.given)
        return made


class ParameterDecorator(Protocol):
    """What :func:`parameter` returns if it is given no command and no getter: it takes the method that reads."""

    @overload
    def __call__(self, getter: Callable[[Any], Awaitable[T]], /) -> Parameter[T]: ...
    @overload
    def __call__(self, getter: Callable[[Any], T], /) -> Parameter[T]: ...


def _of_getter(getter: Callable[..., object], given: dict[str, object]) -> Parameter[Any]:
    merged = {**given, "getter": getter}
    merged["doc"] = given.get("doc") or inspect.getdoc(getter)
    if given.get("type") is not None:
        return Parameter(merged)
    return Parameter({**merged, "type": _annotated_type(getter)}, annotated=True)


def _annotated_type(getter: Callable[..., object]) -> object:
    annotation: object = getattr(getter, "__annotations__", {}).get("return")
    if not isinstance(annotation, str):
        return annotation
    # `from __future__ import annotations` leaves texts: names of the module, or of Python.
    space = dict(vars(sys.modules.get(getter.__module__, inspect)))
    try:
        return eval(annotation, space)
    except Exception:  # noqa: BLE001 - a name that is there for type checkers only: found to be no type, with its text
        return annotation


@overload
def parameter(getter: Callable[[Any], Awaitable[T]], /) -> Parameter[T]: ...
@overload
def parameter(getter: Callable[[Any], T], /) -> Parameter[T]: ...
@overload
def parameter(
    command: str,
    type: Block,
    *,
    unit: str = "",
    doc: str = "",
    poll: float | None = None,
    ask: str | None = None,
    write: str | None = None,
    format: str | Callable[[Any], str] | None = None,
    parse: Callable[[str], Any] | None = None,
    scale: float | None = None,
    simulate: object = None,
) -> Parameter[ndarray[Any, Any]]: ...
@overload
def parameter(
    command: str,
    type: type[T],
    *,
    unit: str = "",
    limits: tuple[End, End] | Callable[[Any], Any] | None = None,
    values: Sequence[T] | Mapping[T, str] | None = None,
    step: float | None = None,
    doc: str = "",
    poll: float | None = None,
    ask: str | None = None,
    write: str | None = None,
    format: str | Callable[[T], str] | None = None,
    parse: Callable[[str], T] | None = None,
    scale: float | None = None,
    simulate: object = None,
) -> Parameter[T]: ...
@overload
def parameter(
    *,
    type: type[T],
    getter: Callable[..., object] | None = None,
    setter: Callable[..., object] | None = None,
    unit: str = "",
    limits: tuple[End, End] | Callable[[Any], Any] | None = None,
    values: Sequence[T] | Mapping[T, str] | None = None,
    step: float | None = None,
    doc: str = "",
    poll: float | None = None,
    ask: str | None = None,
    write: str | None = None,
    format: str | Callable[[T], str] | None = None,
    parse: Callable[[str], T] | None = None,
    scale: float | None = None,
    simulate: object = None,
) -> Parameter[T]: ...
@overload
def parameter(
    *,
    unit: str = "",
    limits: tuple[End, End] | Callable[[Any], Any] | None = None,
    values: Sequence[Any] | None = None,
    step: float | None = None,
    doc: str = "",
    poll: float | None = None,
    simulate: object = None,
) -> ParameterDecorator: ...
def parameter(command: Any = None, type: Any = None, *unnamed: Any, **given: Any) -> Any:  # noqa: A002, D417 - as above
    """Declare a parameter of a driver: something that is set or read, as an attribute of its class.

    ::

        class Supply(ScpiInstrument):
            voltage = parameter("VOLT", float, unit="V", limits=(0, 30), doc="Set voltage")
            current = parameter("MEAS:CURR?", float, unit="A")

        class Laser(QMI_Instrument):
            @parameter(unit="W", limits=(0, 0.1))
            def power(self) -> float:
                return self._head.power()

            @power.setter
            def set_power(self, value: float) -> None:
                self._head.set_power(value)

            wavelength = parameter(getter=get_wavelength, setter=set_wavelength, type=float, unit="nm")

    Proxies have ``proxy.voltage``, which reads it, ``proxy.voltage = 5.0``, which sets it, and the published methods
    ``get_voltage()`` and ``set_voltage(value)``; a method of such a name that the driver has itself stays. In the
    driver ``self.voltage`` and ``self.voltage = 5.0`` do the same.

    Args:
        command: The command of the device, which is sent with a ``?`` to read it, and with the value to set it; one
            with a ``?`` in it only reads. ``{n}`` in it is the number of the channel.
        type: Type of the values: ``float``, ``int``, ``bool``, ``str``, an enumeration whose values are the texts of
            the device, or ``Block("<f4")`` for an array. With a getter it may be any class.
        unit: Unit of the values, as text. A quantity of pint is converted to it.
        limits: The least and the greatest value. Each is a number, None (no limit), the name of another parameter, or a
            function of the object; or both together are what one function of the object gives.
        values: The values that are allowed; as a dictionary, with what the device calls each.
        step: Values are multiples of it, counted from the lower limit, or from 0 where there is none.
        doc: What it is.
        poll: Each how many seconds it is read while the object is open, and published as the signal ``sig_`` and its
            name.
        ask: The question, where it is not ``command`` and ``?``.
        write: The command that sets it, with ``{value}``, where it is not ``command``, a blank and the value.
        getter: A method that reads it, instead of a command.
        setter: A method that sets it, instead of a command.
        format: How a value is written for the device: a format such as ``".3f"``, or a function that makes it a text.
        parse: A function that makes a value of an answer.
        scale: What a number of the device is multiplied by to be in ``unit``.
        simulate: What a simulator answers: a value, or a function.

    Raises:
        QMI_UsageException: Later, when the class is made, if the declaration cannot work.
        QMI_InvalidValueException: When a value is set that is not allowed. Nothing is clipped or rounded.
        QMI_InstrumentException: When what is read is no value of the type.
    """
    if callable(command) and type is None and not given:
        return _of_getter(command, {})
    given |= {"command": command, "type": type, "*": unnamed}  # "*" is refused where class and name are known
    getter = given.get("getter")
    if getter is not None:
        return _of_getter(getter, given)
    if any(given.get(name) is not None for name in ("command", "ask", "write", "setter")):
        return Parameter(given)
    return _Undecorated(given)


for _public in (Parameter, ParameterDecorator, parameter):
    _public.__module__ = "qmi.core.driver"
