"""Sessions: what is written to the file, and that what is replayed from it is the same again."""

from __future__ import annotations

import gc
import json
import logging
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import qmi
from qmi.core.driver import Simulator
from qmi.core.exceptions import QMI_TimeoutException, QMI_TransportLostException, QMI_UsageException
from qmi.core.instrument import TransportInstrument
from qmi.core.rpc import rpc_method
from qmi.core.scpi_protocol import AsyncScpiProtocol, ScpiProtocol
from qmi.core.transport import AsyncThreadTransport, Reconnect, create_async_transport
from qmi.testing import (
    CLOSED,
    LOST,
    NO_ANSWER,
    REFUSED,
    AsyncScriptedTransport,
    Late,
    ScriptedTransport,
    ScriptMismatchError,
    Unasked,
    block,
    record_session,
    replay,
    replay_async,
    serve_simulator,
)
from tests.support.device_ends import line_to, tcp_end

make: Any = qmi.make_instrument


class Meter(TransportInstrument):
    def __init__(self, context: Any, name: str, transport: Any, **options: Any) -> None:
        super().__init__(context, name, transport, **options)
        self.scpi = ScpiProtocol(self._transport, default_timeout=10.0)

    @rpc_method
    def measure(self) -> str:
        return self.scpi.ask("MEAS?")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.jsonl"


def entries(path: Path) -> list[dict[str, Any]]:
    """What the file says, without times."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert lines[0].pop("begun").endswith("+00:00")
    assert lines[0] == {"qmi": "session", "version": 1}
    times = [line.pop("time") for line in lines[1:]]
    assert all(0 <= time < 60 for time in times)
    return lines[1:]


def test_session_with_a_real_connection_is_recorded_and_replayed(path: Path) -> None:
    class Device(Simulator):
        @Simulator.command("MEAS?")
        def measure(self) -> float:
            return 1.5

    with serve_simulator(Device) as server, qmi.start("t", None, init_logging=False):
        with record_session(path), make("meter", Meter, server.address) as meter:
            assert meter.measure() == "1.5"
        said = entries(path)
        assert said[0].pop("transport").startswith("QMI_TcpTransport(")
        assert said == [
            {"instrument": "meter", "event": "open"},
            {"instrument": "meter", "write": "MEAS?\n"},
            {"instrument": "meter", "read": "1.5\n"},
            {"instrument": "meter", "event": "close"},
        ]
        with make("again", Meter, replay(path)) as meter:
            assert meter.measure() == "1.5"


def test_mismatch_in_a_replay_names_the_line_of_the_file(path: Path) -> None:
    with record_session(path), ScriptedTransport(["A", "B"]) as transport:
        transport.write(b"A\n")
        transport.write(b"B\n")
    again = replay(path)
    again.open()
    again.write(b"A\n")
    with pytest.raises(ScriptMismatchError, match=r"at step 2 of 2, line 4 of session.jsonl:"):
        again.write(b"C\n")


# What a driver may do with a transport: each of these is recorded, replayed, and must find the same.


def ask_twice(transport: Any, found: list[object]) -> None:
    device = ScpiProtocol(transport, default_timeout=1.0)
    for cmd in ("A?", "B?"):
        try:
            found.append(device.ask(cmd))
        except (QMI_TimeoutException, QMI_TransportLostException) as error:
            found.append(type(error))


def read_block(transport: Any, found: list[object]) -> None:
    device = ScpiProtocol(transport, default_timeout=1.0)
    found.append(device.ask_array("CURV?", "u1").tobytes())
    found.append(device.ask("B?"))


def take_what_comes(transport: Any, found: list[object]) -> None:
    transport.write(b"GO\n")
    found.append(transport.read_until_timeout(100, 0.5))
    transport.write(b"B?\n")
    found.append(transport.read_until(b"\n", 1.0))


def listen(transport: Any, found: list[object]) -> None:
    found.append(transport.read_until(b"\n", 1.0))
    transport.discard_read()
    ask_twice(transport, found)


def write_both_first(transport: Any, found: list[object]) -> None:
    transport.write(b"A?\n")
    transport.write(b"B?\n")
    found += [transport.read_until(b"\n", 1.0), transport.read_until(b"\n", 1.0)]


B = ("B?", "2")
ROUND_TRIPS: list[tuple[list[Any], Callable[[Any, list[object]], None]]] = [
    ([("A?", "1"), B], ask_twice),
    ([("A?", ['"quoted" \\n \t', b"\r\n"]), B], ask_twice),
    ([("A?", NO_ANSWER), B], ask_twice),
    ([("A?", [b"ha", NO_ANSWER]), B], ask_twice),
    ([("A?", Late("old")), B], ask_twice),
    ([("A?", Late("old", 1.5)), B], ask_twice),
    ([("A?", [b"ol", Late("d")]), B], ask_twice),
    ([("A?", NO_ANSWER), ("B?", NO_ANSWER)], ask_twice),
    ([("A?", LOST)], ask_twice),
    ([LOST], ask_twice),
    ([("A?", "1"), LOST], ask_twice),
    ([("CURV?", block(bytes(range(256)) * 40)), B], read_block),
    ([("CURV?", block(b"text")), B], read_block),
    ([("CURV?", block(b"\xff\x00")), B], read_block),
    ([("GO", b"12345"), B], take_what_comes),
    (["GO", B], take_what_comes),
    ([Unasked("hello"), Unasked("dropped"), ("A?", "1"), B], listen),
    ([("A?", "1"), B], write_both_first),
]


@pytest.mark.parametrize(("script", "use"), ROUND_TRIPS)
def test_replay_gives_what_was_recorded(path: Path, script: list[Any], use: Callable[..., None]) -> None:
    first: list[object] = []
    again: list[object] = []
    with record_session(path), ScriptedTransport(script) as transport:
        use(transport, first)
    with replay(path) as replayed:
        use(replayed, again)
    assert again == first
    replayed.check_done()
    # And what is recorded of the replay is the same file.
    second = path.with_name("second.jsonl")
    with record_session(second), replay(path) as replayed:
        use(replayed, [])
    found = [entries(one) for one in (path, second)]
    assert [e | {"instrument": ""} for e in found[1]] == [e | {"instrument": ""} for e in found[0]]


@pytest.mark.parametrize("script", [[("A?", "1"), B], [("A?", Late("old")), B], [("A?", NO_ANSWER), B], [("A?", LOST)]])
async def test_async_replay_gives_what_was_recorded(path: Path, script: list[Any]) -> None:
    async def use(transport: Any) -> list[object]:
        found: list[object] = []
        async with transport:
            device = AsyncScpiProtocol(transport, default_timeout=1.0)
            for cmd in ("A?", "B?"):
                try:
                    found.append(await device.ask(cmd))
                except (QMI_TimeoutException, QMI_TransportLostException) as error:
                    found.append(type(error))
        return found

    with record_session(path):
        first = await use(AsyncScriptedTransport(script))
    replayed = replay_async(path)
    assert await use(replayed) == first
    # A blocking driver can be tested with the same file.
    found: list[object] = []
    with replay(path) as transport:
        ask_twice(transport, found)
    assert found == first


@pytest.mark.parametrize("kind", ["blocking", "async"])
async def test_messages_without_terminators_are_replayed_as_messages(path: Path, kind: str) -> None:
    def use(transport: Any) -> list[bytes]:
        transport.write(b"A?")
        transport.write(b"B?")
        return [transport.read_until(b"\n", 1.0), transport.read(1, 1.0), transport.read(1, 1.0)]

    recorded = ScriptedTransport([("A?", "one"), ("B?", "23")], messages=True, terminator="")
    with record_session(path), recorded as transport:
        assert use(transport) == [b"one", b"2", b"3"]
    assert [e.get("read") for e in entries(path)] == [None, None, None, "one", "23", None]
    if kind == "blocking":
        with replay(path) as transport:
            assert use(transport) == [b"one", b"2", b"3"]
    else:
        async with replay_async(path) as awaited:
            assert isinstance(awaited, AsyncThreadTransport)
            await awaited.write(b"A?")
            await awaited.write(b"B?")
            assert await awaited.read_until(b"\n", 1.0) == b"one"
            assert await awaited.read(2, 1.0) == b"23"


async def test_transport_in_a_thread_is_recorded_under_the_name_of_its_instrument(path: Path) -> None:
    wrapped = AsyncThreadTransport(ScriptedTransport([("A?", "1")]))
    wrapped.configure(name="camera")
    with record_session(path):
        async with wrapped as transport:
            await transport.write(b"A?\n")
            assert await transport.read_until(b"\n", 1.0) == b"1\n"
    assert [(e["instrument"], e.get("write") or e.get("read") or e["event"]) for e in entries(path)] == [
        ("camera", "open"),
        ("camera", "A?\n"),
        ("camera", "1\n"),
        ("camera", "close"),
    ]


def test_opening_twice_and_refused_connections_are_replayed(path: Path) -> None:
    script = [REFUSED, ("A?", "1"), CLOSED, REFUSED, REFUSED, ("A?", "2")]

    def use(transport: Any) -> list[object]:
        found: list[object] = []
        for _ in range(5):
            try:
                transport.open()
            except ConnectionRefusedError as error:
                found.append(type(error))
            else:
                found.append(ScpiProtocol(transport, default_timeout=1.0).ask("A?"))
                transport.close()
        return found

    with record_session(path):
        first = use(ScriptedTransport(script))
    assert first == [ConnectionRefusedError, "1", ConnectionRefusedError, ConnectionRefusedError, "2"]
    assert use(replay(path)) == first


def test_connection_that_was_made_again_is_replayed(path: Path) -> None:
    identity = ("*IDN?", "ACME")
    script = [identity, ("A?", LOST), REFUSED, identity, B]
    policy = Reconnect(attempts=2, delay=600.0, max_delay=600.0, identify="*IDN?")

    def use(transport: Any) -> list[object]:
        found: list[object] = []
        transport.configure(reconnect=policy, name="x")
        with transport:
            ask_twice(transport, found)
        return found

    with record_session(path):
        first = use(ScriptedTransport(script))
    assert first == [QMI_TransportLostException, "2"]
    assert use(replay(path)) == first


def test_real_timeouts_and_losses_are_recorded(path: Path) -> None:
    with record_session(path), line_to("tcp") as line:
        line.transport.configure(name="meter")
        line.transport.write(b"A?\n")
        line.receive()
        with pytest.raises(QMI_TimeoutException):
            line.transport.read_until(b"\n", 0.0)
        line.send(b"late\n")
        line.transport.write(b"B?\n")
        line.receive()
        line.cut()
        with pytest.raises(QMI_TransportLostException):
            line.transport.read_until(b"\n", 10.0)
    said = [{k: v for k, v in e.items() if k != "instrument"} for e in entries(path) if e["instrument"] == "meter"]
    assert said == [
        {"write": "A?\n"},
        {"event": "timeout"},
        {"dropped": "late\n"},
        {"write": "B?\n"},
        {"event": "lost"},
        {"event": "close"},
    ]


def test_transports_that_are_there_already_are_recorded_and_others_are_left_out(path: Path) -> None:
    steps = [("MEAS?", "1"), ("MEAS?", "2"), ("MEAS?", "3")]
    with qmi.start("t", None, init_logging=False):
        a, b = (make(name, Meter, ScriptedTransport(steps)) for name in "ab")
        with a, b:
            a.measure(), b.measure()
            with record_session(path), record_session(path.with_name("b.jsonl"), ["b"]):
                a.measure(), b.measure()
            a.measure(), b.measure()
    assert [(e["instrument"], e.get("read")) for e in entries(path) if "read" in e] == [("a", "2\n"), ("b", "2\n")]
    assert {e["instrument"] for e in entries(path.with_name("b.jsonl"))} == {"b"}
    with replay(path, "b") as transport:
        assert ScpiProtocol(transport, default_timeout=1.0).ask("MEAS?") == "2"


def test_two_transports_of_one_name_are_told_apart_and_one_that_was_made_anew_is_not(path: Path) -> None:
    with record_session(path):
        for _ in range(2):
            first, second = (ScriptedTransport([step]).configure(name="x") for step in "AB")
            with first, second:
                second.write(b"B\n")
                first.write(b"A\n")
    assert [(e["instrument"], e["write"]) for e in entries(path) if "write" in e] == [("x#2", "B\n"), ("x", "A\n")] * 2
    with replay(path, "x#2") as transport:
        transport.write(b"B\n")
        transport.close()
        transport.open()
        transport.write(b"B\n")


def test_recording_goes_by_no_level_of_logging(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("qmi.traffic.x").setLevel(logging.ERROR)
    logging.getLogger("qmi.traffic.x").disabled = True
    try:
        with record_session(path), ScriptedTransport(["A"]).configure(name="x") as transport:
            transport.write(b"A\n")
    finally:
        logging.getLogger("qmi.traffic.x").setLevel(logging.NOTSET)
        logging.getLogger("qmi.traffic.x").disabled = False
    assert [e["write"] for e in entries(path) if "write" in e] == ["A\n"]
    assert "A" not in [record.message for record in caplog.records]


def test_recorded_traffic_is_logged_only_where_it_is_asked_for(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for level, expected in ((logging.INFO, []), (logging.DEBUG, [r'write 2 "A\n"'])):
        caplog.clear()
        caplog.set_level(level, "qmi.traffic")
        with record_session(path, overwrite=True), ScriptedTransport(["A"]).configure(name="x") as transport:
            transport.write(b"A\n")
        assert [record.message for record in caplog.records if record.name == "qmi.traffic.x"] == expected


def test_threads_write_whole_lines(path: Path) -> None:
    def use(name: str) -> None:
        steps = [(f"{name}{number}?", str(number)) for number in range(50)]
        with ScriptedTransport(steps).configure(name=name) as transport:
            device = ScpiProtocol(transport, default_timeout=1.0)
            for number in range(50):
                assert device.ask(f"{name}{number}?") == str(number)

    with record_session(path):
        threads = [threading.Thread(target=use, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    said = entries(path)
    for name in "abcd":
        mine = [e for e in said if e["instrument"] == name]
        assert [e["read"] for e in mine if "read" in e] == [f"{number}\n" for number in range(50)]
        replay(path, name)


def test_recording_leaves_nothing_behind(path: Path) -> None:
    with ScriptedTransport([]) as transport, record_session(path):
        assert not isinstance(transport._traffic, logging.Logger)
    assert isinstance(transport._traffic, logging.Logger)
    with record_session(path, overwrite=True):
        late = ScriptedTransport([])
        assert not isinstance(late._traffic, logging.Logger)
        gone = weakref.ref(late)
        del late
        gc.collect()
        assert gone() is None


@pytest.mark.parametrize(
    ("data", "key", "text"),
    [
        (b"a\tb\r\n", "write", "a\tb\r\n"),
        (b"\x00\x01\xff", "write_hex", "00 01 ff"),
        (b"caf\xe9\n", "write_hex", "63 61 66 e9 0a"),
        (b"\x1b[0m", "write_hex", "1b 5b 30 6d"),
        (bytes(64), "write_hex", "00" + " 00" * 63),
        (bytes(66), "write_base64", "A" * 88),
    ],
)
def test_bytes_are_text_where_they_can_be_read(path: Path, data: bytes, key: str, text: str) -> None:
    with record_session(path), ScriptedTransport([data]) as transport:
        transport.write(data)
    assert entries(path)[1] == {"instrument": "ScriptedTransport", key: text}


def test_file_that_is_there_is_kept(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="give overwrite=True"), record_session(path):
        pytest.fail("it records")
    assert path.read_text() == "precious"


@pytest.mark.parametrize(("names", "said"), [(None, "Nothing went over any transport"), (["psu"], "of psu while")])
def test_empty_session_is_told(path: Path, caplog: pytest.LogCaptureFixture, names: Any, said: str) -> None:
    with record_session(path, names):
        pass
    assert said in caplog.text
    with pytest.raises(QMI_UsageException, match="it has none"):
        replay(path)


HEAD = '{"qmi": "session", "version": 1}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has none"),
        ("hello\n", "line 1, is no line of a recorded session: Expecting value"),
        ("[1]\n", "line 1, is no line of a recorded session: the first line must say that it is one"),
        ('{"qmi": "session", "version": 2}\n', "it is of version 2, and version 1 can be read"),
        (HEAD + "{}\n", "line 2, is no line of a recorded session: 'instrument'"),
        (HEAD + '{"instrument": "x", "event": "eaten"}\n', "there is no event 'eaten'"),
        (HEAD + '{"instrument": "x"}\n', "line 2, is no line of a recorded session: 'event'"),
        (HEAD + '{"instrument": "x", "write_hex": "0g"}\n', "non-hexadecimal"),
        (HEAD + '{"instrument": "x", "write_base64": "?"}\n', "line 2, is no line of a recorded session: "),
        (HEAD + '["x"]\n', "line 2, is no line of a recorded session: "),
        (
            HEAD + '{"instrument": "x", "write": "A"}\n{"instrument": "y", "write": "A"}\n',
            "is to be replayed; it has x, y",
        ),
    ],
)
def test_file_that_is_no_session_is_refused(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    with pytest.raises(QMI_UsageException) as caught:
        replay(path)
    assert said in str(caught.value)


def test_unknown_instrument_is_refused_with_those_that_are_there(path: Path) -> None:
    path.write_text(HEAD + '{"instrument": "psu_1", "write": "A\\n"}\n')
    with pytest.raises(QMI_UsageException, match="has no instrument 'meter'; it has psu_1"):
        replay(path, "meter")
    with replay(path, "psu 1") as transport:
        transport.write(b"A\n")


async def test_async_connection_is_recorded(path: Path) -> None:
    with tcp_end() as end, record_session(path):
        async with create_async_transport(end.descriptor) as transport:
            transport.configure(name="meter")
            device = AsyncScpiProtocol(transport, default_timeout=10.0)
            end.send(b"1\n")
            assert await device.ask("A?") == "1"
            with pytest.raises(QMI_TimeoutException):
                await device.ask("B?", timeout=0.0)
    said = [e for e in entries(path) if e["instrument"] == "meter"]
    assert [e.get("event") or e.get("write") or e.get("read") for e in said] == [
        "A?\n",
        "1\n",
        "B?\n",
        "timeout",
        "close",
    ]
