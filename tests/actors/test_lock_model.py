"""Locks as threads, tasks and programs use them, against a small model.

Each *user* is a thread or a trio task; all of them share three proxies, of which one is of another program. One of them
does one thing at a time, and is waited for unless the model says that it waits for the lock. The model is a stack.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from qmi.actors.lock_manager import AcquireTurn
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_LockLostException, QMI_ObjectLockedException
from qmi.runtime.call_context import EXECUTION, Execution
from qmi.runtime.wakeup import Interrupt
from tests.support.actors import actor_of, check_idle
from tests.support.drivers import Async, Inline, Plain
from tests.support.examples import examples
from tests.support.lab import address, make_context
from tests.support.waiting import wait_until

PATIENCE = 600.0


class User:
    """Somebody who uses proxies: does what it is told, and tells what came of it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.results: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.blocks: dict[int, Any] = {}
        self.waits = False

    def view(self, proxy: Any) -> Any:
        """The proxy as this user sees it."""
        raise NotImplementedError

    def begin(self, what: Callable[[], Any]) -> None:
        """Have it do something."""
        raise NotImplementedError

    def do(self, what: Callable[[], Any]) -> object:
        """Have it do something that does not wait; returns the value or the error."""
        self.begin(what)
        return self.results.get(timeout=20)

    def abandon(self) -> None:
        """End its wait: Ctrl-C, or cancellation."""
        raise NotImplementedError

    def end(self) -> None:
        """It is not needed any more."""
        raise NotImplementedError


class GaveUp(KeyboardInterrupt):
    """Ctrl-C, as far as this test goes."""


class ThreadUser(User):
    """A thread."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._jobs: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._interrupt = Interrupt()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        EXECUTION.set(Execution(QMI_Context("lab", None), (), self._interrupt))
        while (job := self._jobs.get()) is not None:
            try:
                self.results.put(job())
            except BaseException as error:
                self._interrupt.clear()
                self.results.put(error)

    def view(self, proxy: Any) -> Any:
        return proxy

    def begin(self, what: Callable[[], Any]) -> None:
        self._jobs.put(what)

    def abandon(self) -> None:
        self._interrupt.request(GaveUp)

    def end(self) -> None:
        self._jobs.put(None)
        self._thread.join(10)


class Tasks:
    """A trio program in a thread of its own."""

    def __init__(self) -> None:
        self._started: queue.SimpleQueue[trio.lowlevel.TrioToken] = queue.SimpleQueue()
        self._nursery: trio.Nursery
        self._thread = threading.Thread(target=trio.run, args=(self._main,), daemon=True)
        self._thread.start()
        self.token = self._started.get(timeout=20)

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._started.put(trio.lowlevel.current_trio_token())
            await trio.sleep_forever()

    def spawn(self, function: Callable[[], Awaitable[None]]) -> None:
        """Start a task."""
        self.token.run_sync_soon(self._nursery.start_soon, function)

    def end(self) -> None:
        """End all of them."""
        self.token.run_sync_soon(self._nursery.cancel_scope.cancel)
        self._thread.join(10)


class TaskUser(User):
    """A trio task."""

    def __init__(self, number: int, tasks: Tasks) -> None:
        super().__init__(number)
        self._token = tasks.token
        self._send, self._receive = trio.open_memory_channel[Callable[[], Any]](1)
        self._scope = trio.CancelScope()
        tasks.spawn(self._work)

    async def _work(self) -> None:
        async for job in self._receive:
            try:
                with trio.CancelScope() as self._scope:
                    self.results.put(await job())
                if self._scope.cancelled_caught:
                    self.results.put(GaveUp())
            except Exception as error:
                self.results.put(error)

    def view(self, proxy: Any) -> Any:
        return proxy.rpc_async

    def begin(self, what: Callable[[], Any]) -> None:
        self._token.run_sync_soon(self._send.send_nowait, what)

    def abandon(self) -> None:
        self._token.run_sync_soon(lambda: self._scope.cancel())

    def end(self) -> None:
        self._token.run_sync_soon(self._send.close)


class Grant(NamedTuple):
    """Who holds the lock: a proxy, or a block of a user at a proxy."""

    proxy: int
    user: int | None
    number: int


users = st.integers(0, 3)
proxies = st.integers(0, 2)
REMOTE = 2


class LocksAgainstModel(RuleBasedStateMachine):
    """The model: a stack of grants, of which the top one may call, and a line of those who wait for a block."""

    cls: type[Any] = Plain

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[Grant] = []
        self.plain: dict[int, Grant | None] = dict.fromkeys(range(3))
        self.open: dict[int, list[Grant]] = {number: [] for number in range(4)}
        self.line: list[tuple[int, int]] = []
        self.numbers = 0

    @initialize()
    def start(self) -> None:
        self.lab, self.desk = make_context("lab"), make_context("desk")
        self.lab.start()
        self.desk.start()
        self.lab.make_rpc_object("x", self.cls)
        self.desk.connect_to_peer("lab", address(self.lab))
        self.proxies = [*(self.lab.get_rpc_object("x") for _ in range(2)), self.desk.get_rpc_object("lab.x")]
        self.tasks = Tasks()
        self.users: list[User] = [ThreadUser(0), ThreadUser(1), TaskUser(2, self.tasks), TaskUser(3, self.tasks)]
        self.actor = actor_of(self.lab, "x")

    def teardown(self) -> None:
        for number, _ in list(self.line):
            self.users[number].abandon()
        for user in self.users:
            user.end()
        self.tasks.end()
        self.desk.stop()
        self.lab.stop()

    # The model

    def shown(self, user: int, proxy: int) -> Grant | None:
        own = [grant for grant in self.open[user] if grant.proxy == proxy]
        return own[-1] if own else self.plain[proxy]

    def on_top(self, grant: Grant | None) -> bool:
        return bool(self.stack) and self.stack[-1] == grant

    def new(self, proxy: int, user: int | None) -> Grant:
        self.numbers += 1
        return Grant(proxy, user, self.numbers)

    def may_enter(self, user: int, proxy: int) -> bool:
        return not self.stack or self.on_top(self.shown(user, proxy))

    def enter(self, user: int, proxy: int) -> None:
        self.stack.append(self.new(proxy, user))
        self.open[user].append(self.stack[-1])

    def serve_line(self) -> None:
        # Whoever waited longest and may have the lock gets it; a block excludes all others.
        while (ready := next((entry for entry in self.line if self.may_enter(*entry)), None)) is not None:
            self.line.remove(ready)
            self.enter(*ready)
            user = self.users[ready[0]]
            entered = user.results.get(timeout=20)
            assert not isinstance(entered, BaseException), entered
            user.waits = False
            user.blocks[self.numbers] = entered

    def lose(self, gone: list[Grant]) -> None:
        self.stack = [grant for grant in self.stack if grant not in gone]
        self.serve_line()

    # What users do

    def idle(self, user: int) -> bool:
        return not self.users[user].waits

    def block(self, user: int, proxy: int, timeout: float) -> Callable[[], Any]:
        made = self.users[user].view(self.proxies[proxy]).locked(timeout)
        if isinstance(self.users[user], ThreadUser):

            def enter() -> Any:
                made.__enter__()
                return made

            return enter

        async def enter_async() -> Any:
            await made.__aenter__()
            return made

        return enter_async

    @rule(user=users, proxy=proxies)
    def call(self, user: int, proxy: int) -> None:
        if not self.idle(user):
            return
        shown = self.shown(user, proxy)
        answer = self.users[user].do(lambda: self.users[user].view(self.proxies[proxy]).add(1))
        lost = shown is not None and shown not in self.stack
        if lost or (self.stack and not self.on_top(shown)):
            assert isinstance(answer, QMI_LockLostException if lost else QMI_ObjectLockedException), answer
            if shown is not None and lost and shown.user is None:
                self.plain[proxy] = None  # told once
        else:
            assert answer == 3, answer

    @rule(user=users, proxy=proxies)
    def lock(self, user: int, proxy: int) -> None:
        if not self.idle(user):
            return
        own = [grant for grant in self.open[user] if grant.proxy == proxy]
        held = self.plain[proxy]
        inside = bool(own) and self.on_top(own[-1])
        kept = self.on_top(held) or (inside and held in self.stack)
        granted = not kept and (inside or not self.stack)
        answer = self.users[user].do(self.users[user].view(self.proxies[proxy]).lock)
        assert answer is (kept or granted), answer
        if granted:
            self.plain[proxy] = self.new(proxy, None)
            self.stack.insert(0, self.plain[proxy])  # type: ignore[arg-type]
            self.serve_line()

    @rule(user=users, proxy=proxies)
    def unlock(self, user: int, proxy: int) -> None:
        if not self.idle(user):
            return
        held = self.plain[proxy]
        answer = self.users[user].do(self.users[user].view(self.proxies[proxy]).unlock)
        assert answer is (held is not None and held in self.stack), answer
        self.plain[proxy] = None
        if held is not None:
            self.lose([held])

    @rule(user=users, proxy=proxies)
    def try_block(self, user: int, proxy: int) -> None:
        if not self.idle(user):
            return
        answer = self.users[user].do(self.block(user, proxy, 0.0))
        if self.may_enter(user, proxy):
            assert not isinstance(answer, BaseException), answer
            self.enter(user, proxy)
            self.users[user].blocks[self.numbers] = answer
        else:
            assert isinstance(answer, QMI_ObjectLockedException), answer

    @rule(user=users, proxy=proxies)
    def wait_for_block(self, user: int, proxy: int) -> None:
        if not self.idle(user) or self.may_enter(user, proxy):
            return
        self.line.append((user, proxy))
        self.users[user].waits = True
        self.users[user].begin(self.block(user, proxy, PATIENCE))
        wait_until(lambda: len(self.waiting()) == len(self.line))

    @rule(user=users, which=st.integers(0, 3))
    def leave_block(self, user: int, which: int) -> None:
        if not self.idle(user) or not self.open[user]:
            return
        grant = self.open[user].pop(-1 - which % len(self.open[user]))
        made = self.users[user].blocks.pop(grant.number)
        leave = made.__exit__ if isinstance(self.users[user], ThreadUser) else made.__aexit__
        assert self.users[user].do(lambda: leave(None, None, None)) is None
        wait_until(lambda: len(self.actor.lock_manager.lock.holders()) <= len(self.stack))
        self.lose([grant])

    # What happens to users

    def waiting(self) -> list[AcquireTurn]:
        turns: list[AcquireTurn] = self.actor.lock_manager.lock.waiting()
        return turns

    @precondition(lambda self: self.line)
    @rule(which=st.integers(0, 3))
    def abandon(self, which: int) -> None:
        user, _ = self.line.pop(which % len(self.line))
        self.users[user].abandon()
        answer = self.users[user].results.get(timeout=20)
        assert isinstance(answer, GaveUp), answer
        self.users[user].waits = False
        wait_until(lambda: len(self.waiting()) == len(self.line))

    @precondition(lambda self: self.line)
    @rule(which=st.integers(0, 3))
    def time_out(self, which: int) -> None:
        place = which % len(self.line)
        user, _ = self.line.pop(place)
        self.actor.lock_manager.time_out(self.waiting()[place])
        answer = self.users[user].results.get(timeout=20)
        assert isinstance(answer, QMI_ObjectLockedException), answer
        self.users[user].waits = False

    @precondition(lambda self: self.stack)
    @rule(proxy=proxies)
    def force(self, proxy: int) -> None:
        self.proxies[proxy].force_unlock()
        self.lose(list(self.stack))

    @precondition(lambda self: not any(proxy == REMOTE for _, proxy in self.line))
    @rule()
    def lose_link(self) -> None:
        self.desk.disconnect_from_peer("lab")
        wait_until(lambda: not self.lab.has_peer_context("desk"))
        gone = [grant for grant in self.stack if grant.proxy == REMOTE]
        self.desk.connect_to_peer("lab", address(self.lab))
        self.lose(gone)

    @invariant()
    def same_grants(self) -> None:
        if not hasattr(self, "actor"):
            return
        names = {REMOTE: "desk"}
        holders = [holder.origin.context for holder in self.actor.lock_manager.lock.holders()]
        assert holders == [names.get(grant.proxy, "lab") for grant in self.stack]
        assert len(self.waiting()) == len(self.line)
        if not self.stack:
            check_idle(self.actor)


class InlineLocksAgainstModel(LocksAgainstModel):
    """The same with an object whose methods the callers run."""

    cls = Inline


class AsyncLocksAgainstModel(LocksAgainstModel):
    """The same with an object that lives in the event loop."""

    cls = Async


_SETTINGS = examples(8, stateful_step_count=30)
LocksAgainstModel.TestCase.settings = _SETTINGS
InlineLocksAgainstModel.TestCase.settings = _SETTINGS
AsyncLocksAgainstModel.TestCase.settings = _SETTINGS
test_lock_blocks_and_plain_locks_against_a_model = LocksAgainstModel.TestCase
test_lock_of_an_inline_object_against_a_model = InlineLocksAgainstModel.TestCase
test_lock_of_an_async_object_against_a_model = AsyncLocksAgainstModel.TestCase
