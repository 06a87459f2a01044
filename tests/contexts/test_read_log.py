"""The log of a context is read from elsewhere, without a gap, as soon as there is something."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from qmi.actors.future import QMI_RpcFuture
from qmi.contexts import log_reader as module
from qmi.core.context import Context, LogBatch, QMI_Context
from qmi.core.exceptions import QMI_InvalidValueException
from qmi.runtime.log_ring import LogRing
from tests.support.lab import make_context, two_contexts


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> LogRing:
    ring = LogRing(records=5)
    ring.feeders = 1
    monkeypatch.setattr(module.LogReader.__init__, "__kwdefaults__", {"ring": ring})
    return ring


@pytest.fixture
def lab(ring: LogRing) -> Iterator[QMI_Context]:
    with make_context("lab") as lab:
        yield lab


def log(ring: LogRing, *texts: str, level: int = logging.INFO) -> None:
    for text in texts:
        ring.add(logging.makeLogRecord({"levelno": level, "name": "lab.laser"}), text, "lab")


def read(context: QMI_Context, name: str = "lab", **arguments: Any) -> LogBatch:
    return LogBatch.from_plain(context.make_peer_context_proxy(name).read_log(**arguments))


def begin(context: QMI_Context, name: str = "lab", **arguments: Any) -> QMI_RpcFuture[Any]:
    future: QMI_RpcFuture[Any] = context.make_peer_context_proxy(name).rpc_nonblocking.read_log(**arguments)
    return future


def texts(batch: LogBatch) -> list[str]:
    return [record.message for record in batch.records]


def listeners(ring: LogRing) -> int:
    return len(ring._listeners)


def test_log_is_read_at_once_and_read_on(lab: QMI_Context, ring: LogRing) -> None:
    assert read(lab).records == ()
    log(ring, "a", "b", "c")
    newest = read(lab, limit=2)
    assert (texts(newest), newest.last, newest.kept, newest.run) == (["b", "c"], 3, True, ring.run)
    assert texts(read(lab, after=0, limit=2)) == ["a", "b"]
    assert texts(read(lab, after=2)) == ["c"]
    assert read(lab, after=3).records == ()
    record = newest.records[-1]
    assert (record.number, record.level, record.logger, record.context) == (3, logging.INFO, "lab.laser", "lab")


def test_log_is_answered_as_soon_as_there_is_something(lab: QMI_Context, ring: LogRing) -> None:
    waiting = begin(lab, after=0, level="WARNING", wait=60)
    lab.async_context.run(_nothing).wait()  # the request stands
    log(ring, "low")
    log(ring, "a", "b", level=logging.ERROR)
    batch = LogBatch.from_plain(waiting.wait(20))
    assert texts(batch)[0] == "a"
    assert listeners(ring) == 0


async def _nothing() -> None:
    pass


def test_log_of_another_program_is_followed_without_a_gap(ring: LogRing) -> None:
    with two_contexts() as (_, client):
        seen: list[str] = []
        after = 0
        for number in range(20):
            waiting = begin(client, "server", after=after, wait=60, run=ring.run)
            log(ring, str(number))
            batch = LogBatch.from_plain(waiting.wait(20))
            assert batch.lost == 0
            seen += texts(batch)
            after = batch.last
        assert seen == [str(number) for number in range(20)]
        assert listeners(ring) == 0


def test_gap_is_told_at_once(lab: QMI_Context, ring: LogRing) -> None:
    log(ring, *"abcdefg")
    batch = read(lab, after=1, wait=60)
    assert (texts(batch), batch.lost) == (list("cdefg"), 1)
    log(ring, "x", level=logging.ERROR)
    log(ring, *"12345")
    batch = read(lab, after=7, level="ERROR", wait=60)  # the one that was wanted is gone
    assert (batch.records, batch.lost, batch.last) == ((), 1, 13)


def test_reader_that_waited_for_errors_is_told_of_no_gap_of_others(lab: QMI_Context, ring: LogRing) -> None:
    waiting = begin(lab, after=0, level="ERROR", wait=60)
    log(ring, *"abcdefg")
    log(ring, "x", level=logging.ERROR)
    batch = LogBatch.from_plain(waiting.wait(20))
    assert (texts(batch), batch.lost) == (["x"], 0)


def test_log_of_a_program_that_was_started_again_is_read_from_its_beginning(lab: QMI_Context, ring: LogRing) -> None:
    log(ring, "a")
    batch = read(lab, after=100, run="another", wait=60)
    assert (texts(batch), batch.run, batch.lost) == (["a"], ring.run, 0)


def test_reader_that_waits_in_vain_gets_an_empty_answer(lab: QMI_Context, ring: LogRing) -> None:
    log(ring, "a")
    batch = read(lab, after=1, wait=0.01)
    assert (batch.records, batch.last) == ((), 1)
    assert listeners(ring) == 0


def test_reader_that_gives_up_is_forgotten(ring: LogRing) -> None:
    with two_contexts() as (server, client):
        waiting = begin(client, "server", after=0, wait=3000)
        own = begin(server, "server", after=0, wait=3000)
        client.make_peer_context_proxy("server").get_pid()  # the request stands
        server.async_context.run(_nothing).wait()
        assert listeners(ring) == 2
        own.cancel()
        waiting.cancel()
        client.make_peer_context_proxy("server").get_pid()
        server.async_context.run(_nothing).wait()
        assert listeners(ring) == 0


def test_reader_of_a_context_that_stops_gets_an_error(ring: LogRing) -> None:
    with make_context("lab") as lab:
        waiting = begin(lab, after=0, wait=3000)
        lab.async_context.run(_nothing).wait()
    assert waiting.error() is not None
    assert listeners(ring) == 0


def test_program_without_logging_says_that_nothing_is_kept(lab: QMI_Context, ring: LogRing) -> None:
    ring.feeders = 0
    assert not read(lab).kept


async def test_log_in_a_trio_program(trio_lab: Context, ring: LogRing) -> None:
    log(ring, "a")
    proxy = await trio_lab.get_rpc_object("$context")
    assert texts(LogBatch.from_plain(await proxy.read_log(after=0, wait=60))) == ["a"]


def test_guest_may_read_the_log(ring: LogRing) -> None:
    with two_contexts(context={"operators": ["control"]}) as (_, client):
        log(ring, "a")
        assert texts(read(client, "server")) == ["a"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"after": -1}, "after must be None or the number of a record, got -1"),
        ({"after": "x"}, "after must be None or the number of a record, got 'x'"),
        ({"after": True}, "after must be None or the number of a record, got True"),
        ({"limit": 0}, "limit must be 1 to 1000 records, got 0"),
        ({"limit": 1001}, "limit must be 1 to 1000 records, got 1001"),
        ({"limit": None}, "limit must be 1 to 1000 records, got None"),
        ({"wait": -1}, "wait must be 0 to 3600 seconds, got -1"),
        ({"wait": float("nan")}, "wait must be 0 to 3600 seconds, got nan"),
        ({"wait": "1"}, "wait must be 0 to 3600 seconds, got '1'"),
        (
            {"level": "WARN1NG"},
            "level must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL; did you mean WARNING?, got 'WARN1NG'",
        ),
        ({"level": -1}, "level must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, got -1"),
        ({"level": None}, "level must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, got None"),
    ],
)
def test_request_that_makes_no_sense_is_refused(lab: QMI_Context, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(QMI_InvalidValueException) as caught:
        read(lab, **arguments)
    assert str(caught.value) == text


@pytest.mark.parametrize("level", ["warning", "WARNING", logging.WARNING])
def test_level_is_a_name_or_a_number(lab: QMI_Context, ring: LogRing, level: object) -> None:
    log(ring, "a")
    log(ring, "b", level=logging.WARNING)
    assert texts(read(lab, level=level)) == ["b"]
