"""Instruments that are simulated: the class that is made in place of a driver's, and what keeps its parameters."""

from __future__ import annotations

import functools
import inspect
import logging
import threading
import types
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

import trio

from qmi.actors.instrument import KeptMethods, QMI_Instrument, SimulatedMethods
from qmi.actors.interface import Kind, method_kind, published, published_functions
from qmi.actors.presentation import SIMULATED_DOC
from qmi.actors.rpc_object import SIMULATED_CLASSES, Contents, contents_of, is_still
from qmi.actors.simulated_kinds import KINDS
from qmi.errors import (
    QMI_InstrumentException,
    QMI_TimeoutException,
    QMI_TransportLostException,
    QMI_UsageException,
)
from qmi.parameters.access import KEPT
from qmi.parameters.declared import Declared, declared_of
from qmi.simulation.clock import DeviceClock
from qmi.simulation.declared import described, groups_of, misspelt
from qmi.simulation.device import SimulatedDevice
from qmi.simulation.faults import Fault
from qmi.simulation.simulator import Simulator

_logger = logging.getLogger("qmi.core.instrument")

SimulatorClass: TypeAlias = type[Simulator]


def wanted_simulator(cls: type, simulate: object) -> SimulatorClass | None:
    """The class of the simulator: the one that was given, or that of the driver; None if it names none.

    Raises:
        QMI_UsageException: If it is something else.
    """
    found = getattr(cls, "simulator", None) if simulate is True else simulate
    if found is None or (isinstance(found, type) and issubclass(found, Simulator)):
        return found
    where = f"simulator of {cls.__name__}" if simulate is True else "simulate"
    raise QMI_UsageException(f"{where} must be a class derived from qmi.core.driver.Simulator, got {found!r}")


def simulated_class(cls: type[QMI_Instrument], simulate: object) -> type[QMI_Instrument]:
    """The class of a simulated instrument.

    Args:
        cls: The driver.
        simulate: True, or the class of the simulator.

    Raises:
        QMI_UsageException: If the driver cannot be simulated.
    """
    if simulate is True and getattr(cls, "simulator", None) is False:
        return cls  # it has no device
    simulator = wanted_simulator(cls, simulate)
    # Made once, as the interface and the classes of the proxies are that go with it; anew when one of both was changed.
    found = vars(cls).get(SIMULATED_CLASSES)
    known: dict[SimulatorClass | None, _Made] = found if isinstance(found, dict) else {}
    made = known.get(simulator)
    if made is None or not made.is_of(cls, simulator):
        made = _Made(contents_of(cls), contents_of(simulator or Simulator), _class_of_simulated(cls, simulator))
        setattr(cls, SIMULATED_CLASSES, {**known, simulator: made})
    return made.made


class _Made(NamedTuple):
    """The class of a simulated driver, and of what it was made."""

    driver: Contents
    simulator: Contents
    made: type[QMI_Instrument]

    def is_of(self, cls: type, simulator: SimulatorClass | None) -> bool:
        return is_still(cls, self.driver) and is_still(simulator or Simulator, self.simulator)


def _class_of_simulated(cls: type[QMI_Instrument], simulator: SimulatorClass | None) -> type[QMI_Instrument]:
    for kind in KINDS:
        if (made := kind(cls, simulator)) is not None:
            return made
    if simulator is None and not any_parameters(declared_of(cls)):
        raise not_simulated(cls, "it declares no parameters")
    return _kept_class(cls, simulator or Simulator)


def any_parameters(declared: Declared) -> bool:
    """Whether a driver declares parameters, its channels included."""
    return bool(declared.parameters) or any(
        declared_of(channels.channel_class).parameters for channels in declared.channels.values()
    )


def not_simulated(cls: type, why: str) -> QMI_UsageException:
    """The error for a driver that cannot be simulated."""
    return QMI_UsageException(
        f"{cls.__name__} cannot be simulated: {why}, and it names no simulator. Write one, a class derived from "
        f"qmi.core.driver.Simulator, and give it as simulate=..., or name it in the driver: simulator = ...; a driver "
        "that has no device says simulator = False. simulate=False makes this instrument with its device"
    )


def make_simulated_class(cls: type[QMI_Instrument], namespace: dict[str, object]) -> type[QMI_Instrument]:
    """A subclass of a driver that is simulated; to its users it is the driver.

    Args:
        cls: The driver.
        namespace: What it has in place of the driver's own.
    """
    doc = inspect.getdoc(cls)
    body: dict[str, object] = {
        "__doc__": f"{doc}\n\n{SIMULATED_DOC}" if doc else SIMULATED_DOC,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        **{name: function for name, function in vars(SimulatedMethods).items() if _is_for(cls, name)},
        **namespace,
    }
    made: type[QMI_Instrument] = types.new_class(cls.__name__, (cls,), exec_body=lambda space: space.update(body))
    return made


def _is_for(cls: type, name: str) -> bool:
    # A driver's own method of such a name stays.
    if name.startswith("__"):
        return False
    own = inspect.getattr_static(cls, name, None)
    return own is None or own is inspect.getattr_static(QMI_Instrument, name, None)


def clock_of(context: object) -> object:
    """The clock of a context; None where it is none."""
    return getattr(getattr(context, "async_context", None), "clock", None)


def announce(name: str, cls: type, simulator: SimulatorClass) -> None:
    """Tell the log that an instrument is simulated."""
    by = "" if simulator is Simulator else f" by {simulator.__name__}"
    _logger.info("Instrument %s (%s) is simulated%s: there is no device", name, cls.__name__, by)
    declared = declared_of(cls)
    others = {*declared.channels, *published_functions(cls)}
    for written, meant in misspelt(simulator, declared.parameters, others):
        _logger.warning(
            "%s.%s is no parameter of %s and simulates nothing; did you mean %r?",
            simulator.__name__,
            written,
            cls.__name__,
            meant,
        )


# Drivers that speak to their devices by other means than a transport.


class KeptParameters:
    """Keeps the values of a simulated instrument, and calls its faults.

    Args:
        make: Makes the device, which has no commands.
        name: Name of the instrument, for messages.
        clock: The clock of the context.
    """

    def __init__(self, make: Callable[[], SimulatedDevice], name: str, clock: object) -> None:
        self._make = make
        self._name = name
        self._clock = DeviceClock(clock)
        self._cuts = 0
        # Faults are set in any thread, while the instrument may be in the middle of a call.
        self._mutex = threading.Lock()

    @functools.cached_property
    def device(self) -> SimulatedDevice:
        """The device, which is made when it is needed first: until then its driver may not know all of it."""
        made = self._make()
        made.begin(self._clock.now())
        return made

    def get(self, path: str, getter: Callable[..., object]) -> object:
        """The value of a parameter, to be awaited if the getter is."""
        return self._do(lambda: self.device.get(path, self._clock.now()), f"reading {path}", getter)

    def set(self, path: str, value: object, setter: Callable[..., object]) -> object:
        """Keep another value, to be awaited if the setter is."""
        return self._do(lambda: self.device.set(path, value, self._clock.now()), f"setting {path}", setter)

    def call(self, method: str, written: Callable[..., object], args: Any, kwargs: Any) -> object:
        """Call a method of the simulator in place of that of the driver."""

        def call() -> object:
            self.device.simulator.__node__.now = self._clock.now()
            result = getattr(self.device.simulator, method)(*args, **kwargs)
            self.device.simulator.__node__.changed()
            return result

        return self._do(call, f"{method}()", written)

    def set_fault(self, kind: str, times: int = 1, seconds: float | None = None) -> None:
        """Have something go wrong, from any thread."""
        with self._mutex:
            self.device.set_fault(kind, times, seconds, now=self._clock.now())

    def check_reachable(self) -> None:
        """Connect, as :meth:`QMI_Instrument.open` does.

        Raises:
            ConnectionRefusedError: If that is not possible now.
        """
        faults = self.device.faults
        with self._mutex:
            if faults.refuses(self._clock.now()):
                raise ConnectionRefusedError(f"no connection to {self._name}: its simulated cable is unplugged")
            self._cuts = faults.cuts

    def _do(self, action: Callable[[], object], what: str, original: Callable[..., object]) -> object:
        if method_kind(original).is_async:
            return self._do_awaited(action, what)
        fault = self._fault(what)
        if fault is not None:
            self._clock.sleep(fault.seconds)
        return action()

    async def _do_awaited(self, action: Callable[[], object], what: str) -> object:
        fault = self._fault(what)
        if fault is None or self._clock.advance(fault.seconds):
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(fault.seconds)
        return action()

    def _fault(self, what: str) -> Fault | None:
        """Raise if something goes wrong now; a fault that is returned takes its time."""
        faults = self.device.faults
        where = f"{what} of {self._name} (simulated)"
        with self._mutex:
            is_cut = self._cuts != faults.cuts or faults.refuses(self._clock.now())
            self._cuts = faults.cuts
            fault = None if is_cut else faults.take()
        if is_cut:
            raise QMI_TransportLostException(f"The connection was lost in {where}")
        if fault is None or fault.kind == "late":
            return fault
        if fault.kind == "no_answer":
            raise QMI_TimeoutException(f"Timeout in {where}: the device does not answer")
        raise QMI_InstrumentException(f"The answer in {where} makes no sense")


def _kept_class(cls: type[QMI_Instrument], simulator: SimulatorClass) -> type[QMI_Instrument]:
    def begin(self: QMI_Instrument, context: Any, name: str, *args: Any, **kwargs: Any) -> None:
        kept = KeptParameters(
            lambda: SimulatedDevice(
                simulator,
                described(declared_of(cls).parameters.values()),
                groups_of(cls, self),
                driver=cls.__name__,
            ),
            name,
            clock_of(context),
        )
        vars(self).update({KEPT: kept, "__simulated__": kept})
        try:
            cls.__init__(self, context, name, *args, **kwargs)
        except Exception as error:
            error.add_note(
                f"{name} is simulated, and the constructor of {cls.__name__} runs all the same: a device is to be "
                "looked for in open(), which is not called"
            )
            raise
        announce(name, cls, simulator)

    namespace: dict[str, object] = {"__init__": begin, "open": KeptMethods.open, "close": QMI_Instrument.close}
    for name, function in published_functions(cls).items():
        if name not in namespace and _simulates(simulator, name):
            namespace[name] = _instead(name, function)
    return make_simulated_class(cls, namespace)


def _simulates(simulator: SimulatorClass, name: str) -> bool:
    return not hasattr(Simulator, name) and inspect.isfunction(inspect.getattr_static(simulator, name, None))


def _instead(name: str, original: Callable[..., object]) -> Callable[..., object]:
    """A published method that calls the simulator, of the same kind as that of the driver."""

    def plain(self: Any, *args: Any, **kwargs: Any) -> object:
        return self.__simulated__.call(name, original, args, kwargs)

    async def awaited(self: Any, *args: Any, **kwargs: Any) -> object:
        result: Awaitable[object] = self.__simulated__.call(name, original, args, kwargs)
        return await result

    if method_kind(original) not in (Kind.PLAIN, Kind.ASYNC):
        raise QMI_UsageException(f"{name}() gives its items one by one, and cannot be simulated by a method")
    made = awaited if method_kind(original) is Kind.ASYNC else plain
    made.__name__, made.__doc__ = name, original.__doc__
    made.__module__ = original.__module__
    made.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    return published(made)
