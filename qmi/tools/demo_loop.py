"""The chapter of the demonstration in which a control loop holds an amplitude and another program watches it."""

from __future__ import annotations

import math
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import qmi
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_LoopTask, QMI_LoopTaskMissedLoopPolicy, QMI_TaskRunner
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.tools.demo_programs import PATIENCE, connect, program, say, write_config
from qmi.tools.stage import Stage
from qmi.utils.context_managers import start_stop, start_stop_join, subscribe_unsubscribe

PERIOD = 0.02
"""The loop's period, in seconds."""
STEPS: tuple[tuple[float | None, int], ...] = ((None, 60), (60.0, 60), (90.0, 60))
"""Amplitudes to hold, and for how many iterations; None lets it wander."""
LIMITS = (0.0, 160.0)


class Wandering(NoisySineGenerator):
    """A simulated source whose gain wanders by a third within two seconds."""

    @rpc_method
    def measure_amplitude(self) -> float:
        """The amplitude that comes out of it."""
        gain = 1.0 + math.sin(math.pi * time.monotonic()) / 3
        return self.get_amplitude() * gain + random.gauss(0.0, 0.5)


class Held(NamedTuple):
    """What the loop says about itself.

    Attributes:
        target: The amplitude to hold; None lets it wander.
        measured: The amplitude that there is.
    """

    target: float | None
    measured: float


class HoldAmplitude(QMI_LoopTask[Held, float | None]):
    """Turns the source up or down until what comes out is what is wanted. Its setting is the amplitude to hold."""

    def loop_prepare(self) -> None:
        """Find the source."""
        self.source: Wandering = qmi.get_instrument("bench.scope")

    def loop_iteration(self) -> None:
        """Measure, and correct part of the deviation."""
        measured = self.source.measure_amplitude()
        self.status: Held = Held(self.settings, measured)
        if self.settings is not None:
            self.source.set_amplitude(max(self.source.get_amplitude() + 0.5 * (self.settings - measured), 0.0))

    def update_status(self) -> bool:
        """Tell everybody who listens, each time."""
        return True


def control_loop(stage: Stage) -> None:
    """A control loop, watched and steered from another program."""
    with tempfile.TemporaryDirectory() as directory:
        config = write_config(Path(directory))
        with program("hold", config), start_stop(qmi, "watcher", config):
            connect()
            task = qmi.get_task("bench.hold")
            stage.say(
                "Another program has a source whose amplitude wanders, and a loop that can hold it. We watch it by its "
                "signal, and tell it after a while what to hold: first 60, then 90."
            )
            stage.code(
                "task.sig_status_updated.subscribe(receiver)\n"
                "task.set_settings(60.0)\n"
                "signal = receiver.get_next_signal(timeout=1.0)"
            )
            _watch(stage, task)


def _watch(stage: Stage, task: QMI_TaskRunner) -> None:
    values: list[float] = []
    with subscribe_unsubscribe(task.sig_status_updated, QMI_SignalReceiver()) as receiver, start_stop_join(task):
        with stage.live_picture(LIMITS) as show:
            for target, count in STEPS:
                task.set_settings(target)
                for _ in range(count):
                    (held,) = receiver.get_next_signal(timeout=PATIENCE).args
                    values.append(held.measured)
                    show(values)
        statistics = task.get_statistics()
    for target, count in STEPS:
        part, values = values[:count], values[count:]
        settled = part[count // 2 :]
        what = "left alone" if target is None else f"told to hold {target:g}"
        stage.result(f"{what}, it was between {min(settled):.1f} and {max(settled):.1f}")
    late = statistics.lateness_median * 1e6
    stage.result(f"{statistics.iterations} iterations, {late:.0f} µs late in the median, {statistics.missed} missed")


def hold(config: str) -> None:
    """Have the source and the loop until the input ends."""
    with start_stop(qmi, "bench", config):
        qmi.make_instrument("scope", Wandering)
        qmi.make_task("hold", HoldAmplitude, loop_period=PERIOD, policy=QMI_LoopTaskMissedLoopPolicy.SKIP)
        say("ready")
        sys.stdin.read()
