"""Transports for drivers in the event loop: what :mod:`qmi.devices.transport` does, awaited and truly cancellable."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import trio

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

_A = TypeVar("_A")
_T = TypeVar("_T")


class AsyncClock(Protocol):
    """What a transport counts its timeouts by."""

    def current_time(self) -> float:
        """The time, in seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class AsyncTransport(Line):
    """A way to a device, for drivers whose methods are ``async def``.

    It has the methods of a blocking transport, to be awaited, and the same promises. A call that is cancelled ends at
    once. Bytes that have come stay for the next read, and an exchange that was cancelled between question and answer is
    finished or forgotten before the next one. One task uses it at a time, as the turns of an instrument see to.

    A subclass writes :meth:`_connect`, :meth:`_drop_line`, :meth:`_send`, :meth:`_receive_now` and
    :meth:`_wait_to_receive`; one whose device is not real may have a ``_clock`` of its own.
    """

    _clock: AsyncClock = trio

    def __init__(self) -> None:
        super().__init__()
        self._is_open = False
        self._sent = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_open:
            await self.close()

    def _check_is_open(self) -> None:
        if not self._is_open:
            raise self._closed()

    async def _connect(self) -> None:
        """Make the connection."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is opened")

    def _write_failed(self, error: BaseException, before: int) -> None:
        if isinstance(error, trio.Cancelled) and not self._sent:
            self._step = before  # nothing went out
        else:
            super()._write_failed(error, before)

    async def _send(self, data: bytes) -> None:
        """Send all bytes, or raise; ``_sent`` is how many went out."""
        raise NotImplementedError(f"{type(self).__name__} cannot write")

    def _receive_now(self, size: int) -> bytes:
        """Receive what is there, at most so many bytes; none if there is nothing.

        Raises:
            QMI_TransportLostException: If the connection is gone.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot read")

    def _receive_into_now(self, view: memoryview) -> int:
        """The same into a buffer; return how many bytes came."""
        data = self._receive_now(len(view))
        view[: len(data)] = data
        return len(data)

    async def _wait_to_receive(self) -> None:
        """Wait until there is something to receive; or until something may have changed."""
        raise NotImplementedError(f"{type(self).__name__} cannot read")

    async def _receive(self, size: int, timeout: float | None) -> bytes:
        """Receive some bytes; none if the time is over."""
        return await self._received(self._receive_now, size, timeout) or b""

    async def _receive_into(self, view: memoryview, timeout: float | None) -> int:
        """The same into a buffer; return how many bytes came."""
        return await self._received(self._receive_into_now, view, timeout) or 0

    async def _received(self, receive: Callable[[_A], _T], where: _A, timeout: float | None) -> _T | None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if result := receive(where):
            # Others have their turn, too; and what has come cannot be lost by a cancellation here.
            await trio.lowlevel.cancel_shielded_checkpoint()
            return result
        if timeout is not None and timeout <= 0:
            return None
        if timeout is None:
            return await self._received_later(receive, where)
        with trio.move_on_after(timeout):
            return await self._received_later(receive, where)
        return None

    async def _received_later(self, receive: Callable[[_A], _T], where: _A) -> _T:
        while True:
            await self._wait_to_receive()
            if result := receive(where):
                return result

    async def _clear_device(self) -> bool:
        """Have the device forget questions and answers; False if this kind of transport has no way to."""
        return False

    async def open(self) -> None:
        """Make the connection.

        Raises:
            QMI_InvalidOperationException: If it is open already.
            OSError: If it cannot be made.
            QMI_TimeoutException: If that takes too long; this is an ``OSError`` too.
        """
        if self._is_open:
            raise QMI_InvalidOperationException(f"Operation not allowed on open transport {type(self).__name__}")
        self._read_buffer = bytearray()
        self._step = IDLE
        self._unread.clear()
        self._has_asked = False
        try:
            await self._connect()
        except BaseException as error:
            self._refused(error)
            raise
        self._note("open")
        self._refusal = ""
        self._is_open = True
        if self._reconnect is None:
            return
        try:
            self._identity = await self._identify(self._reconnect)
        except BaseException:
            self._is_open = False
            self._note("close")
            self._disconnect_quietly()
            raise
        self._step = IDLE

    async def close(self) -> None:
        """End the connection.

        Raises:
            QMI_InvalidOperationException: If it is not open.
        """
        self._check_is_open()
        self._is_open = False
        self._note("close")
        self._read_buffer = bytearray()
        self._step = IDLE
        self._drop_line()
        await trio.lowlevel.checkpoint()

    async def write(self, data: bytes) -> None:
        """Send bytes to the device.

        Args:
            data: What to send, all of it. If this is cancelled before the first byte, nothing is sent.

        Raises:
            QMI_InvalidOperationException: If the transport is not open.
            QMI_OutOfStepException: If an answer is owed, and there is no way to be sure of the next one.
            QMI_TransportLostException: If the connection is gone.
        """
        if not self._is_open:
            self._check_is_open()
        if self._step > ASKED:
            await self._recover()
            self._unread.clear()
        if self._traffic.isEnabledFor(DEBUG):
            log(self._traffic, "write", data)
        before, self._step = self._step, PARTIAL
        self._sent = 0
        try:
            await self._send(data)
        except BaseException as error:
            self._write_failed(error, before)
            raise
        self._step = ASKED
        self._has_asked = True

    async def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """Receive a number of bytes; see :meth:`QMI_Transport.read`."""
        if not self._is_open:
            self._check_is_open()
        try:
            data = await self._read_exactly(nbytes, timeout)
        except BaseException as error:
            self._read_failed(error, Owed(b"", nbytes))
            raise
        self._served("read", data)
        return data

    async def read_until(self, message_terminator: bytes, timeout: float | None = None) -> bytes:
        """Receive bytes up to a terminator; see :meth:`QMI_Transport.read_until`."""
        if not self._is_open:
            self._check_is_open()
        try:
            data = await self._read_until(message_terminator, timeout)
        except BaseException as error:
            self._read_failed(error, Owed(message_terminator, 1))
            raise
        self._served("read", data)
        return data

    async def read_until_timeout(self, nbytes: int, timeout: float) -> bytes:
        """Receive as many bytes as come in a time; see :meth:`QMI_Transport.read_until_timeout`."""
        if not self._is_open:
            self._check_is_open()
        try:
            data = await self._read_some(nbytes, timeout)
        except BaseException as error:
            self._read_failed(error, Owed(b"", 1))
            raise
        self._served("read", data)
        if len(data) < nbytes:
            self._note("timeout")
            if self._step == ASKED:
                self._step = UNSURE
        return data

    async def readinto(self, buffer: Any, timeout: float | None = None) -> None:
        """Receive bytes until a buffer is full; see :meth:`QMI_Transport.readinto`."""
        if not self._is_open:
            self._check_is_open()
        view = memoryview(buffer).cast("B")
        try:
            await self._read_into(view, timeout)
        except BaseException as error:
            self._read_failed(error, Owed(b"", len(view)))
            raise
        self._served("read", view)

    async def discard_read(self) -> None:
        """Drop what has been received and not been read."""
        if not self._is_open:
            self._check_is_open()
        with suppress(QMI_EndOfInputException):
            dropped = await self._drop_received()
            if self._step == LATE and self._owed.is_in(dropped):
                self._step = ASKED
            self._unread_dropped(dropped)

    async def _read_until(self, terminator: bytes, timeout: float | None) -> bytes:
        deadline = None if timeout is None else self._clock.current_time() + timeout
        is_first = True
        if not self._read_buffer:
            await self._check_not_lost()
            data = await self._receive(SHORT, timeout) if terminator else b""
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
            await self._check_not_lost()
            remaining = None if deadline is None else deadline - self._clock.current_time()
            # A device that never stops sending must not keep this going for ever.
            data = await self._receive(CHUNK, remaining) if remaining is None or remaining > 0 or is_first else b""
            if not data:
                raise self._timeout(terminator, timeout)
            is_first = False
            self._keep(data)

    async def _read_exactly(self, nbytes: int, timeout: float | None) -> bytes:
        if nbytes - len(self._read_buffer) >= BIG:
            memory = bytearray(nbytes)
            await self._read_into(memoryview(memory), timeout)
            return bytes(memory)
        await self._fill(nbytes, timeout)
        if len(self._read_buffer) < nbytes:
            raise self._timeout_counted(len(self._read_buffer), nbytes, timeout, self._read_buffer)
        return self._take(nbytes)

    async def _read_some(self, nbytes: int, timeout: float | None) -> bytes:
        try:
            await self._fill(nbytes, timeout)
        except QMI_EndOfInputException:
            if not self._read_buffer:
                raise
        return self._take(min(nbytes, len(self._read_buffer)))

    async def _fill(self, nbytes: int, timeout: float | None) -> None:
        """Receive until there are that many bytes, or the time is over."""
        deadline = None if timeout is None else self._clock.current_time() + timeout
        while (lacking := nbytes - len(self._read_buffer)) > 0:
            await self._check_not_lost()
            remaining = None if deadline is None else max(0.0, deadline - self._clock.current_time())
            data = await self._receive(lacking, remaining)
            if not data:
                return
            self._keep(data)

    async def _read_into(self, view: memoryview, timeout: float | None) -> None:
        deadline = None if timeout is None else self._clock.current_time() + timeout
        have = min(len(self._read_buffer), len(view))
        view[:have] = self._read_buffer[:have]
        try:
            while have < len(view):
                await self._check_not_lost()
                remaining = None if deadline is None else max(0.0, deadline - self._clock.current_time())
                count = await self._receive_into(view[have:], remaining)
                if not count:
                    raise self._timeout_counted(have, len(view), timeout, view[:have])
                have += count
        except BaseException:
            # As after any read that failed, what has come stays for the next one.
            self._read_buffer = bytearray(view[:have])
            raise
        self._read_buffer = bytearray(self._read_buffer[len(view) :])

    async def _drop_received(self) -> bytes:
        """Drop what is there, and return it."""
        dropped = bytearray(self._read_buffer)
        self._read_buffer = bytearray()
        end = self._clock.current_time() + DISCARD_TIME
        while data := await self._receive(CHUNK, 0.0):
            dropped += data
            if self._clock.current_time() >= end:
                break
        self._note("dropped", dropped)
        return bytes(dropped)

    # Exchanges that were broken off.

    async def _recover(self) -> None:
        """See to it that the next answer will be that of the next question."""
        if self._step == LOST:
            await self._renew()
            return
        try:
            if self._step == UNSURE:
                await self._drop_received()
                self._step = IDLE
            elif self._resynchronize is not None:
                await self._resynchronize_by_driver(self._resynchronize)
            elif self._out_of_step.recovery != "ignore":
                await self._get_in_step(self._out_of_step.recovery == "reconnect")
        except QMI_TransportLostException as error:
            self._lost(error)
            raise

    async def _get_in_step(self, at_once: bool) -> None:
        if not at_once and (await self._clear_device() or await self._drain()):
            self._step = IDLE
        elif at_once or self._renewal_drops_answers:
            await self._renew()
        else:
            self._no_renewal_helps()

    async def _resynchronize_by_driver(self, resynchronize: Callable[[object], object]) -> None:
        step, owed = self._step, self._owed
        self._step = IDLE
        try:
            await _awaited(resynchronize(self))
        except BaseException:
            if self._step != LOST:
                self._step, self._owed = step, owed
            raise
        if self._step <= ASKED:
            self._step = IDLE

    async def _drain(self) -> bool:
        """Wait for the owed answer and drop it, with all else that is there; False if it does not come."""
        if self._step == PARTIAL:
            return False
        deadline = self._clock.current_time() + self._out_of_step.drain_timeout
        # What comes stays in the buffer until all is there: if this is broken off too, nothing is forgotten.
        while not self._owed.is_in(self._read_buffer):
            data = await self._receive(CHUNK, deadline - self._clock.current_time())
            if not data:
                return False
            self._keep(data)
        # An answer that is known by its length alone may go on behind it: it is over when the device is silent.
        while self._owed.is_counted and self._clock.current_time() < deadline:
            if not (data := await self._receive(CHUNK, QUIET)):
                break
            self._keep(data)
        self._keep(await self._receive(CHUNK, 0.0))
        return self._dropped_late()

    # Connections that are lost.

    async def _check_not_lost(self) -> None:
        if self._step == LOST and self._is_lost():
            await self._renew()

    async def _renew(self) -> None:
        """Make the connection anew, with a check of who answers."""
        reconnect = self._reconnect or Reconnect()
        self._give_up_connection()
        self._read_buffer = bytearray()
        failure: Exception = OSError("there was no attempt")
        for wait in reconnect.delays():
            await self._clock.sleep(wait)
            try:
                await self._connect()
            except (*MAY_RENEW, QMI_InstrumentException) as error:
                self._note("refused")
                failure = error
            else:
                again = await self._greet(reconnect)
                if again is None:
                    self._renewed()
                    return
                failure = again
            self._tell("failed", f"{type(failure).__name__}: {failure}")
            if self._reconnect is None and isinstance(failure, QMI_TimeoutException):
                break  # that was long enough for somebody who has not asked for it
        raise self._renewal_failed(failure) from failure

    async def _greet(self, reconnect: Reconnect) -> Exception | None:
        """Check who answers on a new connection, and restore its settings; return why to try again."""
        self._step = IDLE
        try:
            self._compare_identity(await self._identify(reconnect))
            if reconnect.restore is not None:
                await _awaited(reconnect.restore(self))
        except MAY_RENEW as error:
            self._give_up_connection()
            return error
        except BaseException:
            self._give_up_connection()
            raise
        return None

    async def _identify(self, reconnect: Reconnect) -> object:
        if reconnect.identify is None:
            return None
        if callable(reconnect.identify):
            return await _awaited(reconnect.identify(self))
        await self.write(reconnect.identify.encode("ascii") + b"\n")
        return (await self.read_until(b"\n", 5.0)).strip()


async def _awaited(value: object) -> Any:
    """The value itself, or what it gives when it is awaited."""
    return await value if inspect.isawaitable(value) else value
