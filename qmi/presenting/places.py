"""The values of objects by their names: parameters, those of channels, properties and constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from qmi.actors.interface import Interface, Method, ParameterBrief, service_name
from qmi.errors import QMI_Exception, QMI_InvalidOperationException, QMI_UnknownNameException
from qmi.names import Address, nearest, parse_parameter_path
from qmi.parameters.info import ParameterInfo
from qmi.parameters.rules import describe_limits, listed
from qmi.parameters.snapshot import member_of
from qmi.presenting.annotation_types import Resolve, type_of
from qmi.presenting.argument_text import Unfit, read, read_json
from qmi.presenting.call_arguments import WrongArgument, shown
from qmi.presenting.value_text import json_of

if TYPE_CHECKING:  # it needs trio, for which a shell would wait after TAB
    from qmi.actors.proxy import AsyncProxy, QMI_RpcProxy

_ASKING = 2.0
"""How long the limits may take that a message says, in seconds."""


class Place(NamedTuple):
    """Where a value is.

    Attributes:
        address: The object.
        path: Its name there: ``"voltage"``, ``"channels[1].voltage"``.
        proxy: A proxy of the object.
        unit: Its unit; empty if it has none.
        annotation: Its type, as text.
        class_name: Full name of the class that names this type.
        gettable: Whether it can be read.
        settable: Whether it can be set.
        is_parameter: Whether it is a declared parameter.
    """

    address: Address
    path: str
    proxy: Any
    unit: str = ""
    annotation: str | None = None
    class_name: str = ""
    gettable: bool = True
    settable: bool = True
    is_parameter: bool = True

    @property
    def where(self) -> str:
        """Its whole name: ``"lab.psu.voltage"``."""
        return f"{self.address}.{self.path}"

    def get(self, timeout: float | None = None) -> object:
        """Read it."""
        constants = self.proxy.__rpc_interface__.constants
        if self.path in constants:
            return constants[self.path]
        self._check_gettable()
        from qmi.actors.properties import GET

        return self.proxy.__rpc__.call_blocking(GET, (self.path,), {}, timeout)

    def set(self, value: object, timeout: float | None = None) -> None:
        """Set it."""
        from qmi.actors.properties import SET, plain_value

        rpc = self.proxy.__rpc__
        rpc.call_blocking(SET, (self.path, plain_value(rpc, self.path, value)), {}, timeout)

    async def get_async(self, timeout: float | None = None) -> object:
        """Read it; of an async proxy."""
        constants = self.proxy.__rpc_interface__.constants
        if self.path in constants:
            return constants[self.path]
        self._check_gettable()
        from qmi.actors.properties import GET

        return await self.proxy.__rpc__.call_async(GET, (self.path,), {}, timeout)

    async def set_async(self, value: object, timeout: float | None = None) -> None:
        """Set it; of an async proxy."""
        from qmi.actors.properties import SET, plain_value

        rpc = self.proxy.__rpc__
        await rpc.call_async(SET, (self.path, plain_value(rpc, self.path, value)), {}, timeout)

    def _check_gettable(self) -> None:
        if not self.gettable:
            raise QMI_InvalidOperationException(f"{self.where} can only be set")

    def read(self, text: str, resolve: Resolve) -> object:
        """The value that somebody has typed.

        Raises:
            QMI_InvalidOperationException: If it can only be read.
            WrongArgument: If it is no such value; says which are.
        """
        return self._read(read, text, resolve, lambda: allowed_now(self.proxy, self.path))

    def read_json(self, value: object, resolve: Resolve, allowed: str = "") -> object:
        """The value that a program has sent as JSON; a text is read as one that somebody has typed.

        Args:
            value: What was sent.
            resolve: Finds the type.
            allowed: Which values it may have now, for the message; see :func:`allowed_async`.

        Raises:
            QMI_InvalidOperationException: If it can only be read.
            WrongArgument: If it is no such value; says which are.
        """
        return self._read(read_json, value, resolve, lambda: allowed)

    def _read(
        self, reader: Callable[[Any, object, str], object], given: object, resolve: Resolve, allowed: Callable[[], str]
    ) -> object:
        if not self.settable:
            raise QMI_InvalidOperationException(f"{self.where} can only be read")
        try:
            return reader(given, type_of(self.annotation, resolve), self.unit)
        except Unfit as error:
            expected = allowed() if self.is_parameter else ""
            hint = f": {error.hint}" if error.hint else ""
            expected, found = expected or error.expected, shown(given)
            raise WrongArgument(f"{self.where} must be {expected}, got {found}{hint}", "value") from None

    def as_json(self, value: object) -> dict[str, object]:
        """A value of it for programs."""
        member = member_of(value)
        told: dict[str, object] = {"value": value if member is None else json_of(member.value)}
        if member is not None:
            told["member"] = member.name
        return {**told, "unit": self.unit} if self.unit else told


def find_places(proxy: QMI_RpcProxy | AsyncProxy[Any], address: Address, pattern: str) -> list[Place]:
    """The values of a name, or of all names that a pattern with ``*`` fits and that can be read.

    Raises:
        QMI_UnknownNameException: If there are none; says what there is instead.
    """
    interface: Interface = proxy.__rpc_interface__
    if not ("*" in pattern or "?" in pattern):
        return [_find(proxy, address, pattern)]
    # The brackets in names of channels are no pattern.
    wanted = pattern.replace("[", "[[]")
    found = [_find(proxy, address, path) for path in _paths(interface) if fnmatchcase(path, wanted)]
    if not found:
        raise QMI_UnknownNameException(
            f"{address} has no value that fits {pattern!r}; it has {_some(_paths(interface))}"
        )
    readable = [place for place in found if place.gettable]
    if not readable:
        raise QMI_InvalidOperationException(f"what fits {pattern!r} of {address} can only be set")
    return readable


def _paths(interface: Interface) -> list[str]:
    parameters = interface.parameters
    own = [] if parameters is None else parameters.paths()
    return [*own, *(name for name in interface.properties if name not in own), *interface.constants]


def _some(names: Sequence[str]) -> str:
    shown = 12
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "") or "none"


def _find(proxy: QMI_RpcProxy | AsyncProxy[Any], address: Address, path: str) -> Place:
    interface: Interface = proxy.__rpc_interface__
    parameters = interface.parameters
    brief = None if parameters is None else parameters.find(path)
    if brief is not None:
        annotation, class_name = _type_in(interface, path, brief)
        return Place(
            address, path, proxy, brief.unit, annotation, class_name, gettable=brief.gettable, settable=brief.settable
        )
    if path in interface.properties:
        kind = interface.properties[path].type_name
        return Place(address, path, proxy, annotation=kind, class_name=interface.class_name, is_parameter=False)
    if path in interface.constants:
        return Place(address, path, proxy, settable=False, is_parameter=False)
    raise QMI_UnknownNameException(_no_value(interface, address, path))


def _type_in(interface: Interface, path: str, brief: ParameterBrief) -> tuple[str, str]:
    """The type of a parameter, as its setter has it; and the class in which it is named."""
    parts = parse_parameter_path(path)
    methods, class_name = interface.methods, interface.class_name
    if parts is not None and parts.group and interface.parameters is not None:
        group = interface.parameters.channels[parts.group]
        methods, class_name = group.methods, group.class_name
    method: Method | None = methods.get(brief.setter)
    if method is not None and method.parameters and method.parameters[0].annotation:
        return method.parameters[0].annotation, class_name
    return brief.type_name, class_name


def _no_value(interface: Interface, address: Address, path: str) -> str:
    whole = f"{address}.{path}"
    if path in interface.methods or service_name(*_split(path)) in interface.services:
        return f"{whole} is a method and no value: qmi call {whole}"
    if any(signal.name == path for signal in interface.signals):
        return f"{whole} is a signal and no value: qmi monitor {whole}"
    known = _paths(interface)
    if not known:
        return f"{address} has no parameters; 'qmi call {address}' lists its methods"
    near = nearest(path, known)
    return f"{address} has no parameter {path!r}. " + (f"Did you mean {near!r}?" if near else f"It has {_some(known)}")


def _split(path: str) -> tuple[str, str]:
    parts = parse_parameter_path(path)
    return ("", path) if parts is None else (parts.group, parts.name)


# What a parameter may be now


def allowed_now(proxy: QMI_RpcProxy, path: str) -> str:
    """Which values a parameter may have now, in words; empty if its type says it all, or it cannot be asked."""
    try:
        info: ParameterInfo = proxy.parameters(path, rpc_timeout=_ASKING)[path]
    except (QMI_Exception, AttributeError, TypeError):  # the message does without
        return ""
    return allowed_text(info)


async def allowed_async(proxy: AsyncProxy[Any], path: str) -> str:
    """The same of an async proxy."""
    try:
        found = await proxy.parameters(path, rpc_timeout=_ASKING)
        return allowed_text(found[path])
    except (QMI_Exception, AttributeError, TypeError, KeyError):  # as above
        return ""


def allowed_text(info: ParameterInfo) -> str:
    """Which values a parameter may have, in words; empty if its type says it all."""
    unit = f" {info.unit}" if info.unit else ""
    if info.values is not None and info.type in ("float", "int", "str"):
        return f"{listed(info.values)}{unit}"
    if info.type not in ("float", "int"):
        return ""
    kind = "a whole number" if info.type == "int" else "a number"
    ends = info.limits or (None, None)
    if all(end is None for end in ends):
        return f"{kind} in {info.unit}" if unit else kind
    return f"{kind} {describe_limits(ends, info.unit)}"
