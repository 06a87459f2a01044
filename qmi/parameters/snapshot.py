"""The values of an instrument's parameters at one time: what is kept of them, how two differ, what a restore would set.

A snapshot keeps numbers, texts, truth values and members of enums, each with its unit and the time at which it was read
or set. Blocks (waveforms) are data and no state: no snapshot has them. :func:`settings_of` and :func:`differing`
decide what a restore sets, before anything is sent.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from fnmatch import fnmatchcase
from numbers import Integral, Real
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from qmi import html
from qmi.config.validators import printable
from qmi.errors import QMI_InvalidValueException, QMI_UsageException
from qmi.parameters.rules import is_number

REL_TOL: Final = 1e-6
"""Numbers that differ by less than this share of them are taken for equal: devices answer with about six digits."""

_FORMAT: Final = "qmi-snapshot-1"
_MAX_SHOWN: Final = 40


class Reading(NamedTuple):
    """The value of a parameter as it was at some time.

    Attributes:
        value: A number, a text, True or False, or a member of an enum.
        unit: Its unit; empty if it has none.
        time: When it was read or set, as seconds since the epoch.
    """

    value: Any
    unit: str = ""
    time: float = 0.0

    def __str__(self) -> str:
        return with_unit(self.value, self.unit)


class Change(NamedTuple):
    """A parameter that has another value than before; printed as ``voltage: 5.0 V -> 3.0 V``.

    Attributes:
        name: The parameter.
        before: Its value before; None if that is not known.
        after: Its value afterwards; None if that is not known.
        unit: The unit of both.
    """

    name: str
    before: Any
    after: Any
    unit: str = ""

    def __str__(self) -> str:
        before, after = ("?" if value is None else with_unit(value, self.unit) for value in (self.before, self.after))
        return f"{self.name}: {before} -> {after}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Snapshot(Mapping[str, Reading]):
    """The parameters of an object at one time: a mapping of names to readings, which prints as a table.

    ::

        before = psu.snapshot()
        before["voltage"].value
        for change in diff(before, psu.snapshot(update=True)):
            print(change)

    Attributes:
        address: The object, ``"context.object"``.
        class_name: Full name of its class.
        time: When the snapshot was taken, as seconds since the epoch.
        readings: The readings by name, in the order in which the parameters are declared.
        missing: Parameters without a reading, and why.
    """

    address: str
    class_name: str
    time: float
    readings: dict[str, Reading] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def __qmi_check__(self) -> None:
        """Refuse what another program may send in place of a snapshot (:mod:`qmi.net.codec.named_types`)."""
        texts = (self.address, self.class_name, *self.readings, *self.missing, *self.missing.values())
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("names and reasons are texts")
        for reading in self.readings.values():
            if type(reading) is not Reading or not isinstance(reading.unit, str) or not is_number(reading.time):
                raise TypeError("a reading has a value, a unit and a time")
        if not is_number(self.time):
            raise TypeError("the time is a number")

    def __getitem__(self, name: str) -> Reading:
        try:
            return self.readings[name]
        except KeyError:
            if name in self.missing:
                raise KeyError(
                    f"{name} has no reading in the snapshot of {self.address}: {self.missing[name]}"
                ) from None
            raise KeyError(f"the snapshot of {self.address} has no {name!r}; it has {_listed(self.readings)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.readings)

    def __len__(self) -> int:
        return len(self.readings)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.readings)

    def __repr__(self) -> str:
        return "\n".join([f"Snapshot of {self.address} ({self.class_name}), {_shown_time(self.time)}", *self._rows()])

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return html.shown_or(self._as_html, self)

    def _as_html(self) -> str:
        rows: list[tuple[object, ...]] = [
            (name, show_value(reading.value), reading.unit, _shown_time(reading.time, beside=self.time))
            for name, reading in self.readings.items()
        ]
        rows += [(name, html.dim("-"), "", html.dim(why)) for name, why in self.missing.items()]
        table = [html.table(("parameter", "value", "unit", "when"), rows, right=("value",))] if rows else []
        marks = [html.dim(f"{self.class_name}, {_shown_time(self.time)}")]
        return html.card(self.address, "snapshot", marks, table)

    def _rows(self) -> Iterator[str]:
        names = [*self.readings, *self.missing]
        if not names:
            yield "  (nothing)"
            return
        first = max(map(len, names))
        texts = {name: str(reading) for name, reading in self.readings.items()}
        second = max(map(len, texts.values()), default=0)
        for name, reading in self.readings.items():
            yield f"  {name:<{first}}  {texts[name]:<{second}}  {_shown_time(reading.time, beside=self.time)}"
        for name, why in self.missing.items():
            yield f"  {name:<{first}}  ({printable(why)})"

    def select(self, *patterns: str) -> Snapshot:
        """A part of the snapshot, to be restored or saved by itself.

        Args:
            patterns: Names of parameters, or patterns with ``*`` such as ``"channels[1].*"``.

        Raises:
            QMI_InvalidValueException: If no parameter has one of the names.
        """
        found = self._matching(patterns)
        return self._only(name for name in self._names() if name in found)

    def without(self, *patterns: str) -> Snapshot:
        """The snapshot without some parameters, such as those that a restore must not switch on.

        Args:
            patterns: Names of parameters, or patterns with ``*`` such as ``"channels[*].output"``.

        Raises:
            QMI_InvalidValueException: If no parameter has one of the names.
        """
        found = self._matching(patterns)
        return self._only(name for name in self._names() if name not in found)

    def _names(self) -> list[str]:
        return [*self.readings, *self.missing]

    def _matching(self, patterns: tuple[str, ...]) -> set[str]:
        found: set[str] = set()
        for pattern in patterns:
            # The brackets in names of channels are no pattern.
            matching = {name for name in self._names() if fnmatchcase(name, pattern.replace("[", "[[]"))}
            if not matching:
                names = _listed(self._names())
                raise QMI_InvalidValueException(f"The snapshot of {self.address} has no {pattern!r}; it has {names}")
            found |= matching
        return found

    def _only(self, names: Iterable[str]) -> Snapshot:
        chosen = list(names)
        return replace(
            self,
            readings={name: self.readings[name] for name in chosen if name in self.readings},
            missing={name: self.missing[name] for name in chosen if name in self.missing},
        )

    # Keeping it

    def to_dict(self) -> dict[str, object]:
        """The snapshot as JSON has it: texts, numbers, and dicts of them.

        Raises:
            QMI_InvalidValueException: If it has arrays, which such a file has no place for; says what to do.
        """
        if unfit := [name for name, reading in self.readings.items() if not _fits_file(reading.value)]:
            kinds = ", ".join(dict.fromkeys(type(self.readings[name].value).__name__ for name in unfit))
            raise QMI_InvalidValueException(
                f"{_listed(unfit)} of {self.address} cannot be kept in the file of a snapshot, which has numbers, "
                f"texts and members of enums, and no {kinds}. Keep snapshot.without({', '.join(map(repr, unfit))}), "
                f"and the data by themselves: numpy.save(file, snapshot[{unfit[0]!r}].value)"
            )
        return {
            "format": _FORMAT,
            "object": self.address,
            "class": self.class_name,
            "time": _time_to_text(self.time),
            "readings": {name: _reading_to_dict(reading) for name, reading in self.readings.items()},
            "missing": dict(self.missing),
        }

    @classmethod
    def from_dict(cls, plain: object) -> Snapshot:
        """The snapshot that :meth:`to_dict` made this of.

        A member of an enum whose class is not imported in this program is its value; a restore takes it all the same.

        Raises:
            QMI_InvalidValueException: If it is something else; says where.
        """
        entries = _entries(plain, "a snapshot", ("format", "object", "class", "time", "readings", "missing"))
        if entries["format"] != _FORMAT:
            raise QMI_InvalidValueException(
                f"a snapshot is written in the format {_FORMAT!r}, got {show_value(entries['format'])}"
            )
        readings, missing = _dict(entries["readings"], "readings"), _dict(entries["missing"], "missing")
        return cls(
            _text(entries["object"], "object"),
            _text(entries["class"], "class"),
            _time_of(entries["time"], "time"),
            {name: _reading_of(reading, f"readings[{name!r}]") for name, reading in readings.items()},
            {name: _text(why, f"missing[{name!r}]") for name, why in missing.items()},
        )

    def save(self, file: str | Path) -> None:
        """Write the snapshot to a JSON file, which can be read by people and by :meth:`load`.

        Args:
            file: The file; one of that name is overwritten.

        Raises:
            QMI_InvalidValueException: If the snapshot has arrays; says what to do.
            OSError: If the file cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        Path(file).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: str | Path) -> Snapshot:
        """Read a snapshot that :meth:`save` has written.

        Raises:
            QMI_InvalidValueException: If there is something else in the file; says what and where.
            OSError: If it cannot be read.
        """
        try:
            return cls.from_dict(json.loads(Path(file).read_text(encoding="utf-8")))
        except (ValueError, RecursionError) as error:  # of ours, and of what is no JSON or no text
            raise QMI_InvalidValueException(f"There is no snapshot in {file}: {error}") from error


class Changes(list[Change]):
    """The changes of :func:`diff`: a list, which notebooks show as a table."""

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return html.shown_or(self._as_html, self)

    def _as_html(self) -> str:
        if not self:
            return html.card("no differences")
        rows = [
            (change.name, *("?" if value is None else show_value(value) for value in change[1:3]), change.unit)
            for change in self
        ]
        return html.card(
            f"{len(self)} difference{'s' * (len(self) != 1)}",
            body=[html.table(("parameter", "before", "after", "unit"), rows, right=("before", "after"))],
        )


for _public in (Reading, Change, Changes, Snapshot):
    _public.__module__ = "qmi.core.driver"


def diff(before: Mapping[str, Reading], after: Mapping[str, Reading], *, rel_tol: float = REL_TOL) -> Changes:
    """How two snapshots differ: values only, whenever they were read.

    Args:
        before: The one.
        after: The other; of the same object, or of another one of its kind.
        rel_tol: By which share of them two numbers may differ and are equal all the same; 0 compares all digits.

    Returns:
        A change for each parameter that has another value, or a reading in one of them alone.

    Raises:
        QMI_UsageException: If one of them is no snapshot; says what to do.
    """
    for which, snapshot in (("before", before), ("after", after)):
        _check_readings(which, snapshot)
    changes = Changes()
    for name in [*before, *(name for name in after if name not in before)]:
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            unit = (one or other or Reading(None)).unit
            changes.append(Change(name, one and one.value, other and other.value, unit))
        elif one.unit != other.unit:
            changes.append(Change(name, str(one), str(other)))
        elif not same_value(one.value, other.value, rel_tol):
            changes.append(Change(name, one.value, other.value, other.unit))
    return changes


def _check_readings(which: str, snapshot: object) -> None:
    if isinstance(snapshot, str | Path):
        raise QMI_UsageException(
            f"diff() takes two snapshots, and {which} is the name of a file: give Snapshot.load({str(snapshot)!r})"
        )
    if not isinstance(snapshot, Mapping):
        raise QMI_UsageException(f"diff() takes two snapshots, and {which} is {show_value(snapshot)}")
    for name, reading in snapshot.items():
        if not isinstance(reading, Reading):
            raise QMI_UsageException(
                f"diff() takes two snapshots, and {which}[{name!r}] is {show_value(reading)}: give "
                f"Reading({show_value(reading)}), or compare with what restore({{...}}, dry_run=True) gives"
            )


def settings_of(wanted: Mapping[str, object], units: Mapping[str, str], known: Collection[str]) -> dict[str, object]:
    """What a restore is to set, and to which values, in the order in which they are declared.

    Args:
        wanted: A snapshot, whose readings that cannot be set are left out; or values by the names of settings.
        units: The settings of the object, in the order in which they are declared, and their units.
        known: All its parameters.

    Raises:
        QMI_InvalidValueException: If there are parameters that the object lacks or has in another unit, or values for
            what can only be read.
    """
    if strange := [name for name in wanted if name not in known]:
        raise QMI_InvalidValueException(
            f"there is no {_listed(strange)} to be restored: the object has {_listed(known)}. "
            "A part of a snapshot is restored with snapshot.select(...)"
        )
    if fixed := [name for name, value in wanted.items() if name not in units and not isinstance(value, Reading)]:
        raise QMI_InvalidValueException(f"{_listed(fixed)} can only be read")
    found = {name: wanted[name] for name in units if name in wanted}
    faults = [
        f"{name} is in {units[name] or 'no unit'} here, and in {value.unit or 'no unit'} in the snapshot"
        for name, value in found.items()
        if isinstance(value, Reading) and value.unit != units[name]
    ]
    if faults:
        raise QMI_InvalidValueException("; ".join(faults))
    return {name: value.value if isinstance(value, Reading) else value for name, value in found.items()}


def differing(settings: Mapping[str, object], current: Mapping[str, object], units: Mapping[str, str]) -> list[Change]:
    """Which of the settings have another value now, or one that is not known.

    Args:
        settings: The values that they are to have.
        current: The values that they have now, as far as they are known.
        units: Their units.
    """
    return [
        Change(name, current.get(name), value, units.get(name, ""))
        for name, value in settings.items()
        if name not in current or not same_value(current[name], value)
    ]


# Values


def kept(value: object) -> object:
    """The value as a snapshot keeps it: one that can be sent, saved and compared.

    Raises:
        ValueError: If it is none; says what it is.
    """
    if value is None or type(value) in (bool, int, float) or isinstance(value, Enum):
        return value
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("a text with characters that cannot be sent or saved is no part of a snapshot") from None
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if type(value).__module__ == "numpy" and type(value).__name__.startswith("bool"):
        return bool(value)
    raise ValueError(f"a value of type {type(value).__name__} is no part of a snapshot")


def same_value(one: object, other: object, rel_tol: float = REL_TOL) -> bool:
    """Whether two values are the same, as near as devices tell; NaN is the same as NaN.

    Args:
        one: The one.
        other: The other. A member of an enum may be given by its value or its name, as it comes from a file.
        rel_tol: By which share of them two numbers may differ.
    """
    named, named_other = member_of(one), member_of(other)
    if named is not None and named_other is not None:
        return named.name == named_other.name and named.value == named_other.value
    if named is not None:
        return _equal(other, named.value) or _equal(other, named.name)
    if named_other is not None:
        return same_value(other, one, rel_tol)
    if is_number(one) and is_number(other):
        if type(one) is int and type(other) is int:
            return one == other
        one, other = float(one), float(other)
        return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=rel_tol)
    return _equal(one, other)


class Member(NamedTuple):
    """A member of an enum, also of one that this program does not have.

    Attributes:
        kind: ``"module:class"``.
        name: Its name.
        value: Its value.
    """

    kind: str
    name: str
    value: object


def member_of(value: object) -> Member | None:
    """The member of an enum that a value is or stands for; None if it is something else."""
    if isinstance(value, Enum):
        return Member(f"{type(value).__module__}:{type(value).__qualname__}", value.name, value.value)
    # What comes from another program, of an enum that is not imported here.
    fields, kind = getattr(value, "fields", None), getattr(value, "type_name", None)
    if isinstance(fields, dict) and isinstance(kind, str) and fields.keys() == {"name", "value"}:
        return Member(kind, str(fields["name"]), fields["value"])
    return None


def _equal(one: object, other: object) -> bool:
    shape = getattr(one, "shape", None)
    if shape is not None and type(one) is type(other):
        # Arrays, which are compared item by item; those of other types or sizes are different.
        same: Any = shape == other.shape and one == other  # type: ignore[attr-defined]
        return bool(getattr(same, "all", lambda: same)())
    return type(one) is type(other) and bool(one == other)


# Texts


def show_value(value: object) -> str:
    """A value for people, on one line."""
    member = member_of(value)
    if member is not None:
        return printable(member.name)
    text = printable(repr(value))
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def with_unit(value: object, unit: str) -> str:
    """The same with its unit."""
    return f"{show_value(value)} {printable(unit)}" if unit else show_value(value)


def _listed(names: Collection[str]) -> str:
    return ", ".join(printable(name) if isinstance(name, str) else show_value(name) for name in names) or "none"


def _shown_time(moment: float, beside: float | None = None) -> str:
    """A time, on this machine's clock; without the day if that is the one of the time beside it."""
    shown = _local(moment)
    if shown is None:
        return "?"
    other = None if beside is None else _local(beside)
    same_day = other is not None and other.date() == shown.date()
    return f"{shown:%H:%M:%S}" if same_day else f"{shown:%Y-%m-%d %H:%M:%S}"


def _local(moment: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(moment, UTC).astimezone()
    except (ValueError, OverflowError, OSError):  # it comes from another program, which can send anything
        return None


# As JSON


def _reading_to_dict(reading: Reading) -> dict[str, object]:
    plain: dict[str, object] = {"value": reading.value}
    member = member_of(reading.value)
    if member is not None:
        is_plain = type(member.value) in (bool, int, str) or _is_finite(member.value)
        plain = {"value": member.value if is_plain else member.name, "enum": member.kind, "member": member.name}
    elif type(reading.value) is float and not _is_finite(reading.value):
        plain = {"value": {"float": repr(reading.value)}}  # which JSON has no numbers for
    if reading.unit:
        plain["unit"] = reading.unit
    return {**plain, "time": _time_to_text(reading.time)}


def _is_finite(value: object) -> bool:
    return type(value) is float and math.isfinite(value)


def _fits_file(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str) or member_of(value) is not None


def _reading_of(plain: object, where: str) -> Reading:
    entries = _entries(plain, where, ("value", "time"), ("unit", "enum", "member"))
    value = entries["value"]
    if isinstance(value, dict):
        number = value.get("float")
        if value.keys() != {"float"} or number not in ("nan", "inf", "-inf"):
            raise QMI_InvalidValueException(f"{where}['value'] must be a number, a text, true or false")
        value = float(number)
    elif not (value is None or isinstance(value, bool | int | float | str)):
        raise QMI_InvalidValueException(f"{where}['value'] must be a number, a text, true or false")
    if "enum" in entries:
        kind, name = _text(entries["enum"], f"{where}['enum']"), _text(entries.get("member"), f"{where}['member']")
        value = _loaded_member(kind, name, value)
    return Reading(value, _text(entries.get("unit", ""), f"{where}['unit']"), _time_of(entries["time"], where))


def _loaded_member(kind: str, name: str, value: object) -> object:
    """The member if this program has its class and a member of that name; else the value."""
    module, _, qualname = kind.partition(":")
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = vars(found).get(part) if isinstance(found, ModuleType | type) else None
    if not (isinstance(found, type) and issubclass(found, Enum)):
        return value
    return found.__members__.get(name, value)


def _entries(plain: object, where: str, needed: tuple[str, ...], other: tuple[str, ...] = ()) -> dict[str, object]:
    entries = _dict(plain, where)
    if lacking := [name for name in needed if name not in entries]:
        raise QMI_InvalidValueException(f"{where} lacks {_listed(lacking)}")
    if strange := [name for name in entries if name not in needed + other]:
        raise QMI_InvalidValueException(f"{where} has {_listed(strange)}, which is no part of it")
    return entries


def _dict(plain: object, where: str) -> dict[str, object]:
    if not (isinstance(plain, dict) and all(isinstance(key, str) for key in plain)):
        raise QMI_InvalidValueException(f"{where} must be a JSON object, got {show_value(plain)}")
    return plain


def _text(plain: object, where: str) -> str:
    if not isinstance(plain, str):
        raise QMI_InvalidValueException(f"{where} must be a text, got {show_value(plain)}")
    return plain


def _time_to_text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")


def _time_of(plain: object, where: str) -> float:
    try:
        moment = datetime.fromisoformat(_text(plain, where))
    except ValueError:
        raise QMI_InvalidValueException(f"{where} must have a time in ISO 8601, got {show_value(plain)}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
