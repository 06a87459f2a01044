"""Locks that a program hands to the programs that it starts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from qmi.actors.lock_pass import PASSES, VARIABLE, environment_with, environment_without, new_pass, passes_in
from qmi.actors.lock_rules import REMEMBERED, Lock
from qmi.actors.proxy import lock_with_pass
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_InvalidOperationException, QMI_LockLostException, QMI_ObjectLockedException
from qmi.messages import Acquire, LockAnswer, Origin, Release, Token
from qmi.names import Address
from tests.support.lab import address, make_context
from tests.support.supplies import Supply

LAB, CHILD, OTHER = Origin("one", "1"), Origin("two", "2"), Origin("three", "3")
PSU = Address("lab", "psu")


# The rules


def test_pass_lets_its_bearer_call_and_not_release() -> None:
    lock: Lock[Any] = Lock()
    token = new_pass()
    assert lock.acquire(LAB, token, 1.0) == LockAnswer.GRANTED
    assert lock.may_call(LAB, token)
    assert lock.may_call(CHILD, token)
    assert not lock.may_call(OTHER, None)
    assert not lock.may_call(OTHER, new_pass())
    assert not lock.release(CHILD, token)
    assert lock.acquire(CHILD, Token("new"), 2.0, held=token) == LockAnswer.KEPT
    assert lock.acquire(OTHER, Token("other"), 2.0) == LockAnswer.REFUSED
    assert lock.release(LAB, token)
    assert not lock.may_call(CHILD, token), "it is told that the lock is gone"


def test_block_of_the_bearer_is_its_own_and_goes_with_it() -> None:
    lock: Lock[Any] = Lock()
    token, key = new_pass(), Token("block:1")
    assert lock.acquire(LAB, token, 1.0)
    assert lock.acquire(CHILD, key, 2.0, held=token, key=key) == LockAnswer.GRANTED
    assert not lock.may_call(LAB, token)
    assert lock.leave(CHILD)
    assert lock.may_call(LAB, token)


def test_pass_goes_with_the_link_of_its_holder() -> None:
    lock: Lock[Any] = Lock()
    token = new_pass()
    assert lock.acquire(LAB, token, 1.0)
    assert lock.leave(LAB)
    assert lock.is_lost(token)
    assert lock.acquire(OTHER, Token("other"), 2.0) == LockAnswer.GRANTED
    assert not lock.may_call(CHILD, token)


@pytest.mark.parametrize("asked", [Token("new"), Token("text", custom=True)])
@pytest.mark.parametrize("who", [LAB, CHILD])
def test_plain_lock_within_a_block_of_a_bearer_is_that_of_the_pass(who: Origin, asked: Token) -> None:
    lock: Lock[Any] = Lock()
    token, key = new_pass(), Token("block:1")
    assert lock.acquire(LAB, token, 1.0)
    assert lock.acquire(who, key, 2.0, held=token, key=key)
    assert lock.acquire(who, asked, 3.0, held=key) == LockAnswer.KEPT
    assert lock.release(who, key)
    assert lock.may_call(who, token), "no lock of its own stands in its way"
    assert lock.release(LAB, token)
    assert lock.holder is None, "and none is left behind"


def test_pass_that_is_gone_opens_no_lock_of_a_bearer() -> None:
    lock: Lock[Any] = Lock()
    token, key, own = new_pass(), Token("block:1"), Token("own")
    assert lock.acquire(LAB, token, 1.0)
    assert lock.acquire(CHILD, key, 2.0, held=token, key=key)
    assert lock.release(LAB, token)
    assert lock.may_call(CHILD, key), "a block ends with its end"
    assert not lock.may_call(OTHER, token)
    assert lock.acquire(CHILD, own, 3.0, held=key) == LockAnswer.GRANTED
    assert lock.release(CHILD, key)
    assert lock.may_call(CHILD, own)
    assert not lock.may_call(OTHER, token)
    assert lock.release(CHILD, own)
    assert not lock.may_call(OTHER, token)
    assert not lock.may_call(CHILD, token)


@pytest.mark.parametrize("end", ["release", "force", "leave", "restart"])
def test_pass_of_a_lock_that_ended_is_refused_for_ever(end: str) -> None:
    lock: Lock[Any] = Lock()
    token, mine = new_pass(), Token("mine")
    assert lock.acquire(LAB, token, 1.0)
    if end == "release":
        assert lock.release(LAB, token)
    elif end == "force":
        assert lock.force()
    elif end == "leave":
        assert lock.leave(LAB)
    else:
        lock = Lock()
    assert not lock.may_call(CHILD, token)
    assert lock.acquire(LAB, new_pass(), 2.0), "the next one of the same holder"
    assert not lock.may_call(CHILD, token)
    assert lock.force()
    for number in range(REMEMBERED + 1):
        lock.remember(Token(str(number)))
    assert not lock.may_call(CHILD, token), "also when it is forgotten why"
    assert lock.acquire(CHILD, mine, 3.0, held=token) == LockAnswer.GRANTED
    assert not lock.may_call(OTHER, token)


def test_pass_is_of_one_object() -> None:
    psu, dmm = Lock[Any](), Lock[Any]()
    token, other = new_pass(), new_pass()
    assert psu.acquire(LAB, token, 1.0)
    assert dmm.acquire(LAB, other, 1.0)
    assert not dmm.may_call(CHILD, token)
    assert not dmm.release(LAB, token)


def test_bearer_neither_releases_nor_waits_for_what_it_was_handed() -> None:
    lock: Lock[Any] = Lock()
    token, one, two = new_pass(), Token("block:1"), Token("block:2")
    assert lock.acquire(LAB, token, 1.0)
    assert lock.acquire(CHILD, one, 2.0, held=token, key=one)
    assert not lock.release(CHILD, token), "nor from within a block"
    assert not lock.acquire(CHILD, two, 2.0, held=token, key=two), "of another thread"
    assert not lock.acquire(OTHER, two, 2.0, held=token, key=two), "of another bearer"
    assert not lock.may_call(OTHER, token)
    assert lock.leave(CHILD)
    assert lock.may_call(OTHER, token)
    assert not lock.leave(OTHER)
    assert not lock.note(OTHER, "mine", "u", "p", "h")
    assert lock.may_call(LAB, token)


@pytest.mark.parametrize("token", [Token("plain"), Token("pass:text", custom=True), Token("block:1")])
def test_other_tokens_are_no_passes(token: Token) -> None:
    lock: Lock[Any] = Lock()
    assert lock.acquire(LAB, token, 1.0)
    assert not lock.may_call(CHILD, token)
    assert not token.is_pass


# The variable


def test_environment_has_all_passes() -> None:
    one, other = new_pass(), new_pass()
    environment = environment_with(environment_with({"HOME": "/"}, PSU, one), Address("lab", "dmm"), other)
    assert environment["HOME"] == "/"
    assert passes_in(environment[VARIABLE]) == {PSU: one, Address("lab", "dmm"): other}
    assert passes_in(environment_with(environment, PSU, other)[VARIABLE])[PSU] == other
    assert environment_without(environment) == environment_without({"HOME": "/"}) == {"HOME": "/"}


@pytest.mark.parametrize(
    "text", ["", "lab.psu", "lab.psu=secret", "lab=pass:1", "=pass:1", "lab.psu=block:1", "..=pass:"]
)
def test_what_is_no_pass_is_left_out(text: str) -> None:
    assert passes_in(text) == {}


def test_pass_is_not_shown() -> None:
    assert repr(new_pass()) == "<automatic token>"


# Programs


@pytest.fixture
def holder() -> Iterator[tuple[QMI_Context, Any]]:
    with make_context("lab") as lab, make_context("holder") as one:
        lab.make_instrument("psu", Supply)
        one.connect_to_peer("lab", address(lab))
        yield lab, one.get_instrument("lab.psu")


def test_program_that_was_handed_a_pass_uses_the_object(
    holder: tuple[QMI_Context, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, psu = holder
    token = lock_with_pass(psu, 0.0, "alignment")
    assert token is not None
    assert psu.lock_info().reason == "alignment"
    with make_context("stranger") as stranger, make_context("child") as child:
        for context in (stranger, child):
            context.connect_to_peer("lab", address(lab))
        with pytest.raises(QMI_ObjectLockedException):
            _ = stranger.get_instrument("lab.psu").maximum
        assert lock_with_pass(stranger.get_instrument("lab.psu"), 0.0, "x") is None
        monkeypatch.setitem(PASSES, PSU, token)
        handed = child.get_instrument("lab.psu")
        handed.maximum = 3.0
        assert handed.lock()
        assert not handed.unlock()
        with handed.locked():
            handed.maximum = 4.0
        assert (handed.maximum, psu.maximum) == (4.0, 4.0)
        assert lock_with_pass(handed, 0.0, "within") == token
        assert psu.lock_info().reason == "alignment"
        assert psu.unlock()
        for _ in range(2):
            with pytest.raises(QMI_LockLostException, match="'holder', which has handed it on, has given it back"):
                _ = handed.maximum
        assert handed.lock()
        assert handed.maximum == 4.0
        assert handed.unlock()


@pytest.fixture
def bearer(holder: tuple[QMI_Context, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any, QMI_Context]]:
    """The holder's proxy, that of a program which was handed the pass, and the context of that."""
    lab, psu = holder
    token = lock_with_pass(psu, 0.0, "alignment")
    assert token is not None
    monkeypatch.setitem(PASSES, PSU, token)
    with make_context("child") as child:
        child.connect_to_peer("lab", address(lab))
        yield psu, child.get_instrument("lab.psu"), child


def test_lock_that_a_bearer_takes_in_its_block_is_not_open_to_other_bearers(
    bearer: tuple[Any, Any, QMI_Context],
) -> None:
    psu, handed, child = bearer
    other = child.get_instrument("lab.psu")
    with handed.locked():
        assert psu.unlock()
        assert handed.lock()
    assert handed.lock_info().context == "child"
    handed.maximum = 3.0
    with pytest.raises(QMI_ObjectLockedException):
        _ = other.maximum
    assert handed.unlock()
    assert psu.lock_info() is None


@pytest.mark.parametrize("text", [None, "text"])
def test_script_that_locks_and_unlocks_by_itself_keeps_the_pass(
    bearer: tuple[Any, Any, QMI_Context], text: str | None
) -> None:
    psu, handed, _ = bearer
    assert handed.lock(lock_token=text, reason="mine")
    assert not handed.unlock(lock_token=text)
    with handed.locked():
        assert handed.lock(lock_token=text)
        handed.maximum = 2.0
    handed.maximum = 3.0
    assert psu.lock_info().reason == "alignment"
    assert psu.unlock()
    assert psu.lock_info() is None, "no lock is left behind"


def test_threads_and_tasks_with_a_pass_exclude_each_other_in_blocks(bearer: tuple[Any, Any, QMI_Context]) -> None:
    _, handed, _ = bearer
    found: list[object] = []

    def look() -> None:
        with pytest.raises(QMI_ObjectLockedException):
            _ = handed.maximum
        with pytest.raises(QMI_ObjectLockedException), handed.locked():
            pass
        found.append("thread")

    async def tasks() -> None:
        async def first(task_status: trio.TaskStatus[None]) -> None:
            async with handed.rpc_async.locked():
                task_status.started()
                await gate.wait()

        gate = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(first)
            with pytest.raises(QMI_ObjectLockedException):
                async with handed.rpc_async.locked():
                    pass
            gate.set()
        async with handed.rpc_async.locked():
            found.append("task")

    with handed.locked():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    trio.run(tasks)
    assert found == ["thread", "task"]


def test_fault_37_copied_pass_opens_no_lock(bearer: tuple[Any, Any, QMI_Context]) -> None:
    psu, _, child = bearer
    token = PASSES[PSU]
    for claim in (None, "holder", "lab"):
        assert not child.async_context.request(PSU, Release("psu", token, claim)).wait()
    taken = Acquire("psu", Token("mine"), 0.0, Token("other"), None)
    assert not child.async_context.request(PSU, taken).wait()
    assert psu.lock_info().context == "holder"
    assert psu.unlock()
    assert child.get_instrument("lab.psu").lock_info() is None


def test_guest_with_a_pass_is_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    with make_context("lab", context={"operators": ["holder"]}) as lab, make_context("holder") as one:
        lab.make_instrument("psu", Supply)
        one.connect_to_peer("lab", address(lab))
        token = lock_with_pass(one.get_instrument("lab.psu"), 0.0, "alignment")
        assert token is not None
        monkeypatch.setitem(PASSES, PSU, token)
        with make_context("guest") as guest:
            guest.connect_to_peer("lab", address(lab))
            handed = guest.get_instrument("lab.psu")
            assert handed.maximum == 0.0
            with pytest.raises(QMI_InvalidOperationException, match="read-only for context 'guest'"):
                handed.maximum = 1.0
            with pytest.raises(QMI_InvalidOperationException, match="read-only for context 'guest'"), handed.locked():
                pass


def test_proxy_that_was_made_before_shows_no_pass(
    holder: tuple[QMI_Context, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, psu = holder
    with make_context("child") as child:
        child.connect_to_peer("lab", address(lab))
        before = child.get_instrument("lab.psu")
        token = lock_with_pass(psu, 0.0, "alignment")
        assert token is not None
        monkeypatch.setitem(PASSES, PSU, token)
        with pytest.raises(QMI_ObjectLockedException):
            _ = before.maximum
        assert child.get_instrument("lab.psu").maximum == 0.0


def test_lock_of_a_proxy_is_not_handed_on(holder: tuple[QMI_Context, Any]) -> None:
    _, psu = holder
    assert psu.lock()
    with pytest.raises(QMI_InvalidOperationException, match=r"lab\.psu is locked here already, by a lock\(\)"):
        lock_with_pass(psu, 0.0, "x")
    assert psu.unlock(), "it is as it was"


def test_holder_whose_pass_was_taken_away_goes_on_without_it(holder: tuple[QMI_Context, Any]) -> None:
    lab, psu = holder
    assert lock_with_pass(psu, 0.0, "x") is not None
    lab.get_instrument("psu").force_unlock()
    assert not psu.unlock()
    assert psu.maximum == 0.0


def test_pass_is_in_no_log_status_or_error(
    bearer: tuple[Any, Any, QMI_Context], caplog: pytest.LogCaptureFixture
) -> None:
    psu, handed, child = bearer
    secret = PASSES[PSU].secret
    caplog.set_level(logging.DEBUG)
    said = [repr(handed), str(handed.lock_info()), repr(PASSES), str(child.get_status("lab").to_plain())]
    handed.unlock()
    psu.force_unlock()
    with pytest.raises(QMI_LockLostException) as caught:
        _ = handed.maximum
    said += [str(caught.value), caplog.text, str(child.get_status("lab").to_plain())]
    assert not [text for text in said if secret in text or secret.removeprefix("pass:") in text]
