"""Runs in files of other programs, read back by the libraries that users read them with."""

from __future__ import annotations

import csv
import errno
import importlib.util
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import pytest
import scipy.io
import xarray

import qmi.data
from qmi.core.exceptions import (
    QMI_InvalidValueException,
    QMI_MissingLibraryException,
    QMI_RecordingException,
    QMI_UnknownNameException,
)
from qmi.data import export_files, export_matlab

WHEN = datetime(2026, 3, 29, 0, 59, 59, 123456, UTC)
ENDS = (".csv", ".zarr", ".mat")


@pytest.fixture
def rich(folder: Path) -> Path:
    """A run with a column of each kind; the folder that it is in."""
    columns = {
        "T": "µK",
        "C°": "°C",
        "z": "",
        "s": "",
        "on": "",
        "when": "",
        "trace": "V",
        "n": "",
        "texts": "",
        "no": "A",
    }
    axes = {"trace": {"delay": ("s", [0.0, 0.1, 0.2])}}
    with qmi.data.run("größe", columns, coordinates=["C°"], axes=axes, tags=["µ"], folder=folder) as run:
        for number in range(3):
            row: dict[str, Any] = {"T": 1.5 * number, "C°": number, "z": 1j * number, "s": ["a", "µ,\n", None][number]}
            row |= {"on": bool(number), "when": WHEN if number else None, "trace": numpy.arange(3, dtype="f4")}
            run.add(**row, n=number or None, texts=["a", "°"], no=None)
    return folder


def test_zarr_has_all_that_the_run_has(rich: Path, tmp_path: Path) -> None:
    file = qmi.data.export("größe", tmp_path / "run.zarr", folder=rich)
    with xarray.open_zarr(file) as found:
        xarray.testing.assert_identical(found.load(), qmi.data.load("größe", folder=rich))
        assert found["T"].attrs["units"] == "µK"


def test_matlab_file_has_columns_units_and_attributes(rich: Path, tmp_path: Path) -> None:
    file = qmi.data.export("größe", tmp_path / "run.mat", folder=rich)
    found = scipy.io.loadmat(file, chars_as_strings=True)
    assert found["T"].tolist() == [[0.0], [1.5], [3.0]]
    assert found["Cdeg"].dtype == "i8"
    assert found["z"].tolist() == [[0], [1j], [2j]]
    assert [str(cell[0][0]) if cell[0].size else "" for cell in found["s"]] == ["a", "µ,\n", ""]
    assert ("on", (3, 1), "logical") in scipy.io.whosmat(file)
    assert (found["trace"].dtype, found["trace"].shape) == (numpy.dtype("f4"), (3, 3))
    assert found["texts"].shape == (3, 2)
    numpy.testing.assert_array_equal(found["n"], [[numpy.nan], [1], [2]])
    assert numpy.isnan(found["no"]).all()
    assert found["delay"].ravel().tolist() == [0.0, 0.1, 0.2]
    assert numpy.isnan(found["when"][0, 0])
    assert found["when"][1, 0] == pytest.approx(WHEN.toordinal() + 366 + (3599.123456 / 86400), abs=1e-9)
    assert found["when_ns"][1, 0] == int(WHEN.timestamp()) * 10**9 + 123456000
    (units,), (info,) = found["units"], found["info"]
    assert units["T"][0][0] == "µK"
    assert units["when"][0][0] == "days since year 0 (datenum, UTC)"
    assert info["title"][0][0] == "größe"
    assert info["names"][0]["Cdeg"][0][0][0] == "C°"


@pytest.mark.parametrize("end", ENDS)
def test_run_without_rows_is_exported(folder: Path, tmp_path: Path, end: str) -> None:
    with qmi.data.run("empty", {"T": "K", "s": "", "t": "s"}, folder=folder):
        pass
    file = qmi.data.export("empty", tmp_path / f"run{end}", folder=folder)
    if end == ".csv":
        assert file.read_text() == "time,T [K],s,t [s]\n"
    elif end == ".zarr":
        with xarray.open_zarr(file) as found:
            assert found.sizes["row"] == 0
    else:
        assert scipy.io.loadmat(file)["T"].size == 0


def test_csv_has_a_line_for_each_row(folder: Path, tmp_path: Path) -> None:
    with qmi.data.run("run", {"T": "K", "trace": "V", "s": ""}, folder=folder) as run:
        run.add(T=1.5, trace=[[1, 2], [3, 4]], s="a,b")
    with open(qmi.data.export("run", tmp_path / "run.csv", folder=folder), newline="") as file:
        head, row = csv.reader(file)
    assert head[1:] == ["T [K]", *(f"trace[{i}][{j}] [V]" for i in (0, 1) for j in (0, 1)), "s"]
    assert row[1:] == ["1.5", "1", "2", "3", "4", "a,b"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"file": "run.xlsx"}, r"one of '\.csv', '\.zarr', '\.mat', got 'run\.xlsx'; or say format="),
        ({"file": "run"}, "got 'run'"),
        ({"file": "run.csv", "format": "excel"}, "format must be one of 'csv', 'zarr', 'matlab', got 'excel'"),
        ({"file": "run.csv", "format": []}, r"format must be .* got \[\]"),
    ],
)
def test_export_refuses_formats_that_it_has_not(tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(QMI_InvalidValueException, match=words):
        qmi.data.export("run", tmp_path / arguments.pop("file"), folder=tmp_path, **arguments)


@pytest.mark.parametrize("kind", ["csv", "zarr", "matlab"])
def test_format_may_be_said_in_place_of_an_ending(rich: Path, tmp_path: Path, kind: str) -> None:
    file = qmi.data.export("größe", tmp_path / "ex.port", format=kind, folder=rich)
    assert file == tmp_path / "ex.port"
    assert file.is_dir() is (kind == "zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ex.port", "runs"]


@pytest.mark.parametrize("end", ENDS)
def test_file_that_is_there_is_replaced_only_if_asked(rich: Path, tmp_path: Path, end: str) -> None:
    with qmi.data.run("other", ["x"], folder=rich) as run:
        run.add(x=1)
    file = qmi.data.export("größe", tmp_path / f"run{end}", folder=rich)
    with pytest.raises(QMI_RecordingException, match="already: give another name, or overwrite=True"):
        qmi.data.export("other", file, folder=rich)
    qmi.data.export("other", file, overwrite=True, folder=rich)
    if end == ".csv":
        assert file.read_text().startswith("time,x\n")
    elif end == ".zarr":
        with xarray.open_zarr(file) as found:
            assert [*found] == ["x"]
    else:
        assert "x" in scipy.io.loadmat(file)
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name, "runs"]


@pytest.mark.parametrize("end", ENDS)
def test_folder_of_the_user_is_not_replaced(rich: Path, tmp_path: Path, end: str) -> None:
    file = tmp_path / f"run{end}"
    file.mkdir()
    (file / "thesis.tex").write_text("years of work")
    with pytest.raises(QMI_RecordingException, match="a folder that no export has made"):
        qmi.data.export("größe", file, overwrite=True, folder=rich)
    assert (file / "thesis.tex").exists()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("overwrite", [False, True])
def test_export_that_fails_leaves_what_was_there(
    rich: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, overwrite: bool
) -> None:
    file = tmp_path / f"run{end}"
    if overwrite:
        qmi.data.export("größe", file, folder=rich)
    before = sorted(tmp_path.rglob("run*"))

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export_files, "place", full)
    monkeypatch.setattr(xarray.Dataset, "to_zarr", full)
    with pytest.raises(QMI_RecordingException, match=rf"run\{end} cannot be written: No space left on device"):
        qmi.data.export("größe", file, overwrite=overwrite, folder=rich)
    assert sorted(tmp_path.rglob("run*")) == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("end", ENDS)
def test_export_where_no_file_can_be_made(rich: Path, tmp_path: Path, end: str) -> None:
    with pytest.raises(QMI_RecordingException, match=r"cannot be written: .*(No such file|Not a directory)"):
        qmi.data.export("größe", rich / "index.sqlite" / f"run{end}", folder=rich)


@pytest.mark.parametrize(("end", "library", "extra"), [(".zarr", "zarr", "zarr"), (".mat", "scipy", "matlab")])
def test_missing_library_is_named_with_its_extra(
    rich: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, library: str, extra: str
) -> None:
    real = importlib.util.find_spec
    monkeypatch.delitem(sys.modules, library, raising=False)
    monkeypatch.setattr(export_files, "find_spec", lambda name: None if name == library else real(name))
    with pytest.raises(QMI_MissingLibraryException, match=rf"'{library}'.*pip install 'qmi-trio\[{extra}\]'"):
        qmi.data.export("größe", tmp_path / f"run{end}", folder=rich)


def read_back(file: Path) -> tuple[list[float], str | None]:
    """The values of T, and the state where the format has it."""
    if file.suffix == ".csv":
        with open(file, encoding="utf-8", newline="") as opened:
            return [float(row["T [K]"]) for row in csv.DictReader(opened)], None
    if file.suffix == ".mat":
        found = scipy.io.loadmat(file)
        return found["T"].ravel().tolist(), str(found["info"]["state"][0, 0][0])
    with xarray.open_zarr(file) as opened_zarr:
        return opened_zarr["T"].values.tolist(), opened_zarr.attrs["state"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("given", ["id", "name", "entry"])
def test_run_that_still_lasts_is_exported_as_far_as_it_is(
    folder: Path, tmp_path: Path, end: str, given: str, caplog: pytest.LogCaptureFixture
) -> None:
    with qmi.data.run("cooldown", {"T": "K"}, folder=folder) as before:  # an older one of the name is not meant
        before.add(T=1.0)
    with qmi.data.run("cooldown", {"T": "K"}, folder=folder) as run:
        run.add(T=300.0)
        run.add(T=299.0)
        (entry,) = qmi.data.runs(state="running", folder=folder)
        wanted: Any = {"id": run.run_id, "name": "cooldown", "entry": entry}[given]
        file = qmi.data.export(wanted, tmp_path / f"a{end}", folder=None if given == "entry" else folder)
        assert read_back(file) in (([300.0, 299.0], "running"), ([300.0, 299.0], None))
        assert f"Run {run.run_id} still lasts: {file} has its rows so far" in caplog.text
        caplog.clear()
        run.add(T=298.0)
    file = qmi.data.export(wanted, tmp_path / f"b{end}", folder=None if given == "entry" else folder)
    assert read_back(file) in (([300.0, 299.0, 298.0], "done"), ([300.0, 299.0, 298.0], None))
    assert "still lasts" not in caplog.text


def test_run_that_lasts_and_has_no_rows_is_exported(folder: Path, tmp_path: Path) -> None:
    with qmi.data.run("cooldown", {"T": "K"}, folder=folder) as run:
        assert read_back(qmi.data.export(run.run_id, tmp_path / "a.csv", folder=folder)) == ([], None)


def test_run_that_is_unknown_is_not_exported(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(QMI_UnknownNameException):
        qmi.data.export("none", tmp_path / "run.csv", folder=folder)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["T", "V_1"], ["T", "V_1"]),
        (["größe", "Tµ", "°C", "Ω"], ["grosse", "Tu", "degC", "Ohm"]),
        (["a.b", "a_b", "a-b"], ["a_b_2", "a_b", "a_b_3"]),
        (["end", "_x", "1st"], ["x_end", "x_x", "x_1st"]),
        (["温度", "压力"], ["x__", "x___2"]),
        (["x" * 100, "x" * 101], ["x" * 60, "x" * 60 + "_2"]),
    ],
)
def test_names_are_such_as_matlab_has(names: list[str], expected: list[str]) -> None:
    found = export_matlab.names_in_matlab(names)
    assert found == dict(zip(names, expected, strict=True))


def test_columns_called_like_the_structures_keep_their_names(folder: Path, tmp_path: Path) -> None:
    with qmi.data.run("run", {"units": "V", "info": "", "time": "s", "time_ns": ""}, folder=folder) as run:
        run.add(units=1.0, info=2.0, time=3.0, time_ns=4)
    found = scipy.io.loadmat(qmi.data.export("run", tmp_path / "run.mat", folder=folder))
    assert [found[name].item() for name in ("units", "info", "time", "time_ns")] == [1, 2, 3, 4]
    assert found["units_2"]["units"].item() == "V"
    assert found["row_time_ns"].dtype == "i8"


def test_column_that_a_matlab_file_has_no_room_for_is_refused(
    rich: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_matlab, "_MAX_BYTES", 30)
    with pytest.raises(QMI_InvalidValueException, match=r"column z .*takes 2 GB in a variable.*ncread"):
        qmi.data.export("größe", tmp_path / "run.mat", folder=rich)
