"""Tasks on the bench of qmi.testing, as an author of tasks tests them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from qmi.core.exceptions import QMI_UsageException
from qmi.core.pubsub import QMI_Signal, QMI_SignalReceiver
from qmi.core.task import QMI_LoopTask, QMI_LoopTaskMissedLoopPolicy
from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
from qmi.testing import StandInInstrument, open_task_bench, open_virtual_context, run_in_virtual_time

SKIP = QMI_LoopTaskMissedLoopPolicy.SKIP


class Hold(QMI_LoopTask[Any, Any]):
    """Holds an amplitude."""

    sig_amplitude = QMI_Signal([float])

    def loop_prepare(self) -> Any:
        self.nsg = self._context.get_instrument("nsg")

    def loop_iteration(self) -> Any:
        factor = 0.9 if abs(self.nsg.get_sample()) > 10 else 1.1
        self.sig_amplitude.publish(self.nsg.get_amplitude() * factor)


class HoldAsync(QMI_LoopTask[Any, Any]):
    sig_amplitude = QMI_Signal([float])

    async def loop_prepare(self) -> None:
        self.nsg = self._context.get_instrument("nsg").rpc_async

    async def loop_iteration(self) -> None:
        factor = 0.9 if abs(await self.nsg.get_sample()) > 10 else 1.1
        self.sig_amplitude.publish(await self.nsg.get_amplitude() * factor)


@pytest.mark.parametrize("kind", [Hold, HoldAsync])
def test_a_control_loop_is_tested_in_a_few_lines(kind: type[QMI_LoopTask[Any, Any]]) -> None:
    stand_in = StandInInstrument(NoisySineGenerator)
    with open_task_bench() as bench:
        bench.context.make_instrument("nsg", stand_in.driver)
        stand_in.returns("get_amplitude", 10.0)
        # The third sample takes so long that the fourth and fifth periods are missed.
        samples = iter([5.0, 50.0, 5.0, 50.0, 5.0, 5.0])

        def sample() -> float:
            value = next(samples)
            bench.work(0.25 if len(stand_in.calls_of("get_sample")) == 3 else 0.0)
            return value

        stand_in.does("get_sample", sample)
        told = QMI_SignalReceiver()
        task = bench.context.make_task("hold", kind, loop_period=0.1, policy=SKIP)
        task.sig_amplitude.subscribe(told)
        with task:
            bench.run(0.75)
        assert [round(told.get_next_signal().args[0], 6) for _ in range(6)] == [11.0, 9.0, 11.0, 9.0, 11.0, 11.0]
        statistics = task.get_statistics()
        assert (statistics.iterations, statistics.missed) == (6, 2)
        assert bench.now() == pytest.approx(0.75)


def test_an_hour_goes_by_at_once_and_each_time_the_same_way() -> None:
    def hour() -> list[float]:
        starts: list[float] = []

        class Loop(QMI_LoopTask[Any, Any]):
            def loop_iteration(self) -> None:
                starts.append(bench.now())
                bench.work(0.03 * (len(starts) % 5))

        with open_task_bench() as bench:
            for name, period in (("a", 0.1), ("b", 0.7)):
                bench.context.make_task(name, Loop, loop_period=period, policy=SKIP).start()
            bench.run(360.0)
        return starts

    begin = time.process_time()
    first = hour()
    assert len(first) > 1000
    assert hour() == first
    assert time.process_time() - begin < 5.0


def test_the_task_itself_can_be_looked_at() -> None:
    with open_task_bench("kitchen") as bench:
        bench.context.make_task("loop", QMI_LoopTask, loop_period=2.0)
        assert bench.context.name == "kitchen"
        assert isinstance(bench.task("loop"), QMI_LoopTask)
        with pytest.raises(QMI_UsageException, match="There is no task 'pool' on this bench"):
            bench.task("pool")


def test_a_virtual_context_sends_tasks_to_the_bench() -> None:
    async def main() -> None:
        async with open_virtual_context() as context:
            with pytest.raises(QMI_UsageException, match=r"open_task_bench\(\)"):
                await context.make_task("loop", QMI_LoopTask)

    run_in_virtual_time(main)
