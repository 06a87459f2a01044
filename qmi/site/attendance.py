"""What a context tells the site of itself, and what it hears of others: who comes, who goes, who is there."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import trio

from qmi._version import __version__
from qmi.config.schema import CfgQmi
from qmi.errors import QMI_NotDeliveredException, QMI_TimeoutException
from qmi.messages import Origin
from qmi.net.discovery.packets import Answer
from qmi.runtime.wakeup import Loop
from qmi.site.client import SiteClient
from qmi.site.here import machine, own_hosts
from qmi.site.presence import (
    ANNOUNCE_EVERY,
    Announcement,
    Connected,
    Present,
    Question,
    answers_of,
    ask_who_is_there,
    read_event,
    ways_to,
    write_announcement,
)
from qmi.site.server_config import CONNECTED, DISCONNECTED
from qmi.site.subjects import inbox_prefix, presence_subject
from qmi.site.wire import Message

_logger = logging.getLogger("qmi.core.site")

_SETTLE: Final = 0.02
"""How long a context waits before it says what has changed, in seconds: many objects are made one after the other."""
_FIRST_DELAY: Final = 0.2
_LONGEST_DELAY: Final = 30.0
_ANSWER: Final = 3.0
_BREATH: Final = 0.1
"""How long to wait for the other servers of a site when one has answered, in seconds."""
_ENDED_KEPT: Final = 1000
"""Of so many connections that ended last, the end is remembered."""


class AttendanceServices(Protocol):
    """What is needed of the context."""

    name: str
    config: CfgQmi
    origin: Origin
    started: float
    loop: Loop

    def listening(self) -> tuple[Sequence[str], int]:
        """The addresses that it listens on, and its port; 0 if it does not listen."""
        ...

    def objects_listed(self) -> Sequence[tuple[str, str]]:
        """Name and class of each object."""
        ...


class Attendance:
    """Who is at the site, as one context knows it.

    Args:
        client: Its connection.
        services: The context.

    Attributes:
        on_here: Called on the loop with name and incarnation of another context that has come.
        on_gone: The same for one that is gone. One that only has another connection than before is not.
    """

    def __init__(self, client: SiteClient, services: AttendanceServices) -> None:
        self._client = client
        self._services = services
        self._config = services.config
        self._changed = trio.Event()
        self._number = 0
        self._connections: dict[tuple[str, str], set[str]] = {}
        # A server tells of the end of a connection before it stops listing it, and gives its number to no other one.
        self._ended: deque[str] = deque(maxlen=_ENDED_KEPT)
        self.on_here: list[Callable[[str, str], object]] = []
        self.on_gone: list[Callable[[str, str], object]] = []

    # Telling

    def start(self) -> None:
        """Begin to hear who comes and goes. On the loop, before the client runs."""
        self._client.subscribe(CONNECTED, self._connected)
        self._client.subscribe(DISCONNECTED, self._disconnected)
        self._client.on_up.append(self._begin_anew)

    async def run(self) -> None:
        """Say what the context has, when that has changed and now and then, until cancelled."""
        delay = _FIRST_DELAY
        while True:
            with trio.move_on_after(ANNOUNCE_EVERY):
                await self._changed.wait()
                await trio.sleep(_SETTLE)
            self._changed = trio.Event()
            if await self._announce():
                delay = _FIRST_DELAY
            elif self._client.is_up:  # the servers do not keep it yet; if there is none, the next one gets it
                await trio.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
                self._changed.set()

    def objects_changed(self) -> None:
        """The context has other objects than before. From any thread."""
        self._services.loop.now_or_soon(lambda: self._changed.set())

    async def _announce(self) -> bool:
        subject = presence_subject(self._config.workgroup, self._services.name)
        try:
            answer = await self._client.request(subject, write_announcement(self._announcement()), timeout=_ANSWER)
        except (QMI_NotDeliveredException, QMI_TimeoutException) as error:
            _logger.debug("What this context has is not known at its site yet: %s", error)
            return False
        return b'"error"' not in answer.payload

    def _announcement(self) -> Announcement:
        services = self._services
        hosts, port = services.listening()
        info = self._client.info
        seen_as = "" if info is None else str(info.plain.get("client_ip", ""))
        return Announcement(
            services.name, services.origin.incarnation, services.started, own_hosts(hosts, seen_as), port, machine(),
            os.getpid(), __version__, tuple(services.objects_listed()), self._config.site.relay,
        )  # fmt: skip

    # Hearing

    def _begin_anew(self) -> None:
        # Who left while there was no server is told by nobody; who comes back connects anew.
        self._connections.clear()
        self._changed.set()

    def _connected(self, message: Message) -> None:
        found = self._read(message)
        if found is None:
            return
        known = self._connections.setdefault((found.context, found.incarnation), set())
        is_new = not known
        known.add(found.connection)
        if is_new:
            self._call(self.on_here, found)

    def _disconnected(self, message: Message) -> None:
        found = self._read(message)
        if found is None:
            return
        known = self._connections.get((found.context, found.incarnation), set())
        known.discard(found.connection)
        self._ended.append(found.connection)
        if not known:
            self._connections.pop((found.context, found.incarnation), None)
            self._call(self.on_gone, found)

    def _read(self, message: Message) -> Connected | None:
        certified = self._config.security.enabled
        found = read_event(message.payload, self._config.workgroup, certified=certified)
        # The event of the own connection may come before the subscription to such events, or after it.
        return None if found is None or found.incarnation == self._services.origin.incarnation else found

    def _call(self, functions: Iterable[Callable[[str, str], object]], found: Connected) -> None:
        for function in list(functions):
            try:
                function(found.context, found.incarnation)
            except Exception:  # of whoever listens; the others are to hear of it, too
                _logger.exception("What hears of context %r of the site failed", found.context)

    # Asking

    @property
    def is_up(self) -> bool:
        """Whether there is a server to be asked."""
        return self._client.is_up

    async def who(self, pattern: str = "*") -> list[Present]:
        """Ask who is there, with this context.

        Args:
            pattern: Which names are wanted, with ``*``, ``?`` and ``[...]``.

        Returns:
            By name; several of one name if there are.

        Raises:
            QMI_NotDeliveredException: If there is no server.
            QMI_TimeoutException: If none answers in time.
        """
        asking = ask_who_is_there(self._config, pattern, frozenset(self._ended))
        question = next(asking)
        while True:
            answers = await (self._ask_each(question) if question.servers else self._collect(question))
            try:
                question = asking.send(answers)
            except StopIteration as end:
                present: list[Present] = end.value
                return present

    async def answers(self, pattern: str) -> list[Answer]:
        """Who of others is there and can be reached from this computer, as if they had answered on the network."""
        own = self._services.origin.incarnation
        found = [present for present in await self.who(pattern) if present.incarnation != own]
        return answers_of(found, self._config.workgroup, machine())

    async def out_of_reach(self) -> list[str]:
        """The names of those who are there, and to whom nothing leads from this computer, not even a server.

        Raises:
            QMI_NotDeliveredException: If there is no server.
            QMI_TimeoutException: If none answers in time.
        """
        config = self._config
        return ways_to(await self.who(), config.workgroup, machine(), relay=config.site.relay).out_of_reach

    async def _collect(self, question: Question) -> list[Message]:
        return await self._client.collect(question.subject, question.payload, timeout=_ANSWER)

    async def _ask_each(self, question: Question) -> list[Message]:
        if question.servers == 1:
            return [await self._client.request(question.subject, question.payload, timeout=_ANSWER)]
        found: list[Message] = []
        came = trio.Event()

        def take(message: Message) -> None:
            found.append(message)
            came.set()

        self._number += 1
        reply = f"{inbox_prefix(self._config.workgroup, self._services.name)}.who.{self._number}"
        subscription = self._client.subscribe(reply, take)
        try:
            self._client.publish(question.subject.encode(), question.payload, reply=reply.encode())
            patience = _ANSWER
            while len(found) < question.servers:
                with trio.move_on_after(patience) as scope:
                    await came.wait()
                if scope.cancelled_caught:
                    break
                came, patience = trio.Event(), _BREATH
        finally:
            self._client.unsubscribe(subscription)
        if not found:
            raise QMI_TimeoutException(f"No server of the site says who is there within {_ANSWER:g} s")
        return found
