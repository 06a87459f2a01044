"""How the lock of an object is asked for, given and taken away; the rules are in :mod:`qmi.actors.lock_rules`.

An acquisition takes its turn like a call, so that whoever gets the lock knows that the object is idle. If somebody else
holds it, the acquisition waits outside the line, and comes back to its head when the lock is free. Everything else
that concerns the lock is done at once.

Several threads may see to the same acquisition: the one whose turn ended before it, one that was interrupted and
dispatches again, a timeout, a caller who gives up, the end of the object. So everything that becomes of it is decided
once, under the mailbox's mutex, and kept in ``AcquireTurn.answer``; telling the caller may be repeated without harm.
"""

from __future__ import annotations

import copy
import logging
import math
import time

import trio

from qmi.actors.future import PendingCall, Turn
from qmi.actors.lock_rules import Lock
from qmi.actors.services import LockedActor
from qmi.actors.streams import PullTurn
from qmi.errors import QMI_LockLostException, QMI_ObjectLockedException
from qmi.messages import Acquire, LockAnswer, LockInfo, Origin, Release, Token

_logger = logging.getLogger("qmi.core.rpc")


class AcquireTurn(Turn):
    """A lock acquisition.

    Attributes:
        request: What is asked for.
        answer: What was decided, once and for all; None before. Guarded by the mailbox's mutex.
        fault: Why it was refused, if not because somebody else holds the lock.
    """

    __slots__ = ("_manager", "answer", "fault", "request")

    def __init__(self, request: Acquire, origin: Origin) -> None:
        super().__init__("lock()", origin)
        self.request: Acquire = request
        self.answer: LockAnswer | None = None
        self.fault: BaseException | None = None
        self._manager: LockManager | None = None

    @property
    def text(self) -> str:
        """What it does, for people."""
        return "lock()"

    def belongs_to(self, manager: LockManager, what: str) -> None:
        """It was handed to the object whose lock is asked for."""
        self._manager = manager
        self._what = what

    def explain(self, patience: float = 0.0) -> str:
        """What the object is doing."""
        return "" if self._manager is None else self._manager.explain_busy()

    def _give_up(self) -> None:
        if self._manager is not None:
            self._manager.abandon(self)


class LockManager:
    """The lock of one actor.

    Attributes:
        lock: The rules and the holder; to be changed by this class only.
    """

    __slots__ = ("_actor", "_woken", "lock")

    def __init__(self, actor: LockedActor) -> None:
        self._actor = actor
        self.lock: Lock[AcquireTurn] = Lock()
        # The waiter that stands in line because the lock can be had; there is at most one, so that they keep their
        # order. Guarded by the mailbox's mutex.
        self._woken: AcquireTurn | None = None

    @property
    def is_locked(self) -> bool:
        """Whether anybody holds the lock."""
        return self.lock.holder is not None

    def info(self) -> LockInfo | None:
        """Who holds the lock."""
        holder = self.lock.holder
        return None if holder is None else holder.info

    def holder(self) -> tuple[Origin, LockInfo] | None:
        """The context that holds the lock, and what others may see of it."""
        holder = self.lock.holder
        return None if holder is None else (holder.origin, holder.info)

    def note(self, origin: Origin, reason: str, user: str, program: str, host: str) -> bool:
        """Note for what a context holds the lock; False if it does not."""
        with self._actor.mailbox.mutex:
            return self.lock.note(origin, reason, user, program, host)

    # Calls

    def refusal(self, turn: PendingCall) -> QMI_ObjectLockedException | None:
        """Why the lock does not let this turn through, or None if it does. The refusal is logged."""
        lock = self.lock
        token = turn.token
        if turn.passes_lock or lock.may_call(turn.origin, token):
            return None
        if isinstance(turn, PullTurn) and (turn.closing or not self._concerns(turn)):
            return None
        with self._actor.mailbox.mutex:
            if lock.may_call(turn.origin, token):  # it was released meanwhile
                return None
            holder = lock.holder
            reason = lock.reason(token)
            # A token that was never heard of says nothing while somebody else holds the lock: it may be a guess.
            lost = reason is not None or (holder is None and lock.is_lost(token))
            # A pass is shown by any number of proxies, and none of them may go on without what it was meant for.
            if lost and token is not None and not (token.is_block or token.is_pass):
                lock.remember(token)  # told once; from then on the proxy is one without a lock
        name = self._actor.address.object
        if lost and token is not None:
            _logger.error("%s: method request with the token of a lock that is gone is denied", name)
            return QMI_LockLostException(self._lost(token, reason, holder.info if holder is not None else None))
        assert holder is not None
        how = "with a wrong lock token" if token is not None else "without lock token"
        _logger.error("%s locked, method request %s is denied", name, how)
        return QMI_ObjectLockedException(f"The object is locked by another proxy: {self._held(holder.info)}")

    def _concerns(self, turn: PullTurn) -> bool:
        # An item that is made ahead shows the token of the call that opened the stream. It may have been released long
        # ago, longer than the lock remembers: while nobody holds the lock, only news of a loss ends the stream. And the
        # consumer may have entered another block since then, on top of the one that the stream was opened in.
        lock = self.lock
        if lock.holder is None:
            return lock.reason(turn.token) is not None
        return not (turn.is_ahead and lock.has_grant(turn.origin, turn.token))

    def _held(self, info: LockInfo) -> str:
        return f"{self._actor.where} is held by {info.describe()}"

    def _lost(self, token: Token, reason: str | None, info: LockInfo | None) -> str:
        why = reason or "it is not known here, because the link was lost or the program of the object was restarted"
        now = "" if info is None else f"; {self._held(info)}"
        todo = (
            "It was taken by the program that has started this one; lock() asks for one of its own"
            if token.is_pass
            else "Leave the locked() block and enter it again"
            if token.is_block
            else "From now on this proxy calls without a lock; lock() asks for it again"
        )
        return f"The lock on {self._actor.where} that this call relies on is gone: {why}{now}. {todo}"

    # Asking for the lock

    def explain_busy(self) -> str:
        """What keeps the object from answering, or an empty string."""
        return self._actor.explain_busy()

    def acquire(self, turn: AcquireTurn) -> AcquireTurn:
        """Ask for the lock. It is refused if somebody else holds it for too long.

        Args:
            turn: The request, which may have been given up already.
        """
        actor = self._actor
        request = turn.request
        turn.belongs_to(self, f"{actor.where}.lock()")
        if request.timeout <= 0:
            with actor.mailbox.mutex:
                possible = self._may_have(turn)
            if not possible:
                turn.set_result(LockAnswer.REFUSED)
                return turn
        actor.enter(turn)
        if 0 < request.timeout < math.inf and not turn.done():
            actor.spawn(turn, self._expire, turn)
        return turn

    def _may_have(self, turn: AcquireTurn) -> bool:
        request = turn.request
        return bool(self.lock.verdict(turn.origin, request.token, request.held, request.grant))

    def take_turn(self, turn: AcquireTurn) -> Turn | None:
        """It is the turn of an acquisition: it is granted, refused, or waits for the lock.

        May be called more than once, by any thread, at any time: only the first one who finds it the current turn
        decides, and only one ends it.

        Returns:
            The turn that follows, which the caller has to see to; None if there is none, or somebody else does.
        """
        mailbox = self._actor.mailbox
        with mailbox.mutex:
            if turn.answer is None:
                if mailbox.current is not turn:
                    return None
                if not self._decide(turn):
                    # It leaves the line under the same hold of the mutex: as soon as that is given up, a release may
                    # put the same turn in line again, and nobody may take that second turn for the first one.
                    return mailbox.leave_locked(turn)
        self._tell(turn)
        return mailbox.leave(turn)

    def _decide(self, turn: AcquireTurn) -> bool:
        # Called with the mutex; False if it has to wait.
        request = turn.request
        closed = self._actor.mailbox.closed
        woken = turn is self._woken
        if closed is not None:
            # The object ends, and those who waited for the lock have been answered already: nobody would wake this one.
            turn.fault = copy.copy(closed)
            turn.answer = LockAnswer.REFUSED
        else:
            answer = self.lock.acquire(turn.origin, request.token, time.time(), request.held, request.grant)
            if answer is LockAnswer.REFUSED and request.timeout > 0:
                self.lock.wait(turn, first=woken)
            else:
                turn.answer = answer
        if woken:
            self._woken = None
        if turn.answer is not None:
            self._wake_next()  # this turn is the current one, so that there is nothing to dispatch
        return turn.answer is not None

    def _tell(self, turn: AcquireTurn) -> None:
        if turn.fault is not None:
            turn.fail(turn.fault)
        elif turn.answer is None or turn.set_result(turn.answer):
            return
        elif turn.error() is not None:
            # The caller gave up in this very moment. It calls abandon() itself, which found or will find the answer;
            # doing it here as well costs nothing, and also holds if that caller was interrupted again.
            self.abandon(turn)

    async def _expire(self, turn: AcquireTurn) -> None:
        with trio.move_on_after(turn.request.timeout):
            await turn.ended()
        if not turn.done():
            self.time_out(turn)

    def time_out(self, turn: AcquireTurn) -> None:
        """The caller has waited long enough: the request is refused, unless it is granted in this very moment."""
        with self._actor.mailbox.mutex:
            if turn.answer is not None:
                return  # whoever decided that tells the caller
            following = self._leave(turn)
        self._tell(turn)
        self._actor.dispatch(following)

    def abandon(self, turn: AcquireTurn) -> None:
        """Nobody waits for this request any more, which has failed. Whatever it was granted is released."""
        # The decision was made under this mutex before, or will never be made.
        with self._actor.mailbox.mutex:
            turn.given_up = True
            if turn.answer is None:
                following = self._leave(turn)
            elif turn.answer is LockAnswer.GRANTED:
                following = self._wake_next() if self.lock.release(turn.origin, turn.request.key) else None
            else:
                following = None
            self.lock.remember(turn.request.key)
        self._actor.dispatch(following)

    def _leave(self, turn: AcquireTurn) -> Turn | None:
        # Called with the mutex: the request is refused, wherever it stands. If it is the current turn, whoever sees to
        # that finds the answer and ends it. Returns what the caller has to dispatch.
        turn.answer = LockAnswer.REFUSED
        self.lock.abandon(turn)
        self._actor.mailbox.withdraw_locked(turn)
        if turn is not self._woken:
            return None
        self._woken = None
        return self._wake_next()

    # Giving the lock away

    def release(self, request: Release, origin: Origin) -> bool:
        """Unlock. False, and a warning, if the token is not the right one."""
        if request.context is not None and request.token is not None and request.token.custom:
            origin = Origin(request.context, origin.incarnation)
        with self._actor.mailbox.mutex:
            holder = self.lock.holder
            freed = self.lock.release(origin, request.token)
            turn = self._wake_next() if freed else None
            # It may have been given back before: by a caller that was interrupted, and could not know.
            token = request.token
            known = not freed and token is not None and not token.custom and not self.lock.is_lost(token)
        if not freed and self._drop_requests(request, origin):
            return False
        if not freed and not known and holder is not None:
            _logger.warning(
                "Unlocking request (token=%s) for %s failed! Locked with "
                "token=QMI_LockTokenDescriptor(context_id=%r, token=%r).",
                None if request.token is None else "<not the right one>",
                self._actor.address.object,
                holder.info.context,
                holder.info.label,
            )
        self._actor.dispatch(turn)
        return freed

    def _drop_requests(self, request: Release, origin: Origin) -> bool:
        # A caller that was interrupted before it had the future of its lock request can only take it back like this.
        if request.token is None or request.token.custom:
            return False
        mailbox = self._actor.mailbox
        with mailbox.mutex:
            turns = [*self.lock.waiting(), *mailbox.waiting_locked(), mailbox.current]
        asked = [turn for turn in turns if isinstance(turn, AcquireTurn) and turn.request.key == request.token]
        dropped = [turn.cancel() for turn in asked if turn.origin == origin]
        return any(dropped)

    def force_release(self, origin: Origin, reason: str = "", user: str = "") -> None:
        """Unlock, whoever holds the lock; the holder is told at once, and its next call is refused with the news.

        Args:
            origin: Who asks for it.
            reason: For what; empty if that was not said.
            user: Who that is, with program and computer, likewise.
        """
        actor = self._actor
        address = actor.host.address_of(origin)
        who = f"context {origin.context!r}" + (f" ({address})" if address else "") + (f", {user}," if user else "")
        why = f": {reason}" if reason else ""
        with actor.mailbox.mutex:
            held = [holder.info for holder in self.lock.holders()]
            former = {holder.origin for holder in self.lock.holders()}
            self.lock.force(f"{who} took it away by force_unlock() at {_utc(time.time())}{why}")
            turn = self._wake_next()
        for other in former - {origin}:
            actor.host.tell_former_holder(actor.where, other, who.rstrip(","), reason)
        _logger.warning("%s forcefully unlocked!.", actor.address.object)
        # The line above is what a script's console shows. Who did it is of interest there only if it was somebody else.
        level = logging.WARNING if address else logging.INFO
        for info in held:
            _logger.log(
                level, "%s: %s took the lock from context %r (%s)%s", actor.where, who, info.context, info.label, why
            )
        actor.dispatch(turn)

    def leave(self, origin: Origin) -> None:
        """A context is gone: its automatic lock is void."""
        actor = self._actor
        mailbox = actor.mailbox
        with mailbox.mutex:
            safe = actor.lock_lost(origin) if mailbox.closed is None and self.lock.is_held_by(origin) else None
            freed = self.lock.leave(origin)
            # The safe state comes before whatever the next one does who gets the lock. Of two that go first, the one
            # that is put there last is the first; and whoever comes into an empty mailbox has the turn at once.
            turn = None
            if safe is not None and mailbox.current is None:
                turn, safe = (safe if mailbox.enter_locked(safe, first=True) else None), None
            woken = self._wake_next() if freed else None
            if safe is not None:
                mailbox.enter_locked(safe, first=True)
            turn = turn or woken
        if freed:
            _logger.warning(
                "%s unlocked, because context %r that held the lock is gone", self._actor.where, origin.context
            )
        self._actor.dispatch(turn)

    def _wake_next(self) -> Turn | None:
        # Called with the mutex. Whoever waited longest goes before those who are in line for a call. While the lock can
        # be had by somebody who waits for it, exactly one has been woken and stands in line. Returns what the caller
        # has to dispatch.
        if self._woken is not None:
            return None
        waiter = self.lock.next_waiter(self._may_have)
        if waiter is None:
            return None
        self._woken = waiter
        return waiter if self._actor.mailbox.enter_locked(waiter, first=True) else None

    def clear_waiters(self) -> list[AcquireTurn]:
        """Send everybody away who waits for the lock. Called with the mutex."""
        return self.lock.clear_waiters()


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))
