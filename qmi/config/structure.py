"""Makes a configuration of plain values: checks everything and reports all errors at once, with their paths."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import TypeVar, Union, cast, get_args, get_origin

from msgspec import Struct
from msgspec.structs import replace

from qmi.config.schema import CfgContext, CfgQmi
from qmi.config.validators import Rule, printable, show
from qmi.errors import QMI_ConfigurationException
from qmi.records import asdict

_T = TypeVar("_T")
_PLAIN_KEY = re.compile(r"[-\w()$]+\Z")


def structure(values: object, subject: str = "The configuration") -> CfgQmi:
    """Make a configuration from plain values, as read from a file.

    Args:
        values: Plain values, an object at the top.
        subject: What to call the configuration in messages.

    Raises:
        QMI_ConfigurationException: If anything is wrong; ``faults`` has one line for each fault.
    """
    return _structured(values, CfgQmi, subject)


def unstructure(config: CfgQmi) -> dict[str, object]:
    """Return the configuration as plain values that fit into a JSON file."""
    return asdict(config)


def checked(config: CfgQmi) -> CfgQmi:
    """Return a copy of a configuration that a program made or changed, after checking it like a file.

    Raises:
        QMI_ConfigurationException: If anything is wrong; ``faults`` has one line for each fault.
    """
    if not isinstance(config, CfgQmi):
        raise QMI_ConfigurationException(f"expected a CfgQmi, found {show(config)}")
    return structure(unstructure(config))


def add_contexts(config: CfgQmi, context_cfg: Mapping[str, Mapping[str, object] | CfgContext] | None) -> CfgQmi:
    """Return a copy of the configuration with contexts added that a program describes.

    Args:
        config: The configuration, which stays as it is.
        context_cfg: Context name to settings. A :class:`CfgContext` replaces what the configuration says about that
            context; a mapping changes only the settings that it names. None adds nothing.

    Raises:
        QMI_ConfigurationException: If a name or setting is wrong; ``faults`` has one line for each fault.
    """
    if context_cfg is None:
        return replace(config)
    known = {name: asdict(context) for name, context in config.contexts.items()}
    merged: object = context_cfg
    if isinstance(context_cfg, Mapping):
        merged = {name: _merged(known.get(name), added) for name, added in context_cfg.items()}
    contexts = _structured(merged, dict[_CONTEXT_NAME, CfgContext], "context_cfg", "context_cfg")  # type: ignore[valid-type]
    return replace(config, contexts={**config.contexts, **contexts})


def structure_section(values: object, section: type[_T]) -> _T:
    """Return one section of a configuration that plain values describe.

    Raises:
        QMI_ConfigurationException: If anything is wrong with them; ``faults`` has one line for each fault.
    """
    return _structured(values, section, f"The section {section.__name__}")


def unstructure_section(section: Struct) -> dict[str, object]:
    """Return the plain values of one section of a configuration."""
    return asdict(section)


def report(subject: str, faults: list[str]) -> QMI_ConfigurationException:
    """Return the exception that lists all faults of a configuration, one line each."""
    number = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    return QMI_ConfigurationException(f"{subject} has {number}:\n" + "\n".join(f"  {f}" for f in faults), faults)


def path_text(path: tuple[object, ...]) -> str:
    """Return where a value sits: ``contexts.srv.program_args[2]``."""
    import json  # only messages need it

    text = ""
    for part in path:
        if isinstance(part, str):
            text += f".{part}" if _PLAIN_KEY.match(part) else f"[{json.dumps(part, ensure_ascii=False)}]"
        else:
            text += f"[{part!r}]"
    return printable(text.removeprefix("."))


def _merged(known: Mapping[str, object] | None, added: object) -> object:
    if isinstance(added, CfgContext):
        return asdict(added)
    return {**(known or {}), **added} if isinstance(added, Mapping) else added


def _structured(values: object, target: type[_T], subject: str, *path: object) -> _T:
    faults: list[str] = []
    found = _read(values, target, path, faults)
    if faults:
        raise report(subject, faults)
    return cast("_T", found)


def _read(value: object, kind: object, path: tuple[object, ...], faults: list[str]) -> object:
    """Make what a type asks for of a plain value; what is wrong is added to the faults."""
    if (rule := _rule_of(kind)) is not None:
        try:
            return rule.apply(value)
        except ValueError as error:
            return _add_fault(faults, path, error)
    origin = get_origin(kind)
    if origin is Union or origin is types.UnionType:
        (inner,) = (argument for argument in get_args(kind) if argument is not types.NoneType)
        return None if value is None else _read(value, inner, path, faults)
    if origin is list:
        return _read_list(value, get_args(kind)[0], path, faults)
    if origin is dict:
        return _read_dict(value, get_args(kind), path, faults)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _read_section(value, kind, path, faults)
    raise TypeError(f"a setting of type {kind} needs a rule, see qmi.config.validators")


def _read_section(value: object, section: type[Struct], path: tuple[object, ...], faults: list[str]) -> object:
    if not isinstance(value, Mapping):
        return _add_fault(faults, path, f"expected an object {{...}}, found {show(value)}")
    before = len(faults)
    fields = section.__annotations__
    found = {name: _read(value[name], kind, (*path, name), faults) for name, kind in fields.items() if name in value}
    for key in sorted((key for key in value if key not in fields), key=str):
        _add_fault(faults, (*path, key), _unknown(key, list(fields)))
    if len(faults) > before:
        return None
    try:
        return section(**found)
    except (QMI_ConfigurationException, ValueError) as error:  # settings that do not fit each other
        return _add_fault(faults, path, error)


def _read_list(value: object, kind: object, path: tuple[object, ...], faults: list[str]) -> object:
    if not isinstance(value, list | tuple):
        return _add_fault(faults, path, f"expected a list [...], found {show(value)}")
    return [_read(item, kind, (*path, index), faults) for index, item in enumerate(value)]


def _read_dict(value: object, kinds: tuple[object, ...], path: tuple[object, ...], faults: list[str]) -> object:
    key_kind, kind = kinds
    if not isinstance(value, Mapping):
        return _add_fault(faults, path, f"expected an object {{...}}, found {show(value)}")
    wrong: list[str] = []
    keys = []
    for key in value:
        keys.append(_read(key, key_kind, (), wrong))
        for fault in wrong:
            _add_fault(faults, (*path, key), f"name: {fault}")
        wrong.clear()
    items = [_read(item, kind, (*path, key), faults) for key, item in value.items()]
    return dict(zip(keys, items, strict=True))


def _add_fault(faults: list[str], path: tuple[object, ...], fault: object) -> object:
    where = path_text(path)
    faults.append(f"{where}: {fault}" if where else str(fault))
    return None


def _unknown(key: object, known: list[str]) -> str:
    from difflib import get_close_matches  # only messages need it

    nearest = get_close_matches(str(key).lower(), known, 1, 0.6)
    if nearest:
        return f'unknown key; did you mean "{nearest[0]}"?'
    return "unknown key; known here are " + ", ".join(known)


def _rule_of(target: object) -> Rule | None:
    return next((extra for extra in getattr(target, "__metadata__", ()) if isinstance(extra, Rule)), None)


_CONTEXT_NAME = get_args(CfgQmi.__annotations__["contexts"])[0]
