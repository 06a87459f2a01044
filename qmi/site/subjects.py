"""The names under which a site's servers know what contexts publish, and the rule that makes them and reads them.

A subject is a row of words with dots between them, ``qmi.WORKGROUP.KIND.CONTEXT...``. Each word is a name of the
laboratory; what has a meaning of its own in a subject, or none at all, is escaped as ``%XX``, byte for byte of UTF-8.
So there is exactly one subject for each row of names, and no name can pretend to be a wildcard.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from qmi.names import is_valid_name

ROOT: Final = "qmi"
"""The first word of every subject."""
ANY: Final = "*"
"""Stands for any one word, in what is subscribed to."""
REST: Final = ">"
"""Stands for all words that follow, in what is subscribed to."""

_PLAIN: Final = re.compile(rb"[-_a-zA-Z0-9()$]")
_ALL_PLAIN: Final = re.compile(r"[-_a-zA-Z0-9()$]+\Z")
_EMPTY: Final = "%"
_INCARNATION: Final = re.compile(r"[0-9a-f]{16}\Z")
_ESCAPED: Final = re.compile(r"(?:[-_a-zA-Z0-9()$]|%[0-9A-F]{2})+\Z")


class Kind(Enum):
    """What is published under a subject."""

    SIGNAL = "signal"
    PRESENCE = "presence"
    HEALTH = "health"
    LOG = "log"
    ROWS = "rows"
    ASK = "ask"
    INBOX = "inbox"
    RELAY = "relay"


_MORE: Final = {
    Kind.SIGNAL: 2,  # object, signal
    Kind.PRESENCE: 0,
    Kind.HEALTH: 0,
    Kind.LOG: 0,
    Kind.ROWS: 1,  # run
    Kind.ASK: 0,
    Kind.INBOX: 2,  # connection, request
    Kind.RELAY: 2,  # incarnation, connection
}
"""How many names follow that of the context."""


class Subject(NamedTuple):
    """A subject, taken apart.

    Attributes:
        workgroup: The workgroup.
        kind: What is published.
        context: The context that publishes; of :attr:`Kind.ASK`, :attr:`Kind.INBOX` and
            :attr:`Kind.RELAY` the one that listens.
        names: What follows.
    """

    workgroup: str
    kind: Kind
    context: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        names = (self.workgroup, self.kind.value, self.context, *self.names)
        return ".".join((ROOT, *map(escape, names)))


def escape(name: str) -> str:
    """One word of a subject for a name; any text can be a name.

    Raises:
        UnicodeEncodeError: If it has half of a pair of surrogates.
    """
    if _ALL_PLAIN.match(name):  # as almost every name is
        return name
    if not name:
        return _EMPTY
    return "".join(chr(byte) if _PLAIN.match(bytes((byte,))) else f"%{byte:02X}" for byte in name.encode())


def unescape(word: str) -> str:
    """The name that a word stands for.

    Raises:
        ValueError: If :func:`escape` makes no such word.
    """
    if word == _EMPTY:
        return ""
    if not _ESCAPED.match(word):
        raise ValueError(f"{word!r} is no escaped name")
    name = re.sub(rb"%(..)", lambda found: bytes((int(found[1], 16),)), word.encode()).decode()
    if escape(name) != word:
        raise ValueError(f"{word!r} is no escaped name: expected {escape(name)!r}")
    return name


def signal_subject(workgroup: str, context: str, name: str, signal: str) -> str:
    """Where the signals of one name of one object are published."""
    return str(Subject(workgroup, Kind.SIGNAL, context, (name, signal)))


def presence_subject(workgroup: str, context: str) -> str:
    """Where a context says that it is there."""
    return str(Subject(workgroup, Kind.PRESENCE, context))


def health_subject(workgroup: str, context: str) -> str:
    """Where a context says how it is."""
    return str(Subject(workgroup, Kind.HEALTH, context))


def log_subject(workgroup: str, context: str) -> str:
    """Where a context publishes records of its log."""
    return str(Subject(workgroup, Kind.LOG, context))


def rows_subject(workgroup: str, context: str, run: str) -> str:
    """Where a context publishes the rows of a run."""
    return str(Subject(workgroup, Kind.ROWS, context, (run,)))


def ask_subject(workgroup: str, context: str) -> str:
    """Where a context is asked."""
    return str(Subject(workgroup, Kind.ASK, context))


def inbox_subject(workgroup: str, context: str, connection: str, request: str) -> str:
    """Where a context gets its answers."""
    return str(Subject(workgroup, Kind.INBOX, context, (connection, request)))


def relay_subject(workgroup: str, context: str, incarnation: str, connection: str) -> str:
    """Where a context gets what others send it over a link that the servers relay."""
    return str(Subject(workgroup, Kind.RELAY, context, (incarnation, connection)))


def inbox_root(workgroup: str) -> str:
    """How the subjects begin under which anybody gets answers."""
    return ".".join((ROOT, escape(workgroup), Kind.INBOX.value, ""))


def inbox_prefix(workgroup: str, context: str) -> str:
    """How the subjects begin under which a context gets its answers, without the dot behind it."""
    return ".".join((ROOT, escape(workgroup), Kind.INBOX.value, escape(context)))


def connection_name(context: str, incarnation: str) -> str:
    """What the connection of a context calls itself."""
    return f"{context} {incarnation}"


def split_connection_name(text: str) -> tuple[str, str] | None:
    """The context and its incarnation; None if no context has such a connection."""
    context, _, incarnation = text.partition(" ")
    if is_valid_name(context) and _INCARNATION.match(incarnation):
        return context, incarnation
    return None


def every(workgroup: str, kind: Kind, context: str | None = None) -> str:
    """What stands for all subjects of a kind.

    Args:
        workgroup: The workgroup.
        kind: The kind.
        context: Those of one context; None means of all.
    """
    words = [ROOT, escape(workgroup), kind.value, ANY if context is None else escape(context)]
    return ".".join(words + ([REST] if _MORE[kind] else []))


def parse_subject(text: str) -> Subject | None:
    """Take a subject apart; None if none of this module's functions makes it."""
    words = text.split(".")
    if len(words) < 4 or words[0] != ROOT:
        return None
    try:
        kind = Kind(words[2])
        workgroup, context, *names = (unescape(word) for word in (words[1], *words[3:]))
    except ValueError:
        return None
    return Subject(workgroup, kind, context, tuple(names)) if len(names) == _MORE[kind] else None


def stream_name(workgroup: str) -> str:
    """What the stream is called in which the servers keep the signals of a workgroup."""
    return f"qmi-{escape(workgroup)}-signals"
