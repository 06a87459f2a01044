from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import numpy
import pytest
import xarray

import qmi
import qmi.data
from qmi.core.driver import QMI_Instrument, parameter
from qmi.core.exceptions import (
    QMI_BlockingOnLoopException,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_MissingLibraryException,
    QMI_RecordingException,
    QMI_UnknownNameException,
)
from qmi.data import run_file, run_log, run_metadata
from qmi.data.record_format import MAGIC, frame
from qmi.data.run_folder import RunFolder
from tests.support.programs import run_script


class Mode(Enum):
    SINE = "SIN"
    RAMP = "RAMP"


class Range(IntEnum):
    LOW = 1


class Supply(QMI_Instrument):
    """A supply."""

    volts = 1.5

    @parameter(unit="V", limits=(0, 30))
    def voltage(self) -> float:
        """Voltage."""
        return self.volts

    @voltage.setter
    def set_voltage(self, value: float) -> None:
        self.volts = value


def values_of(folder: Path, *values: object, unit: str = "") -> Any:
    with qmi.data.run("values", {"x": unit}, folder=folder) as run:
        for value in values:
            run.add(x=value)
    # By this engine, for with the package netCDF4 xarray takes that, which makes structures of complex numbers.
    with xarray.open_dataset(run.file, engine="h5netcdf") as data:
        return data.x.load()


# -- values


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1.5, -0.0, float("inf")], "f8"),
        ([1, -(1 << 63), (1 << 63) - 1], "i8"),
        ([1, 2.5], "f8"),
        ([True, False], "bool"),
        ([numpy.bool_(True), False], "bool"),
        ([1, 2 + 3j], "c16"),
        ([numpy.float32(0.5), numpy.int8(3)], "f8"),
        ([numpy.uint64(5)], "i8"),
        ([numpy.complex64(1 + 2j)], "c16"),
        ([[1, 2], [3, 4]], "i8"),
        ([[1, 2], [3.5, 4]], "f8"),
        ([numpy.arange(3, dtype="f4"), numpy.ones(3, "f4")], "f4"),
        ([numpy.arange(3, dtype="u1")], "u1"),
        ([numpy.arange(3, dtype=">i2")], "i2"),
        ([numpy.arange(2, dtype="c8"), numpy.arange(2, dtype="c8")], "c8"),
        ([numpy.array([True, False])], "bool"),
        ([numpy.ones((2, 3)), numpy.zeros((2, 3))], "f8"),
        ([(1.0, 2.0)], "f8"),
    ],
)
def test_values_of_a_run_come_back(folder: Path, values: list[object], dtype: str) -> None:
    found = values_of(folder, *values)
    assert found.dtype == numpy.dtype(dtype)
    numpy.testing.assert_array_equal(found.values, numpy.array(values, dtype))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "ü\n", ""], ["a", "ü\n", ""]),
        ([Mode.SINE, Mode.RAMP], ["SINE", "RAMP"]),
        ([Range.LOW], ["LOW"]),
        ([Mode.SINE, "other", None], ["SINE", "other", ""]),
        ([["a", "bc"], ["", "d"]], [["a", "bc"], ["", "d"]]),
        ([[Mode.SINE, Mode.RAMP]], [["SINE", "RAMP"]]),
        ([numpy.str_("x")], ["x"]),
    ],
)
def test_texts_of_a_run_come_back(folder: Path, values: list[object], expected: object) -> None:
    assert values_of(folder, *values).values.tolist() == expected


def test_members_of_an_enum_are_described(folder: Path) -> None:
    found = values_of(folder, Mode.SINE)
    assert found.attrs["enum"] == f"{__name__}.Mode"
    assert json.loads(found.attrs["enum_members"]) == {"SINE": "'SIN'", "RAMP": "'RAMP'"}


EAST = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), "2026-01-02T03:04:05.678901"),
        (datetime(2026, 1, 2, 3, 4, 5, 0, EAST), "2026-01-01T21:34:05"),
        (numpy.datetime64("2026-01-02T03:04:05.123456789"), "2026-01-02T03:04:05.123456789"),
        (numpy.array(["2026-01-02", "NaT"], "M8[D]"), ["2026-01-02", "NaT"]),
        ([datetime(2026, 1, 2, tzinfo=UTC)], ["2026-01-02"]),
        (None, "NaT"),
    ],
)
def test_times_of_a_run_come_back_in_utc(folder: Path, value: object, expected: object) -> None:
    shape = numpy.array(expected).shape
    first = numpy.full(shape, "NaT", "M8[ns]") if shape else datetime(2000, 1, 1, tzinfo=UTC)
    found = values_of(folder, first, value)
    numpy.testing.assert_array_equal(found.values[1], numpy.array(expected, "M8[ns]"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, None], [1.0, numpy.nan]),
        ([None, 3], [numpy.nan, 3.0]),
        ([True, None], [1.0, numpy.nan]),
        ([None], [numpy.nan]),
    ],
)
def test_none_is_no_value(folder: Path, values: list[object], expected: list[float]) -> None:
    numpy.testing.assert_array_equal(values_of(folder, *values).values, expected)


def test_quantity_is_converted_to_the_unit_of_the_column(folder: Path) -> None:
    import pint

    millivolts = pint.UnitRegistry().Quantity(1500, "mV")
    found = values_of(folder, millivolts, unit="V")
    assert (found.values.tolist(), found.attrs["units"]) == ([1.5], "V")


@pytest.mark.parametrize(
    ("first", "value", "words"),
    [
        (1.0, "text", "column x of run bad has numbers, got 'text'"),
        ("text", 1.0, "has texts"),
        (1, True, "has numbers, got True"),
        ([1, 2], [1, 2, 3], r"of shape \(2,\), got \[1, 2, 3\] of shape \(3,\)"),
        ([1, 2], 5, "arrays of numbers"),
        (1.0, [1.0], "has numbers"),
        (1.0, object(), "must be a number, a text"),
        (1.0, b"bytes", "must be a number"),
        (1.0, {"a": 1}, "must be a number"),
        (1, 1 << 63, "at most 64 bits"),
        ([1], numpy.array([1 << 63], "u8"), "at most 63 bits"),
        ("a", "a\0b", "without NUL"),
        ("a", "\ud800", "UTF-8"),
        ([1], [], "with elements"),
        ([1, 2], [[1], [2, 3]], "must be an array"),
        ([1], numpy.array([object()]), "one of type object"),
        (datetime(2026, 1, 1), datetime(1500, 1, 1), "from 1678"),
    ],
)
def test_value_that_does_not_go_with_its_column_is_refused(
    folder: Path, first: object, value: object, words: str
) -> None:
    with qmi.data.run("bad", ["x"], folder=folder) as run:
        run.add(x=first)
        with pytest.raises(QMI_InvalidValueException, match=words):
            run.add(x=value)
        run.add(x=first)
    assert run.info is not None
    assert run.info.rows == run.rows == 2


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"T": 1.0}, "one without V"),
        ({"T": 1, "V": 2, "I": 3}, "one with I"),
        ({"T": 1, "I": 3}, "without V and with I"),
        ({}, "without T, V"),
    ],
)
def test_row_with_other_columns_is_refused(folder: Path, row: dict[str, float], words: str) -> None:
    words = f"must have the columns T, V, got .*{words}"
    with qmi.data.run("bad", ["T", "V"], folder=folder) as run, pytest.raises(QMI_InvalidValueException, match=words):
        run.add(**row)
    assert run.rows == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "a/b"}, "name of a run"),
        ({"name": ""}, "name of a run"),
        ({"name": "x" * 101}, "at most 100 letters"),
        ({"name": "a:b"}, "letters, digits"),
        ({"name": 5}, "name of a run"),
        ({"columns": {}}, "at least one name"),
        ({"columns": "T"}, "must be a mapping"),
        ({"columns": 5}, "must be a mapping"),
        ({"columns": {"T": 5}}, "unit of column T"),
        ({"columns": ["row"]}, "cannot be 'row'"),
        ({"columns": ["a/b"]}, "without '/'"),
        ({"columns": ["a b"]}, "without blanks"),
        ({"coordinates": ["Z"]}, "coordinates must be columns"),
        ({"axes": {"Z": {}}}, "which is no column"),
        ({"axes": {"T": {"T": ("", [1])}}}, "a name that no column has"),
        ({"axes": {"T": {"t": ("", 1)}}}, "a list of values"),
        ({"axes": {"T": {"t": ("", [1])}, "V": {"t": ("", [2])}}}, "the same in all columns"),
        ({"tags": [5]}, "tags must be texts"),
        ({"metadata": {"a": object()}}, "metadata must be"),
    ],
)
def test_arguments_that_will_not_do_are_refused(folder: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=words):
        qmi.data.run(**{"name": "run", "columns": ["T", "V"], "folder": folder, **arguments})
    assert not folder.exists()


def test_file_opens_with_coordinates_axes_and_units(folder: Path) -> None:
    delays = [0.0, 0.5, 1.0]
    axes = {"trace": {"delay": ("s", delays)}, "other": {"delay": ("s", delays)}}
    columns = {"T": "K", "trace": "V", "other": "A"}
    with qmi.data.run("axes", columns, coordinates=["T"], axes=axes, folder=folder) as run:
        with pytest.raises(QMI_InvalidValueException, match=r"of shape \(3,\), as its axes delay say; got \(2,\)"):
            run.add(T=1.0, trace=[1, 2], other=[1, 2, 3])
        run.add(T=1.0, trace=[1, 2, 3], other=[1, 2, 3])
    with xarray.open_dataset(run.file) as data:
        assert set(data.coords) == {"time", "T", "delay"}
        assert data.trace.dims == data.other.dims == ("row", "delay")
        assert {name: data[name].attrs["units"] for name in [*columns, "delay"]} == {**columns, "delay": "s"}
        assert data.delay.values.tolist() == delays


def test_column_may_be_called_time(folder: Path) -> None:
    with qmi.data.run("time", {"time": "s"}, folder=folder) as run:
        run.add(time=1.0)
    data = qmi.data.load(run.run_id, folder=folder)
    assert data.time.values.tolist() == [1.0]
    assert data.row_time.dtype == "M8[ns]"


@pytest.mark.parametrize("unit", ["s since 2000-01-01", "days", "ms", "µs", "°C", "%", "1/cm"])
def test_units_that_look_like_times_do_not_make_times_of_numbers(folder: Path, unit: str) -> None:
    with qmi.data.run("run", {"x": unit, "trace": ""}, axes={"trace": {"t": (unit, [1.5])}}, folder=folder) as run:
        run.add(x=2.5, trace=[1.0])
    data = qmi.data.load("run", folder=folder)
    for name, value in (("x", [2.5]), ("t", [1.5])):
        assert data[name].values.tolist() == value
        assert unit in data[name].attrs.values()


def test_run_without_rows_has_a_file(folder: Path) -> None:
    with qmi.data.run("empty", ["T"], folder=folder) as run:
        pass
    assert qmi.data.load("empty", folder=folder).sizes["row"] == 0
    assert run.info is not None
    assert run.info.state == "done"


def test_large_arrays_of_a_run_come_back(folder: Path) -> None:
    arrays = [numpy.arange(50_000.0) + number for number in range(5)]
    with qmi.data.run("large", ["n", "trace", "s"], folder=folder) as run:
        for number, array in enumerate(arrays):
            run.add(n=number, trace=array, s="x" * number)
    data = qmi.data.load(run.run_id, folder=folder)
    numpy.testing.assert_array_equal(data.trace, arrays)
    assert data.n.values.tolist() == [0, 1, 2, 3, 4]
    assert data.s.values.tolist() == ["", "x", "xx", "xxx", "xxxx"]


def test_array_that_changes_while_it_is_added_costs_no_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = numpy.zeros(50_000)
    real = os.write

    def write(fd: int, data: Any) -> int:
        array[:] += 1.0  # as a thread that acquires data may do at any time
        return real(fd, data)

    with qmi.data.run("changing", ["trace"], folder=folder) as run:
        monkeypatch.setattr(os, "write", write)
        for _ in range(3):
            run.add(trace=array)
        monkeypatch.undo()
    data = qmi.data.load(run.run_id, folder=folder)
    assert data.attrs["damaged"] == 0
    assert data.trace.values[:, [0, -1]].tolist() == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize("value", ["x" * 100_000, numpy.zeros(100_000)])
def test_row_that_no_record_can_have_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    monkeypatch.setattr(run_log, "MAX_PAYLOAD", 1 << 16)
    with qmi.data.run("long", ["x"], folder=folder) as run:
        with pytest.raises(QMI_InvalidValueException, match=r"at most 0 MiB, got 0\.[18] MiB: make several rows"):
            run.add(x=value)
        run.add(x=None)
    assert qmi.data.load(run.run_id, folder=folder).sizes["row"] == 1


# -- beginning, end, errors


def test_run_that_does_not_last_takes_no_rows(folder: Path) -> None:
    run = qmi.data.run("run", ["T"], folder=folder)
    with pytest.raises(QMI_InvalidOperationException, match="has not begun"):
        run.add(T=1)
    with run:
        run.add(T=1)
    with pytest.raises(QMI_InvalidOperationException, match="has ended"):
        run.add(T=1)
    with pytest.raises(QMI_InvalidOperationException, match="has ended"):
        run.comment("late")
    with pytest.raises(QMI_InvalidOperationException, match="was begun before"):
        run.__enter__()


def test_run_that_an_exception_ends_keeps_its_rows(folder: Path) -> None:
    with suppress(ZeroDivisionError), qmi.data.run("run", ["T"], folder=folder) as run:
        run.add(T=1)
        run.add(T=1 / (run.rows - 1))
    (info,) = qmi.data.runs(state="failed", folder=folder)
    assert (info.run_id, info.rows) == (run.run_id, 1)
    metadata = json.loads(qmi.data.load(info, folder=folder).attrs["qmi_metadata"])
    assert metadata["end"]["error"] == "ZeroDivisionError: division by zero"


def test_folder_that_cannot_be_written_fails_at_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        QMI_RecordingException, match=r'file.*Not a directory.*"datastore" in the configuration.*folder='
    ):
        qmi.data.run("run", ["T"], folder=tmp_path / "file").__enter__()


def test_folder_whose_files_could_not_be_made_at_the_end_fails_at_the_beginning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode, **how: Path(path).name == "open")
    with pytest.raises(QMI_RecordingException, match="Permission denied"):
        qmi.data.run("run", ["T"], folder=folder).__enter__()
    assert list((folder / "open").iterdir()) == []


@pytest.mark.parametrize("library", ["h5py", "h5netcdf", "xarray"])
def test_missing_library_is_said_at_the_beginning(folder: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.delitem(sys.modules, library, raising=False)
    monkeypatch.setattr(run_file, "find_spec", lambda name: None if name == library else sys)
    with pytest.raises(QMI_MissingLibraryException, match=rf"{library}.*pip install 'qmi-trio\[data\]'"):
        qmi.data.run("run", ["T"], folder=folder)


def test_runs_of_one_name_that_begin_at_once_have_ids_of_their_own(folder: Path) -> None:
    start = threading.Barrier(4)
    moment = datetime(2026, 11, 26, 12, tzinfo=UTC)
    found: list[str] = []

    def begin() -> None:
        place = RunFolder(folder)
        start.wait(10)
        run_id, log = place.new_log("run", moment)
        found.append(run_id)
        log.close()

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["20261126-120000_run", *(f"20261126-120000_run_{n}" for n in (2, 3, 4))]


def test_id_of_a_run_that_has_ended_is_not_taken_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000)
    ids = []
    for _ in range(2):
        with qmi.data.run("run", ["T"], folder=folder) as run:
            run.add(T=1)
        ids.append(run.run_id)
    assert ids == ["20270115-080000_run", "20270115-080000_run_2"]


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_times_of_rows_go_on_when_the_clock_jumps(folder: Path, monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    with qmi.data.run("run", ["T"], folder=folder) as run:
        run.add(T=1)
        real = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() + jump * 10**9)
        run.add(T=2)
    data = qmi.data.load(run.run_id, folder=folder)
    first, second = data.time.values
    assert numpy.timedelta64(0) < second - first < numpy.timedelta64(60, "s")
    assert json.loads(data.attrs["qmi_metadata"])["end"]["clock_jump"] == pytest.approx(jump, abs=30)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="no time zones to be set here")
@pytest.mark.parametrize("zone", ["UTC", "EST5EDT", "IST-5:30"])
def test_times_are_the_same_in_each_time_zone(folder: Path, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        before = datetime.now(UTC)
        with qmi.data.run("run", ["T", "when"], folder=folder) as run:
            run.add(T=1, when=datetime.now())
        assert qmi.data.runs(since=datetime.now() - timedelta(minutes=1), folder=folder)
        assert not qmi.data.runs(since=datetime.now() + timedelta(minutes=1), folder=folder)
    finally:
        monkeypatch.undo()
        time.tzset()
    data = qmi.data.load(run.run_id, folder=folder)
    for found in (data.time, data.when):
        assert abs(found.values[0] - numpy.datetime64(before.replace(tzinfo=None))) < numpy.timedelta64(60, "s")
    assert run.run_id.startswith(f"{before:%Y%m%d-%H}") or before.minute == 59


# -- what is found out


def test_metadata_is_kept_by_itself(folder: Path) -> None:
    with qmi.start("lab", config_file=None, init_logging=False):
        supply = qmi.make_instrument("psu", Supply)
        assert supply.voltage == 1.5
        tags, metadata = ["a", "b", "a"], {"sample": {"name": "A12"}}
        with qmi.data.run("run", ["T"], tags=tags, comment="first", metadata=metadata, folder=folder) as run:
            run.comment("second")
            run.tag("c")
            supply.voltage = 2.5
    attributes = qmi.data.load(run.run_id, folder=folder).attrs
    assert json.loads(attributes["tags"]) == ["a", "b", "c"]
    assert attributes["comment"] == "first\nsecond"
    found = json.loads(attributes["qmi_metadata"])
    assert found["user_metadata"] == {"sample": {"name": "A12"}}
    assert found["context"] == "lab"
    assert {"host", "user", "timezone", "configuration"} <= found.keys()
    assert {"python", "qmi-trio", "numpy"} <= found["versions"].keys()
    assert found["instruments_at_begin"]["lab.psu"]["readings"]["voltage"]["value"] == 1.5
    assert found["end"]["instruments_at_end"]["lab.psu"]["readings"]["voltage"]["value"] == 2.5


def test_snapshot_of_a_locked_instrument_needs_its_proxy(folder: Path) -> None:
    with qmi.start("lab", config_file=None, init_logging=False):
        supply = qmi.make_instrument("psu", Supply)
        with supply.locked():
            first = run_metadata.snapshots(run_metadata.active_context())
            second = run_metadata.snapshots(run_metadata.active_context(), [supply], update=True)
    assert "instruments=[proxy]" in first["lab.psu"]["missing"]
    assert second["lab.psu"]["readings"]["voltage"]["value"] == 1.5


def test_instrument_that_fails_does_not_keep_a_run_from_its_rows(folder: Path) -> None:
    class Broken:
        address = "lab.broken"

        def snapshot(self, **arguments: object) -> object:
            raise RuntimeError("no answer")

    with qmi.data.run("run", ["T"], instruments=[Broken()], folder=folder) as run:
        run.add(T=1)
    found = json.loads(qmi.data.load(run.run_id, folder=folder).attrs["qmi_metadata"])
    assert found["instruments_at_begin"] == {"lab.broken": {"missing": "RuntimeError: no answer"}}


def test_large_metadata_is_kept(folder: Path) -> None:
    text = "ü" * 1_000_000
    with qmi.data.run("run", ["T"], metadata={"text": text}, folder=folder) as run:
        pass
    assert json.loads(qmi.data.load(run.run_id, folder=folder).attrs["qmi_metadata"])["user_metadata"]["text"] == text


async def test_run_in_a_trio_program(folder: Path) -> None:
    async with qmi.open_context("lab", config_file=None, init_logging=False) as context:
        supply = await context.make_instrument("psu", Supply)
        await supply.get_voltage()
        with pytest.raises(QMI_BlockingOnLoopException, match="async with"):
            qmi.data.run("run", ["T"], folder=folder).__enter__()
        async with qmi.data.run("run", ["T"], folder=folder) as run:
            run.add(T=1)
    found = json.loads(qmi.data.load(run.run_id, folder=folder).attrs["qmi_metadata"])
    assert found["instruments_at_begin"]["lab.psu"]["readings"]["voltage"]["value"] == 1.5


# -- finding and reading


def test_runs_are_found(folder: Path) -> None:
    for name, tag in (("one", "a"), ("two", "b"), ("one", "b")):
        with qmi.data.run(name, ["T"], tags=[tag], folder=folder) as run:
            run.add(T=run.rows)
    everything = qmi.data.runs(folder=folder)
    assert [info.name for info in everything] == ["one", "two", "one"]
    assert [info.name for info in qmi.data.runs(tag="b", folder=folder)] == ["two", "one"]
    assert [info.run_id for info in qmi.data.runs(limit=1, folder=folder)] == [run.run_id]
    assert qmi.data.runs(since=timedelta(hours=1), name="o*", folder=folder) == [everything[0], everything[2]]
    assert qmi.data.load("one", folder=folder).attrs["run_id"] == run.run_id
    assert qmi.data.load(everything[1]).attrs["title"] == "two"
    assert list(qmi.data.load(run.run_id, folder=folder).to_pandas()["T"]) == [0]


def test_run_that_lasts_is_in_the_index(folder: Path) -> None:
    with qmi.data.run("run", ["T"], folder=folder) as run:
        (info,) = qmi.data.runs(folder=folder)
        assert (info.state, info.ended, info.run_id) == ("running", None, run.run_id)
        for wanted in (run.run_id, "other", "../x", "*"):
            with pytest.raises(
                QMI_UnknownNameException, match="still lasts" if wanted == run.run_id else "no run with"
            ):
                qmi.data.load(wanted, folder=folder)
        assert qmi.data.recover(folder) == []
        run.add(T=1)
    assert qmi.data.load("run", folder=folder).sizes["row"] == 1


def test_index_is_made_anew_from_the_files(folder: Path) -> None:
    with qmi.data.run("run", ["T"], tags=["a"], folder=folder) as run:
        run.add(T=1)
    (folder / "index.sqlite").unlink()
    assert qmi.data.runs(folder=folder) == []
    qmi.data.recover(folder)
    assert qmi.data.runs(tag="a", folder=folder) == [run.info]


def test_damaged_index_does_not_keep_a_run_from_its_rows(folder: Path) -> None:
    folder.mkdir()
    (folder / "index.sqlite").write_bytes(b"no database at all " * 100)
    with qmi.data.run("run", ["T"], folder=folder) as run:
        run.add(T=1)
    assert qmi.data.load(run.run_id, folder=folder).sizes["row"] == 1
    with pytest.raises(QMI_RecordingException, match=r"index\.sqlite.*delete it and call qmi\.data\.recover"):
        qmi.data.runs(folder=folder)


def test_folder_is_that_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QMI_HOME", str(tmp_path))
    monkeypatch.delenv("QMI_CONFIG", raising=False)
    assert RunFolder().path == tmp_path / "qmi_data" / "runs"
    (tmp_path / "qmi.conf").write_text('{"datastore": "measured"}')
    monkeypatch.setenv("QMI_CONFIG", str(tmp_path / "qmi.conf"))
    assert RunFolder().path == tmp_path / "measured" / "runs"
    with qmi.start("lab", config_file=str(tmp_path / "qmi.conf"), init_logging=False):
        assert RunFolder().path == tmp_path / "measured" / "runs"


# -- programs that end without ending their run

FULL = """
import resource, sys
import h5py
import qmi.data
folder = sys.argv[1]
try:
    with qmi.data.run("full", ["x"], folder=folder) as run:
        run.add(x="a" * 1000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
        while True:
            run.add(x="b" * 1000)
except qmi.core.exceptions.QMI_RecordingException as error:
    assert "cannot be written: File too large" in str(error), error
    assert "qmi.data.recover()" in str(error)
    print(run.rows)
try:
    run.add(x="late")
except qmi.core.exceptions.QMI_InvalidOperationException:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
qmi.data.recover(folder)
(info,) = qmi.data.runs(folder=folder)
with h5py.File(info.file) as data:
    print(info.rows, data["x"][-1].decode())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
@pytest.mark.parametrize("size", [20_000])
def test_full_disk_stops_the_run_and_leaves_what_was_written(tmp_path: Path, size: int) -> None:
    added, found = run_script(FULL, tmp_path / "runs", size, cwd=tmp_path).splitlines()
    assert int(added) > 1
    assert found == f"{added} {'b' * 1000}"


FORKED = """
import os, sys
import h5py
import qmi.data
with qmi.data.run("forked", ["x"], folder=sys.argv[1]) as run:
    run.add(x=1)
    child = os.fork()
    if child == 0:
        try:
            run.add(x=2)
        except qmi.core.exceptions.QMI_InvalidOperationException:
            run.__exit__(None, None, None)
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    run.add(x=3)
with h5py.File(run.file) as data:
    print(data["x"][:].tolist())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_leaves_the_run_to_its_parent(tmp_path: Path) -> None:
    assert run_script(FORKED, tmp_path / "runs", cwd=tmp_path) == "[1, 3]\n"


def left_behind(folder: Path, name: str = "run", rows: int = 3) -> Path:
    """The log of a run whose program has ended in its midst."""
    run = qmi.data.run(name, ["x"], folder=folder)
    run.__enter__()
    for number in range(rows):
        run.add(x=number)
    log = run._log
    assert log is not None
    log.close()
    return log.path


@pytest.mark.parametrize("how", ["run", "runs", "load", "recover"])
def test_run_that_was_cut_short_is_recovered(folder: Path, how: str) -> None:
    left_behind(folder)
    if how == "run":
        with qmi.data.run("next", ["x"], folder=folder):
            pass
    elif how == "load":
        qmi.data.load("run", folder=folder)
    elif how == "runs":
        qmi.data.runs(folder=folder)
    else:
        qmi.data.recover(folder)
    info = qmi.data.runs("run", folder=folder)[0]
    assert (info.state, info.rows) == ("interrupted", 3)
    assert qmi.data.load(info).x.values.tolist() == [0, 1, 2]
    assert list((folder / "open").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"QMI", b"QMIRUN1\n"])
def test_log_of_a_run_that_had_not_begun_is_taken_away(folder: Path, content: bytes) -> None:
    (folder / "open").mkdir(parents=True)
    (folder / "open" / "20261126-120000_run.qmirun").write_bytes(content)
    assert qmi.data.recover(folder) == []
    assert list((folder / "open").iterdir()) == []


def test_damaged_log_gives_what_is_whole_and_is_kept(folder: Path) -> None:
    log = left_behind(folder, rows=5)
    content = bytearray(log.read_bytes())
    content[-30] ^= 1  # in the last row but one
    log.write_bytes(content)
    (info,) = qmi.data.recover(folder)
    data = qmi.data.load(info)
    assert data.x.values.tolist() == [0, 1, 2, 4]
    assert data.attrs["rows_lost"] == 1
    assert [path.name for path in (folder / "open").iterdir()] == [f"{log.name}.damaged"]


def test_run_that_cannot_be_recovered_does_not_keep_others_from_it(folder: Path) -> None:
    (folder / "open").mkdir(parents=True)
    strange = folder / "open" / "20261126-120000_strange.qmirun"
    strange.write_bytes(MAGIC + frame(b"\x01"))
    left_behind(folder)
    with pytest.raises(QMI_RecordingException, match=r"1 of the runs .*strange.*begins with a record of the format"):
        qmi.data.recover(folder)
    assert [info.name for info in qmi.data.runs(folder=folder)] == ["run"]
    assert strange.exists()


def test_write_that_was_interrupted_is_settled_by_the_next_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, parts = os.write, [0, 7, 10_000]

    def write(fd: int, data: bytes) -> int:
        if len(data) > 1000 and parts:
            real(fd, data[: parts.pop()])
            raise KeyboardInterrupt
        return real(fd, data)

    with qmi.data.run("run", ["x"], folder=folder) as run:
        monkeypatch.setattr(os, "write", write)
        for number in (1, 2, 3):
            with pytest.raises(KeyboardInterrupt):
                run.add(x=f"{number}" * 2000)
            run.add(x=f"{number}")
        monkeypatch.undo()
    texts = qmi.data.load(run.run_id, folder=folder).x.values.tolist()
    assert [text[:2] for text in texts] == ["11", "1", "2", "3"]
