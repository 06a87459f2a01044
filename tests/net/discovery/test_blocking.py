from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from qmi.names import HostPort
from qmi.net.discovery.blocking import ask_blocking
from qmi.net.discovery.packets import reply_to


@contextmanager
def contexts(*names: str, unheard: int = 0) -> Iterator[int]:
    """Answer a question after so many that are lost; gives the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as responder:
        responder.bind(("127.0.0.1", 0))
        responder.settimeout(10)

        def respond() -> None:
            for _ in range(unheard):
                responder.recvfrom(2000)
            data, asker = responder.recvfrom(2000)
            responder.sendto(b"junk", asker)
            for name in names:
                packet = reply_to(
                    data, asker_host=asker[0], name=name, workgroup="lab", host="", port=4001, version="1", pid=12
                )
                if packet is not None:
                    responder.sendto(packet, asker)
                    responder.sendto(packet, asker)

        thread = threading.Thread(target=respond)
        thread.start()
        yield responder.getsockname()[1]
        thread.join(10)


def ask(port: int, pattern: str = "*", **options: float) -> list[tuple[str, HostPort]]:
    given = {"timeout": 10.0, "quiet": 0.1, **options}
    found = ask_blocking("lab", pattern, addresses=["0.0.0.1", "127.0.0.1"], port=port, **given)
    return [(answer.name, answer.address) for answer in found]


def test_contexts_that_answer_are_found_once_by_name() -> None:
    with contexts("b", "a") as port:
        assert ask(port) == [("a", HostPort("127.0.0.1", 4001)), ("b", HostPort("127.0.0.1", 4001))]


def test_names_that_do_not_fit_are_left_out() -> None:
    with contexts("bench", "lab") as port:
        assert [name for name, _ in ask(port, "l*")] == ["lab"]


def test_question_that_is_lost_is_asked_again() -> None:
    with contexts("a", unheard=1) as port:
        assert [name for name, _ in ask(port)] == ["a"]


def test_waiting_ends_with_the_time_where_nobody_answers() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        begin = time.monotonic()
        assert ask(silent.getsockname()[1], timeout=0.05) == []
        assert time.monotonic() - begin >= 0.05


def test_pattern_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        ask(4000, "x" * 1000)
