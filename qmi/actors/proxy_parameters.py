"""Declared parameters and channels as proxies show them: ``proxy.parameters`` and ``proxy.channels[2]``.

A property of a channel is asked for and set by its path, ``"channels[2].voltage"``; a method of a channel is a method
of the object, ``"_channels.ramp"``, whose first argument is the number. Both are calls like any other: of one object,
with one lock and one line.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import WRAPPER_ASSIGNMENTS, cache, partial, partialmethod
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar, cast

from qmi.actors.call import Handle, ProxyView
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import ChannelsBrief, Interface, Method, ParameterBrief, ParameterInterface, channel_service
from qmi.actors.presentation import ProxyType, signature_of
from qmi.actors.properties import (
    GET,
    SET,
    AsyncProperty,
    NonblockingProperty,
    plain_value,
    property_doc,
    read_blocking,
    refuse_async,
    refuse_nonblocking,
    set_blocking,
    take_failure,
)
from qmi.actors.proxy_part import ProxyPart, not_assigned
from qmi.errors import QMI_InvalidValueException, QMI_UnknownNameException, QMI_UnknownRpcException
from qmi.names import nearest
from qmi.parameters.channels import describe_numbers, index_of, no_channel
from qmi.parameters.info import unknown_parameter
from qmi.parameters.units import in_unit

if TYPE_CHECKING:
    from qmi.parameters.info import ParameterInfo

_PARAMETERS = Method("parameters")

T = TypeVar("T")


# Values with a unit as arguments of the methods that set parameters


def take_quantities(
    functions: dict[str, object], methods: Mapping[str, Method], parameters: Mapping[str, ParameterBrief]
) -> None:
    """Let the methods of a proxy that set parameters take quantities, too.

    Args:
        functions: The methods of the proxy by name; those that set parameters are replaced.
        methods: What is known of them.
        parameters: The parameters.
    """
    for brief in parameters.values():
        if brief.unit and brief.setter in functions:
            functions[brief.setter] = _taking_quantity(functions[brief.setter], brief, methods[brief.setter])


def _taking_quantity(function: Any, brief: ParameterBrief, method: Method) -> Callable[..., Any]:
    keyword = method.parameters[0].name if method.parameters else ""

    def call(self: Any, /, *args: object, **kwargs: object) -> object:
        where = f"{brief.name} of {self.__rpc__.address.object}"
        if args:
            args = (in_unit(args[0], brief.unit, where), *args[1:])
        elif keyword in kwargs:
            kwargs[keyword] = in_unit(kwargs[keyword], brief.unit, where)
        return function(self, *args, **kwargs)

    for name in WRAPPER_ASSIGNMENTS:
        setattr(call, name, getattr(function, name))
    call.__dict__.update(function.__dict__)  # the signature, and what it wraps itself
    return call


# Channels


class ProxyChannel(metaclass=ProxyType):
    """A channel of an object, as its proxy shows it."""

    __slots__ = ("__rpc__", "_number")

    __rpc_interface__: ClassVar[Interface] = Interface("builtins.object")
    _group: ClassVar[ChannelsBrief]

    if TYPE_CHECKING:
        __rpc__: Handle
        _number: int
    else:

        def __setattr__(self, name: str, value: object) -> None:
            try:
                _set_attribute(self, name, value)
            except AttributeError as error:
                where = f"{self.path} of {self.__rpc__.address}"
                refusal = not_assigned(type(self), name, where, partial(_unknown_of_channel, self, name, setting=True))
                if refusal is None:
                    raise
                raise refusal from error.__cause__

    def __init__(self, handle: Handle, number: int) -> None:
        _set_handle(self, handle)
        _set_number(self, number)

    @property
    def number(self) -> int:
        """The number of the channel."""
        return self._number

    @property
    def path(self) -> str:
        """Where the instrument has it: ``"channels[1]"``."""
        return f"{self._group.name}[{self._number}]"

    def __repr__(self) -> str:
        return f"<{self.path} of {self.__rpc__.address} ({self._group.class_name})>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ProxyChannel):
            return NotImplemented
        return type(other) is type(self) and (other.__rpc__, other._number) == (self.__rpc__, self._number)

    def __hash__(self) -> int:
        return hash((self.__rpc__, self._number))

    def __dir__(self) -> list[str]:
        return dir(type(self))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name in self._group.parameters and (error := take_failure()) is not None:
            raise error
        raise QMI_UnknownRpcException(_unknown_of_channel(self, name), name=name, obj=None)


def _unknown_of_channel(channel: ProxyChannel, name: str, *, setting: bool = False) -> str:
    """Why a channel has no attribute of a name, or none that can be set."""
    group, interface = channel._group, channel.__rpc__.interface
    text = f"{channel.path} of {channel.__rpc__.address} has no "
    of_all: Collection[str] = {*interface.methods, *interface.properties}
    if setting:
        known = [key for key, brief in group.parameters.items() if brief.settable]
        text += f"parameter {name!r}"
        of_all = interface.properties
    else:
        known = [*group.parameters, *group.methods]
        text += f"parameter or published method {name!r}"
    if near := nearest(name, known):
        return f"{text}. Did you mean {near!r}?"
    if name in of_all:
        return f"{text}; the instrument, {channel.__rpc__.address}, has it"
    return f"{text}, and a proxy keeps no values of its own" if setting else text


_set_attribute = object.__setattr__
_set_handle, _set_number = (vars(ProxyChannel)[name].__set__ for name in ("__rpc__", "_number"))


class ProxyChannels(ProxyPart):
    """The channels of an object: ``proxy.channels[2]``, ``len()``, iteration from the first to the last."""

    __slots__ = ("_channel",)

    if TYPE_CHECKING:
        _channel: type[ProxyChannel]

    def __init__(self, handle: Handle, name: str, channel: type[ProxyChannel]) -> None:
        super().__init__(handle, name)
        _set_channel(self, channel)

    @property
    def _numbers(self) -> range:
        group = self._channel._group
        return range(group.first, group.last + 1)

    def __len__(self) -> int:
        return len(self._numbers)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("__"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            raise QMI_UnknownRpcException(self._explain(name), name=name, obj=None)

        def __setattr__(self, name: str, value: object) -> None:
            if not name.startswith("_"):
                raise QMI_UnknownRpcException(self._explain(name), name=name, obj=None)
            super().__setattr__(name, value)

    def _explain(self, name: str) -> str:
        group = self._channel._group
        text = f"{self._name} of {self._rpc.address} are several, and have no {name!r} together"
        known = nearest(name, [*group.parameters, *group.methods])
        return text + (f". That of one of them is {self._name}[{group.first}].{known}" if known else "")

    def __iter__(self) -> Iterator[ProxyChannel]:
        return (self._channel(self._rpc, number) for number in self._numbers)

    def __getitem__(self, number: int) -> ProxyChannel:
        found = index_of(number)
        if found is None or found not in self._numbers:
            raise QMI_InvalidValueException(no_channel(self._name, str(self._rpc.address), self._numbers, number))
        return self._channel(self._rpc, found)

    def __repr__(self) -> str:
        return f"<{self._name} {describe_numbers(self._numbers)} of {self._rpc.address}>"


_set_channel = vars(ProxyChannels)["_channel"].__set__


def _channel_method(view: str, service: Method) -> Callable[..., object]:
    if view == "nonblocking":

        def call_nonblocking(self: Any, /, *args: object, **kwargs: object) -> QMI_RpcFuture[object]:
            return self.__rpc__.call_nonblocking(service, (self.number, *args), kwargs)  # type: ignore[no-any-return]

        return call_nonblocking
    if view == "async":

        async def call_async(self: Any, /, *args: object, rpc_timeout: float | None = None, **kwargs: object) -> object:
            return await self.__rpc__.call_async(service, (self.number, *args), kwargs, rpc_timeout)

        return call_async

    def call(self: Any, /, *args: object, rpc_timeout: float | None = None, **kwargs: object) -> object:
        return self.__rpc__.call_blocking(service, (self.number, *args), kwargs, rpc_timeout)

    return call


def _channel_property(view: str, brief: ParameterBrief) -> property:
    name = brief.name

    def get(self: ProxyChannel) -> object:
        path = f"{self.path}.{name}"
        if view == "async":
            return AsyncProperty(self.__rpc__, path)
        if view == "nonblocking":
            return NonblockingProperty(self.__rpc__, path)
        return read_blocking(self.__rpc__, path)

    def set_to(self: ProxyChannel, value: object) -> None:
        path = f"{self.path}.{name}"
        if view == "async":
            refuse_async(self.__rpc__, path)
        if view == "nonblocking":
            refuse_nonblocking(path)
        set_blocking(self.__rpc__, path, value)

    return property(get, set_to, doc=property_doc(brief.type_name, brief.doc))


def _channel_class(view: str, group: ChannelsBrief) -> type[ProxyChannel]:
    module, _, short = group.class_name.rpartition(".")
    name = f"{short}{'' if view == 'blocking' else view.capitalize()}Proxy"
    namespace: dict[str, object] = {"__slots__": (), "__module__": module, "_group": group}
    namespace["__doc__"] = group.doc or ProxyChannel.__doc__
    for brief in group.parameters.values():
        namespace[brief.name] = _channel_property(view, brief)
    functions: dict[str, object] = {}
    for method in group.methods.values():
        function: Any = _channel_method(view, channel_service(group.name, method))
        function.__name__, function.__qualname__ = method.name, f"{name}.{method.name}"
        function.__module__, function.__doc__ = module, method.doc
        function.__signature__ = signature_of(method, view != "nonblocking")
        functions[method.name] = function
    take_quantities(functions, group.methods, group.parameters)
    namespace |= functions
    made: Any = ProxyType(name, (ProxyChannel,), namespace)
    return made  # type: ignore[no-any-return]


# Parameters


class _BaseHandle(ProxyPart):
    """What the handles of all views have in common."""

    __slots__ = ("_brief",)

    def __init__(self, handle: Handle, path: str, brief: ParameterBrief) -> None:
        super().__init__(handle, path)
        self._brief = brief

    @property
    def name(self) -> str:
        """Its name; that of a channel's parameter has the channel in it."""
        return self._name

    @property
    def unit(self) -> str:
        """Its unit; empty if it has none."""
        return self._brief.unit

    @property
    def address(self) -> str:
        """Where the object lives: ``"context.object"``."""
        return str(self._rpc.address)

    @property
    def gettable(self) -> bool:
        """Whether it can be read."""
        return self._brief.gettable

    @property
    def settable(self) -> bool:
        """Whether it can be set."""
        return self._brief.settable

    def __repr__(self) -> str:
        return f"<parameter {self._name} of {self._rpc.address}{f' in {self.unit}' if self.unit else ''}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _BaseHandle):
            return NotImplemented
        return type(other) is type(self) and (other.address, other.name) == (self.address, self.name)

    def __hash__(self) -> int:
        return hash((self.address, self._name))

    def _number_in_unit(self, value: object) -> object:
        return plain_value(self._rpc, self._name, value)

    def _info_in(self, found: Any) -> ParameterInfo:
        info: ParameterInfo = found[self._name]
        return info

    def _limits_in(self, found: Any) -> tuple[float | None, float | None]:
        return self._info_in(found).limits or (None, None)


class ParameterHandle(_BaseHandle):
    """A parameter of an object: what scans, panels and other tools take to set and read something.

    ``proxy.parameters.voltage`` or ``proxy.parameters["channels[1].voltage"]``. It has the methods of what the
    parameter can do: one that can only be read has no ``set``, and ``limits`` is there for numbers that can be set. So
    ``isinstance(handle, Movable)`` tells whether it can be set; see :class:`~qmi.core.driver.Movable`.
    """

    __slots__ = ()

    def get(self, *, rpc_timeout: float | None = None) -> Any:
        """Read it.

        Args:
            rpc_timeout: How long to wait, in seconds.
        """
        return self._rpc.call_blocking(GET, (self._name,), {}, rpc_timeout)

    def set(self, value: object, *, rpc_timeout: float | None = None) -> None:
        """Set it.

        Args:
            value: The value, in the unit of the parameter, or a quantity of pint.
            rpc_timeout: How long to wait, in seconds.

        Raises:
            QMI_InvalidValueException: If it cannot have that value.
        """
        self._rpc.call_blocking(SET, (self._name, self._number_in_unit(value)), {}, rpc_timeout)

    def info(self, *, rpc_timeout: float | None = None) -> ParameterInfo:
        """What is known of it, with its limits as they are now.

        Args:
            rpc_timeout: How long to wait, in seconds.
        """
        return self._info_in(self._rpc.call_blocking(_PARAMETERS, (self._name,), {}, rpc_timeout))

    def limits(self, *, rpc_timeout: float | None = None) -> tuple[float | None, float | None]:
        """The least and the greatest value that it can be set to now; None where there is no limit.

        Args:
            rpc_timeout: How long to wait, in seconds.
        """
        return self._limits_in(self._rpc.call_blocking(_PARAMETERS, (self._name,), {}, rpc_timeout))


class AsyncParameterHandle(_BaseHandle):
    """The same for a trio program: its methods are awaited, and cancelling the wait cancels the call."""

    __slots__ = ()

    async def get(self, *, rpc_timeout: float | None = None) -> Any:
        """Read it; see :meth:`ParameterHandle.get`."""
        return await self._rpc.call_async(GET, (self._name,), {}, rpc_timeout)

    async def set(self, value: object, *, rpc_timeout: float | None = None) -> None:
        """Set it; see :meth:`ParameterHandle.set`."""
        await self._rpc.call_async(SET, (self._name, self._number_in_unit(value)), {}, rpc_timeout)

    async def info(self, *, rpc_timeout: float | None = None) -> ParameterInfo:
        """What is known of it, with its limits as they are now."""
        return self._info_in(await self._rpc.call_async(_PARAMETERS, (self._name,), {}, rpc_timeout))

    async def limits(self, *, rpc_timeout: float | None = None) -> tuple[float | None, float | None]:
        """The least and the greatest value that it can be set to now; None where there is no limit."""
        return self._limits_in(await self._rpc.call_async(_PARAMETERS, (self._name,), {}, rpc_timeout))


class NonblockingParameterHandle(_BaseHandle):
    """The same; here a method returns a future at once."""

    __slots__ = ()

    def get(self) -> QMI_RpcFuture[object]:
        """Read it."""
        return self._rpc.call_nonblocking(GET, (self._name,), {})

    def set(self, value: object) -> QMI_RpcFuture[object]:
        """Set it; see :meth:`ParameterHandle.set`."""
        return self._rpc.call_nonblocking(SET, (self._name, self._number_in_unit(value)), {})

    def info(self) -> QMI_RpcFuture[ParameterInfo]:
        """What is known of it, with its limits as they are now."""
        return self._followed(self._info_in)

    def limits(self) -> QMI_RpcFuture[tuple[float | None, float | None]]:
        """The least and the greatest value that it can be set to now; None where there is no limit."""
        return self._followed(self._limits_in)

    def _followed(self, pick: Callable[[Any], T]) -> QMI_RpcFuture[T]:
        asked = self._rpc.call_nonblocking(_PARAMETERS, (self._name,), {})
        future: QMI_RpcFuture[T] = QMI_RpcFuture(asked.what, explain=asked.explain)
        future.callee = asked.callee
        future.follow(asked, pick)
        return future


_HANDLES: dict[str, type[_BaseHandle]] = {
    "blocking": ParameterHandle,
    "nonblocking": NonblockingParameterHandle,
    "async": AsyncParameterHandle,
}
_LACKING = {"get": "can only be set", "set": "can only be read", "limits": "has no limits"}


class _Lacking(_BaseHandle):
    """A handle of a parameter that cannot be read, or not be set, or is no number that is set."""

    __slots__ = ()

    _lacking: ClassVar[tuple[str, ...]]

    def __getattribute__(self, name: str) -> Any:
        if name in _LACKING and name in type(self)._lacking:
            raise QMI_UnknownRpcException(f"{self._name} of {self._rpc.address} {_LACKING[name]}", name=name, obj=None)
        return super().__getattribute__(name)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in self._lacking]


@cache
def _lacking(view: str, lacking: tuple[str, ...]) -> type[_BaseHandle]:
    whole = _HANDLES[view]
    # For protocols (qmi.parameters.capabilities), an attribute of the class that is None is a method that is not there.
    methods = dict.fromkeys(lacking)
    namespace = {
        "__slots__": (),
        "__module__": whole.__module__,
        "__doc__": whole.__doc__,
        "_lacking": lacking,
        **methods,
    }
    made: type[_BaseHandle] = type(whole.__name__, (_Lacking, whole), namespace)
    return made


def _handle_class(view: str, brief: ParameterBrief) -> type[_BaseHandle]:
    """The handles of a parameter: with the methods of what it can do."""
    has_limits = brief.settable and brief.type_name in ("float", "int")
    can = {"get": brief.gettable, "set": brief.settable, "limits": has_limits}
    lacking = tuple(name for name, possible in can.items() if not possible)
    return _lacking(view, lacking) if lacking else _HANDLES[view]


class ProxyParameters(ProxyPart):
    """The parameters of an object: ``proxy.parameters()`` tells what is known of them; here is a handle of each.

    ``proxy.parameters.voltage``, ``proxy.parameters["channels[1].voltage"]``; iteration gives the names. At an awaited
    proxy, and at one that returns futures, a handle is one for these, and calling it returns what is awaited, or a
    future.
    """

    __slots__ = ()

    _view: ClassVar[str]

    def _interface(self) -> ParameterInterface:
        found = self._rpc.interface.parameters
        assert found is not None
        return found

    # The types are those of a blocking proxy: the type of all others says nothing of what a driver has.

    def __call__(self, *names: str, rpc_timeout: float | None = None) -> dict[str, ParameterInfo]:
        """What is known of the parameters, by name, with their limits as they are now.

        Args:
            names: Those that are asked about; without any, all.
            rpc_timeout: How long to wait, in seconds.
        """
        found: object
        if self._view == "async":
            found = self._rpc.call_async(_PARAMETERS, names, {}, rpc_timeout)
        elif self._view == "nonblocking":
            found = self._rpc.call_nonblocking(_PARAMETERS, names, {})
        else:
            found = self._rpc.call_blocking(_PARAMETERS, names, {}, rpc_timeout)
        return cast("dict[str, ParameterInfo]", found)

    def __getitem__(self, path: str) -> ParameterHandle:
        brief = self._interface().find(path) if isinstance(path, str) else None
        if brief is None:
            raise QMI_UnknownNameException(self._unknown(path))
        return cast("ParameterHandle", _handle_class(self._view, brief)(self._rpc, path, brief))

    def __getattr__(self, name: str) -> ParameterHandle:
        if name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        raise QMI_UnknownRpcException(self._unknown(name), name=name, obj=None)

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            if not name.startswith("_"):
                raise self._refusal(name)
            super().__setattr__(name, value)

    def _refusal(self, name: str) -> AttributeError:
        if name not in self._interface().own:
            return QMI_UnknownRpcException(self._unknown(name), name=name, obj=None)
        return AttributeError(
            f"parameters.{name} of {self._rpc.address} tells of the parameter, and cannot be replaced: to set its "
            f"value, write proxy.{name} = ... or proxy.parameters.{name}.set(...)"
        )

    def _unknown(self, path: object) -> str:
        return unknown_parameter(self._interface().paths(), str(self._rpc.address), path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._interface().paths())

    def __len__(self) -> int:
        return len(self._interface().paths())

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self._interface().find(path) is not None

    def __dir__(self) -> list[str]:
        return [*self._interface().own, "__call__", "__getitem__", "__iter__", "__len__"]

    def __repr__(self) -> str:
        return f"<parameters of {self._rpc.address}: {', '.join(self._interface().own)}>"


def _handle_property(view: str, brief: ParameterBrief) -> property:
    kind = _handle_class(view, brief)

    def get(self: ProxyParameters) -> _BaseHandle:
        return kind(self._rpc, brief.name, brief)

    get.__annotations__ = {"return": kind}  # which shells complete by
    return property(get, doc=brief.doc or None)


# What is put into the class of a proxy


def _part(doc: str | None, kind: type, make: Callable[[Handle], object]) -> property:
    def get(self: ProxyView) -> object:
        return make(self.__rpc__)

    get.__annotations__ = {"return": kind}
    return property(get, doc=doc)


def parts_for_parameters(
    view: str, interface: Interface, parameters: ParameterInterface
) -> tuple[dict[str, object], dict[str, type]]:
    """What proxies of a view have besides the properties and methods: ``parameters``, and each group of channels.

    Args:
        view: "blocking", "nonblocking" or "async".
        interface: What the object offers.
        parameters: Its parameters.

    Returns:
        The properties, and of which class the value of each is, for shells that complete without evaluating.
    """
    found: dict[str, object] = {}
    kinds: dict[str, type] = {}
    for group in parameters.channels.values():
        channel = _channel_class(view, group)
        items = {"__slots__": (), "__module__": __name__, "__getitem__": _typed_item(channel)}
        listed: type[ProxyChannels] = type("Channels", (ProxyChannels,), items)
        kinds[group.name] = listed
        found[group.name] = _part(
            f"Channels {describe_numbers(range(group.first, group.last + 1))}. {group.doc}".strip(),
            listed,
            partial(_make_channels, listed, group.name, channel),
        )
    if parameters.handles:
        names: dict[str, object] = {name: _handle_property(view, brief) for name, brief in parameters.own.items()}
        names["__annotations__"] = dict.fromkeys(parameters.own, _HANDLE_HINTS[view])
        names["_ipython_key_completions_"] = partialmethod(_keys, parameters)  # of a dummy, too: see _hint()
        kind = type("Parameters", (ProxyParameters,), {"__slots__": (), "__module__": __name__, "_view": view, **names})
        kinds["parameters"] = _hint("Parameters", names)
        listing = interface.methods.get("parameters")
        found["parameters"] = _part(None if listing is None else listing.doc, kind, partial(_make_parameters, kind))
    return found, kinds


def _keys(shown: object, parameters: ParameterInterface) -> list[str]:
    """What shells complete between brackets."""
    return parameters.paths()


def _hint(name: str, namespace: dict[str, object]) -> type:
    # Shells let a dummy take on the type of what they complete, which they cannot if it has slots.
    return type(name, (), {"__module__": __name__, **namespace})


_HANDLE_HINTS: dict[str, type] = {
    view: _hint(
        kind.__name__, {name: vars(base)[name] for base in kind.__mro__ for name in vars(base) if name[0] != "_"}
    )
    for view, kind in _HANDLES.items()
}


def _typed_item(channel: type[ProxyChannel]) -> Callable[[ProxyChannels, int], ProxyChannel]:
    def getitem(self: ProxyChannels, number: int) -> ProxyChannel:
        return ProxyChannels.__getitem__(self, number)

    getitem.__annotations__ = {"number": int, "return": channel}
    return getitem


def _make_channels(listed: type[ProxyChannels], name: str, channel: type[ProxyChannel], handle: Handle) -> object:
    return listed(handle, name, channel)


def _make_parameters(kind: type[ProxyParameters], handle: Handle) -> object:
    return kind(handle, "parameters")


for _public in (AsyncParameterHandle, NonblockingParameterHandle, ParameterHandle, ProxyParameters):
    _public.__module__ = "qmi.core.driver"
