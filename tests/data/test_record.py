"""Signals and readings of parameters become rows of a run, and what is missing is told."""

from __future__ import annotations

import errno
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
import trio

import qmi
import qmi.data
from qmi.actors.pubsub.subscriptions import Topic
from qmi.core.context import QMI_Context
from qmi.core.exceptions import (
    QMI_BlockingOnLoopException,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_NoActiveContextException,
    QMI_RecordingException,
    QMI_SignalSubscriptionException,
    QMI_TimeoutException,
    QMI_UnknownNameException,
    QMI_UsageException,
)
from qmi.data import record_signals
from qmi.data.column_values import encoded
from qmi.data.run_log import RunLog
from qmi.messages import Signal
from qmi.peers import subscriptions
from tests.support.lab import address, make_context
from tests.support.ports import free_port
from tests.support.programs import Program
from tests.support.recorded import Source
from tests.support.waiting import wait_until


@pytest.fixture
def nsg() -> Iterator[Any]:
    qmi.start("lab", None, init_logging=False)
    yield qmi.make_instrument("nsg", Source)
    qmi.stop()


@pytest.fixture
def far(nsg: Any) -> Iterator[QMI_Context]:
    """Another program, to which this one is connected."""
    context = make_context("far")
    context.start()
    qmi.context().connect_to_peer("far", address(context))
    yield context
    with suppress(QMI_NoActiveContextException):  # the test stopped it
        context.stop()


def gaps_of(data: Any) -> list[tuple[Any, ...]]:
    return [(gap["kind"], gap["row"], gap["missing"]) for gap in json.loads(data.attrs["gaps"])]


def comes(recording: Any, kind: str) -> None:
    wait_until(lambda: any(gap.kind == kind for gap in recording.gaps))


# -- what is recorded


def test_signals_and_parameters_are_columns_of_a_run(nsg: Any, folder: Path) -> None:
    before = datetime.now(UTC)
    with qmi.data.record(
        "night",
        nsg.sig_sample,
        nsg.sig_pair,
        nsg.sig_beat,
        nsg.parameters.voltage,
        "nsg.outputs[2].level",
        "lab.nsg.outputs[1].current",
        image=nsg.sig_image,
        units={"nsg_sample": "µV"},
        tags=["a"],
        comment="begun",
        folder=folder,
    ) as recording:
        nsg.tell("sig_sample", 1.5)
        nsg.tell("sig_pair", 2.5, "ü")
        nsg.tell("sig_beat")
        nsg.tell("sig_image", numpy.arange(4, dtype="u2").reshape(2, 2))
        nsg.voltage = 12
        nsg.outputs[1].level = 1
        nsg.outputs[2].level = 2
        nsg.tell("sig_outputs_current", 2, 0.25)
        nsg.tell("sig_outputs_current", 1, 0.125)
        recording.comment("it goes on")
    data = qmi.data.load(recording.run_id, folder=folder)
    columns = ["nsg_sample", "nsg_pair_0", "nsg_pair_1", "nsg_beat", "nsg_voltage", "nsg_outputs_2_level"]
    assert sorted(map(str, data)) == sorted([*columns, "nsg_outputs_1_current", "image"])
    frame = data.drop_vars("image").to_pandas()
    found = {name: frame[name][frame[name].notna() & (frame[name] != "")].tolist() for name in columns}
    assert found == {
        "nsg_sample": [1.5], "nsg_pair_0": [2.5], "nsg_pair_1": ["ü"], "nsg_beat": [1.0], "nsg_voltage": [12.0],
        "nsg_outputs_2_level": [2.0],
    }  # fmt: skip
    assert frame["nsg_outputs_1_current"].dropna().tolist() == [0.125]
    assert data.image.dropna("row").values.tolist() == [[[0, 1], [2, 3]]]
    assert (recording.rows, data.sizes["row"]) == (7, 7)
    units = {name: data[name].attrs.get("units") for name in ("nsg_sample", "nsg_voltage", "nsg_outputs_2_level")}
    assert units == {"nsg_sample": "µV", "nsg_voltage": "V", "nsg_outputs_2_level": "V"}
    assert data.nsg_pair_1.attrs["source"] == "lab.nsg.sig_pair"
    assert all(
        before.replace(tzinfo=None) <= when <= datetime.now(UTC).replace(tzinfo=None) for when in frame.published
    )
    assert (data.attrs["state"], data.attrs["comment"], data.attrs["gaps"]) == ("done", "begun\nit goes on", "[]")
    assert recording.info is not None
    assert recording.info.tags == ("a",)
    assert [source.rows for source in recording.sources] == [1] * 7


def test_polled_and_set_values_of_a_parameter_are_one_column(nsg: Any, folder: Path) -> None:
    with qmi.data.record("night", nsg.parameters.temperature, folder=folder) as recording, nsg:
        wait_until(lambda: recording.rows)
    data = qmi.data.load("night", folder=folder)
    assert data.nsg_temperature.values.tolist() == [4.2]
    assert data.nsg_temperature.attrs["units"] == "K"


def test_all_that_had_come_is_written_at_the_end(nsg: Any, folder: Path) -> None:
    with qmi.data.record("fast", nsg.sig_sample, folder=folder):
        nsg.tell_many(20_000)
    data = qmi.data.load("fast", folder=folder)
    numpy.testing.assert_array_equal(data.nsg_sample.values, numpy.arange(20_000.0))


def test_recording_of_other_programs(nsg: Any, far: QMI_Context, folder: Path) -> None:
    there = far.make_instrument("nsg", Source)
    with qmi.data.record("night", nsg.sig_sample, "far.nsg.sig_sample", "far.nsg.voltage", folder=folder) as recording:
        nsg.tell("sig_sample", 1.0)
        there.tell("sig_sample", 2.0)
        there.voltage = 3.0
        wait_until(lambda: recording.rows == 3)
    data = qmi.data.load("night", folder=folder)
    assert sorted(map(str, data)) == ["far_nsg_sample", "lab_nsg_sample", "nsg_voltage"]
    assert data.far_nsg_sample.dropna("row").values.tolist() == [2.0]
    assert data.nsg_voltage.attrs["units"] == "V"


@pytest.mark.parametrize(("size", "alone", "advised"), [(9000, False, True), (10, False, False), (9000, True, False)])
def test_large_arrays_are_advised_to_be_recorded_alone(
    nsg: Any, folder: Path, size: int, alone: bool, advised: bool, caplog: pytest.LogCaptureFixture
) -> None:
    others = [] if alone else [nsg.sig_beat]
    with qmi.data.record("night", nsg.sig_image, *others, folder=folder) as recording:
        for _ in range(2):
            nsg.tell("sig_image", numpy.zeros(size))
    assert recording.rows == 2
    assert caplog.text.count("give it a recording of its own") == advised


def test_columns_keep_clear_of_the_name_of_the_coordinate(nsg: Any, folder: Path) -> None:
    with qmi.data.record("night", published=nsg.sig_sample, folder=folder):
        nsg.tell("sig_sample", 1.0)
    data = qmi.data.load("night", folder=folder)
    assert data.published.values.tolist() == [1.0]
    assert data.published_.dtype == "M8[ns]"


async def test_recording_in_a_trio_program(nsg: Any, folder: Path) -> None:
    async with qmi.data.record("night", nsg.sig_sample, "lab.nsg.voltage", folder=folder) as recording:
        await trio.to_thread.run_sync(nsg.tell, "sig_sample", 1.0)
        with trio.move_on_after(0.01) as scope:
            await recording.wait_async()
        assert scope.cancelled_caught
        await trio.to_thread.run_sync(nsg.tell, "sig_sample", 2.0)
    data = qmi.data.load("night", folder=folder)
    assert data.nsg_sample.values.tolist() == [1.0, 2.0]
    with pytest.raises(QMI_BlockingOnLoopException, match=r"async with qmi\.data\.record"):
        qmi.data.record("night", nsg.sig_sample, folder=folder).__enter__()


# -- what cannot be recorded


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda nsg: [], QMI_UsageException, "nothing is to be recorded"),
        (lambda nsg: [nsg], QMI_UsageException, "itself cannot be recorded: say which"),
        (lambda nsg: [nsg.voltage], QMI_UsageException, r"value 1\.0 cannot be recorded.*psu\.parameters\.voltage"),
        (lambda nsg: [nsg.tell], QMI_UsageException, "expected a signal such as"),
        (lambda nsg: [None], QMI_UsageException, "None cannot be recorded"),
        (lambda nsg: ["sig_sample"], QMI_InvalidValueException, "got 'sig_sample'"),
        (lambda nsg: ["a.b.c.d"], QMI_InvalidValueException, r"got 'a\.b\.c\.d'"),
        (lambda nsg: ["nsg.sig_sampel"], QMI_UnknownNameException, "no signal or parameter 'sig_sampel'. Did you mean"),
        (lambda nsg: ["nsg.outputs[3].level"], QMI_UnknownNameException, r"outputs\[3\]"),
        (lambda nsg: ["nsq.sig_sample"], QMI_UnknownNameException, "nsq"),
        (lambda nsg: [nsg.parameters.silent], QMI_UsageException, "declare it with poll=SECONDS"),
        (
            lambda nsg: [nsg.sig_sample, nsg.sig_sample],
            QMI_InvalidValueException,
            r"lab\.nsg\.sig_sample is given twice",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused(
    nsg: Any, folder: Path, make: Callable[[Any], list[Any]], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        qmi.data.record("night", *make(nsg), folder=folder).__enter__()
    assert qmi.data.runs(folder=folder) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"units": {"x": "V"}}, r"units has 'x', which is no column \(nsg_sample\)"),
        ({"nsg_sample": "lab.nsg.sig_any"}, "two columns would be called 'nsg_sample'"),
        ({"tags": [1]}, "tags must be texts"),
        ({"max_queue_length": 0}, "length of a queue"),
    ],
)
def test_arguments_of_a_recording_are_checked(nsg: Any, folder: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises((QMI_InvalidValueException, QMI_UsageException), match=words):
        qmi.data.record("night", nsg.sig_sample, folder=folder, **arguments).__enter__()


def test_text_names_nothing_where_there_is_no_context(folder: Path) -> None:
    with pytest.raises(QMI_UsageException, match=r"there is no context: qmi\.start\(\) makes one"):
        qmi.data.record("night", "nsg.sig_sample", folder=folder)


def test_recording_is_used_once(nsg: Any, folder: Path) -> None:
    recording = qmi.data.record("night", nsg.sig_sample, folder=folder)
    with recording:
        pass
    with pytest.raises(QMI_InvalidOperationException, match="was begun before"):
        recording.__enter__()
    waiting = qmi.data.record("night", "nsg.sig_sample", folder=folder)
    with pytest.raises(QMI_InvalidOperationException, match="has not begun"):
        waiting.comment("early")


def test_recording_that_cannot_begin_leaves_no_subscription(nsg: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(QMI_RecordingException, match="Not a directory"):
        qmi.data.record("night", nsg.sig_sample, folder=tmp_path / "file").__enter__()
    assert qmi.context().async_context.broker._receivers.topics() == []


# -- gaps


def test_signals_that_find_no_room_are_told(
    nsg: Any, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    real = qmi.data.Run.add

    def slow(self: Any, /, **values: object) -> None:
        entered.set()
        assert go_on.wait(20)
        real(self, **values)

    monkeypatch.setattr(qmi.data.Run, "add", slow)
    with qmi.data.record("night", nsg.sig_sample, max_queue_length=10, folder=folder) as recording:
        nsg.tell("sig_sample", -1.0)
        assert entered.wait(20)
        nsg.tell_many(100)
        go_on.set()
    data = qmi.data.load("night", folder=folder)
    lost = 100 - (recording.rows - 1)
    assert lost >= 90
    assert sum(gap.missing or 0 for gap in recording.gaps) == lost
    assert sum(missing for _, _, missing in gaps_of(data)) == lost
    assert {gap.kind for gap in recording.gaps} == {"dropped"}
    assert data.nsg_sample.values[-1] == 99.0
    assert f"lab.nsg.sig_sample, before row 1: dropped ({recording.gaps[0].missing} missing)" in caplog.text


def test_signals_that_a_link_leaves_out_are_told(nsg: Any, far: QMI_Context, folder: Path) -> None:
    far.make_instrument("nsg", Source)
    broker = qmi.context().async_context.broker
    with qmi.data.record("night", "far.nsg.sig_sample", folder=folder) as recording:
        for seqnr in (5, 6, 9, 10):
            broker.arrived([Signal("nsg", "sig_sample", (float(seqnr),), seqnr, 0.0)], "far")
    assert [(gap.kind, gap.row, gap.missing) for gap in recording.gaps] == [("dropped", 2, 2)]


@pytest.mark.parametrize(
    ("events", "numbers", "expected"),
    [
        (["lost", "resumed"], (7, 12), [("lost", 1, None), ("resumed", 1, None), ("dropped", 1, 4)]),
        (["lost", "restarted"], (7, 0), [("lost", 1, None), ("restarted", 1, None)]),
        (["restarted"], (7, 3), [("restarted", 1, None)]),
        (["lost", "lost", "resumed"], (7, 8), [("lost", 1, None), ("resumed", 1, None)]),
        (["lost"], (7, 8), [("lost", 1, None), ("found", 1, None)]),
    ],
)
def test_links_that_are_lost_and_restored_are_told(
    nsg: Any, far: QMI_Context, folder: Path, events: list[str], numbers: tuple[int, int], expected: list[Any]
) -> None:
    far.make_instrument("nsg", Source)
    broker = qmi.context().async_context.broker
    with qmi.data.record("night", "far.nsg.sig_sample", folder=folder) as recording:
        broker.arrived([Signal("nsg", "sig_sample", (1.0,), numbers[0], 0.0)], "far")
        for event in events:
            broker.mark_gap(Topic("far", "nsg", "sig_sample"), event)
        broker.arrived([Signal("nsg", "sig_sample", (2.0,), numbers[1], 0.0)], "far")
    data = qmi.data.load("night", folder=folder)
    assert gaps_of(data) == expected == [(gap.kind, gap.row, gap.missing) for gap in recording.gaps]
    assert data.nsg_sample.values.tolist() == [1.0, 2.0]
    assert recording.sources[0].state == "live"


def test_parameter_with_two_signals_tells_of_a_link_once(nsg: Any, folder: Path) -> None:
    broker = qmi.context().async_context.broker
    with qmi.data.record("night", nsg.parameters.voltage, nsg.parameters.temperature, folder=folder) as recording:
        for event in ("lost", "resumed"):
            for signal in ("sig_changed", "sig_temperature"):
                broker.mark_gap(Topic("lab", "nsg", signal), event)
    assert [gap.kind for gap in recording.gaps] == ["lost"] * 2 + ["resumed"] * 2
    assert len({gap.source for gap in recording.gaps}) == 2


def test_source_that_is_gone_ends_and_the_others_go_on(
    nsg: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = qmi.make_instrument("other", Source)
    with qmi.data.record("night", other.sig_sample, nsg.sig_sample, folder=folder) as recording:
        qmi.context().remove_rpc_object(other)
        comes(recording, "ended")
        nsg.tell("sig_sample", 1.0)
        with pytest.raises(QMI_TimeoutException):
            recording.wait(0.001)
        assert [source.state for source in recording.sources] == ["ended", "live"]
        qmi.context().remove_rpc_object(nsg)
        with pytest.raises(QMI_SignalSubscriptionException, match="all of its sources have ended"):
            recording.wait(20)
    data = qmi.data.load("night", folder=folder)
    assert gaps_of(data) == [("ended", 0, None), ("ended", 1, None)]
    assert data.attrs["state"] == "done"
    errors = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.ERROR]
    assert "lab.other.sig_sample, before row 0: ended" in errors[0]


@pytest.mark.parametrize("how", ["object removed", "context stopped"])
def test_source_of_another_program_that_is_gone_ends(nsg: Any, far: QMI_Context, folder: Path, how: str) -> None:
    there = far.make_instrument("nsg", Source)
    with qmi.data.record("night", "far.nsg.sig_sample", "far.nsg.voltage", folder=folder) as recording:
        there.tell("sig_sample", 1.0)
        if how == "object removed":
            far.remove_rpc_object(there)
        else:
            far.stop()
        with pytest.raises(QMI_SignalSubscriptionException):
            recording.wait(20)
    assert recording.rows == 1
    assert {gap.kind for gap in recording.gaps} <= {"lost", "ended"}
    assert [source.state for source in recording.sources] == ["ended", "ended"]


def test_source_that_is_not_there_yet_is_recorded_from_when_it_is(
    nsg: Any, far: QMI_Context, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_signals, "LOOK_AGAIN", 0.01)
    sources = ("nsg.sig_sample", "far.other.voltage", "later.sig_sample")
    with qmi.data.record("night", *sources, reconnect=True, folder=folder) as recording:
        assert [source.state for source in recording.sources] == ["live", "absent", "absent"]
        later, other = qmi.make_instrument("later", Source), far.make_instrument("other", Source)
        wait_until(lambda: [source.state for source in recording.sources] == ["live"] * 3)
        later.tell("sig_sample", 1.0)
        other.voltage = 2.0
        wait_until(lambda: recording.rows == 2)
        qmi.context().remove_rpc_object(later)
        comes(recording, "ended")
        later = qmi.make_instrument("later", Source)
        wait_until(lambda: [source.state for source in recording.sources] == ["live"] * 3)
        later.tell("sig_sample", 3.0)
    data = qmi.data.load("night", folder=folder)
    assert data.later_sample.dropna("row").values.tolist() == [1.0, 3.0]
    kinds = [(gap.source, gap.kind) for gap in recording.gaps]
    assert [kind for name, kind in kinds if name == "lab.later.sig_sample"] == ["absent", "found", "ended", "found"]
    assert [kind for name, kind in kinds if name == "far.other.voltage"] == ["absent", "found"]


def test_source_that_is_not_there_is_an_error_at_the_beginning(nsg: Any, folder: Path) -> None:
    signal = nsg.sig_sample
    qmi.context().remove_rpc_object(nsg)
    with pytest.raises(QMI_SignalSubscriptionException, match="nsg"):
        qmi.data.record("night", signal, folder=folder).__enter__()
    assert qmi.data.runs(folder=folder) == []


@pytest.mark.parametrize(
    ("signal", "first", "bad"),
    [
        ("sig_sample", (1.0,), ("text",)),
        ("sig_any", (1.0,), (object(),)),
        ("sig_any", ([1.0, 2.0],), ([1.0, 2.0, 3.0],)),
        ("sig_pair", (1.0, "a"), (1.0,)),
    ],
)
def test_values_that_no_column_has_are_told_and_the_rest_goes_on(
    nsg: Any, folder: Path, signal: str, first: tuple[Any, ...], bad: tuple[Any, ...]
) -> None:
    with qmi.data.record("night", getattr(nsg, signal), folder=folder) as recording:
        for args in (first, bad, bad, first):
            nsg.tell(signal, *args)
    assert recording.rows == 2
    assert [gap.kind for gap in recording.gaps] == ["refused"] * len(recording.gaps)
    assert sum(gap.missing or 0 for gap in recording.gaps) == 2
    assert recording.gaps[0].detail


def test_full_disk_ends_a_recording_with_an_error(nsg: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: RunLog, payload: object) -> None:
        self._fail(OSError(errno.ENOSPC, "No space left on device"))

    recording = qmi.data.record("night", nsg.sig_sample, folder=folder)
    recording.__enter__()
    nsg.tell("sig_sample", 1.0)
    wait_until(lambda: recording.rows == 1)
    monkeypatch.setattr(RunLog, "append", full)
    nsg.tell("sig_sample", 2.0)
    with pytest.raises(QMI_RecordingException, match="No space left"):
        recording.wait(20)
    nsg.tell("sig_sample", 3.0)
    with pytest.raises(QMI_RecordingException, match="No space left"):
        recording.__exit__(None, None, None)
    assert isinstance(recording.error, QMI_RecordingException)
    assert qmi.data.load("night", folder=folder).nsg_sample.values.tolist() == [1.0]


@pytest.mark.parametrize(
    ("error", "state"), [(None, "done"), (KeyboardInterrupt(), "done"), (ValueError("x"), "failed")]
)
def test_recording_has_failed_if_an_error_ends_it(
    nsg: Any, folder: Path, error: BaseException | None, state: str
) -> None:
    with suppress(ValueError, KeyboardInterrupt), qmi.data.record("night", nsg.sig_sample, folder=folder) as recording:
        nsg.tell("sig_sample", 1.0)
        if error is not None:
            raise error
    assert recording.info is not None
    assert (recording.info.state, recording.info.rows) == (state, 1)


def test_gap_is_shown_in_words() -> None:
    gap = qmi.data.Gap("lab.nsg.sig", "dropped", datetime.now(UTC) - timedelta(1), 7, 3)
    assert str(gap).startswith("lab.nsg.sig, before row 7: dropped (3 missing), signals are missing")


def test_values_are_taken_while_another_thread_imports_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", ModuleType("numpy"))
    for value in (datetime.now(UTC), 1, "a", True, None):
        encoded(value, "x")


FAR = """
from tests.support.recorded import Source
from tests.support.lab import make_context
context = make_context("far", port={port})
context.start()
"""


@pytest.mark.slow
@pytest.mark.parametrize("reconnect", [True, False])
def test_recording_goes_on_with_a_program_that_was_killed_and_started_anew(
    nsg: Any, folder: Path, reconnect: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_signals, "LOOK_AGAIN", 0.05)
    monkeypatch.setattr(subscriptions, "RENEWAL_PATIENCE", 0.05)
    port = free_port()
    begin = FAR.format(port=port)
    make = 'nsg = context.make_instrument("nsg", Source)\nNone'
    tell = 'nsg.tell("sig_sample", {number})'
    with Program() as first:
        first.run(begin + make)
        qmi.context().connect_to_peer("far", f"127.0.0.1:{port}", reconnect=True)
        recording = qmi.data.record("night", "far.nsg.sig_sample", nsg.sig_beat, reconnect=reconnect, folder=folder)
        recording.__enter__()
        first.run(tell.format(number=1.0))
        wait_until(lambda: recording.rows == 1)
        first.kill()
        comes(recording, "lost")
        nsg.tell("sig_beat")
    with Program() as second:
        second.run(begin)
        # The link is back, and there is no such object yet.
        comes(recording, "ended")
        second.run(make)
        if reconnect:
            comes(recording, "found")
        second.run(tell.format(number=2.0))
        wait_until(lambda: recording.rows == 2 + reconnect)
        recording.__exit__(None, None, None)
    data = qmi.data.load("night", folder=folder)
    assert data.nsg_sample.dropna("row").values.tolist() == [1.0, 2.0][: 1 + reconnect]
    kinds = [kind for kind, _, _ in gaps_of(data)]
    assert kinds == ["lost", "restarted", "ended", "found"][: 3 + reconnect]
