from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest
import trio

import qmi
import qmi.scan
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_InvalidOperationException,
    QMI_NoActiveContextException,
    QMI_NotConnectedException,
    QMI_UnknownNameException,
)
from qmi.core.pubsub import QMI_SignalReceiver
from qmi.core.task import QMI_Task
from qmi.scan import Scan, ScanInfo, scan, settable
from qmi.scan.running import RUNNING, RunningScans
from tests.support.lab import address, make_context
from tests.support.waiting import until, wait_until


class Measure(QMI_Task[object, object]):
    """A program that scans: another context of this process."""

    made: ClassVar[Scan]
    inside: ClassVar[threading.Event]
    may_go: ClassVar[threading.Event]

    def run(self) -> None:
        """Scan."""
        self.made.run()


def get_value() -> float:
    Measure.inside.set()
    assert Measure.may_go.wait(20)
    return 1.0


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[QMI_Context]:
    Measure.inside, Measure.may_go = threading.Event(), threading.Event()
    Measure.made = scan(settable(lambda value: None, name="x"), [1, 2, 3], run="iv").measure(value=get_value)
    Measure.made.annotate(comment="first")
    with make_context("lab", context=getattr(request, "param", None)) as lab:
        task = lab.make_task("measure", Measure)
        task.start()
        with qmi.start("client", None, init_logging=False) as client:
            client.connect_to_peer("lab", address(lab))
            assert Measure.inside.wait(20)
            yield lab
        Measure.may_go.set()
        task.join()


def test_scan_is_seen_from_another_program(lab: QMI_Context) -> None:
    (info,) = qmi.scan.scans("lab")
    assert isinstance(info, ScanInfo)
    assert (info.what, info.state, info.points, info.length, info.comment) == ("scan of x", "running", 0, 3, "first")
    assert (info.id, info.run_id) == (Measure.made.id, Measure.made.recorder.run_id)  # type: ignore[union-attr]
    assert info.submitted is None
    assert info.started is not None
    assert all((info.user, info.program, info.host))
    assert qmi.scan.scans() == [info], "of all contexts"
    assert qmi.scan.scans("client") == []
    handle = qmi.scan.find(info.id)
    assert (handle.id, handle.address, handle.info()) == (info.id, "lab.$scans", info)
    assert repr(handle) == f"<scan {info.id} of lab.$scans>"
    Measure.may_go.set()
    lab.get_task("measure").join()
    ended = handle.info()
    assert (ended.state, ended.points) == ("done", 3)
    assert ended.ended is not None
    assert qmi.scan.scans() == []


def test_rows_of_a_scan_are_followed_from_another_program(lab: QMI_Context) -> None:
    follower = qmi.scan.find(Measure.made.id).follow()
    Measure.may_go.set()
    assert [(row.number, row.x, row.value) for row in follower] == [(0, 1, 1.0), (1, 2, 1.0), (2, 3, 1.0)]


async def test_rows_of_a_scan_are_followed_from_another_trio_program(lab: QMI_Context) -> None:
    follower = await (await qmi.scan.find_async(Measure.made.id)).follow_async(first=1)
    Measure.may_go.set()
    async with follower:
        assert [(row.number, row.x, row.value) async for row in follower] == [(1, 2, 1.0), (2, 3, 1.0)]


def test_scan_without_a_run_is_not_followed() -> None:
    with qmi.start("lab", None, init_logging=False):
        made = scan(settable(lambda value: None, name="x"), [1])
        seen: list[str] = []

        def look() -> None:
            with pytest.raises(
                QMI_InvalidOperationException, match=r"keeps no run: give it one, scan\(\.\.\., run='iv'\)"
            ):
                qmi.scan.find(made.id).follow()
            seen.append(made.id)

        made.measure(y=look).run()
        assert seen


@pytest.mark.parametrize(("end", "state", "points"), [("stop", "stopped", 1), ("abort", "aborted", 0)])
def test_scan_is_ended_by_another_program(
    lab: QMI_Context, caplog: pytest.LogCaptureFixture, end: str, state: str, points: int
) -> None:
    handle = qmi.scan.find(Measure.made.id, "lab")
    getattr(handle, end)()
    assert handle.info().state == "stopping"
    Measure.may_go.set()
    lab.get_task("measure").join()
    assert (Measure.made.outcome, len(Measure.made.rows)) == (state, points)
    assert handle.info().state == state
    assert f"Scan {handle.id} is {state} by context 'client' (127.0.0.1:" in caplog.text
    with pytest.raises(QMI_InvalidOperationException, match=f"Scan '{handle.id}' has ended: {state}"):
        handle.pause()


def test_scan_is_paused_by_another_program(lab: QMI_Context, caplog: pytest.LogCaptureFixture) -> None:
    handle = qmi.scan.find(Measure.made.id, "lab")
    receiver = QMI_SignalReceiver()
    qmi.context().subscribe_signal("lab", "$scans", "sig_changed", receiver)
    handle.pause()
    Measure.may_go.set()
    wait_until(lambda: Measure.made.rows)
    assert handle.info().state == "paused"
    handle.resume()
    lab.get_task("measure").join()
    states = [receiver.get_next_signal(timeout=10).args for _ in range(4)]
    assert states == [(handle.id, state) for state in ("paused", "running", "finishing", "done")]
    assert [word for word in ("paused", "resumed") if f"Scan {handle.id} is {word} by" in caplog.text] == [
        "paused",
        "resumed",
    ]


@pytest.mark.parametrize("lab", [{"operators": ["control"]}], indirect=True)
def test_guests_see_scans_and_do_not_steer_them(lab: QMI_Context) -> None:
    handle = qmi.scan.find(Measure.made.id, "lab")
    assert qmi.scan.scans("lab") == [handle.info()]
    for refused in (handle.pause, handle.resume, handle.stop, handle.abort):
        with pytest.raises(QMI_InvalidOperationException, match="read-only for context 'client'"):
            refused()
    assert Measure.made.state == "running"


def test_scan_that_is_not_there_is_told(lab: QMI_Context) -> None:
    with pytest.raises(QMI_UnknownNameException, match="No scan 'x-1' goes on here or in a context"):
        qmi.scan.find("x-1")
    with pytest.raises(QMI_UnknownNameException, match="No scan 'x-1' goes on in context 'lab'"):
        qmi.scan.find("x-1", "lab")
    for ask in (qmi.scan.scans, lambda name: qmi.scan.find("x-1", name)):
        with pytest.raises(
            QMI_NotConnectedException, match=r"is not connected to context 'far': connect_to_peer\('far'\)"
        ):
            ask("far")
    with pytest.raises(QMI_InvalidOperationException, match="no scan of a queue, whose end can be waited for"):
        qmi.scan.find(Measure.made.id).wait()


def test_scans_need_a_context() -> None:
    for ask in (qmi.scan.scans, lambda: qmi.scan.find("x-1")):
        with pytest.raises(QMI_NoActiveContextException, match="needs a context of this program"):
            ask()
    made = scan(settable(lambda value: None, name="x"), [1])
    made.run()
    assert made.id == "", "nobody could ask for it"


async def test_scan_of_a_trio_program_is_seen_and_steered() -> None:
    async with qmi.open_context("lab", None, init_logging=False), trio.open_nursery() as nursery:
        go_on = trio.Event()
        made = scan(settable(lambda value: None, name="x"), [1, 2]).measure(y=go_on.wait)
        nursery.start_soon(made.run_async)
        await until(lambda: made.id)
        (info,) = await qmi.scan.scans_async()
        assert info.id == made.id
        handle = await qmi.scan.find_async(info.id, "lab")
        await handle.pause_async()
        go_on.set()
        await until(lambda: made.rows)
        assert (await handle.info_async()).state == "paused"
        await handle.resume_async()
        await until(lambda: made.outcome)
        with pytest.raises(QMI_InvalidOperationException, match="has ended: done"):
            await handle.abort_async()
        with pytest.raises(QMI_UnknownNameException):
            await qmi.scan.find_async("x-1")
        other = scan(settable(lambda value: None, name="x"), [1]).measure(y=trio.sleep_forever)
        nursery.start_soon(other.run_async)
        await until(lambda: other.id)
        handle = await qmi.scan.find_async(other.id)
        await handle.stop_async()
        await handle.abort_async()
        await until(lambda: other.outcome)
        assert other.outcome == "aborted"


def test_scan_that_ctrl_c_ends_before_it_has_its_name_is_not_seen_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(added: object) -> str:
        RunningScans.add(RUNNING, added)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with qmi.start("lab", None, init_logging=False):
        monkeypatch.setattr(RUNNING, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scan(settable(lambda value: None, name="x"), [1]).run()
        assert qmi.scan.scans() == []


def test_scans_of_a_process_have_different_names(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with qmi.start("lab", None, init_logging=False):
        made = [scan(settable(lambda value: None, name="x"), [1]) for _ in range(3)]
        for each in made:
            each.run()
        assert len({each.id for each in made}) == 3
