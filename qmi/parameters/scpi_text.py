"""Which text of a device stands for which value, both ways, and which commands carry it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

# What SCPI devices send in place of a value: no number, and one that is too large.
NOT_A_NUMBER = 9.91e37
INFINITY = 9.9e37
# Devices that calculate in single precision do not hit these numbers exactly.
_PRECISION = 1e-6
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:\s*[eE]\s*[+-]?\d+)?", re.ASCII)
_NAMED_NUMBERS = {
    "INF": math.inf, "+INF": math.inf, "INFINITY": math.inf, "+INFINITY": math.inf, "NAN": math.nan,
    "-INF": -math.inf, "NINF": -math.inf, "-INFINITY": -math.inf, "NINFINITY": -math.inf,
}  # fmt: skip
_WITH_BASE = re.compile(r"#(?:[hH]([0-9a-fA-F]+)|[qQ]([0-7]+)|[bB]([01]+))")
_FLAGS = {"ON": True, "OFF": False}
_MOST_NAMED = 12


@dataclass(frozen=True)
class ScpiText:
    """How the values of a parameter are written for its device and read from it.

    Attributes:
        write: Makes a value into text; ``ValueError`` if there is none for it.
        read: Makes text into a value; ``ValueError`` if it is none.
        expected: What an answer should be, for messages: ``"a number"``.
    """

    write: Callable[[Any], str]
    read: Callable[[str], Any]
    expected: str


def scpi_text(
    kind: object,
    *,
    values: Mapping[Any, object] | None = None,
    scale: float | None = None,
    format: str | Callable[[Any], str] | None = None,  # noqa: A002
    parse: Callable[[str], Any] | None = None,
) -> ScpiText:
    """The rules for a type of values.

    Args:
        kind: float, int, bool, str, or a class of Enum.
        values: The text of the device for each value.
        scale: What a number of the device is multiplied by to be in the declared unit.
        format: How a value is written, as a specification such as ``".3f"`` or a function.
        parse: How an answer is read; its ``ValueError`` says that it cannot be.

    Raises:
        ValueError: If no such texts can be, such as equal ones for two values.
    """
    if values is not None:
        rules = _of_table([(value, plain_text(text)) for value, text in values.items()])
    elif kind is float:
        rules = ScpiText(write_number, read_number, "a number")
    elif kind is int:
        rules = ScpiText(_write_integer, _read_integer, "a whole number")
    elif kind is bool:
        rules = ScpiText(lambda value: "1" if value else "0", _read_flag, "0, 1, ON or OFF")
    elif kind is str:
        rules = ScpiText(_write_words, _read_words, "a text")
    elif isinstance(kind, type) and issubclass(kind, Enum):
        rules = _of_table([(member, plain_text(member.value)) for member in kind])
    else:
        raise ValueError(f"type must be float, int, bool, str, an Enum or a Block, got {kind!r}")
    if scale is not None and values is None:
        rules = _scaled(rules, float(scale), kind)
    write = rules.write if format is None else _writer(format, scale, kind)
    if parse is None:
        return ScpiText(write, rules.read, rules.expected)
    return ScpiText(write, parse, f"what {getattr(parse, '__name__', 'its parse function')}() takes")


def _writer(spec: str | Callable[[Any], str], scale: float | None, kind: object) -> Callable[[Any], str]:
    function = spec if callable(spec) else None
    if function is None and isinstance(kind, type) and kind in (float, int, bool, str):
        try:
            format(kind(), str(spec))
        except ValueError as error:
            raise ValueError(f"format={spec!r} is no specification for a {kind.__name__}: {error}") from None

    def write(value: Any) -> str:
        scaled = value if scale is None else _rounded(value / scale)
        return str(function(scaled)) if function is not None else format(scaled, str(spec))

    return write


# -- numbers


def write_number(value: float) -> str:
    """A number as devices understand it, in up to 15 digits; infinity and NaN as SCPI has them."""
    if math.isnan(value):
        return "9.91E37"
    if math.isinf(value):
        return "9.9E37" if value > 0 else "-9.9E37"
    return f"{value + 0.0:.15G}"  # -0.0 + 0.0 is 0.0


def read_number(text: str) -> float:
    """The number of an answer: infinite if it is out of range, NaN if there is none.

    Raises:
        ValueError: If it is no number.
    """
    text = text.strip()
    named = _NAMED_NUMBERS.get(text.upper())
    if named is not None:
        return named
    if based := _WITH_BASE.fullmatch(text):
        return float(_with_base(based))
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is no number")
    value = float("".join(text.split()))
    if math.isclose(value, NOT_A_NUMBER, rel_tol=_PRECISION):
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= INFINITY * (1 - _PRECISION) else value


def _with_base(found: re.Match[str]) -> int:
    hexadecimal, octal, binary = found.groups()
    return int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(binary, 2)


def _write_integer(value: int) -> str:
    return str(int(value))


def _read_integer(text: str) -> int:
    text = text.strip()
    if re.fullmatch(r"[+-]?[0-9]+", text):
        return int(text)  # any number of digits: serial numbers, counters
    if based := _WITH_BASE.fullmatch(text):
        return _with_base(based)
    return _whole(read_number(text), text)


def _whole(value: float, text: str) -> int:
    if not math.isfinite(value) or value != round(value):
        raise ValueError(f"{text!r} is no whole number")
    return round(value)


def _read_flag(text: str) -> bool:
    flag = _FLAGS.get(text.strip().upper())
    if flag is not None:
        return flag
    value = read_number(text)
    if value not in (0, 1):
        raise ValueError(f"{text!r} is neither 0, 1, ON nor OFF")
    return value == 1


def _rounded(value: float) -> float:
    """Without the last digits, in which a multiplication leaves its noise: 3 * 0.1 is 0.3."""
    return float(f"{value:.15G}") if math.isfinite(value) else value


def _scaled(rules: ScpiText, scale: float, kind: object) -> ScpiText:
    def read(text: str) -> float:
        value = _rounded(read_number(text) * scale)
        return _whole(value, text) if kind is int else value

    return ScpiText(lambda value: write_number(_rounded(value / scale)), read, rules.expected)


# -- words


def unquoted(text: str) -> str:
    """An answer without the quotes around it; a doubled quote within them is one."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        inner = text[1:-1]
        if text[0] not in inner.replace(text[0] * 2, ""):
            return inner.replace(text[0] * 2, text[0])
    return text


def _read_words(text: str) -> str:
    words = unquoted(text)
    if not words.replace("\t", " ").isprintable():
        raise ValueError(f"{text!r} is no text")
    return words


def _write_words(value: str) -> str:
    _check_words(value)
    return value


def _check_words(text: str) -> None:
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"must be printable ASCII to be sent to the device, got {text!r}")


def plain_text(text: object) -> str:
    """The text for a value of an Enum, or of a table, as a device has it.

    Raises:
        ValueError: If it is neither text nor a number.
    """
    if isinstance(text, bool):
        return "1" if text else "0"
    if isinstance(text, int):
        return str(text)
    if isinstance(text, float):
        return write_number(text)
    if not isinstance(text, str):
        raise ValueError(f"the text of a device must be text or a number, got {text!r}")
    return _write_words(text)


def _of_table(rows: list[tuple[Any, str]]) -> ScpiText:
    """Rules for values with a text each."""
    if not rows:
        raise ValueError("values must not be empty")
    table = _Table(rows)
    shown = [text for _, text in rows[:_MOST_NAMED]] + ["..."] * (len(rows) > _MOST_NAMED)
    return ScpiText(table.write, table.read, f"one of {', '.join(shown)}")


class _Table:
    """Values with a text each; an answer may differ from it in case, have quotes, or be a number in another form.

    A text such as ``SINusoid``, whose capitals come first, is also read in its short form ``SIN``, as SCPI has it.
    """

    def __init__(self, rows: list[tuple[Any, str]]) -> None:
        self._texts = {_hashable(value): text for value, text in rows}
        self._exact: dict[str, object] = {}
        self._others: dict[str, object] = {}
        ambiguous: set[str] = set()
        for value, text in rows:
            if text in self._exact:
                raise ValueError(f"{self._exact[text]!r} and {value!r} have the same text {text!r}")
            self._exact[text] = value
            forms = _other_forms(text)
            ambiguous |= forms & self._others.keys()
            self._others |= dict.fromkeys(forms, value)
        for form in ambiguous:
            del self._others[form]

    def read(self, answer: str) -> object:
        for form in (answer.strip(), unquoted(answer)):
            if form in self._exact:
                return self._exact[form]
        key = _number_key(form) or form.upper()
        if key not in self._others:
            raise ValueError(f"{answer!r} is none of the texts")
        return self._others[key]

    def write(self, value: object) -> str:
        text = self._texts.get(_hashable(value))
        if text is None:
            raise ValueError(f"has no text for {value!r}")
        return text


def _hashable(value: object) -> object:
    """A key for a value: True is not 1 here, and a float as it is when its noise is left away."""
    if isinstance(value, float):
        value = _rounded(value)
    return (type(value) is bool, value)


def _number_key(text: str) -> str | None:
    """What numbers that are equal have in common; None if it is none."""
    return f"{float(text) + 0.0:.12G}" if _NUMBER.fullmatch(text) and " " not in text else None


def _other_forms(text: str) -> set[str]:
    """The forms of a text in which a device may answer, in capitals; of a number, the number."""
    plain = unquoted(text)
    number = _number_key(plain)
    if number is not None:
        return {number}
    short = re.sub(r"(?<=[A-Z0-9])[a-z]+", "", plain)
    return {plain.upper()} | ({short} if re.fullmatch(r"[A-Z0-9:]{2,}", short) and short != plain else set())


# -- commands


@dataclass(frozen=True)
class ScpiCommands:
    """What is sent for a parameter: ``{n}`` is the number of the channel, ``{value}`` the text of the value.

    Attributes:
        ask: The question; None if it cannot be asked.
        write: The command that sets it; None if it cannot be set.
    """

    ask: str | None
    write: str | None

    def question(self, number: int | None = None) -> str:
        """The question, for a channel if it has one."""
        return _numbered(self.ask or "", number)

    def template(self, number: int | None = None) -> str:
        """The command that sets it, with ``{value}`` where the value belongs."""
        return _numbered(self.write or "", number)

    def command(self, text: str, number: int | None = None) -> str:
        """The command that sets the value with this text.

        Raises:
            ValueError: If the text would be more than one value: it has a ``;`` and the command no quotes around it.
        """
        before, _, after = self.template(number).partition("{value}")
        quote = before[-1:] if before[-1:] in ("'", '"') and after[:1] == before[-1:] else ""
        _check_words(text)
        if quote:
            text = text.replace(quote, quote * 2)
        elif not text.strip():
            raise ValueError("must not be empty, since the command would have no value")
        elif ";" in _outside_quotes(text):
            raise ValueError(
                f"must have no ';', which would begin another command, got {text!r}; to send it as text, declare the "
                f"""parameter with quotes: write='{before.strip()} "{{value}}"'"""
            )
        return before + text + after


def scpi_commands(ask: str | None, write: str | None) -> ScpiCommands:
    """The question and the command of a parameter.

    Args:
        ask: The question, if it can be asked.
        write: The command, if it can be set; ``{value}`` stands for the value.

    Raises:
        ValueError: If they cannot be sent.
    """
    for name, text in (("ask", ask), ("write", write)):
        if text is not None:
            _check_template(name, text)
    if ask is not None and "{value}" in ask:
        raise ValueError(f"ask must have no {{value}}, got {ask!r}")
    if write is not None and write.count("{value}") != 1:
        raise ValueError(f"write must have {{value}} once, where the value belongs, got {write!r}")
    return ScpiCommands(ask, write)


def _check_template(name: str, text: str) -> None:
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{name} must be printable ASCII, without a terminator, got {text!r}")
    rest = text.replace("{value}", "").replace("{n}", "")
    if "{" in rest or "}" in rest:
        raise ValueError(f"{name} may have {{value}} and {{n}}, and no other braces, got {text!r}")


def _numbered(template: str, number: int | None) -> str:
    return template if number is None else template.replace("{n}", str(number))


def _outside_quotes(text: str) -> str:
    return re.sub(r"\"[^\"]*\"|'[^']*'", "", text)


__all__ = ["ScpiCommands", "ScpiText", "scpi_commands", "scpi_text"]
