"""What all ways to a device have in common: bytes out and in, and no answer to the wrong question."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, ClassVar, Self

from qmi.devices.exchange import OutOfStep, Owed, Step, checked_out_of_step
from qmi.devices.owner import owner_name
from qmi.devices.reconnect import ConnectionEvent, Reconnect, reconnect_of
from qmi.devices.traffic import log, traffic_logger
from qmi.errors import (
    QMI_EndOfInputException,
    QMI_InstrumentException,
    QMI_InvalidOperationException,
    QMI_OutOfStepException,
    QMI_TimeoutException,
    QMI_TransportLostException,
)

_logger = logging.getLogger("qmi.core.transport")

_DEBUG = logging.DEBUG
_IDLE, _ASKED, _UNSURE, _LATE, _PARTIAL, _LOST = (int(step) for step in Step)
_CHUNK = 65536
_BIG = 65536
_QUIET = 0.02
"""After how long without a byte an answer is taken to be over, in seconds."""
_DISCARD_TIME = 1.0
"""For how long a device that never stops sending is listened to when what it sent is dropped, in seconds."""


class QMI_Transport:
    """A way to a device, over which bytes go in both directions.

    A transport belongs to one driver. It does not lock: a driver's calls take turns anyway. Times are in seconds; a
    timeout of None waits for ever, and one of 0 takes only what is there already.
    """

    def __init__(self) -> None:
        self._is_open = False

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_open:
            self.close()

    def _check_is_open(self) -> None:
        if not self._is_open:
            raise QMI_InvalidOperationException(
                f"Operation not allowed on closed transport {type(self).__name__}; call its open() first"
            )

    def _open_transport(self) -> None:
        """Make the connection; a subclass writes this."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is opened")

    def _close_transport(self) -> None:
        """End the connection; a subclass writes this."""

    def _opened(self) -> None:
        """Called when the transport has just been opened."""

    def open(self) -> None:
        """Make the connection.

        Raises:
            QMI_InvalidOperationException: If it is open already.
            OSError: If it cannot be made.
            QMI_TimeoutException: If that takes too long; this is an ``OSError`` too.
        """
        if self._is_open:
            raise QMI_InvalidOperationException(f"Operation not allowed on open transport {type(self).__name__}")
        self._open_transport()
        self._is_open = True
        try:
            self._opened()
        except BaseException:
            self._is_open = False
            self._close_transport()
            raise

    def close(self) -> None:
        """End the connection.

        Raises:
            QMI_InvalidOperationException: If it is not open.
        """
        self._check_is_open()
        self._is_open = False
        self._close_transport()

    def write(self, data: bytes) -> None:
        """Send bytes to the device.

        Args:
            data: What to send, all of it.

        Raises:
            QMI_InvalidOperationException: If the transport is not open.
            QMI_TransportLostException: If the connection is gone.
            QMI_TimeoutException: If the device takes no more bytes.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot write")

    def read(self, nbytes: int, timeout: float | None) -> bytes:
        """Receive a number of bytes.

        Args:
            nbytes: How many.
            timeout: For how long to wait, in seconds.

        Raises:
            QMI_InvalidOperationException: If the transport is not open.
            QMI_TimeoutException: If they do not come in time; those that have come stay for the next read.
            QMI_EndOfInputException: If the device has ended the connection, or its message, before.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot read")

    def read_until(self, message_terminator: bytes, timeout: float | None) -> bytes:
        """Receive bytes up to a terminator, which is part of the result.

        Args:
            message_terminator: What a message ends in.
            timeout: For how long to wait, in seconds.

        Raises:
            QMI_InvalidOperationException: If the transport is not open.
            QMI_TimeoutException: If it does not come in time; the bytes that have come stay for the next read.
            QMI_EndOfInputException: If the device has ended the connection before.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot read")

    def read_until_timeout(self, nbytes: int, timeout: float) -> bytes:
        """Receive as many bytes as come in a time.

        Args:
            nbytes: How many at most.
            timeout: For how long to wait, in seconds.

        Returns:
            What has come, which may be nothing.

        Raises:
            QMI_InvalidOperationException: If the transport is not open.
            QMI_EndOfInputException: If nothing has come and the device has ended the connection.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot read")

    def readinto(self, buffer: Any, timeout: float | None) -> None:
        """Receive bytes until a buffer is full, such as the memory of an array.

        Args:
            buffer: A writable, contiguous buffer.
            timeout: For how long to wait, in seconds.

        Raises:
            QMI_TimeoutException: As for :meth:`read`.
            QMI_EndOfInputException: As for :meth:`read`.
        """
        view = memoryview(buffer).cast("B")
        view[:] = self.read(len(view), timeout)

    def discard_read(self) -> None:
        """Drop what has been received and not been read."""
        raise NotImplementedError(f"{type(self).__name__} cannot read")


class DeviceTransport(QMI_Transport):
    """A transport that keeps questions and answers together, and can make a lost connection again.

    A subclass writes :meth:`_connect`, :meth:`_disconnect`, :meth:`_send` and :meth:`_receive`.
    """

    _renewal_drops_answers: ClassVar[bool] = False
    """Whether an answer that is late cannot arrive on a new connection."""

    def __init__(self) -> None:
        super().__init__()
        # Some tests of drivers put bytes here.
        self._read_buffer: bytearray | bytes = bytearray()
        self._step = _IDLE
        self._owed = Owed()
        self._has_asked = False
        self._out_of_step = OutOfStep()
        self._resynchronize: Callable[[Any], object] | None = None
        self._reconnect: Reconnect | None = None
        self._identity: object = None
        self._traffic = traffic_logger(owner_name() or self._short_name())

    def configure(
        self,
        *,
        reconnect: Reconnect | bool | str | None = None,
        out_of_step: str | None = None,
        drain_timeout: float | None = None,
        resynchronize: Callable[[Any], object] | None = None,
        name: str | None = None,
    ) -> Self:
        """Say what happens when an answer does not come, or the connection is lost. What is not given stays.

        Args:
            reconnect: Whether and how a lost connection is made again; see :class:`Reconnect`.
            out_of_step: What is done before the next question when an answer is owed: ``"drain"``, ``"reconnect"`` or
                ``"ignore"``; see :class:`OutOfStep`.
            drain_timeout: For how long the owed answer is waited for, in seconds.
            resynchronize: Called with the transport in place of that; it may write and read.
            name: Name of the instrument in the logger ``qmi.traffic.<instrument>``.

        Returns:
            The transport itself.

        Raises:
            QMI_InvalidValueException: If a value makes no sense.
        """
        old = self._out_of_step
        self._out_of_step = checked_out_of_step(
            old.recovery if out_of_step is None else out_of_step,
            old.drain_timeout if drain_timeout is None else drain_timeout,
        )
        if reconnect is not None:
            self._reconnect = reconnect_of(reconnect)
        if resynchronize is not None:
            self._resynchronize = resynchronize
        if name is not None:
            self._traffic = traffic_logger(name)
        return self

    @property
    def is_in_step(self) -> bool:
        """Whether no answer is owed: the next one will belong to the next question."""
        return self._step <= _ASKED

    # What a kind of transport does.

    def _short_name(self) -> str:
        return type(self).__name__

    def _connect(self) -> None:
        """Make the connection."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is opened")

    def _disconnect(self) -> None:
        """End the connection; called for one that is lost, too."""

    def _send(self, data: bytes) -> None:
        """Send all bytes, or raise."""
        raise NotImplementedError(f"{type(self).__name__} cannot write")

    def _receive(self, size: int, timeout: float | None) -> bytes:
        """Receive some bytes, at most ``size`` unless they come as a message; none if the time is over.

        Raises:
            QMI_TransportLostException: If the connection is gone.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot read")

    def _receive_into(self, view: memoryview, timeout: float | None) -> int:
        """The same into a buffer; return how many bytes came."""
        data = self._receive(len(view), timeout)
        view[: len(data)] = data
        return len(data)

    def _clear_device(self) -> bool:
        """Have the device forget questions and answers; False if this kind of transport has no way to."""
        return False

    # Opening and closing.

    def _open_transport(self) -> None:
        self._read_buffer = bytearray()
        self._step = _IDLE
        self._has_asked = False
        self._connect()

    def _close_transport(self) -> None:
        self._read_buffer = bytearray()
        self._step = _IDLE
        self._disconnect()

    def _opened(self) -> None:
        if self._reconnect is not None:
            self._identity = self._identify(self._reconnect)
            self._step = _IDLE

    # Writing and reading.

    def write(self, data: bytes) -> None:
        """Send bytes to the device; see :meth:`QMI_Transport.write`.

        Where the last answer was not read to its end, this first sees to it that it cannot be taken for the next one.

        Raises:
            QMI_OutOfStepException: If that is not possible.
        """
        if not self._is_open:
            self._check_is_open()
        if self._step > _ASKED:
            self._recover()
        if self._traffic.isEnabledFor(_DEBUG):
            log(self._traffic, "write", data)
        try:
            self._send(data)
        except BaseException as error:
            self._write_failed(error)
            raise
        self._step = _ASKED
        self._has_asked = True

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """Receive a number of bytes; see :meth:`QMI_Transport.read`."""
        if not self._is_open:
            self._check_is_open()
        try:
            data = self._read_exactly(nbytes, timeout)
        except BaseException as error:
            self._read_failed(error, Owed(b"", nbytes))
            raise
        self._served("read", data)
        return data

    def read_until(self, message_terminator: bytes, timeout: float | None = None) -> bytes:
        """Receive bytes up to a terminator; see :meth:`QMI_Transport.read_until`."""
        if not self._is_open:
            self._check_is_open()
        try:
            data = self._read_until(message_terminator, timeout)
        except BaseException as error:
            self._read_failed(error, Owed(message_terminator, 1))
            raise
        if self._step == _LATE:
            self._step = _ASKED
        if self._traffic.isEnabledFor(_DEBUG):
            log(self._traffic, "read", data)
        return data

    def read_until_timeout(self, nbytes: int, timeout: float) -> bytes:
        """Receive as many bytes as come in a time; see :meth:`QMI_Transport.read_until_timeout`."""
        if not self._is_open:
            self._check_is_open()
        try:
            data = self._read_some(nbytes, timeout)
        except BaseException as error:
            self._read_failed(error, Owed(b"", 1))
            raise
        self._served("read", data)
        if len(data) < nbytes and self._step == _ASKED:
            self._step = _UNSURE
        return data

    def readinto(self, buffer: Any, timeout: float | None = None) -> None:
        """Receive bytes until a buffer is full; see :meth:`QMI_Transport.readinto`."""
        if not self._is_open:
            self._check_is_open()
        view = memoryview(buffer).cast("B")
        try:
            self._read_into(view, timeout)
        except BaseException as error:
            self._read_failed(error, Owed(b"", len(view)))
            raise
        self._served("read", view)

    def discard_read(self) -> None:
        """Drop what has been received and not been read."""
        if not self._is_open:
            self._check_is_open()
        with suppress(QMI_EndOfInputException):
            dropped = self._drop_received()
            if self._step == _LATE and self._owed.is_in(dropped):
                self._step = _ASKED

    def _served(self, direction: str, data: bytes | memoryview) -> None:
        if self._step == _LATE and data:
            self._step = _ASKED
        if data and self._traffic.isEnabledFor(_DEBUG):
            log(self._traffic, direction, data)

    def _take(self, count: int) -> bytes:
        """Take bytes from the front of what was received."""
        buffer = self._read_buffer
        data = bytes(buffer[:count])
        if isinstance(buffer, bytearray):
            del buffer[:count]
        else:  # somebody has put bytes there
            self._read_buffer = bytearray(buffer[count:])
        return data

    def _keep(self, data: bytes | memoryview) -> None:
        """Put what was received behind what was received before."""
        if not isinstance(self._read_buffer, bytearray):
            self._read_buffer = bytearray(self._read_buffer)
        self._read_buffer += data

    def _read_until(self, terminator: bytes, timeout: float | None) -> bytes:
        is_first = True
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._read_buffer:
            self._check_not_lost()
            data = self._receive(_CHUNK, timeout) if terminator else b""
            is_first = False
            # Nearly always this is the answer, all of it, and nothing else.
            if data.endswith(terminator) and data.find(terminator) == len(data) - len(terminator):
                return data
            self._keep(data)
        searched = 0
        while True:
            found = self._read_buffer.find(terminator, max(0, searched - len(terminator) + 1))
            if found >= 0:
                return self._take(found + len(terminator))
            searched = len(self._read_buffer)
            self._check_not_lost()
            remaining = None if deadline is None else deadline - time.monotonic()
            # A device that never stops sending must not keep this going for ever.
            data = self._receive(_CHUNK, remaining) if remaining is None or remaining > 0 or is_first else b""
            if not data:
                raise QMI_TimeoutException(
                    f"Timeout after {searched} bytes without message terminator {terminator!r} from {self}"
                )
            is_first = False
            self._keep(data)

    def _read_exactly(self, nbytes: int, timeout: float | None) -> bytes:
        if nbytes - len(self._read_buffer) >= _BIG:
            memory = bytearray(nbytes)
            self._read_into(memoryview(memory), timeout)
            return bytes(memory)
        self._fill(nbytes, timeout)
        if len(self._read_buffer) < nbytes:
            raise QMI_TimeoutException(
                f"Timeout after {len(self._read_buffer)} bytes while expecting {nbytes} from {self}"
            )
        return self._take(nbytes)

    def _read_some(self, nbytes: int, timeout: float | None) -> bytes:
        try:
            self._fill(nbytes, timeout)
        except QMI_EndOfInputException:
            if not self._read_buffer:
                raise
        return self._take(min(nbytes, len(self._read_buffer)))

    def _fill(self, nbytes: int, timeout: float | None) -> None:
        """Receive until there are that many bytes, or the time is over."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (lacking := nbytes - len(self._read_buffer)) > 0:
            self._check_not_lost()
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            data = self._receive(lacking, remaining)
            if not data:
                return
            self._keep(data)

    def _read_into(self, view: memoryview, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        have = min(len(self._read_buffer), len(view))
        view[:have] = self._read_buffer[:have]
        try:
            while have < len(view):
                self._check_not_lost()
                remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
                count = self._receive_into(view[have:], remaining)
                if not count:
                    raise QMI_TimeoutException(f"Timeout after {have} bytes while expecting {len(view)} from {self}")
                have += count
        except BaseException:
            # As after any read that failed, what has come stays for the next one.
            self._read_buffer = bytearray(view[:have])
            raise
        self._read_buffer = bytearray(self._read_buffer[len(view) :])

    def _drop_received(self) -> bytes:
        """Drop what is there, and return it."""
        dropped = bytearray(self._read_buffer)
        self._read_buffer = bytearray()
        end = time.monotonic() + _DISCARD_TIME
        while data := self._receive(_CHUNK, 0.0):
            dropped += data
            if time.monotonic() >= end:
                break
        return bytes(dropped)

    # Exchanges that were broken off.

    def _write_failed(self, error: BaseException) -> None:
        if isinstance(error, QMI_TransportLostException):
            self._lost(error)
        elif not isinstance(error, NotImplementedError | TypeError | ValueError):
            # How much of it went out is not known: a signal may have come right behind the last byte.
            self._step = _PARTIAL

    def _read_failed(self, error: BaseException, owed: Owed) -> None:
        if isinstance(error, QMI_TransportLostException):
            self._lost(error)
        elif isinstance(error, QMI_EndOfInputException | NotImplementedError | TypeError):
            pass  # a message that was shorter than expected, and came whole; or there was no reading at all
        elif self._step in (_ASKED, _UNSURE):
            self._step, self._owed = _LATE, owed

    def _unread(self, data: bytes, owed: Owed) -> None:
        """Put what was read of an answer back in front, where the rest of it did not come.

        For protocols whose answers say in their first bytes how long they are.
        """
        self._read_buffer = bytearray(data) + self._read_buffer
        if self._step == _LATE:
            self._owed = owed

    def _recover(self) -> None:
        """See to it that the next answer will be that of the next question."""
        if self._step == _LOST:
            self._renew()
            return
        if self._step == _UNSURE:
            self._drop_received()
            self._step = _IDLE
            return
        if self._resynchronize is not None:
            self._resynchronize_by_driver(self._resynchronize)
            return
        recovery = self._out_of_step.recovery
        if recovery == "ignore":
            return
        if recovery == "drain" and (self._clear_device() or self._drain()):
            self._step = _IDLE
            return
        if recovery == "reconnect" or self._renewal_drops_answers:
            _logger.warning("%s: an answer is owed, so the connection is made anew", self)
            self._renew()
            return
        if self._step == _PARTIAL:
            raise QMI_OutOfStepException(
                f"Writing to {self} was broken off, and the device may hold a part of a command. Close and open the "
                "transport, or say by configure(resynchronize=...) how the device is made to forget it"
            )
        _logger.warning(
            "%s: the owed answer has not come within %g s and is taken as lost", self, self._out_of_step.drain_timeout
        )
        self._step = _IDLE

    def _resynchronize_by_driver(self, resynchronize: Callable[[Any], object]) -> None:
        step, owed = self._step, self._owed
        self._step = _IDLE
        try:
            resynchronize(self)
        except BaseException:
            if self._step != _LOST:
                self._step, self._owed = step, owed
            raise
        if self._step <= _ASKED:
            self._step = _IDLE

    def _drain(self) -> bool:
        """Wait for the owed answer and drop it, with all else that is there; False if it does not come."""
        if self._step == _PARTIAL:
            return False
        deadline = time.monotonic() + self._out_of_step.drain_timeout
        late = bytearray(self._read_buffer)
        self._read_buffer = bytearray()
        while not self._owed.is_in(late):
            data = self._receive(_CHUNK, max(0.0, deadline - time.monotonic()))
            if not data:
                return False
            late += data
        # An answer that is known by its length alone may go on behind it: it is over when the device is silent.
        while self._owed.is_counted and (data := self._receive(_CHUNK, _QUIET)) and time.monotonic() < deadline:
            late += data
        late += self._drop_received()
        _logger.info("%s: %d bytes of an answer that came late were dropped", self, len(late))
        return True

    # Connections that are lost.

    def _check_not_lost(self) -> None:
        if self._step == _LOST:
            if self._has_asked:
                raise QMI_TransportLostException(f"The connection {self} is lost; the next write makes it again")
            self._renew()

    def _lost(self, error: QMI_TransportLostException) -> None:
        if self._reconnect is None or self._step == _LOST:
            return
        self._step = _LOST
        self._disconnect_quietly()
        self._tell("lost", str(error))

    def _renew(self) -> None:
        """Make the connection anew, with a check of who answers."""
        reconnect = self._reconnect or Reconnect(attempts=1)
        self._disconnect_quietly()
        self._read_buffer = bytearray()
        self._step = _LOST
        failure: Exception = OSError("there was no attempt")
        for wait in reconnect.delays():
            if wait:
                time.sleep(wait)
            try:
                self._connect()
            except (OSError, QMI_EndOfInputException, QMI_InstrumentException) as error:
                failure = error
            else:
                again = self._greet(reconnect)
                if again is None:
                    return
                failure = again
            self._tell("failed", f"{type(failure).__name__}: {failure}")
        raise QMI_TransportLostException(
            f"The connection {self} cannot be made again ({reconnect.attempts} attempts): {failure}"
        ) from failure

    def _greet(self, reconnect: Reconnect) -> Exception | None:
        """Check who answers on a new connection, and restore its settings; return why to try again."""
        self._step = _IDLE
        try:
            self._check_identity(reconnect)
            if reconnect.restore is not None:
                reconnect.restore(self)
        except (OSError, QMI_EndOfInputException) as error:
            self._give_up_connection()
            return error
        except BaseException:
            self._give_up_connection()
            raise
        self._step = _IDLE
        self._has_asked = False
        self._tell("restored", "the connection is made again")
        return None

    def _give_up_connection(self) -> None:
        self._disconnect_quietly()
        self._step = _LOST

    def _identify(self, reconnect: Reconnect) -> object:
        if reconnect.identify is None:
            return None
        if callable(reconnect.identify):
            return reconnect.identify(self)
        self.write(reconnect.identify.encode("ascii") + b"\n")
        return self.read_until(b"\n", 5.0).strip()

    def _check_identity(self, reconnect: Reconnect) -> None:
        found = self._identify(reconnect)
        if self._identity is not None and found != self._identity:
            self._tell("replaced", f"was {self._identity!r}, is {found!r}")
            raise QMI_InstrumentException(f"Another device answers at {self}: was {self._identity!r}, is {found!r}")

    def _disconnect_quietly(self) -> None:
        with suppress(OSError, QMI_InstrumentException):
            self._disconnect()

    def _tell(self, what: str, detail: str) -> None:
        level = logging.INFO if what == "restored" else logging.WARNING
        _logger.log(level, "%s: connection %s: %s", self, what, detail)
        if self._reconnect is not None and self._reconnect.on_event is not None:
            self._reconnect.on_event(ConnectionEvent(what, detail))
