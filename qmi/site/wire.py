"""What a client and a server of NATS say to each other: bytes in, events out. No socket and no clock.

Only the part of the protocol is here that a site needs: messages with and without headers, subscriptions, and signs of
life. A line ends with CR LF; a message is a line that says how long it is, and then so many bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

from qmi.config.validators import printable

LONGEST_LINE: Final = 1 << 16
"""No line of a server is longer; what a server says of itself comes near a kilobyte."""
_CRLF: Final = b"\r\n"
_VERSION: Final = b"NATS/1.0"


class SiteProtocolError(Exception):
    """What came is no NATS, or more than anybody may send."""


class Message(NamedTuple):
    """A message that came.

    Attributes:
        sid: Number of the subscription.
        subject: What it was published as.
        reply: Where an answer is expected; empty if none is.
        payload: What it says.
        head: Its headers as they came; empty if it has none.
    """

    sid: int
    subject: str
    reply: str
    payload: bytes
    head: bytes = b""

    @property
    def status(self) -> int:
        """What a server says in place of an answer: 503 if nobody listens, 404 if nothing is there; 0 if nothing."""
        word = self.head[len(_VERSION) + 1 :].split(b"\r\n", 1)[0].split(b" ", 1)[0]
        return int(word) if word.isdigit() else 0

    @property
    def headers(self) -> dict[str, str]:
        """Its headers by name."""
        lines = self.head.decode("utf-8", "replace").split("\r\n")[1:]
        return {name: value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}


class ServerInfo(NamedTuple):
    """What a server says of itself.

    Attributes:
        name: Its name.
        max_payload: So many bytes a message may have.
        tls: Whether it demands TLS.
        cluster: Name of its cluster; empty if it stands alone.
        jetstream: Whether it keeps messages.
        plain: All that it said.
    """

    name: str
    max_payload: int
    tls: bool
    cluster: str
    jetstream: bool
    plain: Mapping[str, object]


class ServerError(NamedTuple):
    """A server refuses something.

    Attributes:
        text: What it says.
    """

    text: str

    @property
    def ends_connection(self) -> bool:
        """Whether the server hangs up because of it."""
        return not self.text.lower().startswith(("permissions violation", "invalid subject"))


class Ping(NamedTuple):
    """The server wants a sign of life."""


class Pong(NamedTuple):
    """The server gives one."""


Event: TypeAlias = Message | ServerInfo | ServerError | Ping | Pong


class Parser:
    """Takes apart what a server sends.

    Args:
        max_message: So many bytes a message may have, headers included.
    """

    def __init__(self, max_message: int = 1 << 26) -> None:
        self.max_message: int = max_message
        self._buffer = b""

    def feed(self, data: bytes) -> list[Event]:
        """Bytes have come.

        Returns:
            What is complete now.

        Raises:
            SiteProtocolError: If that is no NATS.
        """
        buffer = self._buffer + data if self._buffer else data
        events: list[Event] = []
        place = 0
        while (end := buffer.find(_CRLF, place)) >= 0:
            if buffer.startswith((b"MSG ", b"HMSG "), place):
                after = self._message(buffer, place, end, events)
                if not after:
                    break
                place = after
                continue
            if (event := _control(buffer[place:end])) is not None:
                events.append(event)
            place = end + 2
        self._buffer = buffer[place:]
        if len(self._buffer) > LONGEST_LINE and self._buffer.find(_CRLF, 0, LONGEST_LINE) < 0:
            raise SiteProtocolError(f"a line has more than {LONGEST_LINE} bytes")
        return events

    def _message(self, buffer: bytes, place: int, end: int, events: list[Event]) -> int:
        # Returns where it ends; 0 if it is not complete yet.
        words = buffer[place:end].decode("utf-8", "replace").split(" ")
        try:
            if words[0] == "MSG":
                head, size = 0, int(words[-1])
                sid, reply = int(words[2]), words[3] if len(words) == 5 else ""
                is_whole = len(words) in (4, 5)
            else:
                head, size = int(words[-2]), int(words[-1])
                sid, reply = int(words[2]), words[3] if len(words) == 6 else ""
                is_whole = len(words) in (5, 6)
        except (ValueError, IndexError):
            is_whole, head, size, sid, reply = False, 0, 0, 0, ""
        if not is_whole or not 0 <= head <= size:
            raise _no_nats(buffer[place:end])
        if size > self.max_message:
            raise SiteProtocolError(f"a message has {size} bytes, the limit is {self.max_message}")
        first, last = end + 2, end + 2 + size
        if len(buffer) < last + 2:
            return 0
        if buffer[last : last + 2] != _CRLF:
            raise SiteProtocolError("a message is longer than its first line says")
        events.append(
            Message(sid, words[1], reply, buffer[first + head : last], buffer[first : first + head] if head else b"")
        )
        return last + 2


def _control(line: bytes) -> Event | None:
    word, _, rest = line.partition(b" ")
    word = word.upper()
    if word == b"PING":
        return Ping()
    if word == b"PONG":
        return Pong()
    if word == b"+OK":
        return None
    if word == b"-ERR":
        return ServerError(printable(rest.decode("utf-8", "replace").strip().strip("'"))[:300])
    if word == b"INFO":
        return _info(rest)
    raise _no_nats(line)


def _info(rest: bytes) -> ServerInfo:
    try:
        plain = json.loads(rest)
        size = plain.get("max_payload", 1 << 20)
        if type(size) is not int or size < 1:
            raise ValueError
    except (ValueError, AttributeError, RecursionError) as error:
        raise _no_nats(rest) from error
    return ServerInfo(
        printable(str(plain.get("server_name", "")))[:100],
        size,
        plain.get("tls_required") is True,
        printable(str(plain.get("cluster", "")))[:100],
        plain.get("jetstream") is True,
        plain,
    )


def _no_nats(line: bytes) -> SiteProtocolError:
    return SiteProtocolError(f"no server of NATS says {printable(line[:60].decode('utf-8', 'replace'))!r}")


def connect(name: str, version: str, user: str = "", password: str = "") -> bytes:
    """Say who this is."""
    about: dict[str, object] = {
        "verbose": False,
        "pedantic": False,
        "lang": "qmi-trio",
        "version": version,
        "protocol": 1,
        "headers": True,
        "no_responders": True,
        "name": name,
    }
    if user:
        about |= {"user": user, "pass": password}
    return b"CONNECT " + json.dumps(about).encode() + _CRLF


def publish(subject: bytes, payload: bytes, reply: bytes = b"") -> bytes:
    """Publish."""
    if reply:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(payload), payload)
    return b"PUB %b %d\r\n%b\r\n" % (subject, len(payload), payload)


def subscribe(subject: str, sid: int) -> bytes:
    """Subscribe, under a number."""
    return b"SUB %b %d\r\n" % (subject.encode(), sid)


def unsubscribe(sid: int) -> bytes:
    """End a subscription."""
    return b"UNSUB %d\r\n" % sid


PING: Final = b"PING\r\n"
PONG: Final = b"PONG\r\n"
