"""The rows of runs at a site: a context publishes what a run's log gets once, however many follow it.

Servers do not keep that: the log is on the disk of the context's computer, where ``$runs`` reads it for those who
begin later, and for those who have missed something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cbor2

from qmi.site.client import SiteClient, Subscription
from qmi.site.subjects import ask_subject, escape, inbox_prefix, rows_subject
from qmi.site.tail import LOOK, OVERHEAD, Tail, write_chunk
from qmi.site.wire import Message

_NOBODY: Final = 503
_CHUNK: Final = 1 << 18
_MOST_WAITING: Final = 1 << 20
_BREATH: Final = 0.2


class Rows:
    """The rows of runs, as one context publishes and follows them. On the loop.

    Args:
        client: The connection.
        workgroup: The workgroup of the site.
        context: This context.
        incarnation: This program.
    """

    def __init__(self, client: SiteClient, workgroup: str, context: str, incarnation: str) -> None:
        self._client = client
        self._workgroup = workgroup
        self._context = context
        self._incarnation = incarnation
        self._inbox = f"{inbox_prefix(workgroup, context)}.rows."
        self._published: dict[str, Callable[[], object]] = {}
        self._followed: dict[Tail, tuple[str, Subscription]] = {}
        client.subscribe(self._inbox + "*", self._answered)
        client.on_down.append(self._server_lost)

    @property
    def is_up(self) -> bool:
        """Whether there is a server."""
        return self._client.is_up

    @property
    def most(self) -> int:
        """How many bytes of a log are published at once, at most."""
        return min(_CHUNK, self._client.max_payload - OVERHEAD)

    # Publishing

    async def wait_for_room(self) -> None:
        """Wait until what was published is on its way, so that signals always find room in the same buffer."""
        while self._client.waiting > _MOST_WAITING and self._client.is_up:
            await self._client.drain(_BREATH)

    def publish(self, run: str, offset: int, data: bytes) -> None:
        """Publish bytes of a log. What is lost on the way, followers ask for.

        Args:
            run: The run.
            offset: Where they begin.
            data: The bytes; none says how far the log is, and finds out whether anybody follows.
        """
        reply = b"" if data else f"{self._inbox}{escape(run)}".encode()
        self._client.publish(self._subject(self._context, run), write_chunk(offset, data), reply=reply)

    def end(self, run: str) -> None:
        """Say that nothing more comes: followers are to ask why."""
        self._client.publish(self._subject(self._context, run), LOOK)

    def call_when_unheard(self, run: str, function: Callable[[], object]) -> None:
        """Have a function called when nobody follows a run that is published."""
        self._published[escape(run)] = function

    def forget(self, run: str) -> None:
        """Take that back."""
        self._published.pop(escape(run), None)

    def _subject(self, context: str, run: str) -> bytes:
        return rows_subject(self._workgroup, context, run).encode()

    def _answered(self, message: Message) -> None:
        function = self._published.get(message.subject.removeprefix(self._inbox))
        if message.status == _NOBODY and function is not None:
            function()

    # Following

    async def follow(self, context: str, run: str) -> Tail:
        """Follow a run: what is published from the return of this on comes.

        Raises:
            QMI_NotDeliveredException: If there is no server.
            QMI_TimeoutException: If it does not answer.
        """
        tail = Tail(run)
        subject = self._subject(context, run).decode()
        subscription = self._client.subscribe(subject, lambda message: self._came(tail, message))
        self._followed[tail] = (context, subscription)
        try:
            # The server takes everything in order: when this has come back, it knows of the subscription.
            asked = f"{ask_subject(self._workgroup, self._context)}.{escape(self._incarnation)}"
            await self._client.request(asked, cbor2.dumps(["state", self._incarnation, []]))
        except BaseException:
            self.unfollow(tail)
            raise
        return tail

    def unfollow(self, tail: Tail) -> None:
        """Follow it no more."""
        followed = self._followed.pop(tail, None)
        if followed is not None:
            self._client.unsubscribe(followed[1])

    def _came(self, tail: Tail, message: Message) -> None:
        if not message.head:  # else a server has put an answer there, since somebody had it sent there
            tail.put(message.payload)

    def context_gone(self, context: str, _: str = "") -> None:
        """A context is gone."""
        for tail, (publisher, _subscription) in list(self._followed.items()):
            if publisher == context:
                tail.disturb()

    def _server_lost(self, _: str) -> None:
        for tail in list(self._followed):
            tail.disturb()
