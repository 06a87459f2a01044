"""A laboratory comes up from its configuration file, by ``qmi_proc`` and in real programs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import qmi
import qmi.data
from qmi.tools import serve
from tests.support.configured import HERE
from tests.support.proc import ROOT
from tests.support.programs import Program
from tests.support.served import configure, says


def test_laboratory_comes_up_from_its_file_and_one_instrument_is_restarted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = home / "device"
    good = {f"good{number}": {"driver": f"{HERE}:Meter"} for number in range(6)}
    missing = {"driver": f"{HERE}:Meter", "args": [str(device)]}
    configure(
        home,
        lab={
            "instruments": {"bad": {"driver": f"{HERE}:Broken"}, "missing": missing, **good},
            "tasks": {"watch": {"task": f"{HERE}:Watch"}},
        },
    )
    try:
        code, text = says(capsys, "start", "lab")
        assert (code, text.startswith("lab: STARTED")) == (0, True)
        # Each of them was tried by now.
        assert [line.partition(" (since")[0] for line in text.splitlines()[1:]] == [
            "    bad failed: cannot be made: RuntimeError: no such device",
            f"    missing failed: cannot be opened: OSError: nothing answers at {device}",
        ]
        code, text = says(capsys, "restart", "lab.missing", "lab.good1")
        assert code == 1
        assert "lab.missing: FAILED: cannot be opened: OSError: nothing answers" in text
        assert "lab.good1: STARTED" in text
        device.touch()
        assert says(capsys, "restart", "lab.missing") == (0, "lab.missing: STARTED\n")
        code, text = says(capsys, "status")
        assert code == 1
        assert text.startswith("lab: RUNNING")
        failed = r"    bad failed: cannot be made: RuntimeError: no such device \(since [-\d]+ [:\d]+ UTC\)"
        assert re.fullmatch(failed, text.splitlines()[-1])
        code, text = says(capsys, "restart", "lab.god1", "lab.bad")
        assert code == 1
        assert "lab.god1: FAILED: The configuration of context 'lab' lists no 'god1'. Did you mean" in text
    finally:
        code, text = says(capsys, "stop", "lab")
    assert (code, text) == (0, "lab: STOPPED\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_in_order_by_signals(home: Path, number: signal.Signals) -> None:
    configure(home, lab={"instruments": {"dmm": {"driver": f"{HERE}:Meter"}}})
    with subprocess.Popen(
        [sys.executable, "-m", "qmi.tools.serve", "lab"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "lab: 1 of 1 ready\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == (0 if number is signal.SIGINT else 128 + number)
        assert "still open" not in errors
        assert "Traceback" not in errors


def test_served_laboratory_tells_of_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = configure(home, lab={"instruments": {"dmm": {"driver": f"{HERE}:Meter"}}})
    port = json.loads(path.read_text())["contexts"]["lab"]["tcp_server_port"]
    monkeypatch.setenv("QMI_HOME", str(home))
    with subprocess.Popen(
        [sys.executable, "-m", "qmi.tools.serve", "lab"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "lab: 1 of 1 ready\n"
        try:
            with qmi.start("here", config_file=None, init_logging=False) as here:
                here.connect_to_peer("lab", f"127.0.0.1:{port}")
                assert qmi.data.runs(context="lab") == []
                with qmi.data.run("cooldown", {"T": "K"}, folder=home / "qmi_data" / "runs") as run:
                    run.add(T=4.2)
                    follower = qmi.data.follow("cooldown", context="lab")
                    assert [row.T for row in follower.read(timeout=20)] == [4.2]
                    run.add(T=4.1)
                    assert [row.T for row in follower.read(timeout=20)] == [4.1]
                assert (list(follower), follower.state) == ([], "done")
                assert [info.run_id for info in qmi.data.runs(context="lab")] == [run.run_id]
                assert qmi.data.load("cooldown", context="lab")["T"].values.tolist() == [4.2, 4.1]
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["la"], "There is no context 'la' in {file}: did you mean 'lab'?"),
        (["zzz"], "There is no context 'zzz' in {file}: it has lab, empty"),
        (
            ["empty"],
            "contexts.empty in {file} lists neither instruments nor tasks nor recordings, and has no pages (web)",
        ),
        (["lab", "--check"], "contexts.lab.instruments.bad.driver: there is no module 'no_such_module'"),
        (["lab", "--config", "/no/such.conf"], "The configuration file /no/such.conf does not exist"),
    ],
)
def test_serve_refuses_what_cannot_be_served(
    home: Path, arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configure(home, lab={"instruments": {"bad": {"driver": "no_such_module:A"}}}, empty={})
    assert serve.main(arguments) == 2
    assert fault.format(file=file) in capsys.readouterr().err


def test_serve_checks_a_configuration_without_making_anything(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(
        home,
        lab={"instruments": {"a": {"driver": f"{HERE}:Broken"}}, "tasks": {"t": {"task": f"{HERE}:Watch"}}},
    )
    assert serve.main(["lab", "--check"]) == 0
    assert capsys.readouterr().out == "lab: 2 classes found, and their arguments fit\n"


def test_restart_takes_whole_contexts_or_single_objects(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(home, lab={"instruments": {"a": {"driver": f"{HERE}:Meter"}}})
    assert says(capsys, "restart", "lab", "lab.a")[0] == 2
    assert says(capsys, "restart", "lad.a") == (
        2, f"qmi_proc: Context 'lad' is not configured in {home}/qmi.conf. Did you mean 'lab'?\n"
    )  # fmt: skip
    code, text = says(capsys, "restart", "lab.a")
    assert (code, "nothing listens there" in text) == (1, True)


@pytest.mark.slow
def test_two_programs_on_simulators_and_a_third_that_uses_them_come_and_go_with_every_fault(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scpi = "qmi.instruments.scpi"
    path = configure(
        home,
        bench={
            "simulate": True,
            "instruments": {
                "psu": {
                    "driver": f"{scpi}:Scpi_PowerSupply",
                    "safe": {"channels[1].voltage": 0.0},
                    "safe_when": {"lock_lost": True},
                },
                "dmm": {"driver": f"{scpi}:Scpi_Multimeter", "reconnect": True},
                "generator": {"driver": "qmi.instruments.dummy.noisy_sine_generator:NoisySineGenerator"},
                "meter": {"driver": f"{HERE}:Meter", "simulate": False},
                "bad": {"driver": f"{HERE}:Broken", "simulate": False},
            },
        },
        room={
            "connect_to_peers": ["bench"],
            "reconnect": True,
            "instruments": {
                "door": {"driver": f"{HERE}:Meter"},
                "clock": {"driver": f"{HERE}:Meter", "kwargs": {"mode": "SLOW"}},
                "absent": {"driver": "no_such_module:A"},
                "analyser": {"driver": "hosted:pymeasure.instruments.fakes:SwissArmyFake"},
                "source": {
                    "driver": "hosted:qcodes.instrument_drivers.mock_instruments:DummyInstrument",
                    "kwargs": {"gates": ["plunger"]},
                    "safe": {"plunger": 0.0},
                },
            },
            "tasks": {"watch": {"task": f"{HERE}:Watch", "kwargs": {"failures": 2}, "restart": {"limit": None}}},
        },
    )
    assert says(capsys, "start", "--all")[0] == 0
    try:
        own = ("bench.meter", "bench.psu", "bench.dmm", "bench.generator", "room.door", "room.clock")
        for name in (*own, "room.analyser", "room.source"):
            assert says(capsys, "restart", name) == (0, f"{name}: STARTED\n")
        faults = {"bench.bad": "RuntimeError: no such device", "room.absent": "no module 'no_such_module'"}
        for name, reason in faults.items():
            code, text = says(capsys, "restart", name)
            assert (code, reason in text) == (1, True)
        with Program(QMI_CONFIG=str(path)) as user:
            user.run("import qmi; qmi.start('user')")
            user.run("psu = qmi.get_instrument('bench.psu', auto_connect=True)")
            user.run("psu.lock(); psu.channels[1].voltage = 5.0")
            assert user.run("psu.channels[1].voltage") == 5.0
            assert user.run("qmi.get_instrument('room.clock', auto_connect=True).get_mode()") == "SLOW"
            user.run("source = qmi.get_instrument('room.source')")
            user.run("source.plunger = 0.25")
            assert user.run("source.plunger") == 0.25
            assert user.run("0 < qmi.get_instrument('room.analyser').time") is True
            user.wait_until("qmi.get_task('room.watch').get_last_failure().restarts == 2")
            user.wait_until("qmi.get_task('room.watch').get_state().state == 'running'")
        # It was killed with the lock in its hands.
        with Program(QMI_CONFIG=str(path)) as user:
            user.run("import qmi; qmi.start('user')")
            user.run("psu = qmi.get_instrument('bench.psu', auto_connect=True)")
            assert user.run("psu.lock(timeout=20.0)") is True
            assert user.run("psu.channels[1].voltage") == 0.0
            user.run("qmi.stop()")
        code, text = says(capsys, "status")
        assert code == 1
        assert "bad failed: cannot be made" in text
        assert "absent failed: contexts.room.instruments.absent.driver" in text
    finally:
        code, text = says(capsys, "stop", "--all")
    assert (code, sorted(text.splitlines())) == (0, ["bench: STOPPED", "room: STOPPED"])
