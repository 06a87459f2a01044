"""The contexts that the pages show: where they are, and what each tells of itself.

Each is asked once a second at most, however many look, and only while somebody looks. One that does not answer keeps
nobody from the others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import trio

from qmi.contexts.async_context import Context
from qmi.errors import (
    QMI_ConnectionException,
    QMI_Exception,
    QMI_NotDeliveredException,
    QMI_PeerNotFoundException,
    QMI_TimeoutException,
    QMI_UnknownNameException,
)
from qmi.names import HostPort, nearest, parse_peer_address
from qmi.peers.addresses import configured
from qmi.presenting.seen import ENDING, NO_PORT, NOT_RUNNING, OUT_OF_REACH, RUNNING, SILENT, Seen, out_of_reach

_logger = logging.getLogger("qmi.web")

ASK_EVERY = 1.0
"""A context is asked no more often than this, in seconds."""
DISCOVER_EVERY = 5.0
"""The network is asked no more often than this, in seconds."""
PATIENCE = 5.0
"""For how long the answer of a context is waited for, in seconds."""
NOT_LONGER = 0.2
"""For how long somebody who asks for the state of all waits for the network and for those that are slow, in seconds."""


@dataclass
class _Watched:
    """What is known of one context."""

    seen: Seen
    asked: float = -1e9
    asked_since: float = -1e9
    answered: trio.Event = field(default_factory=trio.Event)
    is_asked: bool = False


class Site:
    """The contexts of the laboratory.

    Args:
        context: The context of this program.

    Attributes:
        context: The context of this program.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._watched: dict[str, _Watched] = {}
        self._nursery: trio.Nursery | None = None
        self._discovered = -1e9
        self._discovering: trio.Event | None = None
        self._is_outdated = False
        self._out_of_reach: frozenset[str] = frozenset()
        self._looking = 0
        self._somebody_looks = trio.Event()
        self._news = trio.Event()
        self._connecting: dict[str, trio.Lock] = {}
        for name in context.config.contexts:
            if name != context.name:
                self._note(name, configured(context.config, name))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep what is known up to date while somebody looks, for the length of the block."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._keep_up_to_date)
            self._hear_of_the_site()
            await self._discover(wait=False)  # so that who looks first has not to wait for the answers
            try:
                yield
            finally:
                self._nursery = None
                nursery.cancel_scope.cancel()

    def _hear_of_the_site(self) -> None:
        """Where there is a section site, its servers tell who comes and goes: nobody waits until that is asked."""
        membership = self.context.at_site.membership
        if membership is not None:
            membership.attendance.on_here.append(self._came)
            membership.attendance.on_gone.append(self._left)

    def _came(self, name: str, incarnation: str) -> None:
        self._discover_soon()
        self._ask_at_once(name)

    def _left(self, name: str, incarnation: str) -> None:
        if name in self._out_of_reach:
            self._discover_soon()  # it cannot be asked
        self._ask_at_once(name)

    def _discover_soon(self) -> None:
        # What is being asked just now may have been answered before.
        self._is_outdated = self._discovering is not None
        self._discovered = min(self._discovered, trio.current_time() - DISCOVER_EVERY)

    def _ask_at_once(self, name: str) -> None:
        known = self._watched.get(name)
        if known is not None and self._looking:
            known.asked = min(known.asked, trio.current_time() - ASK_EVERY)
            self._ask_soon(name)

    # Looking

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Say that somebody looks, for the length of the block."""
        self._looking += 1
        self._somebody_looks.set()
        try:
            yield
        finally:
            self._looking -= 1
            if not self._looking:
                self._somebody_looks = trio.Event()

    async def look(self, *, patience: float = NOT_LONGER) -> list[Seen]:
        """All contexts, by name, as they are now; one that has not answered in time, as it was.

        Args:
            patience: How long to wait for the network, and for those that were never asked before, of which nothing is
                known, in seconds.
        """
        begin = trio.current_time()
        for name in self._watched:  # while the network is asked, which takes its time
            self._ask_soon(name)
        with trio.move_on_at(begin + patience):
            await self._discover()
        for name in self._watched:
            self._ask_soon(name)
        for watched in list(self._watched.values()):
            if watched.seen.state == SILENT:
                continue
            # Since it was asked: one that keeps silent holds up who looks first, and nobody after him.
            since = min(begin, watched.asked_since)
            with trio.move_on_at(since + (patience if watched.asked < 0 else NOT_LONGER)):
                await watched.answered.wait()
        return self.seen()

    async def look_at(self, name: str) -> Seen:
        """One context, as it is now.

        Raises:
            QMI_UnknownNameException: If there is none of that name.
        """
        await self._discover_unless_known(name)
        await self._ask_soon(name).wait()
        return self._watched[name].seen

    def check(self, name: str) -> None:
        """See whether there is a context of that name.

        Raises:
            QMI_UnknownNameException: If there is none.
        """
        if name not in self._watched:
            near = nearest(name, self._watched)
            there = ", ".join(sorted(self._watched)) or "no context"
            hint = f"did you mean {near!r}?" if near else f"there is {there}"
            raise QMI_UnknownNameException(f"There is no context {name!r}: {hint}")

    def find(self, name: str) -> Seen:
        """One context, as it was when it was last asked.

        Raises:
            QMI_UnknownNameException: If there is none of that name.
        """
        self.check(name)
        return self._watched[name].seen

    def seen(self) -> list[Seen]:
        """All contexts, by name, as they were when they were last asked."""
        return [watched.seen for _, watched in sorted(self._watched.items())]

    async def news(self) -> None:
        """Wait until something new was seen."""
        await self._news.wait()

    # Connecting

    async def connect(self, name: str) -> None:
        """Connect to a context, unless that is done. A link that is lost is made again.

        Raises:
            QMI_UnknownNameException: If there is no context of that name.
            QMI_ConnectionException: If it cannot be reached.
        """
        if self.context.has_peer_context(name):
            return
        await self._discover_unless_known(name)
        async with self._connecting.setdefault(name, trio.Lock()):
            if not self.context.has_peer_context(name):
                address = self._watched[name].seen.address
                where = None if address is None else str(address)
                try:
                    await self.context.connect_to_peer(name, where, ignore_duplicate=True, reconnect=True)
                except QMI_PeerNotFoundException as error:
                    seen = self._watched[name].seen
                    if seen.state != OUT_OF_REACH:
                        raise
                    raise QMI_ConnectionException(f"Context {name!r} is out of reach: {seen.why}") from error

    async def _discover_unless_known(self, name: str) -> None:
        known = self._watched.get(name)
        if known is None or known.seen.address is None:
            await self._discover()
        self.check(name)

    # Keeping up to date

    async def _keep_up_to_date(self) -> None:
        while True:
            await self._somebody_looks.wait()
            await self._discover(wait=not self._watched)
            for name in list(self._watched):
                self._ask_soon(name)
            await trio.sleep(ASK_EVERY)

    async def _discover(self, *, wait: bool = True) -> None:
        """Ask the network, unless that was done a moment ago; the first time, wait for the answers."""
        if trio.current_time() - self._discovered < DISCOVER_EVERY or self._nursery is None:
            return
        first = self._discovered < 0
        if self._discovering is None:
            self._discovering = trio.Event()
            self._nursery.start_soon(self._ask_network, self._discovering)
        if first and wait:
            await self._discovering.wait()

    async def _ask_network(self, done: trio.Event) -> None:
        try:
            reached = set()
            for found in await self.context.discover_peer_contexts():
                if found.name != self.context.name:
                    reached.add(found.name)
                    self._note(found.name, parse_peer_address(found.address_port))
            await self._note_out_of_reach(reached)
        except QMI_ConnectionException as error:
            _logger.warning("The network cannot be asked for contexts: %s", error)
        finally:
            self._discovered = trio.current_time() - (DISCOVER_EVERY if self._is_outdated else 0)
            self._discovering, self._is_outdated = None, False
            done.set()

    async def _note_out_of_reach(self, reached: set[str]) -> None:
        """See which contexts are at the site, and are reached neither directly nor through its servers."""
        membership = self.context.at_site.membership
        if membership is None:
            return
        away: frozenset[str] = frozenset()
        if membership.attendance.is_up:
            try:
                away = frozenset(await membership.attendance.out_of_reach()) - reached - {self.context.name}
            except (QMI_NotDeliveredException, QMI_TimeoutException):  # as whoever asked for the others has said
                return
        before, self._out_of_reach = self._out_of_reach, away
        for name in away:
            self._is_out_of_reach(name)
        for name in before - away - reached:
            watched = self._watched[name]
            if watched.seen.state == OUT_OF_REACH and not watched.is_asked:
                why = "it has left the site" if membership.attendance.is_up else "no server of the site is reached"
                watched.seen = replace(watched.seen, state=NOT_RUNNING, why=why, since=time.time())
                self._tell_news()

    def _is_out_of_reach(self, name: str) -> None:
        watched = self._watched.get(name)
        if watched is None:
            self._watched[name] = _Watched(out_of_reach(name, configured=name in self.context.config.contexts))
        elif watched.seen.state in (NOT_RUNNING, NO_PORT) and not watched.is_asked:
            # Where the configuration says that it is, it is asked all the same: a tunnel may lead there.
            where = configured(self.context.config, name)
            watched.seen = replace(out_of_reach(name, configured=watched.seen.configured), address=where)
        else:  # when it is asked, that is found
            return
        self._tell_news()

    def _note(self, name: str, address: HostPort | None) -> None:
        known = self._watched.get(name)
        if known is None:
            in_config = name in self.context.config.contexts
            state = NOT_RUNNING if address is not None else NO_PORT
            self._watched[name] = _Watched(Seen(name, address, state, configured=in_config))
        elif configured(self.context.config, name) is not None:
            pass  # where it is, is known, whoever answers to its name
        elif address is not None and known.seen.state in (NOT_RUNNING, NO_PORT, OUT_OF_REACH):
            known.seen = replace(known.seen, address=address)  # it was started again, perhaps elsewhere

    def _ask_soon(self, name: str) -> trio.Event:
        """Have a context asked, unless it is or was a moment ago; returns what is set when that is done."""
        watched = self._watched[name]
        fresh = trio.current_time() - watched.asked < ASK_EVERY * 0.9
        if not watched.is_asked and not fresh and self._nursery is not None and watched.seen.address is not None:
            watched.is_asked, watched.answered, watched.asked_since = True, trio.Event(), trio.current_time()
            self._nursery.start_soon(self._ask, name, watched)
        elif not watched.is_asked:
            watched.answered.set()
        return watched.answered

    async def _ask(self, name: str, watched: _Watched) -> None:
        seen = replace(watched.seen, status=None, why="", round_trip=None)
        try:
            begin = trio.current_time()
            with trio.fail_after(PATIENCE):
                await self.connect(name)
                begin = trio.current_time()
                status = await self.context.get_status(name)
            links = self.context.status_here().links
            tls = next((link.tls for link in links if link.context == name), None)
            seen = replace(
                seen, state=ENDING if status.stopping else RUNNING, status=status, pid=status.pid,
                version=status.version, tls=tls, round_trip=trio.current_time() - begin,
            )  # fmt: skip
        except QMI_ConnectionException as error:
            seen = replace(seen, state=NOT_RUNNING, why=str(error))
            if name in self._out_of_reach:
                away = out_of_reach(name, configured=seen.configured)
                seen = replace(seen, state=away.state, why=away.why)
        except trio.TooSlowError:
            seen = replace(seen, state=SILENT, why=f"no answer within {PATIENCE:g} s", status=watched.seen.status)
        except QMI_Exception as error:
            seen = replace(seen, state=SILENT, why=str(error), status=watched.seen.status)
        finally:
            watched.is_asked, watched.asked = False, trio.current_time()
            # The address may have been found anew meanwhile.
            before = watched.seen
            since = time.time() if before.state in (RUNNING, ENDING) else before.since
            is_there = seen.state in (RUNNING, ENDING, OUT_OF_REACH)
            known = seen.state != OUT_OF_REACH or configured(self.context.config, name) is not None
            watched.seen = replace(seen, address=before.address if known else None, since=None if is_there else since)
            watched.answered.set()
            self._tell_news()

    def _tell_news(self) -> None:
        self._news.set()
        self._news = trio.Event()
