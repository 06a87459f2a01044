"""The connection of a context to the servers of its site: publishing, subscribing and asking.

Theory of operation. *Publishing* is for any thread and never waits. A message that comes alone is written by its
publisher at once, while the loop's writer sleeps: to wake that would take ten times as long. What comes soon after is
put into a queue, and the writer is woken if it sleeps, so that a burst costs one waking. The queue, and what was sent
but not acknowledged, have a limit together; what is beyond is refused and counted.

What is *kept* by the servers (a stream of JetStream) stays here until they say so. They take messages of one connection
in order, so that one acknowledgement stands for all before it: only the last message of each write asks for one. In a
cluster each does, and is sent again if none comes: while a new leader is elected, nothing is kept. After a loss, what
was not acknowledged is sent again, before all else and in order; a receiver that numbers tell what it has seen gets
nothing twice.

*Asking* goes past the queue. All else runs on the loop, in the task of :meth:`SiteClient.run`.
"""

from __future__ import annotations

import logging
import random
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, NamedTuple

import trio

from qmi._version import __version__
from qmi.errors import QMI_NotDeliveredException, QMI_TimeoutException
from qmi.names import HostPort
from qmi.runtime.forks import abandon_in_child
from qmi.runtime.sigint import PROGRAM_HANDLERS
from qmi.runtime.wakeup import Loop
from qmi.site import wire
from qmi.site.connection import Arrivals, SiteConnection
from qmi.site.wire import Message, Ping, Pong, ServerError, ServerInfo, SiteProtocolError

_logger = logging.getLogger("qmi.core.site")

CONNECT_TIME: Final = 3.0
"""Seconds that a server has to answer who connects."""
PING_EVERY: Final = 5.0
_SILENT_PINGS: Final = 2
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 1.0
_WRITE_BYTES: Final = 1 << 16
_BURST: Final = 0.0002
"""What is published within so many seconds after something was written is left to the loop, which joins it."""
_COST: Final = 160
"""What a message takes up besides its own bytes."""
_SEQUENCE: Final = re.compile(rb'"seq":\s*(\d+)')
_NO_RESPONDERS: Final = 503
_REFUSED: Final = b'"error"'
_FULL: Final = re.compile(rb'"err_code":\s*(?:10002|10023|10028|10047|10054|10077)\b')
"""What a server says that has no room: to ask again would not help."""
_PUT_OFF: Final = 0.25
_LONGEST_PUT_OFF: Final = 4.0
_ATTEMPTS: Final = 10
"""How often, and after how many seconds at first and at last, servers get again what they did not keep: a leader is
elected within seconds, and a server that is started for the first time gets its stream when it runs."""


class _Outgoing(NamedTuple):
    """What waits to be written, or to be acknowledged."""

    subject: bytes
    payload: bytes
    reply: bytes
    is_kept: bool
    attempts: int = 0

    @property
    def size(self) -> int:
        return len(self.subject) + len(self.payload) + len(self.reply) + _COST


class Server(NamedTuple):
    """Where a server is, and as whom to come.

    Attributes:
        where: Its address.
        user: Name of the user; empty if the certificate says it, or nobody asks.
        password: The password.
    """

    where: HostPort
    user: str = ""
    password: str = ""


@dataclass(frozen=True)
class ClientOptions:
    """How a client behaves.

    Attributes:
        servers: The servers of the site, any of which will do.
        name: What servers call this client.
        inbox: How the subjects begin under which it gets its answers; nobody else's do.
        buffer_bytes: So much may wait to be sent or acknowledged, in bytes of memory.
        tls: How both sides prove themselves; None: they do not.
        check_server: Says what is wrong with a server's certificate, None if nothing is.
        prepare: Done on each new connection before anything that waits is sent.
    """

    servers: Sequence[Server]
    name: str
    inbox: str
    buffer_bytes: int = 8 << 20
    tls: ssl.SSLContext | None = None
    check_server: Callable[[Mapping[str, object] | None], str | None] = lambda certificate: None
    prepare: Callable[[], Awaitable[None]] | None = None


class Subscription:
    """What was subscribed to, until :meth:`SiteClient.unsubscribe`.

    Attributes:
        sid: Its number.
        subject: What it gets, wildcards included.
        handler: Called on the loop with each message.
    """

    __slots__ = ("handler", "sid", "subject")

    def __init__(self, sid: int, subject: str, handler: Callable[[Message], object]) -> None:
        self.sid: int = sid
        self.subject: str = subject
        self.handler: Callable[[Message], object] = handler


class _Answers:
    """What came in answer to one request."""

    def __init__(self, many: bool) -> None:
        self.messages: list[Message] = []
        self.fault: str = ""
        self.came = trio.Event()
        self.is_complete = False
        self._many = many

    def put(self, message: Message) -> None:
        if self.is_complete:  # somebody else has answered, too
            return
        self.messages.append(message)
        self.is_complete = not self._many or message.status != 0
        self.came.set()

    def fail(self, fault: str) -> None:
        self.fault = fault
        self.came.set()


class SiteClient:
    """The connection of one context to its site.

    Args:
        options: How it behaves.
        loop: The loop that it runs in.

    Attributes:
        info: What the server says of itself; None without one.
        up: Set while there is a server.
        failed: Set once a server could not be reached.
        on_up: Called on the loop when there is a server, after everything was subscribed to again.
        on_down: Called on the loop with the reason when the server is lost.
        refused: How many messages were refused since too much waited.
        unkept: How many messages the servers have not kept, although they should have.
        stored: Sequence number in the servers' stream of what was acknowledged last: whatever is published from now on
            gets a higher one.
        fault: Why there is no server; empty while there is one.
        connected_to: The server that it is connected to, or was last.
    """

    def __init__(self, options: ClientOptions, loop: Loop) -> None:
        self._options = options
        self._loop = loop
        self.info: ServerInfo | None = None
        self.up: trio.Event = trio.Event()
        self.failed: trio.Event = trio.Event()
        self.on_up: list[Callable[[], object]] = []
        self.on_down: list[Callable[[str], object]] = []
        self.refused: int = 0
        self.unkept: int = 0
        self.stored: int = 0
        self.fault: str = "it was not tried yet"
        self.connected_to: HostPort = options.servers[0].where
        self.max_payload: int = 1 << 20
        # Guards what any thread changes: the queue's size, `_is_awake`, the subscriptions and `_control`; and, while
        # the writer sleeps, what it changes else: `_position` and `_unacknowledged`. Nothing is called under it but
        # the system, to write without waiting, so that it may be taken under any other.
        self._mutex = threading.Lock()
        self._queue: deque[_Outgoing] = deque()
        self._unacknowledged: dict[int, _Outgoing] = {}  # in the order of their positions
        self._put_off: list[_Outgoing] = []
        self._is_put_off = trio.Event()
        self._delay = _PUT_OFF
        self._size = 0
        self._control: list[bytes] = []
        self._is_awake = False  # the writer looks into the queue before it sleeps, so nobody needs to wake it
        self._is_held = True  # what waits is not sent before the connection is prepared
        self._subscriptions: dict[int, Subscription] = {}
        self._told: dict[int, Subscription] = {}  # what the server was told to subscribe to when this one connected
        self._sids = count(1)
        self._numbers = count(1)
        self._connection = f"{random.getrandbits(48):012x}"
        self._inbox = f"{options.inbox}.{self._connection}."
        self._position = 0
        self._answers: dict[str, _Answers] = {}
        self._writer = trio.lowlevel.ParkingLot()
        self._drained = trio.Event()
        self._pings = 0
        self._is_silent = False  # the server says nothing of what it is to keep, so that nobody waits for that
        self._has_answered = False
        self._refusals: set[str] = set()
        self._hang_up: Callable[[str], None] = lambda reason: None
        self._server: SiteConnection | None = None
        self._written = 0.0
        self.subscribe(self._inbox + "*", self._answered)
        abandon_in_child(self)

    @property
    def is_up(self) -> bool:
        """Whether there is a server."""
        return self.info is not None

    @property
    def waiting(self) -> int:
        """How much waits to be sent or acknowledged, in bytes of memory."""
        return self._size

    def abandon(self) -> None:
        """This is a forked child: its parent alone is to be known to the server."""
        self._mutex = threading.Lock()
        self.info = self._server = None

    # Publishing, from any thread

    def publish(self, subject: bytes, payload: bytes, *, reply: bytes = b"", kept: bool = False) -> bool:
        """Publish a message; never waits.

        Args:
            subject: As what.
            payload: What it says; at most :attr:`max_payload`.
            reply: Where answers are expected.
            kept: Whether servers keep it: then it is sent until they say so, also when there is no server now.

        Returns:
            False if it was refused: too much waits, or nobody is there and it is not kept.
        """
        message = _Outgoing(subject, payload, reply, kept)
        size = len(subject) + len(payload) + len(reply) + _COST
        with self._mutex:
            if self._put_off and self.info is not None and self._size + size > self._options.buffer_bytes:
                self._give_up_put_off()
            if self._size + size > self._options.buffer_bytes or len(payload) > self.max_payload:
                self.refused += 1
                return False
            if not kept and self.info is None:
                return False
            self._size += size
            if not self._is_awake and self._may_write_here(size):
                if self._write_here(message):
                    return True
            else:
                self._queue.append(message)
                if self._is_awake:
                    return True
            self._is_awake = True
        self._loop.now_or_soon(self._writer.unpark)
        return True

    def _may_write_here(self, size: int) -> bool:
        # Called with the mutex while the writer sleeps: it has written all that there was, and looks again with the
        # mutex before it writes anything else. So this thread's message is the next one, and nobody else writes.
        if self._server is None or self._is_held or self._queue or size > _WRITE_BYTES:
            return False
        now = time.monotonic()
        if now - self._written <= _BURST or PROGRAM_HANDLERS.may_break_in():
            return False
        self._written = now
        return True

    def _write_here(self, message: _Outgoing) -> bool:
        """Write a message; False if the writer has to do the rest. Called with the mutex."""
        assert self._server is not None
        if not message.is_kept or self._is_silent:
            self._size -= message.size
        try:
            return self._server.send_now(b"".join(self._framed([message], 0 if message.is_kept else -1)))
        except OSError as error:  # the connection is lost; what is kept will be sent again
            self._loop.soon(self._hang_up, _reason(error))
            return True

    def pending(self) -> list[tuple[bytes, bytes]]:
        """Subject and payload of all that the servers have refused or said nothing about, and will get again."""
        with self._mutex:
            waiting = [*self._unacknowledged.values(), *self._put_off]
        return [(one.subject, one.payload) for one in waiting]

    def send_now(self, subject: bytes, payload: bytes) -> bool:
        """Publish a message before all that waits, whatever that is: for what does not send more than is taken.

        Args:
            subject: As what.
            payload: What it says; at most :attr:`max_payload`.

        Returns:
            False if there is no server.
        """
        return self._send_control(wire.publish(subject, payload, b""))

    def _send_control(self, data: bytes) -> bool:
        with self._mutex:
            if self.info is None:
                return False
            self._control.append(data)
            if self._is_awake:
                return True
            self._is_awake = True
        self._loop.now_or_soon(self._writer.unpark)
        return True

    async def drain(self, seconds: float) -> bool:
        """Wait until nothing waits to be sent or acknowledged, at most so long; whether that is so."""
        with trio.move_on_after(seconds):
            while self._size and self.is_up:
                self._drained = trio.Event()
                await self._drained.wait()
        return not self._size

    # Subscribing, from any thread

    def subscribe(self, subject: str, handler: Callable[[Message], object]) -> Subscription:
        """Have a function called with each message of a subject, on every connection from now on.

        Args:
            subject: What to get, wildcards included.
            handler: Called on the loop; must not wait.
        """
        with self._mutex:
            made = Subscription(next(self._sids), subject, handler)
            self._subscriptions[made.sid] = made
        self._send_control(wire.subscribe(subject, made.sid))
        return made

    def unsubscribe(self, subscription: Subscription) -> None:
        """Call it no more."""
        with self._mutex:
            known = self._subscriptions.pop(subscription.sid, None)
        if known is not None:
            self._send_control(wire.unsubscribe(subscription.sid))

    # Asking, on the loop

    async def request(self, subject: str, payload: bytes = b"", *, timeout: float = 5.0) -> Message:
        """Ask, and wait for the answer.

        Args:
            subject: Whom.
            payload: What.
            timeout: How long to wait, in seconds.

        Raises:
            QMI_NotDeliveredException: If nobody is there to be asked, or the server is lost meanwhile.
            QMI_TimeoutException: If no answer comes in time.
        """
        (answer,) = await self._ask(subject, payload, timeout, many=False)
        return answer

    async def collect(self, subject: str, payload: bytes = b"", *, timeout: float = 5.0) -> list[Message]:
        """Ask the servers for a batch of messages.

        Args:
            subject: Whom.
            payload: What.
            timeout: How long to wait for each message, in seconds.

        Returns:
            The messages, the last of which says by its status and headers how the batch ended.

        Raises:
            QMI_NotDeliveredException: If nobody is there to be asked, or the server is lost meanwhile.
            QMI_TimeoutException: If nothing comes in time.
        """
        return await self._ask(subject, payload, timeout, many=True)

    async def _ask(self, subject: str, payload: bytes, timeout: float, *, many: bool) -> list[Message]:
        if not self.is_up:
            raise QMI_NotDeliveredException(f"There is no connection to the site: {self.fault}")
        token = str(next(self._numbers))
        answers = self._answers[token] = _Answers(many)
        self._send_control(wire.publish(subject.encode(), payload, (self._inbox + token).encode()))
        try:
            while not answers.is_complete:
                with trio.move_on_after(timeout) as scope:
                    await answers.came.wait()
                if answers.fault:
                    raise QMI_NotDeliveredException(answers.fault)
                if scope.cancelled_caught:
                    raise QMI_TimeoutException(f"No answer to {subject} came from the site within {timeout:g} s")
                answers.came = trio.Event()
        finally:
            del self._answers[token]
        if answers.messages[-1].status == _NO_RESPONDERS:
            raise QMI_NotDeliveredException(f"Nobody at the site answers {subject}")
        return answers.messages

    def _answered(self, message: Message) -> None:
        token = message.subject.rpartition(".")[2]
        if token.startswith("a"):
            self._acknowledged(int(token[1:]), message)
        elif (answers := self._answers.get(token)) is not None:
            answers.put(message)

    def _acknowledged(self, position: int, message: Message) -> None:
        found = None if _REFUSED in message.payload else _SEQUENCE.search(message.payload)
        if found is not None:
            self.stored = int(found[1])
            self._delay = _PUT_OFF
            if self._is_silent:
                self._is_silent = False
                _logger.warning("The site keeps signals again; %d were not kept", self.unkept)
        waiting = self._unacknowledged
        with self._mutex:  # any thread may put something behind them
            if self.is_cluster:
                done = [waiting.pop(position)] if position in waiting else []
            else:
                done = []
                while waiting and (first := next(iter(waiting))) <= position:
                    done.append(waiting.pop(first))
            if found is not None:
                self._size -= sum(one.size for one in done)
        if found is None:
            done = self._refused(done, message)
            with self._mutex:
                self._size -= sum(one.size for one in done)
        self._look_if_drained()

    def _refused(self, refused: list[_Outgoing], message: Message) -> list[_Outgoing]:
        """The servers have not kept messages: those are returned that will not be sent again."""
        is_for_now = message.status == _NO_RESPONDERS or (self.is_cluster and not _FULL.search(message.payload))
        again: list[_Outgoing] = []
        given_up: list[_Outgoing] = []
        for one in refused:
            (again if is_for_now and one.attempts < _ATTEMPTS else given_up).append(one)
        with self._mutex:
            self._put_off += [one._replace(attempts=one.attempts + 1) for one in again]
            self.unkept += len(given_up)
        if again:
            self._is_put_off.set()
        if given_up:
            why = "nothing keeps them" if message.status else message.payload[:300].decode("utf-8", "replace")
            self._tell_unkept(why)
        return given_up

    def _tell_unkept(self, why: str) -> None:
        self._tell_once(f"The site does not keep the signals of this context: {why}")

    def _give_up_put_off(self) -> None:
        # Called with the mutex. The servers have had these, and those who listen have been told; what is new has not.
        self.unkept += len(self._put_off)
        self._size -= sum(one.size for one in self._put_off)
        self._put_off = []
        self._loop.soon(self._tell_unkept, "too much waits that the servers have refused")

    def _notice_silence(self, written: int) -> None:
        """A server that lives has said nothing of what it has had for long: its disk is full, or it keeps nothing.

        Args:
            written: Position of what it had when it was asked for the sign of life that it has given since then.
        """
        with self._mutex:
            late = [position for position in self._unacknowledged if position <= written]
            given_up = [self._unacknowledged.pop(position) for position in late]
            self._size -= sum(one.size for one in given_up)
            self.unkept += len(given_up)
            self._is_silent = self._is_silent or bool(given_up)
        if given_up:
            self._tell_unkept("their server does not say that it has. Is its disk full? They go on to who listens now")
            self._look_if_drained()

    @property
    def is_cluster(self) -> bool:
        """Whether its server is one of several."""
        return self.info is not None and bool(self.info.cluster)

    async def _send_refused_again(self) -> None:
        while True:
            await self._is_put_off.wait()
            await trio.sleep(self._delay)
            self._delay = min(2 * self._delay, _LONGEST_PUT_OFF)
            self._is_put_off = trio.Event()
            self._queue_again()

    def _queue_again(self) -> None:
        with self._mutex:
            self._queue.extend(self._put_off)
            self._put_off = []
            self._is_awake = True
        self._writer.unpark()

    def _look_if_drained(self) -> None:
        if not self._size:
            self._drained.set()

    # The connection, on the loop

    async def run(self) -> None:
        """Connect, and connect again, until this is cancelled."""
        servers = list(self._options.servers)
        random.shuffle(servers)  # else all contexts of a cluster would come to the first one
        delay = _FIRST_DELAY
        while True:
            for server in servers:
                if await self._serve(server):
                    delay = _FIRST_DELAY
            await trio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(2 * delay, _LONGEST_DELAY)

    async def _serve(self, server: Server) -> bool:
        """One connection from begin to end; whether there was one."""
        try:
            with trio.fail_after(CONNECT_TIME):
                arrivals, info = await self._open(server)
        except trio.TooSlowError:
            self._not_connected(server, f"no answer within {CONNECT_TIME:g} s")
            return False
        except (OSError, SiteProtocolError) as error:
            self._not_connected(server, _reason(error))
            return False
        reasons: list[str] = []
        try:
            async with trio.open_nursery() as nursery:

                def hang_up(why: str) -> None:
                    reasons.append(why)
                    nursery.cancel_scope.cancel()

                self._hang_up = hang_up
                self.connected_to = server.where
                self._begin(info, arrivals.connection)
                nursery.start_soon(self._write, arrivals.connection)
                nursery.start_soon(self._watch)
                nursery.start_soon(self._send_refused_again)
                nursery.start_soon(self._prepare, server)
                await self._read(arrivals)
        finally:
            self._end(server, reasons[0] if reasons else "")
            arrivals.connection.close()
        return True

    def _not_connected(self, server: Server, why: str) -> None:
        self.fault = f"server {server.where} cannot be reached: {why}"
        self.failed.set()
        self._tell_once(f"Site: {self.fault}. This goes on being tried")

    async def _open(self, server: Server) -> tuple[Arrivals, ServerInfo]:
        connection = await SiteConnection.open(server.where)
        arrivals = Arrivals(connection)
        try:
            info = await arrivals.wait_for(ServerInfo)
            tls = self._options.tls
            if info.tls and tls is None:
                raise OSError("it demands TLS; the configuration needs a security section")
            if tls is not None:
                if not info.tls:
                    raise OSError("it does not speak TLS, which the security section of this side demands")
                fault = self._options.check_server(await connection.prove(tls))
                if fault is not None:
                    raise OSError(fault)
            # When the sign of life is answered, the server knows what is subscribed to: whoever finds this client
            # connected can ask it.
            with self._mutex:
                self._told = dict(self._subscriptions)
            hello = wire.connect(self._options.name, __version__, server.user, server.password)
            subscriptions = b"".join(wire.subscribe(one.subject, one.sid) for one in self._told.values())
            await connection.send_all(hello + subscriptions + wire.PING)
            await arrivals.wait_for(Pong)
        except BaseException:
            connection.close()
            raise
        return arrivals, info

    def _begin(self, info: ServerInfo, connection: SiteConnection) -> None:
        self._pings = 0
        self._is_silent = False
        self.max_payload = info.max_payload
        with self._mutex:
            self._position = 0
            left = [message for message in self._queue if message.is_kept]
            again = [*self._unacknowledged.values(), *self._put_off]
            self._queue = deque(again + left)
            self._unacknowledged.clear()
            self._put_off = []
            self._size = sum(message.size for message in self._queue)
            told, known = self._told, self._subscriptions
            self._control = [wire.unsubscribe(sid) for sid in told if sid not in known]
            self._control += [wire.subscribe(one.subject, sid) for sid, one in known.items() if sid not in told]
            self._is_held = self._options.prepare is not None
            self._is_awake = True
            self.info, self._server = info, connection
        self.fault = ""
        self._refusals.clear()

    async def _prepare(self, server: Server) -> None:
        if self._options.prepare is not None:
            try:
                await self._options.prepare()
            except (QMI_NotDeliveredException, QMI_TimeoutException) as error:
                self._hang_up(str(error))
                return
        _logger.info("Connected to server %s of the site", server.where)
        self.up.set()
        with self._mutex:
            self._is_held = False
            self._is_awake = True
        self._writer.unpark()
        self._call(self.on_up)

    def _end(self, server: Server, reason: str) -> None:
        with self._mutex:
            self.info = self._server = None
        self.fault = f"the connection to server {server.where} is lost: {reason}"
        was_up = self.up.is_set()
        self.up = trio.Event()
        self._drained.set()
        for answers in self._answers.values():
            answers.fail(self.fault)
        if was_up:
            if reason:  # else this context stops
                _logger.warning("Site: %s. It is being made again", self.fault)
            self._call(self.on_down, self.fault)

    def _call(self, functions: Sequence[Callable[..., object]], *args: object) -> None:
        for function in list(functions):
            try:
                function(*args)
            except Exception:  # of whoever listens; the others are to hear of it, too
                _logger.exception("What listens to the connection to the site failed")

    def _tell_once(self, text: str) -> None:
        if text not in self._refusals:
            self._refusals.add(text)
            _logger.warning("%s", text)

    # Reading, writing and watching

    async def _read(self, arrivals: Arrivals) -> None:
        try:
            while True:
                events = await arrivals.next()
                self._pings = 0
                for event in events:
                    if type(event) is Message:
                        self._dispatch(event)
                    else:
                        self._handle(event)
        except (OSError, trio.ClosedResourceError, SiteProtocolError) as error:
            self._hang_up(_reason(error))

    def _dispatch(self, message: Message) -> None:
        subscription = self._subscriptions.get(message.sid)
        if subscription is None:  # it was ended meanwhile
            return
        try:
            subscription.handler(message)
        except Exception:  # one message's trouble is not that of the others
            _logger.exception("A message of %s could not be handled", message.subject)

    def _handle(self, event: wire.Event) -> None:
        if isinstance(event, Ping):
            self._send_control(wire.PONG)
        elif isinstance(event, Pong):
            self._has_answered = True
        elif isinstance(event, ServerInfo):
            self.max_payload = event.max_payload
            with self._mutex:
                self.info = event
        elif isinstance(event, ServerError):
            self._tell_once(f"The server of the site refuses: {event.text}")
            if event.ends_connection:
                self._hang_up(event.text)

    async def _watch(self) -> None:
        written = 0
        while True:
            await trio.sleep(PING_EVERY)
            if self.is_cluster:  # what went to a leader that is no more is not even refused
                with self._mutex:
                    late = [position for position in self._unacknowledged if position <= written]
                    self._put_off += [self._unacknowledged.pop(position) for position in late]
                self._queue_again()
            elif self._has_answered:
                self._notice_silence(written)
            written, self._has_answered = self._position, False
            if self._pings >= _SILENT_PINGS:
                self._hang_up(f"no sign of life for {PING_EVERY * _SILENT_PINGS:g} s")
            self._pings += 1
            self._send_control(wire.PING)

    async def _write(self, connection: SiteConnection) -> None:
        try:
            while True:
                await connection.finish()
                data = self._next_write()
                if not data:
                    await self._writer.park()
                    continue
                await connection.send_all(data)
                if self._queue:  # a burst: more of it comes meanwhile
                    await trio.lowlevel.checkpoint()
        except (OSError, trio.ClosedResourceError) as error:
            self._hang_up(_reason(error))

    def _next_write(self) -> bytes:
        # Only this task takes out of the queue, which needs no lock. It sleeps only if there is nothing while it holds
        # the lock: whoever puts something in later finds it asleep, and wakes it.
        with self._mutex:
            parts, self._control = self._control, []
            if not parts and (self._is_held or not self._queue):
                self._is_awake = False
                return b""
            if self._is_held:
                return b"".join(parts)
            self._written = time.monotonic()
        batch: list[_Outgoing] = []
        size = freed = 0
        last_kept = -1
        while self._queue and size < _WRITE_BYTES:
            message = self._queue.popleft()
            if len(message.payload) > self.max_payload:  # another server than the one that it was meant for
                freed += message.size
                self.refused += 1
                continue
            if message.is_kept:
                last_kept = len(batch)
            if not message.is_kept or self._is_silent:
                freed += message.size
            size += message.size
            batch.append(message)
        if freed:
            with self._mutex:
                self._size -= freed
            self._look_if_drained()
        parts += self._framed(batch, last_kept)
        return b"".join(parts) or self._next_write()

    def _framed(self, batch: list[_Outgoing], last_kept: int) -> Iterator[bytes]:
        is_each = self.is_cluster
        for index, message in enumerate(batch):
            reply = message.reply
            if message.is_kept:
                self._position += 1
                if self._is_silent:
                    self.unkept += 1
                else:
                    self._unacknowledged[self._position] = message
                if is_each or index == last_kept:
                    reply = f"{self._inbox}a{self._position}".encode()
            yield wire.publish(message.subject, message.payload, reply)


def _reason(error: BaseException) -> str:
    """Why a connection failed, in a few words: of several attempts, the first one's reason."""
    cause = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
