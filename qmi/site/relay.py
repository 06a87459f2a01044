"""Links through the servers of a site, between contexts that cannot reach each other.

A link needs a connection that threads and the loop write and read. So each side makes a pair of sockets of its own: the
link gets one, as if it were a connection to the other context, and what is written to it goes out as messages
(:mod:`qmi.site.relay_flow`). Everything that a link does is done as on any other: what both sides prove to each other,
signs of life, locks, streams. Servers see what is in the messages only if links are not protected.

All of it runs on the loop. What the socket does not take, and what may not be sent yet, waits; see ``WINDOW``.
"""

from __future__ import annotations

import secrets
import socket
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol

import trio

from qmi.config.schema import CfgQmi
from qmi.errors import QMI_NotDeliveredException, QMI_TimeoutException
from qmi.messages import Origin
from qmi.names import HostPort, Relay
from qmi.runtime.forks import close_in_child
from qmi.site.client import SiteClient
from qmi.site.here import machine
from qmi.site.presence import Present, ways_to
from qmi.site.relay_flow import (
    OVERHEAD,
    Ended,
    Flow,
    Opening,
    RelayError,
    read_answer,
    read_opening,
    write_answer,
    write_opening,
)
from qmi.site.server_config import CONNECTIONS
from qmi.site.subjects import inbox_root, relay_subject
from qmi.site.wire import Message

_OPEN: Final = "open"
_ANSWER_TIME: Final = 5.0
_LAST_WORDS: Final = 1.0
"""How long what a link says last may take to get out when a context stops, in seconds."""


class RelayServices(Protocol):
    """What is needed of the context."""

    name: str
    config: CfgQmi
    origin: Origin

    def spawn(self, function: Callable[..., Coroutine[object, object, None]], *args: object) -> bool:
        """Start a task that lives as long as the context."""
        ...

    async def accept(self, connection: socket.socket, where: HostPort) -> None:
        """Somebody has connected."""
        ...


class RelayDirectory(Protocol):
    """Knows who is at the site."""

    async def who(self, pattern: str = "*") -> list[Present]:
        """Who is there."""
        ...


class RelayedSocket(socket.socket):
    """The end of a pair of sockets that a link gets. When it ends, it says what the relay says.

    Attributes:
        fault: Why nothing comes any more; empty as long as all is well.
    """

    fault: str = ""

    def recv(self, *args: Any) -> bytes:
        """Read what is there."""
        data = super().recv(*args)
        if not data:
            self._tell()
        return data

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Read what is there."""
        size = super().recv_into(*args, **kwargs)
        if not size:
            self._tell()
        return size

    def send(self, *args: Any) -> int:
        """Write some of it."""
        try:
            return super().send(*args)
        except BrokenPipeError:
            self._tell()
            raise

    if sys.platform != "win32":

        def sendmsg(self, *args: Any) -> int:
            """Write some of it."""
            try:
                return super().sendmsg(*args)
            except BrokenPipeError:
                self._tell()
                raise

    def _tell(self) -> None:
        if self.fault:
            raise ConnectionResetError(self.fault)


def _pair() -> tuple[RelayedSocket, socket.socket]:
    first, second = socket.socketpair()
    second.setblocking(False)
    link_end = RelayedSocket(fileno=first.detach())
    close_in_child(link_end)
    close_in_child(second)
    return link_end, second


class _Pipe:
    """What carries the bytes of one link.

    Args:
        client: The connection to the servers.
        subject: Where the other side gets its messages.
        incarnation: The other side.

    Attributes:
        link_end: The socket that the link gets.
        incarnation: The other side.
    """

    def __init__(self, client: SiteClient, subject: str, incarnation: str) -> None:
        self._client = client
        self._subject = subject.encode()
        self.incarnation = incarnation
        self.link_end, self._end = _pair()
        self._flow = Flow()
        self._arrived: deque[memoryview] = deque()
        self._has_arrived = trio.Event()
        self._has_room = trio.Event()
        self._is_over = trio.Event()
        self._ended = False  # by the other side, once all that came is handed over

    async def run(self) -> None:
        """Carry bytes until one side ends the link."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                nursery.start_soon(self._hand_over)
                await self._is_over.wait()
                nursery.cancel_scope.cancel()
        finally:
            self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._end.fileno() >= 0:
            trio.lowlevel.notify_closing(self._end)
            self._end.close()

    def fail(self, reason: str, *, tell: bool = True) -> None:
        """The link is broken; ``tell`` the other side, too."""
        if self._is_over.is_set():
            return
        self.link_end.fault = reason
        if tell:
            self._client.send_now(self._subject, self._flow.end(reason))
        self._is_over.set()

    # From the link to the servers

    async def _send(self) -> None:
        while True:
            while self._flow.room <= 0:
                self._has_room = trio.Event()
                await self._has_room.wait()
            await trio.lowlevel.wait_readable(self._end)
            try:
                data = self._end.recv(min(self._flow.room, self._client.max_payload - OVERHEAD))
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:  # the link has ended, after its last words
                self._client.send_now(self._subject, self._flow.end())
                self._is_over.set()
                return
            if not self._client.send_now(self._subject, self._flow.data(data)):
                self.fail(self._client.fault, tell=False)

    # From the servers to the link

    def came(self, message: bytes) -> None:
        """The other side has sent something."""
        try:
            found = self._flow.came(message)
        except RelayError as error:
            self.fail(str(error))
            return
        if found is None:
            self._has_room.set()
            return
        if isinstance(found, Ended):
            self.link_end.fault = self.link_end.fault or found.reason
            self._ended = True
        elif found and not self._ended:
            self._arrived.append(memoryview(found))
            self._write()
        if self._arrived or self._ended:
            self._has_arrived.set()

    def _write(self) -> None:
        """Hand over what the socket takes."""
        size = 0
        try:
            while self._arrived:
                sent = self._end.send(self._arrived[0])
                size += sent
                if sent == len(self._arrived[0]):
                    self._arrived.popleft()
                else:
                    self._arrived[0] = self._arrived[0][sent:]
        except BlockingIOError:
            pass
        except OSError:  # the link has ended, which `_send` finds
            self._arrived.clear()
        if size and (grant := self._flow.hand_over(size)):
            self._client.send_now(self._subject, grant)

    async def _hand_over(self) -> None:
        while True:
            await self._has_arrived.wait()
            while self._arrived:
                await trio.lowlevel.wait_writable(self._end)
                self._write()
            if self._ended:
                self._is_over.set()
                return
            self._has_arrived = trio.Event()


class LinkRelay:
    """Makes links through the servers, and takes those of others.

    Args:
        client: The connection to the servers.
        directory: Knows who is there.
        services: The context.
    """

    def __init__(self, client: SiteClient, directory: RelayDirectory, services: RelayServices) -> None:
        self._client = client
        self._directory = directory
        self._services = services
        self._group = services.config.workgroup
        self._inbox = inbox_root(self._group)
        self._own = (services.name, services.origin.incarnation)
        self._pipes: dict[str, _Pipe] = {}
        self._has_ended = trio.Event()

    def start(self) -> None:
        """Take what others send. On the loop, before the client runs."""
        self._client.subscribe(f"{relay_subject(self._group, *self._own, '')[:-1]}*", self._came)
        self._client.on_down.append(self._lost)

    async def stop(self) -> None:
        """Let the last words of links out that have been closed."""
        if not self._pipes:
            return
        with trio.move_on_after(_LAST_WORDS), suppress(QMI_NotDeliveredException, QMI_TimeoutException):
            while self._pipes:
                self._has_ended = trio.Event()
                await self._has_ended.wait()
            await self._client.request(CONNECTIONS, b'{"limit": 1}')  # the server has all that was sent before

    # Making links

    async def find(self, name: str) -> Relay | None:
        """Through which server a context can be reached; None if none of that name is at the site.

        Raises:
            OSError: If there are several of that name, or it takes no such links.
        """
        found = await self._present(name)
        # One that has not said yet where it is, since it has only just started, may be reached directly.
        return None if found is None or found.said is None else self.where

    async def only_by_it(self, pattern: str) -> list[tuple[str, Relay]]:
        """The contexts that are reached in no other way, each with the server; none if the site cannot be asked."""
        if not self._client.is_up:
            return []
        try:
            present = await self._directory.who(pattern)
        except (QMI_NotDeliveredException, QMI_TimeoutException):  # as whoever asked for the others has said
            return []
        others = [found for found in present if found.incarnation != self._own[1]]
        return [(name, self.where) for name in ways_to(others, self._group, machine(), relay=True).relayed]

    async def _present(self, name: str) -> Present | None:
        """The context of a name that a link can be made to through the servers; None if there is none.

        Raises:
            OSError: If there are several of that name, or it takes no such links.
        """
        if not self._client.is_up:
            return None
        try:
            found = [one for one in await self._directory.who(name) if one.incarnation != self._own[1]]
        except (QMI_NotDeliveredException, QMI_TimeoutException) as error:
            raise ConnectionError(f"the site does not say who is there: {error}") from error
        if len(found) > 1:
            places = ", ".join(f"pid {one.said.pid}" if one.said else one.incarnation for one in found)
            raise ConnectionError(f"{len(found)} contexts of that name are at the site ({places})")
        if found and found[0].said is not None and not found[0].said.relay:
            raise ConnectionError("it is at the site, and takes no links through it (site.relay in its configuration)")
        return found[0] if found else None

    async def open(self, name: str) -> tuple[socket.socket, Relay] | None:
        """Connect to a context through the servers.

        Returns:
            The connection and what is to be said of it; None if no context of that name is at the site.

        Raises:
            OSError: If that is not possible.
        """
        found = await self._present(name)
        if found is None:
            return None
        connection = secrets.token_hex(16)
        there = found.context, found.incarnation
        pipe = _Pipe(self._client, relay_subject(self._group, *there, connection), found.incarnation)
        self._pipes[connection] = pipe
        is_open = False
        try:
            await self._ask(relay_subject(self._group, *there, _OPEN), connection)
            is_open = self._services.spawn(self._carry, connection, pipe)
        finally:
            if not is_open:
                self._drop(connection, pipe)
        if not is_open:
            raise ConnectionError(f"context {self._own[0]!r} is stopping")
        return pipe.link_end, self.where

    async def _ask(self, subject: str, connection: str) -> None:
        try:
            answer = await self._client.request(
                subject, write_opening(Opening(*self._own, connection)), timeout=_ANSWER_TIME
            )
        except QMI_NotDeliveredException as error:
            why = "it takes no links through the site" if self._client.is_up else str(error)
            raise ConnectionError(f"{self.where}: {why}") from error
        except QMI_TimeoutException as error:
            raise TimeoutError(f"{self.where}: it does not answer within {_ANSWER_TIME:g} s") from error
        refusal = read_answer(answer.payload)
        if refusal != "":
            raise ConnectionError(f"{self.where}: {refusal or 'its answer makes no sense'}")

    @property
    def where(self) -> Relay:
        """The server that links go through."""
        return Relay(*self._client.connected_to)

    # Taking links

    def _came(self, message: Message) -> None:
        connection = message.subject.rpartition(".")[2]
        if message.head:  # a server's answer that somebody had sent here
            return
        if connection == _OPEN:
            self._opened(message)
        elif (pipe := self._pipes.get(connection)) is not None:
            pipe.came(message.payload)

    def _opened(self, message: Message) -> None:
        opening = read_opening(message.payload)
        if opening is None or not message.reply.startswith(self._inbox) or opening.connection in self._pipes:
            return
        refusal = self._take(opening)
        self._client.send_now(message.reply.encode(), write_answer(refusal))

    def _take(self, opening: Opening) -> str:
        """Take a link; why not, empty if it is taken."""
        limit = self._services.config.limits.max_links
        if len(self._pipes) >= limit:
            return f"context {self._own[0]!r} has {limit} links through the site, which is its limit (limits.max_links)"
        try:
            pipe = _Pipe(self._client, relay_subject(self._group, *opening), opening.incarnation)
        except OSError as error:
            return f"context {self._own[0]!r} has nothing left to connect with: {error.strerror or error}"
        self._pipes[opening.connection] = pipe
        if self._services.spawn(self._carry, opening.connection, pipe) and self._services.spawn(self._accept, pipe):
            return ""
        self._drop(opening.connection, pipe)
        return f"context {self._own[0]!r} is stopping"

    async def _accept(self, pipe: _Pipe) -> None:
        await self._services.accept(pipe.link_end, self.where)

    # While they last

    async def _carry(self, connection: str, pipe: _Pipe) -> None:
        try:
            await pipe.run()
        finally:
            self._pipes.pop(connection, None)
            self._has_ended.set()

    def _drop(self, connection: str, pipe: _Pipe) -> None:
        self._pipes.pop(connection, None)
        pipe.close()
        pipe.link_end.close()

    def _lost(self, reason: str) -> None:
        for pipe in list(self._pipes.values()):
            pipe.fail(reason, tell=False)

    def context_gone(self, context: str, incarnation: str) -> None:
        """A context is gone. On the loop."""
        for pipe in list(self._pipes.values()):
            if pipe.incarnation == incarnation:
                pipe.fail(f"context {context!r} has left the site, which the link to it went through")
