"""In which line of a configuration file each setting stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from qmi.config.parser import tokens

SettingPath: TypeAlias = "tuple[str | int, ...]"
_Token: TypeAlias = "tuple[str, str, int]"


def positions(text: str) -> dict[SettingPath, int]:
    """The line of each key and of each item of a list, counted from 1.

    Args:
        text: The text of a configuration file, which has been read without a fault.
    """
    found: dict[SettingPath, int] = {}
    _value(_significant(text), (), found)
    return found


def line_of(path: SettingPath, known: dict[SettingPath, int]) -> int | None:
    """The line of a setting, or of the nearest one around it; None if nothing of it is in the file."""
    while path:
        if path in known:
            return known[path]
        path = path[:-1]
    return None


def _significant(text: str) -> Iterator[_Token]:
    line = 1
    for kind, token in tokens(text):
        if kind != "skip":
            yield kind, token, line
        line += token.count("\n")


def _value(rest: Iterator[_Token], path: SettingPath, found: dict[SettingPath, int]) -> None:
    _after(next(rest, None), rest, path, found)


def _after(first: _Token | None, rest: Iterator[_Token], path: SettingPath, found: dict[SettingPath, int]) -> None:
    # `first` begins the value; its tokens are taken from the rest.
    if first is None:
        return
    if first[1] == "{":
        _members(rest, path, found)
    elif first[1] == "[":
        _items(rest, path, found)


def _members(rest: Iterator[_Token], path: SettingPath, found: dict[SettingPath, int]) -> None:
    for kind, token, line in rest:
        if token == "}":
            return
        if kind == "mark":  # a comma
            continue
        key = (*path, _key(kind, token))
        found[key] = line
        next(rest, None)  # the colon
        _value(rest, key, found)


def _items(rest: Iterator[_Token], path: SettingPath, found: dict[SettingPath, int]) -> None:
    number = 0
    for token in rest:
        if token[1] == "]":
            return
        if token[1] == ",":
            continue
        found[(*path, number)] = token[2]
        _after(token, rest, (*path, number), found)
        number += 1


def _key(kind: str, token: str) -> str:
    if kind != "string":
        return token
    if "\\" not in token:
        return token[1:-1]
    import json5

    return str(json5.loads(token))
