"""What the system has not left for a link, a dial or a question: threads, descriptors, memory; floods of strangers."""

from __future__ import annotations

import errno
import gc
import logging
import socket
import threading
import weakref
from typing import Any

import pytest
import trio
import trio.testing

from qmi.contexts.async_context import Context
from qmi.errors import QMI_ConnectionException, QMI_UsageException
from qmi.net.io import failures as failures_module
from qmi.peers.peer_connection import Former
from tests.support.devices import Bench
from tests.support.lab import address, config, make_context
from tests.support.raw import client
from tests.support.waiting import until, wait_until

RESOURCES = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM]


# No thread left


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError(), OSError(errno.EAGAIN, "no")])
def test_fault_43_link_is_read_by_the_loop_when_there_is_no_thread_left(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused = threading.Event()

    def no_thread(*_: object) -> None:
        refused.set()
        raise error

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", no_thread)
    with make_context("srv") as srv, make_context("here") as here:
        srv.make_instrument("bench", Bench)
        here.connect_to_peer("srv", address(srv))
        bench = here.get_instrument("srv.bench")
        number = 0
        while not refused.is_set():  # enough calls in a short time are a rush
            number += 1
            assert bench.echo(number) == number
        assert bench.echo("after") == "after"
        assert here.has_peer_context("srv")
        assert here.network_failures().get("link: no thread", 0) + srv.network_failures().get("link: no thread", 0) >= 1
    lines = [record for record in caplog.records if "There is no thread to read the link" in record.getMessage()]
    assert 1 <= len(lines) <= 2  # each of the two contexts may have been refused
    assert "fault of this program" not in caplog.text


def test_fault_43_links_work_when_there_is_no_thread_to_keep_them_alive_with(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, refusals = threading.Thread.start, list[threading.Thread]()

    def refuse(self: threading.Thread) -> None:
        if self.name == "qmi-lifesigns" and len(refusals) < 2:
            refusals.append(self)
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with make_context("srv") as srv, make_context("here") as here:
        srv.make_instrument("bench", Bench)
        here.connect_to_peer("srv", address(srv))
        assert here.get_instrument("srv.bench").echo(1) == 1
        here.disconnect_from_peer("srv")
        here.connect_to_peer("srv", address(srv))  # the next link tries again
        assert here.get_instrument("srv.bench").echo(2) == 2
    assert caplog.text.count("There is no thread to keep links alive with") == 2


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError("no")])
def test_fault_43_dial_that_finds_no_thread_to_look_a_name_up_says_so(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_thread(*args: Any, **kwargs: Any) -> Any:
        raise error

    with make_context("srv") as srv, make_context("here") as here:
        srv.make_instrument("bench", Bench)
        here.connect_to_peer("srv", address(srv))
        with monkeypatch.context() as patched:
            patched.setattr("qmi.peers.connector.trio.open_tcp_stream", no_thread)
            with pytest.raises(QMI_ConnectionException, match="the system has nothing left to connect with"):
                here.connect_to_peer("other", "no.such.host.invalid:1")
        assert here.get_instrument("srv.bench").echo(1) == 1


# No descriptor left


class Scarce:
    """Stands for a module ``socket`` whose sockets cannot be made for a while."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors = errors

    def socket(self, *args: Any, **kwargs: Any) -> socket.socket:
        if self.errors:
            raise self.errors.pop(0)
        return socket.socket(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)


@pytest.mark.parametrize("number", RESOURCES)
def test_fault_43_question_is_asked_when_there_is_a_descriptor_again(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_context("srv"), make_context("here") as here:
        monkeypatch.setattr("qmi.net.discovery.udp.socket", Scarce([OSError(number, "none left")] * 2))
        assert [found.name for found in here.discover_peer_contexts(context_name_filter="srv")] == ["srv"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [*(OSError(number, "none") for number in RESOURCES), OSError(errno.EPERM, "no"), MemoryError("none left")]
)  # fmt: skip
def test_fault_43_question_that_finds_no_descriptor_is_an_error_of_the_one_who_asks(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with make_context("srv") as srv:
        bench = srv.make_instrument("bench", Bench)
        with monkeypatch.context() as patched:
            patched.setattr("qmi.net.discovery.udp.socket", Scarce([error] * 1000))
            for ask in (srv.discover_peer_contexts, lambda: srv.connect_to_peer("nowhere")):
                with pytest.raises(QMI_ConnectionException, match="The network cannot be asked"):
                    ask()
            with pytest.raises(QMI_ConnectionException, match="The network cannot be asked"):
                srv.get_instrument("nowhere.bench", auto_connect=True)
        assert bench.echo(1) == 1
    assert "fault of this program" not in caplog.text


def test_pattern_that_is_too_long_to_ask_for_is_a_usage_error() -> None:
    with make_context("here") as here, pytest.raises(QMI_UsageException, match="at most 128 characters"):
        here.discover_peer_contexts(context_name_filter="x" * 129)


@pytest.mark.parametrize("number", RESOURCES)
def test_fault_43_dial_that_finds_no_descriptor_is_tried_again_where_reconnecting_is_on(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Event()
    failing = [True]

    async def scarce(*args: Any, **kwargs: Any) -> Any:
        if failing[0]:
            refused.set()
            raise OSError(number, "none left")
        return await open_tcp_stream(*args, **kwargs)

    open_tcp_stream = trio.open_tcp_stream
    with make_context("srv") as srv, make_context("here") as here:
        srv.make_instrument("bench", Bench)
        here.connect_to_peer("srv", address(srv), reconnect=True)
        monkeypatch.setattr("qmi.peers.connector.trio.open_tcp_stream", scarce)
        link = srv.async_context.connections.link_to("here")
        assert link is not None
        link.loop.soon(link.fault, "being tested", ValueError("a fault"))
        assert refused.wait(10)
        failing[0] = False
        wait_until(lambda: here.has_peer_context("srv"))
        assert here.get_instrument("srv.bench").echo(1) == 1


# Those who are gone, and those who come to nothing


async def test_client_that_is_gone_leaves_its_name_and_not_its_link() -> None:
    async with Context("srv", config("srv")).running() as srv:
        await srv.make_instrument("bench", Bench)
        links = []
        for number in range(5):
            async with client(srv, f"raw{number}"):
                link = srv.connections.link_to(f"raw{number}")
                assert link is not None
                links.append((weakref.ref(link), weakref.ref(link._connection), weakref.ref(link._delivery)))
                ended = link.ended
                del link
            await ended.wait()
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        assert [parts for parts in links if any(part() is not None for part in parts)] == []
        former = srv.connections._previous
        assert list(former) == [f"raw{number}" for number in range(5)]
        assert all(type(one) is Former for one in former.values())


def flood(port: int, count: int, data: bytes) -> None:
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(data)


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n\r\n", b"QMI\x02\x00", b"QMI\x01\x00" + b"\xff" * 16])
def test_fault_44_flood_of_strangers_is_one_line_a_second_with_a_count(
    data: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    time = [1000.0]
    monkeypatch.setattr("qmi.peers.connections.Failures", lambda: failures_module.Failures(lambda: time[0]))
    with make_context("srv") as srv:
        bench = srv.make_instrument("bench", Bench)
        for second in range(3):
            count = 30 * (second + 1)
            flood(srv.get_tcp_server_port(), 30, data)
            wait_until(lambda count=count: srv.network_failures().get("connection: came to nothing") == count)  # type: ignore[misc]
            time[0] += 1.0
        assert bench.echo(1) == 1
    lines = [record.getMessage() for record in caplog.records if "came to nothing" in record.getMessage()]
    assert 3 <= len(lines) <= 6, lines
    assert told(lines) == 90


def told(lines: list[str]) -> int:
    """How many lines these stand for."""
    total = 0
    for line in lines:
        *_, more = line.rpartition("(and ")
        number = int(more.split()[0]) if "more like it" in line else 0
        kept = int(line.rpartition("the last of ")[2].split()[0]) if "such lines that were" in line else 0
        total += kept or number + 1
    return total


async def test_fault_44_peers_that_come_and_go_are_told_within_limits(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async with Context("srv", config("srv")).running() as srv:
        for number in range(300):
            async with client(srv, f"raw{number}"):
                pass
        await until(lambda: not srv.connections.names())
    for words in ("Connected to context raw", "is gone"):
        assert len([record for record in caplog.records if words in record.getMessage()]) < 120
