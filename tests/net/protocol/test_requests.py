"""Requests that were forgotten: their answers are dropped; and which of them have begun to go out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qmi.net.limits import Buffer, ProtocolError
from qmi.net.protocol.requests import OpenRequests
from tests.support.writing import Bench, Clock

ANSWERS: dict[str, Callable[[OpenRequests, int], bool]] = {
    "value": lambda requests, number: requests.answered(number, by_value=True),
    "failure": lambda requests, number: requests.answered(number),
    "stream": lambda requests, number: requests.stream_opened(number),
    "item": lambda requests, number: requests.item_came(number),
    "end of a stream": lambda requests, number: requests.stream_ended(number),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answer_to_a_request_that_is_not_open_any_more_is_dropped(answer: Callable[[OpenRequests, int], bool]) -> None:
    requests = OpenRequests(10)
    number = requests.ask("one.method")
    requests.queued.discard(number)
    assert requests.answered(number)
    assert not answer(requests, number)
    forgotten = requests.ask("one.method")
    assert not requests.cancel(forgotten)  # nothing of it had gone out
    assert not answer(requests, forgotten)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answer_to_what_was_never_asked_ends_the_link(answer: Callable[[OpenRequests, int], bool]) -> None:
    requests = OpenRequests(10)
    waiting = requests.ask("one.method")
    for number in (0, -1, waiting, waiting + 1, 1 << 40):
        with pytest.raises(ProtocolError, match="was not asked"):
            answer(requests, number)


def test_request_that_was_taken_back_has_not_gone_out() -> None:
    requests = OpenRequests(10)
    number = requests.ask("one.method")
    requests.queued.discard(number)
    requests.taken_back(number)
    assert not requests.cancel(number)
    assert requests.asked_count == 0
    requests.taken_back(number)
    assert requests.asked_count == 0


@pytest.mark.parametrize("in_one_step", [True, False])
def test_request_has_begun_before_its_first_byte_is_out(in_one_step: bool) -> None:
    bench = Bench(Clock(), in_one_step=in_one_step)
    seen: list[list[int]] = []
    write = bench.wire.write

    def watched(buffer: Buffer) -> int:
        seen.append(list(bench.begun))
        return write(buffer)

    bench.wire.write = watched  # type: ignore[method-assign]
    bench.say("request", 1)
    assert (seen, bench.begun) == ([[1]], [1])


@pytest.mark.parametrize("in_one_step", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, BlockingIOError, ConnectionResetError, ValueError])
def test_request_of_which_nothing_was_taken_has_not_begun(error: type[BaseException], in_one_step: bool) -> None:
    bench = Bench(Clock(), in_one_step=in_one_step)

    def write(buffer: Buffer) -> int:
        raise error

    bench.wire.write = write  # type: ignore[method-assign]
    try:
        bench.say("request", 1)
    except KeyboardInterrupt:
        assert error is KeyboardInterrupt
    assert bench.begun == []
    assert bench.out.size == len("request")
    assert bool(bench.stalled) is (error is BlockingIOError)
    assert bool(bench.out.fault) is (error not in (KeyboardInterrupt, BlockingIOError))


def test_request_that_was_interrupted_behind_its_first_byte_has_begun() -> None:
    bench = Bench(Clock(), in_one_step=False)

    def put(unsent: object) -> None:
        unsent.counts.append(3)  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    bench.wire.put = put  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        bench.say("request", 1)
    assert bench.begun == [1]
