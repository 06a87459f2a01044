from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmi.actors.fair_queue import FairQueue
from qmi.actors.mailbox import Mailbox


def test_the_first_turn_runs_and_the_others_wait_in_order() -> None:
    box: Mailbox[str] = Mailbox()
    assert box.enter("a")
    assert not box.enter("b")
    assert not box.enter("c")
    assert (box.current, len(box), box.waiting()) == ("a", 2, ["b", "c"])
    assert box.leave("a") == "b"
    assert box.leave("b") == "c"
    assert box.leave("c") is None
    assert (box.current, len(box)) == (None, 0)


def test_mailbox_lets_the_holder_of_the_lock_go_first() -> None:
    box: Mailbox[str] = Mailbox()
    box.enter("a")
    box.enter("b")
    with box.mutex:
        assert not box.enter_locked("urgent", first=True)
    assert box.waiting() == ["urgent", "b"]


def test_a_turn_ends_once() -> None:
    box: Mailbox[str] = Mailbox()
    box.enter("a")
    box.enter("b")
    assert box.leave("a") == "b"
    assert box.leave("a") is None
    assert box.current == "b"


def test_mailbox_withdraws_only_waiting_entries() -> None:
    box: Mailbox[str] = Mailbox()
    assert not box.withdraw("a")
    box.enter("a")
    box.enter("b")
    assert not box.withdraw("a")
    assert box.withdraw("b")
    assert not box.withdraw("b")
    assert box.waiting() == []


def test_a_closed_mailbox_takes_nothing_and_hands_back_who_waited() -> None:
    box: Mailbox[str] = Mailbox()
    assert box.waiting() == []
    box.enter("a")
    box.enter("b")
    gone = RuntimeError("gone")
    assert box.close(gone) == ["b"]
    assert box.close(RuntimeError("later")) == []
    for _ in range(2):
        with pytest.raises(RuntimeError, match="gone") as caught:
            box.enter("c")
        assert caught.value is not gone, "each caller gets an error, and so a traceback, of its own"
    assert gone.__traceback__ is None
    assert box.leave("a") is None


@given(st.lists(st.tuples(st.sampled_from(["enter", "leave", "withdraw"]), st.integers(0, 5))))
def test_turns_run_one_at_a_time_in_the_order_of_their_coming(steps: list[tuple[str, int]]) -> None:
    box: Mailbox[int] = Mailbox()
    model: list[int] = []
    for action, turn in steps:
        if action == "enter" and turn not in model:
            assert box.enter(turn) == (not model)
            model.append(turn)
        elif action == "leave":
            expected = model[1] if model[:1] == [turn] and len(model) > 1 else None
            assert box.leave(turn) == expected
            if model[:1] == [turn]:
                model.pop(0)
        elif action == "withdraw":
            assert box.withdraw(turn) == (turn in model[1:])
            if turn in model[1:]:
                model.remove(turn)
        assert [box.current, *box.waiting()] == [*(model or (None,))]


def by_letter(held: set[str]) -> Mailbox[str]:
    return Mailbox(lambda: FairQueue(lambda turn: turn[0], lambda turn: turn[0] in held))


def test_mailbox_passes_over_who_is_held_and_comes_back_to_them() -> None:
    held = {"a"}
    box = by_letter(held)
    box.park("a1")
    box.park("a2")
    assert box.resume() is None
    assert box.enter("b1"), "nobody else waits for who is held"
    assert not box.enter("b2")
    assert box.leave("b1") == "b2"
    assert box.leave("b2") is None
    assert (box.current, box.waiting()) == (None, ["a1", "a2"])
    held.clear()
    assert box.resume() == "a1"
    assert box.resume() is None
    assert box.leave("a1") == "a2"
    assert box.leave("a2") is None
    assert box.enter("a3")


def test_mailbox_lets_nobody_overtake_the_held_turns_of_its_own_origin() -> None:
    held = {"a"}
    box = by_letter(held)
    box.park("a1")
    held.clear()  # and before anybody looks again
    assert not box.enter("a2")
    assert box.resume() == "a1"
    assert box.leave("a1") == "a2"


def test_mailbox_that_is_closed_hands_back_who_is_held() -> None:
    box = by_letter({"a"})
    box.park("a1")
    assert box.close(RuntimeError("gone")) == ["a1"]
    with pytest.raises(RuntimeError, match="gone"):
        box.park("a2")
    with box.mutex:
        assert box.enter_locked("end")


def test_mailbox_forgets_a_turn_that_ctrl_c_left_in_line_when_it_came() -> None:
    box: Mailbox[str] = Mailbox()
    box.enter("a")
    box.enter("b")
    box.enter("c")
    box.current = "b"  # the next step, which did not come, takes it out of the line
    assert box.leave("b") == "c"


class GeneralLine(FairQueue[tuple[str, int]]):
    """A line that has no short way: nobody ever knows that there is one row only."""

    def _note_rows(self) -> None:
        self.only_row = None


@given(
    st.sets(st.sampled_from("abc")),
    st.lists(
        st.tuples(
            st.sampled_from(["enter", "first", "leave", "park", "resume", "withdraw", "hold", "free"]),
            st.tuples(st.sampled_from("abc"), st.integers(0, 3)),
        ),
        max_size=60,
    ),
)
def test_mailbox_with_one_row_does_what_the_general_way_does(
    held: set[str], steps: list[tuple[str, tuple[str, int]]]
) -> None:
    def is_held(turn: tuple[str, int]) -> bool:
        return turn[0] in held

    def origin(turn: tuple[str, int]) -> str:
        return turn[0]

    boxes = [Mailbox(lambda kind=kind: kind(origin, is_held)) for kind in (FairQueue, GeneralLine)]  # type: ignore[misc]

    def act(box: Mailbox[tuple[str, int]], action: str, turn: tuple[str, int]) -> object:
        if action in ("hold", "free"):
            held.add(turn[0]) if action == "hold" else held.discard(turn[0])
        elif action == "leave":
            return None if box.current is None else box.leave(box.current)
        elif action == "resume":
            return box.resume()
        elif action == "withdraw":
            return box.withdraw(turn)
        elif turn != box.current and turn not in box.waiting():
            if action == "park":
                box.park(turn)
                return None
            if action == "enter":
                return box.enter(turn)
            with box.mutex:
                return box.enter_locked(turn, first=True)
        return None

    for action, turn in steps:
        done = [
            (act(box, action, turn), box.current, box.waiting(), len(box), bool(box._line and box._line.size))
            for box in boxes
        ]
        assert done[0] == done[1]
