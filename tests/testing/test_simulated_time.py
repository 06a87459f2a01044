"""Simulated time: what goes by it, and what does not."""

from __future__ import annotations

import datetime
import math
import threading
import time
from time import monotonic, perf_counter_ns, sleep
from time import time as wall_time
from types import ModuleType
from typing import Any

import pytest
import trio
from trio import sleep as trio_sleep

import qmi
from qmi.core.exceptions import QMI_InvalidValueException, QMI_TimeoutException, QMI_UsageException
from qmi.core.instrument import AsyncTransportInstrument, TransportInstrument
from qmi.core.rpc import rpc_method
from qmi.core.scpi_protocol import AsyncScpiProtocol, ScpiProtocol
from qmi.core.task import QMI_LoopTask, QMI_LoopTaskMissedLoopPolicy
from qmi.core.transport import QMI_TcpTransport, Reconnect
from qmi.testing import NO_ANSWER, AsyncScriptedTransport, Late, ScriptedTransport, open_task_bench, simulated_time
from qmi.testing.clock import current_clock
from tests.support.device_ends import line_to

LONG = 86400.0
make: Any = qmi.make_instrument


@pytest.fixture(autouse=True)
def nothing_waits_really() -> Any:
    begin = time.thread_time(), monotonic()
    yield
    assert current_clock() is None
    assert monotonic() - begin[1] < 60.0


class Patient(TransportInstrument):
    """Waits and tries again."""

    def __init__(self, context: Any, name: str, transport: Any, **options: Any) -> None:
        super().__init__(context, name, transport, **options)
        self.scpi = ScpiProtocol(self._transport, default_timeout=30.0, command_delay=0.5)

    @rpc_method
    def measure(self, attempts: int) -> tuple[str, float]:
        begin = time.monotonic()
        for _ in range(attempts - 1):
            try:
                return self.scpi.ask("MEAS?"), time.monotonic() - begin
            except QMI_TimeoutException:
                sleep(3600.0)
        return self.scpi.ask("MEAS?"), time.monotonic() - begin

    @rpc_method
    def wait_until_done(self) -> float:
        begin = time.monotonic()
        while time.monotonic() < begin + 20.0:
            if self.scpi.ask("STAT?") == "done":
                time.sleep(1.0)
                return round(time.monotonic() - begin, 6)
            time.sleep(2.5)
        raise QMI_TimeoutException("not done")


def test_retries_and_delays_of_a_driver_take_no_time() -> None:
    script = [("MEAS?", NO_ANSWER), ("MEAS?", Late("1", 40.0)), ("MEAS?", "2")]
    with simulated_time() as clock, qmi.start("t", None, init_logging=False):
        with make("x", Patient, ScriptedTransport(script)) as x:
            answer, seconds = x.measure(3)
        # Two timeouts, two waits; the late answer is there when it is asked for again.
        assert (answer, seconds) == ("2", 7261.0)
        assert clock.now() == 7261.0


def test_polling_of_a_device_takes_no_time() -> None:
    with simulated_time() as clock, qmi.start("t", None, init_logging=False):
        script = [("STAT?", "busy"), ("STAT?", "busy"), ("STAT?", "done")]
        with make("x", Patient, ScriptedTransport(script)) as x:
            assert x.wait_until_done() == 6.0
        assert clock.now() == 6.0
        y = make("y", Patient, ScriptedTransport([("STAT?", "busy")] * 8))
        with y, pytest.raises(QMI_TimeoutException, match="not done"):
            y.wait_until_done()


def test_delay_between_commands_and_between_attempts_to_connect_is_simulated() -> None:
    transport = QMI_TcpTransport("127.0.0.1", 1)
    transport.configure(reconnect=Reconnect(attempts=4, delay=1000.0, max_delay=1500.0))
    with simulated_time() as clock:
        with ScriptedTransport(["A", "B"]) as scripted:
            device = ScpiProtocol(scripted, command_delay=30.0)
            device.write("A")
            device.write("B")
        assert clock.now() == 30.0
        transport._is_open, transport._step = True, 5  # as after a loss
        with pytest.raises(ConnectionError, match="cannot be made again"):
            transport.write(b"A")
        assert clock.now() == 30.0 + 1000.0 + 1500.0 + 1500.0


FUNCTIONS = ["monotonic", "perf_counter", "time"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_clock_of_the_module_moves_alike(name: str) -> None:
    before = getattr(time, name)()
    with simulated_time() as clock:
        began, began_ns = getattr(time, name)(), getattr(time, f"{name}_ns")()
        assert began_ns == began * 10**9
        assert 0 <= began - before < 60.0
        time.sleep(0.1)
        time.sleep(0.2)
        assert getattr(time, f"{name}_ns")() - began_ns == 300_000_000
        assert getattr(time, name)() - began == pytest.approx(0.3)
        assert clock.now() == 0.3
        clock.advance(LONG)
        assert getattr(time, name)() - began == pytest.approx(LONG + 0.3)
    assert 0 <= getattr(time, name)() - before < 60.0


async def test_sleeps_of_tasks_take_no_time() -> None:
    began_really = trio.current_time()
    with simulated_time() as clock:
        began = trio.current_time()
        assert 0 <= began - began_really < 60.0
        await trio.sleep(LONG)
        assert trio.current_time() == began + LONG
        await trio_sleep(LONG)
        await trio.sleep_until(began + 3 * LONG)
        await trio.sleep_until(began)
        assert clock.now() == 3 * LONG
        with pytest.raises(ValueError, match="must be non-negative"):
            await trio.sleep(-1.0)
    assert began_really <= trio.current_time() < began_really + 60.0


async def test_sleeping_task_lets_others_work_and_is_cancelled() -> None:
    worked: list[int] = []

    async def work(number: int) -> None:
        for _ in range(3):
            await trio.sleep(1.0)
            worked.append(number)

    with simulated_time() as clock:
        async with trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(work, number)
        assert sorted(worked[:2]) == [0, 1]
        assert clock.now() == 6.0
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep(LONG)
        with trio.move_on_after(0.0):
            await trio.sleep(math.inf)
        assert clock.now() == 6.0


async def test_virtual_clock_of_trio_is_kept(autojump_clock: Any) -> None:
    with simulated_time() as clock:
        began = trio.current_time()
        await trio.sleep(LONG)
        assert trio.current_time() == began + LONG
        assert clock.now() == 0.0


async def test_loop_of_a_task_that_only_looks_at_the_clock_ends() -> None:
    with simulated_time() as clock:
        end = trio.current_time() + 5.0
        while trio.current_time() < end:
            await trio.lowlevel.checkpoint()
        assert 5.0 <= clock.now() < 5.1


class PatientAsync(AsyncTransportInstrument):
    """Waits and tries again, in the event loop."""

    def __init__(self, context: Any, name: str, transport: Any) -> None:
        super().__init__(context, name, transport)
        self.scpi = AsyncScpiProtocol(self._transport, default_timeout=30.0, command_delay=0.5)

    @rpc_method
    async def measure(self) -> float:
        begin = trio.current_time()
        for _ in range(3):
            try:
                await self.scpi.ask("MEAS?")
            except QMI_TimeoutException:
                await trio.sleep(3600.0)
        return trio.current_time() - begin


async def test_retries_of_an_async_driver_take_no_time(trio_lab: Any) -> None:
    script = [("MEAS?", NO_ANSWER), ("MEAS?", "1"), ("MEAS?", "2")]
    with simulated_time() as clock:
        async with await trio_lab.make_instrument("x", PatientAsync, AsyncScriptedTransport(script)) as x:
            # The timeout, the wait, and that for the owed answer, in which the delay between two commands is over.
            assert await x.measure() == pytest.approx(30.0 + 3600.0 + 1.0)
        assert clock.now() == 3631.0


def test_retries_of_an_async_driver_take_no_time_for_a_script() -> None:
    script = [("MEAS?", "1"), ("MEAS?", NO_ANSWER), ("MEAS?", "2")]
    with simulated_time() as clock, qmi.start("t", None, init_logging=False):
        with make("x", PatientAsync, AsyncScriptedTransport(script)) as x:
            assert x.measure() > 3600.0
        assert clock.now() > 3600.0


def test_real_connections_wait_really() -> None:
    with simulated_time() as clock, line_to("serial") as line:
        line.transport.write(b"A?\n")
        with pytest.raises(QMI_TimeoutException):
            line.transport.read(1, 0.01)
        assert clock.now() == 0.0


def test_names_that_were_imported_are_simulated_and_given_back() -> None:
    before = (sleep, monotonic, wall_time, perf_counter_ns, time.sleep, time.time)
    with simulated_time() as clock:
        begin = (monotonic(), wall_time(), perf_counter_ns())
        sleep(LONG)
        assert (monotonic(), wall_time(), perf_counter_ns()) == (
            begin[0] + LONG,
            begin[1] + LONG,
            begin[2] + LONG * 10**9,
        )
        assert clock.now() == LONG
    assert (sleep, monotonic, wall_time, perf_counter_ns, time.sleep, time.time) == before


def test_module_that_is_imported_meanwhile_has_real_time_afterwards() -> None:
    module = ModuleType("some_driver")
    source = "from time import sleep, monotonic\ndef wait(s):\n sleep(s)\n return monotonic()"
    with simulated_time() as clock:
        exec(source, vars(module))
        module.wait(LONG)
        assert clock.now() == LONG
    begin = monotonic()
    assert begin <= module.wait(0.0) <= monotonic()
    with simulated_time() as clock:
        module.wait(2.0)
        assert clock.now() == 2.0


@pytest.mark.parametrize(
    "name",
    [
        "threading",
        "queue",
        "qmi.runtime.watchdog",
        "qmi.actors.clock.monotonic",
        "trio._core._run",
        "serial.x",
        "qmi.devices.sockets",
        "qmi.testing.checks",
    ],
)
def test_code_that_waits_for_what_is_real_keeps_real_time(name: str) -> None:
    module = ModuleType(name)
    exec(
        "import time\nfrom time import monotonic as m\ndef now(): time.sleep(0.0); return time.monotonic(), m()",
        vars(module),
    )
    with simulated_time() as clock:
        clock.advance(LONG)
        assert max(module.now()) < time.monotonic() - LONG / 2
        assert clock.now() == LONG


@pytest.mark.parametrize("name", ["__main__", "my_driver", "qmi.instruments.acme.laser", "qmi.devices.scpi", "test_x"])
def test_code_of_drivers_and_tests_does_not(name: str) -> None:
    module = ModuleType(name)
    exec("import time\ndef wait(): time.sleep(7.0)", vars(module))
    with simulated_time() as clock:
        module.wait()
        assert clock.now() == 7.0


def test_waits_for_events_are_real() -> None:
    with simulated_time() as clock:
        assert not threading.Event().wait(0.001)
        assert clock.now() == 0.0
        assert (datetime.datetime.now().year - 1970) * 31_000_000 < time.time()


def test_loop_that_only_looks_at_the_clock_ends() -> None:
    with simulated_time() as clock:
        begin = time.monotonic()
        while time.monotonic() < begin + 5.0:
            pass
        assert 5.0 <= clock.now() < 5.1
        time.sleep(1.0)
        seen = clock.now()
        assert [time.monotonic() for _ in range(500)] == [begin + seen] * 500


def test_threads_share_the_clock() -> None:
    with simulated_time() as clock:
        threads = [threading.Thread(target=lambda: time.sleep(10.0)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert clock.now() == 80.0


def test_wrong_times_are_refused_as_ever() -> None:
    with simulated_time() as clock:
        with pytest.raises(ValueError, match="sleep length must be non-negative"):
            time.sleep(-1.0)
        for wrong in (-1.0, float("nan"), float("inf")):
            with pytest.raises(QMI_InvalidValueException, match="seconds must be a number >= 0"):
                clock.advance(wrong)
        with pytest.raises(QMI_UsageException, match="Time is simulated already"), simulated_time():
            pytest.fail("it begins")
        time.sleep(1.0)
        assert clock.now() == 1.0


def test_error_in_the_block_gives_real_time_back() -> None:
    before = time.sleep
    with pytest.raises(ZeroDivisionError), simulated_time():
        raise ZeroDivisionError
    assert time.sleep is before


def test_other_patches_of_the_module_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with simulated_time():
        time.sleep(5.0)
    time.sleep(6.0)
    assert slept == [6.0]


class Slow(TransportInstrument):
    @rpc_method
    def measure(self) -> None:
        time.sleep(2.5)


class Record(QMI_LoopTask[Any, Any]):
    def loop_prepare(self) -> None:
        self.slow = self._context.get_instrument("slow")

    def loop_iteration(self) -> None:
        self.slow.measure()


def test_waits_of_a_driver_take_the_time_of_a_task_bench() -> None:
    with open_task_bench() as bench, simulated_time(bench.clock):
        bench.context.make_instrument("slow", Slow, ScriptedTransport([]))
        policy = QMI_LoopTaskMissedLoopPolicy.SKIP
        record = bench.context.make_task("record", Record, loop_period=1.0, policy=policy)
        record.start()
        bench.run(29.0)
        statistics = record.get_statistics()
        assert (statistics.iterations, statistics.missed) == (10, 20)
