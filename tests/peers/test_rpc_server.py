"""What only a clever or a broken peer does."""

from __future__ import annotations

from typing import Any

import pytest

from qmi.actors.streams import ActorStream
from qmi.core.exceptions import QMI_RuntimeException
from qmi.messages import Acquire, Call, Failure, Origin, Signal, Token
from qmi.peers.rpc_server import Serving
from tests.support.links import Lab


class FakeLink:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.sent.append((name, *args))


def test_a_fault_of_this_program_is_an_answer_and_not_the_end_of_the_link() -> None:
    class Home:
        name = "home"

        def request_here(self, message: Any, origin: Origin, link: Any, answer: Any) -> None:
            raise AssertionError("a fault")

        def signals_here(self, signals: list[Signal], publisher_context: str) -> None: ...

    link: Any = FakeLink()
    serving = Serving(Home(), link, Origin("peer", "1"))
    serving.request(1, Call("x", "y"))
    [(name, number, reply)] = link.sent
    assert (name, number, str(reply.error)) == ("send_reply", 1, "a fault")
    assert serving.count == 0
    serving.cancel(1)
    serving.credit(1)


def test_answer_that_fails_to_be_sent_ends_the_link_and_not_the_thread() -> None:
    class Broken(FakeLink):
        def send_reply(self, number: int, reply: Any) -> None:
            raise RuntimeError("a fault")

    class Home:
        name = "home"

        def request_here(self, message: Any, origin: Origin, link: Any, answer: Any) -> None:
            assert answer.set_result(None)

        def signals_here(self, signals: list[Signal], publisher_context: str) -> None: ...

    link: Any = Broken()
    Serving(Home(), link, Origin("peer", "1")).request(1, Call("x", "y"))
    [(what, doing, error)] = link.sent  # the caller would wait for ever, did the link not end
    assert (what, doing, str(error)) == ("fault", "answering a request to x", "a fault")


class Items(ActorStream):
    """A stream of which nobody takes an item."""

    left = 0

    def __init__(self) -> None:
        pass

    def leave(self) -> Any:
        self.left += 1


def test_a_consumer_who_leaves_while_the_stream_opens_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    stream = Items()

    class Crossing(FakeLink):
        def open_stream(self, number: int) -> None:
            serving.cancel(number)
            raise QMI_RuntimeException(f"Request {number} is not open")

    class Home:
        name = "home"

        def request_here(self, message: Any, origin: Origin, link: Any, answer: Any) -> None:
            assert answer.set_result(stream)

        def signals_here(self, signals: list[Signal], publisher_context: str) -> None: ...

    link: Any = Crossing()
    serving = Serving(Home(), link, Origin("peer", "1"))
    serving.request(1, Call("x", "y"))
    [(name, _, reply)] = link.sent
    assert (name, type(reply)) == ("send_reply", Failure)
    assert (stream.left, serving.count, caplog.text) == (1, 0, "")


class Meddler:
    """A context whose links end just before what came on them is handed on."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.name = kernel.name
        self.origin = Origin("peer", "1")
        link: Any = FakeLink()
        self.serving = Serving(self, link, self.origin)

    def request_here(self, message: Any, origin: Origin, link: Any, answer: Any) -> None:
        if not self.serving._ended:
            self.serving.end()
            self.kernel.peer_gone(self.origin, "lost", True)
        self.kernel.request_here(message, origin, link, answer)

    def signals_here(self, signals: list[Signal], publisher_context: str) -> None: ...


def test_a_lock_that_is_asked_for_while_the_link_ends_stays_with_nobody(lab: Lab) -> None:
    kernel = lab.there.async_context
    Meddler(kernel).serving.request(1, Acquire("bench", Token("x"), 10.0))
    assert not lab.bench.is_locked()
    assert lab.bench.lock()
    waiting = Meddler(kernel)
    waiting.serving.request(1, Acquire("bench", Token("x"), 10.0))
    assert lab.bench.unlock()
    assert not lab.bench.is_locked()
    assert waiting.serving.count == 0


def test_a_call_that_comes_while_the_link_ends_is_withdrawn(lab: Lab) -> None:
    blocking = lab.bench.rpc_nonblocking.block()
    assert lab.actual().entered.wait(10)
    gone = Meddler(lab.there.async_context)
    gone.serving.request(1, Call("bench", "note", (1,)))
    assert gone.serving.count == 0
    lab.actual().gate.set()
    assert blocking.wait(10) == "done"
    assert lab.bench.notes() == ["block ended"]
