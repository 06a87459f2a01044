from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import qmi
import qmi.data
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_NotConnectedException,
    QMI_ObjectLockedException,
    QMI_RecordingException,
    QMI_TaskInitException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.data.whole_files import write_whole
from qmi.scan import Scan, ScanHandle, ScanInfo, ScanQueue, adaptive, grid, scan
from tests.support import scan_functions
from tests.support.lab import address, make_context
from tests.support.scan_functions import HOOKS, SET_TO, get_later, get_power, halve, set_position, switch_off
from tests.support.scan_queues import FUNCTIONS, Bench, client_of, measured, psu, queue, running_lab
from tests.support.waiting import until, wait_until


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    SET_TO.clear()
    HOOKS.clear()
    yield
    for gate in Gate.all:
        gate.open.set()
    Gate.all.clear()
    HOOKS.clear()


class Gate:
    """Holds a function up until it is opened."""

    all: ClassVar[list[Gate]] = []

    def __init__(self, name: str = "get_power") -> None:
        self.open = threading.Event()
        self.reached = threading.Event()
        self.all.append(self)
        HOOKS[name] = self.pass_through

    def pass_through(self) -> None:
        self.reached.set()
        assert self.open.wait(20)

    def wait(self) -> None:
        assert self.reached.wait(20)


@pytest.fixture
def lab() -> Iterator[QMI_Context]:
    with running_lab() as lab, client_of(lab):
        yield lab


def ids(*states: str) -> list[str]:
    return [info.id for info in queue().list_scans() if not states or info.state in states]


def test_queue_carries_out_a_scan_of_another_program(lab: QMI_Context) -> None:
    made = scan(psu().parameters.maximum, 0, 5, 3, run="iv").measure(psu().parameters.current, get_power)
    made.finally_set(psu().parameters.maximum, 0.5, ramp=1000).finally_call(switch_off)
    handle = made.submit("lab.scans", comment="first", tags=["A12"])
    info = handle.wait()
    assert (info.id, info.state, info.reason, info.points, info.length) == ("scans-1", "done", "", 3, 3)
    assert info.what == "scan of psu_maximum, 3 points, measures psu_current, power"
    assert info.submitted <= info.started <= info.ended  # type: ignore[operator]
    assert all((info.user, info.program, info.host))
    assert (info.comment, handle.info()) == ("first", info)
    data = qmi.data.load(info.run_id)
    assert list(data.psu_maximum.values) == [0.0, 2.5, 5.0]
    assert list(data.power.values) == [0.5] * 3
    (run,) = qmi.data.runs(tag="A12")
    assert (run.run_id, run.comment) == (info.run_id, "first")
    assert (SET_TO, psu().maximum) == (["off"], 0.5)


@pytest.mark.parametrize(
    ("make", "points"),
    [
        (lambda: scan(psu().move, adaptive(halve)), 3),
        (lambda: scan([set_position, psu().parameters["outputs[1].maximum"]], grid([1, 2], [3.0])), 2),
        (lambda: scan((psu(), "maximum"), range(3)).measure(psu().outputs[2].get_current), 3),
        (lambda: scan(scan_functions.Stage.move, (1, 2)).measure(c=psu().get_current), 2),
    ],
)
def test_queue_carries_out_what_a_scan_may_have(lab: QMI_Context, make: Callable[[], Scan], points: int) -> None:
    info = make().submit("lab.scans").wait()
    assert (info.state, info.reason, info.points) == ("done", "", points)


def test_scans_of_a_queue_run_one_after_the_other(lab: QMI_Context) -> None:
    gate = Gate()
    handles = [measured(number).submit("lab.scans") for number in range(3)]
    gate.wait()
    assert [info.state for info in queue().list_scans()] == ["running", "waiting", "waiting"]
    gate.open.set()
    assert [handle.wait().state for handle in handles] == ["done"] * 3
    assert SET_TO == [0, 1, 2]


def test_two_programs_may_submit_at_once(lab: QMI_Context) -> None:
    barrier = threading.Barrier(2)
    handles: list[ScanHandle] = []
    with make_context("other") as other:
        other.connect_to_peer("lab", address(lab))

        def submit(proxy: Any) -> None:
            for number in range(5):
                made = measured(number)
                barrier.wait()
                handles.append(made.submit(proxy))

        threads = [threading.Thread(target=submit, args=(proxy,)) for proxy in (queue(), other.get_task("lab.scans"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [handle.wait().state for handle in handles] == ["done"] * 10
    assert sorted(handle.id for handle in handles) == sorted(f"scans-{number}" for number in range(1, 11))
    assert sorted(SET_TO) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]  # type: ignore[type-var]


async def test_scan_is_submitted_in_a_trio_program() -> None:
    async with qmi.open_context("lab", None, init_logging=False) as lab:
        await lab.make_instrument("psu", Bench)
        scans: Any = await lab.make_task("scans", ScanQueue, modules=[FUNCTIONS])
        await scans.start()
        supply: Any = await lab.get_instrument("psu")
        made = scan(supply.parameters.maximum, [1.0]).measure(get_power)
        handle = await made.submit_async("lab.scans", comment="in trio")
        info = await handle.wait_async()
        assert (info.state, info.points, info.comment) == ("done", 1, "in trio")
        assert await handle.info_async() == info
        gate = Gate()
        handle = await measured().submit_async(scans)
        await until(gate.reached.is_set)
        await handle.pause_async()
        await handle.resume_async()
        await handle.abort_async()
        gate.open.set()
        assert (await handle.wait_async()).state == "aborted"
        other = await measured().submit_async(scans)
        await other.stop_async()
        assert (await other.wait_async()).state in ("stopped", "removed", "done")


# -- steered by others


def test_queue_is_paused_and_its_order_changed(lab: QMI_Context, caplog: pytest.LogCaptureFixture) -> None:
    queue().pause_queue("door open")
    handles = [measured(number).submit("lab.scans") for number in range(4)]
    assert "paused by context 'client'" in queue().get_pause_reason()
    assert queue().get_pause_reason().endswith(": door open")
    queue().move_scan("scans-3")
    queue().move_scan("scans-1", 9)
    queue().remove_scan("scans-2")
    assert ids() == ["scans-2", "scans-3", "scans-4", "scans-1"]
    assert handles[1].wait().state == "removed"
    assert "by context 'client'" in handles[1].info().reason
    with caplog.at_level(logging.WARNING, "qmi.scan"):
        queue().resume_queue()
    assert "Queue lab.scans goes on, as context 'client'" in caplog.text
    assert queue().get_pause_reason() is None
    assert handles[0].wait().state == "done"
    assert SET_TO == [2, 3, 0]


def test_scan_that_runs_is_paused_and_goes_on(lab: QMI_Context, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    handle = measured().submit("lab.scans")
    gate.wait()
    handle.pause()
    gate.open.set()
    assert handle.info().state == "paused"
    assert "Scan scans-1 is paused by context 'client'" in caplog.text
    handle.resume()
    assert handle.wait().state == "done"


@pytest.mark.parametrize(("end", "state", "points"), [("stop", "stopped", 1), ("abort", "aborted", 0)])
def test_scan_that_runs_is_ended(
    lab: QMI_Context, caplog: pytest.LogCaptureFixture, end: str, state: str, points: int
) -> None:
    gate = Gate()
    handle = measured(run="iv").finally_call(switch_off).submit("lab.scans")
    gate.wait()
    getattr(handle, end)()
    gate.open.set()
    info = handle.wait()
    assert (info.state, info.points, SET_TO) == (state, points, [1, "off"])
    assert f"Scan scans-1 is {state} by context 'client'" in caplog.text
    assert len(qmi.data.load(info.run_id).power) == points


@pytest.mark.parametrize("end", ["stop", "abort"])
def test_scan_that_waits_is_removed(lab: QMI_Context, end: str) -> None:
    gate = Gate()
    first, second = measured(1).submit("lab.scans"), measured(2).submit("lab.scans")
    gate.wait()
    getattr(second, end)()
    gate.open.set()
    assert (first.wait().state, second.wait().state) == ("done", "removed")
    assert SET_TO == [1]


@pytest.mark.parametrize("act", ["pause", "resume", "stop", "abort"])
def test_scan_that_has_ended_is_not_steered(lab: QMI_Context, act: str) -> None:
    handle = measured().submit("lab.scans")
    handle.wait()
    with pytest.raises(QMI_InvalidOperationException, match="Scan scans-1 does not run: it is done"):
        getattr(handle, act)()


def test_scan_that_nobody_knows_is_told(lab: QMI_Context) -> None:
    for ask in (queue().get_scan, queue().get_outcome, queue().abort_scan, queue().remove_scan, queue().move_scan):
        with pytest.raises(QMI_UnknownNameException, match="Queue scans has no scan 'scans-7'"):
            ask("scans-7")


def test_changes_of_a_queue_are_published(lab: QMI_Context) -> None:
    receiver = QMI_SignalReceiver()
    queue().sig_changed.subscribe(receiver)
    measured().submit("lab.scans").wait()
    seen = [receiver.get_next_signal(timeout=10).args for _ in range(3)]
    assert seen == [("scans-1", "waiting"), ("scans-1", "running"), ("scans-1", "done")]


def test_guests_see_a_queue_and_do_not_touch_it() -> None:
    with running_lab(context={"operators": ["control"]}) as lab, client_of(lab):
        guest = queue()
        assert guest.list_scans() == []
        assert guest.get_pause_reason() is None
        for refused in (
            lambda: measured().submit("lab.scans"),
            guest.pause_queue,
            guest.resume_queue,
            lambda: guest.remove_scan("scans-1"),
            lambda: guest.abort_scan("scans-1"),
            lambda: guest.move_scan("scans-1"),
        ):
            with pytest.raises(QMI_InvalidOperationException, match="read-only for context 'client'"):
                refused()
        own = measured().submit(lab.get_task("scans"))
        assert guest.get_outcome(own.id).state == "done"


# -- what goes wrong


def fail() -> None:
    raise ZeroDivisionError("a fault")


def test_scan_that_fails_does_not_stop_the_queue(lab: QMI_Context, caplog: pytest.LogCaptureFixture) -> None:
    HOOKS["get_power"] = fail
    first = measured().finally_call(switch_off).submit("lab.scans")
    info = first.wait()
    assert (info.state, info.reason, SET_TO) == ("failed", "ZeroDivisionError: a fault", [1, "off"])
    del HOOKS["get_power"]
    assert measured().submit("lab.scans").wait().state == "done"
    assert "Scan scans-1 of queue lab.scans failed" in caplog.text


def test_scan_that_fails_pauses_a_queue_that_is_to_be_paused() -> None:
    with running_lab(on_error="pause") as lab, client_of(lab):
        gate = Gate()
        HOOKS["set_position"] = fail
        first, second = measured().submit("lab.scans"), measured().submit("lab.scans")
        assert first.wait().state == "failed"
        assert queue().get_pause_reason() == "scan scans-1 failed: ZeroDivisionError: a fault"
        assert second.info().state == "waiting"
        HOOKS.clear()
        queue().resume_queue()
        assert second.wait().state == "done"
        assert not gate.reached.is_set()


def leave() -> None:
    raise SystemExit(3)


def test_function_that_ends_the_program_ends_its_scan_alone(lab: QMI_Context) -> None:
    HOOKS["get_power"] = leave
    assert measured().submit("lab.scans").wait().reason == "SystemExit: 3"
    HOOKS.clear()
    assert measured().submit("lab.scans").wait().state == "done"


def test_instrument_that_is_gone_when_its_scan_begins_fails_that_scan(lab: QMI_Context) -> None:
    queue().pause_queue()
    handle = scan(psu().parameters.maximum, [1.0]).submit("lab.scans")
    lab.remove_rpc_object(lab.get_instrument("psu"))
    queue().resume_queue()
    info = handle.wait()
    assert info.state == "failed"
    assert "psu" in info.reason
    assert measured().submit("lab.scans").wait().state == "done"


def stranger() -> float:
    return 0.0


class Without:
    """What the queue of a program lacks."""

    @staticmethod
    def parameter() -> Scan:
        made = scan(psu().parameters.maximum, [1.0])
        description = made.describe().plain()
        description["targets"] = [["x", "", ["parameter", "lab.psu", "minimum"]]]
        return Ready(description)

    @staticmethod
    def settable() -> Scan:
        return Ready({**measured().describe().plain(), "targets": [["x", "", ["parameter", "lab.psu", "current"]]]})

    @staticmethod
    def method() -> Scan:
        return Ready({**measured().describe().plain(), "targets": [["x", "", ["method", "lab.psu", "explode"]]]})

    @staticmethod
    def private() -> Scan:
        return Ready({**measured().describe().plain(), "targets": [["x", "", ["method", "lab.psu", "__rpc__"]]]})

    @staticmethod
    def signal() -> Scan:
        watch = [["signal", "lab.psu", "sig_none"], ["equals", True]]
        return Ready({**measured().describe().plain(), "watches": [watch]})

    @staticmethod
    def function(where: str, name: str) -> Scan:
        return Ready({**measured().describe().plain(), "targets": [["x", "", ["function", where, name]]]})


class Ready(Scan):
    """Submits any data."""

    def __init__(self, plain: dict[str, object]) -> None:
        self.plain = plain

    def submit(self, queue: object, **options: Any) -> ScanHandle:
        proxy = qmi.get_task("lab.scans")
        return ScanHandle(proxy, proxy.submit(self.plain, "lab"))


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (Without.parameter, QMI_UnknownNameException, "minimum"),
        (Without.settable, QMI_UsageException, "current of lab.psu can only be read"),
        (Without.method, Exception, "explode"),
        (Without.private, QMI_UsageException, "lab.psu has no method '__rpc__'"),
        (Without.signal, Exception, "sig_none"),
        (
            lambda: Without.function(FUNCTIONS, "nothing"),
            QMI_UsageException,
            "no function 'nothing' of its own in module",
        ),
        (lambda: Without.function(FUNCTIONS, "threading.Event"), QMI_UsageException, "no function 'threading.Event'"),
        (lambda: Without.function(FUNCTIONS, "__builtins__.exec"), QMI_UsageException, "no function"),
        (lambda: Without.function(FUNCTIONS, "set_position.__globals__"), QMI_UsageException, "no function"),
        (lambda: Without.function(FUNCTIONS, "HOOKS.clear"), QMI_UsageException, "no function 'HOOKS.clear'"),
        (lambda: Without.function(FUNCTIONS, "SET_TO"), QMI_UsageException, "no function 'SET_TO'"),
        (
            lambda: Without.function(f"{FUNCTIONS}.inner", "f"),
            QMI_UsageException,
            "cannot import '.*inner'.* python_path",
        ),
        (
            lambda: Without.function("os", "system"),
            QMI_UsageException,
            r"takes no functions of module 'os'.*modules=\['os",
        ),
        (lambda: Without.function(f"{FUNCTIONS}_2", "f"), QMI_UsageException, "takes no functions of module"),
        (
            lambda: measured().measure(stranger),
            QMI_UsageException,
            "takes no functions of module 'tests.scan.test_queue'",
        ),
        (lambda: measured().measure(get_later), QMI_UsageException, "get_later has to be awaited: a queue takes plain"),
        (lambda: Ready({"version": 7}), QMI_InvalidValueException, "no scan that this program understands"),
        (lambda: measured().measure(lambda: 1), QMI_UsageException, "has no name"),
    ],
)
def test_scan_that_cannot_be_carried_out_is_refused_when_it_is_submitted(
    lab: QMI_Context, make: Callable[[], Scan], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        make().submit("lab.scans")
    assert queue().list_scans() == []


def test_scan_of_instruments_that_the_queue_cannot_reach_is_refused(lab: QMI_Context) -> None:
    own = qmi.make_instrument("psu", Bench)
    with pytest.raises(
        QMI_NotConnectedException, match="'lab', in which the queue is, is not connected to context 'far'"
    ):
        Ready({**measured().describe().plain(), "readables": [["x", "", ["parameter", "far.psu", "maximum"]]]}).submit(
            ""
        )
    made = scan(own.parameters.maximum, [1.0])  # over the link that this program has made
    assert made.submit("lab.scans").wait().state == "done"
    assert own.maximum == 1.0


def test_queue_knows_its_own_context_by_the_name_that_the_caller_has_for_it(lab: QMI_Context) -> None:
    plain = scan(psu().parameters.maximum, [3.0]).describe().moved("lab", "rack").plain()
    handle = ScanHandle(queue(), queue().submit(plain, "rack", "u", "p\x1b[31m", "h"))
    info = handle.wait()
    assert (info.state, info.user, info.host) == ("done", "u", "h")
    assert "\x1b" not in info.program
    assert psu().maximum == 3.0


@pytest.mark.parametrize("wrong", [5, psu, "psu"])
def test_scan_is_given_to_queues_only(lab: QMI_Context, wrong: Any) -> None:
    found = wrong() if callable(wrong) else "lab.psu" if wrong == "psu" else wrong
    with pytest.raises(QMI_UsageException, match=r"address of a ScanQueue such as 'lab.scans', got"):
        measured().submit(found)


# -- locks


def test_scan_waits_for_an_instrument_that_somebody_has_locked(lab: QMI_Context) -> None:
    holder = psu()
    assert holder.reserve("alignment")
    handle = scan(psu().parameters.maximum, [4.0]).submit("lab.scans")
    wait_until(lambda: lab.get_task("scans").list_scans()[0].reason)
    info = handle.info()
    assert info.state == "waiting"
    assert info.reason.startswith("lab.psu is locked by context 'client'")
    assert info.reason.endswith("for 'alignment'")
    holder.unlock()
    assert handle.wait().state == "done"
    assert psu().lock_info() is None


@pytest.mark.parametrize(("end", "state"), [("stop", "stopped"), ("abort", "aborted")])
def test_scan_that_waits_for_a_lock_is_ended(lab: QMI_Context, end: str, state: str) -> None:
    assert psu().reserve("alignment")
    handle = scan(psu().parameters.maximum, [4.0]).finally_call(switch_off).submit("lab.scans")
    wait_until(lambda: lab.get_task("scans").list_scans()[0].reason)
    getattr(handle, end)()
    assert (handle.wait().state, SET_TO) == (state, []), "nothing was set, so nothing is to be done"


def test_scan_waits_for_a_lock_as_long_as_it_may() -> None:
    with running_lab(lock_timeout=0.0) as lab, client_of(lab):
        holder = psu()
        holder.lock()
        info = scan(psu().parameters.maximum, [4.0]).submit("lab.scans").wait()
        assert info.state == "failed"
        assert "lab.psu is locked by context 'client'" in info.reason
        assert "was not free within 0.0 s" in info.reason


def test_scan_reserves_its_instruments() -> None:
    with running_lab(reserve=True) as lab, client_of(lab):
        gate = Gate()
        handle = scan(psu().parameters.maximum, [4.0]).measure(get_power, psu().parameters.current).submit("lab.scans")
        gate.wait()
        held = psu().lock_info()
        assert held.context == "lab"
        assert held.reason.startswith("scan scans-1 for ")
        with pytest.raises(QMI_ObjectLockedException, match="for 'scan scans-1"):
            psu().maximum = 1.0
        gate.open.set()
        assert (handle.wait().state, psu().lock_info()) == ("done", None)


def test_queue_that_is_stopped_waits_for_no_lock() -> None:
    with running_lab() as lab:
        holder = lab.get_instrument("psu")
        holder.lock()
        handle = scan(holder.parameters.maximum, [4.0]).submit(lab.get_task("scans"))
        wait_until(lambda: handle.info().reason)
        lab.get_task("scans").stop()
        lab.get_task("scans").join()
        assert handle.info().state == "interrupted"


# -- suspended


def test_interlock_suspends_a_scan_of_a_queue(lab: QMI_Context) -> None:
    gate = Gate()
    handle = measured(1, 2).suspend_when(psu().sig_door, equals=True).submit("lab.scans")
    gate.wait()
    psu().put(True)
    gate.open.set()
    wait_until(lambda: lab.get_task("scans").list_scans()[0].state.startswith("suspended by"))
    psu().put(False)
    assert (handle.wait().state, SET_TO) == ("done", [1, 1, 2])


# -- the end of programs


def test_queue_goes_on_where_it_was_after_a_new_start(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    caplog.set_level(logging.INFO, "qmi.scan")
    with running_lab() as lab:
        scans = lab.get_task("scans")
        first = measured(1, 2, run="iv").finally_call(switch_off).submit(scans)
        for number in (3, 4):
            measured(number).submit(scans, comment=f"number {number}")
        gate.wait()
        outcome = scans.rpc_nonblocking.get_outcome("scans-3")
        HOOKS["switch_off"] = lambda: SET_TO.append(first.info().state)
        scans.stop()
        gate.open.set()
        assert scans.join() is None
        assert (first.info().state, first.info().points) == ("interrupted", 1)
        with pytest.raises(QMI_InvalidOperationException, match="was stopped; what waits goes on when it starts again"):
            outcome.wait()
        with pytest.raises(QMI_InvalidOperationException, match="was stopped"):
            scans.get_outcome("scans-3")
    assert SET_TO == [1, "off", "finishing"]
    with running_lab(start=False) as lab:
        scans = lab.get_task("scans")
        found = scans.list_scans()
        assert [(info.id, info.state) for info in found] == [
            ("scans-1", "interrupted"),
            ("scans-2", "waiting"),
            ("scans-3", "waiting"),
        ]
        assert found[1].comment == "number 3"
        assert (qmi.data.load(found[0].run_id).position.values == [1]).all()
        scans.start()
        assert scans.get_outcome("scans-3").state == "done"
        assert measured(5).submit(scans).id == "scans-4"
    assert SET_TO[3:5] == [3, 4]
    assert "2 scans wait in queue lab.scans" in caplog.text


def test_paused_queue_is_paused_after_a_new_start() -> None:
    for _ in range(2):
        with running_lab() as lab:
            scans = lab.get_task("scans")
            assert (scans.get_pause_reason() is None) is not bool(scans.list_scans())
            scans.pause_queue()
            measured().submit(scans)


def test_end_of_a_scan_has_its_time_when_the_context_stops() -> None:
    gate, end = Gate(), Gate("switch_off")
    done: list[bool] = []
    with running_lab(context={"stop_grace": 0.0}) as lab:
        handle = (
            measured().finally_call(switch_off).finally_call(scan_functions.switch_off).submit(lab.get_task("scans"))
        )
        gate.wait()
        core = lab.async_context

        def go_on() -> None:
            wait_until(core.shutdown_requested)
            gate.open.set()
            end.wait()
            done.append(True)
            end.open.set()

        thread = threading.Thread(target=go_on)
        thread.start()
    thread.join()
    assert handle.id == "scans-1"
    assert (done, SET_TO) == ([True], [1, "off", "off"])


def test_end_of_a_scan_has_its_time_when_its_queue_is_removed() -> None:
    gate, end = Gate(), Gate("switch_off")
    with running_lab(context={"stop_grace": 0.0}) as lab:
        scans = lab.get_task("scans")
        measured().finally_call(switch_off).submit(scans)
        gate.wait()
        actor = lab.async_context.registry.get("scans")
        assert actor is not None
        interrupt = actor.object.task_executor._interrupts

        def go_on() -> None:
            wait_until(lambda: interrupt.requested)  # it is in no list long before that
            gate.open.set()
            end.wait()
            end.open.set()

        thread = threading.Thread(target=go_on)
        thread.start()
        lab.remove_rpc_object(scans)
        thread.join()
        assert SET_TO == [1, "off"]
        again = lab.make_task("scans", ScanQueue)
        assert [info.state for info in again.list_scans()] == ["interrupted"]


def test_damaged_queue_begins_empty_and_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "scans.queue"
    file.write_bytes(b"\xff\x00damaged")
    with running_lab(file=file) as lab:
        scans = lab.get_task("scans")
        assert scans.list_scans() == []
        assert measured().submit(scans).wait().state == "done"
    assert (tmp_path / "scans.queue.damaged").read_bytes() == b"\xff\x00damaged"
    assert "begins empty: its file was damaged" in caplog.text


def test_queue_has_one_program(tmp_path: Path) -> None:
    with running_lab(file=tmp_path / "queue") as lab:
        with pytest.raises(QMI_TaskInitException, match="Another program, or another task of this one, has the queue"):
            lab.make_task("more", ScanQueue, file=tmp_path / "queue")
        lab.get_task("scans").stop()
        lab.get_task("scans").join()
        lab.make_task("more", ScanQueue, file=tmp_path / "queue")


def test_queue_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with make_context("lab") as lab, pytest.raises(QMI_TaskInitException, match=r"cannot be kept in .* Give it a file"):
        lab.make_task("scans", ScanQueue, file=tmp_path / "file" / "queue")


def test_scan_that_cannot_be_written_is_not_added(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running_lab(start=False) as lab:
        scans = lab.get_task("scans")
        measured().submit(scans)

        def full(*args: object, **options: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("qmi.scan.queue.write_whole", full)
            with pytest.raises(QMI_RecordingException, match=r"cannot be written to .*: No space left on device"):
                measured().submit(scans)
            assert [info.id for info in scans.list_scans()] == ["scans-1"]
            scans.start()
            assert scans.get_outcome("scans-1").state == "done", "what is there goes on"
        assert "after a new start it will be as it was written last" in caplog.text


def test_queue_answers_while_its_file_is_written(lab: QMI_Context, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, write = Gate(), write_whole

    def slow(*args: Any, **options: Any) -> None:
        gate.pass_through()
        write(*args, **options)

    monkeypatch.setattr("qmi.scan.queue.write_whole", slow)
    handles: list[ScanHandle] = []
    HOOKS.clear()
    thread = threading.Thread(target=lambda: handles.append(measured().submit("lab.scans")))
    thread.start()
    gate.wait()
    paused = queue().rpc_nonblocking.pause_queue("for a while")
    assert queue().list_scans() == [], "it is not there before it is on the disk"
    assert "for a while" in queue().get_pause_reason()
    assert not paused.done()
    gate.open.set()
    thread.join()
    paused.wait()
    assert handles[0].info().state == "waiting"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"modules": "analysis"}, "modules must be a list of names of modules, got 'analysis'"),
        ({"modules": [5]}, "modules must be a list"),
        ({"on_error": "stop"}, "on_error must be 'continue' or 'pause', got 'stop'"),
        ({"lock_timeout": -1}, "lock_timeout must be None or >= 0 seconds, got -1"),
    ],
)
def test_settings_of_a_queue_are_checked(settings: dict[str, Any], says: str) -> None:
    with make_context("lab") as lab, pytest.raises(QMI_TaskInitException, match=says):
        lab.make_task("scans", ScanQueue, **settings)


def test_queue_is_made_by_the_configuration() -> None:
    tasks = {"scans": {"task": "qmi.scan:ScanQueue", "kwargs": {"modules": [FUNCTIONS], "reserve": True}}}
    with make_context("lab", context={"tasks": tasks}) as lab:
        (state,) = lab.make_configured()
        assert state.state == "ready"
        assert measured().submit(lab.get_task("scans")).wait().state == "done"
        assert lab.restart_object("scans").state == "ready"
        assert [info.state for info in lab.get_task("scans").list_scans()] == ["done"]


def test_info_of_a_scan_is_a_line(lab: QMI_Context) -> None:
    info = measured().submit("lab.scans", comment="first").wait()
    assert str(info) == "scans-1 (first), scan of position, 3 points, measures power: done, 3 of 3 points"
    assert isinstance(info, ScanInfo)
