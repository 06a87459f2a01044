"""Arrays that not all rows have take room in the file only where they are; and runs without rows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import h5py
import numpy
import pytest
import xarray

import qmi.data
from qmi.core.exceptions import QMI_RecordingException
from qmi.data import run_file


@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(50_000.0),
        numpy.arange(50_000, dtype="f4"),
        numpy.arange(50_000, dtype="i4"),
        numpy.arange(50_000) * (1 + 2j),
        numpy.arange(50_000) % 2 == 0,
        numpy.arange(400_000.0).reshape(4, 100, 1000),
    ],
    ids=["f8", "f4", "i4", "c16", "bool", "3-d"],
)
def test_array_takes_room_only_in_rows_that_have_it(folder: Path, array: Any) -> None:
    rows = 300
    with qmi.data.run("night", ["trace", "x"], folder=folder) as run:
        for row in range(rows):
            run.add(trace=array if row in (3, 200) else None, x=row)
    width = array.size * (16 if array.dtype.kind == "c" else 8)
    assert run.file.stat().st_size < 2 * width + 500_000
    with xarray.open_dataset(run.file, engine="h5netcdf") as data:
        assert data.trace.shape == (rows, *array.shape)
        for row in (3, 200):
            numpy.testing.assert_array_equal(data.trace[row].values, array)
        assert numpy.isnan(data.trace[[0, 4, rows - 1]].values).all()
    for found in qmi.data.follow(run.run_id, folder=folder):
        if found.number in (3, 200):
            assert found.trace.dtype == array.dtype
            numpy.testing.assert_array_equal(found.trace, array)
        else:
            assert found.trace is None
        assert found.x == found.number


def test_many_arrays_behind_each_other_are_all_there(folder: Path) -> None:
    with qmi.data.run("night", ["trace"], folder=folder) as run:
        for row in range(100):
            run.add(trace=None if 20 <= row < 30 else numpy.full(1000, row, "f8"))
    found = qmi.data.load(run.run_id, folder=folder).trace.values
    expected = numpy.repeat(numpy.arange(100.0)[:, None], 1000, 1)
    expected[20:30] = numpy.nan
    numpy.testing.assert_array_equal(found, expected)


def test_room_on_the_disk_is_needed_only_for_what_is_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Free:
        free = 5_000_000

    monkeypatch.setattr("qmi.data.run_file.shutil.disk_usage", lambda folder: Free)
    with qmi.data.run("night", ["trace"], folder=folder) as run:
        for row in range(100):
            run.add(trace=numpy.arange(50_000.0) if row == 0 else None)
    assert run.info is not None
    run = qmi.data.run("night", ["trace"], folder=folder)
    run.__enter__()
    for row in range(100):
        run.add(trace=numpy.arange(50_000.0) if row % 5 == 0 else None)
    with pytest.raises(QMI_RecordingException, match="it needs 8"):
        run.__exit__(None, None, None)


def test_run_that_does_not_fit_into_memory_is_not_read_into_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with qmi.data.run("night", ["trace"], folder=folder) as run:
        run.add(trace=numpy.arange(50_000.0))
        run.add(trace=None)
    monkeypatch.setattr(run_file, "_memory", lambda: 500_000.0)
    with pytest.raises(QMI_RecordingException, match=r"open it by xarray.open_dataset\(file\)"):
        qmi.data.load(run.run_id, folder=folder)


def test_run_without_rows_is_read_as_quickly_as_others(folder: Path) -> None:
    columns = [f"c{number}" for number in range(40)]
    elapsed = []
    for rows in (1, 0):
        with qmi.data.run("empty", columns, folder=folder) as run:
            for _ in range(rows):
                run.add(**dict.fromkeys(columns, 1.0))
        begun = time.process_time()
        data = qmi.data.load(run.run_id, folder=folder)
        elapsed.append(time.process_time() - begun)
        assert dict(data.sizes) == {"row": rows}
        assert set(columns) < set(data.variables)
        assert data.time.dtype == "M8[ns]"
        assert len(list(qmi.data.follow(run.run_id, folder=folder))) == rows
    assert elapsed[1] < 4 * elapsed[0] + 0.2


@pytest.mark.slow
def test_thousand_columns_are_kept(folder: Path) -> None:
    columns = {f"column_{number}": "a long unit" for number in range(1000)}
    with qmi.data.run("wide", columns, coordinates=list(columns)[:500], folder=folder) as run:
        run.add(**dict.fromkeys(columns, 1.5))
    with h5py.File(run.file) as file:
        assert file["column_999"][()].tolist() == [1.5]
        assert file["column_999"].attrs["units"] == "a long unit"
    assert len(next(iter(qmi.data.follow(run.run_id, folder=folder)))) == 1000
