"""What the settings of a task consist of: types, units and documentation of their fields, for forms elsewhere."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

from qmi.actors.interface import full_name
from qmi.actors.plain_records import PlainRecord
from qmi.actors.tasks.runner import QMI_TaskRunner

_LONGEST: Final = 1000
_SECTION: Final = re.compile(r"(\w+):\s*$")
_SECTIONS: Final = frozenset({"Attributes", "Args", "Arguments", "Parameters", "Fields"})
_ENTRY: Final = re.compile(r"(\s+)(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SettingField(PlainRecord):
    """A field of the settings of a task.

    Attributes:
        name: Its name.
        type: Its annotation as text; empty if it has none.
        unit: The unit of a number; empty if the class does not name one.
        doc: What the class says of it.
        default: Its default as text; empty if it has none.
        choices: What it may be, where that is one of a few: the names of members of an enumeration, or the literals.
        settable: Whether it can be given at all; false for a field that the class sets itself.
    """

    name: str = ""
    type: str = ""
    unit: str = ""
    doc: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    settable: bool = True


def describe_settings(host: object) -> dict[str, object]:
    """What the settings of a task consist of, as plain data.

    Args:
        host: What runs the task, or any other object, which has no settings.

    Returns:
        In ``"class"`` the full name of the class of the settings, and in ``"fields"`` a :class:`SettingField` for each
        of its fields; an empty name and no fields if the settings are of a class that declares none.
    """
    cls = _class_of(host)
    if cls is None:
        return {"class": "", "fields": []}
    return {"class": full_name(cls), "fields": [field.to_plain() for field in fields_of(cls)]}


def _class_of(host: object) -> type | None:
    if not isinstance(host, QMI_TaskRunner):
        return None
    for settings in (host.get_settings(), host.get_pending_settings()):
        cls = type(settings)
        if dataclasses.is_dataclass(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields")):
            return cls
    return None


def fields_of(cls: type) -> list[SettingField]:
    """The fields of a dataclass or a named tuple.

    Args:
        cls: The class.
    """
    hints, docs = _hints(cls), _docs(cls)
    found = []
    for name, default, metadata, settable in _declared(cls):
        hint = hints.get(name, inspect.Parameter.empty)
        plain, unit = _plain(hint)
        unit = _text(metadata.get("unit")) or unit
        doc = _text(metadata.get("doc")) or docs.get(name, "")
        found.append(SettingField(name, _annotation(plain), unit, doc[:_LONGEST], default, _choices(plain), settable))
    return found


def _declared(cls: Any) -> Iterator[tuple[str, str, Mapping[Any, object], bool]]:
    """Name, default, metadata of each field, and whether it can be given."""
    if not dataclasses.is_dataclass(cls):
        defaults = cls._field_defaults
        for name in cls._fields:
            yield name, _shown(defaults[name]) if name in defaults else "", {}, True
        return
    for field in dataclasses.fields(cls):
        default: object = field.default
        if field.default_factory is not dataclasses.MISSING:
            # What a user's function makes is not made for a form; of a plain collection, it is known.
            default = field.default_factory() if field.default_factory in (list, dict, set, tuple) else default
        yield field.name, "" if default is dataclasses.MISSING else _shown(default), field.metadata, field.init


def _shown(value: object) -> str:
    if isinstance(value, Enum):
        return value.name
    try:
        return repr(value)[:_LONGEST]
    except Exception:  # noqa: BLE001 - the repr of a user's class
        return f"<{type(value).__name__}>"


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001 - annotations of a user that cannot be evaluated: their text is known
        return {
            name: hint for base in reversed(cls.__mro__) for name, hint in vars(base).get("__annotations__", {}).items()
        }


def _plain(hint: Any) -> tuple[Any, str]:
    """An annotation without what stands beside it in ``Annotated``, where a text is the unit."""
    if typing.get_origin(hint) is typing.Annotated:
        plain, *beside = typing.get_args(hint)
        return plain, next((text for text in beside if isinstance(text, str)), "")
    return hint, ""


def _annotation(hint: object) -> str:
    if hint is inspect.Parameter.empty:
        return ""
    return hint if isinstance(hint, str) else inspect.formatannotation(hint)


def _choices(hint: object) -> tuple[str, ...]:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return tuple(hint.__members__)
    if typing.get_origin(hint) is Literal:
        return tuple(item.name if isinstance(item, Enum) else str(item) for item in typing.get_args(hint))
    return ()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _docs(cls: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say of fields."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found.update(_documented(inspect.cleandoc(vars(base).get("__doc__") or "")))
    return found


def _documented(doc: str) -> dict[str, str]:
    found: dict[str, str] = {}
    is_inside, last, indent = False, "", ""
    for line in doc.splitlines():
        if line.strip() and not line.startswith(" "):
            section = _SECTION.match(line)
            is_inside, last, indent = section is not None and section[1] in _SECTIONS, "", ""
            continue
        entry = _ENTRY.match(line) if is_inside else None
        if entry is not None and (not indent or entry[1] == indent):
            indent, last = entry[1], entry[2]
            found[last] = entry[3]
        elif last and line.strip():
            found[last] = f"{found[last]} {line.strip()}".strip()
    return found
