"""How values of pandas travel: as arrays and plain values, put together again by pandas' own constructors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from qmi.net.codec.loading import load_library, loaded_library
from qmi.net.codec.rows import Malformed, Refusal

if TYPE_CHECKING:
    import pandas as pd

    L = TypeVar("L", pd.DataFrame, pd.Series)

Parts = dict[str, Any]
_ZONE = re.compile(r"UTC([+-][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?|[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+){0,3}", re.ASCII)
_FREQUENCY = re.compile(r"[-A-Za-z0-9]{1,40}", re.ASCII)
_NULLABLE = {
    name: name.lower()
    for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64")
} | {"boolean": "bool"}
_TEXTS = ("str", "string")


def lower(value: Any) -> tuple[str, Parts] | None:
    """Return the kind of a value of pandas and its parts; None for anything else.

    Raises:
        Refusal: If it cannot be sent.
    """
    pandas = loaded_library("pandas")
    if pandas is None or not hasattr(pandas, "DataFrame"):
        return None
    cls = type(value)
    if cls is pandas.DataFrame:
        return "pandas.DataFrame", _frame(pandas, value)
    if cls is pandas.Series:
        parts = {"values": _column(pandas, value), "index": _index(pandas, value.index), "name": value.name}
        return "pandas.Series", parts | _attrs(value)
    if isinstance(value, pandas.Index):
        return "pandas.Index", _index(pandas, value)
    if cls is pandas.Timestamp:
        zone = None if value.tz is None else _zone_text(value.tz)
        plain = value if value.tz is None else value.tz_convert("UTC").tz_localize(None)
        return "pandas.Timestamp", {"value": plain.asm8, "zone": zone}
    if cls is pandas.Timedelta:
        return "pandas.Timedelta", {"value": value.asm8}
    if value is pandas.NaT:
        return "pandas.NaT", {}
    if value is pandas.NA:
        return "pandas.NA", {}
    return None


def _attrs(value: pd.DataFrame | pd.Series) -> Parts:
    unique = {} if value.flags.allows_duplicate_labels else {"unique_labels": True}
    return unique | ({"attrs": dict(value.attrs)} if value.attrs else {})


def _frame(pandas: ModuleType, frame: pd.DataFrame) -> Parts:
    parts = {"index": _index(pandas, frame.index), "columns": _index(pandas, frame.columns)} | _attrs(frame)
    kinds = set(frame.dtypes)
    if len(kinds) == 1 and _is_numeric(next(iter(kinds))):
        return parts | {"block": frame.to_numpy()}
    columns = []
    for place in range(frame.shape[1]):
        try:
            columns.append(_column(pandas, frame.iloc[:, place]))
        except Refusal as refusal:
            raise refusal.under(f"[{frame.columns[place]!r}]") from None
    return parts | {"series": columns}


def _is_numeric(dtype: Any) -> bool:
    return type(dtype).__module__.startswith("numpy") and dtype.kind in "biufcmM"


def _column(pandas: ModuleType, values: pd.Series | pd.Index) -> Parts:
    """Describe the values of a series or index."""
    dtype = values.dtype
    if type(dtype).__module__.startswith("numpy"):
        if dtype.hasobject:
            return {"form": "object", "items": list(values)}
        return {"form": "numpy", "data": values.to_numpy()}
    if isinstance(dtype, pandas.CategoricalDtype):
        found = values.array
        codes = found.codes.copy()
        return {
            "form": "category", "codes": codes, "ordered": bool(dtype.ordered),
            "categories": _index(pandas, found.categories),
        }  # fmt: skip
    if isinstance(dtype, pandas.DatetimeTZDtype):
        plain = pandas.DatetimeIndex(values).tz_convert("UTC").tz_localize(None).to_numpy()
        return {"form": "zoned", "data": plain, "zone": _zone_text(dtype.tz)}
    if isinstance(dtype, pandas.PeriodDtype):
        return {"form": "period", "ordinals": values.array.asi8.copy(), "frequency": dtype.name[len("period[") : -1]}
    if isinstance(dtype, pandas.IntervalDtype):
        found = values.array
        left, right = _column(pandas, found.left), _column(pandas, found.right)
        return {"form": "interval", "left": left, "right": right, "closed": found.closed}
    if dtype.name in _NULLABLE:
        data = values.array.to_numpy(dtype=_NULLABLE[dtype.name], na_value=0)
        return {"form": "nullable", "dtype": dtype.name, "data": data, "missing": values.isna().copy().to_numpy()
                if hasattr(values.isna(), "to_numpy") else values.isna()}  # fmt: skip
    if isinstance(dtype, pandas.StringDtype):
        items = [None if missing else str(item) for item, missing in zip(values, values.isna(), strict=True)]
        return {"form": "string", "dtype": str(dtype).partition("[")[0], "items": items}
    raise Refusal(f"has the dtype {dtype}, which cannot be sent; send value.astype(object), and the dtype beside it")


def _zone_text(zone: object) -> str:
    text = str(zone)
    if not _ZONE.fullmatch(text):
        raise Refusal(f"has the time zone {zone!r:.80}, which cannot be sent; send value.tz_convert('UTC')")
    return text


def _index(pandas: ModuleType, index: pd.Index) -> Parts:
    names = list(index.names)
    if type(index) is pandas.RangeIndex:
        return {"form": "range", "range": range(index.start, index.stop, index.step), "names": names}
    if isinstance(index, pandas.MultiIndex):
        levels = [_index(pandas, level) for level in index.levels]
        return {"form": "multi", "levels": levels, "codes": [codes.copy() for codes in index.codes], "names": names}
    dated = isinstance(index, pandas.DatetimeIndex | pandas.TimedeltaIndex)
    frequency = index.freqstr if dated else None
    if frequency is not None and pandas.tseries.frequencies.to_offset(frequency) != index.freq:
        raise Refusal(f"has the frequency {index.freq!r}, which cannot be sent; set index.freq to None, or send a copy")
    return {"form": "values", "values": _column(pandas, index), "names": names, "frequency": frequency}


# -- rebuilding


def _read_frame(pandas: ModuleType, parts: Parts) -> object:
    index, columns = _read_index(pandas, parts["index"]), _read_index(pandas, parts["columns"])
    if "block" in parts:
        made = pandas.DataFrame(_array(parts["block"]), index=index)
    else:
        series = [pandas.Series(_read_column(pandas, column), index=index) for column in parts["series"]]
        made = pandas.DataFrame(dict(enumerate(series)), index=index)
    made.columns = columns
    return _with_attrs(made, parts)


def _read_series(pandas: ModuleType, parts: Parts) -> object:
    index = _read_index(pandas, parts["index"])
    values = _read_column(pandas, parts["values"])
    return _with_attrs(pandas.Series(values, index=index, name=parts["name"]), parts)


def _with_attrs(made: L, parts: Parts) -> L:
    attrs = parts.get("attrs")
    if type(attrs) is dict:
        made.attrs.update(attrs)
    if parts.get("unique_labels") is True:
        made.flags.allows_duplicate_labels = False
    return made


def _array(data: object) -> object:
    if type(data) is not load_library("numpy").ndarray:
        raise Malformed("expected an array")
    return data


def _read_object(pandas: ModuleType, parts: Parts) -> object:
    items = parts["items"]
    if type(items) is not list:
        raise Malformed("expected a list")
    made = load_library("numpy").empty(len(items), dtype=object)
    for place, item in enumerate(items):
        made[place] = item
    return pandas.Series(made, dtype=object)


def _read_zoned(pandas: ModuleType, parts: Parts) -> object:
    if not _ZONE.fullmatch(parts["zone"]):
        raise Malformed("a time zone is not known")
    return pandas.DatetimeIndex(_array(parts["data"])).tz_localize("UTC").tz_convert(parts["zone"])


def _read_period(pandas: ModuleType, parts: Parts) -> object:
    if not _FREQUENCY.fullmatch(parts["frequency"]):
        raise Malformed("a frequency is not known")
    return pandas.PeriodIndex.from_ordinals(_array(parts["ordinals"]), freq=parts["frequency"])


def _read_interval(pandas: ModuleType, parts: Parts) -> object:
    left, right = (pandas.Index(_read_column(pandas, parts[side])) for side in ("left", "right"))
    return pandas.IntervalIndex.from_arrays(left, right, closed=parts["closed"])


def _read_nullable(pandas: ModuleType, parts: Parts) -> object:
    if parts["dtype"] not in _NULLABLE:
        raise Malformed("a dtype is not known")
    made = pandas.array(_array(parts["data"]), dtype=parts["dtype"])
    made[_array(parts["missing"])] = pandas.NA
    return made


def _read_string(pandas: ModuleType, parts: Parts) -> object:
    if parts["dtype"] not in _TEXTS or type(parts["items"]) is not list:
        raise Malformed("a dtype is not known")
    return pandas.array(parts["items"], dtype=parts["dtype"])


def _read_category(pandas: ModuleType, parts: Parts) -> object:
    categories = _read_index(pandas, parts["categories"])
    return pandas.Categorical.from_codes(_array(parts["codes"]), categories, ordered=bool(parts["ordered"]))


def _read_plain(pandas: ModuleType, parts: Parts) -> object:
    return _array(parts["data"])


_COLUMNS: Mapping[str, Callable[[ModuleType, Parts], object]] = {
    "numpy": _read_plain, "object": _read_object, "category": _read_category, "zoned": _read_zoned,
    "period": _read_period, "interval": _read_interval, "nullable": _read_nullable, "string": _read_string,
}  # fmt: skip


def _read_column(pandas: ModuleType, parts: Parts) -> object:
    found = _COLUMNS[parts["form"]](pandas, parts)
    return found.array if isinstance(found, pandas.Series | pandas.Index) else found


def _read_index(pandas: ModuleType, parts: Parts) -> object:
    form, names = parts["form"], parts["names"]
    if form == "range":
        made = pandas.RangeIndex(parts["range"])
    elif form == "multi":
        levels = [_read_index(pandas, level) for level in parts["levels"]]
        made = pandas.MultiIndex(levels=levels, codes=[_array(codes) for codes in parts["codes"]])
    else:
        values = _read_column(pandas, parts["values"])
        made = pandas.Index(values, dtype=object if parts["values"]["form"] == "object" else None)
        frequency = parts.get("frequency")
        if frequency is not None and _FREQUENCY.fullmatch(frequency):
            made = type(made)(made, freq=frequency)
    made.names = names
    return made


def _read_timestamp(pandas: ModuleType, parts: Parts) -> object:
    made = pandas.Timestamp(parts["value"])
    if parts["zone"] is None:
        return made
    if not _ZONE.fullmatch(parts["zone"]):
        raise Malformed("a time zone is not known")
    return made.tz_localize("UTC").tz_convert(parts["zone"])


def _read_timedelta(pandas: ModuleType, parts: Parts) -> object:
    return pandas.Timedelta(parts["value"])


_KINDS: Mapping[str, Callable[[ModuleType, Parts], object]] = {
    "pandas.DataFrame": _read_frame,
    "pandas.Series": _read_series,
    "pandas.Index": _read_index,
    "pandas.Timestamp": _read_timestamp,
    "pandas.Timedelta": _read_timedelta,
    "pandas.NaT": lambda pandas, parts: pandas.NaT,
    "pandas.NA": lambda pandas, parts: pandas.NA,
}


def _reader(read: Callable[[ModuleType, Parts], object]) -> Callable[[Parts], object]:
    return lambda parts: read(load_library("pandas"), parts)


READERS: Mapping[str, Callable[[Parts], object]] = {kind: _reader(read) for kind, read in _KINDS.items()}
