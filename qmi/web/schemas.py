"""Checks what was sent against the schemas of the table of operations, which use little of JSON Schema. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from qmi.config.validators import printable

_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}
_WORDS = {"string": "a string", "integer": "a whole number", "number": "a number", "boolean": "true or false",
          "object": "a JSON object", "array": "a JSON list"}  # fmt: skip


def fault_of(value: object, schema: Mapping[str, Any], where: str = "the body") -> str:
    """What is wrong with a value; empty if nothing is.

    Args:
        value: What was sent.
        schema: What is expected.
        where: What it is called in the message.
    """
    if "anyOf" in schema:
        if "kind" in schema["anyOf"][0].get("properties", {}):
            return _kind_fault(value, schema["anyOf"], where)
        if all(fault_of(value, choice, where) for choice in schema["anyOf"]):
            words = " or ".join(_WORDS[choice["type"]] for choice in schema["anyOf"])
            return f"{where} must be {words}"
        return ""
    kind = schema.get("type")
    if kind is None:
        return ""
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return f"{where} must be {_WORDS[kind]}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} must be one of {', '.join(map(str, schema['enum']))}"
    return _details_fault(value, schema, where)


def _details_fault(value: object, schema: Mapping[str, Any], where: str) -> str:
    """What is wrong with a value of the right type."""
    if isinstance(value, str):
        return _text_fault(value, schema, where)
    if isinstance(value, list):
        return _items_fault(value, schema, where)
    if isinstance(value, dict):
        return _fields_fault(value, schema, where)
    return "" if isinstance(value, bool) or not isinstance(value, int | float) else _number_fault(value, schema, where)


def _kind_fault(value: object, choices: Sequence[Mapping[str, Any]], where: str) -> str:
    """What is wrong with an object that says in ``kind`` which of several it is."""
    if not isinstance(value, dict):
        return f"{where} must be {_WORDS['object']}"
    named = {choice["properties"]["kind"]["enum"][0]: choice for choice in choices}
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in named:
        return f"{_below(where, 'kind')} must be one of {', '.join(named)}"
    return fault_of(value, named[kind], where)


def _text_fault(value: str, schema: Mapping[str, Any], where: str) -> str:
    if len(value) > schema.get("maxLength", len(value)):
        return f"{where} must have at most {schema['maxLength']} characters, got {len(value)}"
    pattern = schema.get("pattern")  # of those here, each stands for the whole text
    if pattern is not None and re.fullmatch(pattern.removeprefix("^").removesuffix("$"), value) is None:
        return f"{where} must be {schema.get('description', pattern)}, got {printable(value[:100])!r}"
    return ""


def _items_fault(value: Sequence[object], schema: Mapping[str, Any], where: str) -> str:
    if len(value) > schema.get("maxItems", len(value)):
        return f"{where} must have at most {schema['maxItems']} entries, got {len(value)}"
    for number, item in enumerate(value):
        if fault := fault_of(item, schema.get("items", {}), f"{where}[{number}]"):
            return fault
    return ""


def _below(where: str, name: str) -> str:
    """What a field is called in a message: whole names only within entries of lists, where several have the same."""
    return f"{where}.{name}" if where.endswith("]") or "]." in where else name


def _number_fault(value: float, schema: Mapping[str, Any], where: str) -> str:
    least, above, most = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    if isinstance(value, float) and not math.isfinite(value):
        return f"{where} must be a finite number"
    if least is not None and value < least:
        return f"{where} must be {least} or more, got {value}"
    if above is not None and value <= above:
        return f"{where} must be above {above}, got {value}"
    if most is not None and value > most:
        return f"{where} must be {most} or less, got {value}"
    return ""


def _fields_fault(value: Mapping[str, object], schema: Mapping[str, Any], where: str) -> str:
    properties = schema.get("properties")
    if properties is None:
        return ""
    if lacking := [name for name in schema.get("required", ()) if name not in value]:
        return f"{where} must have {lacking[0]!r}"
    for name, item in value.items():
        if name not in properties:
            return f"{where} has {name!r}, and may have {', '.join(properties)}"
        if fault := fault_of(item, properties[name], _below(where, name)):
            return fault
    return ""


def from_text(text: str, schema: Mapping[str, Any]) -> object:
    """The value of a text behind the question mark.

    Args:
        text: The text.
        schema: What is expected.

    Raises:
        ValueError: If it is no such value; says what it must be.
    """
    kind = schema.get("type", "string")
    value: object = text
    if kind == "boolean":
        value = {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    elif "enum" in schema:
        value = next((each for each in schema["enum"] if each.lower() == text.lower()), text)
    elif kind in ("integer", "number") and text.isascii() and len(text) < 40:
        try:
            value = int(text) if kind == "integer" else float(text)
        except ValueError:
            value = text
    fault = fault_of(value, schema, "")
    if fault:
        raise ValueError(f"{fault.strip()}" + ("" if "got" in fault else f", got {text[:40]!r}"))
    return value
