"""The programs that wait take turns, and the turns of one program keep their order."""

from __future__ import annotations

from operator import itemgetter

from hypothesis import given
from hypothesis import strategies as st

from qmi.actors.fair_queue import FairQueue

Turn = tuple[str, int]


def line_of(turns: list[Turn], held: set[str] | None = None) -> FairQueue[Turn]:
    line: FairQueue[Turn] = FairQueue(itemgetter(0), lambda turn: turn[0] in (held or ()))
    for turn in turns:
        line.append(turn)
    return line


def drain(line: FairQueue[Turn]) -> list[Turn]:
    taken = []
    while (turn := line.peek()) is not None:
        line.take(turn)
        taken.append(turn)
    return taken


def test_line_takes_turns_among_the_origins_that_wait() -> None:
    line = line_of([("a", number) for number in range(3000)] + [("b", 0), ("c", 0), ("b", 1)])
    assert drain(line)[:6] == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1), ("a", 2)]
    assert len(line) == 0


def test_line_lets_go_first_who_may() -> None:
    line = line_of([("a", 0)])
    line.put_first(("b", 0))
    line.put_first(("c", 0))
    assert drain(line) == [("c", 0), ("b", 0), ("a", 0)]


def test_line_passes_over_a_row_that_is_held_as_a_whole() -> None:
    held = {"a"}
    line = line_of([("a", 0), ("b", 0), ("a", 1)], held)
    assert drain(line) == [("b", 0)]
    held.clear()
    assert drain(line) == [("a", 0), ("a", 1)]


turns = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9)), unique=True, max_size=40)


@given(turns)
def test_line_is_fair_and_keeps_the_order_of_each_origin(waiting: list[Turn]) -> None:
    taken = drain(line_of(waiting))
    assert sorted(taken) == sorted(waiting)
    for origin in "abcd":
        assert [turn for turn in taken if turn[0] == origin] == [turn for turn in waiting if turn[0] == origin]
    # Between two turns of one origin, each of the others that still wait has had exactly one.
    for index, (origin, _) in enumerate(taken):
        rest = [turn[0] for turn in taken[index + 1 :]]
        if origin in rest:
            between = rest[: rest.index(origin)]
            assert len(between) == len(set(between))
            assert set(between) >= set(rest) - {origin}


@given(turns, st.data())
def test_line_counts_what_is_in_it_whatever_is_done(waiting: list[Turn], data: st.DataObject) -> None:
    held: set[str] = set()
    line = line_of([], held)
    model: list[Turn] = []
    for turn in waiting:
        action = data.draw(st.sampled_from(["append", "first", "take", "remove", "hold", "release"]))
        if action == "append":
            line.append(turn)
            model.append(turn)
        elif action == "first":
            line.put_first(turn)
            model.append(turn)
        elif action == "take" and (following := line.peek()) is not None:
            line.take(following)
            model.remove(following)
        elif action == "remove":
            assert line.remove(turn) == (turn in model)
            if turn in model:
                model.remove(turn)
        elif action == "hold":
            held.add(turn[0])
        elif action == "release":
            held.discard(turn[0])
        assert sorted(line) == sorted(model)
        assert len(line) == len(model)
    held.clear()
    assert sorted(drain(line)) == sorted(model)
