"""Instruments for bluesky: its RunEngine moves and reads proxies.

bluesky asks devices for a few methods (its *protocols*), and these classes have them. A :class:`Device` stands for an
instrument, a :class:`Signal` for one of its parameters::

    from bluesky import RunEngine
    from bluesky.plans import scan
    from qmi.integrations.bluesky import Device

    psu, dmm = Device(psu_proxy), Device(dmm_proxy)
    RunEngine()(scan([dmm], psu.voltage, 0, 5, 11))

Calls do not block the event loop of the RunEngine. Locks, links and checks of values are those of the proxy.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from qmi.core.driver import ParameterInfo
from qmi.core.exceptions import (
    QMI_InvalidOperationException,
    QMI_TimeoutException,
    QMI_UsageException,
)
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.core.rpc import QMI_RpcFuture
from qmi.parameters.rules import Rule, plain_scalar

T = TypeVar("T")

Document = dict[str, Any]
"""Readings or descriptions by their names, each a mapping as bluesky wants it."""

Callback = Callable[[Document], object]

_DTYPES = {"float": "number", "int": "integer", "bool": "boolean", "str": "string"}
_LOOK_AGAIN = 0.2
"""How long a subscription waits for a signal until it looks whether it has ended, in seconds."""


class Status:
    """How a movement goes, as bluesky wants to know it; made by :meth:`Signal.set` and :meth:`Device.trigger`."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Status], object]] = []

    def __repr__(self) -> str:
        state = "pending" if not self.done else "done" if self._error is None else f"failed: {self._error}"
        return f"<Status of {self._what}: {state}>"

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._ended.is_set()

    @property
    def success(self) -> bool:
        """Whether it has ended well."""
        return self.done and self._error is None

    def exception(self, timeout: float | None = 0.0) -> BaseException | None:
        """The error that it ended with; None if it ended well.

        Args:
            timeout: For how long to wait for the end, in seconds; None waits for ever.

        Raises:
            QMI_TimeoutException: If it has not ended by then.
        """
        if not self._ended.wait(timeout):
            raise QMI_TimeoutException(f"{self._what} has not ended within {timeout} s")
        return self._error

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the end.

        Args:
            timeout: For how long, in seconds; None waits for ever.

        Raises:
            QMI_TimeoutException: If it has not ended by then.
            Exception: What it ended with.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error

    def add_callback(self, callback: Callable[[Any], object]) -> None:
        """Have a function called with the status at the end, or now if that is past."""
        # The end comes from another thread: either it finds the callback in the list, or it is over by now.
        with self._lock:
            if not self._ended.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    def end(self, error: BaseException | None = None) -> None:
        """Note that it has ended; a second time does nothing.

        Args:
            error: What it failed with.
        """
        with self._lock:
            if self._ended.is_set():
                return
            self._error = error
            self._ended.set()
        for callback in self._callbacks:
            callback(self)


def _status_of(what: str, future: QMI_RpcFuture[Any]) -> Status:
    status = Status(what)
    future.add_done_callback(lambda: status.end(future.error()))
    return status


async def _result(future: QMI_RpcFuture[T]) -> T:
    """The result of a call, for asyncio; being cancelled cancels the call."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(ended.set)

    future.add_done_callback(wake)
    try:
        await ended.wait()
    except asyncio.CancelledError:
        future.cancel()
        raise
    return future.result()


_NUMBERS: dict[str, type] = {"float": float, "int": int}


def _plain(value: object) -> object:
    """A value as bluesky's documents can have it."""
    return value.value if isinstance(value, Enum) else value


class Reading:
    """A parameter that can only be read; an attribute of a :class:`Device`.

    Attributes:
        name: Its name in documents: ``"psu_current"``.
        parent: None; bluesky would leave it out where its device is read as well.
        device: The device.
        parameter: The name of the parameter: ``"current"``.
    """

    parent = None

    def __init__(self, device: Device, info: ParameterInfo) -> None:
        self.device = device
        self.parameter: str = info.name
        self.name: str = f"{device.name}_{re.sub(r'[^0-9A-Za-z]+', '_', info.name).strip('_')}"
        self._info = info
        self._subscriptions: dict[Callback, _Subscription] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} of {self.device.proxy.address}>"

    @property
    def info(self) -> ParameterInfo:
        """What is known of the parameter: unit, limits, ... as they were when the device was made."""
        return self._info

    @property
    def hints(self) -> Any:
        """What plots and tables show."""
        return {"fields": [self.name]}

    def _ask(self) -> QMI_RpcFuture[Any]:
        future: QMI_RpcFuture[Any] = self.device.handle(self.parameter).get()
        return future

    async def read(self) -> Document:
        """Ask the instrument for the value."""
        return self._document(await _result(self._ask()), time.time())

    def _document(self, value: object, timestamp: float) -> Document:
        return {self.name: {"value": _plain(value), "timestamp": timestamp}}

    async def describe(self) -> Document:
        """Type, shape, unit and limits of the value; an array is read for its shape."""
        info = self._info
        key: Document = {"source": f"qmi:{self.device.proxy.address}.{self.parameter}", "shape": []}
        if info.type in _DTYPES:
            key["dtype"] = _DTYPES[info.type]
        elif info.values is not None:
            key["dtype"] = "number" if all(type(value) in (int, float) for value in info.values) else "string"
        else:
            value = await _result(self._ask())
            shape = getattr(value, "shape", None)
            key["dtype"] = "string" if shape is None else "array"
            key["shape"] = list(shape or ())
        if info.unit:
            key["units"] = info.unit
        if info.limits is not None:
            low, high = info.limits
            key["limits"] = {"control": {"low": low, "high": high}}
        if info.values is not None and key["dtype"] == "string":
            key["choices"] = [str(value) for value in info.values]
        return {self.name: key}

    def stage(self) -> Status | list[Any]:
        """Begin a run; see :meth:`Device.stage`."""
        return self.device.stage()

    def unstage(self) -> Status | list[Any]:
        """End a run; see :meth:`Device.unstage`."""
        return self.device.unstage()

    def subscribe(self, function: Callback) -> None:
        """Have a function called with each reading that the instrument publishes, in a thread of its own.

        Args:
            function: Takes what :meth:`read` returns.

        Raises:
            QMI_UsageException: If the driver does not publish this parameter.
        """
        if self._info.poll is None:
            raise QMI_UsageException(
                f"{self.device.proxy.address} does not publish {self.parameter}: declare it with poll=seconds in the "
                "driver, or read it in the plan"
            )
        if function not in self._subscriptions:
            signal = getattr(self.device.proxy, f"sig_{self.parameter}")
            self._subscriptions[function] = _Subscription(
                signal, lambda value: function(self._document(value, time.time()))
            )

    def clear_sub(self, function: Callback) -> None:
        """End a subscription; one that is not there is none to end."""
        subscription = self._subscriptions.pop(function, None)
        if subscription is not None:
            subscription.end()


class _ProxySignal(Protocol):
    """A signal, as a blocking proxy shows it."""

    def subscribe(self, receiver: QMI_SignalReceiver) -> None:
        """Have each signal put into a receiver."""

    def unsubscribe(self, receiver: QMI_SignalReceiver) -> None:
        """End that."""


class _Subscription:
    """Calls a function with each value of a signal, in a thread, until it is ended."""

    def __init__(self, signal: _ProxySignal, function: Callable[[object], object]) -> None:
        self._signal = signal
        self._function = function
        self._receiver = QMI_SignalReceiver()
        self._ended = threading.Event()
        signal.subscribe(self._receiver)
        threading.Thread(target=self._run, name="bluesky-subscription", daemon=True).start()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                received = self._receiver.get_next_signal(timeout=_LOOK_AGAIN)
            except QMI_TimeoutException:
                continue
            if not self._ended.is_set():
                self._function(received.args[0])

    def end(self) -> None:
        self._ended.set()
        self._signal.unsubscribe(self._receiver)


class Signal(Reading):
    """A parameter that can be set, too: what plans move. An attribute of a :class:`Device`.

    It is where it was set to as soon as the instrument has taken the value. For something that takes its time to get
    there, see :meth:`Device.axis`.
    """

    async def check_value(self, value: object) -> None:
        """Refuse a number that cannot be set, without setting it, as simulations of a plan do.

        Raises:
            QMI_InvalidValueException: If it is beyond the limits, or not one of the values that are allowed.
        """
        kind = _NUMBERS.get(self._info.type)
        if kind is None:
            return
        info = await _result(self.device.handle(self.parameter).info())
        rule = Rule(kind, info.unit, info.values, info.step)
        rule.check(self._number(value), info.limits, f"{self.parameter} of {self.device.proxy.address}")

    def _number(self, value: Any) -> Any:
        """A value that a plan moves to: plans count in numpy's numbers, and in floats where whole ones are wanted."""
        value = plain_scalar(value)
        is_whole = self._info.type == "int" and isinstance(value, float) and value.is_integer()
        return int(value) if is_whole else value

    def set(self, value: object) -> Status:
        """Set the parameter.

        Returns:
            A status that ends when the instrument has taken the value, or with its error.
        """
        return _status_of(f"setting {self.name}", self.device.handle(self.parameter).set(self._number(value)))

    async def locate(self) -> Any:
        """What the parameter is set to, which is where it is."""
        value = _plain(await _result(self._ask()))
        return {"setpoint": value, "readback": value}


class Axis(Signal):
    """A parameter that is set at once and reached later: a stage, an oven. Made by :meth:`Device.axis`."""

    def __init__(
        self,
        name: str,
        target: Signal,
        readback: Reading,
        tolerance: float,
        settle_time: float,
        timeout: float,
        interval: float,
    ) -> None:
        super().__init__(target.device, target.info)
        self.name = name
        self._readback = readback
        self._tolerance = tolerance
        self._settle_time = settle_time
        self._timeout = timeout
        self._interval = interval
        self._moving: tuple[Status, threading.Event] | None = None

    # Names of its own, since the device may be read beside it: bluesky refuses a name that comes twice.

    async def read(self) -> Document:
        """Where it is, under its name, and what it is set to, as ``..._setpoint``."""
        (here,), (target,) = (await self._readback.read()).values(), (await super().read()).values()
        return {self.name: here, f"{self.name}_setpoint": target}

    async def describe(self) -> Document:
        """Type and unit of both."""
        (here,), (target,) = (await self._readback.describe()).values(), (await super().describe()).values()
        return {self.name: here, f"{self.name}_setpoint": target}

    async def locate(self) -> Any:
        """What it is set to, and where it is."""
        here = await self._readback.read()
        return {**await super().locate(), "readback": here[self._readback.name]["value"]}

    def set(self, value: Any) -> Status:
        """Set the parameter, and wait until the reading is there.

        Returns:
            A status that ends when it is there and has stayed for the settling time, or with an error.
        """
        status, stopped = Status(f"moving {self.name}"), threading.Event()
        target = self._number(value)
        self._moving = status, stopped
        arguments = (status, stopped, super().set(target), target)
        threading.Thread(target=self._move, args=arguments, name=f"bluesky-{self.name}", daemon=True).start()
        return status

    def _move(self, status: Status, stopped: threading.Event, taken: Status, target: float) -> None:
        deadline = time.monotonic() + self._timeout
        there_since: float | None = None
        try:
            taken.wait()
            while not stopped.is_set():
                here = self._readback._ask().wait()
                now = time.monotonic()
                if abs(here - target) > self._tolerance:
                    there_since = None
                elif there_since is None:
                    there_since = now
                if there_since is not None and now - there_since >= self._settle_time:
                    status.end()
                    return
                if now > deadline:
                    raise QMI_TimeoutException(
                        f"{self.name} is at {here} after {self._timeout} s, and not at {target} +- {self._tolerance}"
                    )
                stopped.wait(self._interval)
            status.end(QMI_InvalidOperationException(f"{self.name} was stopped on its way to {target}"))
        except Exception as error:  # noqa: BLE001 - the plan gets it from the status
            status.end(error)

    async def stop(self, success: bool = True) -> None:
        """Stop: by the driver's published ``stop()`` if it has one.

        Args:
            success: Whether the plan ends well; a movement that is stopped in an error fails.
        """
        if self._moving is not None and not self._moving[0].done:
            status, stopped = self._moving
            if success:
                status.end()
            stopped.set()
        if "stop" in dir(self.device.proxy):
            await _result(self.device.proxy.rpc_nonblocking.stop())


class Device:
    """An instrument for bluesky; its parameters are attributes: ``device.voltage``.

    Reading it reads the parameters that can only be read; its settings are its configuration, which bluesky reads once
    for each run. Triggering it calls the driver's published ``trigger()`` and waits for its end.

    Args:
        proxy: A blocking proxy of the instrument, here or in another program.
        name: Its name in documents; None for that of the instrument.
        read: Names of the parameters to read, instead of those that can only be read.
        configuration: Names of the parameters of its configuration, instead of its settings.
        lock: Whether the instrument is locked from when a plan stages it until it is unstaged.
        lock_timeout: For how long to wait for another holder of the lock, in seconds.

    Attributes:
        proxy: The proxy.
        name: Its name in documents.
        parent: None, as it is part of nothing.

    Raises:
        QMI_UsageException: If the instrument has no parameters, or none of such a name.
    """

    parent = None
    _signals: Mapping[str, Reading] = MappingProxyType({})

    def __init__(
        self,
        proxy: Any,
        name: str | None = None,
        *,
        read: Sequence[str] | None = None,
        configuration: Sequence[str] | None = None,
        lock: bool = False,
        lock_timeout: float = 10.0,
    ) -> None:
        if "parameters" not in dir(proxy):
            raise QMI_UsageException(
                f"{proxy!r} has no parameters; bluesky can read and move what a driver declares by parameter()"
            )
        self.proxy = proxy
        self.name: str = proxy.address.rpartition(".")[2] if name is None else name
        infos: dict[str, ParameterInfo] = proxy.parameters()
        self._signals = {
            info.name: (Signal if info.settable else Reading)(self, info) for info in infos.values() if info.gettable
        }
        for names in (read, configuration):
            if isinstance(names, str):
                raise QMI_UsageException(f"read and configuration are lists of names: write [{names!r}]")
        settings = [name for name, signal in self._signals.items() if isinstance(signal, Signal)]
        readings = [name for name in self._signals if name not in settings]
        self._read = [self[name] for name in (readings or settings if read is None else read)]
        chosen = [name for name in settings if self[name] not in self._read]
        self._configuration = [self[name] for name in (chosen if configuration is None else configuration)]
        self._lock = lock
        self._lock_timeout = lock_timeout
        self._staged = 0
        self._staging = threading.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} of {self.proxy.address}>"

    def __getitem__(self, name: str) -> Reading:
        """The signal of a parameter, such as ``device["channels[1].voltage"]``.

        Raises:
            QMI_UsageException: If there is none that can be read.
        """
        try:
            return self._signals[name]
        except KeyError:
            raise QMI_UsageException(
                f"{self.proxy.address} has no parameter {name!r} that can be read; it has {', '.join(self._signals)}"
            ) from None

    def __getattr__(self, name: str) -> Any:
        if name in self._signals:
            return self._signals[name]
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"{self!r} has no parameter {name!r} that can be read; it has {', '.join(self._signals)}")

    def __setattr__(self, name: str, value: object) -> None:
        if name in self._signals:
            raise AttributeError(
                f"{self.name}.{name} stands for the parameter, and is no place to put a value: set it by "
                f"mv({self.name}.{name}, {value!r}) in a plan, or by proxy.{name} = {value!r}"
            )
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(name for name in self._signals if name.isidentifier())]

    def handle(self, name: str) -> Any:
        """The handle of a parameter whose methods return futures, as RunEngine must not be kept waiting."""
        return self.proxy.rpc_nonblocking.parameters[name]

    @property
    def hints(self) -> Any:
        """What plots and tables show."""
        return {"fields": [signal.name for signal in self._read]}

    async def read(self) -> Document:
        """Ask the instrument for its readings: all at once, so that they wait for one way there and back."""
        return await _read_all(self._read)

    async def describe(self) -> Document:
        """What the readings are."""
        return await _describe_all(self._read)

    async def read_configuration(self) -> Document:
        """Ask the instrument for its settings."""
        return await _read_all(self._configuration)

    async def describe_configuration(self) -> Document:
        """What the settings are."""
        return await _describe_all(self._configuration)

    def trigger(self) -> Status:
        """Call the driver's published ``trigger()``; one that has none is ready at once.

        Returns:
            A status that ends when it has returned.
        """
        what = f"triggering {self.name}"
        if "trigger" in dir(self.proxy):
            return _status_of(what, self.proxy.rpc_nonblocking.trigger())
        status = Status(what)
        status.end()
        return status

    def stage(self) -> Status | list[Any]:
        """Begin a run: lock the instrument, if the device was made with ``lock=True``.

        Returns:
            A status that ends when it is locked, or with a ``QMI_InvalidOperationException`` if somebody else holds it.
        """
        return self._in_thread(f"locking {self.name}", self._begin_run)

    def unstage(self) -> Status | list[Any]:
        """End a run, and unlock the instrument."""
        return self._in_thread(f"unlocking {self.name}", self._end_run)

    def _in_thread(self, what: str, function: Callable[[], None]) -> Status | list[Any]:
        if not self._lock:
            return [self]
        status = Status(what)

        def run() -> None:
            try:
                with self._staging:
                    function()
            except Exception as error:  # noqa: BLE001 - the plan gets it from the status
                status.end(error)
            else:
                status.end()

        threading.Thread(target=run, name=f"bluesky-{self.name}", daemon=True).start()
        return status

    # A plan may stage the device and some of its parameters: the first one locks, and the last one unlocks.

    def _begin_run(self) -> None:
        if self._staged == 0 and not self.proxy.lock(self._lock_timeout):
            holder = self.proxy.lock_info()
            raise QMI_InvalidOperationException(
                f"{self.proxy.address} is locked by {holder.describe() if holder else 'somebody else'}; "
                f"waited {self._lock_timeout} s"
            )
        self._staged += 1

    def _end_run(self) -> None:
        if self._staged > 0:
            self._staged -= 1
            if self._staged == 0:
                self.proxy.unlock()

    def axis(
        self,
        target: str,
        readback: str,
        *,
        tolerance: float,
        settle_time: float = 0.0,
        timeout: float = 600.0,
        interval: float = 0.1,
        name: str | None = None,
    ) -> Axis:
        """A parameter that is set at once and reached later, for plans to move.

        Args:
            target: The parameter that is set.
            readback: The parameter that tells where it is.
            tolerance: How far from the target counts as there, in the unit of both.
            settle_time: For how long it must stay there, in seconds.
            timeout: After how many seconds a movement fails.
            interval: How long to wait between two readings, in seconds.
            name: Its name in documents; None for that of the device and ``_axis``.

        Raises:
            QMI_UsageException: If there is no such parameter, or the target cannot be set.
        """
        signal = self[target]
        if not isinstance(signal, Signal):
            raise QMI_UsageException(f"Parameter {target} of {self.proxy.address} can only be read, and not moved")
        shown = f"{self.name}_axis" if name is None else name
        return Axis(shown, signal, self[readback], tolerance, settle_time, timeout, interval)


async def _read_all(signals: list[Reading]) -> Document:
    asked = [(signal, signal._ask()) for signal in signals]
    document: Document = {}
    for signal, future in asked:
        document |= signal._document(await _result(future), time.time())
    return document


async def _describe_all(signals: list[Reading]) -> Document:
    document: Document = {}
    for signal in signals:
        document |= await signal.describe()
    return document


__all__ = ["Axis", "Device", "Reading", "Signal", "Status"]
