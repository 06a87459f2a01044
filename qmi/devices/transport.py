"""What all ways to a device have in common: bytes out and in, and no answer to the wrong question."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self

from qmi.devices.exchange import Owed
from qmi.devices.line import (
    ASKED,
    BIG,
    CHUNK,
    DEBUG,
    DISCARD_TIME,
    IDLE,
    LATE,
    LOST,
    MAY_RENEW,
    PARTIAL,
    QUIET,
    SHORT,
    UNSURE,
    Line,
)
from qmi.devices.reconnect import Reconnect
from qmi.devices.traffic import log
from qmi.errors import (
    QMI_EndOfInputException,
    QMI_InstrumentException,
    QMI_InvalidOperationException,
    QMI_TimeoutException,
    QMI_TransportLostException,
)


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


class Clock(Protocol):
    """What a transport counts its timeouts by."""

    def monotonic(self) -> float:
        """The time, in seconds."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        ...


class DeviceTransport(Line, QMI_Transport):
    """A transport that keeps questions and answers together, and can make a lost connection again.

    A subclass writes :meth:`_connect`, :meth:`_disconnect`, :meth:`_send` and :meth:`_receive`; one whose device is not
    real may have a ``_clock`` of its own.
    """

    _clock: Clock = time

    def __init__(self) -> None:
        QMI_Transport.__init__(self)
        Line.__init__(self)

    def _check_is_open(self) -> None:
        if not self._is_open:
            raise self._closed()

    # What a kind of transport does.

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
        self._step = IDLE
        self._unread.clear()
        self._has_asked = False
        try:
            self._connect()
        except BaseException as error:
            self._refused(error)
            raise
        self._note("open")
        self._refusal = ""

    def _close_transport(self) -> None:
        self._note("close")
        self._read_buffer = bytearray()
        self._step = IDLE
        # A connection that is lost is closed, too.
        with suppress(QMI_TransportLostException):
            self._disconnect()

    def _opened(self) -> None:
        if self._reconnect is not None:
            self._identity = self._identify(self._reconnect)
            self._step = IDLE

    # Writing and reading.

    def write(self, data: bytes) -> None:
        """Send bytes to the device; see :meth:`QMI_Transport.write`.

        Where the last answer was not read to its end, this first sees to it that it cannot be taken for the next one.

        Raises:
            QMI_OutOfStepException: If that is not possible.
        """
        if not self._is_open:
            self._check_is_open()
        if self._step > ASKED:
            self._recover()
            self._unread.clear()
        if self._traffic.isEnabledFor(DEBUG):
            log(self._traffic, "write", data)
        before, self._step = self._step, PARTIAL
        try:
            self._send(data)
        except BaseException as error:
            self._write_failed(error, before)
            raise
        self._step = ASKED
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
        if self._step == LATE:
            self._step = ASKED
        if self._unread:
            del self._unread[0]
        if self._traffic.isEnabledFor(DEBUG):
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
        if len(data) < nbytes:
            self._note("timeout")
            if self._step == ASKED:
                self._step = UNSURE
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
            if self._step == LATE and self._owed.is_in(dropped):
                self._step = ASKED
            self._unread_dropped(dropped)

    def _read_until(self, terminator: bytes, timeout: float | None) -> bytes:
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        is_first = True
        if not self._read_buffer:
            self._check_not_lost()
            data = self._receive(SHORT, timeout) if terminator else b""
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
            remaining = None if deadline is None else deadline - self._clock.monotonic()
            # A device that never stops sending must not keep this going for ever.
            data = self._receive(CHUNK, remaining) if remaining is None or remaining > 0 or is_first else b""
            if not data:
                raise self._timeout(terminator, timeout)
            is_first = False
            self._keep(data)

    def _read_exactly(self, nbytes: int, timeout: float | None) -> bytes:
        if nbytes - len(self._read_buffer) >= BIG:
            memory = bytearray(nbytes)
            self._read_into(memoryview(memory), timeout)
            return bytes(memory)
        self._fill(nbytes, timeout)
        if len(self._read_buffer) < nbytes:
            raise self._timeout_counted(len(self._read_buffer), nbytes, timeout, self._read_buffer)
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
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        while (lacking := nbytes - len(self._read_buffer)) > 0:
            self._check_not_lost()
            remaining = None if deadline is None else max(0.0, deadline - self._clock.monotonic())
            data = self._receive(lacking, remaining)
            if not data:
                return
            self._keep(data)

    def _read_into(self, view: memoryview, timeout: float | None) -> None:
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        have = min(len(self._read_buffer), len(view))
        view[:have] = self._read_buffer[:have]
        try:
            while have < len(view):
                self._check_not_lost()
                remaining = None if deadline is None else max(0.0, deadline - self._clock.monotonic())
                count = self._receive_into(view[have:], remaining)
                if not count:
                    raise self._timeout_counted(have, len(view), timeout, view[:have])
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
        end = self._clock.monotonic() + DISCARD_TIME
        while data := self._receive(CHUNK, 0.0):
            dropped += data
            if self._clock.monotonic() >= end:
                break
        self._note("dropped", dropped)
        return bytes(dropped)

    # Exchanges that were broken off.

    def _recover(self) -> None:
        """See to it that the next answer will be that of the next question."""
        if self._step == LOST:
            self._renew()
            return
        try:
            if self._step == UNSURE:
                self._drop_received()
                self._step = IDLE
            elif self._resynchronize is not None:
                self._resynchronize_by_driver(self._resynchronize)
            elif self._out_of_step.recovery != "ignore":
                self._get_in_step(self._out_of_step.recovery == "reconnect")
        except QMI_TransportLostException as error:
            self._lost(error)
            raise

    def _get_in_step(self, at_once: bool) -> None:
        if not at_once and (self._clear_device() or self._drain()):
            self._step = IDLE
        elif at_once or self._renewal_drops_answers:
            self._renew()
        else:
            self._no_renewal_helps()

    def _resynchronize_by_driver(self, resynchronize: Callable[[object], object]) -> None:
        step, owed = self._step, self._owed
        self._step = IDLE
        try:
            resynchronize(self)
        except BaseException:
            if self._step != LOST:
                self._step, self._owed = step, owed
            raise
        if self._step <= ASKED:
            self._step = IDLE

    def _drain(self) -> bool:
        """Wait for the owed answer and drop it, with all else that is there; False if it does not come."""
        if self._step == PARTIAL:
            return False
        deadline = self._clock.monotonic() + self._out_of_step.drain_timeout
        # What comes stays in the buffer until all is there: if this is broken off too, nothing is forgotten.
        while not self._owed.is_in(self._read_buffer):
            data = self._receive(CHUNK, max(0.0, deadline - self._clock.monotonic()))
            if not data:
                return False
            self._keep(data)
        # An answer that is known by its length alone may go on behind it: it is over when the device is silent.
        while self._owed.is_counted and self._clock.monotonic() < deadline and (data := self._receive(CHUNK, QUIET)):
            self._keep(data)
        self._keep(self._receive(CHUNK, 0.0))
        return self._dropped_late()

    # Connections that are lost.

    def _check_not_lost(self) -> None:
        if self._step == LOST and self._is_lost():
            self._renew()

    def _renew(self) -> None:
        """Make the connection anew, with a check of who answers."""
        reconnect = self._reconnect or Reconnect()
        self._give_up_connection()
        self._read_buffer = bytearray()
        failure: Exception = OSError("there was no attempt")
        for wait in reconnect.delays():
            if wait:
                self._clock.sleep(wait)
            try:
                self._connect()
            except (*MAY_RENEW, QMI_InstrumentException) as error:
                self._note("refused")
                failure = error
            else:
                again = self._greet(reconnect)
                if again is None:
                    self._renewed()
                    return
                failure = again
            self._tell("failed", f"{type(failure).__name__}: {failure}")
            if self._reconnect is None and isinstance(failure, QMI_TimeoutException):
                break  # that was long enough for somebody who has not asked for it
        raise self._renewal_failed(failure) from failure

    def _greet(self, reconnect: Reconnect) -> Exception | None:
        """Check who answers on a new connection, and restore its settings; return why to try again."""
        self._step = IDLE
        try:
            self._compare_identity(self._identify(reconnect))
            if reconnect.restore is not None:
                reconnect.restore(self)
        except MAY_RENEW as error:
            self._give_up_connection()
            return error
        except BaseException:
            self._give_up_connection()
            raise
        return None

    def _identify(self, reconnect: Reconnect) -> object:
        if reconnect.identify is None:
            return None
        if callable(reconnect.identify):
            return reconnect.identify(self)
        self.write(reconnect.identify.encode("ascii") + b"\n")
        return self.read_until(b"\n", 5.0).strip()

    def _drop_line(self) -> None:
        self._disconnect()
