"""Who is at a site, since when, and with which objects: what is asked, told and believed. Nothing runs here.

*Who is there* the servers alone say: by the list of their connections, and by an event for each that comes and goes. A
connection calls itself after its context and incarnation; with certificates that is believed only if the certificate
is for that context, or for every one. *What it has* a context says itself, in an announcement that the servers keep
under its name; it counts as long as the connection of its incarnation is there.

A question to the servers is a generator, which both a blocking program and an event loop can drive.
"""

from __future__ import annotations

import json
from collections.abc import Container, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final, NamedTuple

from cbor2 import dumps

from qmi.config.schema import CfgQmi
from qmi.names import HostPort, is_valid_name
from qmi.net.discovery.packets import Answer
from qmi.net.limits import ProtocolError
from qmi.net.loopback import is_loopback
from qmi.net.protocol import plain
from qmi.site.server_config import CONNECTIONS, certified_context, presence_stream
from qmi.site.subjects import ANY, Kind, Subject, every, split_connection_name
from qmi.site.wire import Message

ANNOUNCE_EVERY: Final = 1200.0
"""How often a context says again what it has, in seconds, so that the servers keep it."""
MOST_OBJECTS: Final = 5000
_PAGE: Final = 1000
_MOST: Final = 100_000
_MANY: Final = 50
_PAGE_BYTES: Final = 4 << 20
_SUBJECT: Final = b"\r\nNats-Subject:"
_SEQUENCE: Final = b"\r\nNats-Sequence:"
_PENDING: Final = b"\r\nNats-Num-Pending:"
_KEPT: Final = b"\r\nNats-Stream:"
_LONGEST: Final = 255
_MOST_HOSTS: Final = 16


class Announcement(NamedTuple):
    """What a context says of itself.

    Attributes:
        context: Its name.
        incarnation: Tells one program from another.
        started: When it started, in seconds since the epoch, by its own clock.
        hosts: Addresses that it listens on.
        port: Its TCP port; 0 if it does not listen.
        machine: Tells the computer (and its network, as of a container) from others.
        pid: Process number.
        version: Version of this library.
        objects: Name and class of each object, by name.
        relay: Whether it takes links through the servers of the site.
    """

    context: str
    incarnation: str
    started: float
    hosts: tuple[str, ...]
    port: int
    machine: str
    pid: int
    version: str
    objects: tuple[tuple[str, str], ...]
    relay: bool = False


class Connected(NamedTuple):
    """A connection of a context, as a server tells of it.

    Attributes:
        context: The context.
        incarnation: Of the context.
        since: When it has connected, in seconds since the epoch, by the clock of the server.
        connection: Tells it from other connections, of other servers, too.
    """

    context: str
    incarnation: str
    since: float
    connection: str = ""


class Present(NamedTuple):
    """A context that is there.

    Attributes:
        context: Its name.
        incarnation: Tells one program from another.
        since: Since when it is there, in seconds since the epoch.
        said: What it says of itself; None if it has not said it yet.
    """

    context: str
    incarnation: str
    since: float
    said: Announcement | None = None

    @property
    def objects(self) -> tuple[tuple[str, str], ...]:
        """Name and class of each object."""
        return () if self.said is None else self.said.objects


class Question(NamedTuple):
    """What the servers are asked.

    Attributes:
        subject: Whom.
        payload: What.
        servers: How many of them answer, once each; 0: one does, with a batch that ends by itself.
    """

    subject: str
    payload: bytes
    servers: int = 0


# What contexts say of themselves


def write_announcement(said: Announcement) -> bytes:
    """What a context publishes of itself; objects beyond :data:`MOST_OBJECTS` are left out."""
    fields = said._asdict()
    del fields["context"]
    return dumps({**fields, "objects": [list(entry) for entry in said.objects[:MOST_OBJECTS]]})


def read_announcement(context: str, payload: bytes) -> Announcement | None:
    """What a context has published of itself; None if it makes no sense. Fields that it has besides are ignored.

    Args:
        context: Under whose name it was published.
        payload: What.
    """
    try:
        found = plain.decode(payload)
    except ProtocolError:
        return None
    if not isinstance(found, dict):
        return None
    started, port, pid = found.get("started"), found.get("port"), found.get("pid")
    texts = [_text(found.get(name)) for name in ("incarnation", "machine", "version")]
    hosts = _texts(found.get("hosts"))
    if type(started) is not float or type(port) is not int or type(pid) is not int or not 0 <= port <= 65535:
        return None
    if None in texts or hosts is None or len(hosts) > _MOST_HOSTS:
        return None
    incarnation, machine, version = map(str, texts)
    objects = _objects(found.get("objects"))
    if objects is None:
        return None
    relay = found.get("relay") is True
    return Announcement(context, incarnation, started, hosts, port, machine, pid, version, objects, relay)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and _is_word(value) else None


@lru_cache(4096)  # a thousand contexts have objects of a few classes
def _is_word(text: str) -> bool:
    return len(text) <= _LONGEST and text.isprintable() and " " not in text


@lru_cache(4096)
def _is_name(text: str) -> bool:
    return is_valid_name(text)


def _texts(value: object) -> tuple[str, ...] | None:
    found = [_text(item) for item in value] if isinstance(value, list) else [None]
    return None if None in found else tuple(map(str, found))


def _objects(value: object) -> tuple[tuple[str, str], ...] | None:
    if not isinstance(value, list) or len(value) > MOST_OBJECTS:
        return None
    found = []
    for entry in value:
        if not isinstance(entry, list) or len(entry) != 2:
            return None
        name, kind = entry
        if not (isinstance(name, str) and isinstance(kind, str) and _is_name(name) and _is_word(kind)):
            return None
        found.append((name, kind))
    return tuple(found)


# What servers say


def read_connection(
    found: dict[str, Any], user: object, connection: str, workgroup: str, *, certified: bool
) -> Connected | None:
    """A connection as a server describes it; None if it is of no context, or pretends to be.

    Args:
        found: Its description, by the names that a server uses.
        user: The user that the server takes it for.
        connection: Tells it from others.
        workgroup: The workgroup of the site.
        certified: Whether certificates tell who is who.
    """
    names = split_connection_name(str(found.get("name", "")))
    since = _seconds(found.get("start"))
    if names is None or since is None:
        return None
    if certified and certified_context(str(user), workgroup) not in (names[0], ANY):
        return None
    return Connected(*names, since, connection)


def read_event(payload: bytes, workgroup: str, *, certified: bool) -> Connected | None:
    """The connection that a server's event is about; None if it is none of a context."""
    event = _json(payload)
    server, found = event.get("server"), event.get("client")
    if not isinstance(server, dict) or not isinstance(found, dict):
        return None
    connection = f"{server.get('id')}:{found.get('id')}"
    return read_connection(found, found.get("user"), connection, workgroup, certified=certified)


def _seconds(moment: object) -> float | None:
    try:
        # A server counts nanoseconds, of which Python reads the first six digits.
        return datetime.fromisoformat(str(moment)).timestamp()
    except ValueError:
        return None


def _json(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


# Asking


def ask_who_is_there(
    config: CfgQmi, pattern: str = "*", ended: Container[str] = ()
) -> Generator[Question, list[Message], list[Present]]:
    """Ask the servers who is there, and with which objects.

    Args:
        config: The configuration.
        pattern: Which names are wanted, with ``*``, ``?`` and ``[...]``.
        ended: Connections that are known to have ended, which a server may list for a moment longer.

    Returns:
        By name; several of one name if there are.
    """
    connected = yield from _ask_for_connections(config)
    wanted = [found for found in connected if fnmatchcase(found.context, pattern) and found.connection not in ended]
    said = yield from _ask_what_they_said(config, sorted({found.context for found in wanted}))
    present = []
    for found in {(found.context, found.incarnation): found for found in reversed(wanted)}.values():
        own = said.get(found.context)
        told = own if own is not None and own.incarnation == found.incarnation else None
        present.append(Present(found.context, found.incarnation, found.since if told is None else told.started, told))
    return sorted(present, key=lambda found: (found.context, found.since))


def _ask_for_connections(config: CfgQmi) -> Generator[Question, list[Message], list[Connected]]:
    servers, certified = len(config.site.addresses), config.security.enabled
    found: list[Connected] = []
    offset, last = 0, 1
    while offset < min(last, _MOST):
        # Who a server takes a connection for takes it longer than all the rest.
        payload = json.dumps({"auth": certified, "limit": _PAGE, "offset": offset}).encode()
        answers = yield Question(CONNECTIONS, payload, servers)
        for answer in answers:
            data = _json(answer.payload).get("data")
            if isinstance(data, dict):
                total = data.get("total")
                last = max(last, total if type(total) is int else 0)
                found += _listed(data, config.workgroup, certified=certified)
        offset += _PAGE
    return found


def _listed(data: dict[str, Any], workgroup: str, *, certified: bool) -> Iterator[Connected]:
    listed = data.get("connections")
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict):
            connection = f"{data.get('server_id')}:{entry.get('cid')}"
            user = entry.get("authorized_user")
            if found := read_connection(entry, user, connection, workgroup, certified=certified):
                yield found


def _ask_what_they_said(
    config: CfgQmi, contexts: Sequence[str]
) -> Generator[Question, list[Message], dict[str, Announcement]]:
    found = yield from ask_for_last(config.workgroup, Kind.PRESENCE, contexts)
    said = {context: read_announcement(context, payload) for context, payload in found.items()}
    return {context: announcement for context, announcement in said.items() if announcement is not None}


def ask_for_last(
    workgroup: str, kind: Kind, contexts: Sequence[str]
) -> Generator[Question, list[Message], dict[str, bytes]]:
    """Ask for what contexts have said last, as the servers keep it.

    Args:
        workgroup: The workgroup of the site.
        kind: Of themselves, :attr:`Kind.PRESENCE`, or how they are, :attr:`Kind.HEALTH`.
        contexts: Their names.

    Returns:
        What was published, by their names.
    """
    found: dict[str, bytes] = {}
    asked = {str(Subject(workgroup, kind, context)): context for context in contexts}
    whom = f"$JS.API.DIRECT.GET.{presence_stream(workgroup)}"
    if len(contexts) < _MANY:
        messages = (yield Question(whom, _json_of(multi_last=list(asked), batch=len(asked)))) if asked else []
        _take(messages, asked, found)
        return found
    # There is one message of each, so that reading all is quicker than looking each up.
    everybody, sequence, is_more = every(workgroup, kind), 1, True
    while is_more:
        payload = _json_of(seq=sequence, next_by_subj=everybody, batch=_PAGE, max_bytes=_PAGE_BYTES)
        messages = [message for message in (yield Question(whom, payload)) if not message.status]
        _take(messages, asked, found)
        last = messages[-1].head if messages else b""
        is_more = _header(last, _PENDING) not in ("", "0") and _header(last, _SEQUENCE).isdigit()
        sequence = int(_header(last, _SEQUENCE)) + 1 if is_more else 0
    return found


def _json_of(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def _take(messages: Iterable[Message], asked: dict[str, str], found: dict[str, bytes]) -> None:
    for message in messages:
        context = asked.get(_header(message.head, _SUBJECT))
        # A server's answer that was kept as if a context had said it has the header of what is kept twice.
        if context is not None and message.head.count(_KEPT) == 1:
            found[context] = message.payload


def _header(head: bytes, name: bytes) -> str:
    """One header of a message: of a thousand messages, all headers of each would take too long."""
    place = head.find(name)
    end = head.find(b"\r\n", place + 2)
    return head[place + len(name) : end].decode("ascii", "replace").strip() if place >= 0 else ""


def answers_of(present: Iterable[Present], workgroup: str, machine: str) -> list[Answer]:
    """Those who can be reached, as if they had answered a question on the network.

    Args:
        present: Who is there.
        workgroup: The workgroup.
        machine: The computer that asks.
    """
    return [
        Answer(
            0, found.context, workgroup, where.host, where.port, found.said.version, found.said.pid, found.incarnation
        )
        for found in present
        if found.said is not None and (where := reachable(found.said, machine)) is not None
    ]


class Ways(NamedTuple):
    """How those who are there can be reached from one computer.

    Attributes:
        direct: Those that an address leads to, as if they had answered on the network.
        relayed: Names of those that are reached through a server alone.
        out_of_reach: Names of those that listen, and that nothing leads to.
    """

    direct: list[Answer]
    relayed: list[str]
    out_of_reach: list[str]


def ways_to(present: Iterable[Present], workgroup: str, machine: str, *, relay: bool) -> Ways:
    """How those who are there can be reached.

    Args:
        present: Who is there. One that has not said yet what it is, is left out.
        workgroup: The workgroup.
        machine: The computer that asks.
        relay: Whether it makes links through the servers.
    """
    known = [found for found in present if found.said is not None]
    direct = answers_of(known, workgroup, machine)
    reached = {answer.incarnation for answer in direct}
    others = [found.said for found in known if found.said is not None and found.incarnation not in reached]
    relayed = [said.context for said in others if relay and said.relay]
    return Ways(direct, relayed, [said.context for said in others if said.port and said.context not in relayed])


def reachable(said: Announcement, machine: str) -> HostPort | None:
    """Where a computer reaches a context; None if it does not listen, or only for its own computer."""
    near = said.machine == machine
    hosts = [host for host in said.hosts if near or not is_loopback(host)]
    hosts.sort(key=lambda host: (is_loopback(host) is not near, ":" in host))
    return HostPort(hosts[0], said.port) if hosts and said.port else None
