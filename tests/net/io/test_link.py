from __future__ import annotations

import re
import socket
import threading
from typing import Any

import pytest
import trio

from qmi.errors import QMI_NotDeliveredException, QMI_OutcomeUnknownException, QMI_ValueNotSendableException
from qmi.messages import Call, Failure, Signal, Subscribe, Value
from qmi.net.io import transport as outbound
from qmi.net.io.rush import RushReader
from qmi.net.io.transport import PlainWire, Unsent
from qmi.net.limits import Limits
from qmi.net.protocol.events import PeerLost
from qmi.net.protocol.link_ends import LossKind
from tests.support.joined_links import Answer, Pair, deaf, joined, unforeseen
from tests.support.waiting import until

GET = Call("bench", "get", (1,))
SIGNAL = Signal("bench", "sig", (1,), 0, 0.0)


async def test_a_request_gets_its_answer_and_the_end_is_told_to_both() -> None:
    async with joined() as pair:
        answer = Answer()
        assert repr(pair.a) == "<link to peer 'b'>"
        pair.a.send_request(GET, answer)
        await until(lambda: answer.got)
        assert answer.got == [Value((1,))]
        assert re.fullmatch(r"peer 'b' was heard from \d+\.\d s ago", pair.a.explain_silence())
        assert pair.a.open_requests == 0
        pair.a.send_signal(SIGNAL)
        await until(lambda: ("signal", SIGNAL) in pair.owners[1].told)
        pair.a.close("enough")
        await until(lambda: pair.b.ended.is_set())
        assert pair.owners[1].lost_reason == PeerLost(LossKind.GOODBYE, "closed by the other side: enough")
        with pytest.raises(QMI_NotDeliveredException):
            pair.a.send_request(GET, answer)


async def test_a_refusal_shows_its_reason_to_the_other_side() -> None:
    pair = Pair(Limits(), None)
    pair.owners[1].refuse = "no room"
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for link in pair.links:
                nursery.start_soon(link.run)
    assert pair.owners[0].lost_reason == PeerLost(LossKind.REFUSED, "refused by the other side: no room")


async def test_streams_flow_as_far_as_there_is_credit_and_end() -> None:
    async with joined() as pair:
        pair.owners[1].answers = False
        answer = Answer()
        pair.a.send_request(GET, answer)
        await until(lambda: len(pair.owners[1].told) == 2)
        pair.b.open_stream(1)
        await until(lambda: answer.got == ["opened"])
        pair.a.send_credit(1, 3)
        await until(lambda: answer.got == ["opened", 1, 1, 1])
        pair.b.end_stream(1)
        await until(lambda: answer.got[-1] == "ended")


async def test_what_one_side_has_sent_counts_on_both() -> None:
    async with joined() as pair:
        answer = Answer()
        before = pair.a.volume
        assert before == pair.b.volume
        for _ in range(3):
            got = len(answer.got)
            pair.a.send_request(Call("bench", "get", (b"x" * 50_000,)), answer)
            await until(lambda got=got: len(answer.got) > got)  # type: ignore[misc]
        assert pair.a.volume == pair.b.volume > before + 300_000


async def test_a_value_that_cannot_be_sent_harms_nobody() -> None:
    async with joined() as pair:
        with pytest.raises(QMI_ValueNotSendableException):
            pair.a.send_request(Call("bench", "get", (object(),)), Answer())
        with pytest.raises(QMI_ValueNotSendableException):
            pair.a.send_signal(Signal("bench", "sig", (object(),), 0, 0.0))
        answer = Answer()
        pair.a.send_request(GET, answer)
        await until(lambda: answer.got)


async def test_a_fault_of_the_owner_ends_the_link_and_not_the_program(caplog: pytest.LogCaptureFixture) -> None:
    async with joined() as pair:
        pair.owners[1].fault = "a bug"
        answer = Answer()
        pair.a.send_request(GET, answer)
        await until(lambda: answer.got)
        assert isinstance(answer.got[0], Failure)
        assert isinstance(answer.got[0].error, QMI_OutcomeUnknownException)
        assert pair.b.loss is not None
        assert "a fault of this program while passing on RequestReceived: RuntimeError: a bug" in pair.b.loss.reason
    assert "The link to peer 'a' at here ends" in caplog.text or "The link to peer 'a' ends" in caplog.text


async def test_reader_thread_reads_until_something_belongs_on_the_loop_or_nothing_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qmi.net.io.link._RUSH_TIME", 5.0)  # a rush on a busy machine, too

    readers = RushReader(unforeseen)
    async with joined(readers=readers) as pair:
        answer = Answer()

        async def calls(count: int) -> None:
            for number in range(count):
                before = len(answer.got)
                pair.a.send_request(Call("bench", "get", (number,)), answer)
                await until(lambda before=before: len(answer.got) > before)  # type: ignore[misc]

        def readers_seen() -> set[str]:
            return {told[2] for told in pair.owners[1].told if told[0] == "request"}

        while len(readers_seen()) < 2:
            answer.got.clear()
            await calls(20)
            assert [reply.value for reply in answer.got] == [(number,) for number in range(20)]
        # A subscription and a signal are handled on the loop, in their order.
        main_thread = threading.current_thread().name
        before = len(pair.owners[1].told)
        answer.got.clear()
        pair.a.send_request(Subscribe("bench", "sig"), answer)
        pair.a.send_signal(SIGNAL)
        pair.a.send_request(GET, answer)
        await until(lambda: len(pair.owners[1].told) == before + 3 and len(answer.got) == 2)
        told = pair.owners[1].told[before:]
        assert [entry[1] for entry in told] == [Subscribe("bench", "sig"), SIGNAL, GET]
        assert told[0][2] == main_thread
        # After a pause the loop reads again.
        await until(lambda: not len(readers))
        before = len(pair.owners[1].told)
        await calls(1)
        assert pair.owners[1].told[before][2] == main_thread


async def test_messages_are_the_same_whoever_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.net.io.link._RUSH_TIME", 5.0)  # a rush on a busy machine, too

    async def converse(readers: RushReader | None) -> tuple[list[tuple[Any, ...]], list[Any], int]:
        async with joined(readers=readers) as pair:
            answer = Answer()
            for number in range(26):
                before = len(answer.got)
                pair.a.send_request(Call("bench", "get", (number,)), answer)
                pair.a.send_signal(SIGNAL)
                pair.a.send_request(GET if number % 7 else Subscribe("bench", "sig"), answer)
                await until(lambda before=before: len(answer.got) == before + 2)  # type: ignore[misc]
            told = pair.owners[1].told
            threads = {entry[2] for entry in told if entry[0] == "request"}
            return [entry[:2] for entry in told], [reply.value for reply in answer.got], len(threads)

    *by_loop, threads = await converse(None)
    assert threads == 1
    *by_thread, threads = await converse(RushReader(unforeseen))
    assert threads == 2
    assert by_thread == by_loop


@pytest.mark.parametrize("who", ["a", "b", "reset", "fault", "cancel"])
async def test_a_link_that_a_thread_reads_can_end_in_every_way(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qmi.net.io.link._RUSH_TIME", 5.0)  # a rush on a busy machine, too
    readers = RushReader(unforeseen)
    async with joined(readers=readers) as pair:
        answer = Answer()
        while len(readers) < 2:
            before = len(answer.got)
            pair.a.send_request(GET, answer)
            await until(lambda before=before: len(answer.got) > before)  # type: ignore[misc]
        if who == "reset":
            pair.a._wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            pair.a.close()
        elif who == "fault":
            pair.owners[1].fault = "a bug"
            pair.a.send_request(GET, answer)
        elif who != "cancel":
            getattr(pair, who).close("by hand")
        if who != "cancel":
            await until(lambda: pair.a.ended.is_set() and pair.b.ended.is_set())
    assert not len(readers)


@pytest.mark.parametrize(
    "what", ["qmi.net.io.rush.trio.lowlevel.start_thread_soon", "qmi.net.io.read_gate.EpollSet.add"]
)
@pytest.mark.parametrize(
    "lacking", [RuntimeError("can't start new thread"), MemoryError(), OSError(28, "No space left")]
)
async def test_loop_goes_on_reading_without_what_a_rush_needs(
    what: str, lacking: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("qmi.net.io.link._RUSH_TIME", 5.0)  # a rush on a busy machine, too
    monkeypatch.setattr("qmi.net.io.link._LEND_AGAIN", 0.0)  # it is tried again each time
    tried: list[object] = []

    def fails(*args: object) -> None:
        tried.append(args)
        raise lacking

    monkeypatch.setattr(what, fails)
    async with joined(readers=RushReader(unforeseen)) as pair:
        answer = Answer()
        for number in range(60):
            pair.a.send_request(GET, answer)
            await until(lambda number=number: len(answer.got) > number)  # type: ignore[misc]
        assert answer.threads == {threading.current_thread().name}
        assert len(tried) > 2
    assert "There is no thread to read the link to" in caplog.text
    assert "fault" not in caplog.text


async def test_object_that_waits_for_another_one_does_not_keep_others_from_reading() -> None:
    async with joined(readers=RushReader(unforeseen)) as pair:
        pair.a._handoff._answered = pair.a._handoff._reads_soon = 10_000.0
        pair.a.drive_io(lambda: True, None, reads=False)
        assert pair.a._handoff._reads_soon == 0.0
        assert pair.a._handoff.answered == 10_000.0, "it has"


async def test_a_silent_peer_is_pinged_and_then_lost() -> None:
    limits = Limits(ping_after=0.05, silence=0.3)
    pair = Pair(limits, None)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def other() -> None:
                with scope:
                    await pair.b.run()

            nursery.start_soon(pair.a.run)
            nursery.start_soon(other)
            await until(lambda: pair.a.is_up and pair.b.is_up)
            await trio.sleep(0.5)
            assert pair.a.is_up  # pings are answered
            deaf(pair)
            pair.b._connection.tick = lambda now: []  # type: ignore[method-assign]
            await until(lambda: pair.a.ended.is_set())
            scope.cancel()
    assert pair.owners[0].lost_reason is not None
    assert pair.owners[0].lost_reason.kind is LossKind.SILENT


async def test_a_probe_is_answered_by_the_living_only() -> None:
    async with joined() as pair:
        assert await pair.a.probe(5)
        deaf(pair)
        assert not await pair.a.probe(0.1)


async def test_a_request_that_is_cancelled_before_it_went_out_never_goes_out() -> None:
    async with joined(buffer=8192) as pair:
        deaf(pair)
        big, small = Answer(), Answer()
        pair.a.send_request(Call("bench", "get", (bytes(10_000_000),)), big)
        pair.a.send_request(GET, small)
        assert len(pair.a._out._queue) == 2
        waiting = pair.a._out.size
        pair.a.cancel_request(small.number)
        assert len(pair.a._out._queue) == 1
        assert pair.a._out.size < waiting
        pair.a.cancel_request(big.number)  # has begun: it goes on, and is cancelled behind
        assert len(pair.a._out._queue) == 2
        pair.a.beat()  # nothing can be added, but what fits goes out
        assert len(pair.a._out._queue) == 2


async def test_a_request_that_is_cancelled_in_a_write_that_has_begun_harms_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with joined() as pair:
        answers = [Answer() for _ in range(20)]
        room = 0
        put = PlainWire.put

        def narrow(wire: PlainWire, unsent: Unsent) -> None:
            nonlocal room
            if wire is not pair.a._wire:
                put(wire, unsent)
                return
            if not room:
                raise BlockingIOError
            data = b"".join(unsent.rest())[:room]
            room -= len(data)
            unsent.counts.append(wire.sock.send(data))

        monkeypatch.setattr(PlainWire, "put", narrow)
        monkeypatch.setattr(PlainWire, "put_one", narrow)
        for answer in answers:
            pair.a.send_request(GET, answer, soon=True)
        room = pair.a._out.size // 2 + 5
        await until(lambda: not room)
        for answer in answers[-3:]:
            pair.a.cancel_request(answer.number)
        room = 1 << 20
        await until(lambda: all(answer.got for answer in answers[:-3]))
        assert pair.a.loss is None
        assert all(answer.got == [Value((1,))] for answer in answers[:-3])
        assert pair.a.open_requests == 0


async def test_publisher_does_not_stay_to_write_what_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    stayed: list[str] = []

    def is_writable(wire: PlainWire, patience: float) -> bool:
        stayed.append(threading.current_thread().name)
        return False

    monkeypatch.setattr(PlainWire, "is_writable", is_writable)
    async with joined(buffer=8192) as pair:
        large = (bytes(1_000_000),)
        await trio.to_thread.run_sync(pair.a.send_signal, Signal("bench", "sig", large, 0, 0.0))
        await until(lambda: any(told[0] == "signal" for told in pair.owners[1].told))
        assert stayed == []
        await trio.to_thread.run_sync(pair.a.send_request, Call("bench", "get", large), Answer())
        assert len(stayed) == 1


async def test_request_that_was_not_delivered_is_not_written_after_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with joined() as pair:
        monkeypatch.setattr(outbound, "_BURST", 60.0)
        answers = [Answer() for _ in range(5)]
        for answer in answers:
            pair.a.send_request(GET, answer, soon=True)
        dispatch = pair.a._dispatch

        def slow_dispatch(events: list[Any]) -> None:
            pair.a.drive_io(lambda: True, 0, reads=False)  # somebody else is about to wait for an answer
            dispatch(events)

        pair.a._dispatch = slow_dispatch  # type: ignore[method-assign]
        pair.a._handle(pair.a._connection.lose, "no reason")
        await until(lambda: pair.b.ended.is_set())
        assert [type(answer.got[0].error) for answer in answers] == [
            QMI_OutcomeUnknownException, *[QMI_NotDeliveredException] * 4
        ]  # fmt: skip
        assert [told[0] for told in pair.owners[1].told].count("request") == 1


async def test_a_peer_that_does_not_read_is_lost_after_a_while() -> None:
    async with joined(buffer=8192, unsent_timeout=0.2, max_unsent=1000) as pair:
        deaf(pair)
        big = Answer()
        pair.a.send_request(Call("bench", "get", (bytes(10_000_000),)), big)
        with pytest.raises(QMI_NotDeliveredException, match="MiB wait for"):
            pair.a.send_request(GET, Answer())
        await until(lambda: pair.a.loss is not None)
        assert pair.a.loss is not None
        assert "nothing could be written for 0.2 s" in pair.a.loss.reason
        assert isinstance(big.got[0].error, QMI_OutcomeUnknownException)


async def test_signals_that_find_no_room_are_dropped_and_counted() -> None:
    async with joined(buffer=8192, max_unsent=1000) as pair:
        wake = deaf(pair)
        pair.a.send_signal(Signal("bench", "sig", (bytes(10_000_000),), 0, 0.0))
        pair.a.send_signal(SIGNAL)
        pair.a.send_signal(SIGNAL)
        assert pair.a.loss is None
        assert pair.a.dropped_signals == 2
        wake()
        await until(lambda: ("resume_writing",) in pair.owners[0].told)
        pair.a.send_signal(SIGNAL)
        await until(lambda: [told[0] for told in pair.owners[1].told].count("signal") == 2)
        assert pair.a.dropped_signals == 2


async def test_ctrl_c_between_two_steps_of_sending_neither_repeats_nor_loses_a_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A KeyboardInterrupt right after the system call: the bytes have gone, and are counted.
    put = PlainWire.put
    strike = [False]

    def struck(self: PlainWire, unsent: Unsent) -> None:
        put(self, unsent)
        if strike[0]:
            strike[0] = False
            raise KeyboardInterrupt

    monkeypatch.setattr(PlainWire, "put", struck)
    monkeypatch.setattr(PlainWire, "put_one", struck)

    async with joined() as pair:
        answer, lost = Answer(), Answer()
        for number in range(20):
            strike[0] = True
            with pytest.raises(KeyboardInterrupt):
                pair.a.send_request(Call("bench", "get", (number,)), lost)
            pair.a.cancel_request(lost.number)
            pair.a.send_request(Call("bench", "get", (number, "again")), answer)
            await until(lambda number=number: len(answer.got) == number + 1)  # type: ignore[misc]
        assert [reply.value for reply in answer.got] == [(number, "again") for number in range(20)]
        await until(lambda: pair.a.open_requests == 0)


async def test_a_connection_that_breaks_while_writing_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    async with joined() as pair:

        def broken(self: PlainWire, unsent: Unsent) -> None:
            raise BrokenPipeError(32, "Broken pipe")

        monkeypatch.setattr(PlainWire, "put", broken)
        monkeypatch.setattr(PlainWire, "put_one", broken)
        answer = Answer()
        pair.a.send_request(GET, answer)
        await until(lambda: answer.got)
        assert isinstance(answer.got[0].error, QMI_NotDeliveredException)
        assert pair.a.loss == PeerLost(LossKind.DISCONNECTED, "the connection was lost: Broken pipe")
