from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

from qmi.actors.call import Handle
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import (
    QMI_CancelledCallException,
    QMI_ContextStoppedException,
    QMI_ObjectLockedException,
    QMI_ObjectRemovedException,
    QMI_UsageException,
)
from qmi.messages import Acquire, Call, Origin, Release, Token
from tests.support.actors import actor_of, check_idle, handle_of
from tests.support.cancel_steps import cancel_at_each_step
from tests.support.drivers import Async, Gate, Inline, Plain
from tests.support.waiting import until, wait_until

LOCKED = r"^The object is locked by another proxy: lab\.x is held by context 'lab' \(\$lock_\d+\) since .* UTC$"


@pytest.mark.parametrize("cls", [Plain, Inline])
def test_lock_lets_only_its_holder_call(lab: QMI_Context, cls: type[Plain], caplog: pytest.LogCaptureFixture) -> None:
    one = lab.make_instrument("x", cls)
    two = lab.get_instrument("x")
    assert one.lock()
    assert one.lock(), "to lock twice is to lock once"
    assert one.is_locked()
    assert two.is_locked()
    assert one.add(1) == 3
    assert one.add(1, rpc_timeout=5) == 3
    for refused in (two.add, lambda a: two.add(a, rpc_timeout=5), lambda a: two.rpc_nonblocking.add(a).wait()):
        caplog.clear()
        with pytest.raises(QMI_ObjectLockedException, match=LOCKED):
            refused(1)
        assert caplog.messages == ["x locked, method request without lock token is denied"]
    assert not two.lock()
    assert not two.unlock()
    assert one.unlock()
    assert not one.unlock()
    assert two.add(1) == 3
    check_idle(actor_of(lab, "x"))


def test_a_denied_unlock_is_logged_as_the_tutorial_shows_but_without_the_token(
    lab: QMI_Context, caplog: pytest.LogCaptureFixture
) -> None:
    one = lab.make_instrument("x", Plain)
    two = lab.get_instrument("x")
    assert one.lock(lock_token="hush")
    assert not two.unlock()
    assert not two.unlock(lock_token="guess")
    assert not two.unlock(lock_token="hush", context_name="elsewhere")
    assert (
        "Unlocking request (token=None) for x failed! Locked with token=QMI_LockTokenDescriptor(context_id='lab', "
        "token='$lock_1')." in caplog.messages
    )
    assert "hush" not in caplog.text
    assert "guess" not in caplog.text
    assert two.unlock(lock_token="hush")
    caplog.clear()
    assert not two.unlock(lock_token="hush"), "it is free"
    assert caplog.messages == []


def test_a_custom_lock_can_be_released_by_name_of_its_context(lab: QMI_Context) -> None:
    one = lab.make_instrument("x", Plain)
    assert one.lock(lock_token="hush")
    other = QMI_Context("other")
    with other:
        stranger = Origin("other", other.async_context.origin.incarnation)
        actor = actor_of(lab, "x")
        token = Token("hush", custom=True)
        assert not actor.handle(Release("x", token), stranger).wait()
        assert not actor.handle(Release("x", None, "lab"), stranger).wait()
        assert not actor.handle(Release("x", Token("hush"), "lab"), stranger).wait()
        assert actor.handle(Release("x", token, "lab"), stranger).wait()


def test_fault_37_a_lock_is_not_stolen(lab: QMI_Context, caplog: pytest.LogCaptureFixture) -> None:
    one = lab.make_instrument("x", Plain)
    one.lock()
    actor = actor_of(lab, "x")
    held: Handle = handle_of(one)
    assert held.token is not None
    thieves: list[tuple[Origin, Token | None]] = [
        (lab.async_context.origin, Token("guess")),
        (lab.async_context.origin, None),
        (lab.async_context.origin, Token(held.token.secret, custom=True)),
        (Origin("lab", "forged incarnation"), held.token),
        (Origin("elsewhere", lab.async_context.origin.incarnation), held.token),
    ]
    for origin, token in thieves:
        with pytest.raises(QMI_ObjectLockedException):
            actor.handle(Call("x", "add", (1,), {}, token), origin).wait()
        assert not actor.handle(Release("x", token), origin).wait()
        if token is not None:
            assert not actor.handle(Acquire("x", token), origin).wait()
        actor.lock_manager.leave(Origin("lab", "another"))
    assert "x locked, method request with a wrong lock token is denied" in caplog.messages
    assert held.token.secret not in caplog.text
    assert one.add(1) == 3


def test_fault_37_a_late_unlock_opens_nobody_elses_lock(lab: QMI_Context) -> None:
    one = lab.make_instrument("x", Plain)
    two = lab.get_instrument("x")
    one.lock()
    two.force_unlock()
    assert two.lock()
    assert not one.unlock()
    with pytest.raises(QMI_ObjectLockedException):
        one.add(1)
    assert two.add(1) == 3


def test_force_unlock_works_at_once_also_while_a_method_runs(
    lab: QMI_Context, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    one = lab.make_instrument("x", Plain, gate)
    two = lab.get_instrument("x")
    one.lock()
    running = one.rpc_nonblocking.block()
    gate.reached.wait(10)
    assert one.is_locked()
    two.force_unlock()
    assert "x forcefully unlocked!." in caplog.messages
    assert not two.is_locked()
    two.force_unlock()
    assert not running.done()
    gate.open.set()
    assert running.wait(10) == "passed"
    assert two.add(1) == 3


def test_the_holder_can_unlock_while_its_method_runs_and_the_next_one_waits_for_that_to_end(
    lab: QMI_Context, gate: Gate
) -> None:
    one = lab.make_instrument("x", Plain, gate)
    two = lab.get_instrument("x")
    one.lock()
    running = one.rpc_nonblocking.block()
    gate.reached.wait(10)
    asked = handle_of(two).acquire(10, handle_of(two).token_to_lock_with(None))
    assert one.unlock()
    assert not asked.done(), "whoever gets the lock knows that the object is idle"
    gate.open.set()
    assert asked.wait(10)
    assert running.wait(10) == "passed"


def test_a_lock_is_waited_for_only_so_long(lab: QMI_Context, gate: Gate) -> None:
    one = lab.make_instrument("x", Plain, gate)
    two = lab.get_instrument("x")
    one.lock()
    assert not two.lock()
    assert not two.lock(timeout=0.01)
    one.unlock()
    running = one.rpc_nonblocking.block()
    gate.reached.wait(10)
    for _ in range(3):
        assert not two.lock(timeout=0.01), "a method that runs is waited for, but only so long"
    assert len(actor_of(lab, "x").mailbox) == 0, "who gave up does not stand in line"
    gate.open.set()
    running.wait(10)
    assert two.lock(timeout=10)
    check_idle(actor_of(lab, "x"))


@pytest.mark.parametrize("timeout", [-1, "5", True, float("nan")])
def test_bad_timeouts_and_tokens_change_nothing(lab: QMI_Context, timeout: Any) -> None:
    one = lab.make_instrument("x", Plain)
    with pytest.raises(QMI_UsageException, match="A timeout is"):
        one.lock(timeout=timeout)
    for token in ("", 5, b"x"):
        with pytest.raises(QMI_UsageException, match="A lock token is a text that is not empty; got"):
            one.lock(lock_token=token)  # type: ignore[arg-type]
        with pytest.raises(QMI_UsageException, match="A lock token"):
            one.unlock(lock_token=token)  # type: ignore[arg-type]
    assert not one.is_locked()


def test_waiters_are_served_in_order(lab: QMI_Context) -> None:
    one = lab.make_instrument("x", Plain)
    proxies = [lab.get_instrument("x") for _ in range(5)]
    one.lock()
    order: list[int] = []

    def take(index: int) -> None:
        assert proxies[index].lock(timeout=20)
        order.append(index)
        assert proxies[index].unlock()

    threads = []
    waiters = actor_of(lab, "x").lock_manager.lock
    for index in range(5):
        thread = threading.Thread(target=take, args=(index,))
        thread.start()
        threads.append(thread)
        wait_until(lambda count=index + 1: len(waiters.waiting()) == count)  # type: ignore[misc]
    one.unlock()
    for thread in threads:
        thread.join(20)
    assert order == [0, 1, 2, 3, 4]
    check_idle(actor_of(lab, "x"))


def test_a_waiter_goes_before_those_who_call(lab: QMI_Context, gate: Gate) -> None:
    one = lab.make_instrument("x", Plain, gate)
    two = lab.get_instrument("x")
    one.lock()
    waiting = handle_of(two).acquire(10, handle_of(two).token_to_lock_with(None))
    running = one.rpc_nonblocking.block()
    gate.reached.wait(10)
    late = lab.get_instrument("x").rpc_nonblocking.add(1)
    one.unlock()
    gate.open.set()
    assert waiting.wait(10)
    assert running.wait(10)
    with pytest.raises(QMI_ObjectLockedException):
        late.wait(10)


@pytest.mark.parametrize("moment", ["waits for the lock", "was woken", "stands in line"])
def test_lock_waiter_that_gives_up_is_passed_over_at_any_moment(lab: QMI_Context, gate: Gate, moment: str) -> None:
    one = lab.make_instrument("x", Plain, gate)
    quitter, patient = lab.get_instrument("x"), lab.get_instrument("x")
    actor = actor_of(lab, "x")
    one.lock()
    if moment == "stands in line":
        running = one.rpc_nonblocking.block()
        one.unlock()
    first = handle_of(quitter).acquire(None, Token("q"))
    second = handle_of(patient).acquire(None, Token("p"))
    if moment == "was woken":
        running = one.rpc_nonblocking.block()
        gate.reached.wait(10)
        one.unlock()
        assert actor.mailbox.waiting()[0] is first
    assert first.cancel()
    assert first not in actor.mailbox.waiting()
    if moment == "waits for the lock":
        one.unlock()
    else:
        gate.open.set()
        running.wait(10)
    assert second.wait(10)
    assert handle_of(patient).granted(Token("p"), True)
    assert patient.unlock()
    with pytest.raises(QMI_CancelledCallException):
        first.wait()
    check_idle(actor)


def test_a_grant_that_nobody_takes_is_taken_back(lab: QMI_Context) -> None:
    one = lab.make_instrument("x", Plain)
    actor = actor_of(lab, "x")
    one.lock()
    waiting = handle_of(lab.get_instrument("x")).acquire(None, Token("t"))
    assert actor.lock_manager.lock.waiting()[0] is waiting
    waiting.fail(QMI_CancelledCallException())  # as if the caller gave up in the very moment of the grant
    one.unlock()
    assert not one.is_locked()
    assert one.add(1) == 3
    check_idle(actor)


def test_keeping_a_lock_is_not_undone_by_giving_up(lab: QMI_Context, gate: Gate) -> None:
    one: Any = lab.make_instrument("x", Plain, gate)
    one.lock(lock_token="mine")
    running = one.rpc_nonblocking.block()
    gate.reached.wait(10)
    again = handle_of(one).acquire(None, Token("mine", custom=True))
    assert actor_of(lab, "x").mailbox.waiting() == [again]
    again.fail(QMI_CancelledCallException())
    gate.open.set()
    running.wait(10)
    assert one.add(1) == 3
    assert one.is_locked()


def test_lock_waiter_that_gives_up_logs_nothing(lab: QMI_Context, caplog: pytest.LogCaptureFixture) -> None:
    one = lab.make_instrument("x", Plain)
    two = lab.get_instrument("x")
    one.lock()

    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    two._rpc.__class__.granted, before = interrupted, two._rpc.__class__.granted
    try:
        with pytest.raises(KeyboardInterrupt):
            two.lock()
        one.unlock()
        with pytest.raises(KeyboardInterrupt):
            two.lock()
    finally:
        two._rpc.__class__.granted = before
    assert not one.is_locked(), "nobody learnt that it was granted"
    assert caplog.messages == []


def test_removing_a_locked_object_tells_who_waits(lab: QMI_Context) -> None:
    one = lab.make_instrument("x", Plain)
    one.lock()
    waiting = handle_of(lab.get_instrument("x")).acquire(None, Token("t"))
    lab.remove_rpc_object(one)
    with pytest.raises(QMI_ObjectRemovedException, match=r"^lab\.x was removed from its context$"):
        waiting.wait(10)
    with pytest.raises(QMI_ObjectRemovedException):
        one.lock()


def test_stopping_tells_who_waits() -> None:
    lab = QMI_Context("lab")
    lab.start()
    one = lab.make_instrument("x", Plain)
    one.lock()
    waiting = handle_of(lab.get_instrument("x")).acquire(50, Token("t"))
    lab.stop()
    with pytest.raises(QMI_ContextStoppedException):
        waiting.wait(10)


def test_a_context_that_goes_frees_its_lock_for_the_next_one(
    lab: QMI_Context, caplog: pytest.LogCaptureFixture
) -> None:
    one: Any = lab.make_instrument("x", Plain)
    actor = actor_of(lab, "x")
    peer = Origin("peer", "1")
    assert actor.handle(Acquire("x", Token("p")), peer).wait(10)
    waiting = handle_of(one).acquire(None, Token("t"))
    actor.lock_manager.leave(Origin("peer", "2"))
    assert not waiting.done()
    actor.lock_manager.leave(peer)
    assert waiting.wait(10)
    assert "lab.x unlocked, because context 'peer' that held the lock is gone" in caplog.messages


def test_locked_blocks(lab: QMI_Context) -> None:
    one = lab.make_instrument("x", Plain)
    two = lab.get_instrument("x")
    with one.locked() as same:
        assert same is one
        assert two.is_locked()
        entered = False
        with (
            pytest.raises(
                QMI_ObjectLockedException, match=r"lab\.x could not be locked within 0 s\. It is held by context 'lab'"
            ),
            two.locked(),
        ):
            entered = True
        assert not entered
    assert not two.is_locked()
    with two.locked(lock_token="text"):
        assert one.is_locked()
    assert not one.is_locked()


async def test_locks_of_a_trio_program(trio_lab: Context) -> None:
    one = await trio_lab.make_rpc_object("x", Async)
    two = await trio_lab.get_rpc_object("x")
    async with one.locked() as same:
        assert same is one
        assert await two.is_locked()
        assert await one.add(1) == 3
        with pytest.raises(QMI_ObjectLockedException, match=LOCKED):
            await two.add(1)
        with pytest.raises(QMI_ObjectLockedException, match="could not be locked within 0 s"):
            async with two.locked():
                raise AssertionError
    assert not await two.is_locked()
    async with one.locked(lock_token="text"):
        assert await two.is_locked()
    assert not await two.is_locked()
    assert await one.lock(lock_token="text")
    assert not await two.unlock()
    assert await two.unlock("text")
    assert await one.lock()
    await two.force_unlock()
    assert not await one.is_locked()


@pytest.mark.parametrize("cls", [Async, Plain])
@pytest.mark.parametrize("how", ["lock", "lock while held", "locked", "locked with a text"])
async def test_cancelling_a_lock_at_each_step_leaves_nothing_behind(
    cls: type[Any], how: str, trio_lab: Context
) -> None:
    proxy: Any = await trio_lab.make_rpc_object("x", cls)
    other = await trio_lab.get_rpc_object("x")
    actor = actor_of(trio_lab, "x")

    async def scenario() -> None:
        if how == "lock":
            if await proxy.lock(5):
                await proxy.unlock()
        elif how == "lock while held":
            assert await other.lock()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(proxy.lock, 5)
                    await until(lambda: bool(actor.lock_manager.lock.waiting()))
                    await other.unlock()
            finally:
                held = handle_of(other).token_to_release(None)
                handle_of(other).release(held)
                handle_of(other).released(held, True)
        else:
            async with proxy.locked(5, "text" if "text" in how else None):
                await proxy.add(1)

    async def check() -> None:
        if handle_of(proxy).token is not None:  # granted: then it is the caller's to unlock
            await proxy.unlock()
        await until(lambda: actor.mailbox.current is None)
        check_idle(actor)
        assert actor.lock_manager.info() is None
        assert await other.add(1) == 3

    assert await cancel_at_each_step(scenario, check) >= 2
