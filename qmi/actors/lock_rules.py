"""Who may call an object: the rules as one table, and who waits for the lock.

Whoever asks stands in one of four relations to the lock (:class:`Ownership`); for each thing that can be asked
(:class:`LockOperation`) the table :data:`RULES` says what happens. Nothing else decides.

The relation is a matter of tokens. An *automatic* token belongs to one proxy, or to one ``locked()`` block, in one
incarnation of a context; nobody can guess it and it dies with that context. A *custom* token belongs to the name of a
context, so that a restarted program can release what it locked before. A *pass* is an automatic token that other
contexts may show as well: who was handed it may call, and have blocks on top, but not give the lock back.

Grants are stacked: a block within a block, or within a plain lock, of the same owner gets a grant on top of that one's,
and only the top one may call. When it is released, the one below holds the lock again. Each grant has a key of its own,
so that a release takes exactly that grant away, wherever it is in the stack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

from qmi.messages import LockAnswer, LockInfo, Origin, Token
from qmi.records import NamedTuple

W = TypeVar("W")

REMEMBERED = 128
"""How many grants a lock remembers that ended, so that calls which still show them are told why."""


class _Word(Enum):
    """Members are keys of tables that each locked call looks into; the hash of Enum is a function of Python."""

    if TYPE_CHECKING:

        def __hash__(self) -> int: ...

    else:
        __hash__ = object.__hash__


class Ownership(_Word):
    """How somebody stands to a lock."""

    FREE = "nobody holds it"
    FORMER = "nobody holds it, and the asker does not know that its own lock is gone"
    MINE = "the one who asks holds it"
    OTHERS = "somebody else holds it"


class LockOperation(_Word):
    """What can be asked of a lock."""

    CALL = "call a method"
    ACQUIRE = "lock"
    NEST = "lock for a block, or for a proxy while a block of its own holds the lock"
    RELEASE = "unlock"
    FORCE = "force unlock"
    LEAVE = "the asker's context is gone"


class LockOutcome(_Word):
    """What becomes of it."""

    ALLOW = "the call may run"
    REFUSE = "the call is refused"
    GRANT = "the asker holds the lock from now on"
    KEEP = "nothing changes, and that is what was asked for"
    WAIT = "not now"
    FREED = "the grant is gone from now on"
    DENY = "nothing changes, which is not what was asked for"


RULES: Mapping[tuple[LockOperation, Ownership], LockOutcome] = {
    (LockOperation.CALL, Ownership.FREE): LockOutcome.ALLOW,
    (LockOperation.CALL, Ownership.FORMER): LockOutcome.REFUSE,
    (LockOperation.CALL, Ownership.MINE): LockOutcome.ALLOW,
    (LockOperation.CALL, Ownership.OTHERS): LockOutcome.REFUSE,
    (LockOperation.ACQUIRE, Ownership.FREE): LockOutcome.GRANT,
    (LockOperation.ACQUIRE, Ownership.FORMER): LockOutcome.GRANT,
    (LockOperation.ACQUIRE, Ownership.MINE): LockOutcome.KEEP,
    (LockOperation.ACQUIRE, Ownership.OTHERS): LockOutcome.WAIT,
    (LockOperation.NEST, Ownership.FREE): LockOutcome.GRANT,
    (LockOperation.NEST, Ownership.FORMER): LockOutcome.GRANT,
    (LockOperation.NEST, Ownership.MINE): LockOutcome.GRANT,
    (LockOperation.NEST, Ownership.OTHERS): LockOutcome.WAIT,
    (LockOperation.RELEASE, Ownership.FREE): LockOutcome.DENY,
    (LockOperation.RELEASE, Ownership.FORMER): LockOutcome.DENY,
    (LockOperation.RELEASE, Ownership.MINE): LockOutcome.FREED,
    (LockOperation.RELEASE, Ownership.OTHERS): LockOutcome.DENY,
    (LockOperation.FORCE, Ownership.FREE): LockOutcome.KEEP,
    (LockOperation.FORCE, Ownership.FORMER): LockOutcome.KEEP,
    (LockOperation.FORCE, Ownership.MINE): LockOutcome.FREED,
    (LockOperation.FORCE, Ownership.OTHERS): LockOutcome.FREED,
    (LockOperation.LEAVE, Ownership.FREE): LockOutcome.KEEP,
    (LockOperation.LEAVE, Ownership.FORMER): LockOutcome.KEEP,
    (LockOperation.LEAVE, Ownership.MINE): LockOutcome.FREED,
    (LockOperation.LEAVE, Ownership.OTHERS): LockOutcome.KEEP,
}

_ANSWERS: Mapping[LockOutcome, LockAnswer] = {
    LockOutcome.GRANT: LockAnswer.GRANTED,
    LockOutcome.KEEP: LockAnswer.KEPT,
    LockOutcome.WAIT: LockAnswer.REFUSED,
}


class Holder(NamedTuple):
    """Who holds a lock, or held it when a block of its own was entered.

    Attributes:
        origin: The context that it was granted to.
        token: What proves it: automatic, or a text of the user's.
        key: What proves it as well, and stands for this grant alone.
        info: What others may know.
        outer: The key of the grant that a block was granted on top of; None if the lock was free.
    """

    origin: Origin
    token: Token
    key: Token
    info: LockInfo
    outer: Token | None = None

    def is_proved_by(self, origin: Origin, token: Token | None) -> bool:
        """Whether this token, shown by this context, is the holder's."""
        if token is None or token not in (self.key, self.token):
            return False
        if token.custom:
            return origin.context == self.origin.context
        return origin == self.origin or token.is_pass

    def is_ended_by(self, origin: Origin, token: Token | None) -> bool:
        """Whether who shows this token may release the grant: not the one who was handed a pass to it."""
        if token is None or token not in (self.key, self.token):
            return False
        return origin.context == self.origin.context if token.custom else origin == self.origin


class _Ended(NamedTuple):
    """A grant that ended.

    Attributes:
        reason: Why, if not by its owner's doing.
        outer: The grant that the owner was left with, if it has ended a block inside of another one.
    """

    reason: str = ""
    outer: Token | None = None


class Lock(Generic[W]):
    """The lock of one object, and those who wait for it (``W``), first come first served.

    It is not safe for threads: the object's mailbox guards it.

    Attributes:
        holder: The grant whose owner may call, or None while the lock is free.
    """

    __slots__ = ("_below", "_grants", "_past", "_waiters", "holder")

    def __init__(self) -> None:
        self.holder: Holder | None = None
        self._below: list[Holder] | None = None
        self._grants = 0
        self._past: dict[Token, _Ended] | None = None
        self._waiters: deque[W] | None = None

    def holders(self) -> list[Holder]:
        """All grants, the one that may call last."""
        holder = self.holder
        if self._below:
            return self._below if holder is None else [*self._below, holder]
        return [] if holder is None else [holder]

    def standing(self, origin: Origin, token: Token | None) -> Ownership:
        """How the one who shows this token stands to the lock."""
        holder = self.holder
        if holder is None:
            return Ownership.FORMER if self.is_lost(token) else Ownership.FREE
        return Ownership.MINE if holder.is_proved_by(origin, token) else Ownership.OTHERS

    def may_call(self, origin: Origin, token: Token | None) -> bool:
        """Whether a method call may run."""
        return RULES[LockOperation.CALL, self.standing(origin, self._left_with(token))] is LockOutcome.ALLOW

    def has_grant(self, origin: Origin, token: Token | None) -> bool:
        """Whether a token is that of any grant, of one that a block was granted on top of as well."""
        shown = self._left_with(token)
        return any(holder.is_proved_by(origin, shown) for holder in self.holders())

    def _left_with(self, token: Token | None) -> Token | None:
        # A call that was begun in a block, and comes when that has ended: its owner has the outer block or lock still.
        past = self._past
        while past is not None and token in past and (outer := past[token].outer) is not None:
            token = outer
        return token

    # Grants that ended

    def is_lost(self, token: Token | None) -> bool:
        """Whether a token is that of a grant which ended without its owner's doing, or which is not known here."""
        if token is None or token.custom:
            return False
        if self.holder is not None and any(token in (holder.key, holder.token) for holder in self.holders()):
            return False
        ended = self._past.get(token) if self._past is not None else None
        return ended is None or ended.reason != ""

    def reason(self, token: Token | None) -> str | None:
        """Why a lost grant is gone; None if that is not known."""
        shown = self._left_with(token)
        ended = self._past.get(shown) if self._past is not None and shown is not None else None
        return ended.reason or None if ended is not None else None

    def remember(self, token: Token, reason: str = "", outer: Token | None = None) -> None:
        """Note that a grant ended.

        Args:
            token: Its key.
            reason: Why, if not by its owner's doing.
            outer: The grant that its owner is left with.
        """
        if self._past is None:
            self._past = {}
        self._past.pop(token, None)
        self._past[token] = _Ended(reason, outer)
        if len(self._past) > REMEMBERED:
            del self._past[next(iter(self._past))]

    # What changes the holder

    def verdict(self, origin: Origin, token: Token, held: Token | None = None, key: Token | None = None) -> LockAnswer:
        """What the answer to :meth:`acquire` would be now."""
        ask, standing = self._ask(origin, token, held, key or token)
        return _ANSWERS[RULES[ask, standing]]

    def _ask(self, origin: Origin, token: Token, held: Token | None, key: Token) -> tuple[LockOperation, Ownership]:
        top = self.holder
        if top is None:  # who asks anew need not know that an earlier lock is gone
            return LockOperation.ACQUIRE, Ownership.FREE
        known = self.standing(origin, token)
        mine = self.standing(origin, held)
        if key.is_block:
            # Who knows the text of a plain lock may have a block in it, and so may the program that was restarted in
            # the midst of a block. Another thread's block is not entered by showing its text.
            foreign = top.key.is_block and top.origin == origin
            return LockOperation.NEST, known if known is Ownership.MINE and not foreign else mine
        if known is Ownership.MINE or mine is not Ownership.MINE:
            return LockOperation.ACQUIRE, known
        # A block on top of a pass is of somebody who has that pass: a plain lock would be below it and let nobody in.
        below = self._below or ()
        if not top.key.is_block or any(each.is_proved_by(origin, token) or each.key.is_pass for each in below):
            return LockOperation.ACQUIRE, mine
        return LockOperation.NEST, mine

    def acquire(
        self, origin: Origin, token: Token, now: float, held: Token | None = None, key: Token | None = None
    ) -> LockAnswer:
        """Lock it; refused if somebody else holds it.

        Args:
            origin: The context that asks.
            token: What the lock shall belong to.
            now: The time that others are shown, as seconds since the epoch.
            held: What the one who asks was granted before.
            key: What stands for this request alone, if ``token`` does not.
        """
        key = key or token
        ask, standing = self._ask(origin, token, held, key)
        answer = _ANSWERS[RULES[ask, standing]]
        if answer is not LockAnswer.GRANTED:
            return answer
        self._grants += 1
        if self._past is not None:
            self._past.pop(key, None)
        top = self.holder
        info = LockInfo(origin.context, f"$lock_{self._grants}", now)
        if top is not None and top.info.reason:  # a block on top of what is reserved is a part of it
            info = LockInfo(*info, top.info.reason, top.info.user, top.info.program, top.info.host)
        if top is None:
            self.holder = Holder(origin, token, key, info)
            return answer
        if self._below is None:
            self._below = []
        if key.is_block:
            self._below.append(top)
            self.holder = Holder(origin, token, key, info, top.key)
        else:  # it outlives the block that holds the lock now
            self._below.insert(0, Holder(origin, token, key, info))
        return answer

    def release(self, origin: Origin, token: Token | None) -> bool:
        """End the grant that the token proves; False if there is none.

        A text ends the plain lock that it was given for, and all blocks in which it is used.
        """
        gone = [holder for holder in self.holders() if holder.is_ended_by(origin, token)]
        reason = f"unlocked with its lock_token by context {origin.context!r}"
        for holder in gone:
            own = holder.key == token or not holder.key.is_block
            if holder.key.is_pass:  # those who were handed it are told
                self.remember(holder.key, f"context {origin.context!r}, which has handed it on, has given it back")
                continue
            self.remember(holder.key, "" if own else reason, holder.outer if own else None)
        return self._end(gone, LockOperation.RELEASE)

    def force(self, reason: str = "unlocked by force") -> bool:
        """Unlock it, whoever holds it; False if nobody did.

        Args:
            reason: What those who held it are told.
        """
        gone = self.holders()
        for holder in gone:
            self.remember(holder.key, reason)
        return self._end(gone, LockOperation.FORCE)

    def note(self, origin: Origin, reason: str, user: str, program: str, host: str) -> bool:
        """Note for what a context holds it; False if it does not."""
        holder = self.holder
        if holder is None or holder.origin != origin:
            return False
        self.holder = holder._replace(info=LockInfo(*holder.info, reason, user, program, host))
        return True

    def is_held_by(self, origin: Origin) -> bool:
        """Whether a context has a lock, also one with a token of its own."""
        return any(holder.origin == origin for holder in self.holders())

    def leave(self, origin: Origin) -> bool:
        """A context is gone: its automatic locks are void, custom ones stay. True if there were any."""
        gone = [holder for holder in self.holders() if holder.origin == origin and not holder.token.custom]
        for holder in gone:
            self.remember(holder.key, f"the link to context {origin.context!r} was lost, and its locks with it")
        return self._end(gone, LockOperation.LEAVE)

    def _end(self, gone: list[Holder], ask: LockOperation) -> bool:
        held = Ownership.MINE if gone else Ownership.OTHERS
        standing = Ownership.FREE if self.holder is None else held
        if RULES[ask, standing] is not LockOutcome.FREED:
            return False
        left = [holder for holder in self._below or () if holder not in gone]
        if self.holder in gone:
            self.holder = left.pop() if left else None
        self._below = left or None
        return True

    # Those who wait

    def wait(self, waiter: W, first: bool = False) -> None:
        """Stand in line; at its head if it had been there before."""
        if self._waiters is None:
            self._waiters = deque()
        if first:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)

    def abandon(self, waiter: W) -> bool:
        """Leave the line; False if not in it."""
        try:
            (self._waiters or deque()).remove(waiter)
        except ValueError:
            return False
        return True

    def waiting(self) -> list[W]:
        """Those in line, for who wants to look."""
        return list(self._waiters or ())

    def next_waiter(self, may_have: Callable[[W], bool] = lambda _: True) -> W | None:
        """Take the first in line that may have the lock now, if there is one."""
        for waiter in self._waiters or ():
            if may_have(waiter):
                self.abandon(waiter)
                return waiter
        return None

    def clear_waiters(self) -> list[W]:
        """Send everybody in line away."""
        waiters, self._waiters = list(self._waiters or ()), None
        return waiters
