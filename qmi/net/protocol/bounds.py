"""The bounds of every field that another program sends: one table, in which both sides of a link look.

The receiver checks each field when it is read, before anything else is done with it: what is out of bounds ends that
link alone. The sender checks its own fields with the same table, so that nothing leaves which the other side would have
to refuse. Values of users (arguments, results) have no bounds here; those of their encoding are the codec's.

No message shows more of a value than is safe: not the digits of a huge integer (which Python refuses to write out), not
the text of a token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from qmi.config.validators import printable
from qmi.messages import (
    Acquire,
    Call,
    Describe,
    ForceRelease,
    QueryLock,
    QueryStatistics,
    Release,
    Signal,
    Subscribe,
    Token,
    Unsubscribe,
)
from qmi.names import is_valid_name
from qmi.net.protocol.kinds import Kind
from qmi.records import NamedTuple

MAX_INT = (1 << 63) - 1
MAX_NAME = 255
MAX_TOKEN = 4096
MAX_CHAIN = 1024
MAX_CREDIT = 1 << 20
EARLIEST = -62_135_596_800.0
LATEST = 253_402_300_799.0
"""The first second of year 1 and the last one of year 9999: what ``datetime`` can show."""
_LONGEST_ERROR = 300


class OutOfBounds(ValueError):
    """A value is not what its field allows; the text says what was expected and what was found."""


def describe_value(value: object) -> str:
    """Return what a value is, in a few words that are always safe to write; never the text of a string."""
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return repr(value)
    if kind is int:
        size = int.bit_length(value)  # type: ignore[arg-type]
        return repr(value) if size <= 64 else f"an integer of {size} bits"
    if kind in (str, bytes, bytearray, list, tuple, dict, set, frozenset):
        return f"{kind.__name__} of length {len(value)}"  # type: ignore[arg-type]
    return f"a value of type {kind.__name__[:MAX_NAME]}"


def describe_error(error: BaseException) -> str:
    """Return the type and the text of an exception, short and safe to write; that of its cause if it is a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    name = type(error).__name__
    try:
        text = printable(str(error)[:_LONGEST_ERROR])
    except Exception:  # noqa: BLE001 - the text of an exception is made by code that may fail as well
        text = ""
    return f"{name}: {text}" if text else name


class Bound(Protocol):
    """What a field may hold.

    Attributes:
        expected: The words that complete "expected ...".
    """

    @property
    def expected(self) -> str:
        """The words that complete "expected ..."."""

    def accepts(self, value: object) -> bool:
        """Whether a value as it was decoded is within bounds. Never raises."""

    def convert(self, value: object) -> object:
        """Return what the program works with, made of an accepted value."""

    def to_wire(self, value: object) -> object:
        """Return what is encoded, made of what the program works with."""


class _Same(Struct):
    """A bound whose values are used as they are decoded."""

    def convert(self, value: object) -> object:
        """Return the value."""
        return value

    def to_wire(self, value: object) -> object:
        """Return the value."""
        return value


class Whole(_Same):
    """An integer in a range; True is none."""

    low: int
    high: int

    @property
    def expected(self) -> str:
        """The words that complete "expected ..."."""
        return f"a whole number from {self.low} to {self.high}"

    def accepts(self, value: object) -> bool:
        """Whether it is an integer in the range."""
        return type(value) is int and self.low <= value <= self.high


class Real(_Same):
    """An integer or float in a range, which becomes a float. NaN is out of every range."""

    low: float
    high: float
    unit: str = "seconds"

    @property
    def expected(self) -> str:
        """The words that complete "expected ..."."""
        return f"a number of {self.unit} from {self.low:g} to {self.high:g}"

    def accepts(self, value: object) -> bool:
        """Whether it is a number in the range that a float can hold."""
        if type(value) is int:
            return self.low <= value <= min(self.high, MAX_INT)
        return type(value) is float and self.low <= value <= self.high

    def convert(self, value: object) -> float:
        """Return it as a float."""
        assert isinstance(value, int | float)
        return float(value)


class Text(_Same):
    """A string up to some length."""

    longest: int
    printable: bool = False

    @property
    def expected(self) -> str:
        """The words that complete "expected ..."."""
        return f"a {'printable ' if self.printable else ''}text of at most {self.longest} characters"

    def accepts(self, value: object) -> bool:
        """Whether it is such a text."""
        return type(value) is str and len(value) <= self.longest and (not self.printable or value.isprintable())


class ContextName(_Same):
    """What a context may be called."""

    expected = "the name of a context"

    def accepts(self, value: object) -> bool:
        """Whether it is such a name."""
        return type(value) is str and is_valid_name(value)


class Exactly(_Same):
    """A value of exactly this type."""

    kind: type

    @property
    def expected(self) -> str:
        """The words that complete "expected ..."."""
        return "nothing" if self.kind is type(None) else self.kind.__name__

    def accepts(self, value: object) -> bool:
        """Whether it is of the type itself, not of a subclass."""
        return type(value) is self.kind


class Items(Struct):
    """A list of values with a common bound, which becomes a tuple."""

    item: Bound | None
    longest: int = MAX_INT

    @property
    def expected(self) -> str:
        """The words that complete "expected ..."."""
        size = "" if self.longest == MAX_INT else f"at most {self.longest} items"
        if self.item is None:
            return f"a list {size and 'of ' + size}".strip()
        return f"a list of {size or 'items'}, each {self.item.expected}"

    def accepts(self, value: object) -> bool:
        """Whether it is such a list."""
        if type(value) is not list or len(value) > self.longest:
            return False
        return self.item is None or all(map(self.item.accepts, value))

    def convert(self, value: object) -> tuple[object, ...]:
        """Return it as a tuple."""
        assert isinstance(value, list)
        return tuple(value)

    def to_wire(self, value: object) -> list[object]:
        """Return it as a list."""
        if not isinstance(value, Iterable):
            raise TypeError
        return list(value)


class ByName(_Same):
    """A mapping from names to values of the user."""

    name: Bound

    @property
    def expected(self) -> str:
        """The words that complete "expected ..."."""
        return f"a map of values by name, each name {self.name.expected}"

    def accepts(self, value: object) -> bool:
        """Whether it is such a mapping."""
        return type(value) is dict and all(map(self.name.accepts, value))

    def to_wire(self, value: object) -> dict[str, object]:
        """Return it as a dictionary."""
        if not isinstance(value, Mapping):
            raise TypeError
        return dict(value)


class TokenPair(Struct):
    """A secret, and whether the user chose it; becomes a :class:`~qmi.messages.Token`."""

    secret: Text

    @property
    def expected(self) -> str:
        """The words that complete "expected ..."."""
        return f"a token: {self.secret.expected}, and whether the user chose it"

    def accepts(self, value: object) -> bool:
        """Whether it is such a pair."""
        return type(value) is list and len(value) == 2 and self.secret.accepts(value[0]) and type(value[1]) is bool

    def convert(self, value: object) -> Token:
        """Return the token."""
        assert isinstance(value, list)
        return Token(*value)

    def to_wire(self, value: object) -> list[object]:
        """Return the pair."""
        if not isinstance(value, Token):
            raise TypeError
        return [value.secret, value.custom]


class Maybe(Struct):
    """None, or what another bound accepts."""

    bound: Bound

    @property
    def expected(self) -> str:
        """The words that complete "expected ..."."""
        return f"nothing or {self.bound.expected}"

    def accepts(self, value: object) -> bool:
        """Whether it is None or within the other bound."""
        return value is None or self.bound.accepts(value)

    def convert(self, value: object) -> object:
        """Return None or what the other bound makes of it."""
        return None if value is None else self.bound.convert(value)

    def to_wire(self, value: object) -> object:
        """Return None or what the other bound sends for it."""
        return None if value is None else self.bound.to_wire(value)


class Anything(_Same):
    """A value of the user."""

    expected = "any value"

    def accepts(self, value: object) -> bool:
        """Whatever it is."""
        return True


class AnError(_Same):
    """An exception."""

    expected = "an exception"

    def accepts(self, value: object) -> bool:
        """Whether it is one."""
        return issubclass(type(value), BaseException)


class Field(NamedTuple):
    """A field of a message, with what it may hold."""

    name: str
    bound: Bound

    def read(self, value: object) -> Any:
        """Return what the program works with, made of what was decoded.

        Raises:
            OutOfBounds: If the field may not hold that.
        """
        if not self.bound.accepts(value):
            raise OutOfBounds(f"{self.name}: expected {self.bound.expected}, got {describe_value(value)}")
        return self.bound.convert(value)


class Record(_Same):
    """A named tuple whose fields have bounds: a named type is rebuilt by name, with whatever fields were sent."""

    kind: type
    fields: tuple[Field, ...]

    @property
    def expected(self) -> str:
        """The words that complete "expected ..."."""
        inner = ", ".join(f"{field.name}: {field.bound.expected}" for field in self.fields)
        return f"{self.kind.__name__} ({inner})"

    def accepts(self, value: object) -> bool:
        """Whether it is of that type, and each field within bounds."""
        return type(value) is self.kind and all(
            field.bound.accepts(getattr(value, field.name, None)) for field in self.fields
        )


# -- the table

KIND = Whole(0, 255)
NUMBER = Whole(0, MAX_INT)
CREDIT = Whole(1, MAX_CREDIT)
NAME = Text(MAX_NAME)
PATIENCE = Real(0.0, math.inf)
TIMESTAMP = Real(EARLIEST, LATEST)
SEQUENCE_NUMBER = Whole(0, MAX_INT)
TOKEN = TokenPair(Text(MAX_TOKEN))
NOTHING = Exactly(type(None))
ANY = Anything()

_OBJECT = Field("object", NAME)
_SIGNAL = Field("signal", NAME)
_ARGS = Field("args", Items(None))

MESSAGES: Mapping[type[Struct], tuple[Field, ...]] = {
    Call: (
        _OBJECT,
        Field("method", NAME),
        _ARGS,
        Field("kwargs", ByName(NAME)),
        Field("token", Maybe(TOKEN)),
        Field("chain", Items(NAME, MAX_CHAIN)),
    ),
    Acquire: (
        _OBJECT,
        Field("token", TOKEN),
        Field("timeout", PATIENCE),
        Field("held", Maybe(TOKEN)),
        Field("grant", Maybe(TOKEN)),
    ),
    Release: (_OBJECT, Field("token", Maybe(TOKEN)), Field("context", Maybe(NAME))),
    ForceRelease: (_OBJECT,),
    QueryLock: (_OBJECT,),
    QueryStatistics: (_OBJECT,),
    Describe: (_OBJECT,),
    Subscribe: (_OBJECT, _SIGNAL),
    Unsubscribe: (_OBJECT, _SIGNAL),
    Signal: (_OBJECT, _SIGNAL, _ARGS, Field("seqnr", SEQUENCE_NUMBER), Field("timestamp", TIMESTAMP)),
}
"""The fields of each message, in the order in which they are sent."""

_WORDS = Text(MAX_NAME, printable=True)
_PROCESS = Whole(0, (1 << 32) - 1)
HELLO: tuple[Field, ...] = (
    Field("context", ContextName()),
    Field("incarnation", _WORDS),
    Field("workgroup", _WORDS),
    Field("library", _WORDS),
    Field("pid", _PROCESS),
    Field("address", _WORDS),
    Field("minor", Whole(0, (1 << 32) - 1)),
    Field("wanted", _WORDS),
)

MAX_FILTER = 128
_NONCE = Field("nonce", Whole(0, (1 << 64) - 1))
QUESTION: tuple[Field, ...] = (
    _NONCE,
    Field("workgroup", Text(MAX_FILTER)),
    Field("pattern", Text(MAX_FILTER)),
)
ANSWER: tuple[Field, ...] = (
    _NONCE,
    Field("name", ContextName()),
    Field("workgroup", Text(MAX_FILTER)),
    Field("host", Text(MAX_NAME)),
    Field("port", Whole(1, 65535)),
    Field("version", Text(MAX_NAME)),
    Field("pid", _PROCESS),
)

PAYLOADS: Mapping[Kind, Bound] = {
    Kind.REFUSAL: Exactly(str),
    Kind.PING: NOTHING,
    Kind.PONG: NOTHING,
    Kind.GOODBYE: Exactly(str),
    Kind.VALUE: ANY,
    Kind.FAILURE: AnError(),
    Kind.CANCEL: NOTHING,
    Kind.STREAM: NOTHING,
    Kind.CREDIT: CREDIT,
    Kind.ITEM: ANY,
    Kind.END: NOTHING,
}
"""What each kind of packet brings, apart from the kinds whose payload is a message or a hello."""

_MAY_GROW = frozenset(kind for kind, bound in PAYLOADS.items() if bound is NOTHING)


def check_payload(kind: int, payload: object, *, newer: bool, fault: Callable[[str], Exception]) -> None:
    """Check what a packet brings.

    Args:
        kind: The kind of the packet.
        payload: What it brings.
        newer: Whether a newer version sent it, which may say more where this one says nothing.
        fault: Makes the error.

    Raises:
        Exception: What ``fault`` made, if the payload is out of bounds.
    """
    bound = PAYLOADS.get(kind)  # type: ignore[call-overload]
    if bound is None or bound is ANY or bound.accepts(payload) or (newer and kind in _MAY_GROW):
        return
    what = Kind(kind).name
    raise fault(f"a packet of kind {what} brings {describe_value(payload)}; expected {bound.expected}")


def fields_to_wire(message: Struct) -> list[object]:
    """Return the fields of a message of this program as they are sent.

    Args:
        message: A request or a signal.

    Raises:
        OutOfBounds: If the other side would refuse one of them.
    """
    found = []
    for name, bound in MESSAGES[type(message)]:
        value = getattr(message, name)
        try:
            wire = bound.to_wire(value)
        except (TypeError, ValueError, AttributeError):  # a value of another type than the field has
            wire = value
        if not bound.accepts(wire):
            raise OutOfBounds(f"{name}: expected {bound.expected}, got {describe_value(value)}")
        found.append(wire)
    return found
