"""What a type that travels says of itself, and what the encoder and the decoder offer to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from mmap import mmap
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

from qmi.errors import QMI_ValueNotSendableException

if TYPE_CHECKING:
    from typing_extensions import Buffer

Memory: TypeAlias = bytes | bytearray | memoryview | mmap
"""Bytes that came over a link. If they are many, the memory may be numpy's, too, which can do the same."""


T = TypeVar("T")
Persistent: TypeAlias = Callable[[object], object]
Restore: TypeAlias = Callable[[object], object]

SCALARS = frozenset({type(None), bool, int, float, str})
"""What cbor2 writes and reads as it is."""


class Refusal(Exception):
    """A value that cannot be sent; the steps that lead to it are added on the way out."""

    def __init__(self, reason: str, step: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = [step] if step else []

    def under(self, step: str) -> Refusal:
        """Add the step that led here."""
        self.steps.append(step)
        return self

    @property
    def path(self) -> str:
        """Where the value sits, as in ``result[2].lock``."""
        return "".join(reversed(self.steps))

    def as_error(self) -> QMI_ValueNotSendableException:
        """Return what the caller gets to see."""
        gap = "" if self.reason.startswith(":") else " "
        return QMI_ValueNotSendableException(f"{self.path}{gap}{self.reason}")


def let_ctrl_c_through(error: BaseException) -> None:
    """Raise an error that may be Ctrl-C, which comes at any time.

    Whatever else a user's code raises while a value is read or printed, SystemExit too, concerns that value only.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error


def user_refusal(error: BaseException) -> Refusal:
    """Return the refusal of a value whose own code failed when it was read."""
    refusal = Refusal(f"cannot be sent: reading it raised {type(error).__name__}: {_text_of(error)}")
    refusal.__cause__ = error
    return refusal


def _text_of(error: BaseException) -> str:
    """Return the text of an error, or what stands for it."""
    try:
        return str(error)
    except BaseException as fault:  # noqa: BLE001 - user's code
        let_ctrl_c_through(fault)
        return "(it cannot be printed)"


class Malformed(ValueError):
    """The payload of a tag is not what it should be."""


class Encoding(Protocol):
    """What a row may use to lower a value to what CBOR has."""

    def lower(self, value: object, depth: int) -> object:
        """Return what stands for a value that has ``depth`` containers around it."""

    def items(self, values: Sequence[object], depth: int) -> object:
        """Return what stands for the items of a sequence that has ``depth`` containers around it."""

    def check_bytes(self, size: int) -> None:
        """Refuse an array of so many bytes before it is copied."""

    def add_segment(self, buffer: Buffer) -> object:
        """Return what stands for bytes: themselves, or the number of a segment if they are many."""

    def spend(self, objects: int) -> None:
        """Count objects that the receiver will make of packed bytes."""

    def lower_small(self, value: object, depth: int, limit: int) -> tuple[object, int]:
        """Return what stands for a value, and its size; refuses it if that is more than so many bytes."""

    def check_depth(self, depth: int) -> None:
        """Refuse a container that has too many around it."""

    def enter_rows(self, rows: int, items: int, depth: int) -> None:
        """Refuse rows that have too many containers around them, or are too many, or have too many items."""


class Decoding(Protocol):
    """What a row may use to rebuild a value."""

    def open_segment(self, number: int) -> Memory:
        """Return a segment that was not used before."""

    def take(self, value: object) -> Memory:
        """Return the bytes of a payload: themselves, or those of a segment."""

    def spend(self, objects: int) -> None:
        """Count objects that are about to be made."""

    def restore(self, plain: object) -> object:
        """Return the object that plain values stand for."""


class Row(NamedTuple):
    """How one kind of value travels.

    Attributes:
        tag: The CBOR tag that announces it.
        rebuild: Makes the value: (decoding, payload, immutable) -> value; raises ValueError if the payload is wrong.
        types: The types whose values are lowered this way; none if they are found otherwise.
        lower: (encoding, value, depth) -> what stands for it, tag included; raises Refusal if it cannot be sent.
    """

    tag: int
    rebuild: Callable[[Decoding, object, bool], object]
    types: tuple[type, ...] = ()
    lower: Callable[[Encoding, Any, int], object] | None = None


def typed(value: object, kind: type[T]) -> T:
    """Return the value if it is exactly of this type."""
    if type(value) is not kind:
        raise Malformed(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def sized(value: object, size: int) -> list[Any]:
    """Return a list of this length."""
    items = typed(value, list)
    if len(items) != size:
        raise Malformed(f"expected {size} items, got {len(items)}")
    return items


def fields_of(value: object, kind: type[T], size: int) -> list[T]:
    """Return a list of this length whose items have this type."""
    return [typed(item, kind) for item in sized(value, size)]


def type_name(value: object) -> str:
    """Name the type of a value as a person would."""
    cls = type(value)
    full = f"{cls.__module__}.{cls.__qualname__}"
    return _NICE_NAMES.get(full, full.removeprefix("builtins."))


_NICE_NAMES = {
    "_thread.lock": "threading.Lock",
    "_thread.RLock": "threading.RLock",
    "builtins.generator": "a generator",
    "builtins.coroutine": "a coroutine",
    "builtins.async_generator": "an async generator",
    "builtins.function": "a function",
    "builtins.method": "a method",
    "builtins.module": "a module",
    "builtins.type": "a class",
}


def texts(value: object) -> Sequence[str]:
    """Return a list of texts."""
    items = typed(value, list)
    if any(type(item) is not str for item in items):
        raise Malformed("expected a list of texts")
    return items
