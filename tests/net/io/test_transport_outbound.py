from __future__ import annotations

from random import Random
from typing import Any

import pytest
import trio

from qmi.net.io import transport as outbound_module
from qmi.net.io.transport import FULL, Outbound
from tests.support.waiting import until
from tests.support.writing import Bench, Clock


@pytest.fixture(params=[True, False], ids=["in one step", "by the queue"])
def bench(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Bench:
    clock = Clock()
    monkeypatch.setattr(outbound_module, "time", clock)
    return Bench(clock, in_one_step=request.param)


def test_a_lone_message_goes_out_at_once(bench: Bench) -> None:
    bench.say("a", soon=True)
    assert bench.written == ["a"]
    bench.clock.now += 0.001
    bench.say("b", soon=True)
    assert bench.written == ["a", "b"]
    assert bench.loop.due == []


def test_message_right_after_another_is_held_until_the_time_is_over(bench: Bench) -> None:
    for letter in "abcd":
        bench.say(letter, soon=True)
    assert bench.written == ["a"]
    assert len(bench.loop.due) == 1  # told once, not for each message
    bench.clock.now += 0.001
    bench.say("e", soon=True)
    assert bench.written == ["a", "bcde"]


def test_message_that_must_not_wait_takes_held_ones_with_it(bench: Bench) -> None:
    for letter in "abc":
        bench.say(letter, soon=True)
    bench.say("d")
    assert bench.written == ["a", "bcd"]


def test_waiting_thread_writes_what_is_held(bench: Bench) -> None:
    for letter in "abc":
        bench.say(letter, soon=True)
    bench.out.flush()
    assert bench.written == ["a", "bc"]
    bench.out.flush()
    assert bench.written == ["a", "bc"]


def test_enough_is_enough(bench: Bench) -> None:
    bench.say("a", soon=True)
    bench.say("b" * (FULL - 1), soon=True)
    assert len(bench.written) == 1
    bench.say("c", soon=True)
    assert [len(text) for text in bench.written] == [1, FULL]


def test_tasks_of_the_loop_write_together_when_they_have_had_their_turn(bench: Bench) -> None:
    bench.loop.here = True
    for letter in "abcd":
        bench.say(letter, soon=True)
    assert bench.written == ["a"]
    assert len(bench.loop.due) == 1
    bench.loop.turn()
    assert bench.written == ["a", "bcd"]


async def test_the_loop_writes_what_a_thread_has_left_held(bench: Bench) -> None:
    bench.loop.here = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.out.run)
        for letter in "abc":
            bench.say(letter, soon=True)
        bench.loop.turn()
        await until(lambda: bench.written == ["a", "bc"])
        bench.say("d", soon=True)  # the loop is still looking
        await until(lambda: bench.written == ["a", "bc", "d"])
        nursery.cancel_scope.cancel()


def test_a_request_begins_when_its_first_byte_is_taken(bench: Bench) -> None:
    bench.say("a", soon=True)
    for number, text in enumerate(("bbb", "ccc", "ddd"), 1):
        bench.say(text, number, soon=True)
    bench.wire.room = 4
    bench.out.flush()
    assert bench.written == ["a", "bbbc"]
    assert sorted(set(bench.begun)) == [1, 2]
    assert bench.out.size == 9


def test_a_request_is_taken_back_from_among_others(bench: Bench) -> None:
    bench.say("a", soon=True)
    for number, text in enumerate(("bb", "cc", "dd"), 1):
        bench.say(text, number, soon=True)
    with bench.mutex:
        bench.out.remove(2)
        bench.out.remove(7)
    assert bench.out.size == 4
    bench.out.flush()
    assert bench.written == ["a", "bbdd"]
    assert sorted(set(bench.begun)) == [1, 3]
    assert bench.out.is_empty


def test_a_request_is_taken_back_although_others_of_the_same_write_have_begun(bench: Bench) -> None:
    bench.say("a", soon=True)
    for number, text in enumerate(("bb", "cc", "dd", "ee"), 1):
        bench.say(text, number, soon=True)
    bench.wire.room = 3
    bench.out.flush()
    assert bench.written == ["a", "bbc"]
    for number in (1, 2, 3):
        with bench.mutex:
            bench.out.remove(number)  # two have begun, and stay
    assert bench.out.size == 6
    bench.wire.room = 100
    with bench.mutex:
        assert not bench.out.write_queue()
    assert bench.written == ["a", "bbc", "cee"]
    assert sorted(set(bench.begun)) == [1, 2, 4]
    assert bench.out.is_empty
    assert bench.out.size == 0


def test_write_that_was_cut_between_two_requests_is_done_when_the_others_are_withdrawn(bench: Bench) -> None:
    bench.say("a", soon=True)
    for number, text in enumerate(("bb", "cc"), 1):
        bench.say(text, number, soon=True)
    bench.wire.room = 2
    bench.out.flush()
    with bench.mutex:
        bench.out.remove(2)
    bench.wire.room = 100
    with bench.mutex:
        assert not bench.out.write_queue()
    assert bench.written == ["a", "bb"]
    assert bench.out.is_empty


def test_a_thread_goes_on_with_something_large_as_long_as_the_other_side_keeps_up(bench: Bench) -> None:
    bench.wire.room = 100_000
    bench.wire.refills = [100_000, 100_000, 100_000]
    bench.say("x" * 350_000)
    assert [len(text) for text in bench.written] == [100_000, 100_000, 100_000, 50_000]
    assert bench.out.is_empty
    assert bench.loop.due == []


def test_the_loop_gets_the_rest_when_the_other_side_does_not_keep_up(bench: Bench) -> None:
    bench.wire.room = 100_000
    bench.wire.refills = [100_000, 0, 100_000]
    bench.say("x" * 350_000)
    assert [len(text) for text in bench.written] == [100_000, 100_000]
    bench.loop.turn()
    assert bench.stuck == [1]
    assert bench.out.stalled_since() == bench.clock.now


@pytest.mark.parametrize(("here", "patient"), [(True, True), (False, False)])
def test_neither_the_loop_nor_a_call_that_must_not_block_goes_on(bench: Bench, here: bool, patient: bool) -> None:
    bench.wire.room = 100_000
    bench.wire.refills = [100_000]
    bench.loop.here = here
    bench.say("x" * 200_000, patient=patient)
    assert len(bench.written) == 1
    assert len(bench.loop.due) == 1


def test_a_little_rest_is_the_loops(bench: Bench) -> None:
    bench.wire.room = 1
    bench.wire.refills = [100]
    bench.say("xyz")
    assert bench.written == ["x"]
    assert len(bench.loop.due) == 1


def test_ctrl_c_leaves_the_rest_to_the_loop(bench: Bench) -> None:
    bench.wire.room = 100_000
    bench.wire.refills = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        bench.say("x" * 200_000)
    assert len(bench.loop.due) == 1


def test_a_broken_connection_is_told_and_nothing_more_is_written(bench: Bench) -> None:
    bench.wire.error = OSError(32, "Broken pipe")
    bench.say("a")
    assert bench.out.fault == "the connection was lost: Broken pipe"
    assert bench.failed == [1]
    bench.wire.error = None
    bench.say("b")
    assert bench.written == []


def test_a_sign_of_life_is_whatever_waits(bench: Bench) -> None:
    with bench.mutex:
        bench.out.pulse(b"beat")
    bench.say("a", soon=True)
    bench.wire.room = 0
    with bench.mutex:
        bench.out.pulse(b"beat")
    assert bench.written == ["beat"]
    bench.loop.turn()
    assert bench.stuck  # what was held waits for the socket now, and the loop knows
    bench.wire.room = 100
    with bench.mutex:
        bench.out.pulse(b"beat")
    assert bench.written == ["beat", "a"]


def test_held_messages_are_never_written_after_the_link_is_lost(bench: Bench) -> None:
    bench.say("a", soon=True)
    bench.say("b", 1, soon=True)  # its sender is told that it was not delivered
    with bench.mutex:
        bench.out.end()
    bench.out.flush()
    bench.say("c", 2)
    with bench.mutex:
        bench.out.write_last([b"bye"])
    assert bench.written == ["a", "bye"]
    assert bench.begun == []
    assert bench.out.is_empty
    assert bench.out.size == 0


def test_the_last_words_are_not_put_behind_half_a_message(bench: Bench) -> None:
    bench.wire.room = 1
    bench.say("cc", patient=False)
    bench.wire.room = 100
    with bench.mutex:
        bench.out.end()
        bench.out.write_last([b"bye"])
    assert bench.written == ["c"]


def test_writer_without_messages_writes_nothing(bench: Bench) -> None:
    with bench.mutex:
        bench.out.write_from_anywhere([])
        bench.out.write_last([])
    assert bench.written == []
    assert bench.loop.due == []


class Memory:
    """An array that its driver fills again after each answer."""

    def __init__(self, size: int) -> None:
        self.array = bytearray(size)

    def fill(self, byte: int) -> list[Any]:
        self.array[:] = bytes((byte,)) * len(self.array)
        return [b"head", memoryview(self.array)]


@pytest.mark.parametrize("here", [False, True], ids=["thread", "loop"])
@pytest.mark.parametrize("room", [0, 2, 4, 5, 40_000, 100_003], ids=lambda room: f"{room} bytes are taken")
def test_memory_of_others_is_read_only_until_its_sender_goes_on(bench: Bench, room: int, here: bool) -> None:
    memory = Memory(100_000)
    bench.loop.here = here
    bench.wire.room = room
    for byte in (1, 2, 3):  # the second and the third wait behind the first
        with bench.mutex:
            left = bench.out.write(memory.fill(byte))
        bench.out.settle(left)
    memory.fill(9)
    bench.wire.room = 1 << 30
    with bench.mutex:
        assert not bench.out.write_queue()
    assert b"".join(bench.wire.written) == b"".join(b"head" + bytes((byte,)) * 100_000 for byte in (1, 2, 3))
    assert bench.out.is_empty
    assert bench.out.size == 0


def test_memory_of_others_is_not_copied_if_it_goes_out_at_once(bench: Bench) -> None:
    memory = Memory(100_000)
    bench.wire.room = 30_000
    bench.wire.refills = [50_000, 50_000]
    with bench.mutex:
        left = bench.out.write(memory.fill(1))
    assert left is not None
    bench.out.settle(left)
    assert bench.out.is_empty
    assert any(buffer.obj is memory.array for buffer in left.buffers if isinstance(buffer, memoryview))


def test_writer_does_not_copy_what_cannot_change(bench: Bench) -> None:
    data = bytes(100_000)
    bench.wire.room = 10
    with bench.mutex:
        left = bench.out.write([b"head", memoryview(data)])
    bench.out.settle(left)
    assert left is not None
    assert left.buffers[1].obj is data  # type: ignore[union-attr]


def test_memory_is_copied_also_when_ctrl_c_interrupts_the_sender(bench: Bench) -> None:
    memory = Memory(100_000)
    bench.wire.room = 10
    bench.wire.refills = [KeyboardInterrupt()]
    with bench.mutex:
        left = bench.out.write(memory.fill(1))
    with pytest.raises(KeyboardInterrupt):
        bench.out.settle(left)
    memory.fill(9)
    bench.wire.room = 1 << 30
    with bench.mutex:
        bench.out.write_queue()
    assert b"".join(bench.wire.written) == b"head" + bytes((1,)) * 100_000


def test_a_request_is_taken_back_while_its_memory_is_copied(bench: Bench) -> None:
    memory = Memory(100_000)
    bench.wire.room = 0
    for byte in (1, 2, 3):
        with bench.mutex:
            left = bench.out.write(memory.fill(byte), byte)
        if byte == 2:
            with bench.mutex:
                bench.out.remove(2)
        bench.out.settle(left)
    bench.wire.room = 1 << 30
    with bench.mutex:
        bench.out.write_queue()
    assert b"".join(bench.wire.written) == b"".join(b"head" + bytes((byte,)) * 100_000 for byte in (1, 3))


def test_a_copy_that_finds_no_memory_ends_the_link(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Scarce(bytes):
        def __new__(cls, *args: Any) -> Scarce:
            raise MemoryError

    memory = Memory(100_000)
    bench.wire.room = 10
    with bench.mutex:
        left = bench.out.write(memory.fill(1))
    monkeypatch.setattr(outbound_module, "bytes", Scarce, raising=False)
    bench.out.settle(left)
    assert bench.out.fault == "there is no memory for 99994 bytes that it has not read yet"
    assert bench.failed


def test_a_thread_is_kept_only_as_long_as_the_pace_allows(bench: Bench) -> None:
    bench.wire.room = 0
    took: list[float] = []

    def slowly(patience: float) -> bool:
        bench.clock.now += 0.015
        took.append(0.015)
        bench.wire.room += 1
        return True

    bench.wire.is_writable = slowly  # type: ignore[method-assign]
    bench.say("x" * 200_000)
    assert 0.1 <= sum(took) < 0.15
    assert len(bench.loop.due) == 1


def test_writer_that_was_full_notifies_when_half_of_it_is_gone(bench: Bench) -> None:
    told: list[int] = []
    wire: Any = bench.wire
    loop: Any = bench.loop
    out = Outbound(
        wire, loop, bench.mutex, begun=print, taken_back=print, failed=lambda: None, stuck=lambda: None,
        resume_writing=lambda: told.append(out.size), capacity=100,
    )  # fmt: skip

    def worth_asking() -> bool:
        return out.may_be_full

    bench.wire.room = 0
    for _ in range(3):
        with bench.mutex:
            assert not out.is_full()
            assert not worth_asking()
            out.write([b"x" * 40])
    assert worth_asking()
    with bench.mutex:
        assert out.is_full()
        bench.wire.room = 119
        out.write_queue()
    bench.loop.turn()
    assert told == []
    bench.wire.room = 100
    with bench.mutex:
        assert worth_asking()
        assert out.is_full(), "there was no room in between"
        out.write_queue()
    bench.loop.turn()
    assert told == [0]
    assert not worth_asking()
    with bench.mutex:
        assert not out.is_full()


def test_outbound_that_nobody_found_full_does_not_stay_worth_asking() -> None:
    bench = Bench(Clock(), capacity=100)

    def worth_asking() -> bool:
        return bench.out.may_be_full

    bench.wire.room = 0
    with bench.mutex:
        bench.out.write([b"x" * 101], 1)
        assert worth_asking()
        bench.wire.room = 101
        bench.out.write_queue()
        assert not bench.out.is_full()
    assert not worth_asking()


def test_peer_that_asks_for_more_than_it_reads_is_given_up(bench: Bench) -> None:
    """Answers that are never held up are short; who reads a little now and then could ask for them for ever."""
    bench.out._capacity = 1000
    bench.wire.room = 0
    for _ in range(30):
        bench.say("x" * 100)
        bench.wire.room = 1  # it reads, so that there is progress
        with bench.mutex:
            bench.out.write_queue()
        if bench.out.fault is not None:
            break
    assert bench.out.fault == f"it asks for much more than it reads: {bench.out.size} bytes wait"
    assert 1900 < bench.out.size < 2200
    assert bench.failed


@pytest.mark.parametrize("size", [100, FULL])
def test_peer_that_reads_again_may_ask_again_and_large_results_do_not_count(bench: Bench, size: int) -> None:
    bench.out._capacity = 1000
    for _ in range(10):
        bench.wire.room = 0
        bench.say("y" * 901)
        for _ in range(10 if size < FULL else 30):
            bench.say("x" * size)
        bench.wire.room = 1 << 30
        with bench.mutex:
            bench.out.write_queue()
    assert bench.out.fault is None


def test_outbound_waits_for_room_about_as_long_as_a_copy_would_take(bench: Bench) -> None:
    # A receiver on a busy machine stands still for longer than 20 ms; a second copy of 100 MB would not go out sooner.
    waited: list[float] = []

    def never(patience: float) -> bool:
        waited.append(patience)
        return False

    bench.wire.is_writable = never  # type: ignore[method-assign]
    bench.wire.room = 0
    for size in (100_000, 10_000_000):
        with bench.mutex:
            rest = bench.out.write([memoryview(bytearray(size)), b""])
        if rest is not None:
            rest.behind = False
        bench.out.settle(rest)
    assert waited == pytest.approx([0.0201, 0.0301], abs=1e-3)


@pytest.mark.parametrize("seed", range(20))
def test_joined_messages_are_the_bytes_that_they_are_alone(bench: Bench, seed: int) -> None:
    random = Random(seed)
    alone = Bench(bench.clock)
    for number in range(1, 40):
        text = chr(ord("a") + number % 26) * random.choice((1, 3, FULL // 2, FULL))
        request = random.choice((None, number))
        bench.clock.now += random.choice((0.0, 0.0, 0.0, 0.001))
        bench.say(text, request, soon=random.random() < 0.8)
        alone.say(text, request)
        if random.random() < 0.1:
            random.choice((bench.loop.turn, bench.out.flush))()
    bench.out.flush()
    assert "".join(bench.written) == "".join(alone.written)
    assert bench.begun == alone.begun
    assert len(bench.written) < len(alone.written)
