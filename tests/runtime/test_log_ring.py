"""The last log records are kept in memory, numbered, within bounds, and who waits for one is woken."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmi.config.schema import CfgLogging, CfgQmi
from qmi.runtime import logs as module
from qmi.runtime.log_ring import LogRing
from qmi.runtime.logs import keep_records, setup_logging


def record(message: str = "x", level: int = logging.INFO, name: str = "qmi.x", **more: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "levelno": level, "name": name, "created": 5.0, **more})


def fill(ring: LogRing, *levels: int, message: str = "x") -> None:
    for level in levels:
        ring.add(record(message, level), message, "lab")


def numbers(ring: LogRing, after: int | None = 0, level: int = 0, limit: int = 100) -> list[int]:
    return [entry.number for entry in ring.read(after, level, limit).entries]


def test_records_are_numbered_and_read_on() -> None:
    ring = LogRing()
    fill(ring, 20, 30, 20)
    part = ring.read(0, 0, 2)
    assert ([entry.number for entry in part.entries], part.last, part.lost) == ([1, 2], 2, 0)
    part = ring.read(part.last, 0, 2)
    assert ([entry.number for entry in part.entries], part.last, part.lost) == ([3], 3, 0)
    assert ring.read(3, 0, 2) == ([], 3, 0)
    assert ring.read(0, 30, 2).last == 3  # what is not wanted has been looked through
    assert numbers(ring, None, limit=2) == [2, 3]
    assert numbers(ring, None, level=30) == [2]


@pytest.mark.parametrize(
    ("levels", "after", "level", "lost"),
    [
        ((20,) * 5, 0, 0, 2),
        ((20,) * 5, 1, 0, 1),
        ((20,) * 5, 2, 0, 0),
        ((20,) * 5, 0, 30, 0),  # none of those that are gone was wanted
        ((30, 20, 20, 20, 20), 0, 30, 2),
        ((30, 20, 20, 20, 20), 1, 30, 0),
        ((20,) * 3, 0, 0, 0),
        ((20,) * 5, None, 0, 0),
    ],
)
def test_gap_is_told_where_wanted_records_are_gone(
    levels: tuple[int, ...], after: int | None, level: int, lost: int
) -> None:
    ring = LogRing(records=3)
    fill(ring, *levels)
    assert ring.read(after, level, 10).lost == lost
    assert len(ring.read(0, 0, 10).entries) == 3


def test_long_records_are_cut_and_the_oldest_go() -> None:
    ring = LogRing(records=1000, size=50_000)
    for _ in range(100):
        fill(ring, 20, message="y" * 100_000)
    entries = ring.read(0, 0, 1000).entries
    assert 5 < len(entries) < 15
    assert entries[-1].number == 100
    assert len(entries[-1].message) < 5_000
    assert entries[-1].message.endswith("more characters)")


def test_one_record_stays_however_large_it_is() -> None:
    ring = LogRing(size=10)
    fill(ring, 20, 20)
    assert numbers(ring) == [2]


def test_record_has_its_traceback_and_nothing_that_a_terminal_obeys() -> None:
    ring = LogRing()
    try:
        raise ValueError("a\x1b[31m")
    except ValueError:
        ring.add(record(exc_info=sys.exc_info()), "b\x07\nc", "lab")
    (entry,) = ring.read(0, 0, 1).entries
    assert entry.message == "b\\x07\nc"
    assert entry.trace.startswith("Traceback")
    assert "\x1b" not in entry.trace
    assert (entry.time, entry.level, entry.logger, entry.context) == (5.0, logging.INFO, "qmi.x", "lab")


def test_listener_is_woken_by_what_it_wants() -> None:
    ring = LogRing()
    woken: list[str] = []
    end = ring.listen(30, lambda: woken.append("a"))
    ring.listen(0, lambda: woken.append("b"))
    fill(ring, 20, 30)
    assert woken == ["b", "a", "b"]
    end()
    fill(ring, 30)
    assert woken == ["b", "a", "b", "b"]


def test_totals_count_what_is_gone_too() -> None:
    ring = LogRing(records=1)
    fill(ring, 20, 30, 30, 40, 50)
    assert (ring.total(30, 40), ring.total(40), ring.total(0)) == (2, 2, 5)


def test_record_of_a_signal_handler_amid_another_one_is_in_order() -> None:
    ring = LogRing()

    class Interrupting:
        """Numbers, of which the second is taken amid the first, as a signal handler may."""

        def __init__(self) -> None:
            self.given = 0

        def __next__(self) -> int:
            self.given += 1
            if self.given == 1:
                fill(ring, 30)
                return 1
            return self.given

    ring._numbers = Interrupting()  # type: ignore[assignment]
    fill(ring, 20)
    assert numbers(ring) == [1, 2]
    assert ring.read(0, 0, 10).last == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_child_can_log_although_another_thread_held_the_ring() -> None:
    ring = LogRing()
    ring.listen(0, lambda: os._exit(3))
    before = ring.run
    ring._mutex.acquire()
    ring.abandon()
    fill(ring, 20)
    assert numbers(ring) == [1]
    assert ring.run != before


# What feeds it


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[LogRing]:
    ring = LogRing()
    monkeypatch.setattr(module, "LOG_RING", ring)
    logger = logging.getLogger("lab.laser")
    before = logging.getLogger().level, logger.level
    yield ring
    logging.getLogger().setLevel(before[0])
    assert ring.feeders == 0


def told(ring: LogRing) -> list[tuple[str, str]]:
    return [(entry.message, entry.context) for entry in ring.read(0, 0, 100).entries]


def test_log_keeps_what_it_writes(ring: LogRing, home: Path) -> None:
    config = CfgQmi(logging=CfgLogging(loglevel="INFO", console_loglevel="CRITICAL", logfile=None))
    logs = setup_logging(config, "lab")
    logging.getLogger().setLevel(logging.DEBUG)
    logger = logging.getLogger("lab.laser")
    logger.debug("too low")
    logger.info("cold")
    logs.uninstall()
    logger.error("after the end")
    assert told(ring) == [("cold", "lab")]


def test_log_of_several_contexts_keeps_each_record_once(ring: LogRing, home: Path) -> None:
    config = CfgQmi(logging=CfgLogging(console_loglevel="CRITICAL", logfile=None))
    first, second = setup_logging(config, "lab"), setup_logging(config, "desk")
    assert ring.feeders == 2
    logging.getLogger("lab.laser").warning("warm")
    first.uninstall()
    logging.getLogger("lab.laser").warning("hot")
    second.uninstall()
    second.uninstall()
    assert told(ring) == [("warm", "lab"), ("hot", "desk")]


def test_log_keeps_the_count_of_what_was_suppressed(ring: LogRing, home: Path) -> None:
    config = CfgQmi(logging=CfgLogging(console_loglevel="CRITICAL", logfile=None, rate_limit=1.0, burst_limit=1))
    logs = setup_logging(config, "lab")
    for _ in range(4):
        logging.getLogger("lab.laser").warning("warm")
    logs.uninstall()
    assert told(ring) == [("warm", "lab"), ("warm (3 more like this were suppressed)", "lab")]


def test_log_of_the_user_is_kept_beside_its_handlers(ring: LogRing) -> None:
    root = logging.getLogger()
    assert root.handlers  # those of pytest
    before = list(root.handlers)
    logs = keep_records("lab")
    logging.getLogger("lab.laser").warning("warm")
    assert ring.feeders == 1
    logs.uninstall()
    logs.uninstall()
    assert root.handlers == before
    assert told(ring) == [("warm", "lab")]


def test_program_without_handlers_gets_none(ring: LogRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logs = keep_records("lab")
    assert logging.getLogger().handlers == []
    logs.uninstall()
