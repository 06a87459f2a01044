"""Questions and answers of SCPI, for drivers in the event loop."""

from __future__ import annotations

from typing import Any

import trio

from qmi.devices.async_transport import AsyncTransport
from qmi.devices.descriptor_hints import check_is_transport
from qmi.devices.exchange import Owed
from qmi.devices.line import Line
from qmi.devices.scpi import MOST_ERRORS, ScpiOptions
from qmi.devices.scpi_errors import is_entry, is_no_error, is_question
from qmi.errors import QMI_TimeoutException
from qmi.parameters.blocks import as_array, block_header, check_length_digits, memory_for


class AsyncScpiProtocol(ScpiOptions):
    """What :class:`ScpiProtocol` does, awaited.

    Args:
        transport: The transport, open or not.
        command_terminator: What a command ends in.
        response_terminator: What an answer ends in; "" where the end of a message is its end.
        default_timeout: For how long an answer is waited for, in seconds; None for ever.
        error_query: The question for the next entry of the error queue, such as ``"SYST:ERR?"``.
        completion_query: The question that is answered when the command before is done, such as ``"*OPC?"``.
        echo: Whether the device sends each command back, before its answer.
        command_delay: Least time between two commands, in seconds.
    """

    def __init__(
        self,
        transport: AsyncTransport,
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
            command_terminator, response_terminator, default_timeout, error_query, completion_query, echo, command_delay
        )
        check_is_transport(transport)
        self._transport = transport

    async def write(self, cmd: str) -> None:
        """Send a command; see :meth:`ScpiProtocol.write`."""
        data = cmd.encode("ascii")
        if self._has_policies:
            self._check_is_command(cmd)
            await self._begin(cmd)
        await self._send(data)
        if "?" in cmd and is_question(cmd):
            self._question_written(cmd)
        if self._has_policies:
            await self._follow_up(cmd, is_question=False)

    async def write_raw(self, cmd: bytes) -> None:
        """Send bytes, with the command terminator behind them."""
        text = cmd[:80].decode("latin-1")
        is_text = b"#" not in cmd and cmd.isascii()  # in binary data a question mark means nothing
        if self._has_policies:
            if is_text:
                self._check_is_command(text)
            await self._begin(text)
        await self._send(cmd)
        if is_text and is_question(text):
            self._question_written(text)
        if self._has_policies:
            await self._follow_up(text, is_question=False)

    async def ask(self, cmd: str, timeout: float | None = None, discard: bool = False, decoder: str = "ascii") -> str:
        """Send a question and return its answer, without the terminator; see :meth:`ScpiProtocol.ask`.

        If this is cancelled, the answer is dropped before the next question is asked.
        """
        if timeout is None:
            timeout = self._default_timeout
        if discard:
            await self._transport.discard_read()
        if self._has_written_question:
            self._drop_unread(cmd)
        # Who asks for the error queue wants to see it, and not to have it emptied.
        has_policies = self._has_policies and cmd != self._error_query
        if has_policies:
            await self._begin(cmd)
        try:
            await self._send(cmd.encode("ascii"))
            response = await self._transport.read_until(self._response_terminator, timeout)
        except BaseException as error:
            self._transport.interrupted(Owed(self._response_terminator, 1))
            if isinstance(error, QMI_TimeoutException):
                self._name_question(error, cmd)
            raise
        answer = self._answer(response, decoder, cmd)
        if has_policies:
            await self._follow_up(cmd, is_question=True)
        return answer

    async def read_binary_data(self, read_terminator_flag: bool = True, timeout: float | None = None) -> bytes:
        """Read an IEEE 488.2 block; see :meth:`ScpiProtocol.read_binary_data`."""
        return bytes(await self.read_array("u1", read_terminator_flag=read_terminator_flag, timeout=timeout))

    async def read_array(
        self, dtype: object = "u1", *, read_terminator_flag: bool = True, timeout: float | None = None
    ) -> Any:
        """Read an IEEE 488.2 block into a numpy array; see :meth:`ScpiProtocol.read_array`."""
        if timeout is None:
            timeout = self._default_timeout
        terminator = self._response_terminator if read_terminator_flag else b""
        header = b""
        try:
            header = await self._transport.read(2, timeout)
            digits = block_header(header)
            if digits:
                size = await self._transport.read(digits, timeout)
                header += size
                array = memory_for(check_length_digits(size), dtype)
                await self._transport.readinto(array, timeout)
            else:
                data = await self._transport.read_until(self._response_terminator, timeout)
        except BaseException as error:
            self._transport.unread_block(header, terminator, error)
            raise
        if digits == 0:
            return as_array(self._indefinite(data), dtype)
        if terminator:
            found = await self._transport.read(len(terminator), timeout)
            if found != terminator:
                self._transport.interrupted(Owed(terminator, 1))  # what came instead goes on
            self._check_terminator(found)
        return array

    async def ask_array(self, cmd: str, dtype: object = "u1", *, timeout: float | None = None) -> Any:
        """Send a question and read its answer, a block, into a numpy array; see :meth:`ScpiProtocol.ask_array`."""
        if self._has_written_question:
            self._drop_unread(cmd)
        if self._has_policies:
            await self._begin(cmd)
        await self._send(cmd.encode("ascii"))
        try:
            array = await self.read_array(dtype, timeout=timeout)
        except QMI_TimeoutException as error:
            self._name_question(error, cmd)
            raise
        if self._has_policies:
            await self._follow_up(cmd, is_question=True)
        return array

    async def check_errors(self, cmd: str = "") -> None:
        """Empty the error queue; see :meth:`ScpiProtocol.check_errors`."""
        self._report(cmd or self._unchecked or "", await self._read_errors())

    async def _read_errors(self) -> list[str]:
        """The entries of the error queue, which is empty then."""
        query = self._error_query or "SYST:ERR?"
        errors: list[str] = []
        while len(errors) < MOST_ERRORS and not is_no_error(entry := await self._ask_plainly(query)):
            if not is_entry(entry):
                # If that was the answer to something else, the entry is still to come.
                self._transport.interrupted(Owed(self._response_terminator, 1))
            self._check_entry(query, entry)
            errors.append(entry)
        self._unchecked = None
        return errors

    async def _begin(self, cmd: str) -> None:
        """A command is to be sent: what is in the error queue of one before is not to be charged to it."""
        if self._error_query:
            if (before := self._unchecked) is not None:
                self._drop(await self._read_errors(), before)
            self._unchecked = cmd

    def _question_written(self, cmd: str) -> None:
        if isinstance(self._transport, Line):
            self._has_written_question = True
            self._transport.question_written(cmd)

    def _drop_unread(self, cmd: str) -> None:
        self._has_written_question = False
        if isinstance(self._transport, Line):
            self._transport.owe_unread(self._response_terminator, cmd)

    async def _send(self, cmd: bytes) -> None:
        if self._command_delay and (wait := self._delay()):
            await trio.sleep(wait)
        message = cmd + self._command_terminator
        await self._transport.write(message)
        if self._echo:
            end = self._command_terminator or self._response_terminator
            self._check_echo(message, await self._transport.read_until(end, self._default_timeout))

    async def _ask_plainly(self, query: str) -> str:
        if self._has_written_question:
            self._drop_unread(query)
        await self._send(query.encode("ascii"))
        response = await self._transport.read_until(self._response_terminator, self._default_timeout)
        return self._answer(response, "latin-1", query)

    async def _follow_up(self, cmd: str, *, is_question: bool) -> None:
        if self._completion_query and not is_question:
            self._check_completion(cmd, await self._ask_plainly(self._completion_query))
        if self._error_query:
            await self.check_errors(cmd)


__all__ = ["AsyncScpiProtocol"]
