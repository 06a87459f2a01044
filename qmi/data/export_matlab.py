"""What a run is in MATLAB: variables of its level-5 files, by names that MATLAB has."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from qmi.data.run_file import fill_of
from qmi.errors import QMI_InvalidValueException

if TYPE_CHECKING:
    import numpy
    import xarray

    Array = numpy.ndarray[Any, numpy.dtype[Any]]

_LONGEST: Final = 60
"""Characters of a name; MATLAB has 63, and some are needed for numbers."""
_MAX_BYTES: Final = (1 << 31) - (1 << 16)
"""Of one variable in such a file."""
_SPELT: Final = str.maketrans({"µ": "u", "μ": "u", "ß": "ss", "°": "deg", "Ω": "Ohm", "Å": "A"})
_DATENUM_OF_1970: Final = 719529.0
_NANOSECONDS_PER_DAY: Final = 86400e9
_KEYWORDS: Final = re.compile(
    "break|case|catch|classdef|continue|else|elseif|end|for|function|global|if|otherwise|parfor|persistent|return|spmd|"
    "switch|try|while"
)


def variables_of(data: xarray.Dataset) -> dict[str, object]:
    """The variables of the file: columns and axes, and the structures ``units`` and ``info``.

    Raises:
        QMI_InvalidValueException: If a column is too large for such a file.
    """
    import numpy

    names = names_in_matlab([str(name) for name in data.variables])
    found: dict[str, object] = {}
    units: dict[str, object] = {}
    missing: dict[str, object] = {}
    for name, variable in data.variables.items():
        shown = names[str(name)]
        values = variable.values
        if values.dtype.kind == "M":
            exact = values.astype("M8[ns]").view("i8")
            found[shown] = _datenum(exact)
            units[shown] = "days since year 0 (datenum, UTC)"
            ns = _free(f"{shown}_ns", {*names.values(), *found})
            found[ns] = exact
            units[ns] = "ns since 1970-01-01 (UTC)"
            continue
        if (fill := fill_of(variable)) is not None:
            values = numpy.where(values == None, fill, values).astype("i8")  # noqa: E711 - of each element
            missing[shown] = numpy.int64(fill)
        found[shown] = _values(values, str(name))
        units[shown] = str(variable.attrs.get("units", variable.attrs.get("unit", "")))
    attributes = {key: _attribute(value) for key, value in data.attrs.items()}
    attributes["names"] = {shown: name for name, shown in names.items()}
    if missing:
        attributes["missing"] = missing
    extra = {"units": units, "info": attributes}
    for what, content in extra.items():
        found[_free(what, found)] = content
    return found


def names_in_matlab(names: Iterable[str]) -> dict[str, str]:
    """Each name as MATLAB can have it: letters of ASCII, digits and ``_``, and none twice.

    A letter with an accent loses it, and whatever else MATLAB has not becomes ``_``.
    """
    found: dict[str, str] = {}
    wanted = list(names)
    # A name that is good keeps itself, whatever the others become.
    taken = {name for name in wanted if _as_name(name) == name}
    for name in wanted:
        shown = _as_name(name)
        if shown != name:
            shown = _free(shown, taken)
            taken.add(shown)
        found[name] = shown
    return found


def _as_name(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.translate(_SPELT))
    text = "".join(letter for letter in plain if not unicodedata.combining(letter))
    text = re.sub(r"[^0-9A-Za-z_]", "_", text)[:_LONGEST]
    if not text[:1].isalpha() or _KEYWORDS.fullmatch(text):
        text = f"x{text}" if text[:1] == "_" else f"x_{text}"
    return text[:_LONGEST]


def _free(name: str, taken: Iterable[str]) -> str:
    number, found, others = 1, name, set(taken)
    while found in others:
        number += 1
        found = f"{name}_{number}"
    return found


def _datenum(nanoseconds: Array) -> Array:
    import numpy

    days = nanoseconds / _NANOSECONDS_PER_DAY + _DATENUM_OF_1970
    return numpy.where(nanoseconds == numpy.iinfo("i8").min, numpy.nan, days)


def _values(values: Array, name: str) -> Array:
    import numpy

    if values.dtype.kind in "OUT":
        return numpy.array(values.tolist(), dtype=object).reshape(values.shape)
    if values.nbytes > _MAX_BYTES:
        raise QMI_InvalidValueException(
            f"column {name} has {values.nbytes / 1e9:.1f} GB, and a .mat file takes 2 GB in a variable. MATLAB reads "
            "the netCDF file of the run itself: ncread(file, name)"
        )
    return values


def _attribute(value: object) -> Any:
    if isinstance(value, Mapping | list):
        return str(value)
    return value
