"""What is known of a context that is connected, and what is kept of one that was."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from qmi.messages import Origin
from qmi.names import PASSING_PREFIXES, HostPort, is_relay
from qmi.records import NamedTuple

if TYPE_CHECKING:
    from qmi.net.io.link import Link
    from qmi.net.protocol.events import PeerLost
    from qmi.net.protocol.handshake import Hello


class PeerConnection(NamedTuple):
    """A context that is connected.

    Attributes:
        link: The link to it.
        origin: Who it is.
        address: Where it was connected to; None if it connected to this context.
        reconnect: Whether to connect again after a loss.
        wanted: Whether this context was asked to connect to it; else only the other one was.
    """

    link: Link
    origin: Origin
    address: HostPort | None
    reconnect: bool
    wanted: bool = True

    @property
    def real_name(self) -> str:
        """What it calls itself; what it is known as here may be another name."""
        return self.link.hello.context if self.link.hello is not None else self.origin.context


class Former(NamedTuple):
    """A context that was connected: what is kept of it, so that it is known again when it comes back.

    Attributes:
        real_name: What it calls itself.
        origin: Who it was.
        address: Where it was connected to; None if it connected to this context.
        reconnect: Whether it was to be connected again after a loss.
    """

    real_name: str
    origin: Origin
    address: HostPort | None
    reconnect: bool


class Gone(NamedTuple):
    """How a link ended, for who asks for it later; and whether its context can be connected to by its name."""

    when: float
    reason: str
    real_name: str
    reachable: bool


def gone_by(name: str, member: PeerConnection, loss: PeerLost) -> Gone:
    """Why a context that was known by a name is gone."""
    hello = member.link.hello
    reachable = member.address is not None or (hello is not None and bool(hello.address))
    return Gone(time.time(), loss.reason, member.real_name, reachable and member.real_name == name)


def may_share(holder: PeerConnection, hello: Hello) -> bool:
    """Whether two programs may have one name: neither can be connected to by it."""
    first = holder.link.hello
    clients = first is not None and not first.server and not hello.server
    return clients and holder.origin.incarnation != hello.incarnation and not holder.wanted


def address_of(member: PeerConnection) -> str:
    """Where a connected context is, for people."""
    hello = member.link.hello
    if is_relay(member.link.where):
        return member.link.where
    return str(member.address or "") or (hello.address if hello is not None else "") or member.link.where


def in_use(holder: PeerConnection) -> str:
    """Why a name cannot be had, for the program that wants it."""
    hello = holder.link.hello
    where = (hello.address if hello is not None else "") or holder.link.where
    return f"the name {holder.real_name!r} is in use by {where}, pid {hello.pid if hello is not None else 0}"


def usual_level(name: str) -> int:
    """The level of a line that says that a context came or went as it should."""
    # ``qmi_proc status --watch`` comes and goes every two seconds, under a new name each time.
    return logging.DEBUG if name.startswith(PASSING_PREFIXES) else logging.INFO
