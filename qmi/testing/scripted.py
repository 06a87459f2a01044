"""Transports whose device is a script: what must be written, what is answered, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import trio
import trio.testing

from qmi.devices.async_transport import AsyncTransport
from qmi.devices.transport import DeviceTransport
from qmi.errors import QMI_EndOfInputException
from qmi.testing.clock import SimulatedClock, current_clock
from qmi.testing.script import Script


class _Clock:
    """That of simulated time, where it is simulated, else one of its own."""

    def __init__(self) -> None:
        self._own = SimulatedClock()

    def monotonic(self) -> float:
        return (current_clock() or self._own).now()

    def sleep(self, seconds: float, /) -> None:
        (current_clock() or self._own).advance(seconds)


class _AsyncClock:
    """That of the trio run, where it is virtual; else as in plain transports."""

    def __init__(self) -> None:
        self._plain = _Clock()

    def current_time(self) -> float:
        return trio.current_time() if _time_is_virtual() else self._plain.monotonic()

    async def sleep(self, seconds: float) -> None:
        if _time_is_virtual():
            await trio.sleep(seconds)
        else:
            await trio.lowlevel.checkpoint()
            self._plain.sleep(seconds)


class _Scripted:
    """What both kinds of scripted transports have in common."""

    _script: Script
    _may_be_silent = False

    @contextmanager
    def _silence_allowed(self) -> Iterator[None]:
        """Within the block, a read that the script answers with nothing is no mistake."""
        self._may_be_silent = True
        try:
            yield
        finally:
            self._may_be_silent = False

    def check_done(self) -> None:
        """See to it that all went by the script, to its end; the last lines of a test.

        Raises:
            ScriptMismatchError: If the driver did something else, or there are steps left.
        """
        __tracebackhide__ = True
        self._script.check_done()

    def __str__(self) -> str:
        return "scripted device"


class ScriptedTransport(_Scripted, DeviceTransport):
    r"""A transport for tests: a script says what the driver must write, and what the device answers.

    Each step is what is written, alone or in a pair with the answer. Texts get the terminator, bytes are taken as they
    are, and answers may be late, lost, or not come at all::

        >>> from qmi.core.scpi_protocol import ScpiProtocol
        >>> from qmi.testing import Late, ScriptedTransport
        >>> with ScriptedTransport([("*IDN?", "ACME,Meter,1,2"), "RANG 10", ("MEAS?", Late("1.5", 3.0))]) as transport:
        ...     device = ScpiProtocol(transport, default_timeout=5.0)
        ...     device.ask("*IDN?")
        ...     device.write("RANG 10")
        ...     device.ask("MEAS?")  # at once
        'ACME,Meter,1,2'
        '1.5'

    In all else it is a transport as any other: late answers are not mixed up, and a lost connection is made again if
    ``reconnect`` says so. Nothing waits: time-outs and delays pass by a clock of its own, or by that of
    :func:`simulated_time`.

    What is written otherwise than in the script raises :class:`ScriptMismatchError` in the driver, again at each later
    use, and in :meth:`check_done`. Closing the transport while steps are left does too, unless the next one is
    ``CLOSED``. How what is written is cut into pieces does not matter.

    Args:
        steps: The steps: ``"OUTP ON"`` is written and not answered, ``("VOLT?", "5.0")`` is. What is written may be a
            compiled regular expression, which all of the text must match. Answers: a text; bytes; :func:`block`;
            :class:`Late`; ``NO_ANSWER``; ``LOST``; or several of them in a list. Further steps: ``LOST``,
            ``REFUSED``, ``CLOSED``, :class:`Unasked`.
        terminator: What stands behind a text that is written.
        answer_terminator: What stands behind a text that is answered; None for the same.
        messages: Whether each answer is a message with an end of its own, as with USBTMC and GPIB, where a read takes a
            message whatever it ends in.
        check_on_close: Whether steps that are left are an error when the transport is closed, and not only in
            :meth:`check_done`.
        name: What the script is called in messages.
        origins: For each step where it is from, for messages.

    Raises:
        QMI_InvalidValueException: If a step is none.
    """

    def __init__(
        self,
        steps: Iterable[object],
        *,
        terminator: str = "\n",
        answer_terminator: str | None = None,
        messages: bool = False,
        check_on_close: bool = True,
        name: str = "",
        origins: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._script = _script(steps, terminator, answer_terminator, name, origins)
        self.reads_messages = messages
        self._check_on_close = check_on_close
        self._clock = _Clock()

    def _open_transport(self) -> None:
        self._script.check()
        super()._open_transport()

    def _connect(self) -> None:
        self._script.connect()

    def close(self) -> None:
        """End the connection.

        Raises:
            ScriptMismatchError: If there are steps left, and the next one is not ``CLOSED``.
        """
        super().close()
        self._script.close(is_checked=self._check_on_close)

    def write(self, data: bytes) -> None:
        """Write what the script expects; see :meth:`QMI_Transport.write`."""
        self._script.check()
        super().write(data)

    def _send(self, data: bytes) -> None:
        if self.reads_messages:
            self._read_buffer = bytearray()
        self._script.write(bytes(data), self._clock.monotonic())

    def _receive(self, size: int, timeout: float | None) -> bytes:
        self._clock.sleep(self._script.wait(timeout, self._clock.monotonic(), may_be_silent=self._may_be_silent))
        return self._script.receive(size, timeout, self._clock.monotonic())

    def _read_some(self, nbytes: int, timeout: float | None) -> bytes:
        with self._silence_allowed():
            return super()._read_some(nbytes, timeout)

    def _drain(self) -> bool:
        with self._silence_allowed():
            if not self.reads_messages:
                return super()._drain()
            return bool(self._receive(2**62, self._out_of_step.drain_timeout)) and self._dropped_late()

    def _read_until(self, terminator: bytes, timeout: float | None) -> bytes:
        if not self.reads_messages:
            return super()._read_until(terminator, timeout)
        self._fetch_message(timeout)
        return self._take(len(self._read_buffer))

    def _read_exactly(self, nbytes: int, timeout: float | None) -> bytes:
        if self.reads_messages:
            self._fetch_message(timeout)
            if len(self._read_buffer) < nbytes:
                raise QMI_EndOfInputException(
                    f"The message has {len(self._read_buffer)} bytes where {nbytes} were expected"
                )
        return super()._read_exactly(nbytes, timeout)

    def _fetch_message(self, timeout: float | None) -> None:
        if self._read_buffer:
            return
        self._check_not_lost()
        message = self._receive(2**62, timeout)
        if not message:
            raise self._timeout_with("Timeout: no message", timeout, b"")
        self._note("message")
        self._keep(message)


class AsyncScriptedTransport(_Scripted, AsyncTransport):
    """The same for drivers in the event loop.

    On a virtual clock (:func:`run_in_virtual_time`, or the ``autojump_clock`` of pytest-trio) its time-outs pass by
    that clock; else by one of its own. For drivers of devices that speak in messages, put a :class:`ScriptedTransport`
    into an ``AsyncThreadTransport``.

    Args:
        steps: The steps; see :class:`ScriptedTransport`.
        terminator: What stands behind a text that is written.
        answer_terminator: What stands behind a text that is answered; None for the same.
        check_on_close: Whether steps that are left are an error when the transport is closed, and not only in
            :meth:`check_done`.
        name: What the script is called in messages.
        origins: For each step where it is from, for messages.

    Raises:
        QMI_InvalidValueException: If a step is none.
    """

    def __init__(
        self,
        steps: Iterable[object],
        *,
        terminator: str = "\n",
        answer_terminator: str | None = None,
        check_on_close: bool = True,
        name: str = "",
        origins: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._script = _script(steps, terminator, answer_terminator, name, origins)
        self._check_on_close = check_on_close
        self._clock = _AsyncClock()

    async def open(self) -> None:
        """Make the connection; see :meth:`QMI_Transport.open`."""
        self._script.check()
        await super().open()

    async def _connect(self) -> None:
        self._script.connect()

    async def close(self) -> None:
        """End the connection.

        Raises:
            ScriptMismatchError: If there are steps left, and the next one is not ``CLOSED``.
        """
        await super().close()
        self._script.close(is_checked=self._check_on_close)

    async def write(self, data: bytes) -> None:
        """Write what the script expects; see :meth:`QMI_Transport.write`."""
        self._script.check()
        await super().write(data)

    async def _send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._sent = len(data)
        self._script.write(bytes(data), self._clock.current_time())

    async def _receive(self, size: int, timeout: float | None) -> bytes:
        # The wait may be cancelled, so what has come is taken behind it, at once.
        await self._clock.sleep(
            self._script.wait(timeout, self._clock.current_time(), may_be_silent=self._may_be_silent)
        )
        return self._script.receive(size, timeout, self._clock.current_time())

    async def _receive_into(self, view: memoryview, timeout: float | None) -> int:
        data = await self._receive(len(view), timeout)
        view[: len(data)] = data
        return len(data)

    async def _read_some(self, nbytes: int, timeout: float | None) -> bytes:
        with self._silence_allowed():
            return await super()._read_some(nbytes, timeout)

    async def _drain(self) -> bool:
        with self._silence_allowed():
            return await super()._drain()


def _script(
    steps: Iterable[object], terminator: str, answer_terminator: str | None, name: str, origins: Sequence[str]
) -> Script:
    answered = terminator if answer_terminator is None else answer_terminator
    return Script(steps, terminator.encode("latin-1"), answered.encode("latin-1"), name=name, origins=origins)


def _time_is_virtual() -> bool:
    return isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)


@contextmanager
def open_script(
    steps: Iterable[object], *, terminator: str = "\n", answer_terminator: str | None = None, messages: bool = False
) -> Iterator[ScriptedTransport]:
    """A scripted transport that is checked at the end of the block: all steps must have been used.

    Args:
        steps: The steps; see :class:`ScriptedTransport`.
        terminator: What stands behind a text that is written.
        answer_terminator: What stands behind a text that is answered; None for the same.
        messages: Whether each answer is a message with an end of its own.

    Yields:
        The transport, not open.

    Raises:
        ScriptMismatchError: If the driver did something else, even where it caught that itself, or steps are left.
    """
    # An error of the block must not be covered by that of the steps that are left when it closes the driver.
    transport = ScriptedTransport(
        steps,
        terminator=terminator,
        answer_terminator=answer_terminator,
        messages=messages,
        check_on_close=False,
    )
    yield transport
    transport.check_done()
