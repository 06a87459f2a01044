from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qmi.actors.lock_rules import REMEMBERED, RULES, Lock, LockOperation, LockOutcome, Ownership
from qmi.messages import BLOCK, LockAnswer, Origin, Token
from tests.support.examples import examples

LAB = Origin("lab", "1")
LAB_AGAIN = Origin("lab", "2")
ELSEWHERE = Origin("elsewhere", "3")
AUTO = Token("secret")
CUSTOM = Token("text", custom=True)


def test_every_question_has_an_answer_in_every_standing() -> None:
    assert set(RULES) == {(ask, standing) for ask in LockOperation for standing in Ownership}


@pytest.mark.parametrize(
    ("holder", "asker", "standing"),
    [
        (None, (LAB, AUTO), Ownership.FORMER),
        (None, (LAB, CUSTOM), Ownership.FREE),
        (None, (LAB, None), Ownership.FREE),
        ((LAB, AUTO), (LAB, AUTO), Ownership.MINE),
        ((LAB, AUTO), (LAB, None), Ownership.OTHERS),
        ((LAB, AUTO), (LAB, Token("guess")), Ownership.OTHERS),
        ((LAB, AUTO), (LAB_AGAIN, AUTO), Ownership.OTHERS),
        ((LAB, AUTO), (ELSEWHERE, AUTO), Ownership.OTHERS),
        ((LAB, AUTO), (LAB, Token(AUTO.secret, custom=True)), Ownership.OTHERS),
        ((LAB, CUSTOM), (LAB, CUSTOM), Ownership.MINE),
        ((LAB, CUSTOM), (LAB_AGAIN, CUSTOM), Ownership.MINE),
        ((LAB, CUSTOM), (ELSEWHERE, CUSTOM), Ownership.OTHERS),
        ((LAB, CUSTOM), (LAB, Token(CUSTOM.secret)), Ownership.OTHERS),
        ((LAB, CUSTOM), (LAB, None), Ownership.OTHERS),
    ],
)
def test_fault_37_how_a_token_stands_to_a_lock(
    holder: tuple[Origin, Token] | None, asker: tuple[Origin, Token | None], standing: Ownership
) -> None:
    lock: Lock[Any] = Lock()
    if holder is not None:
        assert lock.acquire(*holder, now=1.0)
    assert lock.standing(*asker) is standing
    assert lock.may_call(*asker) == (RULES[LockOperation.CALL, standing] is LockOutcome.ALLOW)
    assert lock.release(*asker) == (standing is Ownership.MINE)


def test_each_grant_has_a_label_of_its_own_and_keeping_is_no_grant() -> None:
    lock: Lock[Any] = Lock()
    assert lock.acquire(LAB, AUTO, 5.0)
    assert lock.holder is not None
    assert lock.holder.info == ("lab", "$lock_1", 5.0)
    assert lock.acquire(LAB, AUTO, 6.0)
    assert lock.holder.info.since == 5.0
    assert not lock.acquire(ELSEWHERE, AUTO, 7.0)
    assert lock.force()
    assert not lock.force()
    assert lock.acquire(ELSEWHERE, CUSTOM, 8.0)
    assert lock.holder.info == ("elsewhere", "$lock_2", 8.0)


def test_a_context_that_goes_takes_its_automatic_lock_along_and_no_other() -> None:
    lock: Lock[Any] = Lock()
    assert not lock.leave(LAB)
    lock.acquire(LAB, AUTO, 0.0)
    assert not lock.leave(LAB_AGAIN)
    assert lock.leave(LAB)
    lock.acquire(LAB, CUSTOM, 0.0)
    assert not lock.leave(LAB)
    assert lock.standing(LAB_AGAIN, CUSTOM) is Ownership.MINE


def test_waiters_come_in_order_and_can_leave() -> None:
    lock: Lock[str] = Lock()
    assert lock.next_waiter() is None
    assert not lock.abandon("nobody")
    assert lock.clear_waiters() == []
    for name in "abcd":
        lock.wait(name)
    assert lock.abandon("b")
    assert not lock.abandon("b")
    assert lock.next_waiter() == "a"
    assert lock.clear_waiters() == ["c", "d"]
    assert lock.next_waiter() is None


def block(name: str) -> Token:
    return Token(f"{BLOCK}{name}")


def test_lock_grants_are_stacked_and_each_release_takes_its_own_away() -> None:
    lock: Lock[Any] = Lock()
    outer, inner, sibling = block("outer"), block("inner"), block("sibling")
    assert lock.acquire(LAB, AUTO, 0.0) is LockAnswer.GRANTED
    assert lock.acquire(LAB, outer, 0.0, held=AUTO, key=outer) is LockAnswer.GRANTED
    assert not lock.may_call(LAB, AUTO), "a block excludes also those who share the proxy of the plain lock"
    assert lock.acquire(LAB, inner, 0.0, held=outer, key=inner) is LockAnswer.GRANTED
    assert lock.acquire(LAB, sibling, 0.0, held=outer, key=sibling) is LockAnswer.REFUSED
    assert lock.acquire(LAB, sibling, 0.0, held=AUTO, key=sibling) is LockAnswer.REFUSED
    assert [lock.may_call(LAB, token) for token in (AUTO, outer, inner)] == [False, False, True]
    assert lock.release(LAB, outer), "from the middle"
    assert lock.release(LAB, inner)
    assert lock.may_call(LAB, AUTO)
    assert lock.release(LAB, AUTO)
    assert lock.holder is None


def test_lock_for_a_proxy_inside_its_own_block_outlives_the_block() -> None:
    lock: Lock[Any] = Lock()
    own = block("own")
    assert lock.acquire(LAB, own, 0.0, key=own)
    assert lock.acquire(LAB, AUTO, 0.0, held=own) is LockAnswer.GRANTED
    assert lock.acquire(LAB, AUTO, 0.0, held=own) is LockAnswer.KEPT
    assert lock.may_call(LAB, own)
    assert lock.release(LAB, own)
    assert lock.may_call(LAB, AUTO)


def test_lock_text_opens_its_blocks_and_enters_none_of_another_thread() -> None:
    lock: Lock[Any] = Lock()
    one, two, nested = block("1"), block("2"), block("3")
    assert lock.acquire(LAB, CUSTOM, 0.0, key=one)
    assert lock.acquire(LAB, CUSTOM, 0.0, key=two) is LockAnswer.REFUSED
    assert lock.acquire(LAB, CUSTOM, 0.0, held=one, key=nested) is LockAnswer.GRANTED
    assert lock.acquire(LAB_AGAIN, CUSTOM, 0.0, key=two) is LockAnswer.GRANTED, "the program was restarted"
    assert not lock.release(ELSEWHERE, CUSTOM)
    assert lock.release(LAB, CUSTOM)
    assert lock.holder is None
    assert lock.is_lost(one)
    assert "lock_token" in str(lock.reason(one))


@pytest.mark.parametrize("how", ["force", "leave", "unknown"])
def test_lock_that_was_lost_refuses_the_calls_that_rely_on_it(how: str) -> None:
    lock: Lock[Any] = Lock()
    if how != "unknown":
        lock.acquire(LAB, AUTO, 0.0)
        assert lock.force("taken by somebody") if how == "force" else lock.leave(LAB)
    assert lock.standing(LAB, AUTO) is Ownership.FORMER
    assert not lock.may_call(LAB, AUTO)
    assert lock.may_call(LAB, None)
    assert (lock.reason(AUTO) is None) == (how == "unknown")
    lock.remember(AUTO)
    assert lock.may_call(LAB, AUTO), "told once"
    assert lock.acquire(LAB, AUTO, 0.0) is LockAnswer.GRANTED
    lock.force("again")
    assert not lock.may_call(LAB, AUTO)


def test_lock_remembers_so_many_grants_and_no_more() -> None:
    lock: Lock[Any] = Lock()
    for number in range(REMEMBERED + 1):
        token = Token(str(number))
        lock.acquire(LAB, token, 0.0)
        lock.release(LAB, token)
    assert [lock.may_call(LAB, Token(str(number))) for number in (0, 1, REMEMBERED)] == [False, True, True]
    assert lock._past is not None
    assert len(lock._past) == REMEMBERED


def test_lock_waiter_that_may_not_have_the_lock_is_passed_over() -> None:
    lock: Lock[str] = Lock()
    for name in ("a", "b", "c"):
        lock.wait(name)
    lock.wait("first", first=True)
    assert lock.next_waiter(lambda name: name in "bc") == "b"
    assert lock.next_waiter(lambda name: False) is None
    assert lock.waiting() == ["first", "a", "c"]


ORIGINS = [LAB, LAB_AGAIN, ELSEWHERE]
PLAIN = [Token("a"), Token("b"), Token("a", custom=True), Token("b", custom=True)]
BLOCKS = [block("a"), block("b"), block("c")]
origins = st.sampled_from(ORIGINS)
plain = st.sampled_from(PLAIN)
blocks = st.sampled_from(BLOCKS)
tokens = st.sampled_from(PLAIN + BLOCKS)


class Grant(NamedTuple):
    origin: Origin
    token: Token
    key: Token


class LockAgainstModel(RuleBasedStateMachine):
    """The model: a stack of grants, of which the top one may call; and which grants ended by their owner's doing."""

    def __init__(self) -> None:
        super().__init__()
        self.lock: Lock[Any] = Lock()
        self.stack: list[Grant] = []
        self.given_back: set[Token] = set()

    def owns(self, grant: Grant, origin: Origin, token: Token | None) -> bool:
        if token == grant.key and not grant.key.custom:
            return origin == grant.origin
        if token != grant.token or token is None:
            return False
        return origin.context == grant.origin.context and (
            token.custom or origin.incarnation == grant.origin.incarnation
        )

    def on_top(self, origin: Origin, token: Token | None) -> bool:
        return bool(self.stack) and self.owns(self.stack[-1], origin, token)

    @rule(origin=origins, token=plain, held=st.none() | tokens)
    def lock_plainly(self, origin: Origin, token: Token, held: Token | None) -> None:
        inside = self.on_top(origin, held) and self.stack[-1].key.is_block
        kept = self.on_top(origin, token) or (
            any(self.owns(grant, origin, token) for grant in self.stack) if inside else self.on_top(origin, held)
        )
        granted = not kept and (inside or not self.stack)
        answer = LockAnswer.KEPT if kept else LockAnswer.GRANTED if granted else LockAnswer.REFUSED
        assert self.lock.acquire(origin, token, 0.0, held) is answer
        if granted:
            self.stack.insert(0, Grant(origin, token, token))
            self.given_back.discard(token)

    @rule(
        origin=origins, key=blocks, text=st.none() | plain.filter(lambda token: token.custom), held=st.none() | tokens
    )
    def enter(self, origin: Origin, key: Token, text: Token | None, held: Token | None) -> None:
        if any(grant.key == key for grant in self.stack):
            return  # each block has a key of its own
        token = text or key
        foreign = bool(self.stack) and self.stack[-1].key.is_block and self.stack[-1].origin == origin
        granted = not self.stack or self.on_top(origin, held) or (self.on_top(origin, token) and not foreign)
        assert bool(self.lock.acquire(origin, token, 0.0, held, key)) == granted
        if granted:
            self.stack.append(Grant(origin, token, key))
            self.given_back.discard(key)

    def end(self, gone: list[Grant], *, own: bool) -> None:
        for grant in gone:
            self.stack.remove(grant)
            if own:
                self.given_back.add(grant.key)
            else:
                self.given_back.discard(grant.key)

    @rule(origin=origins, token=st.none() | tokens)
    def release(self, origin: Origin, token: Token | None) -> None:
        gone = [grant for grant in self.stack if self.owns(grant, origin, token)]
        assert self.lock.release(origin, token) == bool(gone)
        for grant in gone:
            self.end([grant], own=grant.key == token or not grant.key.is_block)

    @rule(origin=origins, token=st.none() | tokens)
    def call(self, origin: Origin, token: Token | None) -> None:
        without = token is None or token.custom or token in self.given_back
        expected = self.on_top(origin, token) if self.stack else without
        assert self.lock.may_call(origin, token) == expected

    @rule(origin=origins)
    def context_goes(self, origin: Origin) -> None:
        gone = [grant for grant in self.stack if grant.origin == origin and not grant.token.custom]
        assert self.lock.leave(origin) == bool(gone)
        self.end(gone, own=False)

    @precondition(lambda self: self.stack)
    @rule()
    def force(self) -> None:
        assert self.lock.force()
        self.end(list(self.stack), own=False)

    @invariant()
    def same_grants(self) -> None:
        assert [Grant(*holder[:3]) for holder in self.lock.holders()] == self.stack
        assert (self.lock.holder is None) == (not self.stack)


LockAgainstModel.TestCase.settings = examples(100, stateful_step_count=30)
test_fault_37_no_sequence_of_requests_steals_a_lock = LockAgainstModel.TestCase
