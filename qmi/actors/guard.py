"""How the lock of an object is asked for, given and taken away; the rules are in :mod:`qmi.actors.lock`.

An acquisition takes its turn like a call, so that whoever gets the lock knows that the object is idle. If somebody else
holds it, the acquisition waits outside the line, and comes back to its head when the lock is free. Everything else
that concerns the lock is done at once.
"""

from __future__ import annotations

import logging
import math
import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.lock import Lock
from qmi.actors.turns import AcquireTurn, CallTurn, InlineTurn, PullTurn, Turn, WaitedTurn
from qmi.errors import QMI_ObjectLockedException
from qmi.messages import Acquire, LockAnswer, LockInfo, Origin, Release

if TYPE_CHECKING:
    from qmi.actors.runner import Actor

_logger = logging.getLogger("qmi.core.rpc")


class Guard:
    """The lock of one actor."""

    __slots__ = ("_actor", "_lock")

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._lock: Lock[AcquireTurn] = Lock()

    @property
    def is_locked(self) -> bool:
        """Whether anybody holds the lock."""
        return self._lock.holder is not None

    def info(self) -> LockInfo | None:
        """Who holds the lock."""
        holder = self._lock.holder
        return None if holder is None else holder.info

    def refusal(self, turn: CallTurn | InlineTurn | PullTurn | WaitedTurn) -> QMI_ObjectLockedException | None:
        """Why the lock does not let this turn through, or None if it does. The refusal is logged."""
        holder = self._lock.holder
        if holder is None or self._lock.may_call(turn.origin, turn.token):
            return None
        if isinstance(turn, PullTurn) and turn.closing:
            return None  # leaving is always allowed
        how = "with a wrong lock token" if turn.token is not None else "without lock token"
        _logger.error("%s locked, method request %s is denied", self._actor.address.object, how)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(holder.info.since))
        return QMI_ObjectLockedException(
            f"The object is locked by another proxy: {self._actor.where} is held by context {holder.info.context!r} "
            f"({holder.info.label}) since {since} UTC"
        )

    def acquire(self, request: Acquire, origin: Origin) -> QMI_RpcFuture[LockAnswer]:
        """Ask for the lock. It is refused if somebody else holds it for too long."""
        actor = self._actor
        future: QMI_RpcFuture[LockAnswer] = QMI_RpcFuture(f"{actor.where}.lock()", explain=actor.explain_busy)
        turn = AcquireTurn(request, origin, future)
        future.on_cancel = partial(self._withdraw, turn)
        with actor.mailbox.mutex:
            others = not self._may_have(request, origin)
        if others and request.timeout <= 0:
            future.settle(LockAnswer.REFUSED)
            return future
        actor.enter(turn)
        if 0 < request.timeout < math.inf and not future.done():
            actor.spawn(turn, self._expire, turn)
        return future

    def _may_have(self, request: Acquire, origin: Origin) -> bool:
        lock = self._lock
        return lock.may_call(origin, request.token) or (
            request.held is not None and lock.may_call(origin, request.held)
        )

    def take_turn(self, turn: AcquireTurn) -> None:
        """It is the turn of an acquisition: it is granted, refused, or waits for the lock."""
        # Whoever claims the turn decides: the grant here, the end of its time, or a caller who gives up.
        mailbox = self._actor.mailbox
        with mailbox.mutex:
            free = self._may_have(turn.request, turn.origin)
            if not free and turn.request.timeout > 0 and not turn.given_up:
                self._lock.wait(turn)
                return
            mine = turn.claim()
            granted = mine and free and self._lock.holder is None
            if granted:
                self._lock.acquire(turn.origin, turn.request.token, time.time())
            elif free and turn.woken:
                self._wake_next()
        answer = LockAnswer.GRANTED if granted else LockAnswer.KEPT if free else LockAnswer.REFUSED
        if mine and not turn.future.settle(answer) and granted:
            # The caller gave up while it was granted.
            with mailbox.mutex:
                self._after_release(self._lock.release(turn.origin, turn.request.token))

    async def _expire(self, turn: AcquireTurn) -> None:
        with trio.move_on_after(turn.request.timeout):
            await turn.future.ended()
        if turn.claim():
            self._withdraw(turn)
            turn.future.settle(LockAnswer.REFUSED)

    def _withdraw(self, turn: AcquireTurn) -> None:
        turn.given_up = True
        turn.claim()
        with self._actor.mailbox.mutex:
            if self._lock.give_up(turn) or not self._actor.mailbox.withdraw_locked(turn):
                return
            following = self._wake_next() if turn.woken and self._lock.holder is None else None
        self._actor.dispatch(following)

    def release(self, request: Release, origin: Origin) -> bool:
        """Unlock. False, and a warning, if the token is not the right one."""
        if request.context is not None and request.token is not None and request.token.custom:
            origin = Origin(request.context, origin.incarnation)
        with self._actor.mailbox.mutex:
            holder = self._lock.holder
            freed = self._lock.release(origin, request.token)
            turn = self._after_release(freed)
        if not freed and self._drop_requests(request, origin):
            return False
        if not freed and holder is not None:
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
            turns = [*self._lock.waiting(), *mailbox.waiting_locked()]
        asked = [turn for turn in turns if isinstance(turn, AcquireTurn) and turn.request.token == request.token]
        dropped = [turn.future.cancel() for turn in asked if turn.origin == origin]
        return any(dropped)

    def force_release(self) -> None:
        """Unlock, whoever holds the lock."""
        with self._actor.mailbox.mutex:
            turn = self._after_release(self._lock.force())
        _logger.warning("%s forcefully unlocked!.", self._actor.address.object)
        self._actor.dispatch(turn)

    def leave(self, origin: Origin) -> None:
        """A context is gone: its automatic lock is void."""
        with self._actor.mailbox.mutex:
            freed = self._lock.leave(origin)
            turn = self._after_release(freed)
        if freed:
            _logger.warning(
                "%s unlocked, because context %r that held the lock is gone", self._actor.where, origin.context
            )
        self._actor.dispatch(turn)

    def _after_release(self, freed: bool) -> Turn | None:
        return self._wake_next() if freed else None

    def _wake_next(self) -> Turn | None:
        # Called with the mutex. Whoever waited longest goes before those who are in line for a call. While the lock is
        # free and somebody waits for it, exactly one has been woken and stands in line.
        waiter = self._lock.next_waiter()
        if waiter is None:
            return None
        waiter.woken = True
        return waiter if self._actor.mailbox.enter_locked(waiter, first=True) else None

    def clear_waiters(self) -> list[AcquireTurn]:
        """Send everybody away who waits for the lock. Called with the mutex."""
        return self._lock.clear_waiters()
