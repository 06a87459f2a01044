"""Instruments are brought into their safe states when their context stops, and when asked for; each time is logged."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import qmi
from qmi.actors.clock.virtual import VirtualClock
from qmi.contexts import safe_guard
from qmi.core.context import Context, QMI_Context
from qmi.core.exceptions import QMI_InvalidValueException, QMI_UsageException
from qmi.core.instrument import QMI_Instrument, SafeWhen
from qmi.core.pubsub import QMI_Signal
from qmi.core.rpc import rpc_method
from qmi.core.task import QMI_Task
from qmi.instruments.scpi import Scpi_PowerSupply
from tests.support.actors import actor_of
from tests.support.configured import HERE
from tests.support.lab import address, config, make_context
from tests.support.outside import wait_for_file
from tests.support.proc import PROGRAMS, ROOT
from tests.support.waiting import until, wait_until

EVENTS: list[str] = []


class Supply(QMI_Instrument):
    """Notes what is done to it."""

    fails: BaseException | None = None
    may_go = threading.Event()

    @rpc_method
    def open(self) -> None:
        """Open it."""
        super().open()

    @rpc_method
    def close(self) -> None:
        """Close it."""
        EVENTS.append("close")
        super().close()

    @rpc_method
    def set_output(self, on: bool) -> None:
        """Switch it."""
        EVENTS.append(f"output {on}")

    @rpc_method
    def wait(self) -> None:
        """Be busy."""
        EVENTS.append("busy")
        self.may_go.wait(10.0)

    def safe_state(self) -> Any:
        """Switch it off."""
        EVENTS.append("safe")
        if self.fails is not None:
            raise self.fails


class AsyncSupply(QMI_Instrument):
    """The same in the event loop."""

    @rpc_method
    async def set_output(self, on: bool) -> None:
        """Switch it."""
        await trio.lowlevel.checkpoint()
        EVENTS.append(f"output {on}")

    async def safe_state(self) -> None:
        """Switch it off."""
        await trio.lowlevel.checkpoint()
        EVENTS.append("safe")

    @rpc_method
    async def close(self) -> None:  # type: ignore[override]
        """Close it."""
        EVENTS.append("close")
        super().close()


class MixedSupply(Supply):
    """With a thread, and a safe state that is awaited."""

    def safe_state(self) -> Awaitable[None]:
        """Switch it off."""
        return self._off()

    async def _off(self) -> None:
        await trio.lowlevel.checkpoint()
        EVENTS.append("safe")


class Plain(QMI_Instrument):
    """Without a word on what is safe."""

    @rpc_method
    def set_output(self, on: bool) -> None:
        """Switch it."""
        EVENTS.append(f"output {on}")


class Guarded(Supply):
    """Says itself when."""

    SAFE_WHEN = SafeWhen(lock_lost=True)


class Door(QMI_Instrument):
    """An interlock."""

    sig_closed = QMI_Signal([bool])

    @rpc_method
    def move(self, closed: bool) -> None:
        """Open or close it."""
        self.sig_closed.publish(closed)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    EVENTS.clear()
    Supply.may_go.clear()
    Supply.fails = None
    yield
    Supply.may_go.set()
    Supply.fails = None


def lines(caplog: pytest.LogCaptureFixture, text: str = "safe state") -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


@contextmanager
def lab(**settings: Any) -> Iterator[QMI_Context]:
    with make_context("lab", context=settings or None) as context:
        yield context


# The end of a context


@pytest.mark.parametrize("cls", [Supply, MixedSupply, AsyncSupply])
def test_safe_state_is_entered_when_the_context_stops_before_the_instrument_is_closed(
    cls: type[QMI_Instrument], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with lab() as context:
        context.make_instrument("psu", cls).open()
    assert EVENTS == ["safe", "close"]
    assert lines(caplog) == ["lab.psu is brought into its safe state, since its context stops"]


async def test_safe_state_is_entered_in_a_trio_program_that_fails_or_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for cls in (Supply, AsyncSupply, MixedSupply):
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with qmi.open_context("lab", None, init_logging=False) as context:
                await (await context.make_instrument("psu", cls)).open()
                _ = 1 / 0
        with trio.CancelScope() as scope:
            async with qmi.open_context("lab", None, init_logging=False) as context:
                await (await context.make_instrument("psu", cls)).open()
                scope.cancel()
                await trio.sleep_forever()
        assert EVENTS == ["safe", "close"] * 2
        EVENTS.clear()
    because = "lab.psu is brought into its safe state, since its context stops because of ZeroDivisionError"
    assert lines(caplog).count(because) == 3


@pytest.mark.parametrize("error", [RuntimeError("no answer"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_safe_state_that_fails_is_logged_and_keeps_nothing_from_its_end(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    Supply.fails = error
    with lab() as context:
        psu = context.make_instrument("psu", Supply)
        psu.open()
        context.keep_safe(psu, {"output": False})
    assert EVENTS == ["safe", "output False", "close"]
    assert lines(caplog, "may not be in") == ["lab.psu may not be in its safe state: safe_state() failed"]


def test_safe_state_of_an_instrument_that_is_not_open_is_not_entered(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with lab() as context:
        context.make_instrument("never", Supply)
        psu = context.make_instrument("closed", Supply)
        psu.open()
        psu.close()
    assert EVENTS == ["close"]
    assert lines(caplog) == [
        "lab.closed is not brought into its safe state, although its context stops: it is not open",
        "lab.never is not brought into its safe state, although its context stops: it is not open",
    ]


def test_safe_state_of_an_instrument_that_needs_no_open_is_entered() -> None:
    class NoConnection(QMI_Instrument):
        """Has nothing to open."""

        def safe_state(self) -> None:
            """Note it."""
            EVENTS.append("safe")

    with lab() as context:
        context.make_instrument("psu", NoConnection)
    assert EVENTS == ["safe"]


def test_safe_state_is_not_entered_when_an_instrument_is_removed() -> None:
    with lab() as context:
        psu = context.make_instrument("psu", Supply)
        psu.open()
        context.remove_rpc_object(psu)
        assert EVENTS == ["close"]


def test_safe_state_of_an_instrument_that_is_stuck_is_missed_with_a_word_and_others_have_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with lab(stop_grace=0.05) as context:
        psu, other = context.make_instrument("psu", Supply), context.make_instrument("other", Supply)
        psu.open()
        other.open()
        psu.rpc_nonblocking.wait()
        assert wait_until(lambda: "busy" in EVENTS)
        context.register_stop_handler(lambda: EVENTS.append("stopping"))
    assert EVENTS == ["busy", "stopping", "safe", "close"]
    assert "lab.psu is not brought into its safe state, although its context stops: it does not end" in lines(caplog)
    Supply.may_go.set()


def test_safe_state_comes_after_the_tasks_have_ended() -> None:
    class Ramp(QMI_Task[None, None]):
        """Switches on at its end."""

        def run(self) -> None:
            """Wait for the end."""
            psu = qmi.get_instrument("psu")
            EVENTS.append("ramping")
            try:
                self.sleep(20.0)
            finally:
                psu.set_output(True)

    with lab() as context:
        context.make_instrument("psu", Supply).open()
        context.make_task("ramp", Ramp).start()
        assert wait_until(lambda: EVENTS == ["ramping"])
    assert EVENTS == ["ramping", "output True", "safe", "close"]


@pytest.mark.parametrize(
    ("cls", "expected"), [(Plain, ["output False"]), (AsyncSupply, ["safe", "output False", "close"])]
)
def test_safe_state_of_settings_is_entered(cls: type[QMI_Instrument], expected: list[str]) -> None:
    with lab() as context:
        psu = context.make_instrument("psu", cls)
        psu.open()
        context.keep_safe("psu", {"output": False})
    assert expected == EVENTS


# The lock


@pytest.mark.fault(61)
@pytest.mark.parametrize("busy", [False, True])
def test_safe_state_is_entered_when_the_holder_of_the_lock_is_gone_before_the_next_one_calls(
    busy: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def use() -> None:
        assert psu.lock(timeout=10.0)
        psu.set_output(True)

    with lab() as context, ThreadPoolExecutor() as pool:
        psu = context.make_instrument("psu", Guarded)
        psu.open()
        with QMI_Context("holder", config()) as holder:
            holder.connect_to_peer("lab", address(context))
            far = holder.get_instrument("lab.psu")
            assert far.lock()
            waiting = pool.submit(use)
            assert wait_until(lambda: list(actor_of(context, "psu").lock_manager.lock.waiting()))
            if busy:
                far.rpc_nonblocking.wait()
                assert wait_until(lambda: EVENTS == ["busy"])
        assert wait_until(lambda: not context.has_peer_context("holder"))
        Supply.may_go.set()
        waiting.result(10.0)
        assert [event for event in EVENTS if event != "busy"] == ["safe", "output True"]
        gone = "lab.psu is brought into its safe state, since context 'holder' that held its lock is gone"
        assert gone in lines(caplog)


def test_safe_state_is_entered_when_the_holder_of_a_lock_with_a_token_is_gone() -> None:
    with lab() as context:
        psu = context.make_instrument("psu", Guarded)
        psu.open()
        with QMI_Context("holder", config()) as holder:
            holder.connect_to_peer("lab", address(context))
            assert holder.get_instrument("lab.psu").lock(lock_token="mine")
        assert wait_until(lambda: EVENTS == ["safe"])
        assert psu.is_locked()  # so that the program can go on when it is back


def test_lock_that_is_released_or_of_another_program_leaves_the_instrument_as_it_is() -> None:
    with lab() as context, QMI_Context("holder", config()) as holder:
        psu = context.make_instrument("psu", Guarded)
        psu.open()
        holder.connect_to_peer("lab", address(context))
        far = holder.get_instrument("lab.psu")
        assert far.lock()
        far.unlock()
        assert psu.lock()
        holder.disconnect_from_peer("lab")
        assert wait_until(lambda: not context.has_peer_context("holder"))
        psu.unlock()
        assert EVENTS == []


def test_lock_that_is_lost_is_of_no_concern_unless_asked_for() -> None:
    with lab() as context:
        context.make_instrument("psu", Supply).open()
        with QMI_Context("holder", config()) as holder:
            holder.connect_to_peer("lab", address(context))
            assert holder.get_instrument("lab.psu").lock()
        psu = context.get_instrument("psu")
        assert wait_until(lambda: not psu.is_locked())
        assert EVENTS == []


# The watchdog


@pytest.fixture
async def virtual() -> Any:
    clock = VirtualClock()
    async with qmi.open_context("lab", None, init_logging=False) as context:
        context.clock = clock
        yield context, clock


@pytest.mark.fault(61)
async def test_watchdog_brings_an_instrument_into_its_safe_state_once_for_each_silence(
    virtual: tuple[Context, VirtualClock], caplog: pytest.LogCaptureFixture
) -> None:
    context, clock = virtual
    psu = await context.make_instrument("psu", AsyncSupply)
    await psu.open()
    context.keep_safe(psu, when=SafeWhen(watchdog=10.0))
    await until(lambda: "psu" in context.safe_guards._scopes)
    await trio.testing.wait_all_tasks_blocked(0.01)
    for _ in range(4):  # someone calls now and then
        await clock.run_async(6.0)
        await psu.get_name()
        await psu.set_output(True)
    EVENTS.clear()
    await clock.run_async(9.0)
    assert EVENTS == []
    await clock.run_async(4.0)
    await until(lambda: EVENTS == ["safe"])
    await clock.run_async(100.0)
    assert EVENTS == ["safe"]  # as long as nobody calls
    await psu.set_output(True)
    await clock.run_async(30.0)
    await until(lambda: EVENTS == ["safe", "output True", "safe"])
    assert set(lines(caplog)) == {"lab.psu is brought into its safe state, since nobody has called it for 10 s"}


# The interlock


def test_interlock_that_falls_brings_an_instrument_into_its_safe_state(caplog: pytest.LogCaptureFixture) -> None:
    with lab() as context:
        door, psu = context.make_instrument("door", Door), context.make_instrument("psu", Supply)
        psu.open()
        context.keep_safe(psu, when=SafeWhen(interlock="door.sig_closed"))
        assert wait_until(lambda: context.async_context.broker.publisher_of("door", "sig_closed").receivers)
        door.move(True)
        door.move(False)
        assert wait_until(lambda: EVENTS == ["safe"])
        door.move(False)
        door.move(True)
        door.move(False)
        assert wait_until(lambda: EVENTS == ["safe", "safe"])
    assert (
        lines(caplog)[:2]
        == ["lab.psu is brought into its safe state, since its interlock door.sig_closed has fallen"] * 2
    )


@pytest.mark.fault(61)
def test_interlock_that_is_gone_has_fallen(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(safe_guard, "SUBSCRIBE_AGAIN", 0.01)
    with lab() as context:
        psu = context.make_instrument("psu", Supply)
        psu.open()
        context.keep_safe(psu, when=SafeWhen(interlock="building.door.sig_closed"))
        assert wait_until(lambda: EVENTS == ["safe"])  # it is not there
        with make_context("building") as building:
            door = building.make_instrument("door", Door)
            context.connect_to_peer("building", address(building))
            assert wait_until(lambda: building.async_context.broker.publisher_of("door", "sig_closed").peers)
            door.move(True)
            door.move(False)
            assert wait_until(lambda: EVENTS == ["safe"] * 2)
            door.move(True)
        assert wait_until(lambda: EVENTS == ["safe"] * 3)
    heard = [line.partition("since ")[2] for line in lines(caplog)]
    assert heard[0].startswith("its interlock building.door.sig_closed cannot be heard: ")
    assert heard[1] == "its interlock building.door.sig_closed has fallen"
    assert heard[2].startswith("its interlock building.door.sig_closed is not heard any more (")


# What is refused


@pytest.mark.parametrize(
    ("cls", "settings", "when", "fault"),
    [
        (
            Plain,
            None,
            SafeWhen(watchdog=1.0),
            "lab.psu has no safe state: its driver has no safe_state(), and no settings",
        ),
        (Plain, {"ouput": False}, None, "Plain has no setting 'ouput'. Did you mean 'output'?"),
        (Plain, {"x": 1}, None, "Plain has no setting 'x'. It has output"),
    ],
)
def test_safe_state_that_cannot_be_is_refused(
    cls: type[QMI_Instrument], settings: Any, when: SafeWhen | None, fault: str
) -> None:
    with lab() as context:
        psu = context.make_instrument("psu", cls)
        with pytest.raises(QMI_UsageException, match=r"psu|Plain") as caught:
            context.keep_safe(psu, settings, when=when)
        assert fault in str(caught.value)


@pytest.mark.parametrize("thing", ["nothing", "elsewhere.psu", None, 5])
def test_keep_safe_is_for_instruments_of_the_context(thing: object) -> None:
    with lab() as context, pytest.raises(QMI_UsageException, match="keep_safe"):
        context.keep_safe(thing, {})


@pytest.mark.parametrize(
    ("kwargs", "fault"),
    [
        ({"lock_lost": 1}, "lock_lost must be True or False, got 1"),
        ({"watchdog": 0}, "watchdog must be None or a number of seconds above 0, got 0"),
        ({"watchdog": True}, "watchdog must be None or a number of seconds above 0, got True"),
        ({"watchdog": float("inf")}, "watchdog must be None or a number of seconds above 0, got inf"),
        ({"watchdog": "5"}, "watchdog must be None or a number of seconds above 0, got '5'"),
        ({"interlock": "door"}, 'interlock must be None or a signal as "context.object.signal" or "object.signal"'),
        ({"interlock": "a..b"}, "interlock must be None"),
        ({"interlock": 5}, "interlock must be None"),
    ],
)
def test_safe_when_names_what_cannot_work(kwargs: Any, fault: str) -> None:
    with pytest.raises(QMI_InvalidValueException) as caught:
        SafeWhen(**kwargs)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"channels[1].voltage": -1.0}, "channels[1].voltage of lab.psu must be"),
        ({"channels[1].voltage": "off"}, "channels[1].voltage of lab.psu must be a number, got 'off'"),
        ({"channels[1].output": 0}, "channels[1].output of lab.psu must be True or False, got 0"),
        ({"channels[1].measured_voltage": 0.0}, "channels[1].measured_voltage of lab.psu can only be read"),
        ({"channels[9].voltage": 0.0}, "has no setting 'channels[9].voltage'. Did you mean"),
        ({"channels[1].voltag": 0.0}, "has no setting 'channels[1].voltag'. Did you mean 'channels[1].voltage'?"),
    ],
)
def test_safe_state_with_a_value_that_can_never_be_set_is_refused(settings: dict[str, object], fault: str) -> None:
    with lab() as context:
        psu = context.make_instrument("psu", Scpi_PowerSupply, simulate=True)
        with pytest.raises(QMI_UsageException) as caught:
            context.keep_safe(psu, settings)
        assert fault in str(caught.value)
        context.keep_safe(psu, {"channels[1].voltage": 0.0, "channels[1].output": False})


# The configuration


def test_safe_state_of_the_configuration_is_entered() -> None:
    here = __name__
    instruments = {
        "psu": {"driver": f"{here}:Plain", "safe": {"output": False}},
        "own": {"driver": f"{here}:Guarded"},
        "bad": {"driver": f"{HERE}:Meter", "safe": {"mode": "FAST"}},
        "worse": {"driver": f"{HERE}:Meter", "safe_when": {"watchdog": 5.0}},
        "both": {"driver": f"{here}:Supply", "safe": {"output": False}, "safe_when": {"lock_lost": True}},
    }
    with lab(instruments=instruments) as context:
        found = {entry.name: entry for entry in context.make_configured()}
        assert [entry.state for entry in found.values()] == ["ready", "ready", "failed", "failed", "ready"]
        assert found["bad"].reason.startswith("contexts.lab.instruments.bad.safe.mode: Meter has no setting 'mode'.")
        assert found["worse"].reason == (
            "contexts.lab.instruments.worse.safe_when: Meter has no safe_state(); "
            "say in contexts.lab.instruments.worse.safe what is set"
        )
        assert actor_of(context, "both").safe.when == SafeWhen(lock_lost=True)
        assert actor_of(context, "own").safe.when == SafeWhen(lock_lost=True)
    assert EVENTS == ["safe", "output False", "close", "safe", "close", "output False"]


# Real programs

SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("mode", "number", "why"),
    [
        ("wait", signal.SIGTERM, "the program got SIGTERM"),
        pytest.param("wait", signal.SIGHUP, "the program got SIGHUP", marks=SLOW),
        pytest.param("wait", signal.SIGINT, "its context stops", marks=SLOW),
        pytest.param("trio", signal.SIGTERM, "the program got SIGTERM", marks=SLOW),
        pytest.param("trio", signal.SIGINT, "its context stops because of KeyboardInterrupt", marks=SLOW),
        pytest.param("error", None, "its context stops", marks=SLOW),
        pytest.param("nothing", None, "its context stops", marks=SLOW),
    ],
)
def test_fault_52_program_that_is_told_to_end_enters_its_safe_states(
    mode: str, number: signal.Signals | None, why: str, home: Path
) -> None:
    record = home / "record"
    with subprocess.Popen(
        [sys.executable, str(PROGRAMS / "safe_heater.py"), str(record), mode],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        if number is not None:
            wait_for_file(lambda: record.exists() and record.read_text() == "on\n", home)
            process.send_signal(number)
        _, logged = process.communicate(timeout=30)
    assert record.read_text() == "on\nsafe\nreleased\n"
    [line] = [line for line in logged.splitlines() if "safe state" in line]
    assert line.endswith(f"lab.heater is brought into its safe state, since {why}")
