"""Which values a setting may have: each rule is one test and the words for what would pass it."""

from __future__ import annotations

import ipaddress
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Annotated, TypeAlias

from msgspec import Struct

from qmi.errors import QMI_InvalidValueException
from qmi.names import (
    MAX_NAME_LENGTH,
    is_loopback,
    is_valid_name,
    parse_host_port,
    parse_server_url,
    split_member,
)

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# The standard library knows these names too, so configuration files that work elsewhere may contain them.
_LOG_LEVEL_SYNONYMS = ("WARN", "FATAL", "NOTSET")
_LONGEST_SHOWN = 60


class Rule(Struct, frozen=True):
    """What a setting may be.

    Attributes:
        expected: The words that complete "expected ...".
        accepts: Whether a value as read from the file is fine.
        convert: Makes the stored value from an accepted one.
        hint: Adds to "expected ..." what helps with a refused value.
    """

    expected: str
    accepts: Callable[[object], bool]
    convert: Callable[..., object] = lambda value: value
    hint: Callable[[object], str] = lambda value: ""

    def apply(self, value: object) -> object:
        """Return the value as it is stored.

        Raises:
            ValueError: If the value breaks the rule; the message says what was expected and found.
        """
        if not self.accepts(value):
            raise ValueError(f"expected {self.expected}{self.hint(value)}, found {show(value)}")
        return self.convert(value)


def show(value: object) -> str:
    """Return a value as the author of a configuration file knows it, shortened where it is long."""
    if isinstance(value, Mapping):
        return "an object {...}"
    if isinstance(value, list | tuple):
        return "a list [...]"
    import json  # only messages need it, and trio does without

    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):  # a value that no file can contain, from a program; or 5,000 digits
        return f"something of type {type(value).__name__}"
    return printable(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "...")


def printable(text: str) -> str:
    """Return a text with what a terminal would obey, or cannot encode, written as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines: newlines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def _is_text(value: object) -> bool:
    """Refuses what no file name, argument or log line could carry, too."""
    return isinstance(value, str) and "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)


def _is_file_name(value: object) -> bool:
    """Refuses control characters, which a backslash in a Windows path makes of the letter behind it."""
    return isinstance(value, str) and _is_text(value) and not _has_control(value)


def _has_control(text: str) -> bool:
    return any(unicodedata.category(char) == "Cc" for char in text)


def _about_control(value: object) -> str:
    found = isinstance(value, str) and _has_control(value)
    return " without control characters (for a backslash, write / or \\\\)" if found else ""


def _is_word(value: object) -> bool:
    return isinstance(value, str) and _is_file_name(value) and value != "" and not any(char.isspace() for char in value)


def _whole(low: int, high: int) -> Callable[[object], bool]:
    """Type ``bool`` is a kind of ``int`` in Python, but ``true`` is no number in a file."""
    return lambda value: type(value) is int and low <= value <= high


def _is_positive(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < 1e12 and math.isfinite(value)  # type: ignore[operator, arg-type]


def _is_not_negative(value: object) -> bool:
    return (type(value) in (int, float) and value == 0) or _is_positive(value)


def _is_ipv4(value: object) -> bool:
    try:
        ipaddress.IPv4Address(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _is_host_port(value: object) -> bool:
    return isinstance(value, str) and host_of(value) is not None and _is_word(value)


def host_of(address: str) -> str | None:
    """The host of an address ``"host:port"``; None if it is no address."""
    try:
        return parse_host_port(address).host
    except QMI_InvalidValueException:
        return None


def is_open_to_others(address: str) -> bool:
    """Whether programs of other computers can connect to an address ``"host:port"``."""
    host = host_of(address)
    return host is not None and not is_loopback(host)


def _about_class(value: object) -> str:
    if not isinstance(value, str):
        return ""
    module, _, name = value.rpartition(".")
    guess = f"{module}:{name}"
    return f", such as {guess!r}" if _CLASS_PATH.match(guess) else ""


def _about_server(value: object) -> str:
    if not isinstance(value, str):
        return ""
    if value.startswith("tls://"):
        return " (connections are protected if there is a section security)"
    guess = f"nats://{value}"
    return f", such as {guess!r}" if "://" not in value and parse_server_url(guess) is not None else ""


_CLASS_PATH = re.compile(r"(?!\d)\w+(?:\.(?!\d)\w+)*:(?!\d)\w+(?:\.(?!\d)\w+)*\Z")
HOSTED = "hosted:"
"""What the path of a driver begins with that belongs to another library."""
_LOG_FILE_NAME = re.compile(r"(?:[^%]|%%|%\((?:context|date|datetime)\)s)+\Z")
_BIGGEST = 2**63 - 1
_NAME_RULE = Rule(f"a name of 1 to {MAX_NAME_LENGTH} letters, digits, '-', '_', '(' or ')'", is_valid_name)
_LEVEL_RULE = Rule("a log level (" + ", ".join(LOG_LEVELS) + ")", lambda v: v in LOG_LEVELS + _LOG_LEVEL_SYNONYMS)

Flag: TypeAlias = Annotated[bool, Rule("true or false", lambda value: isinstance(value, bool))]
Text: TypeAlias = Annotated[str, Rule("a text", _is_text)]
FileName: TypeAlias = Annotated[
    str, Rule("the name of a file or directory", lambda v: _is_file_name(v) and v != "", hint=_about_control)
]
Path: TypeAlias = Annotated[str, Rule("a text", _is_file_name, hint=_about_control)]
"""Directories, separated as in ``$PATH``."""
LogFileName: TypeAlias = Annotated[
    str,
    Rule(
        "a file name with no '%' but in %(context)s, %(date)s, %(datetime)s and %%",
        lambda v: isinstance(v, str) and _is_file_name(v) and _LOG_FILE_NAME.match(v) is not None,
        hint=_about_control,
    ),
]
Host: TypeAlias = Annotated[str, Rule("a host name or address without spaces", _is_word, hint=_about_control)]
HostAndPort: TypeAlias = Annotated[
    str, Rule("an address 'host:port' such as '127.0.0.1:8642'", _is_host_port, hint=_about_control)
]
Module: TypeAlias = Annotated[
    str,
    Rule(
        "the name of a module such as 'package.program'",
        lambda v: isinstance(v, str) and all(part.isidentifier() for part in v.split(".")),
    ),
]
ClassPath: TypeAlias = Annotated[
    str,
    Rule(
        "a class as 'package.module:Class'",
        lambda v: isinstance(v, str) and _CLASS_PATH.match(v) is not None,
        hint=lambda v: _about_class(v),
    ),
]
DriverPath: TypeAlias = Annotated[
    str,
    Rule(
        "a class as 'package.module:Class'",
        lambda v: isinstance(v, str) and _CLASS_PATH.match(v.removeprefix(HOSTED)) is not None,
        hint=lambda v: _about_class(v),
    ),
]
Anything: TypeAlias = Annotated[object, Rule("a value", lambda value: True)]
"""An argument of a user's class: what it may be, the class knows."""
SignalName: TypeAlias = Annotated[
    str,
    Rule(
        "a signal as 'context.object.signal' or 'object.signal'",
        lambda v: isinstance(v, str) and len(v.split(".")) in (2, 3) and all(map(is_valid_name, v.split("."))),
    ),
]
MemberName: TypeAlias = Annotated[
    str,
    Rule(
        "a signal or parameter as 'context.object.name' or 'object.name', such as 'psu.outputs[1].voltage'",
        lambda value: split_member(value) is not None,
    ),
]
Name: TypeAlias = Annotated[str, _NAME_RULE]
LogLevel: TypeAlias = Annotated[str, _LEVEL_RULE]
IPv4: TypeAlias = Annotated[str, Rule("an IPv4 address such as '192.168.1.255'", _is_ipv4)]
ServerUrl: TypeAlias = Annotated[
    str,
    Rule(
        "the address of a server as 'nats://host' or 'nats://host:port'",
        lambda value: parse_server_url(value) is not None,
        hint=lambda value: _about_server(value),
    ),
]
Port: TypeAlias = Annotated[int, Rule("a port number from 0 to 65535", _whole(0, 65535))]
FixedPort: TypeAlias = Annotated[int, Rule("a port number from 1 to 65535", _whole(1, 65535))]
Count: TypeAlias = Annotated[int, Rule("a whole number from 1", _whole(1, _BIGGEST))]
Size: TypeAlias = Annotated[int, Rule("a whole number from 131072 (128 KiB)", _whole(131072, _BIGGEST))]
Depth: TypeAlias = Annotated[int, Rule("a whole number from 8 to 200", _whole(8, 200))]
CountOrZero: TypeAlias = Annotated[int, Rule("a whole number from 0", _whole(0, _BIGGEST))]
Positive: TypeAlias = Annotated[float, Rule("a number above 0", _is_positive, float)]
PositiveOrZero: TypeAlias = Annotated[float, Rule("a number from 0", _is_not_negative, float)]
