"""Datasets in HDF5 and text files: what is written is read again, and what QMI wrote, too."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5netcdf
import h5py
import numpy as np
import pytest

from qmi.data.dataset import (
    DataSet,
    convert_to_qmi_dataset,
    read_dataset_from_hdf5,
    read_dataset_from_text,
    write_dataset_to_hdf5,
    write_dataset_to_text,
)
from tests.support.datasets import TIME, made, parts, without_names

UPSTREAM = Path(__file__).with_name("upstream")
BACKENDS = {"h5py": h5py.File, "h5netcdf": h5netcdf.File}


@pytest.fixture(params=["h5py", "h5netcdf"])
def file(request: pytest.FixtureRequest) -> Any:
    """An empty file in memory, of each backend."""
    with BACKENDS[request.param](io.BytesIO(), "w") as opened:
        yield opened


@pytest.fixture
def h5() -> Any:
    """An empty file of h5py in memory."""
    with h5py.File(io.BytesIO(), "w") as opened:
        yield opened


def text_of(dataset: DataSet) -> str:
    out = io.StringIO()
    write_dataset_to_text(dataset, out)
    return out.getvalue()


SHAPES: list[tuple[tuple[int, ...], bool]] = [
    ((1,), True), ((3, 2), True), ((3, 2), False), ((1, 1), False), ((2, 3, 2), True), ((2, 2, 2, 1), False),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axes"), SHAPES)
@pytest.mark.parametrize("dtype", [float, "u1"])
def test_dataset_comes_back_from_hdf5(file: Any, shape: tuple[int, ...], axes: bool, dtype: str) -> None:
    dataset = made(shape, dtype, axes=axes)
    write_dataset_to_hdf5(dataset, file)
    assert parts(read_dataset_from_hdf5(file)) == parts(dataset)


@pytest.mark.parametrize("dtype", [complex, "c8", bool, "f2"])
def test_values_that_only_h5py_has_come_back(h5: h5py.File, dtype: str) -> None:
    dataset = made((2, 3, 2), dtype)
    write_dataset_to_hdf5(dataset, h5)
    assert parts(read_dataset_from_hdf5(h5)) == parts(dataset)
    with h5netcdf.File(io.BytesIO(), "w") as other, pytest.raises(TypeError, match="netCDF has no values of type"):
        write_dataset_to_hdf5(dataset, other)


def test_file_of_one_backend_is_read_with_the_other(tmp_path: Path) -> None:
    dataset = made((2, 3, 2))
    for write, read in ((h5netcdf.File, h5py.File), (h5py.File, h5netcdf.File)):
        with write(tmp_path / "file.h5", "w") as file:
            write_dataset_to_hdf5(dataset, file)
        with read(tmp_path / "file.h5", "r") as file:
            assert parts(read_dataset_from_hdf5(file)) == parts(dataset)


@pytest.mark.parametrize(
    "labels",
    [
        ("x", "x", "x", "x"), ("a/b", "c", "/", "."), ("", "", "", ""), ("column_1", "", "axis_0_scale", "row"),
        ("dim_0", "dim_1", "dim_2", "x_1"), (" a", "b ", "..", "é µ"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("scaled", [[], [1], [0, 1]])
def test_labels_may_be_alike_or_no_names_of_hdf5(file: Any, labels: tuple[str, ...], scaled: list[int]) -> None:
    dataset = DataSet("a", data=np.arange(12.0).reshape(3, 2, 2))
    for place, label in enumerate(labels):
        (dataset.set_axis_label if place < 2 else dataset.set_column_label)(place % 2, label)
    for axis in scaled:
        dataset.set_axis_scale(axis, np.arange(dataset.data.shape[axis]))
    write_dataset_to_hdf5(dataset, file)
    assert parts(read_dataset_from_hdf5(file)) == parts(dataset)


def test_scales_are_attached(h5: h5py.File) -> None:
    write_dataset_to_hdf5(made((3, 2)), h5)
    (dimension,) = h5["col0"].dims
    assert dimension.label == "axis 0"
    assert dimension[0][...].tolist() == [0.0, 0.5, 1.0]
    assert dict(h5["col0"].attrs)["unit"] == "V"


def test_times_in_files_are_utc(h5: h5py.File, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        write_dataset_to_hdf5(made((3,)), h5)
        text = text_of(made((3,)))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert h5.attrs["sweep_time_str"] == "2023-11-14T22:13:20"
    assert "2023-11-14T22:13:20" in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", [1, 2]),
        ("a", (1.5, 2)),
        ("a", np.arange(3)),
        ("a", ["x", "y"]),
        ("a", True),
        ("a", ""),
        ("a b", np.int8(3)),
    ],
)
def test_attributes_come_back(file: Any, name: str, value: Any) -> None:
    dataset = DataSet("d", shape=(1,))
    dataset.attrs[name] = value
    write_dataset_to_hdf5(dataset, file)
    expected = value.tolist() if hasattr(value, "tolist") else list(value) if isinstance(value, tuple) else value
    assert parts(read_dataset_from_hdf5(file))["attrs"] == {name: expected}


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        ("a", None, TypeError, "attribute 'a' is of type NoneType"),
        ("a", {"b": 1}, TypeError, "attribute 'a' is of type dict"),
        ("a", [1, [2, 3]], TypeError, "attribute 'a' is a list whose items differ in size"),
        ("a", np.array([None]), TypeError, "attribute 'a' has values of type object"),
        ("a", np.datetime64("2020-01-01"), TypeError, "attribute 'a' has values of type datetime64"),
        ("a", 2**70, ValueError, "attribute 'a' is 1180591620717411303424; HDF5 takes integers of up to 64 bits"),
        ("a", np.zeros(9000), ValueError, "attribute 'a' has 72000 bytes"),
        ("a", "x\0y", ValueError, "attribute 'a' has a NUL character"),
        ("a", ["x\0y"], ValueError, "attribute 'a' has a NUL character"),
        ("a", "\ud800", ValueError, "attribute 'a' is no valid Unicode"),
        ("", 1, ValueError, "attribute ''"),
        ("d_x", 1, ValueError, "attribute 'd_x': that name is kept"),
        ("QMI_Dataset", 1, ValueError, "that name is kept"),
        (5, 1, TypeError, "attribute names are texts, got 5"),
    ],
)
def test_attributes_that_hdf5_has_not_are_refused_before_anything_is_written(
    file: Any, name: Any, value: Any, error: type[Exception], text: str
) -> None:
    dataset = DataSet("d", shape=(1,))
    dataset.attrs[name] = value
    with pytest.raises(error, match=text):
        write_dataset_to_hdf5(dataset, file)
    assert list(file) == list(file.attrs) == []


@pytest.mark.parametrize("dtype", ["U3", "S3", "M8[s]", "m8[s]"])
def test_data_that_are_no_numbers_are_refused(file: Any, dtype: str) -> None:
    dataset = DataSet("d", shape=(2,), dtype=dtype)
    for write in (lambda: write_dataset_to_hdf5(dataset, file), lambda: text_of(dataset)):
        with pytest.raises(TypeError, match=r"the data of 'd' are of type .*; .* take numbers only"):
            write()
    assert list(file.attrs) == []


def test_second_dataset_of_a_group_is_refused(file: Any) -> None:
    write_dataset_to_hdf5(made((3,)), file)
    with pytest.raises(ValueError, match=r"has the dataset 'sweep' already; write 'other' into a group"):
        write_dataset_to_hdf5(DataSet("other", shape=(1,)), file)


# -- files of QMI


def expected(what: str) -> DataSet:
    kinds: dict[str, Callable[[], DataSet]] = {
        "raw1": lambda: made((3,)),
        "raw2": lambda: made((3, 2), int, axes=False),
        "axis2": lambda: made((3, 2)),
        "netcdf": lambda: made((3, 2)),
        "folder": lambda: made((3, 2)),
        "axis3": lambda: made((2, 3, 2), complex),
    }
    return kinds[what]()


@pytest.mark.parametrize("what", ["raw1", "raw2", "axis2", "axis3", "netcdf", "folder"])
def test_hdf5_of_qmi_is_read(what: str) -> None:
    with h5py.File(UPSTREAM / f"0.54-{what}.h5") as file:
        assert parts(read_dataset_from_hdf5(file)) == parts(expected(what))
    if what == "netcdf":
        with h5netcdf.File(UPSTREAM / f"0.54-{what}.h5") as file:
            assert parts(read_dataset_from_hdf5(file)) == parts(expected(what))


@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 2)])
def test_hdf5_of_former_versions_of_qmi_is_read(shape: tuple[int, ...]) -> None:
    dataset = without_names(made(shape), axes=True)
    with h5py.File(UPSTREAM / f"0.51-axis{len(shape)}.h5") as file:
        for found in (read_dataset_from_hdf5(file), read_dataset_from_hdf5(file["sweep"])):
            assert parts(found) == parts(dataset)
        assert parts(read_dataset_from_hdf5(file["sweep"], file)) == parts(dataset)


def test_text_of_qmi_is_read() -> None:
    for name, dataset in (
        ("0.54-raw1", without_names(made((3,)))),
        ("0.54-axis3", without_names(made((2, 3, 2)))),
        ("0.51-axis3", without_names(made((2, 3, 2)), axes=True)),
    ):
        with open(UPSTREAM / f"{name}.dat", encoding="utf-8") as file:
            assert parts(read_dataset_from_text(file)) == parts(dataset)


# -- text


@pytest.mark.parametrize(("shape", "axes"), SHAPES)
@pytest.mark.parametrize("dtype", [float, complex])
def test_dataset_comes_back_from_text(shape: tuple[int, ...], axes: bool, dtype: Any) -> None:
    dataset = made(shape, dtype, axes=axes)
    dataset.data.flat[0] = np.nan
    dataset.data[-1] -= 1.25e-7
    back = read_dataset_from_text(io.StringIO(text_of(dataset)))
    assert str(parts(back)) == str(parts(dataset))


def test_scale_of_one_axis_comes_back_from_text() -> None:
    for axis in (0, 1, 2):
        dataset = DataSet("a", shape=(2, 3, 4, 1))
        dataset.set_axis_scale(axis, np.arange(dataset.data.shape[axis]) * 1.5)
        assert parts(read_dataset_from_text(io.StringIO(text_of(dataset)))) == parts(dataset)


@pytest.mark.parametrize(
    "value", ['it\'s "#" é\n', True, 3, 2**70, 1.5, float("inf"), np.float32(2.5), np.bool_(True), np.str_("x")]
)
def test_attributes_come_back_from_text(value: Any) -> None:
    dataset = DataSet("a", shape=(1,))
    dataset.attrs["x y"] = value
    back = read_dataset_from_text(io.StringIO(text_of(dataset))).attrs["x y"]
    assert back == value
    assert type(back) in (str, bool, int, float)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("a", [1], TypeError), ("a", 1j, TypeError), ("a", None, TypeError), ("a: b", 1, ValueError), ("", 1, ValueError),
     ("a\n", 1, ValueError), (5, 1, TypeError)],
)  # fmt: skip
def test_attributes_that_text_has_not_are_refused(name: Any, value: Any, error: type[Exception]) -> None:
    dataset = DataSet("a", shape=(1,))
    dataset.attrs[name] = value
    with pytest.raises(error, match="attribute"):
        text_of(dataset)


def test_integers_that_text_would_change_are_refused() -> None:
    assert "9.007199254740992000e+15" in text_of(DataSet("a", data=np.array([2**53])))
    for value in (2**53 + 1, -(2**53) - 1):
        with pytest.raises(ValueError, match="integers beyond 9007199254740992"):
            text_of(DataSet("a", data=np.array([value])))


GOOD = text_of(DataSet("a", data=np.arange(4.0).reshape(2, 2)))


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("# QMI_DataSet\n", "", "begins with '# QMI_DataSet', got '#'"),
        (GOOD, "", "begins with '# QMI_DataSet', got ''"),
        (GOOD, "# QMI_DataSet\n", "the second line must be '#', got ''"),
        ("# QMI_Dataset_ncol: 2\n", "", "the header lacks QMI_Dataset_ncol"),
        ("_ncol: 2", "_ncol: 'x'", "QMI_Dataset_ncol must be a count, got 'x'"),
        ("_ncol: 2", "_ncol: 3", r"contradicts itself: shape \(2, 2\), 3 columns, 0 axes"),
        ("_ncol: 2", "_ncol: __import__('os')", "is no Python literal"),
        ("_ncol: 2", "_ncol 2", "a line of the header must be '# name: value'"),
        ("_dim1_size: 2", "_dim1_size: 3", "contradicts itself"),
        ("_timestamp: ", "_timestamp: 'x' # ", "QMI_Dataset_timestamp must be a number of seconds"),
        ("_n_axes: 0", "_n_axes: 2", "contradicts itself"),
        ("_dim0_size: 2", "_dim0_size: 3", "has 2 rows; its header says 3"),
        ("3.000000000000000000e+00", "x", "rows of dataset 'a' cannot be read"),
        ("3.000000000000000000e+00", "3 4", "rows of dataset 'a' cannot be read"),
        ("#\n0.0", "0.0", "a line of the header must be"),
    ],
)
def test_text_that_is_damaged_is_refused(old: str, new: str, text: str) -> None:
    assert old in GOOD
    with pytest.raises(ValueError, match=text):
        read_dataset_from_text(io.StringIO(GOOD.replace(old, new, 1)))


def test_text_that_ends_early_is_refused() -> None:
    lines = GOOD.splitlines(keepends=True)
    for count in range(len(lines)):
        with pytest.raises(ValueError):
            read_dataset_from_text(io.StringIO("".join(lines[:count])))


# -- damaged files, and those of others


def damage_shape(file: h5py.File) -> None:
    file.attrs["sweep_dim0_size"] = 4


def damage_column(file: h5py.File) -> None:
    del file["col1"]


def damage_scale(file: h5py.File) -> None:
    del file["axis 0"]


def damage_attribute(file: h5py.File) -> None:
    del file.attrs["sweep_ncol"]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (damage_shape, r"has the shape \(3, 2\); its attributes say \(4, 2\)"),
        (damage_column, "lacks its column col1"),
        (damage_scale, "lacks the scale 'axis 0' of axis 0"),
        (damage_attribute, "lacks the attribute 'sweep_ncol'"),
    ],
)
def test_hdf5_that_is_damaged_is_refused(h5: h5py.File, damage: Callable[[h5py.File], None], text: str) -> None:
    write_dataset_to_hdf5(made((3, 2)), h5)
    damage(h5)
    with pytest.raises(ValueError, match=text):
        read_dataset_from_hdf5(h5)


def test_single_dataset_of_others_is_converted(h5: h5py.File) -> None:
    h5["a"] = np.arange(3.0)
    h5["a"].attrs["units"] = "V"
    for found, name in ((convert_to_qmi_dataset(h5), "dataset"), (convert_to_qmi_dataset(h5["a"]), "a")):
        assert (found.name, found.column_label, found.column_unit, found.is_raw) == (name, ["a"], ["V"], True)
        assert found.data.tolist() == [0.0, 1.0, 2.0]
    assert parts(read_dataset_from_hdf5(h5))["data"] == parts(convert_to_qmi_dataset(h5))["data"]


def test_datasets_of_others_become_columns_and_axes(h5: h5py.File) -> None:
    group = h5.create_group("scan")
    group.attrs["who"] = "me"
    group["t"] = [0.5, 1.0, 1.5]
    group["t"].make_scale("t")
    group["t"].attrs.update(unit="s", long_name="time")
    for name in ("y", "z"):
        group[name] = np.arange(3.0)
        group[name].dims[0].attach_scale(group["t"])
    found = convert_to_qmi_dataset(h5)
    assert (found.name, found.attrs, found.n_axes) == ("scan", {"who": "me"}, 1)
    assert (found.axis_label, found.axis_unit, found.axis_name) == (["t"], ["s"], ["time"])
    assert parts(found)["scales"] == [[0.5, 1.0, 1.5]]
    assert found.column_label == ["y", "z"]
    assert found.data.tolist() == [[0, 0], [1, 1], [2, 2]]


def test_coordinates_of_netcdf_become_axes() -> None:
    with h5netcdf.File(io.BytesIO(), "w") as file:
        file.dimensions["t"] = 3
        file.create_variable("t", ("t",), data=np.array([0.5, 1.0, 1.5]))
        file.create_variable("y", ("t",), data=np.arange(3.0))
        found = convert_to_qmi_dataset(file)
    assert (found.axis_label, found.column_label, parts(found)["scales"]) == (["t"], ["y"], [[0.5, 1.0, 1.5]])


def test_what_cannot_be_converted_is_refused(h5: h5py.File) -> None:
    with pytest.raises(RuntimeError, match="has no dataset to convert"):
        convert_to_qmi_dataset(h5)
    h5["p/a"], h5["p/b"] = np.arange(3.0), np.arange(4.0)
    with pytest.raises(ValueError, match=r"the columns of 'p' differ in shape: a \(3,\), b \(4,\)"):
        convert_to_qmi_dataset(h5)
    h5["q/a"] = 1.0
    with pytest.raises(RuntimeError, match="several groups: give one of p, q"):
        convert_to_qmi_dataset(h5)
    with pytest.raises(ValueError, match="at least one dimension"):
        convert_to_qmi_dataset(h5["q"])
    for name in ("r", "s"):
        write_dataset_to_hdf5(DataSet(name, shape=(1,)), h5.create_group(name))
    with pytest.raises(RuntimeError, match="several datasets: give the group of one of r, s"):
        read_dataset_from_hdf5(h5)
    assert read_dataset_from_hdf5(h5["s"]).name == "s"


def test_time_of_a_dataset_is_kept(file: Any) -> None:
    write_dataset_to_hdf5(made((1,)), file)
    assert read_dataset_from_hdf5(file).timestamp == TIME
