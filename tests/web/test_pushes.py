"""Pushes: one source for all browsers, the newest value for each, and a count of what it has missed."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import trio
from trio.testing import MockClock

from qmi.core.driver import ScpiInstrument, parameter
from qmi.data import run
from qmi.errors import QMI_InvalidValueException, QMI_RuntimeException
from qmi.presenting.json_values import dumps
from qmi.web import pushes
from qmi.web.pushes import Hub, Topic
from tests.support.shell_driver import ShellSupply
from tests.support.web import Web, pushed, web_and_lab

Push = dict[str, Any]


class Bench:
    """A hub whose sources publish what a test says."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.starts: list[str] = []
        self.ends: list[str] = []
        self.failing: Callable[[str], Awaitable[None]] | None = None
        self.hub = Hub(self.find)

    def find(self, name: str) -> tuple[pushes.Source, bool]:
        if name == "nothing":
            raise QMI_InvalidValueException("there is no topic 'nothing'")

        async def source(topic: Topic) -> None:
            self.topics[name] = topic
            self.starts.append(name)
            if self.failing is not None:
                await self.failing(name)
            try:
                await trio.sleep_forever()
            finally:
                self.ends.append(name)

        return source, name.startswith("list")


def parsed(piece: bytes) -> list[tuple[str, Any, str]]:
    """The events of a piece: kind, what it says, id."""
    found = []
    for block in piece.decode().split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines())
        if fields:
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
    return found


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    async with made.hub.running():
        yield made


async def opened(bench: Bench, *names: str, last: str = "", rate: float = 20.0) -> Any:
    stream = bench.hub.events(list(names), last, rate)
    ((kind, told, _),) = parsed(await anext(stream))
    assert kind == "hello"
    await trio.testing.wait_all_tasks_blocked()
    return stream, told


async def test_source_runs_once_for_all_browsers_and_ends_when_nobody_wants_it(
    bench: Bench, autojump_clock: MockClock
) -> None:
    first, _ = await opened(bench, "a")
    second, _ = await opened(bench, "a", "b")
    assert sorted(bench.starts) == ["a", "b"]
    bench.topics["a"].publish(1)
    for stream in (first, second):
        ((kind, push, _),) = parsed(await anext(stream))
        assert (kind, push["topic"], push["value"], push["missed"]) == ("push", "a", 1, 0)
    await first.aclose()
    await trio.sleep(pushes.LINGER * 2)
    assert bench.ends == []
    await second.aclose()
    await trio.sleep(pushes.LINGER * 2)
    assert sorted(bench.ends) == ["a", "b"]
    assert bench.hub.topics == 0


async def test_page_that_is_loaded_again_has_the_same_source_and_the_newest_value(
    bench: Bench, autojump_clock: MockClock
) -> None:
    stream, _ = await opened(bench, "a")
    bench.topics["a"].publish(5)
    await stream.aclose()
    again, _ = await opened(bench, "a")
    ((_, push, _),) = parsed(await anext(again))
    assert push["value"] == 5
    assert bench.starts == ["a"]
    await again.aclose()


async def test_slow_browser_gets_the_newest_value_and_slows_nobody(bench: Bench, autojump_clock: MockClock) -> None:
    slow, _ = await opened(bench, "a")
    quick, _ = await opened(bench, "a", rate=100.0)
    seen = []
    for value in range(50):
        bench.topics["a"].publish(value)
        ((_, push, _),) = parsed(await anext(quick))
        seen.append((push["value"], push["missed"]))
    assert seen == [(value, 0) for value in range(50)]
    ((_, push, _),) = parsed(await anext(slow))
    assert (push["value"], push["missed"]) == (49, 49)
    bench.topics["a"].publish(50)
    ((_, push, _),) = parsed(await anext(slow))
    assert (push["value"], push["missed"]) == (50, 0)
    await slow.aclose()
    await quick.aclose()


async def test_publishing_waits_for_nobody_and_keeps_no_more_than_is_wanted(
    bench: Bench, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "KEPT_ITEMS", 10)
    stream, _ = await opened(bench, "list", "a")
    for value in range(1000):
        bench.topics["list"].publish(value)
        bench.topics["a"].publish(value)
    found = {push["topic"]: (push["value"], push["missed"]) for _, push, _ in parsed(await anext(stream))}
    assert found == {"list": (list(range(990, 1000)), 990), "a": (999, 999)}
    await stream.aclose()


async def test_value_becomes_json_once_for_all_browsers(
    bench: Bench, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []

    def dumps_and_count(value: object) -> str:
        made.append(value)
        return dumps(value)

    monkeypatch.setattr(pushes, "dumps", dumps_and_count)
    streams = [(await opened(bench, "a", "list"))[0] for _ in range(5)]
    late, _ = await opened(bench, "a", "list")
    for value in range(3):
        bench.topics["a"].publish(value)
        bench.topics["list"].publish(value)
        got = [await anext(stream) for stream in streams]
        entries = [[push for _, push, _ in parsed(piece)] for piece in got]
        assert entries == [entries[0]] * 5
        assert [push["value"] for push in entries[0]] == [value, [value]]
    last = {push["topic"]: (push["value"], push["missed"]) for _, push, _ in parsed(await anext(late))}
    assert last == {"a": (2, 2), "list": ([0, 1, 2], 0)}
    assert len(made) == 6
    for stream in (*streams, late):
        await stream.aclose()


@pytest.mark.parametrize("phase", [0.0, 0.001, 0.02, 0.049])
async def test_values_that_come_at_the_very_rate_of_a_browser_are_all_got(
    bench: Bench, autojump_clock: MockClock, nursery: trio.Nursery, phase: float
) -> None:
    rate, jitter = 20.0, (0.0, 0.012, -0.012, 0.004)
    stream, _ = await opened(bench, "a", rate=rate)
    begin = math.ceil(trio.current_time()) + 1 + phase

    async def publish() -> None:
        for number in range(40):
            await trio.sleep_until(begin + number / rate + jitter[number % len(jitter)])
            bench.topics["a"].publish(number)

    nursery.start_soon(publish)
    got: list[int] = []
    times: list[float] = []
    while not got or got[-1] < 39:
        ((_, push, _),) = parsed(await anext(stream))
        assert push["missed"] == 0
        got.append(push["value"])
        times.append(trio.current_time())
    assert got == list(range(40))
    assert len(times) / (times[-1] - times[0]) < rate * 1.05
    await stream.aclose()


async def test_browsers_of_one_rate_get_their_turns_together(
    bench: Bench, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    times: dict[int, list[float]] = {0: [], 1: []}

    async def read(number: int) -> None:
        async for _ in bench.hub.events(["a"], "", 4.0):
            times[number].append(trio.current_time())

    nursery.start_soon(read, 0)
    await trio.sleep(0.11)
    nursery.start_soon(read, 1)
    begin = trio.current_time()
    for value in range(100):
        await trio.sleep_until(begin + 0.02 * value)
        bench.topics["a"].publish(value)
    assert len(times[0]) > 6
    assert times[0][-5:] == times[1][-5:]
    bench.hub.ending.set()


async def test_browser_that_comes_back_gets_what_it_has_not_and_is_told_for_how_long_it_was_away(
    bench: Bench, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    stream, _ = await opened(bench, "list")
    bench.topics["list"].publish("first")
    ((_, push, last),) = parsed(await anext(stream))
    await stream.aclose()
    bench.topics["list"].publish("second")
    now = 1007.5
    again, hello = await opened(bench, "list", last=last)
    assert (hello["away"], hello["resumed"]) == (7.5, True)
    ((_, push, _),) = parsed(await anext(again))
    assert push["value"] == ["second"]
    await again.aclose()


async def come_back(bench: Bench, hello: Any, *names: str, **numbers: int) -> tuple[Any, Any]:
    """A stream of a page that says what it has got, and the greeting of it."""
    had = {name: pushes.Had(hello["sources"][name], number) for name, number in numbers.items()}
    stream = bench.hub.events(list(names), "", 20.0, had)
    ((_, told, _),) = parsed(await anext(stream))
    return stream, told


async def test_page_that_comes_back_is_told_how_many_values_it_has_missed(
    bench: Bench, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "KEPT_ITEMS", 10)
    other, _ = await opened(bench, "a", "b", "list")  # while somebody looks, all that comes is counted
    stream, hello = await opened(bench, "a", "b", "list")
    for name in ("a", "b", "list"):
        bench.topics[name].publish(0)
    numbers = {push["topic"]: push["number"] for _, push, _ in parsed(await anext(stream))}
    assert numbers == {"a": 1, "b": 1, "list": 1}
    await stream.aclose()
    for value in range(1, 31):
        bench.topics["a"].publish(value)
        bench.topics["list"].publish(value)
    again, told = await come_back(bench, hello, "a", "b", "list", "c", **numbers)
    assert (told["unknown"], told["sources"].keys()) == ([], {"a", "b", "list", "c"})
    found = {
        push["topic"]: (push["value"], push["missed"], push["number"]) for _, push, _ in parsed(await anext(again))
    }
    assert found == {"a": (30, 29, 31), "list": (list(range(21, 31)), 20, 31)}
    await again.aclose()
    bench.topics["a"].skip(5)  # of which the server itself was told that they are lost
    bench.topics["a"].publish(40)
    again, told = await come_back(bench, hello, "a", a=31)
    ((_, push, _),) = parsed(await anext(again))
    assert (push["value"], push["missed"], push["number"]) == (40, 5, 37)
    for stream in (again, other):
        await stream.aclose()


async def test_page_that_comes_back_is_told_where_nobody_knows_what_it_has_missed(
    bench: Bench, autojump_clock: MockClock
) -> None:
    stream, hello = await opened(bench, "a", "b")
    bench.topics["a"].publish(1)
    await stream.aclose()
    await trio.sleep(pushes.LINGER * 2)  # nobody has counted meanwhile
    again, told = await come_back(bench, hello, "a", "b", a=1)
    assert told["unknown"] == ["a"]
    assert told["sources"]["a"] != hello["sources"]["a"]
    await trio.testing.wait_all_tasks_blocked()
    bench.topics["a"].publish(2)
    ((_, push, _),) = parsed(await anext(again))
    assert (push["value"], push["missed"], push["number"]) == (2, 0, 1)
    await again.aclose()
    strange, told = await come_back(bench, told, "a", a=1000)  # more than there was
    assert told["unknown"] == ["a"]
    await strange.aclose()


async def test_browser_that_resumes_by_the_number_of_all_is_told_where_that_says_too_little(
    bench: Bench, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "KEPT_ITEMS", 10)
    stream, _ = await opened(bench, "a", "b", "list", "long")
    for name in ("a", "b", "list"):
        bench.topics[name].publish(0)
    *_, (_, _, last) = parsed(await anext(stream))
    await stream.aclose()
    bench.topics["b"].publish(1)
    for value in range(3):
        bench.topics["a"].publish(value)
        bench.topics["list"].publish(value)
    again, told = await opened(bench, "a", "b", "list", last=last)
    assert told["unknown"] == ["a"]  # between the two there may have been others
    await again.aclose()
    again, told = await opened(bench, "a", last="x" + last)  # of another server
    assert (told["unknown"], told["resumed"]) == (["a"], False)
    await again.aclose()


WHAT_NO_PAGE_HAS: list[tuple[list[str], list[str]]] = [
    (["site", "scans"], ["abc.5"]),
    (["site"], ["abc"]),
    (["site"], ["abc.x"]),
    (["site"], ["a.-1"]),
    (["site"], ["a.²"]),
    (["site"], ["a." + "9" * 30]),
    (["site"], ["a" * 50 + ".1"]),
]


async def test_what_a_page_has_is_read(web: Web) -> None:
    assert [pushes.Had.of(text) for text in ("", "-", "ab.5")] == [None, None, pushes.Had("ab", 5)]
    for topics, after in WHAT_NO_PAGE_HAS:
        query = [("topic", topic) for topic in topics] + [("after", text) for text in after]
        answer = await web.client.get(f"/api/events?{urlencode(query)}")
        assert (answer.status_code, "after" in answer.text) == (400, True), (topics, after)


@pytest.mark.parametrize("last", ["x", "-", "a-b-c", "0-1", "0-1-2", "9" * 500, "a-" + "9" * 400 + "-1", "ä-²-³", "\0"])
async def test_strange_last_event_id_is_that_of_nobody(bench: Bench, autojump_clock: MockClock, last: str) -> None:
    stream, hello = await opened(bench, "a", last=last)
    assert not hello["resumed"]
    await stream.aclose()


async def test_stream_that_has_nothing_to_say_beats(bench: Bench, autojump_clock: MockClock) -> None:
    stream, hello = await opened(bench, "a")
    begin = trio.current_time()
    ((kind, _, _),) = parsed(await anext(stream))
    assert (kind, trio.current_time() - begin) == ("beat", hello["beat"])
    await stream.aclose()


async def test_rate_is_kept(bench: Bench, autojump_clock: MockClock) -> None:
    stream, _ = await opened(bench, "a", rate=2.0)
    bench.topics["a"].publish(1)
    await anext(stream)
    bench.topics["a"].publish(2)
    begin = trio.current_time()
    await anext(stream)
    assert trio.current_time() - begin == pytest.approx(0.5)
    await stream.aclose()


async def test_source_that_fails_says_so_and_is_started_again(bench: Bench, autojump_clock: MockClock) -> None:
    async def fail(name: str) -> None:
        if len(bench.starts) < 3:
            raise QMI_RuntimeException("the context is not there")

    bench.failing = fail
    stream, _ = await opened(bench, "a")
    ((_, push, _),) = parsed(await anext(stream))
    assert push["value"]["error"] == {"type": "QMI_RuntimeException", "message": "the context is not there"}
    await trio.sleep(pushes.RETRY * 3)
    assert bench.starts == ["a", "a", "a"]
    bench.topics["a"].publish(1)
    ((_, push, _),) = parsed(await anext(stream))
    assert push["value"] == 1
    await stream.aclose()


@pytest.mark.parametrize("error", [ValueError("?"), ExceptionGroup("several", [QMI_RuntimeException("?")])])
async def test_source_that_fails_in_any_way_ends_no_other_one(
    bench: Bench, error: Exception, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(name: str) -> None:
        if name == "a":
            raise error

    bench.failing = fail
    stream, _ = await opened(bench, "a")
    ((_, push, _),) = parsed(await anext(stream))
    assert push["value"]["error"] == {"type": type(error).__name__, "message": "the server failed; its log says why"}
    assert "What is pushed of a has failed" in caplog.text
    other, _ = await opened(bench, "b")
    bench.topics["b"].publish(1)
    ((_, push, _),) = parsed(await anext(other))
    assert push["value"] == 1
    await stream.aclose()
    await other.aclose()


async def test_stream_ends_with_the_server(bench: Bench, autojump_clock: MockClock) -> None:
    stream, _ = await opened(bench, "a")
    bench.hub.ending.set()
    assert [piece async for piece in stream] == []


@pytest.mark.parametrize("values", [0, 1], ids=["that waits for a value", "that waits for its turn"])
async def test_stream_ends_with_the_server_at_once(bench: Bench, autojump_clock: MockClock, values: int) -> None:
    pieces = []

    async def read() -> None:
        pieces.extend([piece async for piece in bench.hub.events(["a"], "", 0.01)])

    async with trio.open_nursery() as reading:
        reading.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        for value in range(values):
            bench.topics["a"].publish(value)
        await trio.testing.wait_all_tasks_blocked()
        begin = trio.current_time()
        bench.hub.ending.set()
    assert trio.current_time() == begin
    assert len(pieces) == 1 + values


# Over real connections


@pytest.fixture
async def web(config: Path) -> AsyncIterator[Web]:
    async with web_and_lab(config) as found:
        await found.lab.make_instrument("psu", ShellSupply)
        yield found


async def test_topics_push_what_happens(web: Web) -> None:
    psu = await web.lab.get_rpc_object("psu")
    await psu.open()  # what is open is polled
    members = ["value:lab.psu.voltage", "value:lab.psu.pressure", "signal:lab.psu.sig_told"]
    async with pushed(web, "site", "status:lab", "log:lab", *members) as browser:
        await browser.until("status:lab", lambda value: value["state"] == "running")
        await browser.until("value:lab.psu.pressure", lambda value: value["value"] == 7.5)
        await browser.until("site", lambda value: value[0]["name"] == "lab")
        await psu.set_voltage(12.5)
        await browser.until("value:lab.psu.voltage", lambda value: (value["value"], value["unit"]) == (12.5, "V"))
        await psu.tell("hello", 5)
        await browser.until("signal:lab.psu.sig_told", lambda value: value["args"] == ["hello", 5])


class Thermometer(ScpiInstrument):
    """Is read, and publishes nothing of that."""

    temperature = parameter("TEMP?", float, unit="K", simulate=4.2)
    pressure = parameter("PRES?", float, unit="Pa", simulate=7.0)


@pytest.mark.slow
async def test_value_that_somebody_reads_is_pushed_although_no_signal_tells_it(web: Web) -> None:
    meter: Any = await web.lab.make_instrument("meter", Thermometer, simulate=True)
    await meter.open()
    async with pushed(web, "value:lab.meter.temperature", "value:lab.meter.pressure") as browser:
        await meter.get_temperature()
        told = await browser.until("value:lab.meter.temperature", lambda value: value["value"] == 4.2)
        assert told["unit"] == "K"
        assert "value:lab.meter.pressure" not in browser.values
        await meter.get_pressure()
        await browser.until("value:lab.meter.pressure", lambda value: value["value"] == 7.0)


@pytest.mark.slow
@pytest.mark.parametrize("topic", ["value:lab.meter.temperature", "signal:lab.meter.sig_connection"])
async def test_object_that_is_removed_and_made_again_is_told_and_pushed_again(web: Web, topic: str) -> None:
    meter: Any = await web.lab.make_instrument("meter", Thermometer, simulate=True)
    await meter.open()
    async with pushed(web, "site", "value:lab.meter.temperature", topic) as browser:
        await meter.get_temperature()
        await browser.until("value:lab.meter.temperature", lambda value: value.get("value") == 4.2)
        await web.lab.remove_rpc_object(meter)
        told = await browser.until(topic, lambda value: "error" in value)
        assert told["error"]["type"].startswith("QMI_")
        meter = await web.lab.make_instrument("meter", Thermometer, simulate=True)
        await meter.open()
        await meter.get_temperature()
        await browser.until("value:lab.meter.temperature", lambda value: value.get("value") == 4.2)


async def test_log_of_a_context_is_pushed(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    async with pushed(web, "log:lab") as browser:
        first = await browser.until("log:lab", bool)
        logging.getLogger("qmi.test").error("the valve is open")
        told = await browser.until("log:lab", lambda records: records[-1]["message"] == "the valve is open")
    assert told[-1]["number"] > first[0]["number"]


async def test_rows_of_a_run_are_pushed(web: Web) -> None:
    async with run("cooldown", columns={"T": "K"}) as recording:
        recording.add(T=4.0)
        topic = f"rows:{recording.run_id}"
        async with pushed(web, topic) as browser:
            (row,) = await browser.until(topic, bool)
            assert row["values"] == {"T": 4.0}
    rows = (await web.client.get(f"/api/runs/{recording.run_id}/rows")).json()
    assert rows["rows"][0]["values"] == {"T": 4.0}
    one = (await web.client.get(f"/api/runs/{recording.run_id}")).json()
    assert (one["name"], one["columns"], one["state"]) == ("cooldown", {"T": "K"}, "done")
    assert (await web.client.get("/api/runs")).json()[0]["id"] == recording.run_id
    files = []
    for where in ("", "?context=lab"):
        csv = await web.client.get(f"/api/runs/{recording.run_id}/csv{where}")
        assert "4.0" in csv.text
        assert csv.headers["content-disposition"].startswith("attachment")
        files.append(await web.client.get(f"/api/runs/{recording.run_id}/file{where}"))
        assert files[-1].headers["content-disposition"].startswith("attachment")
    assert files[0].content.startswith(b"\x89HDF")
    assert files[1].content == files[0].content, "that of another computer is copied as it is"
