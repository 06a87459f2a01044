"""What an object makes of the parameters that its class declares: checked when the class is made, and published.

:func:`declare` is called for each class that declares parameters, and for those derived from it. It puts into the
class ``get_`` and ``set_`` methods for each parameter and what :class:`ParameterMethods` has; where the driver has a
method of such a name, that stays.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial, update_wrapper
from typing import Any, Final, cast

from msgspec.structs import replace

from qmi.actors.interface import (
    RESERVED_NAMES,
    ChannelsBrief,
    Interface,
    ParameterBrief,
    ParameterInterface,
    describe_method,
    full_name,
    published,
    published_functions,
    service_name,
)
from qmi.actors.parameter_values import declare_signals, note, publish_change, restoring, taking
from qmi.parameters import access
from qmi.parameters.channels import BaseChannel
from qmi.parameters.checks import check_declared
from qmi.parameters.declaration import Parameter
from qmi.parameters.declared import DECLARED, Declared, declared_of, describe, infos, type_name
from qmi.parameters.info import ParameterInfo
from qmi.parameters.snapshot import Change, Snapshot

_WRAPPED_FOR: Final = "__wrapped_for__"
"""Attribute of a getter or setter of the author that checks and notes: the parameter for which it does."""
_MADE: Final = "__of_parameter__"
"""Attribute of a function that was made for a parameter: the parameter."""


class ParameterMethods:
    """What every object with parameters has beside its own methods."""

    @published
    def parameters(self, *names: str) -> dict[str, ParameterInfo]:
        """What can be set and read: unit, limits, type, ... of each parameter, those of channels included.

        The limits are those of this moment; one that cannot be found out now is None.

        Args:
            names: The parameters that are asked about; without any, all.

        Raises:
            QMI_UnknownNameException: If there is no parameter of a name.
        """
        return cast("dict[str, ParameterInfo]", access.run(infos(self, declared_of(type(self)), names)))

    @published
    def snapshot(self, update: bool = False, names: Collection[str] | None = None) -> Snapshot:
        """The values of all parameters at one time, those of channels included; blocks are left out.

        Args:
            update: Whether all of them are asked anew, in one turn; if not, they are as they were read or set last,
                each with the time of that, and nothing is asked.
            names: Those to take, such as ``["voltage", "channels[1].current"]``; None is all. With ``update=True`` also
                blocks.

        Returns:
            The readings by name. What could not be read is in its ``missing``, with the reason.

        Raises:
            QMI_UnknownNameException: If there is no parameter of one of the names.
        """
        return cast("Snapshot", access.run(taking(self, update=update, names=names)))

    @published
    def restore(self, snapshot: Mapping[str, object], dry_run: bool = False) -> list[Change]:
        """Set what differs from a snapshot, in the order in which it is declared; all in one turn.

        All settings are asked first, and all that is to be set is checked before the first of them is.

        Args:
            snapshot: The snapshot, or a dict of values by names; what it does not have stays as it is.
            dry_run: Whether nothing is set: only to see what would be.

        Returns:
            What was set, and what it was before.

        Raises:
            QMI_InvalidValueException: If something cannot be set as it is in the snapshot; nothing was set.
            QMI_RestoreException: If setting something failed on the way; says what was set before.
        """
        return cast("list[Change]", access.run(restoring(self, snapshot, dry_run=dry_run)))

    def _parameter_read(self, name: str, value: object) -> None:
        """A parameter was read: called where the object's methods run."""
        note(self, name, value)

    def _parameter_set(self, name: str, value: object) -> None:
        """A parameter was set, by whomever: called where the object's methods run."""
        note(self, name, value)
        publish_change(self, name, value)


for _name, _method in vars(ParameterMethods).items():
    if inspect.isfunction(_method):
        _method.__qualname__ = _name  # errors about arguments name the method, and not the class that brings it


def _awaited_method(method: Callable[..., object]) -> Callable[..., object]:
    async def call(self: object, *args: object, **kwargs: object) -> object:
        result = method(self, *args, **kwargs)
        return await cast("Awaitable[object]", result) if hasattr(result, "__await__") else result

    return functools.update_wrapper(call, method)


_METHODS: Final = {name: value for name, value in vars(ParameterMethods).items() if not name.startswith("__")}
_AWAITED_METHODS: Final = {
    name: value if name.startswith("_") else _awaited_method(value) for name, value in _METHODS.items()
}
"""The same for classes in which parameters are awaited: there a driver always writes ``await self.snapshot()``."""
OWN_NAMES: Final = frozenset(name for name in _METHODS if not name.startswith("_"))
_OF_CHANNELS: Final = frozenset({"number", "path", "instrument"})
"""Names that no parameter can have: of an object, and of a channel."""


def _reserved(cls: type, name: str) -> str:
    """Why a parameter cannot have a name; empty if it can."""
    if issubclass(cls, BaseChannel):
        return f"hides the {name!r} that every channel has. Give it another name" if name in _OF_CHANNELS else ""
    if name in RESERVED_NAMES or name in OWN_NAMES:
        return f"cannot be published: proxies have a {name!r} of their own. Give it another name"
    return ""


def declare(cls: type) -> None:
    """Check what a class declares, and publish it.

    Args:
        cls: The class, of an object or of channels.

    Raises:
        QMI_UsageException: If a declaration cannot work.
    """
    declared = Declared(cls)
    check_declared(cls, declared, partial(_reserved, cls))
    setattr(cls, DECLARED, declared)
    is_channel = issubclass(cls, BaseChannel)
    for parameter in declared.parameters.values():
        parameter.__doc__ = f"Parameter of type {type_name(parameter)}. {describe(parameter)}".strip()
        _wrap(cls, parameter, declared)
        if parameter.gettable:
            _put(cls, f"get_{parameter.name}", parameter, _getter(cls, parameter))
        if parameter.settable:
            _put(cls, f"set_{parameter.name}", parameter, _setter(cls, parameter))
    _take_away(cls, declared)
    if not is_channel:
        declare_signals(cls, declared)
        for name, value in (_AWAITED_METHODS if _any_awaited(cls, declared) else _METHODS).items():
            if inspect.getattr_static(cls, name, None) in (None, _METHODS[name], _AWAITED_METHODS[name]):
                setattr(cls, name, value)
        _publish_channels(cls, declared)


def _any_awaited(cls: type, declared: Declared) -> bool:
    """Whether reading or setting one of the parameters has to be awaited in the driver, or finding out its limits."""
    owners = [
        (cls, declared),
        *((group.channel_class, declared_of(group.channel_class)) for group in declared.channels.values()),
    ]
    for owner, found in owners:
        for parameter in found.parameters.values():
            limits = parameter.limits if isinstance(parameter.limits, tuple) else (parameter.limits,)
            getter, setter = parameter.getter, parameter.setter_function
            if (
                (parameter.gettable and access.is_awaited(owner if getter else cls, getter, "_read_parameter"))
                or (parameter.settable and access.is_awaited(owner if setter else cls, setter, "_write_parameter"))
                or any(inspect.iscoroutinefunction(end) for end in limits)
            ):
                return True
    return False


def is_made_for_parameter(function: object) -> bool:
    """Whether a method was made for a parameter, and not written by the author."""
    return hasattr(function, _MADE)


def _getter(cls: type, parameter: Parameter[object]) -> Callable[..., object]:
    if access.is_awaited(cls, parameter.getter, "_read_parameter"):

        async def get_awaited(self: object) -> object:
            return await access.drive(access.reading(self, parameter))

        return _named(get_awaited, parameter, None)

    def get(self: object) -> object:
        return access.run(access.reading(self, parameter))

    return _named(get, parameter, None)


def _setter(cls: type, parameter: Parameter[object]) -> Callable[..., object]:
    if access.is_awaited(cls, parameter.setter_function, "_write_parameter"):

        async def set_awaited(self: object, value: object) -> object:
            return await access.drive(access.setting(self, parameter, value))

        return _named(set_awaited, parameter, "value")

    def set_to(self: object, value: object) -> object:
        return access.run(access.setting(self, parameter, value))

    return _named(set_to, parameter, "value")


def _named(function: Any, parameter: Parameter[object], argument: str | None) -> Callable[..., object]:
    said = describe(parameter)
    what = f" {said}" if said else ""
    text = type_name(parameter) if parameter.block is not None else parameter.type
    if argument is None:
        function.__annotations__ = {"return": text}
        function.__doc__ = f"Read {parameter.name}.{what}"
    else:
        function.__annotations__ = {argument: text, "return": None}
        function.__doc__ = (
            f"Set {parameter.name}.{what}\n\nRaises:\n    QMI_InvalidValueException: If it cannot have that value."
        )
    setattr(function, _MADE, parameter)
    return function  # type: ignore[no-any-return]


def _wrap(cls: type, parameter: Parameter[object], declared: Declared) -> None:
    """Let the published getter and setter that the author has written do what reading and setting does besides.

    They are called by their names, too: then the value is checked as well, and noted.
    """
    for verb, function in (("get", parameter.getter), ("set", parameter.setter_function)):
        name = getattr(function, "__name__", "_")
        written = inspect.getattr_static(cls, name, None)
        if name.startswith("_") or not inspect.isfunction(written):
            continue
        if getattr(written, _WRAPPED_FOR, None) in declared.parameters.values():
            continue
        # That of a base class may check by what the base class declares.
        written = getattr(written, access.WRITTEN, written)
        wrapped = _written_getter(parameter, written) if verb == "get" else _written_setter(parameter, written)
        update_wrapper(wrapped, written)
        setattr(wrapped, access.WRITTEN, written)
        setattr(wrapped, _WRAPPED_FOR, parameter)
        setattr(cls, name, published(wrapped) if name == f"{verb}_{parameter.name}" else wrapped)


def _written_getter(parameter: Parameter[object], written: Callable[..., object]) -> Callable[..., object]:
    name = written.__name__

    def get(self: object, *args: object, **kwargs: object) -> object:
        if access.is_inner(self, name):
            return written(self, *args, **kwargs)
        return access.run(access.reading(self, parameter, *args, **kwargs))

    return _awaited(get) if inspect.iscoroutinefunction(written) else get


def _written_setter(parameter: Parameter[object], written: Callable[..., object]) -> Callable[..., object]:
    name = written.__name__
    signature = inspect.signature(written)

    def set_to(self: object, *args: object, **kwargs: object) -> object:
        if access.is_inner(self, name):
            return written(self, *args, **kwargs)
        # The first argument is the value, whether it is given by place or by name.
        bound = signature.bind(self, *args, **kwargs)
        _, value, *rest = bound.args
        return access.run(access.setting(self, parameter, value, *rest, **bound.kwargs))

    return _awaited(set_to) if inspect.iscoroutinefunction(written) else set_to


def _awaited(function: Callable[..., object]) -> Callable[..., object]:
    async def call(self: object, *args: object, **kwargs: object) -> object:
        return await cast("Awaitable[object]", function(self, *args, **kwargs))

    return call


def _put(cls: type, name: str, parameter: Parameter[object], function: Callable[..., object]) -> None:
    """Publish a method that was made for a parameter, unless the driver has one of that name."""
    found = inspect.getattr_static(cls, name, None)
    if found is not None and not hasattr(found, _MADE):
        return
    function.__name__, function.__module__ = name, cls.__module__
    function.__qualname__ = f"{cls.__qualname__}.{name}"
    setattr(cls, name, published(function))


def _take_away(cls: type, declared: Declared) -> None:
    # A subclass has given the name of a parameter to something else, and what was made for that goes with it.
    for name in dir(cls):
        made: Parameter[object] | None = getattr(inspect.getattr_static(cls, name, None), _MADE, None)
        if made is None:
            continue
        now = declared.parameters.get(made.name)
        if now is None or not (now.gettable if name.startswith("get_") else now.settable):
            setattr(cls, name, None)


def _brief(cls: type, parameter: Parameter[object]) -> ParameterBrief:
    setter = f"set_{parameter.name}"
    if parameter.setter_function is not None and not hasattr(inspect.getattr_static(cls, setter, None), _MADE):
        setter = parameter.setter_function.__name__
    found = inspect.getattr_static(cls, setter, None)
    ours = hasattr(found, _MADE) or hasattr(found, access.WRITTEN)
    return ParameterBrief(
        parameter.name,
        type_name(parameter),
        describe(parameter),
        parameter.unit,
        parameter.gettable,
        parameter.settable,
        setter if parameter.settable and ours else "",
    )


def parameter_interface(cls: type) -> ParameterInterface:
    """What proxies of a class need to know of its parameters and channels."""
    declared = declared_of(cls)
    own = {name: _brief(cls, parameter) for name, parameter in declared.parameters.items()}
    channels = {}
    for name, group in declared.channels.items():
        kind = group.channel_class
        functions = methods_of_channel(kind)
        channels[name] = ChannelsBrief(
            name,
            group.numbers[0],
            group.numbers[-1],
            full_name(kind),
            inspect.getdoc(kind) or "",
            {key: _brief(kind, parameter) for key, parameter in declared_of(kind).parameters.items()},
            {key: describe_method(key, function, kind) for key, function in functions.items()},
        )
    handles = inspect.getattr_static(cls, "parameters") in (_METHODS["parameters"], _AWAITED_METHODS["parameters"])
    return ParameterInterface(own, channels, handles)


def fitted_interface(interface: Interface, thing: object) -> Interface:
    """What proxies of an object need to know, which may have fewer channels than its class.

    Args:
        interface: That of its class.
        thing: The object.

    Raises:
        QMI_UsageException: If what says how many there are does not give one of the declared numbers.
    """
    groups = declared_of(type(thing)).channels
    lasts = {name: group.numbers_of(thing)[-1] for name, group in groups.items() if group.present is not None}
    parameters = interface.parameters
    if parameters is None or all(parameters.channels[name].last == last for name, last in lasts.items()):
        return interface
    # Objects with as many channels have one interface, and so one proxy class of each kind.
    key = tuple(lasts.values())
    if key not in interface.fitted:
        fewer = {name: parameters.channels[name]._replace(last=last) for name, last in lasts.items()}
        channels = {**parameters.channels, **fewer}
        fitted = replace(interface, parameters=parameters._replace(channels=channels), local={}, views={}, fitted={})
        interface.fitted.setdefault(key, fitted)
    return interface.fitted[key]


def _publish_channels(cls: type, declared: Declared) -> None:
    """Give a class a method for each of those of its channels: the number of the channel is the first argument."""
    for group in declared.channels.values():
        for name in methods_of_channel(group.channel_class):
            setattr(cls, service_name(group.name, name), _of_channel(group.name, name))


def methods_of_channel(cls: type) -> dict[str, Callable[..., object]]:
    """The published methods of a class of channels."""
    return {name: function for name, function in published_functions(cls).items() if not name.startswith("__")}


def _of_channel(group: str, name: str) -> Callable[..., object]:
    def call(self: object, number: int, *args: object, **kwargs: object) -> object:
        channel = getattr(self, group)[number]
        return getattr(channel, name)(*args, **kwargs)

    return call
