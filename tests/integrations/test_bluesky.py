"""bluesky's own RunEngine moves and reads proxies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from enum import Enum
from typing import Any

import numpy as np
import pytest

import qmi
from qmi.core.driver import QMI_Instrument, parameter, rpc_method
from qmi.core.exceptions import QMI_InvalidOperationException, QMI_InvalidValueException, QMI_UsageException
from qmi.integrations.bluesky import Device
from tests.support.lab import two_contexts

bluesky = pytest.importorskip("bluesky")

from bluesky import plan_stubs as bps  # noqa: E402
from bluesky import plans as bp  # noqa: E402
from bluesky import protocols  # noqa: E402
from bluesky.run_engine import RunEngine  # noqa: E402
from bluesky.simulators import check_limits  # noqa: E402
from bluesky.utils import FailedStatus  # noqa: E402


class Mode(Enum):
    FAST = "F"
    SLOW = "S"


class Stage(QMI_Instrument):
    """A stage that is there a few questions after it was told where to go."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context, name)
        self._target = self._position = 0.0
        self.stuck = False
        self._mode = Mode.FAST
        self._gain = 1
        self.triggered = 0

    @parameter(unit="mm", limits=(-5, 5))
    def target(self) -> float:
        """Where to go."""
        return self._target

    @target.setter
    def set_target(self, value: float) -> None:
        """Go."""
        self._target = value

    @parameter(unit="mm")
    def position(self) -> float:
        """Where it is."""
        if not self.stuck:
            self._position += (self._target - self._position) / 2
        return self._position

    @parameter
    def mode(self) -> Mode:
        """How it moves."""
        return self._mode

    @mode.setter
    def set_mode(self, value: Mode) -> None:
        """Move otherwise."""
        self._mode = value

    @parameter(limits=(1, 100))
    def gain(self) -> int:
        """How strongly."""
        return self._gain

    @gain.setter
    def set_gain(self, value: int) -> None:
        """Otherwise."""
        self._gain = value

    @parameter(poll=0.01)
    def count(self) -> int:
        """How often it was triggered."""
        return self.triggered

    @rpc_method
    def trigger(self) -> None:
        """Count."""
        self.triggered += 1

    @rpc_method
    def stop(self) -> None:
        """Stay here."""
        self._target = self._position
        self.stuck = True

    @rpc_method
    def get_stuck(self) -> bool:
        """Whether it was stopped."""
        return self.stuck


class Bare(QMI_Instrument):
    """Has no parameters."""


@pytest.fixture
def stage() -> Iterator[Stage]:
    with qmi.start("bluesky", None):
        stage = qmi.make_instrument("stage", Stage)
        stage.open()
        yield stage
        stage.close()


@pytest.fixture(scope="module")
def engine() -> RunEngine:
    return RunEngine({}, context_managers=[])


def run(engine: RunEngine, plan: Any) -> dict[str, list[dict[str, Any]]]:
    """Run a plan; the documents by their kind."""
    documents: dict[str, list[dict[str, Any]]] = {}
    engine(plan, lambda kind, document: documents.setdefault(kind, []).append(document))
    return documents


def test_device_has_the_protocols_of_bluesky(stage: Stage) -> None:
    device = Device(stage)
    of_device: list[Any] = [protocols.Readable, protocols.Triggerable, protocols.Configurable, protocols.Stageable]
    assert all(isinstance(device, protocol) for protocol in [*of_device, protocols.HasHints])
    of_setting: list[Any] = [protocols.Movable, protocols.Locatable, protocols.Checkable, protocols.Readable]
    assert all(isinstance(device.target, protocol) for protocol in of_setting)
    assert not isinstance(device.position, protocols.Movable)
    assert isinstance(device.position, protocols.Subscribable)
    assert isinstance(device.axis("target", "position", tolerance=0.1), protocols.Stoppable)


def test_scan_moves_and_reads_a_proxy(stage: Stage, engine: RunEngine) -> None:
    device = Device(stage)
    documents = run(engine, bp.scan([device], device.target, -1, 1, 3))
    rows = [event["data"] for event in documents["event"]]
    assert [row["stage_target"] for row in rows] == [-1.0, 0.0, 1.0]
    assert [row["stage_count"] for row in rows] == [1, 2, 3]
    (described,) = documents["descriptor"]
    assert described["data_keys"]["stage_target"] == {
        "source": "qmi:bluesky.stage.target",
        "dtype": "number",
        "shape": [],
        "units": "mm",
        "limits": {"control": {"low": -5, "high": 5}},
        "object_name": "stage_target",
    }
    assert described["configuration"]["stage"]["data"]["stage_mode"] == "F"


def test_axis_waits_until_the_reading_is_there(stage: Stage, engine: RunEngine) -> None:
    device = Device(stage)
    axis = device.axis("target", "position", tolerance=0.01, interval=0.0)
    documents = run(engine, bp.scan([device], axis, 0, 4, 2))
    last = documents["event"][-1]["data"]
    assert last["stage_axis_setpoint"] == 4.0
    assert last["stage_axis"] == pytest.approx(4.0, abs=0.01)
    assert last["stage_position"] == pytest.approx(4.0, abs=0.01)
    assert axis.hints == {"fields": ["stage_axis"]}


def test_axis_that_never_gets_there_fails_the_plan(stage: Stage, engine: RunEngine) -> None:
    stage.stop()
    axis = Device(stage).axis("target", "position", tolerance=0.01, interval=0.0, timeout=0.01)
    with pytest.raises(FailedStatus) as failed:
        run(engine, bps.mv(axis, 3))
    assert "stage_axis is at 0.0 after 0.01 s, and not at 3 +- 0.01" in str(failed.value.__cause__ or failed.value)


def test_axis_is_stopped(stage: Stage, engine: RunEngine) -> None:
    stage.stop()
    axis = Device(stage).axis("target", "position", tolerance=0.01, interval=0.0)
    status = axis.set(1.0)
    run(engine, bps.stop(axis))
    assert status.exception(10.0) is None
    status = axis.set(2.0)

    def failing() -> Iterator[Any]:
        yield from bps.open_run()
        yield from bps.abs_set(axis, 3.0)
        raise KeyError("plan")

    with pytest.raises(KeyError):
        run(engine, failing())
    assert stage.get_stuck()


def test_value_out_of_limits_fails_the_plan_and_is_found_before_it(stage: Stage, engine: RunEngine) -> None:
    device = Device(stage)
    status = device.target.set(7.0)
    error = status.exception(10.0)
    assert isinstance(error, QMI_InvalidValueException)
    assert not status.success
    with pytest.raises(FailedStatus):
        run(engine, bps.mv(device.target, 6.0))
    with pytest.raises(QMI_InvalidValueException, match=r"target of bluesky.stage must be from -5 to 5 mm, got 6"):
        check_limits(bp.scan([device], device.target, 0, 6, 3))  # type: ignore[no-untyped-call]
    assert stage.target == 0.0


def test_status_calls_back_once_early_or_late(stage: Stage) -> None:
    called = threading.Event()
    status = Device(stage).target.set(np.float64(2.0))
    status.add_callback(lambda _: called.set())
    status.wait(10.0)
    assert called.wait(10.0)
    late: list[bool] = []
    status.add_callback(lambda status: late.append(status.success))
    assert late == [True]
    assert stage.target == 2.0


def test_whole_numbers_are_scanned_by_plans_that_count_in_floats(stage: Stage, engine: RunEngine) -> None:
    device = Device(stage)
    rows = [event["data"] for event in run(engine, bp.scan([device], device.gain, 1, 3, 3))["event"]]
    assert [row["stage_gain"] for row in rows] == [1, 2, 3]
    assert type(rows[0]["stage_gain"]) is int
    with pytest.raises(QMI_InvalidValueException, match=r"gain of bluesky.stage must be a whole number, got 1.5"):
        check_limits(bp.scan([device], device.gain, 1, 2, 3))  # type: ignore[no-untyped-call]


def test_parameter_of_a_device_cannot_be_replaced_by_a_value(stage: Stage) -> None:
    device = Device(stage)
    with pytest.raises(AttributeError, match=r"set it by mv\(stage.gain, 5\) in a plan, or by proxy.gain = 5"):
        device.gain = 5
    assert stage.gain == 1


def test_locked_instrument_is_not_staged(stage: Stage, engine: RunEngine) -> None:
    device = Device(stage, lock=True, lock_timeout=0.0)
    other = qmi.get_instrument("stage")
    assert other.lock()
    with pytest.raises(FailedStatus) as failed:
        run(engine, bp.count([device]))
    assert isinstance(failed.value.__cause__, QMI_InvalidOperationException)
    assert "bluesky.stage is locked by" in str(failed.value.__cause__)
    other.unlock()
    held: list[bool] = []

    def look() -> Iterator[Any]:
        yield from bps.stage_all(device)
        held.append(other.is_locked())
        yield from bps.unstage_all(device)

    run(engine, look())
    assert held == [True]
    assert not other.is_locked()


def test_published_readings_are_monitored(stage: Stage) -> None:
    got: list[dict[str, Any]] = []
    enough = threading.Event()

    def take(document: dict[str, dict[str, object]]) -> None:
        got.append(document)
        enough.set()

    count = Device(stage).count
    count.subscribe(take)
    assert enough.wait(10.0)
    count.clear_sub(take)
    assert got[0]["stage_count"]["value"] == 0
    with pytest.raises(QMI_UsageException, match="declare it with poll=seconds"):
        Device(stage).position.subscribe(take)


def test_errors_name_what_there_is(stage: Stage) -> None:
    with pytest.raises(QMI_UsageException, match="has no parameter 'speed' that can be read; it has target"):
        Device(stage, read=["speed"])
    with pytest.raises(AttributeError, match="has no parameter 'speed'"):
        _ = Device(stage).speed
    with pytest.raises(QMI_UsageException, match="can only be read, and not moved"):
        Device(stage).axis("position", "position", tolerance=1.0)
    with pytest.raises(QMI_UsageException, match=r"lists of names: write \['position'\]"):
        Device(stage, read="position")
    with pytest.raises(QMI_UsageException, match="has no parameters"):
        Device(qmi.make_instrument("bare", Bare))


def test_proxy_of_another_context_is_moved(engine: RunEngine) -> None:
    with two_contexts() as (server, client):
        server.make_instrument("stage", Stage)
        device = Device(client.get_instrument("server.stage"), name="far")
        rows = [event["data"] for event in run(engine, bp.scan([device], device.target, 0, 1, 2))["event"]]
        assert [row["far_target"] for row in rows] == [0.0, 1.0]
