"""Recordings that the configuration lists."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import qmi
import qmi.data
from qmi.config.loader import load_config
from qmi.core.exceptions import QMI_ConfigurationException
from qmi.data import record_signals
from qmi.data.record_plans import Plans, recording
from qmi.tools import serve
from tests.support.lab import DISCOVERY_PORT, LOOPBACK_BROADCAST
from tests.support.ports import free_port
from tests.support.waiting import wait_until

HERE = "tests.support.recorded"
SUPPLY = {"driver": f"{HERE}:Supply"}
WATCH = {"task": f"{HERE}:Watch", "kwargs": {"loop_period": 0.01}}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_signals, "LOOK_AGAIN", 0.01)


def write(folder: Path, record: dict[str, Any], **own: Any) -> Path:
    path = folder / "qmi.conf"
    lab = {"host": "127.0.0.1", "instruments": {"psu": SUPPLY}, "tasks": {"watch": WATCH}, "record": record, **own}
    cellar = {"host": "127.0.0.1", "tcp_server_port": free_port(), "instruments": {"pump": SUPPLY}}
    discovery = {"port": DISCOVERY_PORT, "broadcast_addresses": [LOOPBACK_BROADCAST], "timeout": 0.01}
    content = {"datastore": str(folder), "discovery": discovery, "contexts": {"lab": lab, "cellar": cellar}}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    def start(record: dict[str, Any]) -> Any:
        file = str(write(tmp_path, record))
        qmi.start("lab", file, init_logging=False)
        return load_config(file)

    yield start
    qmi.stop()


def test_listed_signals_and_parameters_are_recorded(started: Any, tmp_path: Path) -> None:
    config = started(
        {"night": ["watch.sig_sample", "psu.voltage", "lab.psu.outputs[2].level"], "other": ["psu.sig_pair"]}
    )
    qmi.context().make_configured()
    psu = qmi.get_instrument("psu")
    with recording(qmi.context(), config) as recordings:
        assert [one.name for one in recordings] == ["night", "other"]
        psu.voltage = 2.0
        psu.outputs[2].level = 3.0
        psu.tell()
        wait_until(lambda: [source.rows > 0 for source in recordings[0].sources] == [True] * 3)
    night, other = qmi.data.load("night"), qmi.data.load("other")
    assert night.psu_voltage.dropna("row").values.tolist() == [2.0]
    assert night.psu_outputs_2_level.dropna("row").values.tolist() == [3.0]
    assert night.watch_sample.dropna("row").size
    assert other.psu_pair_1.values.tolist() == ["a"]
    assert night.attrs["state"] == other.attrs["state"] == "done"


def test_instrument_that_is_made_anew_is_recorded_again(started: Any) -> None:
    config = started({"night": ["psu.sig_pair"]})
    qmi.context().make_configured()
    with recording(qmi.context(), config) as (night,):
        qmi.get_instrument("psu").tell()
        qmi.context().restart_object("psu")
        wait_until(lambda: [gap.kind for gap in night.gaps] == ["ended", "found"])
        qmi.get_instrument("psu").tell()
        wait_until(lambda: night.rows == 2)


def test_what_is_not_there_is_recorded_as_soon_as_it_is(started: Any) -> None:
    config = started({"night": ["psu.sig_pair", "cellar.pump.voltage"]})
    # Nothing has been made; that psu has two arguments is known by its class.
    with recording(qmi.context(), config) as (night,):
        assert [(source.columns, source.state) for source in night.sources] == [
            (("psu_pair_0", "psu_pair_1"), "absent"),
            (("pump_voltage",), "absent"),
        ]
        qmi.context().make_configured()
        wait_until(lambda: night.sources[0].state == "live")
        qmi.get_instrument("psu").tell()
        wait_until(lambda: night.rows == 1)


FAULTS = [
    (["psu.sig_pear"], "record.night[0]: lab.psu has no signal or parameter 'sig_pear'. Did you mean 'sig_pair'?"),
    (["psu.outputs[3].level"], "record.night[0]: lab.psu has no signal or parameter 'outputs[3].level'"),
    (["psu.sig_pair", "psv.voltage"], "record.night[1]: contexts.lab lists no 'psv'. Did you mean 'psu'?"),
    (["psu.silent"], "record.night[0]: silent of lab.psu is not published"),
    (["cellar.pumb.voltage"], "record.night[0]: contexts.cellar lists no 'pumb'. Did you mean 'pump'?"),
    (["psu.voltage", "lab.psu.voltage"], "record.night: lab.psu.voltage is given twice"),
]


@pytest.mark.parametrize(("members", "fault"), FAULTS)
def test_faults_of_recordings_are_found_without_making_anything(
    tmp_path: Path, members: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, {"night": members})
    assert serve.main(["lab", "--config", str(file), "--check"]) == 2
    assert f"contexts.lab.{fault}" in capsys.readouterr().err


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    record = {name: members for name, (members, _) in zip("abcdef", FAULTS, strict=True)}
    record["(x)"] = ["psu.voltage"]
    plans = Plans("lab", load_config(str(write(tmp_path, record))))
    assert len(plans.faults) == len(FAULTS) + 1
    assert plans.faults[-1].startswith("contexts.lab.record.(x): the name of a run")


def test_check_counts_what_would_be_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, {"night": ["psu.voltage", "elsewhere.x.sig_y"], "other": ["watch.sig_sample"]})
    assert serve.main(["lab", "--config", str(file), "--check"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "lab: 3 signals and parameters to record"


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"night": []}, "expected signals and parameters to record, found none in 'night'"),
        ({"night": ["voltage"]}, "record.night[0]: expected a signal or parameter as 'context.object.name'"),
        ({"night": ["a.b.c.d"]}, "record.night[0]: expected a signal or parameter"),
        ({"night": [1]}, "record.night[0]"),
        ({"night": "psu.voltage"}, "record.night: expected a list"),
        ({"no name": ["psu.voltage"]}, "record"),
        (["psu.voltage"], "record: expected an object"),
    ],
)
def test_recordings_that_make_no_sense_are_faults_of_the_file(tmp_path: Path, record: Any, fault: str) -> None:
    with pytest.raises(QMI_ConfigurationException) as caught:
        load_config(str(write(tmp_path, record)))
    assert fault in str(caught.value)


def test_faulty_sources_and_recordings_keep_no_others_from_being_recorded(
    started: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = started({"night": ["psu.nothing", "psu.voltage"], "(x)": ["psu.voltage"], "bad": ["psu.nothing"]})
    qmi.context().make_configured()
    with recording(qmi.context(), config) as (night,):
        assert [source.source for source in night.sources] == ["lab.psu.voltage"]
    (entry,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert entry.getMessage().count("contexts.lab.record") == 3


def test_recording_that_cannot_begin_or_end_does_not_end_the_program(
    started: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = started({"night": ["psu.voltage"]})
    (tmp_path / "runs").write_text("no folder")
    with recording(qmi.context(), config) as recordings:
        assert recordings == []
    assert "Recording night has not begun: No run can be written" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_served_recording_is_whole_when_the_program_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    file = write(tmp_path, {"night": ["watch.sig_sample", "psu.voltage"]})
    with subprocess.Popen(
        [sys.executable, "-m", "qmi.tools.serve", "lab", "--config", str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "lab: 2 of 2 ready\n"
            (log,) = wait_until(lambda: list(tmp_path.glob("runs/open/*.qmirun")))
            wait_until(lambda: log.stat().st_size > 20_000)
        finally:
            process.send_signal(number)
    (info,) = qmi.data.runs("night", folder=tmp_path / "runs")
    assert info.state == "done"
    assert info.rows > 10
