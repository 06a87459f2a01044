"""Devices with the protocol of ophyd, and real ones of ophyd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import qmi
from qmi.core.context import QMI_Context


class Status:
    """What ``set()`` gives."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.done = self.success = False

    def wait(self, timeout: float | None = None) -> None:
        self.done = True
        if self.error is not None:
            raise self.error


class Signal:
    """A value."""

    def __init__(self, value: float, write_access: bool = True) -> None:
        self.value = value
        self.write_access = write_access

    def get(self) -> float:
        return self.value

    def set(self, value: float) -> Status:
        self.value = value
        return Status()

    def read(self) -> dict[str, Any]:
        return {"value": {"value": self.value, "timestamp": 1.0}}

    def describe(self) -> dict[str, Any]:
        return {"value": {"source": "SIM", "dtype": "number", "shape": []}}


class Stage:
    """A stage of nobody's library."""

    closed: list[str] = []  # noqa: RUF012

    def __init__(self, prefix: str, *, name: str) -> None:
        self.name = name
        self.speed = Signal(1.0)
        self.readback = Signal(0.0, write_access=False)
        self.last = Status()

    def read(self) -> dict[str, Any]:
        return {self.name: {"value": self.readback.get(), "timestamp": 1.0}}

    def describe(self) -> dict[str, Any]:
        return {self.name: {"source": "SIM", "dtype": "number", "shape": []}}

    def set(self, value: float) -> Status:
        self.last = Status(ValueError("the end switch") if value > 10 else None)
        self.readback.value = value
        return self.last

    @property
    def was_waited_for(self) -> bool:
        return self.last.done

    def destroy(self) -> None:
        self.closed.append(self.name)


@pytest.fixture
def context() -> Iterator[QMI_Context]:
    with QMI_Context("lab") as context:
        yield context


def test_device_with_the_protocol_of_ophyd(context: QMI_Context) -> None:
    Stage.closed.clear()
    stage = context.make_instrument("stage", qmi.hosted(Stage), "SIM:")
    with stage:
        assert stage.describe()["stage"]["source"] == "SIM"
        assert stage.set(3.0) is None
        assert stage.was_waited_for
        assert stage.read()["stage"]["value"] == 3.0
        stage.speed = 2.0
        assert (stage.speed, stage.readback) == (2.0, 3.0)
        assert not stage.parameters()["readback"].settable
        with pytest.raises(ValueError, match="the end switch"):
            stage.set(11.0)
    assert Stage.closed == ["stage"]
    stage.open()
    assert stage.read()["stage"]["value"] == 0.0
    context.remove_rpc_object(stage)
    assert Stage.closed == ["stage"] * 2


def test_signal_with_the_protocol_of_ophyd(context: QMI_Context) -> None:
    signal = context.make_instrument("signal", qmi.hosted(Signal), 1.5)
    signal.value = 2.5
    assert (signal.value, signal.read()["value"]["value"]) == (2.5, 2.5)


@pytest.mark.slow
def test_devices_of_ophyd(context: QMI_Context) -> None:
    motor = context.make_instrument("motor", qmi.hosted("ophyd.sim:SynAxis"))
    with motor:
        assert motor.set(3) is None
        assert (motor.position, motor.readback, motor.read()["motor"]["value"]) == (3, 3, 3)
        motor.velocity = 2
        assert motor.read_configuration()["motor_velocity"]["value"] == 2
        assert motor.describe()["motor"]["dtype"] == "number"
        assert motor.trigger() is None
        assert motor.snapshot(update=True, names=["velocity", "acceleration"])["velocity"].value == 2
    signal = context.make_instrument("signal", qmi.hosted("ophyd:Signal"), value=1.0)
    signal.value = 4.0
    assert signal.read()["signal"]["value"] == 4.0
