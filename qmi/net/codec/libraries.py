"""How values of well-known libraries travel: by their parts, put together again by the library's own constructors.

The kinds are fixed here. The library is imported when its first value arrives; where it is not installed, the value
arrives as an unknown one that has the parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cbor2 import CBORTag

from qmi.net.codec import library_pandas
from qmi.net.codec.loading import load_library, loaded_library
from qmi.net.codec.rows import Decoding, Encoding, Malformed, Refusal, Row, sized, typed
from qmi.net.codec.tags import Own
from qmi.net.codec.unknown import NamedKind, make_unknown

Parts = dict[str, Any]
_UNIT = re.compile(r"[^\W\d]\w{0,60}")
_MAX_UNIT = 500
_POWERS = (int, float, Fraction, Decimal)


class _NotKnownHere(Exception):
    """The library of this machine lacks something that the value needs."""


# -- numpy beyond plain arrays


def _lower_numpy(value: Any) -> tuple[str, Parts] | None:
    numpy = loaded_library("numpy")
    if numpy is None or not hasattr(numpy, "ndarray"):
        return None
    if type(value) is numpy.record:
        return "numpy.record", {"data": numpy.asarray(value).reshape(1)}
    if not isinstance(value, numpy.ndarray):
        return None
    masked = loaded_library("numpy.ma")
    if masked is not None and isinstance(value, masked.MaskedArray):
        if value is masked.masked:
            return "numpy.ma.masked", {}
        if type(value) is masked.MaskedArray:
            mask = None if value.mask is masked.nomask else numpy.array(value.mask)
            fill = value.fill_value
            fill = None if fill == masked.default_fill_value(value.dtype) else numpy.asarray(fill)
            parts = {"data": numpy.asarray(value), "mask": mask, "fill_value": fill}
            return "numpy.ma.MaskedArray", parts | {"hard": bool(value.hardmask)}
    if type(value) is numpy.recarray:
        return "numpy.recarray", {"data": numpy.asarray(value)}
    if type(value) is numpy.matrix:
        return "numpy.matrix", {"data": numpy.asarray(value)}
    return None


def _array(data: Any) -> Any:
    if type(data) is not load_library("numpy").ndarray:
        raise Malformed("expected an array")
    return data


def _read_masked(parts: Parts) -> object:
    masked = load_library("numpy.ma")
    data = _array(parts["data"])
    fill = None if parts["fill_value"] is None else _array(parts["fill_value"])[()]
    mask = masked.nomask if parts["mask"] is None else _array(parts["mask"])
    if parts["mask"] is not None and mask.shape != data.shape:
        raise Malformed("a mask does not fit its array")
    return masked.MaskedArray(data, mask=mask, fill_value=fill, hard_mask=bool(parts["hard"]))


# -- xarray


def _lower_xarray(value: Any) -> tuple[str, Parts] | None:
    xarray = loaded_library("xarray")
    if xarray is None or not hasattr(xarray, "DataArray"):
        return None
    cls = type(value)
    if cls is xarray.Variable:
        return "xarray.Variable", _variable(value)
    if cls not in (xarray.DataArray, xarray.Dataset):
        return None
    pandas = load_library("pandas")
    for name, index in value.indexes.items():
        if isinstance(index, pandas.MultiIndex):
            raise Refusal(f"has a MultiIndex along {name!r}, which cannot be sent; send value.reset_index({name!r})")
    coords = {_named(name): _variable(found.variable) for name, found in value.coords.items()}
    if cls is xarray.DataArray:
        return "xarray.DataArray", {"variable": _variable(value.variable), "coords": coords, "name": value.name}
    found = {_named(name): _variable(item.variable) for name, item in value.data_vars.items()}
    return "xarray.Dataset", {"variables": found, "coords": coords, "attrs": dict(value.attrs)}


def _named(name: object) -> str:
    if type(name) is not str:
        raise Refusal(f"has the name {name!r:.80}, which is no text")
    return name


def _variable(variable: Any) -> Parts:
    data = variable.data
    if type(data).__module__.startswith("dask."):
        data = variable.values
    elif _is_pint(data):
        return _described(variable, data)
    elif not hasattr(data, "dtype") or type(data).__module__.partition(".")[0] == "pandas":
        return _described(variable, {"series": load_library("pandas").Series(data)})
    elif type(data) is not load_library("numpy").ndarray:
        raise Refusal(f"holds a {type(data).__qualname__}, which cannot be sent; send its parts")
    if data.dtype.hasobject:
        data = {"shape": list(data.shape), "items": list(data.reshape(-1))}
    return _described(variable, data)


def _described(variable: Any, data: object) -> Parts:
    return {"dims": [_named(name) for name in variable.dims], "data": data, "attrs": dict(variable.attrs)}


def _read_variable(parts: Parts) -> object:
    data = parts["data"]
    if type(data) is dict and "series" in data:
        data = _extension(data["series"])
    elif type(data) is dict:
        made = load_library("numpy").empty(len(data["items"]), dtype=object)
        for place, item in enumerate(typed(data["items"], list)):
            made[place] = item
        data = made.reshape(typed(data["shape"], list))
    elif not _is_pint(data):
        _array(data)
    return load_library("xarray").Variable(tuple(typed(parts["dims"], list)), data, typed(parts["attrs"], dict))


def _extension(series: Any) -> object:
    if type(series) is not load_library("pandas").Series:
        raise Malformed("expected a series")
    return series.array


def _read_variables(parts: object) -> Parts:
    return {typed(name, str): _read_variable(found) for name, found in typed(parts, dict).items()}


def _read_data_array(parts: Parts) -> object:
    coords = _read_variables(parts["coords"])
    return load_library("xarray").DataArray(_read_variable(parts["variable"]), coords=coords, name=parts["name"])


def _read_dataset(parts: Parts) -> object:
    variables, coords = _read_variables(parts["variables"]), _read_variables(parts["coords"])
    return load_library("xarray").Dataset(variables, coords=coords, attrs=typed(parts["attrs"], dict))


# -- quantities


def _is_pint(value: object) -> bool:
    pint = loaded_library("pint")
    return pint is not None and isinstance(value, getattr(pint, "Quantity", ()))


def _lower_pint(value: Any) -> tuple[str, Parts] | None:
    pint = loaded_library("pint")
    if pint is None or not _is_pint(value):
        return None
    if type(value).__name__ != "Quantity":  # a measurement has an error beside it
        return None
    return "pint.Quantity", {"magnitude": value.magnitude, "units": dict(value.unit_items())}


def _read_pint(parts: Parts) -> object:
    pint = load_library("pint")
    registry = pint.get_application_registry()
    units = {}
    for name, power in typed(parts["units"], dict).items():
        if type(name) is not str or not _UNIT.fullmatch(name) or not isinstance(power, _POWERS):
            raise Malformed(f"{name!r:.80} is no unit")
        try:
            units[registry.get_name(name)] = power
        except pint.UndefinedUnitError:
            raise _NotKnownHere(f"pint of this program has no unit {name!r}") from None
    return registry.Quantity(parts["magnitude"], registry.UnitsContainer(units))


def _lower_astropy(value: Any) -> tuple[str, Parts] | None:
    units = loaded_library("astropy.units")
    if units is None or type(value) is not getattr(units, "Quantity", None):
        return None
    return "astropy.units.Quantity", {"value": value.value, "unit": value.unit.to_string()}


def _read_astropy(parts: Parts) -> object:
    units = load_library("astropy.units")
    text = typed(parts["unit"], str)
    if len(text) > _MAX_UNIT:
        raise Malformed("a unit is too long")
    try:
        unit = units.Unit(text)
    except ValueError:
        raise _NotKnownHere(f"astropy of this program has no unit {text!r}") from None
    return units.Quantity(parts["value"], unit)


# -- all together: [kind, parts]

_LOWER: tuple[Callable[[object], tuple[str, Parts] | None], ...] = (
    _lower_astropy, _lower_numpy, library_pandas.lower, _lower_xarray, _lower_pint,
)  # fmt: skip
_READERS: Mapping[str, Callable[[Parts], object]] = {
    "numpy.ma.MaskedArray": _read_masked,
    "numpy.ma.masked": lambda parts: load_library("numpy.ma").masked,
    "numpy.recarray": lambda parts: _array(parts["data"]).view(load_library("numpy").recarray),
    "numpy.record": lambda parts: _array(parts["data"]).view(load_library("numpy").recarray)[0],
    "numpy.matrix": lambda parts: _array(parts["data"]).view(load_library("numpy").matrix),
    "xarray.Variable": _read_variable,
    "xarray.DataArray": _read_data_array,
    "xarray.Dataset": _read_dataset,
    "pint.Quantity": _read_pint,
    "astropy.units.Quantity": _read_astropy,
    **library_pandas.READERS,
}
KINDS = frozenset(_READERS)


_PLACES = (
    (r"\['series'\]\[(\d+)\]\['items'\]\[(\d+)\]", r".iloc[\2, \1]"),
    (r"\['values'\]\['items'\]\[(\d+)\]", r"[\1]"),
    (r"\['variables'\](\['.*?'\])", r"\1"),
    (r"\['coords'\](\['.*?'\])", r".coords\1"),
    (r"\['variable'\]", ""),
    (r"\['data'\]", ""),
    (r"\['items'\]\[(\d+)\]", r".values.flat[\1]"),
    (r"\['(attrs|index|columns|name|magnitude|dims)'\]", r".\1"),
)
"""How the parts of a value are named here -> how its user writes them; in this order, at the beginning of a path."""


def _placed(refusal: Refusal) -> Refusal:
    """Return a refusal whose path goes through the value, not through the parts that are made of it here."""
    path, done = refusal.path, ""
    for pattern, replacement in _PLACES:
        found = re.match(pattern, path)
        if found is not None:
            done += found.expand(replacement)
            path = path[found.end() :]
    return Refusal(refusal.reason, done + path)


def lower_library(encoding: Encoding, value: object, depth: int) -> CBORTag | None:
    """Lower a value of a library; None if it is none.

    Raises:
        Refusal: If it cannot be sent.
    """
    for lower in _LOWER:
        found = lower(value)
        if found is not None:
            kind, parts = found
            try:
                return CBORTag(Own.LIBRARY, [kind, encoding.lower(parts, depth)])
            except Refusal as refusal:
                raise _placed(refusal) from refusal.__cause__
    return None


def _library(decoding: Decoding, payload: object, _: bool) -> object:
    kind, parts = sized(payload, 2)
    read = _READERS.get(typed(kind, str))
    if read is None:
        raise Malformed(f"values of {kind!r:.80} are not known")
    typed(parts, dict)
    try:
        return read(parts)
    except ImportError:
        reason = f"{kind.partition('.')[0]} is not installed here"
    except _NotKnownHere as missing:
        reason = str(missing)
    module, _, qualname = kind.rpartition(".")
    return make_unknown(NamedKind.LIBRARY, f"{module}:{qualname}", parts, reason)


ROWS = (Row(Own.LIBRARY, _library),)
