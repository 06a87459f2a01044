"""What a line means between ``qmi_proc`` and its helper on another machine, ``qmi_proc server``.

::

    helper                            client
    <whatever the login prints>
    MARKER                      --->
                                <---  START name
    OK 4711                     --->
                                <---  STOP name        or  STOP name 4711
    OK 1                        --->  (it ran and has stopped; OK 0: it did not run)
    ERR message                 --->  (the answer to either, when it failed)

Lines are ASCII for the machine's part, UTF-8 in messages, at most `MAX_LINE` bytes. Any other command ends the helper.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from qmi.names import is_valid_name

MARKER = "qmi_proc server ready, protocol 1"
MAX_LINE = 4096
MAX_PID = 2**32 - 1

_PID = re.compile(r"[0-9]{1,10}\Z", re.ASCII)
_RUNNING = re.compile(r"already running \(PID=([0-9]{1,10}), QMI=([^\s()]{0,64})\)\Z", re.ASCII)


class BadLineError(ValueError):
    """The line is no command or answer; the text says why."""


class UnknownCommandError(BadLineError):
    """The line is a command that this protocol does not have, which ends the helper."""


@dataclass(frozen=True)
class Start:
    """Start the program of this context."""

    name: str


@dataclass(frozen=True)
class Stop:
    """Stop the program of this context; only the process of that number, when it is given."""

    name: str
    pid: int | None = None


@dataclass(frozen=True)
class Ok:
    """It worked: the process that was started, or 1 or 0 for what was or was not there to stop."""

    value: int


@dataclass(frozen=True)
class Err:
    """It did not work, and this is why."""

    message: str


Command: TypeAlias = Start | Stop
Reply: TypeAlias = Ok | Err


def format_command(command: Command) -> bytes:
    """The line for a command.

    Raises:
        BadLineError: If the name or process number cannot be sent.
    """
    if not is_valid_name(command.name):
        raise BadLineError(f"{command.name!r} is not the name of a context")
    if isinstance(command, Start):
        return f"START {command.name}\n".encode()
    if command.pid is None:
        return f"STOP {command.name}\n".encode()
    if not 0 < command.pid <= MAX_PID:
        raise BadLineError(f"{command.pid} is not the number of a process")
    return f"STOP {command.name} {command.pid}\n".encode()


def parse_command(line: bytes) -> Command | None:
    """Read a line at the helper; a blank one is None.

    Raises:
        UnknownCommandError: If it is neither START nor STOP.
        BadLineError: If it is one of those, but not well formed.
    """
    words = _text(line).split()
    if not words:
        return None
    verb, arguments = words[0], words[1:]
    if verb not in ("START", "STOP"):
        raise UnknownCommandError(f"unknown command {_shown(verb)}: expected 'START name' or 'STOP name [pid]'")
    if not 1 <= len(arguments) <= (1 if verb == "START" else 2):
        raise BadLineError(f"expected '{'START name' if verb == 'START' else 'STOP name [pid]'}'")
    name = arguments[0]
    if not is_valid_name(name):
        raise BadLineError(f"{_shown(name)} is not the name of a context")
    if verb == "START":
        return Start(name)
    return Stop(name, _process_number(arguments[1]) if len(arguments) == 2 else None)


def format_reply(reply: Reply) -> bytes:
    """The line for an answer; a message is made to fit one line of printable text."""
    if isinstance(reply, Ok):
        return f"OK {reply.value}\n".encode()
    message = clean(" | ".join(reply.message.splitlines())).encode("utf-8", "replace")[: MAX_LINE - len("ERR \n")]
    return b"ERR " + message.decode("utf-8", "ignore").strip().encode() + b"\n"


def parse_reply(line: bytes) -> Reply:
    """Read a line at the client.

    Raises:
        BadLineError: If it is not an answer.
    """
    text = _text(line).strip()
    verb, _, rest = text.partition(" ")
    if verb == "ERR":
        return Err(clean(rest).strip())
    if verb == "OK" and _PID.match(rest) and int(rest) <= MAX_PID:
        return Ok(int(rest))
    raise BadLineError(f"the helper answered {_shown(text)}; expected 'OK number' or 'ERR message'")


def is_marker(line: bytes) -> bool:
    """Whether the helper says with this line that its answers follow."""
    return line.strip() == MARKER.encode()


def already_running(pid: int, version: str) -> str:
    """The message for a program that was to be started and runs."""
    return f"already running (PID={pid}, QMI={version or 'unknown'})"


def parse_already_running(message: str) -> tuple[int, str] | None:
    """Process number and version from that message, or None if it is another one."""
    match = _RUNNING.match(message)
    return (int(match[1]), match[2]) if match else None


def clean(text: str) -> str:
    """Make foreign text safe to show on one line: control characters become spaces, so that none reaches a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def _text(line: bytes) -> str:
    if len(line) > MAX_LINE:
        raise BadLineError(f"the line is longer than {MAX_LINE} bytes")
    return line.decode("utf-8", "replace")


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:40] + "...")


def _process_number(word: str) -> int:
    if not _PID.match(word) or not 0 < int(word) <= MAX_PID:
        raise BadLineError(f"{_shown(word)} is not the number of a process")
    return int(word)
