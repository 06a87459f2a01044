"""Questions and answers of SCPI, over any transport."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from qmi.devices.descriptor_hints import check_is_transport
from qmi.devices.exchange import Owed
from qmi.devices.line import Line
from qmi.devices.scpi_errors import is_entry, is_no_error, is_question
from qmi.devices.transport import QMI_Transport
from qmi.errors import (
    QMI_InstrumentException,
    QMI_InvalidValueException,
    QMI_ScpiException,
    QMI_TimeoutException,
)
from qmi.parameters.blocks import as_array, block_header, check_length_digits, memory_for

_logger = logging.getLogger("qmi.core.scpi_protocol")

MOST_ERRORS = 100


class ScpiOptions:
    """What the blocking and the awaited protocol have in common: texts to bytes and back, and what devices differ in.

    Args:
        command_terminator: What a command ends in.
        response_terminator: What an answer ends in; "" where the end of a message is its end.
        default_timeout: For how long an answer is waited for, in seconds; None for ever.
        error_query: The question for the next entry of the error queue, such as ``"SYST:ERR?"``: asked after each
            command, until the queue is empty. None does not ask.
        completion_query: The question that is answered when the command before is done, such as ``"*OPC?"``: asked
            after each command that is no question. None does not ask.
        echo: Whether the device sends each command back, before its answer.
        command_delay: Least time between two commands, in seconds.
    """

    def __init__(
        self,
        command_terminator: str,
        response_terminator: str,
        default_timeout: float | None,
        error_query: str | None,
        completion_query: str | None,
        echo: bool,
        command_delay: float,
    ) -> None:
        if not 0 <= command_delay < float("inf"):
            raise QMI_InvalidValueException(f"command_delay must be a number of seconds >= 0, got {command_delay!r}")
        self._command_terminator = command_terminator.encode("ascii")
        self._response_terminator = response_terminator.encode("ascii")
        self._default_timeout = default_timeout
        self._error_query = error_query
        self._completion_query = completion_query
        self._echo = echo
        self._command_delay = command_delay
        self._next_command = 0.0
        self._has_policies = bool(error_query or completion_query)
        self._has_quirks = echo or command_delay > 0
        self._has_written_question = False
        self._unchecked: str | None = None
        """The command whose errors have not been read from the device's queue."""

    def _answer(self, response: bytes, decoder: str, cmd: str) -> str:
        terminator = self._response_terminator
        if not response.endswith(terminator):
            raise QMI_InstrumentException(
                f"Response was not terminated with expected terminator: got {response[-40:]!r}, expected it to end in "
                f"{terminator!r}, in answer to {cmd!r}"
            )
        text = response[: len(response) - len(terminator)]
        try:
            return text.decode(decoder)
        except UnicodeDecodeError as error:
            raise QMI_InstrumentException(
                f"Expected a text in {decoder} in answer to {cmd!r}, got {text[:40]!r}"
            ) from error

    def _delay(self) -> float:
        """For how long to wait before the next command, in seconds; counts from now."""
        now = time.monotonic()
        wait = max(0.0, self._next_command - now)
        self._next_command = now + wait + self._command_delay
        return wait

    def _check_echo(self, sent: bytes, received: bytes) -> None:
        if received.rstrip() != sent.rstrip():
            raise QMI_InstrumentException(f"The device echoed {received[:80]!r} where {sent[:80]!r} was sent")

    def _indefinite(self, data: bytes) -> bytes:
        """The data of a block of indefinite length, without what it ends in."""
        terminator = self._response_terminator
        if terminator and data[-len(terminator) :] != terminator:
            raise QMI_InstrumentException(f"A block of indefinite length does not end in {terminator!r}")
        return data[: len(data) - len(terminator)]

    def _check_terminator(self, found: bytes) -> None:
        if found != self._response_terminator:
            raise QMI_InstrumentException(
                f"Invalid binary data format, expecting {self._response_terminator!r} behind the data but got {found!r}"
            )

    def _check_completion(self, cmd: str, answer: str) -> None:
        if answer.strip() not in ("1", "+1"):
            raise QMI_ScpiException(f"{self._completion_query} behind {cmd!r} was answered by {answer!r}", cmd)

    def _check_is_command(self, cmd: str) -> None:
        """Refuse to send a question as a command where the device is asked behind it: the answers would be mixed up."""
        if self._has_policies and is_question(cmd):
            raise QMI_ScpiException(f"{cmd!r} is a question: use ask(); nothing was sent", cmd)

    def _check_entry(self, query: str, entry: str) -> None:
        if not is_entry(entry):
            raise QMI_ScpiException(
                f'{query!r} was answered by {entry!r}, where an entry of the error queue was expected: number,"text"; '
                "is it the answer to another question?",
                query,
            )

    def _drop(self, errors: list[str], cmd: str) -> None:
        """Tell of errors in the queue that an earlier command caused, and which could not be raised with it."""
        if errors:
            _logger.warning("The device reports about the earlier command %r: %s", cmd, "; ".join(errors))

    def _name_question(self, error: QMI_TimeoutException, cmd: str) -> None:
        if repr(cmd) not in str(error):
            error.args = (f"{error}; it was to answer {cmd!r}",)

    def _report(self, cmd: str, errors: list[str]) -> None:
        if errors:
            raise QMI_ScpiException(f"The device reports about {cmd!r}: {'; '.join(errors)}", cmd, tuple(errors))


class ScpiProtocol(ScpiOptions):
    """Commands and questions as texts, and binary blocks, over a transport.

    Args:
        transport: The transport, open or not.
        command_terminator: What a command ends in.
        response_terminator: What an answer ends in; "" where the end of a message is its end.
        default_timeout: For how long an answer is waited for, in seconds; None for ever.
        error_query: The question for the next entry of the error queue, such as ``"SYST:ERR?"``: asked after each
            command, until the queue is empty; what it holds is raised with the command that caused it.
        completion_query: The question that is answered when the command before is done, such as ``"*OPC?"``: asked
            after each command that is no question.
        echo: Whether the device sends each command back, before its answer.
        command_delay: Least time between two commands, in seconds.
    """

    def __init__(
        self,
        transport: QMI_Transport,
        command_terminator: str = "\n",
        response_terminator: str = "\n",
        default_timeout: float | None = None,
        *,
        error_query: str | None = None,
        completion_query: str | None = None,
        echo: bool = False,
        command_delay: float = 0.0,
    ) -> None:
        super().__init__(
            command_terminator,
            response_terminator,
            default_timeout,
            error_query,
            completion_query,
            echo,
            command_delay,
        )
        check_is_transport(transport)
        self._transport = transport

    def write(self, cmd: str) -> None:
        """Send a command.

        A question is for :meth:`ask`. If one is sent by this, read its answer by the transport: an answer that has not
        been read when the next question is asked is dropped, with a warning.

        Args:
            cmd: The command, without its terminator; ASCII.

        Raises:
            QMI_ScpiException: If an error query or a completion query is set, and the device reports an error, or the
                command is a question.
            UnicodeEncodeError: If the command is not ASCII.
        """
        data = cmd.encode("ascii")
        if self._has_policies:
            self._check_is_command(cmd)
            self._begin(cmd)
        self._send(data)
        if "?" in cmd and is_question(cmd):
            self._question_written(cmd)
        if self._has_policies:
            self._follow_up(cmd, is_question=False)

    def write_raw(self, cmd: bytes) -> None:
        """Send bytes, with the command terminator behind them.

        Args:
            cmd: The bytes, such as a command with a binary block.
        """
        text = cmd[:80].decode("latin-1")
        is_text = b"#" not in cmd and cmd.isascii()  # in binary data a question mark means nothing
        if self._has_policies:
            if is_text:
                self._check_is_command(text)
            self._begin(text)
        self._send(cmd)
        if is_text and is_question(text):
            self._question_written(text)
        if self._has_policies:
            self._follow_up(text, is_question=False)

    def ask(self, cmd: str, timeout: float | None = None, discard: bool = False, decoder: str = "ascii") -> str:
        """Send a question and return its answer, without the terminator.

        Args:
            cmd: The question, without its terminator; ASCII.
            timeout: For how long to wait, in seconds; None for the default timeout.
            discard: Whether to drop first what has been received and not been read.
            decoder: The encoding of the answer.

        Raises:
            QMI_TimeoutException: If there is no answer in time.
            QMI_InstrumentException: If the answer does not end in its terminator, or is no text in that encoding.
            QMI_ScpiException: If an error query is set, and the device reports an error.
        """
        if timeout is None:
            timeout = self._default_timeout
        if discard:
            self._transport.discard_read()
        if self._has_written_question:
            self._drop_unread(cmd)
        # Who asks for the error queue wants to see it, and not to have it emptied.
        has_policies = self._has_policies and cmd != self._error_query
        if has_policies:
            self._begin(cmd)
        try:
            if self._has_quirks:
                self._send(cmd.encode("ascii"))
            else:
                self._transport.write(cmd.encode("ascii") + self._command_terminator)
            response = self._transport.read_until(message_terminator=self._response_terminator, timeout=timeout)
        except BaseException as error:
            self._broken_off()
            if isinstance(error, QMI_TimeoutException):
                self._name_question(error, cmd)
            raise
        answer = self._answer(response, decoder, cmd)
        if has_policies:
            self._follow_up(cmd, is_question=True)
        return answer

    def read_binary_data(self, read_terminator_flag: bool = True, timeout: float | None = None) -> bytes:
        """Read an IEEE 488.2 block.

        Args:
            read_terminator_flag: Whether the response terminator stands behind the block.
            timeout: For how long to wait for each part, in seconds; None for the default timeout.

        Returns:
            The data.

        Raises:
            QMI_TimeoutException: If it does not come in time.
            QMI_InstrumentException: If what comes is no block.
        """
        if timeout is None:
            timeout = self._default_timeout
        data: bytes = self._read_block(
            lambda length: self._transport.read(length, timeout=timeout), read_terminator_flag, timeout
        )
        return data

    def read_array(
        self, dtype: object = "u1", *, read_terminator_flag: bool = True, timeout: float | None = None
    ) -> Any:
        """Read an IEEE 488.2 block into a numpy array, whose memory the data are received into.

        Args:
            dtype: Type of the items, with their byte order: ``">i2"``, ``"<f4"``.
            read_terminator_flag: Whether the response terminator stands behind the block.
            timeout: For how long to wait for each part, in seconds; None for the default timeout.

        Returns:
            The array, of one dimension.

        Raises:
            QMI_TimeoutException: If it does not come in time.
            QMI_InstrumentException: If what comes is no block, or its size is none of whole items.
        """
        if timeout is None:
            timeout = self._default_timeout

        def receive(length: int) -> Any:
            array = memory_for(length, dtype)
            self._transport.readinto(array, timeout=timeout)
            return array

        data = self._read_block(receive, read_terminator_flag, timeout)
        return as_array(data, dtype) if isinstance(data, bytes) else data

    def ask_array(self, cmd: str, dtype: object = "u1", *, timeout: float | None = None) -> Any:
        """Send a question and read its answer, a block, into a numpy array; see :meth:`read_array`.

        Args:
            cmd: The question, without its terminator; ASCII.
            dtype: Type of the items, with their byte order.
            timeout: For how long to wait, in seconds; None for the default timeout.
        """
        if self._has_written_question:
            self._drop_unread(cmd)
        if self._has_policies:
            self._begin(cmd)
        self._send(cmd.encode("ascii"))
        try:
            array = self.read_array(dtype, timeout=timeout)
        except QMI_TimeoutException as error:
            self._name_question(error, cmd)
            raise
        if self._has_policies:
            self._follow_up(cmd, is_question=True)
        return array

    def check_errors(self, cmd: str = "") -> None:
        """Empty the error queue.

        Args:
            cmd: The command that is to blame.

        Raises:
            QMI_ScpiException: If there was an error in it.
        """
        self._report(cmd or self._unchecked or "", self._read_errors())

    def _read_errors(self) -> list[str]:
        """The entries of the error queue, which is empty then."""
        query = self._error_query or "SYST:ERR?"
        errors: list[str] = []
        while len(errors) < MOST_ERRORS and not is_no_error(entry := self._ask_plainly(query)):
            if not is_entry(entry):
                self._broken_off()  # if that was the answer to something else, the entry is still to come
            self._check_entry(query, entry)
            errors.append(entry)
        self._unchecked = None
        return errors

    def _begin(self, cmd: str) -> None:
        """A command is to be sent: what is in the error queue of one before is not to be charged to it."""
        if self._error_query:
            if (before := self._unchecked) is not None:
                self._drop(self._read_errors(), before)
            self._unchecked = cmd

    def _question_written(self, cmd: str) -> None:
        if isinstance(self._transport, Line):
            self._has_written_question = True
            self._transport.question_written(cmd)

    def _drop_unread(self, cmd: str) -> None:
        self._has_written_question = False
        if isinstance(self._transport, Line):
            self._transport.owe_unread(self._response_terminator, cmd)

    def _send(self, cmd: bytes) -> None:
        if self._command_delay and (wait := self._delay()):
            time.sleep(wait)
        message = cmd + self._command_terminator
        self._transport.write(message)
        if self._echo:
            self._check_echo(message, self._transport.read_until(self._echo_end(), timeout=self._default_timeout))

    def _echo_end(self) -> bytes:
        return self._command_terminator or self._response_terminator

    def _ask_plainly(self, query: str) -> str:
        if self._has_written_question:
            self._drop_unread(query)
        self._send(query.encode("ascii"))
        response = self._transport.read_until(
            message_terminator=self._response_terminator, timeout=self._default_timeout
        )
        return self._answer(response, "latin-1", query)

    def _follow_up(self, cmd: str, *, is_question: bool) -> None:
        if self._completion_query and not is_question:
            self._check_completion(cmd, self._ask_plainly(self._completion_query))
        if self._error_query:
            self.check_errors(cmd)

    def _read_block(self, receive: Callable[[int], Any], has_terminator: bool, timeout: float | None) -> Any:
        """Read a block: what receives its data gives, or the bytes of one of indefinite length."""
        header = b""
        try:
            header = self._transport.read(2, timeout=timeout)
            digits = block_header(header)
            if digits:
                size = self._transport.read(digits, timeout=timeout)
                header += size
                data = receive(check_length_digits(size))
            else:
                data = self._transport.read_until(message_terminator=self._response_terminator, timeout=timeout)
        except BaseException as error:
            self._give_back(header, has_terminator, error)
            raise
        if digits == 0:
            return self._indefinite(data)
        if has_terminator:
            self._read_terminator(timeout)
        return data

    def _read_terminator(self, timeout: float | None) -> None:
        if self._response_terminator:
            found = self._transport.read(len(self._response_terminator), timeout=timeout)
            if found != self._response_terminator:
                self._broken_off()  # what came instead goes on
            self._check_terminator(found)

    def _broken_off(self) -> None:
        # A signal may come between question and answer, where the transport does not see it.
        if isinstance(self._transport, Line):
            self._transport.interrupted(Owed(self._response_terminator, 1))

    def _give_back(self, header: bytes, has_terminator: bool, error: BaseException) -> None:
        # The rest of the block may still come, and its length is known only with its beginning.
        if isinstance(self._transport, Line):
            terminator = self._response_terminator if has_terminator else b""
            self._transport.unread_block(header, terminator, error)


__all__ = ["ScpiProtocol"]
