"""The logs of programs at a site: each context publishes its own, whoever reads it, and servers keep a stretch of it.

*Publishing* takes from the records that a program keeps in memory anyway, on the loop: whoever logs only wakes it. It
publishes a part, waits until servers have acknowledged it, and goes on with what has come meanwhile; while there is no
server, records wait where they are, and what is not kept there any more is counted. Nothing here logs anything for a
part that is published or comes: else the log of a program that follows itself would never end.

*Following* reads what servers have kept, then what comes, and reads again where parts are missing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

import cbor2
import trio

from qmi.actors.future import QMI_RpcFuture
from qmi.errors import QMI_NotDeliveredException, QMI_TimeoutException
from qmi.runtime.log_ring import LOG_RING, LogRing
from qmi.runtime.wakeup import Loop
from qmi.site.client import SiteClient, Subscription
from qmi.site.followed_log import FollowedLog
from qmi.site.log_batch import LogPiece, read_piece, write_piece
from qmi.site.server_config import log_stream
from qmi.site.stream import Stream
from qmi.site.subjects import ask_subject, log_subject
from qmi.site.wire import Message

_AT_ONCE: Final = 200
"""So many records are published together at most."""
_GATHER: Final = 0.05
"""Seconds from one part to the next: a program that logs much is not slowed by it."""
_KEPT_TIME: Final = 2.0
_UNKEPT: Final = 30.0
"""For so many seconds servers are not asked again to acknowledge what they do not keep."""
_LAST: Final = 1.0
_READINGS: Final = 20
_LATE: Final = 0.05
"""How often, and after how many seconds, the stream is read again that has not got the newest parts yet."""
_WHO_TIME: Final = 2.0
_MOST_HELD: Final = 1000
_UNREAD: Final = 60.0
"""After so many seconds in which nobody reads it a log is followed no more."""


class LogPublishing:
    """Publishes the log of this program. On the loop.

    Args:
        client: The connection.
        loop: The loop.
        workgroup: The workgroup of the site.
        context: This context.
        ring: The records of this program.
    """

    def __init__(
        self, client: SiteClient, loop: Loop, workgroup: str, context: str, *, ring: LogRing = LOG_RING
    ) -> None:
        self._client = client
        self._loop = loop
        self._subject = log_subject(workgroup, context)
        self._ring = ring
        self._after = 0
        self._run = ""
        self._woken = trio.Event()
        self._is_woken = False
        self._unkept_until = 0.0

    async def run(self) -> None:
        """Publish what is logged, until cancelled."""
        end = self._ring.listen(0, self._wake)
        try:
            while True:
                await self._client.up.wait()
                if not await self._publish_part():
                    await self._woken.wait()
                    self._woken, self._is_woken = trio.Event(), False
                await trio.sleep(_GATHER)
        finally:
            end()

    async def finish(self) -> None:
        """Publish what is left, if that is quick."""
        with trio.move_on_after(_LAST):
            while self._client.is_up and await self._publish_part():
                pass

    def _wake(self) -> None:
        # In any thread, with the locks of logging, or in a signal handler: must neither wait nor log.
        if not self._is_woken:
            self._is_woken = True
            self._loop.soon(lambda: self._woken.set())

    async def _publish_part(self) -> bool:
        """Publish a part; False if there is none."""
        run, part, _ = self._ring.part(self._run, self._after, 0, _AT_ONCE)
        if not part.entries and not part.lost:
            return False
        after = self._after if run == self._run else 0
        # Where a signal handler has logged while an older record was forgotten, one that counts as lost may be there.
        lost = min(part.lost, part.entries[0].number - 1 - after) if part.entries else part.lost
        whole = LogPiece(run, after, part.last, lost, time.time(), tuple(part.entries))
        data, piece = write_piece(whole, self._client.max_payload // 2)
        if len(data) > self._client.max_payload:  # of one record: servers take no such message
            piece = piece._replace(entries=(), lost=piece.last - piece.after)
            data, _ = write_piece(piece, 0)
        if await self._is_published(data):
            self._run, self._after = run, piece.last
        return True

    async def _is_published(self, data: bytes) -> bool:
        if time.monotonic() < self._unkept_until:
            return self._client.publish(self._subject.encode(), data)
        try:
            await self._client.request(self._subject, data, timeout=_KEPT_TIME)
        except QMI_TimeoutException:  # those who follow have got it, and nobody keeps it
            self._unkept_until = time.monotonic() + _UNKEPT
        except QMI_NotDeliveredException:
            if not self._client.is_up:
                return False
            self._unkept_until = time.monotonic() + _UNKEPT
        return True


class LogServices(Protocol):
    """What is needed of the context."""

    def run(self, function: Callable[..., Awaitable[None]], *args: object) -> QMI_RpcFuture[None]:
        """Run an async function until the context ends."""


class _Following:
    """The log of one context."""

    def __init__(self, context: str, subject: str) -> None:
        self.context = context
        self.subject = subject
        self.log = FollowedLog()
        self.subscription: Subscription
        self.ready = trio.Event()
        self.used = trio.current_time()
        self.sequence = 1
        self.held: list[LogPiece] = []
        self.is_reading = False
        self.is_there = False


class Logs:
    """The logs of other contexts that are read here. On the loop.

    Args:
        services: The context.
        client: The connection.
        workgroup: The workgroup of the site.
        incarnation: This program.
    """

    def __init__(self, services: LogServices, client: SiteClient, workgroup: str, incarnation: str) -> None:
        self._services = services
        self._client = client
        self._workgroup = workgroup
        self._question = cbor2.dumps(["state", incarnation, []])
        self._stream = Stream(client, log_stream(workgroup))
        self._followed: dict[str, _Following] = {}
        client.on_up.append(self._came_back)
        client.on_down.append(self._went_away)

    async def follow(self, context: str) -> FollowedLog | None:
        """The log of a context; it is followed as long as it is asked for now and then.

        Args:
            context: Its name.

        Returns:
            The log; None if the site knows of none.
        """
        following = self._followed.get(context)
        if following is None:
            if not self._client.is_up:
                return None
            following = self._begin(context)
        following.used = trio.current_time()
        await following.ready.wait()
        return following.log if following.log.is_known else None

    def _begin(self, context: str) -> _Following:
        following = _Following(context, log_subject(self._workgroup, context))
        following.subscription = self._client.subscribe(
            following.subject, lambda message: self._came(following, message)
        )
        if not self._followed:
            self._services.run(self._forget_unread)
        self._followed[context] = following
        self._services.run(self._catch_up, following)
        return following

    async def _forget_unread(self) -> None:
        while self._followed:
            await trio.sleep(_UNREAD / 2)
            now = trio.current_time()
            for context, following in list(self._followed.items()):
                if following.log.is_listened_to:
                    following.used = now
                elif now - following.used > _UNREAD:
                    del self._followed[context]
                    self._client.unsubscribe(following.subscription)

    # What comes

    def _came(self, following: _Following, message: Message) -> None:
        # With headers, a server has put an answer there, since somebody had it sent there.
        piece = None if message.head else read_piece(message.payload)
        if piece is None:
            return
        following.log.heard(piece)
        if not following.is_reading and following.log.take(piece):
            following.log.fail("")
            return
        if len(following.held) < _MOST_HELD:  # else it is read
            following.held.append(piece)
        if not following.is_reading:
            self._services.run(self._catch_up, following)

    async def _catch_up(self, following: _Following) -> None:
        """Read what servers have kept, and put what is held behind it."""
        if following.is_reading:
            return
        following.is_reading = True
        try:
            for reading in range(_READINGS):
                await self._read(following)
                self._take_held(following)
                if reading == 0:
                    following.is_there = await self._is_there(following.context)
                following.ready.set()
                if reading and not following.held:  # once more: what is published is told before it is kept
                    break
                await trio.sleep(_LATE)
            self._take_held(following, is_last_chance=True)
        finally:
            following.is_reading = False
            following.ready.set()
        following.log.fail(self._fault_of(following))

    def _take_held(self, following: _Following, *, is_last_chance: bool = False) -> None:
        while following.held and following.log.take(following.held[0], is_last_chance=is_last_chance):
            del following.held[0]

    async def _read(self, following: _Following) -> None:
        messages: list[Message] = []
        with suppress(QMI_NotDeliveredException, QMI_TimeoutException):
            messages = await self._stream.messages(following.subject, sequence=following.sequence)
        for message in messages:
            following.sequence = int(message.headers["Nats-Sequence"]) + 1
            piece = read_piece(message.payload)
            if piece is not None:
                following.log.take(piece, is_last_chance=True)
        if not messages:
            following.sequence = 1  # a stream that was made anew counts from 1 again; what is known comes twice then

    async def _is_there(self, context: str) -> bool:
        try:
            await self._client.request(ask_subject(self._workgroup, context), self._question, timeout=_WHO_TIME)
        except (QMI_NotDeliveredException, QMI_TimeoutException):
            return False
        return True

    # Who comes and goes

    def _fault_of(self, following: _Following) -> str:
        if not self._client.is_up:
            return f"the site cannot be reached: {self._client.fault}"
        return "" if following.is_there else f"context {following.context!r} is not at the site"

    def _went_away(self, _: str) -> None:
        for following in self._followed.values():
            following.log.fail(self._fault_of(following) or "the server of the site is lost")

    def _came_back(self) -> None:
        for following in self._followed.values():
            following.log.fail("")  # what was missed is there in a moment; then it is known whether more can come
            self._services.run(self._catch_up, following)

    def context_here(self, context: str, _: str = "") -> None:
        """A context is at the site, maybe again."""
        self._note(context, is_there=True)

    def context_gone(self, context: str, _: str = "") -> None:
        """A context is gone."""
        self._note(context, is_there=False)

    def _note(self, context: str, *, is_there: bool) -> None:
        following = self._followed.get(context)
        if following is not None:
            following.is_there = is_there
            following.log.fail(self._fault_of(following))
