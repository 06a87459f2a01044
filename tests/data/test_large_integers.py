"""Integers that a float of 64 bits cannot have, in columns in which some rows have none, keep all digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy
import pytest
import xarray

import qmi.data
from qmi.data.column_values import ColumnType, joined, storage, type_of_column

BIG = 2**53 + 1
LEAST, GREATEST = -(2**63), 2**63 - 1


def rows_of(run_id: str, folder: Path) -> list[Any]:
    return [row.n for row in qmi.data.follow(run_id, folder=folder)]


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(numpy.all(one == other))


@pytest.mark.parametrize(
    "values",
    [
        [BIG, None, 3],
        [None, BIG],
        [3, None, *[7] * 3000, -BIG],
        [GREATEST, None, LEAST + 1],
        [LEAST, None, GREATEST - 1],
        [numpy.int64(BIG), None, numpy.uint64(GREATEST)],
        [numpy.array([BIG, -BIG]), None, numpy.array([1, GREATEST])],
        [None, [BIG, 1]],
        [numpy.array([BIG, 2], dtype="u8"), None],
        [numpy.arange(BIG, BIG + 1000), None, numpy.arange(1000)],
        [numpy.arange(2, dtype="i4"), None, numpy.array([BIG, 0])],
    ],
    ids=["int", "none first", "late", "least", "greatest", "numpy", "arrays", "lists", "u8", "sparse", "i4 and i8"],
)
def test_large_integers_beside_none_keep_their_digits(folder: Path, values: list[Any]) -> None:
    with qmi.data.run("count", {"n": "counts"}, folder=folder) as run:
        for value in values:
            run.add(n=value)
    plain = [value if value is None or numpy.ndim(value) else int(value) for value in values]
    expected = [numpy.asarray(value) if numpy.ndim(value) else value for value in plain]
    assert all(map(same, rows_of(run.run_id, folder), expected))
    loaded = qmi.data.load(run.run_id, folder=folder).n
    assert loaded.attrs == {"units": "counts"}
    for found, value in zip(loaded.values, plain, strict=True):
        assert (found.tolist() if numpy.ndim(found) else found) == (
            [None] * len(found) if value is None and numpy.ndim(found) else numpy.array(value, dtype=object).tolist()
        )
    with xarray.open_dataset(run.file, engine="h5netcdf") as opened:
        assert numpy.isnan(opened.n.values[[value is None for value in values]]).all()


def test_small_integers_beside_none_are_floats_with_nan_as_before(folder: Path) -> None:
    with qmi.data.run("count", ["n"], folder=folder) as run:
        for value in (2**53, None, -(2**53)):
            run.add(n=value)
    loaded = qmi.data.load(run.run_id, folder=folder).n
    assert loaded.dtype == "f8"
    assert loaded.values[::2].tolist() == [2.0**53, -(2.0**53)]
    assert rows_of(run.run_id, folder) == [2**53, None, -(2**53)]


def test_large_integers_without_none_are_integers_as_before(folder: Path) -> None:
    with qmi.data.run("count", ["n"], folder=folder) as run:
        for value in (LEAST, GREATEST):
            run.add(n=value)
    assert qmi.data.load(run.run_id, folder=folder).n.values.tolist() == [LEAST, GREATEST]
    assert rows_of(run.run_id, folder) == [LEAST, GREATEST]


def test_large_integers_beside_none_keep_their_digits_in_other_files(folder: Path, tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    pytest.importorskip("zarr")
    with qmi.data.run("count", {"n": "counts", "t": ""}, folder=folder) as run:
        run.add(n=BIG, t="a")
        run.add(n=None, t=None)
    for ending in ("csv", "zarr", "mat"):
        qmi.data.export(run.run_id, tmp_path / f"count.{ending}", folder=folder)
    head, first, second = (tmp_path / "count.csv").read_text().splitlines()
    assert (head.partition(",")[2], first.partition(",")[2]) == ("n [counts],t", f"{BIG},a")
    assert second.partition(",")[2] == "nan,"
    with xarray.open_zarr(tmp_path / "count.zarr", mask_and_scale=False) as stored:
        assert stored.n.values.tolist() == [BIG, stored.n.attrs["_FillValue"]] == [BIG, LEAST]
    found = scipy_io.loadmat(tmp_path / "count.mat", simplify_cells=True)
    assert found["n"].tolist() == [BIG, found["info"]["missing"]["n"]] == [BIG, LEAST]
    qmi.data.load(run.run_id, folder=folder).to_netcdf(tmp_path / "again.nc", engine="h5netcdf")
    with h5py.File(tmp_path / "again.nc") as again:
        assert again["n"][()].tolist() == [BIG, again["n"].attrs["_FillValue"][0]]


def test_column_with_both_ends_of_64_bits_beside_none_is_of_floats() -> None:
    """No integer is left that could stand for None."""
    kind = type_of_column([LEAST, None, GREATEST])
    assert kind == ColumnType("int", (), missing=True, low=LEAST, high=GREATEST)
    assert storage(kind)[0] == "f8"


@pytest.mark.parametrize(
    ("parts", "fill"),
    [
        (([1, 2], [None]), None),
        (([BIG], [None]), LEAST),
        (([None], [BIG, 2]), LEAST),
        ((numpy.array([BIG, 1]), [None, 1]), LEAST),
        ((numpy.array([LEAST, 1]), [None, 1]), GREATEST),
        (([BIG], [None, 1.5]), None),
        (([BIG], [True, None]), None),
        ((numpy.array([BIG, 1]), numpy.array([2])), None),
    ],
)
def test_large_integers_are_found_in_whatever_part_of_a_run_they_are(parts: tuple[Any, Any], fill: int | None) -> None:
    found = ColumnType()
    for part in parts:
        kind = type_of_column(part)
        assert kind is not None
        found = joined(found, kind) or found
    assert found.fill == fill
