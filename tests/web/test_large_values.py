"""Large values: pushed reduced, encoded once and in a thread, and answered whole without holding up the event loop."""

from __future__ import annotations

import io
import json
import math
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import cbor2
import numpy
import pytest
import trio

import qmi.data
from qmi.contexts.async_context import Context
from qmi.core.driver import QMI_Instrument, QMI_Signal, parameter, rpc_method
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.errors import QMI_RecordingException
from qmi.net.protocol import memory_estimate
from qmi.net.protocol.connection import Connection, Packet
from qmi.net.protocol.packets import Frame
from qmi.presenting.json_values import dumps
from qmi.presenting.value_text import json_of
from qmi.web import api_data, csv_program, large_values, pushes, topics
from qmi.web.display import SHOWN, shown, shown_fields, shown_items
from qmi.web.large_values import cbor_in_steps, json_parts, read_in_steps, weight
from tests.support.shell_driver import Point
from tests.support.web import Web, pushed, web_and_lab

MANY = 5000
ENCODERS = ("json_of", "dumps", "shown", "shown_items", "shown_fields", "json_lazily", "json_parts", "plain")

# What becomes of a value


VALUES: list[Any] = [
    None, 1.5, "text", "", [], {}, [[]], [1, 2, 3], list(range(100)), [[1, 2], [3]] * 20, {"a": [1] * 30, "b": {}},
    {f"n{number}": number for number in range(40)}, "é\ud800\"\\\n\u2028" * 40, [("x", 1)] * 30, [Point(1.0, 2.0)] * 30,
    {"a": Point(1.0, 2.0), "b": [None, True] * 20}, b"\x00\xff" * 400, [float("nan")] * 40, {1: "x" * 900},
    [[[1] * 30] * 3], ["x" * 500] * 3,
]  # fmt: skip


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_STEP": 4, "_WHOLE": 16, "_PART": 50, "_CHARACTERS": 16}.items():
        monkeypatch.setattr(large_values, name, value)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[:20])
def test_json_in_parts_is_the_json_of_the_value(value: Any) -> None:
    parts = json_parts(value)
    assert b"".join(parts).decode() == dumps(value)
    assert all(parts)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("shape", [(100,), (30, 2), (2, 30), (3, 4, 5), (1, 1, 60), (17, 1)], ids=str)
def test_json_of_an_array_in_parts_is_that_of_its_numbers(shape: tuple[int, ...]) -> None:
    array = numpy.arange(numpy.prod(shape)).reshape(shape) * 0.5
    array.flat[3] = numpy.nan
    assert b"".join(json_parts({"value": array, "unit": "V"})).decode() == dumps({"value": json_of(array), "unit": "V"})


@pytest.mark.slow
def test_each_part_of_json_is_short() -> None:
    value = [{"a": list(range(20_000)), "b": "x" * 1_000_000}, numpy.arange(200_000.0)]
    assert max(map(len, large_values._json(value))) < 100_000
    assert max(map(len, json_parts(value))) < 200_000


@pytest.mark.parametrize("text", ["1", '[1, 2.5e3, {"a": [true, null, "\\ud83d\\ude00 \\u00e9"]}]', '"é"', " {} "])
def test_json_is_read_in_steps_as_at_once(text: str) -> None:
    assert read_in_steps(text.encode(), str) == json.loads(text)
    assert read_in_steps(text.encode("utf-16"), str) == json.loads(text)


@pytest.mark.parametrize("content", [b"", b"[1,", b'{"a"}', b"[1] 2", b"\xff", b"nul", b"[" * 100_000])
def test_what_is_no_json_is_refused_in_steps_too(content: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_in_steps(content, str)


@pytest.mark.parametrize(
    "value", [1, "a", [], {}, [1, 2.5, None], {"a": [{"b": b"x"}], "c": "d"}, [[1] * 30] * 30, list(range(70_000)),
              {str(number): number for number in range(300)}, cbor2.CBORTag(40, [[1], b"x"])],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_cbor_in_steps_is_that_of_the_value(value: Any) -> None:
    assert cbor_in_steps(value) == cbor2.dumps(value)


# What is shown


def test_small_values_are_shown_as_they_are() -> None:
    for value in (None, 1.5, "x" * 1000, list(range(1000)), {"a": [1] * 900}, numpy.arange(1024), [[1] * 30] * 30):
        assert shown(value) == json_of(value)


ARRAY = numpy.sin(numpy.arange(100_000) / 1000)
LARGE: list[tuple[Any, dict[str, Any]]] = [
    (ARRAY, {"type": "array", "shape": [100_000], "dtype": "float64", "step": 191}),
    (ARRAY.astype("f4")[::2], {"type": "array", "shape": [50_000], "dtype": "float32", "step": 96}),
    (ARRAY.tolist(), {"type": "list", "shape": [100_000], "dtype": "float64", "step": 191}),
    (numpy.arange(3000), {"type": "array", "dtype": "int64", "min": 0, "max": 2999, "step": 6}),
    (ARRAY > 0, {"type": "array", "dtype": "bool", "min": 0, "max": 1}),
    (ARRAY.reshape(100, 1000), {"type": "array", "shape": [100, 1000], "first": ARRAY[:20].tolist()}),
    (ARRAY.reshape(100, 1000).T, {"type": "array", "shape": [1000, 100]}),
    (ARRAY.astype(complex), {"type": "array", "dtype": "complex128"}),
    (numpy.full(2000, numpy.nan), {"type": "array", "step": 4}),
    (numpy.array(["abc"] * 9000), {"type": "array", "dtype": "<U3", "first": ["abc"] * 20}),
    (numpy.zeros((0, 5)).repeat(5, 1), {}),
    ("x" * 100_000, {"type": "str", "length": 100_000, "first": "x" * 4 * SHOWN}),
    (b"\x01" * 100_000, {"type": "bytes", "length": 100_000}),
    (["a", 1] * 5000, {"type": "list", "length": 10_000, "first": ["a", 1] * 10}),
    ([1.0, "a"] * 5000, {"type": "list", "length": 10_000}),
    ([[1.0] * 1000] * 100, {"type": "list", "length": 100}),
    ({f"n{number}": number for number in range(5000)}, {"type": "dict", "length": 5000}),
    ([Point(1.0, 2.0)] * 2000, {"type": "list", "length": 2000}),
]


@pytest.mark.parametrize(("value", "told"), LARGE, ids=lambda value: f"{type(value).__name__}")
def test_large_value_is_shown_by_what_it_is_and_part_of_it(value: Any, told: dict[str, Any]) -> None:
    found = shown(value)
    if told:
        assert isinstance(found, dict)
        assert {name: found["reduced"].get(name) for name in told} == told
    assert len(dumps(found)) < 40_000
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "value",
    [
        {f"n{number}": ARRAY for number in range(100)},
        [ARRAY] * 100,
        {"a": {"b": [ARRAY, {"c": ARRAY.tolist(), "d": "x" * 100_000}]}},
        [[[[[list(range(20))] * 20] * 20] * 20] * 20],
        {"a": {str(number): {str(n): "x" * 100 for n in range(20)} for number in range(20)}},
    ],
    ids=["object", "list", "nested", "deep", "texts"],
)
def test_shown_value_is_short_however_much_is_nested(value: Any) -> None:
    assert len(dumps(shown(value))) < 60_000


def test_envelope_has_the_lowest_and_the_highest_of_each_part() -> None:
    array = numpy.zeros(100_003)
    array[77_777], array[100_002], array[5] = 3.0, -2.0, numpy.nan
    told = shown(array)["reduced"]  # type: ignore[index]
    step = told["step"]
    assert len(told["low"]) == len(told["high"]) == -(-len(array) // step) <= SHOWN // 2
    assert (told["min"], told["max"]) == (-2.0, 3.0)
    assert [at for at, value in enumerate(told["high"]) if value] == [77_777 // step]
    assert [at for at, value in enumerate(told["low"]) if value] == [100_002 // step]


def test_things_that_are_told_together_are_all_there() -> None:
    row = {**{f"c{number}": number * 0.5 for number in range(30)}, "trace": ARRAY}
    told = shown_fields(row)
    assert list(told) == list(row)
    assert told["c7"] == 3.5
    assert "reduced" in told["trace"]  # type: ignore[operator]
    assert shown_items([1, "a", ARRAY])[:2] == [1, "a"]


# Over real connections


class Scope(QMI_Instrument):
    """An instrument with large values."""

    sig_trace = QMI_Signal([numpy.ndarray, int])

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self.kept = numpy.arange(MANY) * 0.5

    @parameter(unit="V")
    def trace(self) -> numpy.ndarray:
        """What was recorded."""
        return self.kept

    @trace.setter
    def set_trace(self, value: numpy.ndarray) -> None:
        self.kept = value

    @parameter()
    def notes(self) -> str:
        """A long text."""
        return "x" * 50_000

    @rpc_method
    def emit(self, number: int) -> None:
        """Publish it."""
        self.sig_trace.publish(self.kept, number)

    @rpc_method
    def total(self, values: numpy.ndarray) -> float:
        """The sum."""
        return float(values.sum())

    @rpc_method
    def make(self, kind: str) -> object:
        """Something large."""
        kinds: dict[str, object] = {
            "array": self.kept, "list": self.kept.tolist(), "object": {"a": self.kept, "b": 1}, "text": "x" * 200_000,
            "rows": [[1.0, 2.0]] * MANY,
        }  # fmt: skip
        return kinds[kind]


@pytest.fixture
async def web(config: Path) -> AsyncIterator[Web]:
    async with web_and_lab(config) as found:
        await found.lab.make_instrument("scope", Scope)
        found.client.headers["authorization"] = f"Bearer {found.token}"
        yield found


@pytest.fixture
def subscribed(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """Set when the server has subscribed to a signal."""
    found = trio.Event()
    subscribe = Context.subscribe_signal

    async def subscribe_and_say(*arguments: Any) -> None:
        await subscribe(*arguments)
        found.set()

    monkeypatch.setattr(Context, "subscribe_signal", subscribe_and_say)
    return found


def _checked(function: Callable[..., Any], thread: int, where: list[str]) -> Callable[..., Any]:
    def call(*values: Any, **named: Any) -> Any:
        if threading.get_ident() == thread and any(weight(value, 500) > 500 for value in values):
            where.append(function.__name__)
        return function(*values, **named)

    return call


@pytest.fixture
def in_the_loop(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """By which functions of the server something large was encoded in the thread of the event loop."""
    found: list[str] = []
    thread = threading.get_ident()
    monkeypatch.setattr(large_values, "SOON", 500)
    for name, module in list(sys.modules.items()):
        for function in (
            "json_of",
            "dumps",
            "shown",
            "shown_items",
            "shown_fields",
            "json_lazily",
            "json_parts",
            "plain",
        ):
            if name.startswith("qmi.web.") and hasattr(module, function):
                monkeypatch.setattr(module, function, _checked(getattr(module, function), thread, found))
    return found


async def test_large_signal_is_pushed_reduced_and_encoded_once_for_all(
    web: Web, in_the_loop: list[str], subscribed: trio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    encode = vars(pushes)["dumps"]

    def dumps_and_count(value: Any) -> Any:
        if isinstance(value, dict) and "args" in value:
            made.append(value["number"])
        return encode(value)

    monkeypatch.setattr(pushes, "dumps", dumps_and_count)
    scope = await web.lab.get_rpc_object("scope")
    topic = "signal:lab.scope.sig_trace"
    async with AsyncExitStack() as stack:
        browsers = [await stack.enter_async_context(pushed(web, topic)) for _ in range(5)]
        await subscribed.wait()
        for number in range(3):
            await scope.emit(number)
            for browser in browsers:
                value = await browser.until(topic, partial(_has_number, number))
                assert value["args"][0]["reduced"]["shape"] == [MANY]
    assert len(made) == len(set(made)) == 3
    assert in_the_loop == []


def _has_number(number: int, value: Any) -> bool:
    return bool(value["args"][1] == number)


async def test_large_parameter_is_pushed_reduced(web: Web, in_the_loop: list[str], subscribed: trio.Event) -> None:
    scope = await web.lab.get_rpc_object("scope")
    topic = "value:lab.scope.trace"
    async with pushed(web, topic) as browser:
        await subscribed.wait()
        await scope.set_trace(numpy.arange(MANY + 1))
        value = await browser.until(topic, lambda value: "value" in value)
        assert value["unit"] == "V"
        assert value["value"]["reduced"]["max"] == MANY
    assert in_the_loop == []


async def test_large_rows_are_pushed_reduced_and_few_of_many_are_kept(
    web: Web, in_the_loop: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with qmi.data.run("traces", columns={"trace": "V", "n": ""}) as recording:
        for number in range(3):
            recording.add(trace=numpy.arange(MANY), n=number)
    async with pushed(web, topic := f"rows:{recording.run_id}") as browser:
        rows = await browser.until(topic, lambda rows: rows[-1]["number"] == 2)
        assert rows[-1]["values"]["trace"]["reduced"]["shape"] == [MANY]
        assert rows[-1]["values"]["n"] == 2
    monkeypatch.setattr(pushes, "KEPT_ITEMS", 10)
    async with qmi.data.run("points", columns={"n": ""}) as recording:
        for number in range(500):
            recording.add(n=number)
    async with pushed(web, topic := f"rows:{recording.run_id}") as browser:
        rows = await browser.until(topic, lambda rows: rows[-1]["number"] == 499)
        assert [row["number"] for row in rows] == list(range(490, 500))
    assert in_the_loop == []


SCOPE = "/api/objects/lab/scope"


@pytest.mark.parametrize("kind", ["array", "list", "object", "text", "rows"])
async def test_large_result_is_answered_whole_in_each_format(web: Web, in_the_loop: list[str], kind: str) -> None:
    body, where = {"arguments": [kind]}, f"{SCOPE}/methods/make"
    expected = json_of(Scope.make(await _kept(), kind))
    assert (await web.client.post(where, json=body)).json() == {"result": expected}
    cbor = await web.client.post(where, json=body, headers={"accept": "application/cbor"})
    assert (cbor.headers["content-type"], len(cbor.content) > MANY) == ("application/cbor", True)
    if kind in ("array", "list", "rows"):
        npy = await web.client.post(where, json=body, headers={"accept": "application/x-npy"})
        assert numpy.load(io.BytesIO(npy.content)).tolist() == expected
    reduced = (await web.client.post(f"{where}?reduced=true", json=body)).json()["result"]
    assert "reduced" in json.dumps(reduced)
    assert in_the_loop == []


async def _kept() -> Any:
    class Kept:
        kept = numpy.arange(MANY) * 0.5

    return Kept()


async def test_large_parameter_is_answered_whole_and_taken(web: Web, in_the_loop: list[str]) -> None:
    whole = (numpy.arange(MANY) * 0.5).tolist()
    assert (await web.client.get(f"{SCOPE}/parameters/trace")).json() == {"value": whole, "unit": "V"}
    reduced = (await web.client.get(f"{SCOPE}/parameters/trace?reduced=true")).json()
    assert (reduced["value"]["reduced"]["type"], reduced["unit"]) == ("array", "V")
    set_to = await web.client.put(f"{SCOPE}/parameters/trace", json={"value": whole[::-1]})
    assert set_to.json() == {"value": whole[::-1], "unit": "V"}
    total = await web.client.post(f"{SCOPE}/methods/total", json={"arguments": [whole]})
    assert total.json() == {"result": sum(whole)}
    wrong = await web.client.post(f"{SCOPE}/methods/total", content=b'{"arguments": [' + b"1.5, " * MANY + b"]}")
    assert (wrong.status_code, "not valid JSON" in wrong.json()["error"]["message"]) == (400, True)
    half = await web.client.post(f"{SCOPE}/methods/total", content=b'{"arguments": ["\\ud800' + b"x" * 50_000 + b'"]}')
    assert half.status_code == 400
    assert in_the_loop == []


async def test_last_known_value_that_is_large_is_answered_whole_and_listed_reduced(
    web: Web, in_the_loop: list[str]
) -> None:
    whole = "x" * 50_000
    assert (await web.client.get(f"{SCOPE}/parameters/notes")).json() == {"value": whole}
    assert (await web.client.get(f"{SCOPE}/parameters/notes?last=true")).json()["value"] == whole
    reduced = (await web.client.get(f"{SCOPE}/parameters/notes?last=true&reduced=true")).json()["value"]
    listed = {told["name"]: told for told in (await web.client.get(f"{SCOPE}/parameters")).json()}
    assert listed["notes"]["value"] == reduced
    assert (reduced["reduced"]["type"], reduced["reduced"]["length"]) == ("str", 50_000)
    assert in_the_loop == []


@pytest.mark.parametrize("where", ["", "&context=lab"])
async def test_rows_are_answered_whole_however_many_and_large(web: Web, in_the_loop: list[str], where: str) -> None:
    async with qmi.data.run("traces", columns={"trace": "V", "n": ""}) as recording:
        for number in range(7):
            recording.add(trace=numpy.arange(MANY), n=number)
    rows = (await web.client.get(f"/api/runs/{recording.run_id}/rows?first=2&limit=3{where}")).json()
    assert [row["number"] for row in rows["rows"]] == [2, 3, 4]
    assert rows["rows"][0]["values"] == {"trace": list(range(MANY)), "n": 2}
    assert rows["more"] is True
    reduced = (await web.client.get(f"/api/runs/{recording.run_id}/rows?reduced=true{where}")).json()
    assert reduced["rows"][6]["values"]["trace"]["reduced"]["shape"] == [MANY]
    assert reduced["more"] is False
    assert in_the_loop == []


async def test_rows_beyond_those_that_are_read_at_once_are_said_to_be_there(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qmi.data.file_rows._PART_ROWS", 10)
    monkeypatch.setattr(api_data, "_ROWS", 3)
    async with qmi.data.run("points", columns={"n": ""}) as recording:
        for number in range(25):
            recording.add(n=number)
    for first, limit, more in (
        (0, 10, True),
        (0, 25, False),
        (0, 24, True),
        (5, 20, False),
        (20, 100, False),
        (25, 1, False),
    ):
        answer = await web.client.get(f"/api/runs/{recording.run_id}/rows?first={first}&limit={limit}")
        found = answer.json()
        assert [row["values"]["n"] for row in found["rows"]] == list(range(first, min(25, first + limit)))
        assert found["more"] is more


async def test_signals_that_wait_behind_a_large_one_are_counted_and_the_newest_is_pushed(
    web: Web, subscribed: trio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    delivered: list[object] = []
    all_delivered = trio.Event()
    deliver = QMI_SignalReceiver.deliver

    def deliver_and_count(receiver: QMI_SignalReceiver, signals: Sequence[Any]) -> None:
        deliver(receiver, signals)
        delivered.extend(signals)
        if len(delivered) >= 6:
            all_delivered.set()

    monkeypatch.setattr(QMI_SignalReceiver, "deliver", deliver_and_count)
    is_begun, go_on = threading.Event(), threading.Event()
    tell = topics._told

    def slowly(signal: Any) -> dict[str, object]:
        told.append(signal.args[1])
        is_begun.set()
        assert go_on.wait(20)
        return tell(signal)

    monkeypatch.setattr(topics, "_told", slowly)
    scope = await web.lab.get_rpc_object("scope")
    topic = "signal:lab.scope.sig_trace"
    async with pushed(web, topic) as browser:
        await subscribed.wait()
        await scope.emit(0)
        assert await trio.to_thread.run_sync(is_begun.wait, 20)
        for number in range(1, 6):
            await scope.emit(number)
        await all_delivered.wait()
        go_on.set()
        await browser.until(topic, lambda value: value["args"][1] == 5)
        assert told == [0, 5]
        assert browser.missed[topic] == 4


@pytest.mark.slow
async def test_csv_is_made_by_a_process_of_its_own(
    web: Web, in_the_loop: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_data, "make_csv", csv_program.make_csv)
    async with qmi.data.run("traces", columns={"trace": "V", "n": ""}) as recording:
        recording.add(trace=numpy.arange(MANY), n=1)
    before = set(sys.modules)
    answer = await web.client.get(f"/api/runs/{recording.run_id}/csv?context=lab", timeout=55)
    head, line = answer.text.splitlines()
    assert (len(head.split(",")), len(line.split(","))) == (MANY + 2, MANY + 2)
    assert not {name for name in set(sys.modules) - before if name.startswith("xarray")}
    assert in_the_loop == []


@pytest.mark.slow
async def test_csv_that_cannot_be_made_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "run.nc").write_bytes(b"nothing")
    with pytest.raises(QMI_RecordingException, match=r"the CSV of run\.nc cannot be made: .*run\.nc"):
        await csv_program.make_csv(tmp_path / "run.nc", tmp_path / "run.csv")


@pytest.mark.parametrize("kind", ["list", "rows"])
async def test_large_list_of_an_instrument_is_decoded_beside_the_loop(
    web: Web, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(memory_estimate, "_LARGE_LISTS", 1 << 12)
    monkeypatch.setattr(memory_estimate, "LARGE_BODY", 1 << 12)
    where: list[bool] = []
    decode, loop = Connection.decode, threading.get_ident()

    def decode_and_note(connection: Connection, frame: Frame) -> Packet | Exception:
        found = decode(connection, frame)
        if isinstance(found, tuple) and any(weight(part, 500) > 500 for part in found):
            where.append(threading.get_ident() == loop)
        return found

    monkeypatch.setattr(Connection, "decode", decode_and_note)
    answer = await web.client.post(f"{SCOPE}/methods/make", json={"arguments": [kind]})
    assert len(answer.json()["result"]) == MANY
    assert where == [False]


class _LongestStep(trio.abc.Instrument):
    """How long the longest step of the event loop has worked, in seconds of its processor; waiting is none."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begin = math.inf

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._begin = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.seconds = max(self.seconds, time.thread_time() - self._begin)


async def _fetch(web: Web, path: str, accept: str = "application/json") -> int:
    """The length of an answer, of which nothing else is looked at."""
    async with await trio.open_tcp_stream("127.0.0.1", web.port) as stream:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        await stream.send_all(request.encode())
        return sum([len(part) async for part in stream])


@pytest.mark.slow
async def test_no_step_of_the_loop_is_long_whatever_is_pushed_and_answered(web: Web, subscribed: trio.Event) -> None:
    scope = await web.lab.get_rpc_object("scope")
    topic = "signal:lab.scope.sig_trace"
    await _fetch(web, f"{SCOPE}/parameters/trace")
    async with AsyncExitStack() as stack:
        browsers = [await stack.enter_async_context(pushed(web, topic)) for _ in range(60)]
        await subscribed.wait()
        await scope.set_trace(numpy.sin(numpy.arange(1_000_000)))
        longest = _LongestStep()
        trio.lowlevel.add_instrument(longest)
        await scope.emit(1)
        for browser in browsers:
            await browser.until(topic, partial(_has_number, 1))
        assert await _fetch(web, f"{SCOPE}/parameters/trace") > 10_000_000
        assert await _fetch(web, f"{SCOPE}/parameters/trace", "application/cbor") > 8_000_000
        assert await _fetch(web, f"{SCOPE}/parameters/trace", "application/x-npy") > 8_000_000
        trio.lowlevel.remove_instrument(longest)
    assert longest.seconds < 0.2  # some milliseconds; it was seconds
