"""What a line means between ``qmi_proc`` and its helper on another machine, ``qmi_proc server``.

::

    helper                            client
    <whatever the login prints>
    MARKER                      --->
                                <---  START name
    OK 4711                     --->
                                <---  STOP name        or  STOP name 4711
    OK 1                        --->  (it ran and has stopped; OK 0: it did not run)
                                <---  LOOK name
    OK 4711                     --->  (it runs; OK 0 why: it does not)
                                <---  READ name        or  READ name date_time offset
    OK count date_time offset base64 -->  (so many bytes of output, and from where to go on)
    ERR message                 --->  (the answer to any of them, when it failed)

Lines are ASCII for the machine's part, UTF-8 in messages, at most `MAX_LINE` bytes. Any other command ends the helper;
to one that is older than LOOK and READ, those are such commands.
"""

from __future__ import annotations

import binascii
import re
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct

from qmi.names import is_valid_name

MARKER = "qmi_proc server ready, protocol 1"
MAX_LINE = 4096
MAX_PID = 2**32 - 1
MAX_PIECE = 2880
"""Bytes of output that fit into one answer."""

_PID = re.compile(r"[0-9]{1,10}\Z", re.ASCII)
_PLACE = re.compile(r"([0-9]{8}_[0-9]{6}) ([0-9]{1,15})\Z", re.ASCII)
_OK = re.compile(r"([0-9]{1,10})(?: (.*))?\Z", re.ASCII)
_UNKNOWN = "unknown command"
_RUNNING = re.compile(r"already running \(PID=([0-9]{1,10}), QMI=([^\s()]{0,64})\)\Z", re.ASCII)


class BadLineError(ValueError):
    """The line is no command or answer; the text says why."""


class UnknownCommandError(BadLineError):
    """The line is a command that this protocol does not have, which ends the helper."""


class Start(Struct):
    """Start the program of this context."""

    name: str


class Stop(Struct):
    """Stop the program of this context; only the process of that number, when it is given."""

    name: str
    pid: int | None = None


class StatusQuery(Struct):
    """Say whether the program of this context runs."""

    name: str


class Cursor(NamedTuple):
    """A place in the output of a program.

    Attributes:
        stamp: Date and time in the name of the file.
        offset: Bytes before it.
    """

    stamp: str
    offset: int


class Read(Struct):
    """Send a piece of the output of this context's program: from this place, or the beginning of the latest file."""

    name: str
    place: Cursor | None = None


class Ok(Struct):
    """It worked.

    Attributes:
        value: The process that was started or runs, 1 or 0 for what was or was not there to stop, a number of bytes.
        text: What more there is to say.
    """

    value: int
    text: str = ""


class Err(Struct):
    """It did not work, and this is why."""

    message: str


Command: TypeAlias = Start | Stop | StatusQuery | Read
Reply: TypeAlias = Ok | Err


def format_command(command: Command) -> bytes:
    """The line for a command.

    Raises:
        BadLineError: If the name or process number cannot be sent.
    """
    if not is_valid_name(command.name):
        raise BadLineError(f"{command.name!r} is not the name of a context")
    words: list[object] = [VERBS[type(command)], command.name]
    if isinstance(command, Stop) and command.pid is not None:
        if not 0 < command.pid <= MAX_PID:
            raise BadLineError(f"{command.pid} is not the number of a process")
        words.append(command.pid)
    if isinstance(command, Read) and command.place is not None:
        words += command.place
    return " ".join(map(str, words)).encode() + b"\n"


def parse_command(line: bytes) -> Command | None:
    """Read a line at the helper; a blank one is None.

    Raises:
        UnknownCommandError: If it is none of the commands.
        BadLineError: If it is one of those, but not well formed.
    """
    words = _text(line).split()
    if not words:
        return None
    verb, arguments = words[0], words[1:]
    if verb not in _FORMS:
        raise UnknownCommandError(f"{_UNKNOWN} {_shown(verb)}: expected 'START name' or 'STOP name [pid]'")
    form, counts = _FORMS[verb]
    if len(arguments) not in counts:
        raise BadLineError(f"expected {form!r}")
    name, *more = arguments
    if not is_valid_name(name):
        raise BadLineError(f"{_shown(name)} is not the name of a context")
    if verb == "STOP":
        return Stop(name, _process_number(more[0]) if more else None)
    if verb == "READ":
        return Read(name, _place(" ".join(more)) if more else None)
    return Start(name) if verb == "START" else StatusQuery(name)


def format_reply(reply: Reply) -> bytes:
    """The line for an answer; a message is made to fit one line of printable text."""
    if isinstance(reply, Ok):
        return _line(f"OK {reply.value}", reply.text)
    return _line("ERR", reply.message)


def parse_reply(line: bytes) -> Reply:
    """Read a line at the client.

    Raises:
        BadLineError: If it is not an answer.
    """
    text = _text(line).strip()
    verb, _, rest = text.partition(" ")
    if verb == "ERR":
        return Err(clean(rest).strip())
    if verb == "OK" and (match := _OK.match(rest)) and int(match[1]) <= MAX_PID:
        return Ok(int(match[1]), clean(match[2] or "").strip())
    raise BadLineError(f"the helper answered {_shown(text)}; expected 'OK number' or 'ERR message'")


def is_marker(line: bytes) -> bool:
    """Whether the helper says with this line that its answers follow."""
    return line.strip() == MARKER.encode()


def is_unknown_command(reply: Reply) -> bool:
    """Whether the helper has ended because it does not have the command: its version is older than ours."""
    return isinstance(reply, Err) and reply.message.startswith(_UNKNOWN)


def piece_reply(place: Cursor, data: bytes) -> Ok:
    """The answer to `Read`: what was read, and the place behind it."""
    coded = binascii.b2a_base64(data, newline=False).decode()
    return Ok(len(data), f"{place.stamp} {place.offset} {coded}".rstrip())


def piece_of(reply: Ok) -> tuple[Cursor, bytes]:
    """What the answer to `Read` says: the place from which to go on, and what was read.

    Raises:
        BadLineError: If it is not that.
    """
    stamp, offset, coded = (reply.text.split(" ") + [""] * 3)[:3]
    try:
        data = binascii.a2b_base64(coded, strict_mode=True) if coded else b""
    except ValueError as exc:
        raise BadLineError(f"the helper sent output that cannot be decoded: {exc}") from None
    if len(data) != reply.value:
        raise BadLineError(f"the helper announced {reply.value} bytes and sent {len(data)}")
    return _place(f"{stamp} {offset}"), data


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


VERBS: Final[dict[type[object], str]] = {Start: "START", Stop: "STOP", StatusQuery: "LOOK", Read: "READ"}
"""What a command asks for -> the word by which its line begins."""

_FORMS = {
    "START": ("START name", (1,)),
    "STOP": ("STOP name [pid]", (1, 2)),
    "LOOK": ("LOOK name", (1,)),
    "READ": ("READ name [date_time offset]", (1, 3)),
}


def _line(head: str, text: str) -> bytes:
    """One line of printable text that is not too long."""
    words = clean(" | ".join(text.splitlines())).encode("utf-8", "replace")[: MAX_LINE - len(f"{head} \n")]
    return f"{head} {words.decode('utf-8', 'ignore').strip()}".rstrip().encode() + b"\n"


def _place(text: str) -> Cursor:
    match = _PLACE.match(text)
    if not match:
        raise BadLineError(f"{_shown(text)} is not a date, a time and an offset")
    return Cursor(match[1], int(match[2]))


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
