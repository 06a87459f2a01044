"""``$traffic``: what instruments and their devices say to each other, seen from another program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import qmi
from qmi.core.context import LogBatch, QMI_Context
from qmi.core.driver import ScpiInstrument, parameter
from qmi.core.exceptions import QMI_InvalidValueException, QMI_UnknownNameException
from qmi.devices import traffic as traffic_rules
from qmi.devices import traffic_log
from qmi.devices.traffic_log import TrafficLog
from tests.support.lab import address, make_context
from tests.support.supplies import Supply


class Meter(ScpiInstrument):
    """A meter."""

    level = parameter("LEV", float, unit="V", limits=(0, 5))


class Bench:
    """A laboratory, and another program that looks at it."""

    def __init__(self, lab: QMI_Context, client: QMI_Context) -> None:
        self.meter: Any = lab.make_instrument("meter", Meter, simulate=True)
        self.meter.open()
        self.other: Any = lab.make_instrument("other", Meter, simulate=True)
        self.other.open()
        lab.make_instrument("plain", Supply)
        self.traffic: Any = client.get_rpc_object("lab.$traffic")

    def read(self, **request: object) -> LogBatch:
        return LogBatch.from_plain(self.traffic.read_traffic("meter", **request))

    def texts(self) -> list[str]:
        return [record.message for record in self.read().records]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with make_context("lab") as lab, qmi.start("client", None, init_logging=False) as client:
        client.connect_to_peer("lab", address(lab))
        yield Bench(lab, client)


def test_traffic_is_kept_while_it_is_switched_on(bench: Bench) -> None:
    bench.meter.parameters.level.set(1.5)
    assert bench.texts() == []
    assert bench.traffic.get_traffic("meter") == {"transport": True, "on": False, "by": "", "since": 0.0}
    bench.traffic.start_traffic("meter")
    told = bench.traffic.get_traffic("meter")
    assert told["on"]
    assert "client" in told["by"]
    assert told["since"] > 0
    bench.meter.parameters.level.set(2.5)
    bench.other.parameters.level.set(3.5)
    assert bench.meter.parameters.level.get() == 2.5
    texts = bench.texts()
    assert any(text.startswith("write ") and "LEV 2.5" in text for text in texts)
    assert any(text.startswith("read ") and "2.5" in text for text in texts)
    assert not any("3.5" in text for text in texts)
    bench.traffic.stop_traffic("meter")
    bench.meter.parameters.level.set(4.5)
    assert bench.texts() == texts
    assert not bench.traffic.get_traffic("meter")["on"]


def test_traffic_is_waited_for(bench: Bench) -> None:
    bench.traffic.start_traffic("meter")
    before = bench.read()
    bench.meter.parameters.level.set(1.5)
    after = bench.read(after=before.last, run=before.run, wait=20.0)
    assert "LEV 1.5" in after.records[0].message
    assert after.records[0].logger == "qmi.traffic.meter"


def test_traffic_of_an_instrument_without_transport_has_none(bench: Bench) -> None:
    assert bench.traffic.get_traffic("plain")["transport"] is False


@pytest.mark.parametrize("method", ["get_traffic", "start_traffic", "stop_traffic", "read_traffic"])
@pytest.mark.parametrize("name", ["nobody", "", "$context.x", "$traffic2"])
def test_traffic_of_what_is_not_there_is_refused(bench: Bench, method: str, name: str) -> None:
    with pytest.raises(QMI_UnknownNameException):
        getattr(bench.traffic, method)(name)


def test_traffic_reader_says_which_argument_is_wrong(bench: Bench) -> None:
    with pytest.raises(QMI_InvalidValueException, match="limit must be 1 to 1000"):
        bench.read(limit=0)


def test_traffic_that_nobody_reads_is_switched_off(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.traffic.start_traffic("meter")
    bench.meter.parameters.level.set(1.5)
    assert bench.traffic.get_traffic("meter")["on"]
    monkeypatch.setattr(traffic_log, "UNREAD_SECONDS", -1.0)
    bench.meter.parameters.level.set(2.5)
    assert not bench.traffic.get_traffic("meter")["on"]


def test_traffic_ends_with_its_context() -> None:
    with make_context("lab") as lab:
        meter: Any = lab.make_instrument("meter", Meter, simulate=True)
        meter.open()
        traffic: Any = lab.get_rpc_object("lab.$traffic")
        traffic.start_traffic("meter")
        assert len(traffic_rules._recorders) == 1
    assert not traffic_rules._recorders


def test_traffic_log_is_switched_on_once() -> None:
    log = TrafficLog("meter")
    log.switch_on("one")
    log.switch_on("two")
    assert log.by == "one"
    log.switch_off()
    log.switch_off()
    assert not log.is_on
