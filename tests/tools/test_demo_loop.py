from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from qmi.core.pubsub import QMI_SignalReceiver
from qmi.testing import open_task_bench
from qmi.tools import demo, demo_loop, demo_programs
from qmi.tools.stage import Stage


def test_the_loop_holds_what_it_is_told_to_in_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_task_bench("bench") as bench:
        monkeypatch.setattr("qmi.tools.demo_loop.time.monotonic", bench.now)
        monkeypatch.setattr("qmi.tools.demo_loop.random.gauss", lambda *_: 0.0)
        bench.context.make_instrument("scope", demo_loop.Wandering)
        told = QMI_SignalReceiver()
        task = bench.context.make_task("hold", demo_loop.HoldAmplitude, loop_period=demo_loop.PERIOD)
        task.sig_status_updated.subscribe(told)
        with task:
            bench.run(1.999)
            wandering = [told.get_next_signal().args[0].measured for _ in range(told.get_queue_length())]
            task.set_settings(60.0)
            bench.run(1.0)
            told.discard_all()
            bench.run(2.0)
            held = [told.get_next_signal().args[0] for _ in range(told.get_queue_length())]
    assert max(wandering) > 130.0
    assert min(wandering) < 70.0
    assert all(abs(status.measured - 60.0) < 4.0 and status.target == 60.0 for status in held)
    assert len(held) == 100


@pytest.mark.slow
def test_another_program_is_watched_and_steered(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_loop, "STEPS", ((None, 20), (60.0, 40)))
    output = io.StringIO()
    assert demo.main(["control-loop"], Stage(output, 80)) == 0
    text = " ".join(output.getvalue().split())
    assert re.search(r"left alone, it was between [\d.]+ and [\d.]+", text)
    low, high = map(float, re.findall(r"told to hold 60, it was between ([\d.]+) and ([\d.]+)", text)[0])
    assert 40.0 < low <= high < 80.0
    assert re.search(r"\d+ iterations, \d+ µs late in the median, \d+ missed", text)
    assert list(home.iterdir()) == []


def test_the_program_with_the_loop_ends_with_its_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    demo_loop.hold(demo_programs.write_config(tmp_path))
    assert capsys.readouterr().out == "ready\n"
