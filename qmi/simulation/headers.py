"""Which command a text is: headers in short and long form, with the numbers in them, and what stands behind them."""

from __future__ import annotations

import re
from typing import NamedTuple

from qmi.simulation.framing import stripped

_MOST_DIGITS = 9
_NUMBER = "{n}"
_VALUE = re.compile(r"\{value(?:![rsa])?(?::[^}]*)?\}")
_HOLE = re.compile(rf"({re.escape(_NUMBER)}|{_VALUE.pattern})")
_SHORT_LENGTH = 4
_VOWELS = frozenset("AEIOU")


class Unit(NamedTuple):
    """One command of a message.

    Attributes:
        header: What stands before the first blank, such as ``SOUR1:VOLT?``.
        rest: What stands behind it, without blanks around it.
    """

    header: str
    rest: str

    @property
    def text(self) -> str:
        """The whole command, with one blank in it."""
        return f"{self.header} {self.rest}" if self.rest else self.header


def unit_of(text: str) -> Unit:
    """A command, taken apart."""
    header, _, rest = _stripped(text).partition(" ")
    return Unit(header, _stripped(rest))


def _stripped(text: str) -> str:
    return stripped(text.encode("latin-1")).decode("latin-1")


def short_form(word: str) -> str:
    """The short form of a keyword by the rule of SCPI: ``VOLTAGE`` is ``VOLT``, ``RESISTANCE`` is ``RES``.

    A word that shows its short form by capitals, ``VOLTage``, says it itself.
    """
    if not word.isupper() and not word.islower() and word[:1].isupper():
        capitals = "".join(letter for letter in word if not letter.islower())
        if word.startswith(capitals):
            return capitals
    word = word.upper()
    if len(word) <= _SHORT_LENGTH:
        return word
    return word[:3] if word[3] in _VOWELS else word[:4]


def split_number(word: str) -> tuple[str, int]:
    """A keyword without the number behind it, which is 1 if there is none."""
    name = word.rstrip("0123456789")
    digits = word[len(name) :]
    return (name, int(digits or 1)) if len(digits) <= _MOST_DIGITS else (word, 1)


def same_keyword(declared: str, sent: str) -> bool:
    """Whether a keyword that was sent is the declared one: in short or long form, upper or lower case.

    ``SOUR`` and ``SOURCE1`` are the same, since 1 is the number where none stands.
    """
    if declared.upper() == sent.upper():
        return True
    (name, number), (other, sent_number) = split_number(declared), split_number(sent)
    return number == sent_number and same_word(name, other)


def same_word(declared: str, sent: str) -> bool:
    """The same for keywords without numbers."""
    if declared.upper() == sent.upper():
        return True
    short, sent_short = short_form(declared), short_form(sent.upper())
    if sent.upper() == short:
        return True
    # Where only the short form is declared, any word that is abbreviated so may be its long form.
    return declared.upper() == short and sent_short == short


def keywords(header: str) -> tuple[str, ...]:
    """The keywords of a header, without the colon in front and the question mark behind."""
    return tuple(header.removeprefix(":").removesuffix("?").split(":"))


class Match(NamedTuple):
    """What a command says beyond which one it is.

    Attributes:
        value: What stands in place of ``{value}``, or behind the header if the pattern has none.
        number: What stands in place of ``{n}``; None where the pattern has none.
    """

    value: str
    number: int | None = None


class Pattern:
    """The command of a declaration, such as ``SOUR{n}:VOLT {value}``, that commands are compared with.

    Args:
        text: The command as it was declared.
        number: The number of the channel, which takes the place of ``{n}``; None leaves it open.
    """

    def __init__(self, text: str, number: int | None = None) -> None:
        self.text: str = text.strip() if number is None else text.strip().replace("{n}", str(number))
        header, _, rest = self.text.partition(" ")
        self.takes_anything: bool = not rest and "{" not in header.replace("{n}", "")
        # Some devices have no blank between the command and its value.
        self._is_whole = bool(_VALUE.search(header))
        self._asks = header.endswith("?")
        self._words = keywords(header)
        self._quote = "".join(quote for quote in "\"'" if f"{quote}{{value}}{quote}" in self.text)
        self._rest = _regex(self.text if self._is_whole else rest.strip())

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def match(self, path: tuple[str, ...], unit: Unit) -> Match | None:
        """Compare a command.

        Args:
            path: The keywords that stand before those of its header, from the command before in the same message.
            unit: The command.

        Returns:
            What it says; None if it is another command.
        """
        number: int | None = None
        if self._is_whole:
            found = self._rest.fullmatch(unit.text)
        else:
            is_this, number = self._match_header((*path, *keywords(unit.header)), unit.header.endswith("?"))
            if not is_this:
                return None
            if self.takes_anything:
                return Match(unit.rest, number)
            found = self._rest.fullmatch(unit.rest)
        if found is None:
            return None
        groups = found.groupdict()
        value = _stripped(groups.get("value") or "")
        if self._quote:
            value = value.replace(self._quote * 2, self._quote)
        return Match(value, int(groups["n"]) if groups.get("n") else number)

    def _match_header(self, sent: tuple[str, ...], asks: bool) -> tuple[bool, int | None]:
        if asks != self._asks or len(sent) != len(self._words):
            return False, None
        number: int | None = None
        for word, other in zip(self._words, sent, strict=True):
            if word.endswith(_NUMBER):
                name, number = split_number(other)
                if not same_word(word.removesuffix(_NUMBER), name):
                    return False, None
            elif not same_keyword(word, other):
                return False, None
        return True, number

    def may_be(self, path: tuple[str, ...], unit: Unit) -> bool:
        """Whether a command is this one, as far as its header tells."""
        return self._is_whole or self.has_header(path, unit)

    def has_header(self, path: tuple[str, ...], unit: Unit) -> bool:
        """Whether a command has this header, so that what stands behind it is wrong if it is not this command."""
        sent = (*path, *keywords(unit.header))
        return not self._is_whole and self._match_header(sent, unit.header.endswith("?"))[0]

    def is_written_so(self, unit: Unit) -> bool:
        """Whether a command has this very header, and no other form of its keywords."""
        sent = keywords(unit.header.upper())
        if self._is_whole or len(sent) != len(self._words):
            return False
        # Where the number of a channel belongs, there is one.
        declared = [word.removesuffix(_NUMBER).upper() for word in self._words]
        return all(
            word == (split_number(other)[0] if here.endswith(_NUMBER) else other)
            for word, here, other in zip(declared, self._words, sent, strict=True)
        )

    def differs_in_number(self, path: tuple[str, ...], unit: Unit) -> bool:
        """Whether a command is this one but for a number in its header, as of a channel that is not there."""
        sent = (*path, *keywords(unit.header))
        if self._is_whole or self._asks != unit.header.endswith("?") or len(sent) != len(self._words):
            return False
        return all(
            same_word(split_number(word)[0], split_number(other)[0])
            for word, other in zip(self._words, sent, strict=True)
        )


def _regex(template: str) -> re.Pattern[str]:
    """What a text must look like to be made from a template with at most one ``{value}`` in it."""
    pattern, is_first = "", True
    for part in _HOLE.split(template):
        if part == _NUMBER:
            pattern += r"(?P<n>[0-9]{1,9})" if is_first else r"[0-9]{1,9}"
            is_first = False
        elif _VALUE.fullmatch(part):
            pattern += "(?P<value>.*)" if "(?P<value>" not in pattern else "(?P=value)"
        else:
            pattern += _blanks(part)
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def _blanks(text: str) -> str:
    """The text as an expression that takes any blanks around commas."""
    parts = [re.escape(part.strip()) for part in text.split(",")]
    return r"\s*,\s*".join(parts)
