"""Values of well-known libraries travel whole; where the library is not, they can be read."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pint as pint_library
import pytest
import xarray as xr

from qmi.errors import QMI_ValueNotSendableException
from qmi.net.codec import Codec, UndecodableValue, UnknownTypeValue
from qmi.net.codec.libraries import KINDS
from qmi.net.codec.loading import LIBRARIES

CODEC = Codec()
pint: Any = pint_library
DATES = pd.date_range("2024-01-01", periods=3, freq="D")


def through(value: Any) -> Any:
    encoded = CODEC.encode(value)
    return CODEC.decode(encoded.payload, [bytearray(segment) for segment in encoded.segments])


def mixed_frame() -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "number": [1.5, 2.5, np.nan],
            "count": np.array([1, 2, 3], "i2"),
            "text": ["a", None, "c"],
            "any": pd.Series([1, "x", None], dtype=object),
            "when": DATES,
            "there": DATES.tz_localize("Europe/Amsterdam"),
            "kind": pd.Categorical(["u", "v", "u"], categories=["v", "u"], ordered=True),
            "maybe": pd.array([1, None, 3], dtype="Int64"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "real": pd.array([1.5, None, 2.5], dtype="Float32"),
            "word": pd.array(["a", None, "b"], dtype="string"),
            "month": pd.period_range("2024-01", periods=3, freq="M"),
            "span": pd.interval_range(0, 3),
            "delta": pd.to_timedelta([1, 2, 3], unit="s"),
        },
        index=pd.Index([10, 20, 30], name="row"),
    )
    frame.attrs["source"] = {"device": "laser"}
    return frame


FRAMES: list[Callable[[], pd.DataFrame]] = [
    mixed_frame,
    lambda: pd.DataFrame(),
    lambda: pd.DataFrame({"a": []}),
    lambda: pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=["x", "y"], index=DATES),
    lambda: pd.DataFrame(np.arange(60_000).reshape(300, 200)),
    lambda: pd.DataFrame([[1, "a"], [2, "b"]], columns=["same", "same"]),
    lambda: pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", None])),
    lambda: pd.DataFrame([[1, 2.5]], columns=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)])),
    lambda: pd.DataFrame({1: [True], (2, 3): [False]}),
]


@pytest.mark.parametrize("make", FRAMES)
def test_data_frame_travels_whole(make: Callable[[], pd.DataFrame]) -> None:
    frame = make()
    found = through({"data": [frame]})["data"][0]
    pd.testing.assert_frame_equal(found, frame, check_freq=True, check_exact=True)
    assert found.attrs == frame.attrs


@pytest.mark.parametrize("column", list(mixed_frame().columns))
def test_series_of_every_dtype_travels_whole(column: str) -> None:
    series = mixed_frame()[column]
    pd.testing.assert_series_equal(through(series), series)
    index = pd.Index(series)
    pd.testing.assert_index_equal(through(index), index)


@pytest.mark.parametrize(
    "index",
    [DATES, pd.RangeIndex(2, 20, 3, name="r"), DATES.tz_localize("UTC"), pd.Index([1.5, 2.5]), pd.Index(["a", "b"]),
     pd.timedelta_range("1s", periods=3, freq="s"), pd.Index([]), pd.MultiIndex.from_product([[1, 2], ["a"]])],
    ids=lambda index: type(index).__name__,
)  # fmt: skip
def test_index_travels_whole(index: Any) -> None:
    found = through(index)
    pd.testing.assert_index_equal(found, index, exact=True)
    assert found.names == index.names
    assert getattr(found, "freq", None) == getattr(index, "freq", None)


@pytest.mark.parametrize(
    "value",
    [pd.Timestamp("2024-01-02 03:04:05.678901234"), pd.Timestamp("2024-07-02", tz="Europe/Amsterdam"), pd.NaT, pd.NA,
     pd.Timestamp("2024-07-02", tz="UTC"), pd.Timedelta("3s 5ns")],
    ids=str,
)  # fmt: skip
def test_point_in_time_of_pandas_travels(value: Any) -> None:
    found = through([value])[0]
    assert type(found) is type(value)
    assert found is value if value is pd.NaT or value is pd.NA else found == value
    if isinstance(value, pd.Timestamp) and value is not pd.NaT:
        assert str(found.tz) == str(value.tz)


def data_array() -> xr.DataArray:
    return xr.DataArray(
        np.arange(6.0).reshape(2, 3),
        dims=("gain", "time"),
        coords={"gain": [1, 2], "time": DATES, "label": ("gain", ["lo", "hi"]), "scale": 3.5},
        name="signal",
        attrs={"unit": "V", "calibrated": True},
    )


def test_data_array_and_dataset_travel_whole() -> None:
    array = data_array()
    array.coords["time"].attrs["zone"] = "UTC"
    found = through(array)
    assert found.identical(array)
    assert found.name == "signal"
    dataset = xr.Dataset({"a": array, "b": ("gain", ["x", "y"])}, attrs={"run": 7})
    assert through(dataset).identical(dataset)
    assert through(array.variable).identical(array.variable)
    objects = xr.DataArray(np.array([(1, 2), {"a": 1}], dtype=object), dims="x")
    assert through(objects).values.tolist() == objects.values.tolist() == [(1, 2), {"a": 1}]


def test_multi_index_of_xarray_is_refused_with_what_to_send_instead() -> None:
    array = data_array().stack(z=("gain", "time"))
    with pytest.raises(QMI_ValueNotSendableException, match=r"MultiIndex along 'z'.*send value.reset_index\('z'\)"):
        CODEC.encode(array, "result")


@pytest.mark.parametrize(
    "magnitude", [1.5, 3, np.arange(5.0), np.float32(2.5), np.arange(5000.0)], ids=lambda m: f"{m}"[:9]
)
def test_quantity_keeps_its_unit(magnitude: Any) -> None:
    registry = pint.get_application_registry()
    value = registry.Quantity(magnitude, "mV / s**2")
    found = through([value])[0]
    assert found.units == value.units
    assert np.array_equal(found.magnitude, value.magnitude)
    assert type(found.magnitude) is type(value.magnitude)
    assert through(registry.Quantity(5, "")).dimensionless


def test_quantity_of_a_unit_that_is_not_known_here_can_be_read() -> None:
    registry: Any = pint.UnitRegistry()
    registry.define("smoot = 1.7018 * meter")
    found = through(registry.Quantity(2.0, "smoot"))
    assert isinstance(found, UnknownTypeValue)
    assert (found.magnitude, found.units) == (2.0, {"smoot": 1})
    assert "has no unit 'smoot'" in repr(found)


@pytest.mark.parametrize(
    "array",
    [
        np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False], fill_value=-1.0),
        np.ma.masked_array(np.arange(6).reshape(2, 3), hard_mask=True), np.ma.masked_array(["a", "b"], [True, False]),
        np.ma.masked_array(np.zeros(3, [("a", "i4"), ("b", "f8")]), [(True, False), (False, True), (False, False)]),
        np.ma.masked_array(np.arange(50_000), np.arange(50_000) % 7 == 0),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)  # fmt: skip
def test_masked_array_keeps_its_mask(array: Any) -> None:
    found = through(array)
    assert type(found) is np.ma.MaskedArray
    assert (found.dtype, found.shape, found.hardmask) == (array.dtype, array.shape, array.hardmask)
    assert np.array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(array))
    assert found.data.tobytes() == array.data.tobytes()
    assert found.fill_value == array.fill_value
    assert through([np.ma.masked])[0] is np.ma.masked


VALUES: list[tuple[str, Any]] = [
    ("pandas", mixed_frame()), ("pandas", DATES), ("pandas", pd.Timestamp("2024-01-01")), ("xarray", data_array()),
    ("pint", pint.get_application_registry().Quantity(1.5, "volt")),
]  # fmt: skip


@pytest.mark.parametrize(("library", "value"), VALUES, ids=lambda value: type(value).__name__)
def test_library_value_without_its_library_can_be_read_and_sent_on(
    library: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = CODEC.encode(value)
    monkeypatch.setitem(sys.modules, library, None)
    found = CODEC.decode(encoded.payload, [bytearray(segment) for segment in encoded.segments])
    assert isinstance(found, UnknownTypeValue)
    assert f"{library} is not installed here" in repr(found)
    assert found.fields
    again = CODEC.encode(found)
    monkeypatch.undo()
    back = CODEC.decode(again.payload, [bytearray(segment) for segment in again.segments])
    assert type(back) is type(value)


class Cupboard:
    """A foreign quantity."""

    magnitude, units = 1.5, "V"


class Masked(np.ndarray[Any, Any]):
    pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Cupboard(), r"send value\.magnitude and value\.units"),
        (np.zeros(2).view(Masked), r"send numpy\.asarray\(value\), and beside it what the class adds"),
        (pd.Series(pd.arrays.SparseArray([0, 1])), r"dtype Sparse.*send value\.astype\(object\), and the dtype"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_hint_for_a_refused_value_loses_no_data(value: Any, text: str) -> None:
    with pytest.raises(QMI_ValueNotSendableException, match=text):
        CODEC.encode(value, "result")


@pytest.mark.parametrize(
    "parts",
    [
        {}, {"values": 1, "index": 2, "name": 3}, {"magnitude": 1, "units": {"__import__('os')": 1}},
        {"unit": "x" * 999},
        {"magnitude": 1, "units": {"volt": "x"}}, {"dims": ["x"], "data": [1], "attrs": {}},
        {"data": np.zeros(2), "mask": np.zeros(3), "fill_value": np.zeros(0), "hard": 1},
        {"form": "values", "names": [None], "frequency": None,
         "values": {"form": "string", "dtype": "object", "items": []}},
        {"form": "values", "names": [None],
         "values": {"form": "zoned", "data": np.zeros(1, "M8[ns]"), "zone": "../etc"}},
        {"form": "values", "names": [None], "values": {"form": "nullable", "dtype": "x", "data": 1, "missing": 2}},
    ],
    ids=range(10),
)  # fmt: skip
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_parts_that_make_no_sense_are_refused_or_harmless(kind: str, parts: Any) -> None:
    from cbor2 import CBORTag, dumps

    from qmi.net.codec.encode import Encoder

    before = set(sys.modules)
    payload = dumps(CBORTag(60132, [kind, Encoder().lower(parts, 0)]))
    with contextlib.suppress(UndecodableValue):
        CODEC.decode(payload)
    assert {name.partition(".")[0] for name in set(sys.modules) - before} <= {
        name.partition(".")[0] for name in LIBRARIES
    }


def test_quantity_of_astropy_keeps_its_unit() -> None:
    units = pytest.importorskip("astropy.units")
    for value in (3.5 * units.m / units.s**2, np.arange(4.0) * units.mV, np.arange(5000.0) * units.K):
        found = through([value])[0]
        assert found.unit == value.unit
        assert np.array_equal(found.value, value.value)


@pytest.mark.parametrize(
    "array",
    [
        xr.DataArray(pint.Quantity(np.ones(2), "m"), dims="x"),
        xr.Dataset({"a": ("x", pint.Quantity(np.ones(2), "V"))}),
        xr.DataArray(pd.Categorical(["a", "b"]), dims="x"),
    ],
    ids=["quantity", "quantity in a dataset", "categories"],
)
def test_data_of_xarray_keeps_its_unit_and_its_categories(array: Any) -> None:
    found = through(array)
    # How many bytes texts take depends on how pandas keeps them, which pyarrow decides if it is there.
    assert re.sub(r"Size: \d+k?B", "", repr(found)) == re.sub(r"Size: \d+k?B", "", repr(array))
    for name in ("x",) if type(array) is xr.DataArray else ():
        assert type(found.variable.data).__name__ == type(array.variable.data).__name__
        assert found.dims == (name,)


def test_labels_that_must_be_unique_stay_so() -> None:
    frame = pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)
    assert not through(frame).flags.allows_duplicate_labels
    assert not through(frame["a"].set_flags(allows_duplicate_labels=False)).flags.allows_duplicate_labels
    assert through(pd.DataFrame({"a": [1]})).flags.allows_duplicate_labels


def test_record_of_a_record_array_keeps_its_fields() -> None:
    found = through(np.rec.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])[0])
    assert (type(found), found.a, found["b"]) == (np.record, 1, 2.5)


def test_power_of_a_unit_may_be_a_fraction() -> None:
    found = through(pint.Quantity(1.0, "m") ** Fraction(1, 3))
    assert float(dict(found.unit_items())["meter"]) == pytest.approx(1 / 3)


class Odd:
    """Cannot be sent."""


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (pd.DataFrame({"a": [1, 2], "b": ["x", Odd()]}), "value.iloc[1, 1]:"),
        (pd.Series([1, [Odd()]]), "value[1][0]:"),
        (xr.DataArray([1], dims="x", attrs={"u": Odd()}), "value.attrs['u']:"),
        (xr.Dataset({"a": ("x", [1], {"u": Odd()})}), "value['a'].attrs['u']:"),
        (xr.DataArray(np.array([1, Odd()], object), dims="x"), "value.values.flat[1]:"),
        (xr.DataArray([1], dims="x", coords={"x": ("x", [1], {"u": Odd()})}), "value.coords['x'].attrs['u']:"),
        (np.ma.array([Odd()], dtype=object), "value cannot be sent"),
        (pd.date_range("2020", periods=3, freq=pd.offsets.CustomBusinessDay(holidays=["2020-01-03"])), "index.freq"),
        (pd.array([1]), "send pandas.Series(value)"),
        (pd.Categorical(["a"]), "send pandas.Series(value)"),
        (pd.Interval(1, 2), "send value.left and value.right and value.closed"),
        (pd.Period("2020", "M"), "send value.ordinal and value.freqstr"),
        (pint.Unit("m"), "send 1 * value"),
    ],
)
def test_refusal_names_the_place_as_the_library_does(value: Any, place: str) -> None:
    with pytest.raises(QMI_ValueNotSendableException) as caught:
        CODEC.encode(value)
    assert place in str(caught.value)
