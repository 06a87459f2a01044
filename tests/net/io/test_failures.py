from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

from qmi.net.io.failures import Failures
from qmi.net.protocol.bounds import describe_error


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("x"), "ValueError: x"),
        (MemoryError(), "MemoryError"),
        (Unprintable(), "Unprintable"),
        (ValueError("a\x1b[2J\nb"), "ValueError: a\\x1b[2J\\nb"),
        (KeyError("x" * 1000), "KeyError: '" + "x" * 299),
        (ExceptionGroup("g", [ExceptionGroup("h", [OSError(24, "full")])]), "OSError: [Errno 24] full"),
        (ValueError(10**5000), "ValueError"),
    ],
    ids=range(7),
)
def test_describing_an_error_is_short_and_safe(error: BaseException, text: str) -> None:
    assert describe_error(error) == text


def test_fault_is_counted_and_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures()
    try:
        raise ValueError("x")
    except ValueError as error:
        failures.fault("link", "The link ends", error)
    assert failures.counts() == {"link: fault of this program": 1}
    assert caplog.messages == ["The link ends: ValueError: x"]
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("error", [MemoryError, RecursionError, ValueError])
def test_fault_that_cannot_be_logged_is_counted_all_the_same(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise error

    failures = Failures()
    monkeypatch.setattr("qmi.net.io.failures._logger.log", broken)
    failures.fault("dial", "Connecting ends", ValueError())
    assert failures.counts() == {"dial: fault of this program": 1}


def test_lines_of_one_cause_share_a_limit_and_what_is_kept_back_is_told(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    kept: list[float] = []
    failures = Failures(lambda: now[0])
    failures.on_kept = lambda: kept.append(now[0])
    for number in range(5):
        failures.report("a", logging.WARNING, "line %d", number)
        failures.report("b", logging.WARNING, "other %d", number)
    assert caplog.messages == ["line 0", "other 0"]
    assert kept == [0.0, 0.0]
    assert failures.tell_kept()
    now[0] = 1.0
    failures.report("a", logging.WARNING, "line %d", 5)
    assert not failures.tell_kept()
    assert caplog.messages[2:] == [
        "line 5 (and 4 more like it since the last such line)",
        "other 4 (the last of 4 such lines that were not written)",
    ]
    failures.report("a", logging.WARNING, "line %d", 6)
    assert not failures.tell_kept(now=True)
    assert caplog.messages[4:] == ["line 6 (the last of 1 such lines that were not written)"]


@pytest.mark.parametrize("error", [ValueError("x"), ExceptionGroup("g", [ValueError("x")])])
async def test_contained_task_fails_alone(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def failing() -> None:
        raise error

    failures = Failures()
    await failures.contain("link", "It ends", failing)
    assert caplog.messages == ["It ends: ValueError: x"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_contained_task_lets_what_ends_a_program_pass(error: type[BaseException]) -> None:
    async def failing() -> None:
        raise error

    with pytest.raises(error):
        await Failures().contain("link", "It ends", failing)


async def test_contained_task_can_be_cancelled_while_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def part() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("x")

    async def failing() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(part)
            nursery.start_soon(trio.sleep_forever)

    with trio.move_on_after(0) as scope:
        await Failures().contain("link", "It ends", failing)
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert caplog.messages == ["It ends: ValueError: x"]
