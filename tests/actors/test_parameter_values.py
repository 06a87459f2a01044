"""Snapshots, restores, signals and polls of objects with parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, assert_type

import pytest

import qmi
from qmi.core.context import QMI_Context
from qmi.core.driver import (
    Change,
    Channel,
    ProxyParameters,
    QMI_Instrument,
    QMI_Signal,
    Reading,
    ScpiInstrument,
    Snapshot,
    channels,
    diff,
    parameter,
)
from qmi.core.exceptions import (
    QMI_EndOfInputException,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_RestoreException,
    QMI_TimeoutException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from qmi.core.pubsub import QMI_RegisteredSignal, QMI_SignalReceiver
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.testing import open_task_bench
from tests.support.actors import actor_of
from tests.support.lab import two_contexts
from tests.support.supplies import SUPPLIES, AsyncSupply, Kept, Mode, Supply


@pytest.fixture(params=SUPPLIES, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[Supply]:
    found: type[Supply] = request.param
    return found


@pytest.fixture(params=["here", "elsewhere"])
def reach(request: pytest.FixtureRequest) -> Iterator[Callable[[type[Supply]], tuple[Any, Supply]]]:
    """Makes an instrument; gives a proxy of it, here or in another program, and the driver."""

    def make(cls: type[Supply]) -> tuple[Any, Supply]:
        server.make_instrument("psu", cls)
        return client.get_instrument("server.psu"), actor_of(server, "psu").object

    if request.param == "here":
        with QMI_Context("server") as server:
            client = server
            yield make
    else:
        with two_contexts() as (server, client):
            yield make


Reach = Callable[[type[Supply]], tuple[Any, Supply]]


def values(snapshot: Snapshot) -> dict[str, object]:
    return {name: reading.value for name, reading in snapshot.items()}


# -- snapshots


def test_snapshot_asks_for_nothing_and_has_what_was_read_and_set(kind: type[Supply], reach: Reach) -> None:
    psu, driver = reach(kind)
    assert values(psu.snapshot()) == {}
    assert psu.snapshot().missing["voltage"] == "not read yet"
    psu.maximum = 30
    psu.voltage = 5
    assert psu.current == 0.25
    psu.set_trigger(3)
    psu.get_line()
    snapshot = psu.snapshot()
    assert values(snapshot) == {"maximum": 30.0, "voltage": 5.0, "current": 0.25, "trigger": 3}
    assert snapshot["voltage"].unit == "V"
    assert snapshot.address == "server.psu"
    assert snapshot.class_name == f"tests.support.supplies.{kind.__name__}"
    assert 0 <= snapshot.time - snapshot["voltage"].time < 60
    assert type(snapshot) is Snapshot
    assert driver.line == []


def test_snapshot_asks_anew_for_all_but_blocks(kind: type[Supply], reach: Reach) -> None:
    psu, driver = reach(kind)
    psu.maximum = 30
    before = psu.snapshot()["maximum"]
    psu.get_line()
    driver.kept["MAX"] = 29.0
    snapshot = psu.snapshot(update=True)
    assert psu.get_line() == [
        *("MAX?", "VOLT?", "POW?", "CURR?", "MODE?", "OUTP?", "1LEV?", "1MAX?", "1CURR?", "2LEV?", "2MAX?", "2CURR?")
    ]
    assert snapshot["maximum"].value == 29.0
    assert snapshot["maximum"].time >= before.time
    assert snapshot["mode"].value is Mode.VOLTAGE
    assert snapshot["outputs[2].level"] == Reading(0.0, "V", snapshot["outputs[2].level"].time)
    assert snapshot.missing == {"trigger": "not read yet"}
    assert diff(snapshot, psu.snapshot()) == []


def test_snapshot_of_some_names(kind: type[Supply], reach: Reach) -> None:
    psu, _ = reach(kind)
    snapshot = psu.snapshot(update=True, names=["outputs[2].current", "wave", "current"])
    assert list(snapshot) == ["current", "wave", "outputs[2].current"]
    assert snapshot["wave"].value.tolist() == [0.0, 1.0]
    assert psu.get_line() == ["CURR?", "WAVE?", "2CURR?"]
    assert list(psu.snapshot(names=["current", "wave"])) == ["current"]
    assert psu.snapshot(names=[]).readings == {}
    with pytest.raises(QMI_UnknownNameException, match=r"psu has no parameter 'voltag'. Did you mean 'voltage'\?"):
        psu.snapshot(names=["voltag"])
    with pytest.raises(QMI_UnknownNameException, match="psu has no parameter 3"):
        psu.snapshot(names=[3])
    with pytest.raises(
        QMI_UsageException, match="names must be a list of names of parameters, or None for all; got 'v"
    ):
        psu.snapshot(names="voltage")
    assert psu.get_line() == []


def test_snapshot_is_one_turn(kind: type[Supply], lab: QMI_Context) -> None:
    """Nobody else comes between two of its readings."""
    psu: Any = lab.make_instrument("psu", kind)
    driver = actor_of(lab, "psu").object
    seen: list[Any] = []

    def call(command: str) -> None:
        if command == "MAX?" and not seen:
            seen.append(psu.rpc_nonblocking.get_output())

    driver.fail = call
    psu.snapshot(update=True)
    seen[0].wait()
    assert driver.line[0] == "MAX?"
    assert driver.line[-1] == "OUTP?"
    assert len(driver.line) == 13


def test_snapshot_goes_on_where_one_reading_fails(kind: type[Supply], reach: Reach) -> None:
    psu, driver = reach(kind)

    def fail(command: str) -> None:
        if command == "CURR?":
            raise ValueError("overload\x07")

    driver.fail = fail
    snapshot = psu.snapshot(update=True)
    assert snapshot.missing == {"current": "ValueError: overload\\x07", "trigger": "not read yet"}
    assert snapshot["outputs[2].current"].value == 0.0


@pytest.mark.parametrize(("error", "asked"), [(QMI_TimeoutException, 3), (QMI_EndOfInputException, 2)])
def test_snapshot_gives_up_when_nobody_answers(lab: QMI_Context, error: type[Exception], asked: int) -> None:
    psu: Any = lab.make_instrument("psu", Supply)
    driver = actor_of(lab, "psu").object

    def fail(command: str) -> None:
        if command != "MAX?":
            raise error("no answer")

    driver.fail = fail
    snapshot = psu.snapshot(update=True)
    assert len(driver.line) == asked
    assert values(snapshot) == {"maximum": 0.0}
    assert snapshot.missing["voltage"] == f"{error.__name__}: no answer"
    assert snapshot.missing["outputs[2].current"] == "not asked, since nobody answers"


def test_snapshot_fails_when_nothing_can_be_read(reach: Reach) -> None:
    psu, driver = reach(Supply)

    def fail(command: str) -> None:
        raise QMI_InvalidOperationException(f"not open for {command}")

    driver.fail = fail
    with pytest.raises(QMI_InvalidOperationException, match=r"not open for MAX\?"):
        psu.snapshot(update=True)


def test_snapshot_of_an_own_getter_and_what_cannot_be_kept(lab: QMI_Context) -> None:
    class Odd(QMI_RpcObject):
        def get_bytes(self) -> bytes:
            return b"x"

        @parameter(unit="K")
        def temperature(self) -> float:
            """Temperature."""
            return 293.0

        bytes_read = parameter(getter=get_bytes, type=bytes)
        text = parameter(getter=lambda self: "\udc80", type=str)

    odd: Any = lab.make_rpc_object("odd", Odd)
    snapshot = odd.snapshot(update=True)
    assert values(snapshot) == {"temperature": 293.0}
    assert snapshot.missing == {
        "bytes_read": "a value of type bytes is no part of a snapshot",
        "text": "a text with characters that cannot be sent or saved is no part of a snapshot",
    }


def test_snapshot_of_a_driver_that_stands_alone() -> None:
    """As in a test without a context."""
    driver = Supply(None, "psu")
    driver.maximum = 10.0
    assert driver.snapshot().address == "psu"
    assert values(driver.snapshot()) == {"maximum": 10.0}


async def test_snapshot_and_restore_are_awaited(kind: type[Supply]) -> None:
    async with qmi.open_context("lab", None, init_logging=False) as lab:
        psu: Any = await lab.make_instrument("psu", kind)
        await psu.set_maximum(30.0)
        before = await psu.snapshot(update=True)
        await psu.set_maximum(20.0)
        (change,) = await psu.restore(before, dry_run=True)
        assert str(change) == "maximum: 20.0 V -> 30.0 V"
        assert await psu.rpc_nonblocking.restore(before) == [change]
        assert (await psu.get_maximum()) == 30.0


async def test_snapshot_is_always_awaited_in_a_driver_whose_parameters_are() -> None:
    class Own(AsyncSupply):
        @rpc_method
        async def save_and_set(self: Any) -> list[Change]:
            before = await self.snapshot()
            assert before.readings == {}
            before = await self.snapshot(update=True)
            await self.restore({"maximum": 20.0}, dry_run=True)
            assert (await self.parameters("voltage"))["voltage"].limits == (0, 0.0)
            await self.set_maximum(20.0)
            changes: list[Change] = await self.restore(before)
            return changes

    class Plain(Own):
        """What is awaited is overridden by what is not."""

        _read_parameter = Kept._read_parameter
        _write_parameter = Kept._write_parameter
        power = parameter("POW", float, unit="W")
        save_and_set = None  # type: ignore[assignment]

        @rpc_method
        async def try_it(self: Any) -> list[Change]:
            changes: list[Change] = self.restore({"maximum": 20.0})
            return changes

    async with qmi.open_context("lab", None, init_logging=False) as lab:
        psu: Any = await lab.make_instrument("psu", Own)
        assert await psu.save_and_set() == [Change("maximum", 20.0, 0.0, "V")]
        plain: Any = await lab.make_instrument("plain", Plain)
        assert await plain.try_it() == [Change("maximum", 0.0, 20.0, "V")]


def test_snapshot_of_the_driver_wins() -> None:
    class Own(Kept):
        x = parameter("X", float)

        @rpc_method
        def snapshot(self, file: str) -> str:
            """Take a picture."""
            return file

    with qmi.start("lab", None, init_logging=False):
        own: Any = qmi.make_instrument("own", Own)
        assert own.snapshot("a.png") == "a.png"
        own.x = 1.0
        assert own.restore({"x": 2.0}) == [Change("x", 1.0, 2.0)]


# -- restoring


def test_restore_sets_what_differs_in_the_declared_order(kind: type[Supply], reach: Reach) -> None:
    psu, _ = reach(kind)
    psu.maximum, psu.voltage, psu.power, psu.mode = 30.0, 20.0, 30.0, Mode.CURRENT
    psu.set_trigger(1)
    before = psu.snapshot(update=True)
    psu.power, psu.voltage, psu.maximum, psu.mode = 4.0, 2.0, 2.5, Mode.VOLTAGE
    psu.get_line()
    planned = psu.restore(before, dry_run=True)
    assert all(line.endswith("?") for line in psu.get_line())
    assert [str(change) for change in planned] == [
        "maximum: 2.5 V -> 30.0 V",
        "voltage: 2.0 V -> 20.0 V",
        "power: 4.0 W -> 30.0 W",
        "mode: VOLTAGE -> CURRENT",
    ]
    assert psu.restore(before) == planned
    assert [line for line in psu.get_line() if not line.endswith("?")] == [
        *("MAX 30.0", "VOLT 20.0", "POW 30.0", "MODE Mode.CURRENT"),
    ]
    assert psu.restore(before) == []
    assert diff(before, psu.snapshot(update=True)) == []


def test_restore_takes_a_part_or_plain_values(kind: type[Supply], reach: Reach) -> None:
    psu, _ = reach(kind)
    psu.maximum = 30.0
    before = psu.snapshot(update=True)
    assert psu.restore({"voltage": 5, "outputs[1].level": 0.0, "mode": "CURR", "trigger": 7}) == [
        Change("voltage", 0.0, 5.0, "V"),
        Change("mode", Mode.VOLTAGE, Mode.CURRENT),
        Change("trigger", None, 7),
    ]
    assert psu.restore(before.select("voltage")) == [Change("voltage", 5.0, 0.0, "V")]
    assert psu.mode is Mode.CURRENT


def test_restore_of_a_file(reach: Reach, tmp_path: Path) -> None:
    psu, _ = reach(Supply)
    psu.restore({"maximum": 12.0, "voltage": 1 / 3, "mode": Mode.CURRENT, "output": True, "outputs[2].maximum": 3.0})
    psu.snapshot(update=True).save(tmp_path / "psu.json")
    psu.restore({"maximum": 1.0, "mode": Mode.VOLTAGE, "output": False})
    changes = psu.restore(Snapshot.load(tmp_path / "psu.json"))
    assert [change.name for change in changes] == ["maximum", "mode", "output"]
    assert diff(Snapshot.load(tmp_path / "psu.json"), psu.snapshot(update=True)) == []


def test_client_without_the_driver_keeps_and_restores_its_snapshots(tmp_path: Path) -> None:
    """It does not have the class of the enumeration either."""

    class Shape(Enum):
        SINE = "SIN"
        RAMP = "RMP"
        PAIR = (1, 2)

    Shape.__module__ = "nowhere_to_be_found"

    class Generator(Kept):
        shape = parameter("SHAP", Shape)
        level = parameter("LEV", float)

    with two_contexts() as (server, client):
        server.make_instrument("gen", Generator)
        driver, gen = actor_of(server, "gen").object, client.get_instrument("server.gen")
        proxy: Any = gen
        for shape in Shape:
            driver.kept.update(SHAP=shape, LEV=1.0)
            before = proxy.snapshot(update=True)
            assert type(before["shape"].value) is not Shape
            before.save(tmp_path / "gen.json")
            driver.kept.update(SHAP=Shape.RAMP if shape is Shape.SINE else Shape.SINE, LEV=2.0)
            for kept in (before, Snapshot.load(tmp_path / "gen.json")):
                assert [change.name for change in proxy.restore(kept, dry_run=True)] == ["shape", "level"]
                assert [change.name for change in diff(kept, proxy.snapshot(update=True))] == ["shape", "level"]
            proxy.restore(Snapshot.load(tmp_path / "gen.json"))
            assert driver.kept["SHAP"] is shape
            assert diff(before, proxy.snapshot(update=True)) == []
            driver.kept["SHAP"] = Shape.RAMP if shape is Shape.SINE else Shape.SINE
            proxy.restore(before)
            assert driver.kept["SHAP"] is shape


def test_restore_checks_all_before_the_first_is_set(kind: type[Supply], reach: Reach) -> None:
    psu, _ = reach(kind)
    with pytest.raises(QMI_InvalidValueException) as caught:
        psu.restore({"maximum": 10.0, "voltage": 20.0, "mode": "nothing", "output": 3, "outputs[1].maximum": 5.0})
    assert str(caught.value) == (
        "server.psu cannot be restored, and nothing was set: "
        "voltage of psu must be from 0 to 10.0 V, got 20.0 V; "
        "mode of psu must be Mode.VOLTAGE or Mode.CURRENT, got 'nothing'; output of psu must be True or False, got 3"
    )
    assert [line for line in psu.get_line() if not line.endswith("?")] == []


@pytest.mark.parametrize(
    ("wanted", "fault"),
    [
        ({"voltge": 1.0}, "there is no voltge to be restored: the object has maximum, voltage, "),
        ({"outputs[3].level": 1.0}, r"there is no outputs\[3\].level to be restored"),
        ({"current": 1.0}, "current can only be read"),
        ({"wave": 1.0}, "wave can only be read"),
        ({"voltage": Reading(1.0, "mV")}, "voltage is in V here, and in mV in the snapshot"),
    ],
)
def test_restore_of_what_does_not_fit_is_refused(wanted: dict[str, object], fault: str, lab: QMI_Context) -> None:
    psu: Any = lab.make_instrument("psu", Supply)
    with pytest.raises(QMI_InvalidValueException, match=rf"lab\.psu cannot be restored, and nothing was set: {fault}"):
        psu.restore(wanted)
    assert psu.get_line() == []


def test_restore_of_no_snapshot_is_refused(lab: QMI_Context) -> None:
    psu: Any = lab.make_instrument("psu", Supply)
    with pytest.raises(QMI_UsageException, match=r"restore\(\) takes a snapshot, or a dict of values by names; got 5"):
        psu.restore(5)


def test_restore_that_fails_on_the_way_tells_what_was_set(kind: type[Supply], reach: Reach) -> None:
    psu, driver = reach(kind)

    def fail(command: str) -> None:
        if command == "VOLT 5.0":
            raise QMI_TimeoutException("no answer")

    driver.fail = fail
    with pytest.raises(QMI_RestoreException) as caught:
        psu.restore({"maximum": 10.0, "voltage": 5.0, "output": True, "trigger": 1})
    assert str(caught.value) == (
        "Restoring server.psu stopped at voltage: 0.0 V -> 5.0 V: QMI_TimeoutException: no answer. "
        "Set before: maximum: 0.0 V -> 10.0 V. Not set: output, trigger"
    )
    assert (caught.value.failed, caught.value.done, caught.value.left) == (
        *("voltage", ("maximum",), ("output", "trigger")),
    )
    assert driver.kept["MAX"] == 10.0
    assert driver.kept.get("OUTP") is None


def test_restore_is_refused_while_somebody_else_has_the_lock(lab: QMI_Context) -> None:
    psu: Any = lab.make_instrument("psu", Supply)
    other: Any = lab.get_instrument("psu")
    from qmi.core.exceptions import QMI_ObjectLockedException

    with psu.locked():
        with pytest.raises(QMI_ObjectLockedException):
            other.restore({"voltage": 0.0})
        psu.restore({"maximum": 3.0})


# -- limits as they will be


def test_restore_that_would_fail_on_the_way_is_refused_before(kind: type[Supply], lab: QMI_Context) -> None:
    """What limits a setting is declared after it, and so set too late."""

    class Late(kind):  # type: ignore[misc, valid-type]
        level = parameter("LEV", float, limits=(0, "top"))
        top = parameter("TOP", float)

    late: Any = lab.make_instrument("late", Late)
    with pytest.raises(QMI_InvalidValueException, match=r"level of late must be from 0 to 0\.0, got 3\.0"):
        late.restore({"level": 3.0, "top": 5.0})
    assert not any(line.startswith(("TOP ", "LEV ")) for line in late.get_line())


def test_limit_that_is_a_function_sees_the_values_as_they_will_be(reach: Reach) -> None:
    psu, _ = reach(Supply)
    psu.restore({"power": 10.0, "voltage": 5.0, "maximum": 6.0})
    with pytest.raises(QMI_InvalidValueException, match=r"power of psu must be from 0 to 4\.0 W, got 9\.0 W"):
        psu.restore({"power": 9.0, "voltage": 2.0})
    assert psu.voltage == 5.0


def test_limits_of_channels_see_the_values_as_they_will_be(lab: QMI_Context) -> None:
    class Axis(Channel):
        range = parameter("RANGE", float)
        position = parameter("POS", float, limits=lambda axis: (0, axis.range + axis.instrument.extra + axis.number))

    class Stage(Kept):
        axes = channels(Axis, 1, 2)
        extra = parameter("EXTRA", float)

    stage: Any = lab.make_instrument("stage", Stage)
    stage.restore({"extra": 100.0, "axes[2].range": 10.0, "axes[2].position": 112.0})
    with pytest.raises(QMI_InvalidValueException, match=r"axes\[1\]\.position of stage must be from 0 to 101\.0, got"):
        stage.restore({"axes[1].position": 102.0})


# -- what was set


def test_setting_is_told_by_whomever_it_is_set(kind: type[Supply], reach: Reach) -> None:
    class Own(kind):  # type: ignore[misc, valid-type]
        @rpc_method
        async def off(self) -> None:
            await self.set_voltage(0.0)

        @rpc_method
        def down(self) -> None:
            self.voltage = 0.0

    psu, _ = reach(Own)
    told = QMI_SignalReceiver()
    psu.sig_changed.subscribe(told)
    psu.maximum = 30
    psu.set_mode(Mode.CURRENT)
    psu.rpc_nonblocking.set_voltage(2).wait()
    psu.restore({"output": True, "outputs[2].maximum": 2.5})
    with pytest.raises(QMI_InvalidValueException):
        psu.voltage = 100
    psu.snapshot(update=True)
    psu.off() if issubclass(kind, AsyncSupply) else psu.down()
    assert [told.get_next_signal(timeout=5).args for _ in range(6)] == [
        ("maximum", 30.0),
        ("mode", Mode.CURRENT),
        ("voltage", 2.0),
        ("output", True),
        ("outputs[2].maximum", 2.5),
        ("voltage", 0.0),
    ]
    assert not told.has_signal_ready()


def test_setting_stays_set_whatever_its_signal_does(caplog: pytest.LogCaptureFixture) -> None:
    class Named(Kept):
        label = parameter("LAB", str)

    with two_contexts() as (server, client):
        named: Any = server.make_instrument("named", Named)
        told = QMI_SignalReceiver()
        client.get_instrument("server.named").sig_changed.subscribe(told)
        named.label = "\udc80"  # cannot be sent
        assert named.label == "\udc80"
        named.label = "x"
        assert told.get_next_signal(timeout=5).args == ("label", "x")
    assert [record.levelname for record in caplog.records if "sig_changed" in record.getMessage()] == ["WARNING"]


def test_setting_stays_set_where_it_cannot_be_published(
    lab: QMI_Context, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish(*args: object) -> None:
        raise RuntimeError("no")

    psu: Any = lab.make_instrument("psu", Supply)
    monkeypatch.setattr("qmi.actors.pubsub.broker.Broker.publisher_of", publish)
    psu.maximum = 30.0
    assert psu.maximum == 30.0
    assert "sig_changed of maximum was not published: no" in caplog.records[-1].getMessage()


def test_signals_of_parameters_are_shown(reach: Reach) -> None:
    psu, _ = reach(Supply)
    assert [(signal.name, signal.arg_types) for signal in psu.get_signals()] == [
        ("sig_changed", (str, object)),
        ("sig_current", (float,)),
        ("sig_outputs_current", (int, float)),
    ]
    assert {"sig_changed", "sig_current", "sig_outputs_current", "snapshot", "restore"} <= set(dir(psu))
    assert "(int, float)" in type(psu).sig_outputs_current.__doc__


def test_object_without_parameters_has_none_of_it(lab: QMI_Context) -> None:
    plain: Any = lab.make_instrument("plain", QMI_Instrument)
    assert not {"snapshot", "restore", "sig_changed", "parameters"} & set(dir(plain))
    assert plain.get_signals() == []


# -- polls


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_poll_publishes_readings_and_keeps_them(kind: type[Supply], where: str) -> None:
    from tests.support.lab import config

    with open_task_bench("server", config=config("server")) as bench, two_programs(bench.context) as client:
        bench.context.make_instrument("psu", kind)
        psu: Any = (bench.context if where == "here" else client).get_instrument("server.psu")
        driver = actor_of(bench.context, "psu").object
        current, outputs = QMI_SignalReceiver(), QMI_SignalReceiver()
        psu.sig_current.subscribe(current)
        psu.sig_outputs_current.subscribe(outputs)
        psu.open()
        bench.run(0.75)
        driver.kept["CURR"], driver.kept["2CURR"] = 0.5, 1.5
        with psu.locked():
            bench.run(0.75)
        assert [current.get_next_signal(timeout=5).args for _ in range(2)] == [(0.25,), (0.5,)]
        assert [outputs.get_next_signal(timeout=5).args for _ in range(6)] == [
            *((1, 0.0), (2, 0.0), (1, 0.0), (2, 0.0), (1, 0.0), (2, 1.5)),
        ]
        assert values(psu.snapshot()) == {"current": 0.5, "outputs[1].current": 0.0, "outputs[2].current": 1.5}
        psu.close()
        psu.get_line()
        bench.run(5.0)
        assert psu.get_line() == []


def two_programs(server: QMI_Context) -> Any:
    from contextlib import contextmanager

    from tests.support.lab import address, config

    @contextmanager
    def connected() -> Iterator[QMI_Context]:
        with QMI_Context("client", config()) as client:
            client.connect_to_peer("server", address(server))
            yield client

    return connected()


def test_poll_that_fails_keeps_the_others(caplog: pytest.LogCaptureFixture) -> None:
    with open_task_bench("lab") as bench:
        psu: Any = bench.context.make_instrument("psu", Supply)
        driver = actor_of(bench.context, "psu").object

        def fail(command: str) -> None:
            if command == "CURR?":
                raise QMI_TimeoutException("no answer")

        driver.fail = fail
        told = QMI_SignalReceiver()
        psu.sig_outputs_current.subscribe(told)
        psu.open()
        bench.run(3.0)
        driver.fail = lambda command: None
        bench.run(1.0)
        psu.close()
        assert told.get_queue_length() == 18
    assert [record.getMessage() for record in caplog.records] == [
        "lab.psu: polling current failed and goes on, said once: QMI_TimeoutException: no answer",
        "lab.psu: polling current works again, after 4 failures",
    ]


def test_poll_of_a_getter_of_an_object_that_is_never_opened() -> None:
    class Room(QMI_RpcObject):
        def __init__(self, context: Any, name: str) -> None:
            super().__init__(context, name)
            self.value = 20.0

        @parameter(unit="degC", poll=60.0)
        def temperature(self) -> float:
            """Temperature of the room."""
            self.value += 1.0
            return self.value

    with open_task_bench("lab") as bench:
        room: Any = bench.context.make_rpc_object("room", Room)
        told = QMI_SignalReceiver()
        room.sig_temperature.subscribe(told)
        bench.run(120.0)
        assert [told.get_next_signal(timeout=0).args for _ in range(3)] == [(21.0,), (22.0,), (23.0,)]


# -- what a class may declare


def test_signals_of_the_driver_itself_are_used() -> None:
    class Own(Kept):
        sig_current = QMI_Signal([float])
        current = parameter("CURR?", float, poll=1.0)

    with open_task_bench("lab") as bench:
        own: Any = bench.context.make_instrument("own", Own)
        told = QMI_SignalReceiver()
        own.sig_current.subscribe(told)
        with own:
            bench.run(0.0)
        assert told.get_next_signal(timeout=0).args == (0.25,)
        assert [signal.name for signal in own.get_signals()].count("sig_current") == 1


def test_signal_with_other_arguments_is_refused() -> None:
    with pytest.raises(QMI_UsageException) as caught:

        class Wrong(Kept):
            sig_changed = QMI_Signal([float])
            x = parameter("X", float)

    assert str(caught.value) == (
        f"{test_signal_with_other_arguments_is_refused.__name__}.<locals>.Wrong.sig_changed is the name of the signal "
        "that tells of parameters, with the arguments (str, object). Rename that signal"
    )
    with pytest.raises(QMI_UsageException, match=r"Wrong2\.sig_x is the name of the signal that tells of .* Rename it"):

        class Wrong2(Kept):
            x = parameter("X", float, poll=1.0)

            def sig_x(self) -> None:
                """Do something."""


def test_signals_follow_the_declarations_of_a_subclass() -> None:
    class Calm(Supply):
        current = parameter("CURR?", int)

    class Other(Supply):
        current = parameter("CURR?", int, poll=3.0)

    with qmi.start("lab", None, init_logging=False):
        calm: Any = qmi.make_instrument("calm", Calm)
        other: Any = qmi.make_instrument("other", Other)
        assert [signal.name for signal in calm.get_signals()] == ["sig_changed", "sig_outputs_current"]
        assert [signal.arg_types for signal in other.get_signals() if signal.name == "sig_current"] == [(int,)]


# -- types, which mypy looks at


class TypedSupply(ScpiInstrument):
    voltage = parameter("VOLT", float)


def see_types(psu: TypedSupply) -> None:
    assert_type(psu.snapshot(), Snapshot)
    assert_type(psu.restore(psu.snapshot(), dry_run=True), list[Change])
    assert_type(psu.sig_changed, QMI_RegisteredSignal)
    assert_type(psu.parameters, ProxyParameters)
    assert_type(psu.voltage, float)


class Camera(QMI_Instrument):
    exposure = parameter(getter=lambda self: 1.0, type=float)

    @rpc_method
    def snapshot(self, file: str) -> bytes:
        """A name that its driver gives to something else."""
        return file.encode()


class Polled(Channel):
    @parameter(poll=1.0)
    def current(self) -> float:
        return 1.0


def polled(self: Any) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("namespace", "said"),
    [
        (
            {"changed": parameter(poll=1.0)(polled)},
            "sig_changed would be the signal of the readings of changed, and also that of settings that were set",
        ),
        (
            {"arms": channels(Polled, 1, 2), "arms_current": parameter(poll=1.0)(polled)},
            r"sig_arms_current would be .* of arms\[\.\.\.\]\.current, and also that of the readings of arms_current",
        ),
    ],
)
def test_readings_that_would_share_a_signal_are_refused(namespace: dict[str, Any], said: str) -> None:
    with pytest.raises(QMI_UsageException, match=rf"Clash\.{said}: give .* another name, or leave its poll= out"):
        type("Clash", (QMI_RpcObject,), namespace)


def test_readings_that_are_not_polled_share_nothing() -> None:
    namespace = {"arms": channels(Polled, 1, 2), "arms_current": parameter()(polled)}
    made: Any = type("Calm", (QMI_RpcObject,), namespace)
    assert [signal.name for signal in made.get_signals()] == ["sig_changed", "sig_arms_current"]
