"""The base of instrument drivers: opened, closed, and identified."""

from __future__ import annotations

import inspect
import logging
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from qmi.actors.interface import direct_method, published, rpc_method
from qmi.actors.rpc_object import Polling, QMI_RpcObject
from qmi.actors.safe_states import SafeWhen
from qmi.errors import QMI_InvalidOperationException
from qmi.records import NamedTuple

_logger = logging.getLogger("qmi.core.instrument")


class QMI_InstrumentIdentification(NamedTuple):
    """What an instrument says that it is; None where it does not say.

    Attributes:
        vendor: Who made it.
        model: The model.
        serial: The serial number.
        version: Version of its firmware.
    """

    vendor: str | None = None
    model: str | None = None
    serial: str | None = None
    version: str | None = None


class QMI_Instrument(QMI_RpcObject):
    """Base class of drivers.

    A driver that holds a connection opens it in :meth:`open` and closes it in :meth:`close`, both of which call the
    method of this class as well. An instrument that is still open when it is removed is closed, with a warning.

    A driver of something that can do harm has a method ``safe_state()``, plain or ``async``, which is called without
    arguments when the context of the instrument stops, for whatever reason, before the instrument is closed. It is for
    instruments that are open; where :meth:`open` is not overridden, for all.

    Args:
        context: The context that the instrument belongs to.
        name: Its name there.

    Attributes:
        SAFE_WHEN: When the safe state is entered besides; None is at the end of the context alone.
    """

    _rpc_enter: ClassVar[tuple[str, ...]] = ("open",)
    _rpc_exit: ClassVar[tuple[str, ...]] = ("close",)

    simulator: ClassVar[type | bool | None] = None
    """What takes the place of the device where the instrument is simulated: a class derived from
    :class:`qmi.core.driver.Simulator`; None for one that does what the declared parameters say. False for a driver that
    has no device, which is the same in a simulation."""

    SAFE_WHEN: ClassVar[SafeWhen | None] = None

    closes_with_context: bool = False
    """Whether an instrument that is still open at its end is closed without a word: its context has opened it."""

    if TYPE_CHECKING:
        # What an instrument has besides where it is simulated.

        def simulate_fault(self, kind: str, times: int = 1, seconds: float | None = None) -> None:
            """Have something go wrong; see :class:`SimulatedMethods`."""

    # Why it is not open, if the last attempt to open it has failed.
    __rpc_unopened__: str = ""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self._is_open = False

    @classmethod
    def get_category(cls) -> str:
        """What kind of object this is."""
        return "instrument"

    @rpc_method
    def open(self) -> None:
        """Open the instrument.

        Raises:
            QMI_InvalidOperationException: If it is open already.
        """
        self._check_is_closed()
        self._is_open = True
        self.__rpc_unopened__ = ""
        if self.__rpc_poller__ is not None:
            self.__rpc_poller__.start()

    @rpc_method
    def close(self) -> None:
        """Close the instrument.

        Raises:
            QMI_InvalidOperationException: If it is not open.
        """
        self._check_is_open()
        self._is_open = False
        if self.__rpc_poller__ is not None:
            self.__rpc_poller__.stop()

    @rpc_method
    def is_open(self) -> bool:
        """Whether the instrument is open."""
        return self._is_open

    @published
    def is_simulated(self) -> bool:
        """Whether the instrument is simulated, so that there is no device."""
        return False

    def __rpc_is_reachable__(self) -> bool:
        if type(self).open is QMI_Instrument.open:
            return True
        found: object = self.is_open()
        if inspect.iscoroutine(found):  # a driver that has to ask: then it is tried
            found.close()
            return True
        return found is not False

    def _check_is_open(self) -> None:
        if not self._is_open:
            todo = "its open() has to call super().open() before that" if _in_open(self) else "call its open() first"
            raise QMI_InvalidOperationException(f"Instrument {self._name!r} is not open; {todo}{self.__rpc_unopened__}")

    def __rpc_opening_failed__(self, error: str, when: float) -> None:
        # Whoever calls it later may be somebody else than whoever tried to open it.
        if not self._is_open:
            self.__rpc_unopened__ = f" (opening it failed at {_utc(when)}: {' '.join(error.split())})"

    def _check_is_closed(self) -> None:
        if self._is_open:
            raise QMI_InvalidOperationException(f"Instrument {self._name!r} is open already")

    @published
    def __enter__(self) -> Self:
        self.open()
        return self

    @published
    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __rpc_begin_polling__(self, poller: Polling) -> None:
        # Only now is there somebody else who may open it.
        self.__rpc_poller__: Polling | None = poller
        if self._is_open:
            poller.start()

    def release_rpc_object(self) -> Any:
        """Close the instrument if it is still open."""
        if not self._is_open:
            return None
        if not self.closes_with_context:
            _logger.warning("Instrument %s is still open and is closed now", self._name)
        return self.close()


class _Faulty(Protocol):
    """What can have faults in place of a device."""

    def set_fault(self, kind: str, times: int = 1, seconds: float | None = None) -> None:
        """Have something go wrong."""


class _Reachable(Protocol):
    """What takes the place of a device that is reached without a transport."""

    def check_reachable(self) -> None:
        """Raise if there is no connection to it."""


class KeptMethods:
    """How a simulated instrument without a transport is opened."""

    __simulated__: _Reachable

    @published
    def open(self: Any) -> None:
        """Open the instrument.

        Raises:
            QMI_InvalidOperationException: If it is open already.
            ConnectionRefusedError: If ``simulate_fault("disconnected")`` is in force.
        """
        self._check_is_closed()
        self.__simulated__.check_reachable()
        QMI_Instrument.open(self)


class SimulatedMethods:
    """What a simulated instrument has besides."""

    __simulated__: _Faulty

    @published
    def is_simulated(self) -> bool:
        """Whether the instrument is simulated, so that there is no device."""
        return True

    @direct_method
    def simulate_fault(self, kind: str, times: int = 1, seconds: float | None = None) -> None:
        """Have something go wrong between the driver and its simulated device.

        Args:
            kind: ``"no_answer"`` (the next answer does not come), ``"late"``, ``"garbage"`` (it makes no sense),
                ``"disconnected"`` (the cable is unplugged), or ``"none"``: all is well again.
            times: How many answers that are due, or attempts to connect, it concerns.
            seconds: How late an answer is; for how long the cable is unplugged.

        Raises:
            QMI_InvalidValueException: If there is no such fault, or a number makes no sense.
        """
        self.__simulated__.set_fault(kind, times, seconds)


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))


def _in_open(instrument: object) -> bool:
    """Whether a driver's own open() of the instrument has called this: looked for where there is an error anyway."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        code = frame.f_code
        if code.co_name == "open" and code.co_argcount and frame.f_locals.get(code.co_varnames[0]) is instrument:
            return True
    return False


# Errors about arguments name the method, and not the class that brings it.
vars(SimulatedMethods)["simulate_fault"].__qualname__ = "simulate_fault"
QMI_Instrument.__module__ = "qmi.core.instrument"
QMI_InstrumentIdentification.__module__ = "qmi.core.instrument"
