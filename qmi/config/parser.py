"""Parses the text of a configuration file: JSON5 with ``#`` comments; errors give line and column."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from qmi.config.structure import path_text, report
from qmi.config.validators import printable

# What may hide a '#' comes first: strings, and comments of the other two kinds (where an apostrophe begins no string).
_COMMENT = re.compile(
    r"""
    "(?:\\.|[^"\\\n])*"? | '(?:\\.|[^'\\\n])*'? | //[^\n]* | /\*.*?\*/ | (?P<hash>\#[^\n\r]*)
    """,
    re.VERBOSE | re.DOTALL,
)
# JSON5 lets a backslash before any other character pass as nothing: "C:\\Users" would become "C:Users".
_ESCAPE = r"""\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|0(?![0-9])|\r\n|[\n\r\u2028\u2029'"\\/bfnrtv])"""
_KNOWN_ESCAPES = re.compile(_ESCAPE)
# What JSON5 takes for a blank; \s would take four control characters more, which the parser refuses.
_BLANK = r"[\t\n\v\f\r\x20\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]"
_TOKEN = re.compile(
    rf"""
    (?P<skip>(?:{_BLANK}|//[^\n\r]*|/\*.*?\*/)+)
    | (?P<string>"(?:{_ESCAPE}|[^"\\\n\r])*"|'(?:{_ESCAPE}|[^'\\\n\r])*')
    | (?P<escape>"(?:\\.|[^"\\\n\r])*"|'(?:\\.|[^'\\\n\r])*')
    | (?P<unfinished>["'][^\n]*|/\*.*)
    | (?P<number>[-+]?
        (?:0[xX][0-9a-fA-F]+ | Infinity | NaN | (?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
        (?![\w.$]))
    | (?P<word>[-+]?[\w$.][-+\w$.]*)
    | (?P<mark>[][{{}}:,])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_VALUE_WORDS = ("true", "false", "null")
_KEY = re.compile(r"[^\W\d]|[$]")

# What may come next, in words. The keys are the states of the reader in `_first_misfit`.
_EXPECTED = {
    "value": "a value",
    "first item": "a value or ']'",
    "after item": "',' or ']'",
    "item": "a value or ']'",
    "first key": "a key or '}'",
    "key": "a key or '}'",
    "colon": "':'",
    "after value": "',' or '}'",
    "end": "the end of the file",
}


class _Misfit(NamedTuple):
    position: int
    found: str
    expected: str


class _Repeated(dict[str, object]):
    """An object of the file in which keys occur more than once; it lasts only until it has been reported."""

    keys_repeated: tuple[str, ...] = ()


def parse(text: str, source: str) -> object:
    """Read the text of a configuration file into plain values.

    Args:
        text: The whole text.
        source: What to call it in messages: the name of the file.

    Raises:
        QMI_ConfigurationException: If the text is not JSON5 with comments, or a key occurs twice in one object.
    """
    plain = strip_comments(text)
    try:
        values = _values(plain)
        if unknown := list(_unknown_escapes(plain)) if "\\" in plain else []:
            raise report(source, unknown)
        faults = list(_repeated_keys(values, ()))
        if not faults:
            return _joined(values)
    except RecursionError:
        faults = ["objects and lists are nested too deeply to be read"]
    except ValueError as error:
        faults = [_explain(plain, str(error))]
    raise report(source, faults)


def strip_comments(text: str) -> str:
    """Replace ``#`` comments by blanks, so that everything else stays on its line and column."""
    return _COMMENT.sub(lambda match: " " * len(match[0]) if match["hash"] else match[0], text)


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """The kind and text of each piece of a configuration file, blanks and comments ("skip") among them."""
    for match in _TOKEN.finditer(strip_comments(text)):
        yield match.lastgroup or "other", match[0]


def _values(text: str) -> object:
    # Many files are JSON but for their comments. The reader of JSON5 takes 20 ms for ten contexts, that of JSON 0.1.
    try:
        return json.loads(text, object_pairs_hook=_object)
    except ValueError:
        import json5

        return json5.loads(text, object_pairs_hook=_object)


def _object(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    values: dict[str, object] = {}
    repeated: dict[str, None] = {}
    for key, value in pairs:
        if key in values:
            repeated[key] = None
        values[key] = value
    if not repeated:
        return values
    marked = _Repeated(values)
    marked.keys_repeated = tuple(repeated)
    return marked


def _repeated_keys(value: object, path: tuple[object, ...]) -> Iterable[str]:
    if isinstance(value, _Repeated):
        for key in value.keys_repeated:
            yield f"{path_text((*path, key))}: the key occurs more than once, expected it once"
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _repeated_keys(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated_keys(item, (*path, index))


def _joined(value: object) -> object:
    r"""JSON writes rare characters as two escapes, ``\\ud83d\\ude00``, which the parser leaves apart."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    if isinstance(value, dict):
        return {_joined(key): _joined(item) for key, item in value.items()}
    return [_joined(item) for item in value] if isinstance(value, list) else value


def _unknown_escape(start: int, token: str) -> _Misfit:
    position = 1
    while (known := _KNOWN_ESCAPES.match(token, position)) or token[position] != "\\":
        position = known.end() if known else position + 1
    found = f"the unknown escape {printable(token[position : position + 2])} in {_short(token)}"
    return _Misfit(start + position, found, "a known escape such as \\n or \\u00b5 (in a file name, write / or \\\\)")


def _unknown_escapes(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "escape":
            yield _placed(text, _unknown_escape(match.start(), match[0]))


def _placed(text: str, misfit: _Misfit) -> str:
    before = text[: misfit.position]
    line = before.count("\n") + 1
    column = misfit.position - (before.rfind("\n") + 1) + 1
    return f"line {line}, column {column}: expected {misfit.expected}, found {misfit.found}"


def _explain(text: str, reason: str) -> str:
    """The parser knows where it gave up, not what would have fitted: look for that with the table of states."""
    misfit = _first_misfit(text)
    if misfit is None:
        return f"expected JSON5 that can be read, found: {printable(reason.removeprefix('<string>:'))}"
    return _placed(text, misfit)


def _first_misfit(text: str) -> _Misfit | None:
    state, stack, end = "value", "", 0
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup, match[0]
        if kind == "skip":
            continue
        if kind == "unfinished":
            what = "a comment" if token.startswith("/*") else "a text"
            closing = "'*/'" if token.startswith("/*") else token[0]
            return _Misfit(match.start(), f"{what} without its end: {_short(token)}", f"a closing {closing}")
        if kind == "escape":
            return _unknown_escape(match.start(), token)
        following = _next_state(state, stack, kind or "", token)
        if following is None:
            return _Misfit(match.start(), _short(token), _EXPECTED[state])
        (state, stack), end = following, match.end()
    return None if state == "end" else _Misfit(end, "the end of the file", _EXPECTED[state])


def _next_state(state: str, stack: str, kind: str, token: str) -> tuple[str, str] | None:
    """The state and the open brackets after a token; None if the token does not fit."""
    inside = stack[-1:]
    if token in ("}", "]") and kind == "mark":
        opening, closable = (
            ("{", ("first key", "key", "after value")) if token == "}" else ("[", ("first item", "item", "after item"))
        )
        return _after(stack[:-1]) if inside == opening and state in closable else None
    if state in ("first key", "key"):
        fits = kind == "string" or (kind in ("word", "number") and _KEY.match(token))
        return ("colon", stack) if fits else None
    if state in ("value", "first item", "item"):
        if token == "{":
            return "first key", stack + "{"
        if token == "[":
            return "first item", stack + "["
        fits = kind in ("string", "number") or token in _VALUE_WORDS
        return _after(stack) if fits else None
    following = {("colon", ":"): "value", ("after value", ","): "key", ("after item", ","): "item"}.get((state, token))
    return (following, stack) if following else None


def _after(stack: str) -> tuple[str, str]:
    """The state after a complete value, which depends on what it stands in."""
    return {"": "end", "{": "after value", "[": "after item"}[stack[-1:]], stack


def _short(token: str) -> str:
    shown = printable(token if len(token) <= 30 else token[:30] + "...")
    return f'"{shown}"' if '"' not in shown else shown
