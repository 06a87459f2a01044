"""Which contexts are connected: listening, connecting, one link per peer, and coming back after a loss."""

from __future__ import annotations

import itertools
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio
from tricycle import MultiCancelScope

from qmi._version import __version__
from qmi.actors.future import QMI_RpcFuture
from qmi.errors import (
    QMI_ConnectionException,
    QMI_ConnectionRefusedException,
    QMI_Exception,
    QMI_NotConnectedException,
    QMI_UsageException,
)
from qmi.messages import Origin, Request, Signal
from qmi.names import MAX_NAME_LENGTH, PASSING_PREFIXES, HostPort, check_name, parse_peer_address
from qmi.net.io.failures import Failures
from qmi.net.io.fan_out import FanOut
from qmi.net.protocol.bounds import describe_error
from qmi.net.protocol.link_ends import FAULT, LossKind, Role
from qmi.peers.acceptor import Acceptor, AcceptorServices
from qmi.peers.addresses import configured as configured_address
from qmi.peers.connector import Connector
from qmi.peers.peer_connection import Former, Gone, PeerConnection, address_of, gone_by, in_use, may_share, usual_level
from qmi.peers.relaying import SiteRelay, reach
from qmi.peers.resolver import PeerDescriptor, SiteDirectory, discover, find
from qmi.runtime.keepalive import Keepalive

if TYPE_CHECKING:
    from qmi.actors.context_status import LinkStatus
    from qmi.net.io.link import Link
    from qmi.net.protocol.events import PeerLost
    from qmi.net.protocol.handshake import Hello
    from qmi.peers.rpc_server import Serving

_logger = logging.getLogger("qmi.core.messaging")

_PROBE_TIME = 1.0
_ALREADY = "is connected already"
_HAS_STOPPED = "has stopped"
_HOW = " (qmi.context().connect_to_peer({!r}), or auto_connect=True)"
_REPLACED = "replaced by a new link of the same context"
_CROSSING_TIME = 2.0
_BURST = 100
"""Lines of one kind about contexts that come and go: so many at once, then one a second."""
_KEPT_FOR = 1.0
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 2.0


class ConnectionsServices(AcceptorServices, Protocol):
    """What connections need of the context."""

    suppress_version_mismatch_warnings: bool

    def peer_connected(self, origin: Origin, link: Link, restarted: bool | None) -> None:
        """There is a link to a context; ``restarted`` is None at the first time."""

    def request_here(self, message: Request, origin: Origin, link: Link, answer: QMI_RpcFuture[object]) -> None:
        """Hand a message to an object of this context, and let the answer end as that says."""

    def signals_here(self, signals: list[Signal], publisher_context: str) -> None:
        """Hand signals of another context to those who subscribed."""

    def resume(self) -> None:
        """Let objects begin calls whose answers had no room on a link, and have now."""

    def peer_gone(self, origin: Origin, reason: str, for_good: bool) -> None:
        """A context is gone, with all that it held; for good, if nobody tries to reach it again."""


class _Dial:
    """An attempt to connect to another context."""

    def __init__(self, name: str, where: HostPort, reconnect: bool, background: bool) -> None:
        self.name = name
        self.where = where
        self.reconnect = reconnect
        self.background = background
        self.outcome: QMI_RpcFuture[None] = QMI_RpcFuture(f"the connection to {name!r}")
        self.scope: trio.CancelScope = trio.CancelScope()
        self.link: Link | None = None
        self.yields = False
        self.closed: trio.Event = trio.Event()
        self.refused = False


class Connections:
    """The links of one context.

    Args:
        services: The context.

    Attributes:
        directory: Knows who is at the site of the context; None without one.
        relay: Connects to contexts that cannot be reached otherwise; None: nothing does.
    """

    def __init__(self, services: ConnectionsServices) -> None:
        self.directory: SiteDirectory | None = None
        self.relay: SiteRelay | None = None
        self._services = services
        self._config = services.config
        self._connector: Connector
        self._acceptor: Acceptor | None = None
        self._keepalive: Keepalive
        self._members: dict[str, PeerConnection] = {}
        self._serving: dict[Link, Serving] = {}
        self._known_as: dict[Link, str] = {}
        self._dials: dict[str, _Dial] = {}
        self._previous: dict[str, Former] = {}
        self._reconnecting: dict[str, trio.CancelScope] = {}
        self._reconnects = MultiCancelScope()  # all of these, and those that begin when the context is stopping
        self._gone: dict[str, Gone] = {}
        self._closing = False
        self.failures: Failures = Failures()
        self.fan_out: FanOut = FanOut(partial(self._spawn, "signals", "What is left of a burst of signals comes late"))
        self._kept_back = trio.Event()

    # What others may ask, from any thread

    def link_to(self, name: str) -> Link | None:
        """The link to a context, None if there is none."""
        member = self._members.get(name)
        return member.link if member is not None and member.link.is_up else None

    def link_of(self, incarnation: str) -> Link | None:
        """The link to a context, by its incarnation; None if there is none."""
        members = list(self._members.values())
        return next((one.link for one in members if one.origin.incarnation == incarnation and one.link.is_up), None)

    def has(self, name: str) -> bool:
        """Whether a context of this name is connected, whatever it is known as here."""
        if self.link_to(name) is not None:
            return True
        return any(member.real_name == name and member.link.is_up for member in list(self._members.values()))

    def may_return(self, name: str) -> bool:
        """Whether a context is connected, or was lost without anybody having ended the link: it may come back."""
        if name in self._reconnecting or name in self._dials or self.link_to(name) is not None:
            return True
        return name in self._previous

    def why_no_link(self, name: str) -> str:
        """Why there is no link to a context, and what to do, for a message."""
        others = [key for key, member in list(self._members.items()) if member.real_name == name and key != name]
        if others:
            known = "another one of this name is" if len(others) == 1 else "others of this name are"
            keys = " and ".join(map(repr, sorted(others)))
            return f"There is no connection to the first context {name!r}; {known} {keys} here"
        gone = self._gone.get(name)
        # Whoever waited for its answer is told of the loss of a link before this object is.
        if (member := self._members.get(name)) is not None and member.link.loss is not None:
            gone = gone_by(name, member, member.link.loss)
        if gone is None:
            return f"There is no connection to context {name!r}; connect_to_peer({name!r}) makes one{_HOW.format(name)}"
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(gone.when)) + " UTC"
        stopped = gone.reason.endswith(f"context {gone.real_name!r} {_HAS_STOPPED}")
        if not gone.reachable:
            advice = "it is a client, and has to connect again itself"
        else:
            again = f"connect_to_peer({name!r}) connects to it again{_HOW.format(name)}"
            if name in self._reconnecting:
                again = "it is being connected again"
            advice = f"once it runs again, {again}" if stopped else again
        if stopped:
            return f"Context {name!r} has stopped, at {when}; {advice}"
        return f"There is no connection to context {name!r} since {when} ({gone.reason}); {advice}"

    def names(self) -> list[str]:
        """The contexts that are connected."""
        return sorted(name for name, member in list(self._members.items()) if member.link.is_up)

    def not_among(self, found: Iterable[PeerDescriptor]) -> list[PeerDescriptor]:
        """The contexts that are connected and did not answer a question on the network."""
        answered = {answer.name for answer in found}
        return [
            PeerDescriptor(name, address_of(member))
            for name, member in list(self._members.items())
            if member.link.is_up and not answered & {name, member.real_name}
        ]

    def address_of(self, name: str) -> str:
        """Where a connected context is, for people."""
        return address_of(self._members[name])

    def whereabouts(self, origin: Origin) -> str:
        """Where a connected context is, and its process: ``"10.0.0.7:51234, pid 4711"``; empty if it is gone."""
        member = self._members.get(origin.context)
        if member is None or member.origin != origin:
            return ""
        hello = member.link.hello
        return member.link.where + (f", pid {hello.pid}" if hello is not None and hello.pid else "")

    def link_statuses(self) -> list[LinkStatus]:
        """How the links are, and those that are being made again."""
        from qmi.peers.link_status import link_statuses  # only who asks needs it

        return link_statuses(list(self._members.values()), self._connector, list(self._reconnecting), self._gone)

    @property
    def dropped_signals(self) -> int:
        """How many signals found no room on their links, of those that are gone, too."""
        return self._connector.dropped_signals + sum(link.dropped_signals for link in self._links())

    @property
    def own_address(self) -> str:
        """Where others reach this context, ``"host:port"``; empty if it does not listen."""
        return self._connector.own_address

    def _links(self) -> list[Link]:
        return [member.link for member in list(self._members.values())]

    @property
    def port(self) -> int:
        """The TCP port that this context listens on; 0 if it does not."""
        return 0 if self._acceptor is None else self._acceptor.port

    @property
    def hosts(self) -> list[str]:
        """The addresses that this context listens on."""
        return [] if self._acceptor is None else self._acceptor.hosts

    # Starting and stopping, on the loop

    def start(self) -> None:
        """Listen, and answer who looks for contexts.

        Raises:
            QMI_Exception: If the context cannot listen where it should, or its certificate is no good.
        """
        self.failures.on_kept = lambda: self._services.loop.now_or_soon(self._kept_back.set)
        self._services.spawn(self._tell_kept_lines)
        self._connector = Connector(self._services, self.failures)
        period = self._config.limits.peer_timeout / 8
        self._keepalive = Keepalive(self._services.loop, self._links, period=period)
        self._acceptor = Acceptor(
            self._services, self._connector, lambda proven: _ConnectionHandler(self, proven=proven), self.failures
        )
        self._connector.check_certificate()
        self._acceptor.open()

    async def connect_to_configured(self) -> None:
        """Connect to the configured peers, all at once.

        Those that the configuration lets be missing are looked for in the background until they are there.

        Raises:
            QMI_ConnectionException: If one cannot be connected that has to be; all of those are named.
        """
        own = self._services.configured()
        if own is None or not own.connect_to_peers:
            return
        may_be_missing = own.reconnect if own.allow_missing_peers is None else own.allow_missing_peers
        names = list(dict.fromkeys(own.connect_to_peers))
        faults: dict[str, QMI_Exception] = {}

        async def connect(name: str) -> None:
            try:
                await self.connect(name, None, ignore_duplicate=True, reconnect=own.reconnect or may_be_missing)
            except QMI_Exception as error:
                faults[name] = error

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(connect, name)
        missing = [name for name in names if name in faults]
        if not may_be_missing or self._services.name in missing:
            self._refuse_to_start(missing, names, faults)
        for name in missing:
            _logger.warning("%s. This goes on being tried in the background", faults[name])
            where = configured_address(self._config, name)
            self._spawn("dial", f"Context {name!r} is not connected", self._come_back, name, where)

    def _refuse_to_start(self, missing: list[str], names: list[str], faults: dict[str, QMI_Exception]) -> None:
        if missing:
            number = f"{len(missing)} of the {len(names)} contexts" if len(names) > 1 else "the context"
            raise QMI_ConnectionException(
                f"Context {self._services.name!r} cannot start, since {number} in its connect_to_peers cannot be "
                "reached:\n"
                + "\n".join(f"  {faults[name]}" for name in missing)
                + ("\n" + " ".join(self._advice(missing)))
            )

    def _advice(self, missing: list[str]) -> Iterator[str]:
        own = self._services.name
        if own in missing:
            yield f"Take {own!r} out of its own connect_to_peers."
        if missing != [own]:
            setting = f"contexts.{own}.allow_missing_peers"
            yield f"Start them before this one or, if it may start without, set {setting} to true"

    def _spawn(self, cause: str, what: str, function: Callable[..., Awaitable[object]], *args: object) -> bool:
        # Nothing that fails in a task of this kind may end the context: see qmi.net.io.failures.
        return self._services.spawn(self.failures.contain, cause, what, function, *args)

    async def _tell_kept_lines(self) -> None:
        # Of a flood of lines, those that were not written are counted in the next one. If none comes, here.
        while True:
            await self._kept_back.wait()
            self._kept_back = trio.Event()
            await trio.sleep(_KEPT_FOR)
            while self.failures.tell_kept():
                await trio.sleep(_KEPT_FOR)

    async def stop(self) -> None:
        """End every link, and listen no more."""
        self._closing = True
        if self._acceptor is not None:  # else it was cancelled before it had started
            self._keepalive.stop()
            self._acceptor.close()
        self._reconnects.cancel()
        for member in list(self._members.values()):
            member.link.close(f"context {self._services.name!r} {_HAS_STOPPED}")
            await member.link.ended.wait()
        if self.relay is not None:
            await self.relay.stop()
        self.failures.tell_kept(now=True)

    async def accept(self, connection: socket.socket, where: HostPort) -> None:
        """Somebody has connected, by a relay; it is closed here."""
        if self._acceptor is None or self._closing:
            connection.close()
            return
        await self._acceptor.accept(connection, where)

    # Connecting

    async def connect(
        self, name: str, address: str | None = None, *, ignore_duplicate: bool = False, reconnect: bool = False
    ) -> None:
        """Connect to another context.

        Args:
            name: Its name.
            address: ``"host:port"``, or ``"relay host:port"`` for a way through the site alone; None looks into the
                configuration and then on the network.
            ignore_duplicate: Whether it is fine to be connected already.
            reconnect: Whether to connect again when the link is lost.

        Raises:
            QMI_UsageException: If it is connected already, or names this context.
            QMI_ConnectionException: If it cannot be reached, or refuses.
        """
        check_name(name, "context")
        if name == self._services.name:
            raise QMI_UsageException(f"Context {name!r} cannot connect to itself")
        where = None if address is None else parse_peer_address(address)
        while (dial := self._dials.get(name)) is not None and self.link_to(name) is None:
            if not (ignore_duplicate or dial.background):
                break
            await dial.outcome.ended()  # somebody else of this program connects to it just now
            await trio.lowlevel.checkpoint()
        member = self._members.get(name)
        if member is not None and member.link.is_up and self._will_do(member, where, ignore_duplicate):
            self._want(name, member, where, reconnect)
            return
        if where is None:
            where = await find(self._config, name, self.directory, self.relay)
        await self._connect_to(name, where, reconnect)

    def _will_do(self, member: PeerConnection, where: HostPort | None, ignore_duplicate: bool) -> bool:
        """Whether the link that there is is the one that somebody wants to make."""
        # The other one may have connected to this context. If another address is meant, whoever is there will tell.
        hello = member.link.hello
        known = {str(member.address or ""), hello.address if hello is not None else ""}
        meant = where is None or any(at.rpartition(":")[2] == str(where.port) for at in known)
        if ignore_duplicate:
            if not meant:
                name = member.origin.context
                text = (
                    "Context %s is connected to %s at %s already; the address %s is not used. disconnect_from_peer(%r) "
                )
                text += "makes way for a program of that name elsewhere"
                _logger.warning(text, self._services.name, name, self.address_of(name), where, name)
            return True
        if member.wanted:
            raise QMI_UsageException(
                f"Context {self._services.name!r} is connected to {member.origin.context!r} already, "
                f"at {self.address_of(member.origin.context)}"
            )
        return meant

    def _want(self, name: str, member: PeerConnection, where: HostPort | None, reconnect: bool) -> None:
        if not member.wanted or (reconnect and not member.reconnect):
            address = where or member.address or configured_address(self._config, name)
            again = reconnect or member.reconnect
            self._members[name] = member._replace(address=address, reconnect=again, wanted=True)

    async def discover(self, workgroup: str | None, pattern: str) -> list[PeerDescriptor]:
        """Look for contexts on the network; this one is not among them.

        Args:
            workgroup: Their workgroup; None is that of this context.
            pattern: Which names are wanted, with ``*``, ``?`` and ``[...]``.
        """
        own, incarnation = (self._services.name, self.port), self._services.origin.incarnation
        answers = await discover(self._config, workgroup, pattern, directory=self.directory)
        found = [
            PeerDescriptor(answer.name, str(answer.address))
            for answer in answers
            if (answer.incarnation != incarnation if answer.incarnation else (answer.name, answer.port) != own)
        ]
        if self.relay is not None and workgroup in (None, self._config.workgroup):
            found += [PeerDescriptor(name, str(where)) for name, where in await self.relay.only_by_it(pattern)]
        return sorted(found, key=lambda one: one.name)  # and else as they were

    async def _connect_to(self, name: str, where: HostPort, reconnect: bool, *, background: bool = False) -> None:
        if name in self._dials:
            raise QMI_UsageException(f"Context {self._services.name!r} is connecting to {name!r} already")
        dial = _Dial(name, where, reconnect, background)
        if not self._spawn("dial", f"Connecting to context {name!r} ends by a fault of this program", self._dial, dial):
            raise QMI_ConnectionException(f"Context {self._services.name!r} is stopping")
        self._dials[name] = dial
        try:
            await dial.outcome
        except trio.Cancelled:
            dial.scope.cancel()  # whoever gives up wants no link
            raise

    async def _dial(self, dial: _Dial) -> None:
        reason = f"context {self._services.name!r} is stopping"
        try:
            with dial.scope:
                reason = await self._dial_once(dial)
                member = self._members.get(dial.name)
                if reason.endswith(_ALREADY) and member is not None and member.link.is_up:
                    # The other side knows this context: its own link, which came meanwhile, or by another address.
                    self._want(dial.name, member, dial.where, dial.reconnect)
                    dial.outcome.set_result(None)
        finally:
            dial.closed.set()
            try:
                if not dial.yields:
                    self._end_dial(dial, reason)
            except Exception:  # told by the boundary of this task; whoever waits must not do so for ever
                self._dials.pop(dial.name, None)
                dial.outcome.fail(QMI_ConnectionException(f"Context {dial.name!r} cannot be connected: {FAULT}"))
                raise

    def _end_dial(self, dial: _Dial, reason: str) -> None:
        if self._dials.get(dial.name) is dial:
            del self._dials[dial.name]
        what = f"Context {dial.name!r} at {dial.where} cannot be connected"
        failure = QMI_ConnectionRefusedException if dial.refused else QMI_ConnectionException
        dial.outcome.fail(failure(f"{what}: {reason}"))  # unless there is a link, or was

    async def _dial_once(self, dial: _Dial) -> str:
        links: list[Link] = []

        def ready(made: Link) -> None:
            dial.link = made
            links.append(made)

        try:
            sock, where = await reach(dial.name, dial.where, self._config.limits.connect_timeout, self.relay)
            try:
                owner = _ConnectionHandler(self, dial)
                await self._connector.enter(sock, Role.CONNECTING, where, owner, expected=dial.name, ready=ready)
            finally:
                if not links or not links[0].is_left_to_reader:
                    sock.close()
        except OSError as error:
            dial.refused = isinstance(error, ConnectionRefusedError)
            return error.strerror or str(error)
        except Exception as error:  # nobody foresaw it: this attempt has failed, and nothing else
            self.failures.fault("dial", f"Connecting to context {dial.name!r} ends by {FAULT}", error)
            return f"{FAULT}: {describe_error(error)}"
        loss = None if dial.link is None else dial.link.loss
        if loss is None or dial.link is None:
            return "the link was lost"
        unknown = loss.kind is LossKind.SILENT and dial.link.hello is None
        return f"{loss.reason}; perhaps it is no context" if unknown else loss.reason

    async def disconnect(self, name: str) -> None:
        """End the link to a context.

        Raises:
            QMI_UsageException: If it is not connected.
        """
        if (returning := self._reconnecting.pop(name, None)) is not None:
            returning.cancel()
            self._previous.pop(name, None)
            if (dial := self._dials.get(name)) is not None:  # whoever connects next must not find it in the way
                dial.scope.cancel()
                await dial.outcome.ended()
            return
        member = self._members.get(name)
        if member is None:
            raise QMI_NotConnectedException(f"Context {self._services.name!r} is not connected to {name!r}")
        member.link.close(f"context {self._services.name!r} disconnected")
        await member.link.ended.wait()

    async def _come_back(self, name: str, where: HostPort | None) -> None:
        delay = _FIRST_DELAY
        with self._reconnects.open_child() as scope:
            self._reconnecting[name] = scope
            while self.link_to(name) is None:
                try:
                    known = where or await find(self._config, name, self.directory, self.relay)
                    await self._connect_to(name, known, True, background=True)
                    break
                except (QMI_ConnectionException, QMI_UsageException):
                    pass
                except Exception as error:  # nobody foresaw it; the next attempt may succeed all the same
                    self.failures.fault(
                        "dial", f"Connecting to context {name!r} again is tried later after {FAULT}", error
                    )
                await trio.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
        if self._reconnecting.get(name) is scope:
            del self._reconnecting[name]

    # What links tell (through _ConnectionHandler)

    def hello(self, link: Link, hello: Hello) -> None:
        """Somebody wants in."""
        if link.loss is not None:  # it has gone while others were asked
            return
        name = hello.context
        member = self._holder(hello)
        if member is not None:
            # The name is taken. If its holder is dead, that only was not noticed yet.
            self._spawn(
                "link", f"Who context {name!r} is was not found out", self._probe_existing_link, member, link, hello
            )
        elif name in self._dials and self._services.name < name:
            # Both connect at the same time; the link that the smaller name makes is the one that stays, if it is made.
            what = f"Whether context {name!r} is connected was not found out"
            self._spawn("link", what, self._resolve_simultaneous_connect, self._dials[name], link, hello)
        else:
            self._admit(link, name)

    def _admit(self, link: Link, name: str) -> None:
        refusal = None if name in self._members else self._lacks_link(link.machine)
        if refusal is not None:
            link.refuse(f"context {self._services.name!r} {refusal}")
        else:
            link.accept()

    def _holder(self, hello: Hello) -> PeerConnection | None:
        """The link that stands in the way of a new one: of the same program, or else of the same name."""
        first = self._members.get(hello.context)
        if first is None or not first.link.is_up:
            first = None
        if first is not None and first.origin.incarnation == hello.incarnation:
            return first
        for member in list(self._members.values()) if first is not None else ():
            if (member.real_name, member.origin.incarnation) == (hello.context, hello.incarnation):
                return member if member.link.is_up else first
        return first

    def _name_for(self, hello: Hello, dial: _Dial | None) -> str | None:
        """What a context is to be known as here; None if that is up to somebody else who is connected.

        Clients that nobody connects to by name may share one: a script that runs twice. The first is known by it, the
        others as ``name(2)``, ``name(3)``; everything that depends on a name depends on that one. One whose link was
        lost is known as before when it comes back.
        """
        name, holder = hello.context, self._holder(hello)
        if holder is not None and (dial is not None or not may_share(holder, hello)):
            return None
        for known, former in self._previous.items():
            same = former.real_name == name and former.origin.incarnation == hello.incarnation
            if same and known != name and self.link_to(known) is None:
                return known
        if holder is None:
            return name
        for number in itertools.count(2):
            ending = f"({number})"
            known = name[: MAX_NAME_LENGTH - len(ending)] + ending
            if known != self._services.name and known not in self._config.contexts and self.link_to(known) is None:
                break
        return known

    def _lacks_link(self, machine: str) -> str | None:
        own = sum(member.link.machine == machine for member in self._members.values())
        from qmi.net.io.link_quota import Shares

        limits = self._config.limits
        shares = Shares(
            total=limits.max_links,
            per_address=limits.max_links_per_address,
            local=limits.max_local_links,
            kept=limits.reserved_links,
        )
        return shares.refusal(machine, own, len(self._members))

    async def _resolve_simultaneous_connect(self, dial: _Dial, link: Link, hello: Hello) -> None:
        # Decided here alone: the side with the larger name accepts whatever comes. Its own attempt waits meanwhile.
        with trio.move_on_after(min(_CROSSING_TIME, self._config.limits.hello_timeout / 2)):
            await dial.outcome.ended()
        if dial.outcome.done():
            self.hello(link, hello)
            return
        # Only the other side can reach this one, it seems: its link becomes the outcome of the attempt. That has to be
        # over before, or each side could accept the link of the other and drop its own.
        dial.yields = True
        dial.scope.cancel()
        await dial.closed.wait()
        if link.loss is None:
            link.accept()
        with trio.move_on_after(_CROSSING_TIME):
            await dial.outcome.ended()
        self._end_dial(dial, "it was connecting to this one itself, and was lost")

    async def _probe_existing_link(self, member: PeerConnection, link: Link, hello: Hello) -> None:
        try:
            await self._compare(member, link, hello)
        except Exception as error:  # of the two links, the new one ends
            link.fault("finding out whether its name is free", error)

    async def _compare(self, member: PeerConnection, link: Link, hello: Hello) -> None:
        if not await member.link.probe(_PROBE_TIME):
            member.link.close(_REPLACED)
            await member.link.ended.wait()
            self.hello(link, hello)  # somebody else may have been faster
        elif link.loss is not None:
            return
        elif member.origin.incarnation == hello.incarnation:
            link.refuse(f"context {hello.context!r} {_ALREADY}")
        elif may_share(member, hello):
            self._admit(link, "")
        else:
            link.refuse(in_use(member))

    def connected(self, link: Link, hello: Hello, dial: _Dial | None) -> None:
        """The handshake is done."""
        from qmi.peers.rpc_server import RenamedServing, Serving  # with all else that links need: see Connector

        name = self._name_for(hello, dial)
        if name is None:
            self._connected_twice(link, hello, dial)
            return
        origin = Origin(name, hello.incarnation)
        self._connector.note_version(link, hello)
        self._known_as[link] = name
        serving: Callable[..., Serving] = Serving
        if name != hello.context:
            references = self._connector.call_otherwise(link, hello.context, name)
            serving = partial(RenamedServing, chain_here=references.chain_here)
        self._gone.pop(name, None)
        before = self._previous.pop(name, None)
        self._members[name] = self._member(link, origin, dial, before)
        self._serving[link] = serving(self._services, link, origin)
        self._keepalive.start()
        self._tell(name, link, hello, before, origin)
        self._services.peer_connected(origin, link, None if before is None else before.origin != origin)
        if (waiting := self._dials.pop(name, None)) is not None:
            waiting.outcome.set_result(None)
            if waiting is not dial:
                waiting.scope.cancel()  # the other side was faster

    def _connected_twice(self, link: Link, hello: Hello, dial: _Dial | None) -> None:
        holder = self._holder(hello)
        if dial is not None and holder is not None:
            if holder.origin.incarnation == hello.incarnation:
                self._want(dial.name, holder, dial.where, dial.reconnect)
                dial.outcome.set_result(None)
            else:
                what = f"Context {dial.name!r} at {dial.where} cannot be connected"
                dial.outcome.fail(QMI_ConnectionException(f"{what}: {in_use(holder)}"))
        link.close("connected twice")

    def _member(self, link: Link, origin: Origin, dial: _Dial | None, before: Former | None) -> PeerConnection:
        for wish in (dial, self._dials.get(origin.context)):
            if wish is not None:
                return PeerConnection(link, origin, wish.where, wish.reconnect)
        if before is not None:  # it came back by itself; that it is to be connected again still holds
            return PeerConnection(link, origin, before.address, before.reconnect, wanted=before.reconnect)
        return PeerConnection(link, origin, None, False, wanted=False)

    def _tell(self, name: str, link: Link, hello: Hello, before: Former | None, origin: Origin) -> None:
        report = partial(self.failures.report, burst=_BURST)
        if name != hello.context:
            text = "Context %s at %s (pid %d) is known as %s here: another program has its name"
            report("renamed", logging.INFO, text, hello.context, link.where, hello.pid, name)
        if hello.library != __version__ and not self._services.suppress_version_mismatch_warnings:
            text = "Context %s runs version %s, this one %s"
            report("version", logging.WARNING, text, name, hello.library, __version__)
        if before is None:
            report("connected", usual_level(name), "Connected to context %s at %s", name, link.where)
        else:
            how = "resumed" if before.origin == origin else "restarted"
            level = logging.WARNING if before.reconnect else logging.INFO
            report("back", level, "Connected to context %s at %s again, which was %s", name, link.where, how)

    def request(self, link: Link, number: int, message: Request) -> None:
        """The other side asks for something."""
        if (serving := self._serving.get(link)) is not None:
            serving.request(number, message)

    def cancel(self, link: Link, number: int) -> None:
        """The other side does not wait for this any more."""
        if (serving := self._serving.get(link)) is not None:
            serving.cancel(number)

    def credit(self, link: Link, number: int) -> None:
        """A stream may go on."""
        if (serving := self._serving.get(link)) is not None:
            serving.credit(number)

    def signals(self, link: Link, signals: list[Signal]) -> None:
        """Objects of the other side published something."""
        hello = link.hello
        assert hello is not None
        self._services.signals_here(signals, self._known_as.get(link) or hello.context)

    def resume_writing(self, link: Link) -> None:
        """There is room again on a link that was full."""
        self._services.resume()

    def lost(self, link: Link, loss: PeerLost) -> None:
        """The link is gone."""
        if loss.kind not in (LossKind.CLOSED, LossKind.GOODBYE, LossKind.FAULT):  # the link itself counts the last
            self.failures.count(f"link: {loss.kind.value}")
        serving = self._serving.pop(link, None)
        try:
            if serving is not None:
                serving.end()
        finally:  # whatever becomes of its requests, its locks go
            self._forget(link, loss)

    def _forget(self, link: Link, loss: PeerLost) -> None:
        name = self._known_as.pop(link, "")
        member = self._members.get(name)
        if member is None or member.link is not link:
            return
        replaced = loss.reason == _REPLACED
        unwanted = self._closing or (loss.kind is LossKind.CLOSED and not replaced)
        back = member.reconnect and not unwanted
        what = f"Context {name!r} is not connected again"
        with ExitStack() as steps:  # each is taken whatever becomes of the others; the last one first
            if back and member.address is not None:
                steps.callback(self._spawn, "dial", what, self._come_back, name, member.address)
            steps.callback(self._services.peer_gone, member.origin, loss.reason, not back)
            steps.callback(self._tell_loss, name, link, loss)
            steps.callback(self._members.pop, name)  # not before it is known why it is gone
            if not name.startswith(PASSING_PREFIXES):
                steps.callback(self._note_gone, name, member, loss)
                if not unwanted:
                    steps.callback(self._remember, name, member)

    def _tell_loss(self, name: str, link: Link, loss: PeerLost) -> None:
        if loss.kind is LossKind.FAULT:  # the link has told already
            return
        level = usual_level(name) if loss.kind in (LossKind.CLOSED, LossKind.GOODBYE) else logging.WARNING
        text = "The link to context %s at %s is gone: %s"
        self.failures.report("gone", level, text, name, link.where, loss.reason, burst=_BURST)

    def _note_gone(self, name: str, member: PeerConnection, loss: PeerLost) -> None:
        self._gone.pop(name, None)
        self._gone[name] = gone_by(name, member, loss)
        if len(self._gone) > self._config.limits.max_links:
            del self._gone[next(iter(self._gone))]

    def _remember(self, name: str, member: PeerConnection) -> None:
        # When it comes again, it is known whether it was restarted.
        self._previous.pop(name, None)
        self._previous[name] = Former(member.real_name, member.origin, member.address, member.reconnect)
        if len(self._previous) > self._config.limits.max_links:
            del self._previous[next(iter(self._previous))]


class _ConnectionHandler:
    """The owner of a link: passes on what it tells, with what is known about the link."""

    def __init__(
        self, connections: Connections, dial: _Dial | None = None, proven: Callable[[], object] = lambda: None
    ) -> None:
        self._connections = connections
        self._dial = dial
        self._authenticated = proven
        self.hello = connections.hello
        self.request = connections.request
        self.cancel = connections.cancel
        self.credit = connections.credit
        self.signals = connections.signals
        self.resume_writing = connections.resume_writing
        self.lost = connections.lost

    def connected(self, link: Link, hello: Hello) -> None:
        """The handshake is done."""
        self._authenticated()
        self._connections.connected(link, hello, self._dial)
