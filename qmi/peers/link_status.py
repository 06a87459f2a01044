"""What a context tells of its links: read from what is there already, so that nothing is counted for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from qmi.names import is_relay
from qmi.net.io.link import Link
from qmi.net.io.tcp_counters import tcp_counters
from qmi.net.protocol.connection import Connection
from qmi.peers.peer_connection import Gone, PeerConnection, address_of

if TYPE_CHECKING:
    from qmi.actors.context_status import LinkStatus


class CountedLink(NamedTuple):
    """A link with what counts for it.

    Attributes:
        link: The link.
        connection: The protocol on it, which numbers requests.
        sock: Its socket, for which the system counts bytes.
        since: When it was made, in seconds since 1970.
    """

    link: Link
    connection: Connection
    sock: socket.socket
    since: float


class CountedLinks(Protocol):
    """The links that there are."""

    @property
    def is_guarded(self) -> bool:
        """Whether they are protected by TLS."""

    def counted(self, link: Link) -> CountedLink | None:
        """One of them with what counts for it; None once it is gone."""


def link_statuses(
    members: Iterable[PeerConnection], links: CountedLinks, returning: Iterable[str], gone: Mapping[str, Gone]
) -> list[LinkStatus]:
    """How the links of a context are. From any thread; waits for nothing.

    Args:
        members: The contexts that are connected.
        links: Their links.
        returning: The contexts that are being connected again.
        gone: How links ended, by the name of the context.
    """
    from qmi.actors.context_status import LinkStatus  # only who asks needs it

    found = [_status(member, links) for member in members]
    up = {status.context for status in found}
    for name in returning:
        if name not in up:
            lost = gone.get(name)
            why, since = ("", 0.0) if lost is None else (lost.reason, lost.when)
            found.append(LinkStatus(context=name, state="reconnecting", why=why, since=since))
    return found


def _status(member: PeerConnection, links: CountedLinks) -> LinkStatus:
    from qmi.actors.context_status import LinkStatus

    link, hello = member.link, member.link.hello
    counted = links.counted(link)
    traffic = None if counted is None else tcp_counters(counted.sock)
    loss = link.loss
    return LinkStatus(
        context=member.origin.context,
        state="up" if link.is_up else "lost",
        why="" if loss is None else loss.reason,
        since=0.0 if counted is None else counted.since,
        name=member.real_name,
        address=address_of(member),
        outgoing=member.address is not None,
        version="" if hello is None else hello.library,
        pid=0 if hello is None else hello.pid,
        tls=links.is_guarded,
        relayed=is_relay(link.where),
        heard=0.0 if counted is None else max(time.monotonic() - counted.connection.last_heard, 0.0),
        requests=0 if counted is None else counted.connection.requests.last_asked,
        open_requests=link.open_requests,
        served_requests=0 if counted is None else counted.connection.requests.served_count,
        dropped_signals=link.dropped_signals,
        bytes_sent=-1 if traffic is None else traffic.sent,
        bytes_received=-1 if traffic is None else traffic.received,
        round_trip=-1.0 if traffic is None else traffic.round_trip,
    )
