"""Signals that a class declares, and how its objects publish them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from numbers import Complex, Integral, Real
from operator import attrgetter
from typing import Final, Protocol, overload

from qmi.actors.interface import SignalInfo
from qmi.errors import QMI_UsageException
from qmi.messages import Args
from qmi.records import NamedTuple

_logger = logging.getLogger("qmi.core.pubsub")

_LONGEST_SHOWN = 200

# What Python takes for a number of a kind, numpy's numbers included.
_ACCEPTED: Final[Mapping[type, type]] = {int: Integral, float: Real, complex: Complex}


class _Outlet(Protocol):
    def publish(self, args: Args) -> None: ...


class _Broker(Protocol):
    def publisher_of(self, publisher: str, signal: str) -> _Outlet: ...


class _Core(Protocol):
    @property
    def broker(self) -> _Broker: ...


class PublishingContext(Protocol):
    """What a signal needs of the context of its object."""

    @property
    def async_context(self) -> _Core:
        """The context as trio programs see it, which has the broker."""


_CONTEXT_AND_NAME = attrgetter("_context", "_name")
"""What an object or a task knows of itself, which is there once its constructor has called that of its base."""


class SignalDescription(NamedTuple):
    """What a class says about one of its signals.

    Attributes:
        name: Its name.
        arg_types: Types of its arguments.
    """

    name: str
    arg_types: tuple[type, ...]


class QMI_Signal:
    """Declares a signal, as a class attribute.

    ::

        class Thermometer(QMI_Instrument):
            sig_temperature = QMI_Signal([float])

            @rpc_method
            def measure(self) -> None:
                self.sig_temperature.publish(self._read())

    Proxies of the object have an attribute of that name, to subscribe with.

    Args:
        arg_types: Types of the arguments. An ``int`` is fine where a ``float`` is declared, and so are numpy's numbers;
            ``object`` takes anything.
        strict: Whether publishing anything else raises. If not, it is published, with one warning in the log.
    """

    def __init__(self, arg_types: Sequence[type] = (), *, strict: bool = False) -> None:
        for kind in arg_types:
            if not isinstance(kind, type):
                raise QMI_UsageException(f"A signal is declared with the types of its arguments; got {kind!r}")
        self.arg_types: tuple[type, ...] = tuple(arg_types)
        self._accepted = tuple(_ACCEPTED.get(kind, kind) for kind in self.arg_types)
        # Types of arguments that need no look: those that were declared, or those that were published last.
        self._fits: tuple[type, ...] = self.arg_types
        self.name: str = ""
        self.strict: bool = strict
        self._told: set[str] = set()

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> QMI_Signal: ...
    @overload
    def __get__(self, instance: object, owner: type) -> QMI_RegisteredSignal: ...
    def __get__(self, instance: object, owner: type) -> QMI_Signal | QMI_RegisteredSignal:
        if instance is None:
            return self
        try:
            context, name = _CONTEXT_AND_NAME(instance)
        except AttributeError as error:
            raise AttributeError(
                f"{owner.__name__}.{self.name} can be used when the constructor of {owner.__name__} has called "
                "super().__init__()"
            ) from error
        registered = QMI_RegisteredSignal(context, name, self)
        if getattr(owner, self.name, None) is self:
            # Python finds it there from now on; being asked each time would take as long as publishing does.
            instance.__dict__[self.name] = registered
        return registered

    def check(self, publisher: str, args: tuple[object, ...]) -> None:
        """Compare arguments with the declaration; what does not fit is told once for each publisher, and goes out.

        Raises:
            QMI_UsageException: If they do not fit and the signal is strict.
        """
        fault = self._mismatch(publisher, args)
        kinds = tuple(map(type, args))
        if fault is None:
            if all(map(issubclass, kinds, self._accepted)):  # and do not only say that they are
                self._fits = kinds
            return
        if self.strict:
            raise QMI_UsageException(fault)
        # A task that has run for years does not end over this. Two threads may both tell, which does no harm.
        if publisher not in self._told:
            self._told.add(publisher)
            _logger.warning("%s. It is published all the same; this is said once", fault)

    def _mismatch(self, publisher: str, args: tuple[object, ...]) -> str | None:
        if len(args) != len(self.arg_types):
            return f"Signal {publisher}.{self.name} has {len(self.arg_types)} arguments; {len(args)} were published"
        for index, (value, kind, accepted) in enumerate(zip(args, self.arg_types, self._accepted, strict=True)):
            if not isinstance(value, accepted):
                return (
                    f"Argument {index + 1} of signal {publisher}.{self.name} is declared as {kind.__name__}; "
                    f"{_shown(value)} of type {type(value).__name__} was published"
                )
        return None


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the repr of a user's class fails, which must not keep the signal from going out
        return "something"
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


class QMI_RegisteredSignal:
    """A signal of one object; inside the object it publishes, on a proxy's type it subscribes."""

    __slots__ = ("_context", "_outlet", "_publisher", "_signal")

    def __init__(self, context: PublishingContext, publisher: str, signal: QMI_Signal) -> None:
        self._context = context
        self._outlet: _Outlet | None = None
        self._publisher = publisher
        self._signal = signal

    def publish(self, *args: object) -> None:
        """Tell everybody who has subscribed. Never waits for them.

        Raises:
            QMI_UsageException: If the arguments are not those that were declared, and the signal is strict.
        """
        signal = self._signal
        if tuple(map(type, args)) != signal._fits:
            signal.check(self._publisher, args)
        if self._outlet is None:
            self._outlet = self._context.async_context.broker.publisher_of(self._publisher, signal.name)
        self._outlet.publish(args)

    # What the same attribute of a proxy has; here for editors and type checkers.

    def subscribe(self, receiver: object) -> None:
        """Have each signal put into a receiver. Only proxies can."""
        raise QMI_UsageException(f"Subscribe to {self._signal.name} with a proxy of {self._publisher!r}")

    def unsubscribe(self, receiver: object) -> None:
        """End a subscription. Only proxies can."""
        raise QMI_UsageException(f"Unsubscribe from {self._signal.name} with a proxy of {self._publisher!r}")


def declared_signals(cls: type) -> list[SignalDescription]:
    """The signals of a class and its bases."""
    found = {
        name: value
        for base in reversed(cls.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, QMI_Signal)
    }
    # A class may give the name to something else.
    current = {name: inspect.getattr_static(cls, name) for name in found}
    return [
        SignalDescription(name, signal.arg_types) for name, signal in current.items() if isinstance(signal, QMI_Signal)
    ]


def signal_infos(cls: type) -> tuple[SignalInfo, ...]:
    """The same as plain text, for descriptors."""
    return tuple(
        SignalInfo(signal.name, tuple(kind.__name__ for kind in signal.arg_types)) for signal in declared_signals(cls)
    )


for _public in (QMI_RegisteredSignal, QMI_Signal, SignalDescription):
    _public.__module__ = "qmi.core.pubsub"
