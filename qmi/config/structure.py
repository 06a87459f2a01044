"""Makes a configuration of plain values: checks everything and reports all errors at once, with their paths."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import TypeVar, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import (
    BaseValidationError,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from qmi.config.schema import CfgContext, CfgQmi
from qmi.config.validators import Rule, printable, show
from qmi.errors import QMI_ConfigurationException

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
    return attrs.asdict(config)


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
        return attrs.evolve(config)
    known = {name: attrs.asdict(context) for name, context in config.contexts.items()}
    merged: object = context_cfg
    if isinstance(context_cfg, Mapping):
        merged = {name: _merged(known.get(name), added) for name, added in context_cfg.items()}
    contexts = _structured(merged, dict[_CONTEXT_NAME, CfgContext], "context_cfg", "context_cfg")  # type: ignore[valid-type]
    return attrs.evolve(config, contexts={**config.contexts, **contexts})


def structure_section(values: object, section: type[_T]) -> _T:
    """Return one section of a configuration that plain values describe.

    Raises:
        QMI_ConfigurationException: If anything is wrong with them; ``faults`` has one line for each fault.
    """
    return _structured(values, section, f"The section {section.__name__}")


def unstructure_section(section: object) -> dict[str, object]:
    """Return the plain values of one section of a configuration."""
    values: dict[str, object] = _CONVERTER.unstructure(section)
    return values


def report(subject: str, faults: list[str]) -> QMI_ConfigurationException:
    """Return the exception that lists all faults of a configuration, one line each."""
    number = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    return QMI_ConfigurationException(f"{subject} has {number}:\n" + "\n".join(f"  {f}" for f in faults), faults)


def path_text(path: tuple[object, ...]) -> str:
    """Return where a value sits: ``contexts.srv.program_args[2]``."""
    text = ""
    for part in path:
        if isinstance(part, str):
            text += f".{part}" if _PLAIN_KEY.match(part) else f"[{json.dumps(part, ensure_ascii=False)}]"
        else:
            text += f"[{part!r}]"
    return printable(text.removeprefix("."))


def _merged(known: Mapping[str, object] | None, added: object) -> object:
    if isinstance(added, CfgContext):
        return attrs.asdict(added)
    return {**(known or {}), **added} if isinstance(added, Mapping) else added


def _structured(values: object, target: type[_T], subject: str, *path: object) -> _T:
    try:
        return _CONVERTER.structure(values, target)
    # Not only its own group: a value of the wrong shape at the top is reported bare.
    except (BaseValidationError, ValueError) as error:
        raise report(subject, list(_faults(error, path))) from None


def _faults(error: BaseException, path: tuple[object, ...]) -> Iterator[str]:
    """Walk the tree of errors that cattrs builds, whose notes say where each branch sits."""
    if isinstance(error, ClassValidationError | IterableValidationError):
        inner, other = error.group_exceptions()
        for branch, note in inner:
            yield from _faults(branch, (*path, note.index if isinstance(note, IterableValidationNote) else note.name))
        for branch in other:
            yield from _faults(branch, path)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [attribute.name for attribute in attrs.fields(error.cl)]
        for key in sorted(error.extra_fields, key=str):
            yield f"{path_text((*path, key))}: {_unknown(key, known)}"
    else:
        where = path_text(path)
        yield f"{where}: {error}" if where else str(error)


def _unknown(key: object, known: list[str]) -> str:
    nearest = get_close_matches(str(key).lower(), known, 1, 0.6)
    if nearest:
        return f'unknown key; did you mean "{nearest[0]}"?'
    return "unknown key; known here are " + ", ".join(known)


def _rule_of(target: object) -> Rule | None:
    return next((extra for extra in getattr(target, "__metadata__", ()) if isinstance(extra, Rule)), None)


def _apply_rule(value: object, target: object) -> object:
    rule = _rule_of(target)
    assert rule is not None, "the hook is registered for types with a rule only"
    return rule.apply(value)


def _structure_list(value: object, target: type) -> list[object]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected a list [...], found {show(value)}")
    (item_type,) = get_args(target)
    return _gathered(target, [(index, "", item, item_type) for index, item in enumerate(value)])


def _structure_dict(value: object, target: type) -> dict[object, object]:
    """Unlike the converter's own way, reports the key and the value when both are wrong."""
    if not isinstance(value, Mapping):
        raise ValueError(f"expected an object {{...}}, found {show(value)}")
    key_type, item_type = get_args(target)
    keys = [(key, "name: ", key, key_type) for key in value]
    items = [(key, "", item, item_type) for key, item in value.items()]
    results = _gathered(target, keys + items)
    return dict(zip(results[: len(value)], results[len(value) :], strict=True))


def _gathered(target: type, steps: list[tuple[str | int, str, object, type]]) -> list[object]:
    results: list[object] = []
    errors: list[Exception] = []
    for place, prefix, value, value_type in steps:
        try:
            results.append(_CONVERTER.structure(value, value_type))
        except (BaseValidationError, ValueError) as error:
            branch = ValueError(f"{prefix}{error}") if prefix else error
            branch.add_note(IterableValidationNote("", place, value_type))
            errors.append(branch)
    if errors:
        raise IterableValidationError("", errors, target)
    return results


def _class_hook(target: type[_T], converter: Converter) -> Callable[[object, object], _T]:
    build = converter.gen_structure_attrs_fromdict(target)

    def hook(value: object, _: object) -> _T:
        if not isinstance(value, Mapping):
            raise ValueError(f"expected an object {{...}}, found {show(value)}")
        return build(value, target)

    return hook


def _generic(kind: object) -> Callable[[object], bool]:
    return lambda target: get_origin(target) is kind


def _make_converter() -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook_factory(attrs.has)(_class_hook)
    converter.register_structure_hook_func(_generic(list), _structure_list)
    converter.register_structure_hook_func(_generic(dict), _structure_dict)
    converter.register_structure_hook_func(lambda target: _rule_of(target) is not None, _apply_rule)
    return converter


_CONVERTER = _make_converter()
_CONTEXT_NAME = get_args(attrs.fields(CfgQmi).contexts.type)[0]
