"""Devices that fail while their parameters are polled, read for a snapshot or restored; simulated, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from qmi.core.driver import Channel, ScpiInstrument, Simulator, channels, parameter
from qmi.core.exceptions import QMI_RestoreException, QMI_TimeoutException, QMI_TransportLostException
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.testing import open_task_bench


class Inside(Simulator):
    """Its cable is pulled out when the output is switched on."""

    output = False
    cut: Any = None

    @Simulator.command("OUTP {value}")
    def switch(self, value: str) -> None:
        """Switch it."""
        if Inside.cut is not None:
            Inside.cut()


class Supply(ScpiInstrument):
    simulator = Inside

    voltage = parameter("VOLT", float, unit="V", limits=(0, 30))
    output = parameter("OUTP", bool)
    mode = parameter("MODE", int)
    current = parameter("MEAS:CURR?", float, unit="A", poll=1.0)


@pytest.mark.parametrize("reconnect", [False, True])
def test_fault_59_device_that_is_cut_while_it_is_polled(reconnect: bool, caplog: pytest.LogCaptureFixture) -> None:
    with open_task_bench("lab") as bench:
        psu: Any = bench.context.make_instrument("psu", Supply, simulate=True, reconnect=reconnect)
        told = QMI_SignalReceiver()
        psu.sig_current.subscribe(told)
        with psu:
            bench.run(2.0)
            psu.simulate_fault("disconnected")
            bench.run(5.0)
            assert psu.is_open()
        assert told.get_queue_length() == (7 if reconnect else 3)
    said = [record.getMessage() for record in caplog.records if "polling" in record.getMessage()]
    assert said[0].startswith("lab.psu: polling current failed and goes on, said once: QMI_TransportLostException: ")
    assert said[1:] == ["lab.psu: polling current works again, after 1 failure"] * reconnect


@pytest.mark.parametrize("fault", ["no_answer", "garbage"])
def test_fault_59_device_that_does_not_answer_a_poll(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    with open_task_bench("lab") as bench:
        psu: Any = bench.context.make_instrument("psu", Supply, simulate=True)
        told = QMI_SignalReceiver()
        psu.sig_current.subscribe(told)
        with psu:
            psu.simulate_fault(fault)
            bench.run(60.0)
            assert told.get_queue_length() > 30
            assert psu.snapshot()["current"].value == 0.0
    said = [record.getMessage() for record in caplog.records if "polling" in record.getMessage()]
    assert said[1:] == ["lab.psu: polling current works again, after 1 failure"]


def test_fault_59_device_that_is_cut_in_the_midst_of_a_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_task_bench("lab") as bench:
        psu: Any = bench.context.make_instrument("psu", Supply, simulate=True, check_errors=True)
        with psu:
            monkeypatch.setattr(Inside, "cut", lambda: psu.simulate_fault("disconnected"))
            with pytest.raises(QMI_RestoreException) as caught:
                psu.restore({"voltage": 5.0, "output": True, "mode": 3})
            assert caught.value.done == ("voltage",)
            assert caught.value.failed == "output"
            assert caught.value.left == ("mode",)
            assert isinstance(caught.value.__cause__, QMI_TransportLostException)


def test_fault_59_device_that_does_not_answer_before_a_restore() -> None:
    with open_task_bench("lab") as bench:
        psu: Any = bench.context.make_instrument("psu", Supply, simulate=True)
        with psu:
            psu.simulate_fault("no_answer")
            with pytest.raises(QMI_TimeoutException):
                psu.restore({"voltage": 5.0})
            assert psu.voltage == 0.0


class Arm(Channel):
    voltage = parameter("SOUR{n}:VOLT", float, limits=(0, "highest"))
    current = parameter("SOUR{n}:CURR", float, limits=(0, 5))
    highest = parameter("SOUR{n}:MAX", float, simulate=10)


class Arms(ScpiInstrument):
    arms = channels(Arm, 1, 8)


@pytest.mark.parametrize(("fault", "waited"), [("no_answer", 2), ("disconnected", 0)])
def test_fault_59_device_that_does_not_tell_its_limits(fault: str, waited: int) -> None:
    with open_task_bench("lab") as bench:
        psu: Any = bench.context.make_instrument("psu", Arms, simulate=True, timeout=10.0)
        with psu:
            asked = psu.parameters()
            assert asked["arms[8].voltage"].limits == (0, 10.0)
            psu.simulate_fault(fault, times=100)
            begun = bench.clock.now()
            found = psu.parameters()
            # Waiting for the answer that did not come, and for what comes late before the next question.
            assert bench.clock.now() - begun <= waited * 20.0
        assert found["arms[8].voltage"].limits == (None, None)
        assert found["arms[8].current"].limits == (0, 5)
        assert found.keys() == asked.keys()
