"""Locks that a program hands to the programs that it starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from qmi.actors.lock_pass import PASSES, VARIABLE, environment_with, new_pass, passes_in
from qmi.actors.lock_rules import Lock
from qmi.actors.proxy import lock_with_pass
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_LockLostException, QMI_ObjectLockedException
from qmi.messages import LockAnswer, Origin, Token
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
