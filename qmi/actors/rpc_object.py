"""The base of everything that can be called through a proxy."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypeVar

from qmi.actors.interface import (
    BLOCK_METHODS,
    Interface,
    ParameterInterface,
    Placement,
    block_method,
    describe_class,
    placement_of,
    published,
    published_functions,
)
from qmi.actors.pubsub.signal import SignalDescription, declared_signals, signal_infos
from qmi.actors.structures import describe_structure, same_structure
from qmi.errors import QMI_UnknownRpcException, QMI_UsageException
from qmi.names import nearest
from qmi.records import NamedTuple

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from qmi.messages import LockInfo
    from qmi.parameters.declared import Declared

T = TypeVar("T")

_BASE_MODULES = ("qmi.actors.rpc_object", "qmi.actors.instrument", "qmi.actors.parameters")
# Attributes of classes that declare parameters (qmi.parameters): those that do not, do not even import what that is.
_DECLARES = "_rpc_declares"
_DECLARED = "_rpc_parameters"
_DECLARATIONS = "qmi.parameters.declaration"


class Polling(Protocol):
    """What asks an object for its readings."""

    def start(self) -> None:
        """Begin, or go on."""

    def stop(self) -> None:
        """End, until it begins again."""


class QMI_RpcObject:
    """An object whose published methods (:func:`~qmi.core.rpc.rpc_method`) can be called through proxies.

    A class with plain methods gets a thread of its own for each object, always the same from the constructor to the
    release. A class whose methods are all ``async def`` lives in the event loop. A class that sets
    ``_rpc_placement = Placement.CALLER`` needs no thread of its own: a blocking caller without a timeout runs the
    method itself when the object is idle. That is for simulated and pure-Python objects: such a method cannot be
    left waiting in the background, so that Ctrl-C interrupts the method itself.

    ``_rpc_constants`` names values of the class that proxies show and nobody changes. ``_rpc_properties`` names values
    that proxies ask for and set: ``proxy.limit`` and ``proxy.limit = 2.0`` are calls like any other. A new value has
    the structure of the one before: the same type, size and types of items.

    Args:
        context: The context that the object belongs to.
        name: Its name there.

    Attributes:
        GUEST_METHODS: Names of the methods that only read, so that guests may call them where a context is read-only
            for guests. None: those whose names begin with ``get_``, ``has_``, ``is_`` or ``list_``. Reading a parameter
            or property is always allowed, setting one never.
    """

    GUEST_METHODS: ClassVar[Collection[str] | None] = None

    _rpc_constants: ClassVar[Collection[str]] = ()
    _rpc_properties: ClassVar[Collection[str]] = ()
    _rpc_placement: ClassVar[Placement | None] = None
    _rpc_enter: ClassVar[tuple[str, ...]] = ()
    _rpc_exit: ClassVar[tuple[str, ...]] = ()

    # What asks for readings without anybody calling, once the object is made and if there are such.
    __rpc_poller__: Polling | None = None

    if TYPE_CHECKING:
        # What a proxy of the object has besides its published methods.

        @property
        def address(self) -> str:
            """Where the object lives: ``"context.object"``."""

        @property
        def rpc_nonblocking(self) -> Any:
            """The same object; here a method returns a future at once."""

        @property
        def rpc_async(self) -> Any:
            """The same object for a trio program; here a method is awaited."""

        def lock(self, timeout: float = 0.0, lock_token: str | None = None, *, reason: str | None = None) -> bool:
            """Lock the object for this proxy alone."""

        # lock() for something that everybody can see; of no type, since drivers have settings of this name.
        reserve: Any

        def request_release(self, reason: str = "") -> str | None:
            """Tell whoever holds the lock that you want it."""

        def unlock(self, lock_token: str | None = None, context_name: str | None = None) -> bool:
            """Unlock the object."""

        def is_locked(self) -> bool:
            """Whether anybody has locked the object."""

        def force_unlock(self, reason: str | None = None) -> None:
            """Unlock the object, whoever locked it."""

        def lock_info(self) -> LockInfo | None:
            """Who holds the lock and since when; None if nobody does."""

        def locked(
            self, timeout: float = 0.0, lock_token: str | None = None, *, reason: str | None = None
        ) -> AbstractContextManager[Any]:
            """Lock the object for the length of a ``with`` block."""

        # What an object has whose class declares parameters, and no method of its own of that name; drivers for SCPI
        # have the types (qmi.devices.scpi_rules).

        parameters: Any
        snapshot: Any
        restore: Any
        sig_changed: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if _DECLARATIONS in sys.modules:  # only drivers with parameters need it
            from qmi.parameters.lost import check_lost

            check_lost(cls)
        if hasattr(cls, _DECLARES):
            from qmi.actors.parameters import declare  # only drivers with parameters need it

            declare(cls)

    def __init__(self, context: Any, name: str) -> None:
        _described(type(self))  # also where no context makes it, as in tests of a driver: a bad name is refused
        self._context = context
        self._name = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}>"

    @published
    @classmethod
    def get_category(cls) -> str:
        """What kind of object this is: "instrument", "task", "context" or "object"."""
        return "object"

    @published
    def get_name(self) -> str:
        """The object's name in its context."""
        return self._name

    @published
    @classmethod
    def get_signals(cls) -> list[SignalDescription]:
        """The signals that the object publishes."""
        return declared_signals(cls)

    # What proxies call on their own account; the interface says whether they may.

    def __rpc_get__(self, name: str) -> Any:
        declared: Declared | None = getattr(self, _DECLARED, None)
        if declared is not None and (found := declared.find(self, name)) is not None:
            return declared.read(found)
        _check_property(self, name)
        return getattr(self, name)

    def __rpc_set__(self, name: str, value: object) -> object:
        declared: Declared | None = getattr(self, _DECLARED, None)
        if declared is not None and (found := declared.find(self, name)) is not None:
            return declared.set(found, value)
        _check_property(self, name)
        current = getattr(self, name)
        if not same_structure(current, value):
            raise QMI_UsageException(
                f"Property {name} of {self._name!r} takes {describe_structure(current)}, as it is now; "
                f"got {value!r} ({describe_structure(value)})"
            )
        try:
            setattr(self, name, value)
        except AttributeError as error:
            found = inspect.getattr_static(type(self), name, None)
            if isinstance(found, property) and found.fset is None:
                raise QMI_UsageException(f"Property {name} of {self._name!r} can only be read") from error
            raise
        return None

    def __rpc_enter__(self) -> Any:
        name = block_method(published_functions(type(self), BLOCK_METHODS), leaving=False)
        assert name is not None
        # The result is most often the object itself, for which its proxy stands.
        result = getattr(self, name)()
        return _awaited(result) if inspect.isawaitable(result) else None

    def __rpc_exit__(self, error: BaseException | None) -> Any:
        name = block_method(published_functions(type(self), BLOCK_METHODS), leaving=True)
        assert name is not None
        leave = getattr(self, name)
        result = leave(None, None, None) if error is None else leave(type(error), error, error.__traceback__)
        return _truth_of(result) if inspect.isawaitable(result) else bool(result)

    def __rpc_fitted__(self, interface: Interface) -> Interface:
        # What proxies of this object need to know; it may have fewer channels than its class.
        if not hasattr(self, _DECLARED):
            return interface
        from qmi.actors.parameters import fitted_interface

        return fitted_interface(interface, self)

    def __rpc_polls__(self) -> Mapping[str, float]:
        # What is asked without anybody calling, and each how many seconds.
        if not hasattr(self, _DECLARED):
            return {}
        from qmi.actors.parameter_values import polls_of

        return polls_of(self)

    def __rpc_poll__(self, name: str) -> object:
        # Ask for one of these readings, and publish it; something to await in a driver in the event loop.
        from qmi.actors.parameter_values import poll

        return poll(self, name)

    def __rpc_begin_polling__(self, poller: Polling) -> None:
        # The object is made; those that can be opened are polled as long as they are open.
        self.__rpc_poller__ = poller
        poller.start()

    def __rpc_is_reachable__(self) -> bool:
        # Whether what the object stands for can be talked to now.
        return True

    def __rpc_where__(self) -> str:
        # Where the object's own code stands, if it has some that runs beside its methods; for messages.
        return ""

    def __rpc_left_behind__(self, why: Exception) -> None:
        # Nobody waits any longer for the object's own code to end.
        pass

    def release_rpc_object(self) -> Any:
        """Called once before the object goes, where its methods run; may be ``async def`` in a subclass."""
        return None


QMI_RpcObject.__module__ = "qmi.core.rpc"


def _check_property(thing: QMI_RpcObject, name: str) -> None:
    if not isinstance(name, str) or name not in _described(type(thing)).interface.properties:
        raise QMI_UnknownRpcException(f"{type(thing).__name__} {thing._name!r} has no property {name!r}")


async def _awaited(result: Awaitable[object]) -> None:
    await result


async def _truth_of(result: Awaitable[object]) -> bool:
    return bool(await result)


class _Described(NamedTuple):
    """What was made of a class, and of what: a module may be loaded again, and a class be given more."""

    bases: Contents
    interface: Interface
    placement: Placement

    def is_of(self, cls: type) -> bool:
        """Whether the class is still what this was made of."""
        return is_still(cls, self.bases)


Contents: TypeAlias = "list[tuple[type, dict[str, object]]]"
"""What a class and its bases have at some time."""


def contents_of(cls: type) -> Contents:
    """What a class and its bases have now."""
    return [(base, _content(base)) for base in cls.__mro__]


def is_still(cls: type, seen: Contents) -> bool:
    """Whether a class and its bases have what they had."""
    mro = cls.__mro__
    if len(mro) != len(seen):
        return False
    try:
        return all(base is known and _content(base) == had for base, (known, had) in zip(mro, seen, strict=True))
    except Exception:  # noqa: BLE001 - values of a class that cannot be compared: then it is looked at anew
        return False


def _content(cls: type) -> dict[str, object]:
    content = dict(vars(cls))
    for name in (_DESCRIBED, SIMULATED_CLASSES):  # what was made of it
        content.pop(name, None)
    for name in ("_rpc_constants", "_rpc_properties"):
        if name in content:
            content[name] = tuple(content[name])  # a list may grow
    return content


_DESCRIBED = "_rpc_described"
SIMULATED_CLASSES = "_rpc_simulated_classes"
"""Attribute of a driver's class: what is made in its place where it is simulated."""


def _described(cls: type[QMI_RpcObject]) -> _Described:
    found = vars(cls).get(_DESCRIBED)
    if isinstance(found, _Described):
        return found
    return _describe(cls)


def _category_of(cls: type[QMI_RpcObject]) -> str:
    for base in cls.__mro__:
        found = vars(base).get("get_category")
        if isinstance(found, classmethod | staticmethod):  # anything else of this name is the driver's own
            category: str = found.__get__(None, cls)()
            return category
    raise AssertionError(cls)


def _parameters_of(cls: type[QMI_RpcObject]) -> ParameterInterface | None:
    if not hasattr(cls, _DECLARES):
        return None
    from qmi.actors.parameters import parameter_interface

    return parameter_interface(cls)


def _describe(cls: type[QMI_RpcObject]) -> _Described:
    interface = describe_class(
        cls,
        category=_category_of(cls),
        signals=signal_infos(cls),
        enter=cls._rpc_enter,
        exit=cls._rpc_exit,
        parameters=_parameters_of(cls),
    )
    before = vars(cls).get(_DESCRIBED)
    if isinstance(before, _Described) and before.interface == interface:
        interface = before.interface  # with the proxy classes that were made from it
    placement = placement_of(cls, _BASE_MODULES)
    described = _Described(contents_of(cls), interface, placement)
    setattr(cls, _DESCRIBED, described)
    return described


def interface_of(cls: type[QMI_RpcObject]) -> Interface:
    """The descriptor of a class as it is now.

    Raises:
        QMI_UsageException: If the class declares what cannot be published.
    """
    found = vars(cls).get(_DESCRIBED)
    if isinstance(found, _Described) and found.is_of(cls):
        return found.interface
    return _describe(cls).interface


def placement_for(cls: type[QMI_RpcObject]) -> Placement:
    """Where the plain methods of a class run, as of when it was last described."""
    return _described(cls).placement


_OF_MAKING = ("replace", "simulate")
"""What whoever makes an object may say besides."""
_UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


def take_replace(cls: type, kwargs: dict[str, object]) -> tuple[bool, dict[str, object]]:
    """Whether the caller asked to replace an object of the same name, and the arguments of the constructor.

    A constructor with a parameter of that name gets the argument itself.

    Raises:
        QMI_UsageException: If it is neither True nor False.
    """
    if "replace" not in kwargs or "replace" in inspect.signature(cls).parameters:
        return False, kwargs
    replace = kwargs["replace"]
    if not isinstance(replace, bool):
        raise QMI_UsageException(f"replace must be True or False, got {replace!r}")
    return replace, {name: value for name, value in kwargs.items() if name != "replace"}


def take_simulate(cls: type, kwargs: dict[str, object]) -> tuple[object, dict[str, object]]:
    """Whether and how an instrument is simulated, None if nobody says it, and the arguments of its constructor.

    A constructor with a parameter of that name gets the argument itself.

    Raises:
        QMI_UsageException: If it is neither True nor False nor a class.
    """
    if "simulate" not in kwargs or "simulate" in inspect.signature(cls).parameters:
        return None, kwargs
    simulate = kwargs["simulate"]
    if not isinstance(simulate, bool | type):
        raise QMI_UsageException(
            f"simulate must be True, False or a class derived from qmi.core.driver.Simulator, got {simulate!r}"
        )
    return simulate, {name: value for name, value in kwargs.items() if name != "simulate"}


def check_class(cls: object, base: type[QMI_RpcObject], what: str) -> None:
    """Refuse to make an object of a class that is not meant for it.

    Raises:
        QMI_UsageException: If it is no such class.
    """
    if isinstance(cls, type) and issubclass(cls, base):
        return
    if isinstance(cls, str):
        found = f"the text {cls!r}: the name comes first, then the class itself, without quotes"
    elif isinstance(cls, type):
        found = f"class {cls.__name__}"
    else:
        found = f"{cls!r}: give the class, it is made here"
    raise QMI_UsageException(f"{what} is made from a class derived from {base.__name__}; got {found}")


def make_object(
    cls: Callable[..., T], context: object, name: str, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> T:
    """Make an object, or a task.

    Args:
        cls: Its class.
        context: The first argument of the constructor; of a task its runner.
        name: The second one.
        args: The further ones.
        kwargs: Likewise.

    Raises:
        Exception: Whatever the constructor raises. A TypeError for the wrong arguments names those that it takes.
    """
    try:
        return cls(context, name, *args, **kwargs)
    except TypeError as error:
        told = _explained(cls, (context, name, *args), kwargs, error)
        if told is None:
            raise
        raise TypeError(f"{name!r} cannot be made: {told}") from error


def _explained(
    cls: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object], error: TypeError
) -> str | None:
    """What is wrong with the arguments, and which there are; None if it is something else that is wrong."""
    try:
        signature = inspect.signature(cls)
    except (TypeError, ValueError):  # a constructor that does not say what it takes
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as mismatch:
        wrong = str(mismatch)
    else:  # a base class may take less than its options are handed to
        wrong = str(error) if any(name in kwargs for name in _UNEXPECTED.findall(str(error))) else ""
    if not wrong:
        return None
    own = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()][2:]
    shown = signature.replace(parameters=own, return_annotation=signature.empty)
    names = [parameter.name for parameter in own if parameter.kind is not parameter.VAR_KEYWORD]
    unknown = _UNEXPECTED.search(wrong)
    near = nearest(unknown[1], [*names, *_OF_MAKING]) if unknown else None
    meant = f"; did you mean {near!r}?" if near else ""
    return f"{wrong}{meant}{'' if meant else '.'} It is made by {getattr(cls, '__name__', cls)}{shown}"
