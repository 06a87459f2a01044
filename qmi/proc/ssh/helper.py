"""One helper at the far end of an SSH connection: its first line among what the login prints, then its answers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from qmi.proc.helper_protocol import (
    MAX_LINE,
    VERBS,
    BadLineError,
    Command,
    Reply,
    format_command,
    is_marker,
    is_unknown_command,
    parse_reply,
)
from qmi.proc.ssh.errors import ErrorSource, RemoteError

if TYPE_CHECKING:
    import asyncssh

_MAX_BANNER = 1 << 20
_CHUNK = 4096
_TIME_TO_TELL = 2.0


class ByteReader(Protocol):
    """Where bytes come from; nothing at the end."""

    async def read(self, n: int) -> bytes:
        """Return at least one byte, at most n, none at the end."""
        ...


class Lines:
    """Splits a stream into lines; what is too long for one is thrown away up to its end."""

    def __init__(self, reader: ByteReader) -> None:
        self._reader = reader
        self._buffer = b""
        self.received: int = 0

    async def next(self) -> bytes | None:
        """Return the next line without its end, or None at the end of the stream."""
        skipping = False
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                if not skipping and len(line) <= MAX_LINE:
                    return line
                skipping = False
                continue
            if len(line) > MAX_LINE:
                skipping, self._buffer = True, b""
            chunk = await self._reader.read(_CHUNK)
            if not chunk:
                return None
            self.received += len(chunk)
            self._buffer += chunk


class Helper:
    """A helper that is ready for commands, one at a time."""

    def __init__(self, host: str, command: str, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._host = host
        self._command = command
        self._process = process
        self._lines = Lines(process.stdout)
        self._complaints = b""
        # Its error output is kept for our messages; left unread, it would block the helper one day.
        self._listener = asyncio.create_task(self._listen())

    async def get_ready(self, seconds: float) -> None:
        """Skip what the login prints, up to the marker.

        Raises:
            RemoteError: If the helper ends, or does not get ready within so many seconds.
        """
        try:
            async with asyncio.timeout(seconds):
                while (line := await self._lines.next()) is not None:
                    if is_marker(line):
                        return
                    if self._lines.received > _MAX_BANNER:
                        raise RemoteError(
                            ErrorSource.COMMAND, f"{self._prefix()} prints without end instead of getting ready"
                        )
        except TimeoutError:
            text = f"{self._prefix()} did not get ready within {seconds:g} s{self._complaint()}"
            raise RemoteError(ErrorSource.COMMAND, text) from None
        text = f"{self._prefix()} {await self._ending()} before it was ready{self._complaint()}"
        raise RemoteError(ErrorSource.COMMAND, text)

    async def ask(self, command: Command, seconds: float) -> Reply:
        """Send a command and return its answer.

        Raises:
            RemoteError: If no answer comes within so many seconds, or something that is none.
        """
        try:
            async with asyncio.timeout(seconds):
                # The end of a helper is seen by the end of its output, with the reason.
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.write(format_command(command))
                    await self._process.stdin.drain()
                while (line := await self._lines.next()) is not None:
                    if line.strip():
                        return self._known(command, parse_reply(line))
        except TimeoutError:
            text = f"{self._prefix()} did not answer within {seconds:g} s: state unknown"
            raise RemoteError(ErrorSource.LOST, text) from None
        except BadLineError as exc:
            raise RemoteError(ErrorSource.COMMAND, f"{self._prefix()}: {exc}") from exc
        text = f"{self._prefix()} {await self._ending()} without an answer: state unknown{self._complaint()}"
        raise RemoteError(ErrorSource.LOST, text)

    def _known(self, command: Command, reply: Reply) -> Reply:
        if is_unknown_command(reply):
            what = VERBS[type(command)]
            raise RemoteError(ErrorSource.COMMAND, f"{self._prefix()} is too old to know {what}: update qmi-trio there")
        return reply

    async def close(self) -> None:
        """End the helper by ending its input."""
        self._listener.cancel()
        self._process.stdin.write_eof()
        self._process.close()

    def _prefix(self) -> str:
        return f"command: {self._command!r} on {self._host}"

    async def _ending(self) -> str:
        try:
            async with asyncio.timeout(_TIME_TO_TELL):
                await self._process.wait_closed()
        except TimeoutError:
            return "closed its output"
        if self._process.exit_signal:
            return f"was killed by signal {self._process.exit_signal[0]}"
        if self._process.exit_status is None:
            return "was cut off"
        return f"ended with exit status {self._process.exit_status}"

    def _complaint(self) -> str:
        lines = self._complaints.decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1].strip()}" if lines else ""

    async def _listen(self) -> None:
        while chunk := await self._process.stderr.read(_CHUNK):
            self._complaints = (self._complaints + chunk)[-_CHUNK:]
