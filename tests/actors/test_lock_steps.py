"""Whatever concerns a lock, at each step of whatever else does: it is never held by one who gave up, and never lost."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from qmi.actors.future import QMI_RpcFuture
from qmi.actors.lock_manager import AcquireTurn
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_ObjectLockedException, QMI_ObjectRemovedException
from qmi.messages import Acquire, LockAnswer, Token
from tests.support.actors import actor_of, check_idle
from tests.support.drivers import Inline, Plain
from tests.support.lock_step import OtherThread, interleave_at
from tests.support.waiting import wait_until

FILES = ("lock_manager.py", "actor.py", "mailbox.py", "lock_rules.py", "future.py", "inline.py", "call.py")


def in_locks(filename: str) -> bool:
    return "/qmi/actors/" in filename and filename.endswith(FILES)


class Scene:
    """A lock that one proxy holds and two more wait for, and what can happen to it. Nothing here waits."""

    def __init__(self, lab: QMI_Context) -> None:
        self.lab = lab
        self.actor = actor_of(lab, "x")
        self.proxies: list[Any] = [lab.get_instrument("x") for _ in range(4)]
        self.requests: dict[Token, QMI_RpcFuture[LockAnswer]] = {}
        self.asked: list[Token] = []
        self.undone: set[Token] = set()
        self.turns: list[AcquireTurn] = []
        self.later: list[QMI_RpcFuture[Any]] = []
        self.held = self.ask(0)
        self.ask(1)
        self.ask(2)

    def ask(self, who: int, timeout: float | None = None) -> Token:
        handle = self.proxies[who].__rpc__
        token: Token = handle.token_to_lock_with(None)
        if who == 2:  # as from another program: the request is that of the link
            request = AcquireTurn(Acquire("x", token, math.inf), self.lab.async_context.origin)
            self.requests[token] = self.actor.lock_manager.acquire(request)
        else:
            self.requests[token] = handle.acquire(timeout, token)
        self.asked.append(token)
        self.turns += [turn for turn in self.actor.lock_manager.lock.waiting() if turn not in self.turns]
        return token

    def future(self, who: int) -> QMI_RpcFuture[LockAnswer]:
        return self.requests[self.asked[who]]

    def release(self) -> None:
        self.proxies[0].__rpc__.release(self.held)

    def cancel_first(self) -> None:
        self.future(1).cancel()

    def cancel_last(self) -> None:
        self.future(2).cancel()

    def time_out(self) -> None:
        self.actor.lock_manager.time_out(self.turns[0])

    def force(self) -> None:
        self.proxies[3].__rpc__.force_release()

    def leave(self) -> None:
        self.actor.lock_manager.leave(self.lab.async_context.origin)

    def new_request(self) -> None:
        self.ask(3)

    def refused_request(self) -> None:
        self.ask(3, timeout=0)

    def redispatch(self) -> None:
        self.actor.redispatch()

    def call(self) -> None:
        self.later.append(self.proxies[3].rpc_nonblocking.count())

    def refused_call(self) -> None:
        """A call that the lock refuses; of an inline object, in the thread that makes it."""
        if self.actor.mailbox.current is not None:
            self.call()  # it would wait for what stands still
            return
        with suppress(QMI_ObjectLockedException):
            self.proxies[3].count()

    def undo(self) -> None:
        """A caller that was interrupted takes its request back."""
        token = self.asked[1]
        self.undone.add(token)
        self.proxies[1].__rpc__.undo_acquire(token, self.requests[token])

    def is_free(self) -> bool:
        """Whether another thread could do anything now."""
        return not self.actor.mailbox.mutex.locked()

    def check(self) -> None:
        """Let everybody who has the lock give it back, until nobody has it."""
        lock_manager = self.actor.lock_manager
        for future in self.later:
            with suppress(QMI_ObjectLockedException):
                future.wait(10)
        while (holder := lock_manager.lock.holder) is not None:
            assert holder.key not in self.undone, "held by one who gave up"
            future = self.requests[holder.key]
            assert future.done()
            assert future.error() is None, "held by one who gave up"
            assert future.result() == LockAnswer.GRANTED
            assert self.proxies[0].__rpc__.release(holder.key).wait(10)
        for future in self.requests.values():
            assert future.done(), "forgotten"
        wait_until(lambda: self.actor.mailbox.current is None)
        check_idle(self.actor)
        assert self.proxies[3].count() >= 1


ACTIONS = [
    *("release", "cancel_first", "cancel_last", "time_out", "force", "leave", "new_request", "refused_request"),
    *("redispatch", "call", "refused_call", "undo"),
]


def pairs() -> Iterator[Any]:
    """Every pair of actions with both kinds of objects; a usual run has one of six, and each action in several."""
    firsts = [name for name in ACTIONS if name not in ("redispatch", "refused_request")]
    for row, first in enumerate(firsts):
        for column, second in enumerate(ACTIONS):
            for number, cls in enumerate((Plain, Inline)):
                usual = (row + column) % 3 == 0 and (row + column // 3) % 2 == number
                name = f"{first}-{second}-{cls.__name__}"
                yield pytest.param(cls, first, second, id=name, marks=() if usual else pytest.mark.slow)


@pytest.mark.parametrize(("cls", "first", "second"), list(pairs()))
def test_lock_two_things_at_once_at_each_step(lab: QMI_Context, cls: type[Any], first: str, second: str) -> None:
    lab.make_instrument("x", cls)
    with OtherThread() as other:
        for number in itertools.count(1):
            scene = Scene(lab)
            one: Callable[[], None] = getattr(scene, first)
            two: Callable[[], None] = getattr(scene, second)
            came = interleave_at(number, one, partial(other.do, two), in_locks, scene.is_free)
            if not came:
                two()
            scene.check()
            if not came:
                break
    assert number > 5


@pytest.mark.parametrize("first", ["new_request", "release", "cancel_first", "time_out", "force"])
def test_lock_waiters_are_answered_when_the_object_ends_at_any_step(first: str) -> None:
    error = QMI_ObjectRemovedException("lab.x was removed from its context")
    for number in itertools.count(1):
        with QMI_Context("lab") as lab, OtherThread() as other:
            lab.make_instrument("x", Plain)
            scene = Scene(lab)

            def end(scene: Scene = scene) -> None:
                """How an object begins to end."""
                waiting = scene.actor.mailbox.close(error)
                with scene.actor.mailbox.mutex:
                    waiting.extend(scene.actor.lock_manager.clear_waiters())
                for turn in waiting:
                    turn.fail(copy.copy(error))

            came = interleave_at(number, getattr(scene, first), partial(other.do, end), in_locks, scene.is_free)
            if not came:
                break
            assert [future for future in scene.requests.values() if not future.done()] == []
            assert scene.actor.mailbox.current is None
    assert number > 5
