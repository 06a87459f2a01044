"""What a transport knows of its line: what was received and not read, what is owed, and whether it is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Self

from qmi.devices import traffic_service as _traffic_service  # noqa: F401 - contexts with transports have $traffic
from qmi.devices.exchange import OutOfStep, Owed, Step, checked_out_of_step
from qmi.devices.owner import owner_name
from qmi.devices.reconnect import ConnectionEvent, Reconnect, reconnect_of
from qmi.devices.traffic import Tap, log, traffic_name, watch
from qmi.errors import (
    QMI_EndOfInputException,
    QMI_InstrumentException,
    QMI_InvalidOperationException,
    QMI_OutOfStepException,
    QMI_TimeoutException,
    QMI_TransportLostException,
)

_logger = logging.getLogger("qmi.core.transport")

DEBUG = logging.DEBUG
# Plain numbers: each exchange compares them several times.
IDLE, ASKED, UNSURE, LATE, PARTIAL, LOST = (int(step) for step in Step)
CHUNK = 65536
SHORT = 4096
"""For how much the first read of an answer asks: most are shorter, and memory for more is not for nothing."""
BIG = 65536
SHOWN = 40
"""How many bytes of what was received a message shows."""
SHOWN_REASON = 500
"""How many letters of why it could not be opened."""
QUIET = 0.02
"""After how long without a byte an answer is taken to be over, in seconds."""
DISCARD_TIME = 1.0
"""For how long a device that never stops sending is listened to when what it sent is dropped, in seconds."""


MAY_RENEW = (OSError, QMI_EndOfInputException)
"""What a new connection may fail with, so that another attempt makes sense."""


class Line:
    """The state of a transport, blocking or awaited, and the decisions about it."""

    _renewal_drops_answers: ClassVar[bool] = False
    """Whether an answer that is late cannot arrive on a new connection."""
    reads_messages: bool = False
    """Whether answers are messages with an end of their own."""

    def __init__(self) -> None:
        # Some tests of drivers put bytes here.
        self._read_buffer: bytearray | bytes = bytearray()
        self._step = IDLE
        self._owed = Owed()
        self._unread: list[str] = []
        self._owner = ""
        self._refusal = ""
        self._descriptor = ""
        self._has_asked = False
        self._out_of_step = OutOfStep()
        self._resynchronize: Callable[[Any], object] | None = None
        self._reconnect: Reconnect | None = None
        self._identity: object = None
        self._traffic_owner = owner_name() or self._short_name()
        self._traffic = watch(self, self._traffic_owner)

    def configure(
        self,
        *,
        reconnect: Reconnect | bool | str | None = None,
        out_of_step: str | None = None,
        drain_timeout: float | None = None,
        resynchronize: Callable[[object], object] | None = None,
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
            self._owner = self._traffic_owner = name
            self.watch()
        return self

    @property
    def traffic_name(self) -> str:
        """Name of the instrument in the logger ``qmi.traffic.<instrument>``."""
        return traffic_name(self._traffic_owner)

    def watch(self) -> None:
        """Tell the traffic to those who want to know by now."""
        self._traffic = watch(self, self._traffic_owner)

    def _note(self, event: str, data: bytes | bytearray = b"") -> None:
        """Tell those who record, if any, what happened besides writing and reading."""
        if isinstance(self._traffic, Tap):
            self._traffic.note(event, bytes(data))

    @property
    def reconnect(self) -> Reconnect | None:
        """How a lost connection is made again; None if it is not."""
        return self._reconnect

    @property
    def is_in_step(self) -> bool:
        """Whether no answer is owed: the next one will belong to the next question."""
        return self._step <= ASKED

    def _short_name(self) -> str:
        return type(self).__name__

    def _drop_line(self) -> None:
        """End the connection, which may be lost, without waiting for anything; a subclass writes this."""

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Hold a question and its answer together, for drivers that do other things between the two.

        If the block is left by an exception, whatever it is, the answer counts as owed, as after a read that failed.
        """
        try:
            yield
        except BaseException:
            self.interrupted(Owed(b"", 1))
            raise

    def _served(self, direction: str, data: bytes | memoryview) -> None:
        if self._step == LATE and data:
            self._step = ASKED
        if self._unread and data:
            del self._unread[0]
        if data and self._traffic.isEnabledFor(DEBUG):
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

    def _write_failed(self, error: BaseException, before: int) -> None:
        """What a write that raised leaves behind; until then it is taken to have been done in part.

        A signal may come right behind the last byte, so only these say that nothing went out.
        """
        if isinstance(error, QMI_TransportLostException):
            self._step = before
            self._note("lost in write")
            self._lost(error)
        elif isinstance(error, NotImplementedError | TypeError | ValueError):
            self._step = before

    def _read_failed(self, error: BaseException, owed: Owed) -> None:
        if isinstance(error, QMI_TransportLostException):
            self._note("lost")
            self._lost(error)
        elif isinstance(error, QMI_EndOfInputException | NotImplementedError | TypeError):
            pass  # a message that was shorter than expected, and came whole; or there was no reading at all
        else:
            self.interrupted(owed)

    def interrupted(self, owed: Owed) -> None:
        """An exchange was broken off: its answer, if it has one, is still to come."""
        if self._step in (ASKED, UNSURE):
            self._step, self._owed = LATE, owed._replace(answers=max(1, len(self._unread)))

    def broken_off(self) -> None:
        """The same, before anything was read of the answer: it ends in what an owed one ended in before."""
        owed = self._owed
        self.interrupted(owed._replace(nbytes=1))

    def unread(self, data: bytes, owed: Owed) -> None:
        """Put what was read of an answer back in front, where the rest of it did not come.

        For protocols whose answers say in their first bytes how long they are.
        """
        self._read_buffer = bytearray(data) + self._read_buffer
        if self._step == LATE:
            self._owed = owed

    def unread_block(self, header: bytes, terminator: bytes, error: BaseException) -> None:
        """Reading a block was broken off by an error: its rest, or that of what came in its place, is still to come.

        Args:
            header: What was read of it, put back so that its length is known.
            terminator: What stands behind it.
            error: Why.
        """
        owed = Owed(terminator, 0, True)
        if not isinstance(error, QMI_EndOfInputException):  # else it came whole, and is shorter than a block
            self.interrupted(owed)
        self.unread(header, owed)

    def _lost(self, error: QMI_TransportLostException) -> None:
        if self._reconnect is None or self._step == LOST:
            return
        self._step = LOST
        self._disconnect_quietly()
        self._tell("lost", str(error))

    def _half_a_command(self) -> QMI_OutOfStepException:
        return QMI_OutOfStepException(
            f"Writing to {self} was broken off, and the device may hold a part of a command. Close and open the "
            "transport, or say by configure(resynchronize=...) how the device is made to forget it"
        )

    def _no_renewal_helps(self) -> None:
        """The owed answer has not come, or only its beginning, and a new connection would change nothing.

        Raises:
            QMI_OutOfStepException: If the device may hold a part of a command.
        """
        if self._step == PARTIAL:
            raise self._half_a_command()
        wait = self._out_of_step.drain_timeout
        _logger.warning("%s: the owed answer has not come within %g s and is taken as lost", self, wait)
        self._note("dropped", self._read_buffer)
        self._read_buffer = bytearray()
        self._step = IDLE

    def _dropped_late(self) -> bool:
        """The owed answer has come: drop it."""
        _logger.info("%s: %d bytes of an answer that came late were dropped", self, len(self._read_buffer))
        self._note("dropped", self._read_buffer)
        self._read_buffer = bytearray()
        return True

    def _timeout(self, terminator: bytes, timeout: float | None) -> QMI_TimeoutException:
        have = len(self._read_buffer)
        what = f"without message terminator {terminator!r}"
        return self._timeout_with(f"Timeout after {have} bytes {what}", timeout, self._read_buffer)

    def _timeout_counted(
        self, have: int, expected: int, timeout: float | None, received: bytes | bytearray | memoryview
    ) -> QMI_TimeoutException:
        return self._timeout_with(f"Timeout after {have} bytes while expecting {expected}", timeout, received)

    def _timeout_with(
        self, text: str, timeout: float | None, received: bytes | bytearray | memoryview
    ) -> QMI_TimeoutException:
        self._note("timeout")
        where = f"{self}, {self._descriptor}" if self._descriptor else str(self)
        limit = "" if timeout is None else f" within {timeout:g} s"
        # The end of it: what is missing comes behind that.
        came = f"; received so far: {bytes(received[-SHOWN:])!r}" if len(received) else ""
        return QMI_TimeoutException(f"{text} from {where}{limit}{came}")

    def describe(self, descriptor: str) -> None:
        """Remember the text that this transport was made of, for messages."""
        self._descriptor = descriptor

    def _closed(self) -> QMI_InvalidOperationException:
        """What is raised where a closed transport is used."""
        if self._owner:
            return QMI_InvalidOperationException(
                f"Instrument {self._owner!r} is not open; call its open() first (its {type(self).__name__} is closed"
                f"{self._refusal})"
            )
        return QMI_InvalidOperationException(
            f"Operation not allowed on closed transport {type(self).__name__}; call its open() first{self._refusal}"
        )

    def _refused(self, error: BaseException) -> None:
        """Opening has failed, which whoever uses the closed transport later is told."""
        self._note("refused")
        self._refusal = f"; opening it failed: {type(error).__name__}: {str(error)[:SHOWN_REASON]}"

    # Questions that were written, and whose answers the driver is to read.

    def question_written(self, question: str) -> None:
        """A question went out whose answer the driver reads itself, later."""
        self._unread.append(question)

    def _unread_dropped(self, dropped: bytes) -> None:
        """Forget the questions whose answers are among what was dropped; each is taken to be one line."""
        if self._unread and dropped:
            del self._unread[: max(1, dropped.count(b"\n"))]

    def owe_unread(self, terminator: bytes, asked: str) -> None:
        """Let the answers that nobody has read count as owed: something else is asked now, and they would answer that.

        Args:
            terminator: What they end in.
            asked: What is asked now, for the log.
        """
        if not self._unread:
            return
        _logger.warning(
            "%s: the answer to %s was not read, and is dropped before %r is sent: a question belongs in ask()",
            self,
            ", ".join(repr(question) for question in self._unread),
            asked,
        )
        self.interrupted(Owed(terminator, 1))

    def _is_lost(self) -> bool:
        """Whether the connection is to be made anew before anything can be read.

        Raises:
            QMI_TransportLostException: If a question has been asked on it, whose answer is lost, too.
        """
        if self._step == LOST and self._has_asked:
            raise QMI_TransportLostException(f"The connection {self} is lost; the next write makes it again")
        return self._step == LOST

    def _renewal_failed(self, failure: Exception) -> QMI_TransportLostException:
        return QMI_TransportLostException(
            f"The connection {self} cannot be made again, and is tried by the next write: "
            f"{type(failure).__name__}: {failure}"
        )

    def _compare_identity(self, found: object) -> None:
        if self._identity is not None and found != self._identity:
            self._tell("replaced", f"was {self._identity!r}, is {found!r}")
            raise QMI_InstrumentException(f"Another device answers at {self}: was {self._identity!r}, is {found!r}")

    def _renewed(self) -> None:
        self._step = IDLE
        self._has_asked = False
        self._unread.clear()
        self._tell("restored", "the connection is made again")

    def _disconnect_quietly(self) -> None:
        with suppress(OSError, QMI_InstrumentException):
            self._drop_line()

    def _give_up_connection(self) -> None:
        self._disconnect_quietly()
        self._step = LOST

    def _tell(self, what: str, detail: str) -> None:
        level = logging.INFO if what == "restored" else logging.WARNING
        _logger.log(level, "%s: connection %s: %s", self, what, detail)
        if self._reconnect is not None and self._reconnect.on_event is not None:
            self._reconnect.on_event(ConnectionEvent(what, detail))
