"""The locks that users of the pages hold, and who asks for them: what a holder is shown, and what came of that.

For other programs, all users of the pages are one context. Which of them holds a lock stands in its reason, which also
a server that was started again can read.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import trio

from qmi.actors.plain_records import PlainRecord
from qmi.contexts.reservations import LONGEST, ReleaseRequest
from qmi.errors import QMI_Exception, QMI_InvalidOperationException
from qmi.messages import LockInfo
from qmi.names import Address, parse_address
from qmi.presenting.seen import NOT_RUNNING, OUT_OF_REACH, Seen
from qmi.web.site import Site

_logger = logging.getLogger("qmi.web")

WAITING = "waiting"
SHOWN = "shown"
KEPT = "kept"
STATES = (WAITING, SHOWN, KEPT)

MOST = 500
"""Of more requests, the oldest is forgotten."""

_SIGNED = re.compile(r"(?:.* \(([\w.@+-]{1,64})\)|([\w.@+-]{1,64}), by the web server)", re.DOTALL)


def signed(reason: str | None, user: str) -> str:
    """A reason that others read, with who gave it. It is so short that no program cuts the name off."""
    if not reason or not reason.strip():
        return f"{user}, by the web server"
    return f"{reason[: LONGEST - len(user) - 3]} ({user})"


def signer_of(reason: str) -> str:
    """The user who gave a reason; empty if it was none of the pages."""
    found = _SIGNED.fullmatch(reason)
    return (found[1] or found[2]) if found else ""


PROGRAM = "qmi web"
"""What a server of pages says that its program is, to those who see its locks; of the one below, the system says it."""
_PROGRAMS = (PROGRAM, "python -m qmi.web.pages_program")


def user_elsewhere(info: LockInfo) -> str:
    """The user of the pages of another server who holds a lock; empty if another program holds it, or it is not known.

    Args:
        info: What the object says of its lock.
    """
    return signer_of(info.reason) if info.program in _PROGRAMS else ""


@dataclass(frozen=True, slots=True)
class LockRequest(PlainRecord):
    """Somebody asks for a lock that a user of the pages holds, or has taken it.

    Attributes:
        id: Its number.
        address: The object.
        holder: The user who holds the lock, or has held it.
        user: The user who asks; empty if it is another program.
        by: Who asks.
        reason: For what; may be empty.
        time: When it was asked, in seconds since 1970.
        taken: Whether the lock was taken already.
        state: "waiting" until a page of the holder shows it, then "shown"; "kept" if the holder keeps the lock.
        since: Since when it is in that state, in seconds since 1970.
    """

    id: int = 0
    address: str = ""
    holder: str = ""
    user: str = ""
    by: str = ""
    reason: str = ""
    time: float = 0.0
    taken: bool = False
    state: str = WAITING
    since: float = 0.0


class LockRequests:
    """The locks of users of the pages, and who asks for them.

    All of it is in the event loop; other programs' requests come from a thread, which waits for it.

    Args:
        site: The contexts.

    Attributes:
        changed: Is set, and replaced by a new one, when there is another request, or one less.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._held: dict[str, tuple[str, str]] = {}  # address: who holds it, and the label of the lock
        self._requests: dict[int, LockRequest] = {}
        self._lacking: dict[str, float] = {}  # address: by which status the lock has gone
        self._open: Counter[str] = Counter()
        self._last_id = 0
        self.changed: trio.Event = trio.Event()

    # Holders

    def holder(self, address: Address, info: LockInfo | None) -> str:
        """The user of the pages who holds a lock; empty if there is none.

        Args:
            address: The object.
            info: What it says of its lock.
        """
        where = str(address)
        if info is None or info.context != self._site.context.name:
            return ""
        known, label = self._held.get(where, ("", ""))
        user = known if known and label == info.label else signer_of(info.reason)
        if user:
            self._held[where] = user, info.label
        return user

    def note_lock(self, user: str, address: Address, info: LockInfo | None) -> None:
        """Note that a user has locked an object."""
        if info is not None and info.context == self._site.context.name:
            self._held[str(address)] = user, info.label

    def note_release(self, address: Address) -> None:
        """Note that a lock was released: nobody asks for it any more."""
        self._held.pop(str(address), None)
        self._end(str(address))

    def note_taken(self, address: Address, former: str, user: str, by: str, reason: str) -> None:
        """Note that a lock was taken away, which its former holder is shown."""
        self.note_release(address)
        if former and former != user:
            self._add(LockRequest(address=str(address), holder=former, user=user, by=by, reason=reason, taken=True))

    # Requests

    def ask(self, address: Address, holder: str, user: str, by: str, reason: str) -> LockRequest:
        """Ask a user of the pages for a lock. Who asks again replaces what he has said before."""
        for known in self._of(str(address)):
            if (known.user, known.by) == (user, by):
                del self._requests[known.id]
        return self._add(LockRequest(address=str(address), holder=holder, user=user, by=by, reason=reason))

    def answer(self, address: Address, user: str, number: int, state: str) -> None:
        """Note that the holder has seen a request, or keeps the lock.

        Raises:
            QMI_InvalidOperationException: If nobody asks this user for it.
        """
        known = self._requests.get(number)
        if known is None or known.holder != user or known.address != str(address):
            raise QMI_InvalidOperationException(f"{user} has no request {number} for the lock on {address}")
        if state == SHOWN and known.state != WAITING:
            return
        if state == KEPT and known.taken:  # there is nothing to keep: it was read
            del self._requests[number]
        else:
            self._requests[number] = replace(known, state=state, since=time.time())
        self._tell()

    def all(self) -> list[LockRequest]:
        """All requests, the oldest first."""
        return list(self._requests.values())

    def of(self, address: Address) -> list[LockRequest]:
        """The requests for one lock, the oldest first."""
        return self._of(str(address))

    def _of(self, where: str) -> list[LockRequest]:
        return [request for request in self._requests.values() if request.address == where and not request.taken]

    def _add(self, request: LockRequest) -> LockRequest:
        self._last_id += 1
        now = time.time()
        made = self._requests[self._last_id] = replace(request, id=self._last_id, time=now, since=now)
        if len(self._requests) > MOST:
            del self._requests[next(iter(self._requests))]
        self._lacking.pop(made.address, None)
        self._tell()
        return made

    def _end(self, where: str) -> None:
        ended = self._of(where)
        for request in ended:
            del self._requests[request.id]
        if ended:
            self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    # Pages

    @contextmanager
    def page_of(self, user: str) -> Iterator[None]:
        """Say that a page of a user is open, which shows what is asked, for the length of the block."""
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]

    def pages_of(self, user: str) -> int:
        """How many pages of a user are open."""
        return self._open[user]

    # What other programs do

    def told(self, request: ReleaseRequest) -> None:
        """Another program asks for a lock of this program, or has taken it; in a thread of the context's."""
        trio.from_thread.run(self._told, request)

    async def _told(self, request: ReleaseRequest) -> None:
        try:
            address = parse_address(request.address)
            await self._site.connect(address.context)
            proxy = await self._site.context.get_rpc_object(str(address))
            info = await proxy.lock_info()
        except QMI_Exception as error:
            _logger.warning("What was said of the lock on %s is shown to nobody: %s", request.address, error)
            return
        former, label = self._held.get(str(address), ("", ""))
        if not request.taken:
            holder = self.holder(address, info)
            if holder:
                self.ask(address, holder, "", request.by, request.reason)
        # What is told late, when somebody here holds it again, is not of his lock.
        elif former and not (info is not None and info.context == self._site.context.name and info.label == label):
            self.note_taken(address, former, "", request.by, request.reason)

    def drop_ended(self, seen: Iterable[Seen]) -> None:
        """Drop the requests for locks that are held no more, as contexts tell of their objects.

        A status may have been on its way when the lock was granted, so two in a row have to say it.

        Args:
            seen: The contexts.
        """
        contexts = {each.name: each for each in seen}
        for where in {request.address for request in self._requests.values() if not request.taken}:
            context, _, name = where.partition(".")
            found = contexts.get(context)
            if found is None or (found.status is None and found.state not in (NOT_RUNNING, OUT_OF_REACH)):
                continue
            entry = None if found.status is None else found.status.find(name)
            lock = None if entry is None else entry.lock
            label = self._held.get(where, ("", ""))[1]
            if lock is not None and (lock.holder, lock.label) == (self._site.context.name, label):
                self._lacking.pop(where, None)
                continue
            now = 0.0 if found.status is None else found.status.now
            if self._lacking.setdefault(where, now) != now or found.status is None:
                del self._lacking[where]
                self._held.pop(where, None)
                self._end(where)
