"""A simulated instrument that is being checked: how it is made, used, and looked into."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from qmi.actors.clock.virtual import VirtualClock
from qmi.actors.simulated import KeptParameters, simulated_class
from qmi.config.schema import CfgQmi
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_Exception, QMI_InvalidOperationException, QMI_RpcTimeoutException
from qmi.core.instrument import QMI_Instrument
from qmi.devices.simulated import DeviceSocket
from qmi.names import ParameterPath, parse_parameter_path
from qmi.parameters.declaration import Parameter
from qmi.parameters.declared import declared_of
from qmi.testing.check_values import is_same
from qmi.testing.clock import time_by
from qmi.testing.findings import DriverReport

PATIENCE = 10.0
"""Real seconds that a call may take. Waits take no time, so one that takes longer waits for ever."""
CLEAR = (QMI_Exception, OSError, EOFError)
"""What a driver may raise when its device cannot be reached."""

_NAME = "checked"
_DAY = 86400.0


@dataclass
class Wanted:
    """What is to be made.

    Attributes:
        cls: The driver.
        args: Arguments of its constructor.
        kwargs: Likewise.
        simulate: True, or the class of the simulator.
    """

    cls: type[QMI_Instrument]
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    simulate: object = True

    @cached_property
    def simulated(self) -> type[QMI_Instrument]:
        """The class of the simulated instrument, made once: what can be called of it is looked up once, too.

        Raises:
            QMI_UsageException: If it cannot be simulated.
        """
        return simulated_class(self.cls, self.simulate)


@dataclass
class Outcome:
    """What came of a call: a value or an error, and how many simulated seconds it took."""

    value: object = None
    error: Exception | None = None
    seconds: float = 0.0

    @property
    def waits_for_ever(self) -> bool:
        """Whether the call had not ended after a long time."""
        return isinstance(self.error, QMI_RpcTimeoutException)

    def __str__(self) -> str:
        if self.error is None:
            return f"it gave {self.value!r}"
        return f"it raised {type(self.error).__name__}: {self.error}"


class Subject:
    """The instrument.

    Args:
        context: Where it is made.
        clock: The time by which it goes.
        wanted: What to make.
        more: Further keyword arguments.

    Attributes:
        proxy: A proxy of it.
        wanted: What was made.
    """

    def __init__(self, context: QMI_Context, clock: VirtualClock, wanted: Wanted, **more: object) -> None:
        make: Callable[..., Any] = context.make_instrument
        self.wanted = wanted
        self._context = context
        self._clock = clock
        self.proxy: QMI_Instrument = make(
            _NAME, wanted.simulated, *wanted.args, simulate=False, **wanted.kwargs, **more
        )
        actor = context.async_context.registry.get(_NAME)
        simulated: DeviceSocket | KeptParameters | None = getattr(actor and actor.object, "__simulated__", None)
        self._simulated = simulated

    # The simulated device.

    @property
    def has_device(self) -> bool:
        """Whether the driver's own exchange with a device runs, on a simulated one."""
        return isinstance(self._simulated, DeviceSocket)

    def fault(self, kind: str, times: int = 1, seconds: float | None = None) -> None:
        """Have something go wrong from here on; ``"none"`` ends it."""
        if self._simulated is not None:
            self._simulated.set_fault(kind, times, seconds)

    def commands(self) -> list[str]:
        """The messages that the device has got and that are no questions."""
        return [message for message in self._messages() if "?" not in message]

    def received(self) -> int:
        """How many messages the device has got."""
        return len(self._messages())

    def _messages(self) -> list[str]:
        return self._simulated.device.received if isinstance(self._simulated, DeviceSocket) else []

    def device_errors(self) -> list[str]:
        """What the device has in its error queue, which is empty then."""
        if self._simulated is None:
            return []
        errors = self._simulated.device.simulator.__node__.errors
        found: list[str] = []
        while len(errors) and len(found) < 10:
            found.append(str(errors.pop()))
        return found

    # The instrument.

    def do(self, action: Callable[[], object]) -> Outcome:
        """Do something with it."""
        begin = self._clock.now()
        try:
            value = action()
        except Exception as error:  # noqa: BLE001 - of the driver, and goes into the report
            return Outcome(None, error, self._clock.now() - begin)
        return Outcome(value, None, self._clock.now() - begin)

    def pass_time(self, seconds: float) -> None:
        """Let so many simulated seconds go by."""
        self._clock.advance(seconds)

    def call(self, method: str, *args: object) -> Outcome:
        """Call a method of it."""
        return self.do(lambda: getattr(self.proxy, method)(*args, rpc_timeout=PATIENCE))

    def get(self, path: str) -> Outcome:
        """Read a parameter."""
        target, name = self._target(path)
        return self.do(lambda: getattr(target, f"get_{name}")(rpc_timeout=PATIENCE))

    def get_settled(self, path: str, value: object) -> Outcome:
        """Read a parameter that should have a value: at once, or a day later if it takes time to get there.

        Returns:
            What was read; the value itself if the parameter has noise, so that each reading is another one.
        """
        read = self.get(path)
        if read.error is None and not is_same(read.value, value):
            self._clock.advance(_DAY)
            read = self.get(path)
            if not is_same(read.value, value) and not is_same(read.value, self.get(path).value):
                return Outcome(value)
        return read

    def set(self, path: str, value: object) -> Outcome:
        """Set a parameter."""
        target, name = self._target(path)
        return self.do(lambda: getattr(target, f"set_{name}")(value, rpc_timeout=PATIENCE))

    def assign(self, path: str, value: object) -> Outcome:
        """The same by an assignment."""
        target, name = self._target(path)
        return self.do(lambda: setattr(target, name, value))

    def _target(self, path: str) -> tuple[Any, str]:
        parts = _split(path)
        return (getattr(self.proxy, parts.group)[parts.number] if parts.group else self.proxy), parts.name

    def limits(self, path: str) -> Any:
        """The limits of a parameter as they are now."""
        return self.proxy.parameters(path)[path].limits

    def parameters(self) -> dict[str, Parameter[object]]:
        """What is declared, by name; of many channels the first and the last one."""
        if not declared_of(self.wanted.cls).parameters and not declared_of(self.wanted.cls).channels:
            return {}
        paths = {path: _split(path) for path in self.proxy.parameters()}
        numbers: dict[str, list[int]] = {}
        for parts in paths.values():
            numbers.setdefault(parts.group, []).append(parts.number)
        return {
            path: self._declared(parts)
            for path, parts in paths.items()
            if parts.number in (min(numbers[parts.group]), max(numbers[parts.group]))
        }

    def _declared(self, parts: ParameterPath) -> Parameter[object]:
        declared = declared_of(self.wanted.cls)
        if parts.group:
            declared = declared_of(declared.channels[parts.group].channel_class)
        return declared.parameters[parts.name]

    def where(self, path: str) -> str:
        """The name of a parameter, with that of the class, for messages."""
        return f"{self.wanted.cls.__name__}.{path}"

    def limiting(self, path: str, parameter: Parameter[object]) -> list[tuple[str, bool]]:
        """The parameters that limit another one, each with whether it is the upper limit."""
        limits = parameter.limits if isinstance(parameter.limits, tuple) else ()
        channel = path.rpartition(".")[0]
        known = self.parameters()
        found = []
        for end, is_upper in zip(limits, (False, True), strict=False):
            places = [f"{channel}.{end}", end] if isinstance(end, str) else []
            found += [(place, is_upper) for place in places if place in known and known[place].settable][:1]
        return found

    def remove(self) -> None:
        """Close it if it is open, and take it out of the context."""
        self.fault("none")
        with suppress(*CLEAR, QMI_InvalidOperationException):
            if self.proxy.is_open():
                self.proxy.close()
        self._context.remove_rpc_object(self.proxy)


def _split(path: str) -> ParameterPath:
    found = parse_parameter_path(path)
    assert found is not None, path
    return found


class Laboratory:
    """A context of its own, in which subjects are made; its time stands still but for their waits.

    Attributes:
        context: The context.
    """

    def __init__(self, context: QMI_Context, clock: VirtualClock) -> None:
        self.context = context
        self._clock = clock

    @contextmanager
    def subject(self, wanted: Wanted, report: DriverReport, rule: str, **more: object) -> Iterator[Subject | None]:
        """An instrument, which is open; None, with a finding, if it cannot be made or opened."""
        subject = None
        try:
            subject = Subject(self.context, self._clock, wanted, **more)
            subject.proxy.open()
        except Exception as error:  # noqa: BLE001 - of the driver, and goes into the report
            name = wanted.cls.__name__
            what = "it cannot be made" if subject is None else "it cannot be opened"
            report.find(rule, name, f"{what} in a simulation: {type(error).__name__}: {error}")
            if subject is not None:
                subject.remove()
            yield None
            return
        try:
            yield subject
        finally:
            subject.remove()


@contextmanager
def open_laboratory() -> Iterator[Laboratory]:
    """A context in which nothing happens by itself, and no wait takes any time."""
    # Readings that are polled by themselves would come between a fault and the call that it is meant for: the clock of
    # the context moves only by the waits of the driver and of its device.
    clock = VirtualClock(start=time.monotonic())
    context = QMI_Context("check_driver", CfgQmi())
    context.async_context.clock = clock
    logger = logging.getLogger("qmi.core.transport")
    logger.addFilter(_is_of_others)
    try:
        with time_by(clock), context:
            yield Laboratory(context, clock)
    finally:
        logger.removeFilter(_is_of_others)


def _is_of_others(record: logging.LogRecord) -> bool:
    """Leave out what is logged of connections that are cut on purpose."""
    return f"(device={_NAME})" not in record.getMessage()
