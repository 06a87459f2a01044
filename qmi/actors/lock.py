"""Who may call an object: the rules as one table, and who waits for the lock.

Whoever asks stands in one of three relations to the lock (:class:`Standing`); for each thing that can be asked
(:class:`Ask`) the table :data:`RULES` says what happens. Nothing else decides.

The relation is a matter of tokens. An *automatic* token belongs to one proxy in one incarnation of a context; nobody
can guess it and it dies with that context. A *custom* token belongs to the name of a context, so that a restarted
program can release what it locked before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from qmi.messages import LockInfo, Origin, Token

W = TypeVar("W")


class Standing(Enum):
    """How somebody stands to a lock."""

    FREE = "nobody holds it"
    MINE = "the one who asks holds it"
    OTHERS = "somebody else holds it"


class Ask(Enum):
    """What can be asked of a lock."""

    CALL = "call a method"
    ACQUIRE = "lock"
    RELEASE = "unlock"
    FORCE = "force unlock"
    LEAVE = "the asker's context is gone"


class Verdict(Enum):
    """What becomes of it."""

    ALLOW = "the call may run"
    REFUSE = "the call is refused"
    GRANT = "the asker holds the lock from now on"
    KEEP = "nothing changes, and that is what was asked for"
    WAIT = "not now"
    FREED = "the lock is free from now on"
    DENY = "nothing changes, which is not what was asked for"


RULES: Mapping[tuple[Ask, Standing], Verdict] = {
    (Ask.CALL, Standing.FREE): Verdict.ALLOW,
    (Ask.CALL, Standing.MINE): Verdict.ALLOW,
    (Ask.CALL, Standing.OTHERS): Verdict.REFUSE,
    (Ask.ACQUIRE, Standing.FREE): Verdict.GRANT,
    (Ask.ACQUIRE, Standing.MINE): Verdict.KEEP,
    (Ask.ACQUIRE, Standing.OTHERS): Verdict.WAIT,
    (Ask.RELEASE, Standing.FREE): Verdict.DENY,
    (Ask.RELEASE, Standing.MINE): Verdict.FREED,
    (Ask.RELEASE, Standing.OTHERS): Verdict.DENY,
    (Ask.FORCE, Standing.FREE): Verdict.KEEP,
    (Ask.FORCE, Standing.MINE): Verdict.FREED,
    (Ask.FORCE, Standing.OTHERS): Verdict.FREED,
    (Ask.LEAVE, Standing.FREE): Verdict.KEEP,
    (Ask.LEAVE, Standing.MINE): Verdict.FREED,
    (Ask.LEAVE, Standing.OTHERS): Verdict.KEEP,
}


class Holder(NamedTuple):
    """Who holds a lock.

    Attributes:
        origin: The context that it was granted to.
        token: What proves it.
        info: What others may know.
    """

    origin: Origin
    token: Token
    info: LockInfo


class Lock(Generic[W]):
    """The lock of one object, and those who wait for it (``W``), first come first served.

    It is not safe for threads: the object's mailbox guards it.
    """

    __slots__ = ("_grants", "_waiters", "holder")

    def __init__(self) -> None:
        self.holder: Holder | None = None
        self._grants = 0
        self._waiters: deque[W] | None = None

    def standing(self, origin: Origin, token: Token | None) -> Standing:
        """How the one who shows this token stands to the lock."""
        holder = self.holder
        if holder is None:
            return Standing.FREE
        if token is None or token != holder.token:
            return Standing.OTHERS
        same = origin.context == holder.origin.context if token.custom else origin == holder.origin
        return Standing.MINE if same else Standing.OTHERS

    def may_call(self, origin: Origin, token: Token | None) -> bool:
        """Whether a method call may run."""
        return self.holder is None or RULES[Ask.CALL, self.standing(origin, token)] is Verdict.ALLOW

    def acquire(self, origin: Origin, token: Token, now: float) -> bool:
        """Lock it; False if somebody else holds it.

        Args:
            origin: The context that asks.
            token: What the lock shall belong to.
            now: The time that others are shown, as seconds since the epoch.
        """
        verdict = RULES[Ask.ACQUIRE, self.standing(origin, token)]
        if verdict is Verdict.GRANT:
            self._grants += 1
            self.holder = Holder(origin, token, LockInfo(origin.context, f"$lock_{self._grants}", now))
        return verdict is not Verdict.WAIT

    def release(self, origin: Origin, token: Token | None) -> bool:
        """Unlock it; False if the token is not the one that it was locked with."""
        return self._free(RULES[Ask.RELEASE, self.standing(origin, token)])

    def force(self) -> bool:
        """Unlock it, whoever holds it; False if nobody did."""
        return self._free(RULES[Ask.FORCE, Standing.FREE if self.holder is None else Standing.OTHERS])

    def leave(self, origin: Origin) -> bool:
        """A context is gone: an automatic lock of it is void, a custom one stays. True if that freed the lock."""
        holder = self.holder
        if holder is None:
            standing = Standing.FREE
        elif holder.origin == origin and not holder.token.custom:
            standing = Standing.MINE
        else:
            standing = Standing.OTHERS
        return self._free(RULES[Ask.LEAVE, standing])

    def _free(self, verdict: Verdict) -> bool:
        if verdict is not Verdict.FREED:
            return False
        self.holder = None
        return True

    def wait(self, waiter: W) -> None:
        """Stand in line."""
        if self._waiters is None:
            self._waiters = deque()
        self._waiters.append(waiter)

    def give_up(self, waiter: W) -> bool:
        """Leave the line; False if not in it."""
        try:
            (self._waiters or deque()).remove(waiter)
        except ValueError:
            return False
        return True

    def waiting(self) -> list[W]:
        """Those in line, for who wants to look."""
        return list(self._waiters or ())

    def next_waiter(self) -> W | None:
        """Take the first in line, if there is one."""
        return self._waiters.popleft() if self._waiters else None

    def clear_waiters(self) -> list[W]:
        """Send everybody in line away."""
        waiters, self._waiters = list(self._waiters or ()), None
        return waiters
