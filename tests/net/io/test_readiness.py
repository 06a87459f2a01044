from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from qmi.net.io.readiness import Readiness, readiness_of

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="Linux only")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as near:
        far, _ = listener.accept()
        with far:
            yield near, far


@pytest.fixture
def readiness(ends: tuple[socket.socket, socket.socket]) -> Iterator[Readiness]:
    made = readiness_of(ends[0].fileno())
    assert made.can_stand_by
    yield made
    made.close()


def test_stand_by_is_woken_where_no_reader_waits(
    readiness: Readiness, ends: tuple[socket.socket, socket.socket]
) -> None:
    assert readiness.stand_by(10_000), "the first time, what was called before may have been missed"
    assert not readiness.stand_by(0)
    ends[1].send(b"a")
    assert readiness.stand_by(10_000)
    assert readiness.wait(0)
    ends[0].recv(1)
    assert not readiness.stand_by(0)
    assert not readiness.wait(0)
    assert not readiness.wait(1)


def test_stand_by_ends_at_a_call_that_counts_once(readiness: Readiness) -> None:
    readiness.call()
    assert readiness.stand_by(10_000)
    assert not readiness.stand_by(0)
    readiness.call()
    readiness.call()
    assert readiness.stand_by(10_000)
    assert not readiness.stand_by(0)


def test_stand_by_is_passed_by_while_a_reader_waits(
    readiness: Readiness, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    readiness.stand_by(0)
    deadline = time.monotonic() + 10
    woken = True
    while woken:  # at first the reader may not wait yet
        assert time.monotonic() < deadline
        begun = threading.Event()
        found: list[bool] = []

        def read(begun: threading.Event = begun, found: list[bool] = found) -> None:
            begun.set()
            found.append(readiness.wait(10_000))

        reader = threading.Thread(target=read)
        reader.start()
        begun.wait()
        far.send(b"a")
        reader.join()
        assert found == [True]
        woken = readiness.stand_by(0)
        near.recv(1)
        readiness.stand_by(0)


def test_end_of_the_connection_wakes_both(readiness: Readiness, ends: tuple[socket.socket, socket.socket]) -> None:
    found: list[bool] = []
    readiness.stand_by(0)
    threads = [
        threading.Thread(target=lambda wait=wait: found.append(wait(10_000)))
        for wait in (readiness.wait, readiness.stand_by)
    ]
    for thread in threads:
        thread.start()
    ends[0].shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    assert found == [True, True]


@pytest.mark.parametrize("lacks", ["os.eventfd", "select.epoll", "qmi.net.io.readiness._exclusive"])
def test_readiness_without_descriptors_waits_by_poll(
    lacks: str, readiness: Readiness, ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError("no descriptor left")

    monkeypatch.setattr(lacks, refuse)
    assert readiness.stand_by(10_000)
    assert not readiness.can_stand_by
    readiness.call()
    assert not readiness.wait(0)
    ends[1].send(b"a")
    assert readiness.wait(10_000)
