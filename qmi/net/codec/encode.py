"""How a value is turned into what CBOR has, and where a value sits that cannot be sent.

Encoding takes two steps: the value is lowered to plain lists, dicts and tags here (which bounds its depth and puts
large buffers aside), then cbor2 writes bytes. Only a refusal costs the work of finding out where it sits.
"""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import io
import re
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Any

from cbor2 import CBORTag, dumps

from qmi.net.codec import arrays, exceptions
from qmi.net.codec.budget import CONTAINER
from qmi.net.codec.builtin_types import lower_zone_info
from qmi.net.codec.columns import COLUMNS_FROM, MOST_LEVELS, ROW_KINDS, pack_rows
from qmi.net.codec.exceptions import ErrorEncoder
from qmi.net.codec.keys import check_keys
from qmi.net.codec.libraries import lower_library
from qmi.net.codec.named_types import (
    dataclass_fields,
    field_names,
    lower_dataclass,
    lower_enum,
    lower_fields,
    lower_named_tuple,
)
from qmi.net.codec.packed import PACK_FEW_FROM, PACK_FROM, pack, pack_dict, pack_few
from qmi.net.codec.records import pack_scalar_dict
from qmi.net.codec.rows import SCALARS, Persistent, Refusal, let_ctrl_c_through, type_name, user_refusal
from qmi.net.codec.table import BY_TYPE
from qmi.net.codec.tags import MAX_INTEGER_BITS, MAX_TEXT_BYTES, SET, Own
from qmi.net.codec.unknown import UNKNOWN_TYPES, NamedKind, UnknownTypeValue
from qmi.net.limits import SEGMENT_THRESHOLD

if TYPE_CHECKING:
    from typing_extensions import Buffer

_TEXT = frozenset({str})
_CONTAINERS = 10_000
"""How many a part of an exception or the value of an enum's member may have."""
_FEW_SCALARS = 16
"""Among so many, long texts are looked for: most are arguments."""
_NEVER = -1000
_UNKNOWN = frozenset(UNKNOWN_TYPES)
_HINTS = (
    (tuple, "send tuple(value)"), (dict, "send dict(value)"), (list, "send list(value)"), (set, "send set(value)"),
    (frozenset, "send frozenset(value)"), (bool, "send bool(value)"), (int, "send int(value)"),
    (float, "send float(value)"), (str, "send str(value)"), (bytes, "send bytes(value)"),
    (bytearray, "send bytearray(value)"), (io.IOBase, "send what is in it, as value.read()"),
    (collections.abc.Iterator, "send list(value)"),
    (collections.abc.MappingView, "send list(value)"), (collections.ChainMap, "send value.maps"),
    (collections.UserDict, "send dict(value)"), (collections.UserList, "send list(value)"),
    (collections.UserString, "send str(value)"), (re.Pattern, "send value.pattern and value.flags"),
)  # fmt: skip
_WHAT_CAN = "a dataclass, a dict, a list, a number, a text or an array can; see docs/values.md"
_WITH_CONTENT = (tuple, dict, list, set, frozenset, int, float, complex, str, bytes, bytearray, collections.deque)
_PARTS = (("magnitude", "units"), ("value", "unit"), ("values", "index"), ("values", "coords"), ("data", "mask"),
          ("left", "right", "closed"), ("ordinal", "freqstr"))  # fmt: skip
"""Attributes of values that are more than one array: a hint must not make anybody lose a unit or a mask."""


class Encoder:
    """Lowers the parts of one frame.

    Args:
        persistent: Returns plain values for an object that travels as a reference (a proxy), None for any other.
        max_depth: How many containers may be inside each other.
        objects: How many objects the packed lists may become at the receiver; None for any number.
        largest: How many bytes an array may have; None for any number.
        by_columns: Whether rows of a table may be written by columns, where one sees less well what sits where.

    Attributes:
        segments: The buffers that were put aside, in order.
    """

    __slots__ = (
        "_containers",
        "_errors",
        "_inline",
        "_largest",
        "_levels",
        "_max_depth",
        "_members",
        "_objects",
        "_persistent",
        "segments",
    )

    def __init__(
        self,
        persistent: Persistent | None = None,
        max_depth: int = 64,
        objects: int | None = None,
        largest: int | None = None,
        by_columns: bool = True,
    ) -> None:
        self._largest = largest
        self._members: dict[tuple[int, int], tuple[Enum, CBORTag]] | None = None
        self._objects = objects
        self._levels = MOST_LEVELS if by_columns and objects is not None else _NEVER
        self._containers = _CONTAINERS if objects is None else objects // CONTAINER
        self._max_depth = max_depth
        self.segments: list[memoryview] = []
        self._persistent = persistent
        self._errors: ErrorEncoder | None = None
        self._inline: int | None = None

    def lower(self, value: object, depth: int) -> object:
        """Return what stands for the value in CBOR; ``depth`` containers are around it.

        Raises:
            Refusal: If it cannot be sent.
        """
        kind = type(value)
        if kind in SCALARS:
            return self.scalar(value)
        method = _METHODS.get(kind)
        try:
            if method is not None:
                return method(self, value, depth)
            return self._lower_named(value, depth)
        except Refusal:
            raise
        except BaseException as error:
            let_ctrl_c_through(error)
            raise user_refusal(error) from error

    def scalar(self, value: object) -> object:
        """Return what stands for a scalar: itself, or a segment if it is a long text."""
        if type(value) is not str or len(value) < SEGMENT_THRESHOLD or self._inline is not None:
            return value
        try:
            data = value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair: whoever refuses it says where it is
            return value
        return value if len(data) > MAX_TEXT_BYTES else CBORTag(Own.TEXT, self.add_segment(data))

    def check_depth(self, depth: int) -> None:
        """Refuse a container that has too many around it, or before it: a few lists in each other may be millions."""
        self._containers -= 1
        if self._containers < 0:
            raise Refusal("has too many lists, dicts or named values in it; send less at once, or numpy arrays")
        if depth >= self._max_depth:
            raise Refusal(f"is nested deeper than {self._max_depth} levels, or contains itself")

    def items(self, values: Sequence[object], depth: int) -> object:
        """Lower the items of a list or tuple that has ``depth`` containers around itself."""
        self.check_depth(depth)
        if len(values) >= COLUMNS_FROM and type(values[0]) in ROW_KINDS:
            packed = self._columns(values, depth)
            if packed is not None:
                return packed
        elif len(values) >= PACK_FROM:
            packed = pack(self, values)
            if packed is not None:
                return packed
        if SCALARS.issuperset(map(type, values)):
            return list(values) if len(values) > _FEW_SCALARS else self._few_scalars(values)
        if PACK_FEW_FROM <= len(values) < PACK_FROM and len(kinds := set(map(type, values))) == 1:
            packed = pack_few(self, values, kinds.pop())
            if packed is not None:
                return packed
        result: list[object] = []
        lower, deeper = self.lower, depth + 1
        try:
            for item in values:
                result.append(lower(item, deeper))
        except Refusal as refusal:
            raise refusal.under(f"[{len(result)}]") from None
        return result

    def _few_scalars(self, values: Sequence[object]) -> list[object]:
        return [self.scalar(item) if type(item) is str else item for item in values]

    def _columns(self, values: Sequence[object], depth: int) -> CBORTag | None:
        """Return what stands for rows of a table; None if they are none, or if one of them cannot be sent."""
        if self._levels < 1:
            return None
        kept = len(self.segments), self._containers, self._objects
        found = None
        self._levels -= 1
        try:
            found = pack_rows(self, values, depth + 1)
        except Refusal:
            # Row by row one sees where it sits. From now on, or each level would be tried twice by the one around it.
            self._levels = _NEVER
        self._levels += 1
        if found is None:
            del self.segments[kept[0] :]
            _, self._containers, self._objects = kept
        return found

    def enter_rows(self, rows: int, items: int, depth: int) -> None:
        """Refuse rows that are too deep or too many, or have more items than may be sent, before these are listed."""
        self._containers -= rows - 1
        self.check_depth(depth)
        if self._objects is None or items > self._objects:
            raise Refusal("has more items than may be sent at once; send a numpy array")

    def _dict(self, value: dict[object, object], depth: int) -> object:
        self.check_depth(depth)
        value = value.copy()  # which no other thread changes
        if len(value) >= COLUMNS_FROM:
            packed = pack_scalar_dict(self, value) or self._packed_dict(value, depth)
            if packed is not None:
                return packed
        if not _TEXT.issuperset(map(type, value)):
            return CBORTag(Own.DICT, self._pairs(list(value.items()), depth))
        if SCALARS.issuperset(map(type, value.values())) and len(value) > _FEW_SCALARS:
            return value
        return {key: self._item(key, item, depth) for key, item in value.items()}

    def _pairs(self, pairs: list[tuple[object, object]], depth: int) -> list[object]:
        """Lower the keys and values of a dict that has other keys than texts."""
        keys = [key for key, _ in pairs]
        try:
            check_keys(keys)
        except (ValueError, TypeError) as error:
            raise Refusal(f"has a key that cannot be sent: {error}; send list(value.items())") from None
        flat = list(chain.from_iterable(pairs))
        if SCALARS.issuperset(map(type, flat)):
            return flat
        flat.clear()
        for key, item in pairs:
            flat += (self.lower(key, depth + 1), self._item(key, item, depth))
        return flat

    def _item(self, key: object, item: object, depth: int) -> object:
        if (kind := type(item)) in SCALARS:
            return self.scalar(item) if kind is str else item
        try:
            return self.lower(item, depth + 1)
        except Refusal as refusal:
            raise refusal.under(f"[{_shown(key)}]") from None

    def _packed_dict(self, value: dict[object, object], depth: int) -> CBORTag | None:
        if len(value) >= PACK_FROM:
            kept = len(self.segments)
            try:
                return pack_dict(self, value, depth)
            except (Refusal, ValueError):  # the other way says where it sits
                del self.segments[kept:]
                return None
        if type(next(iter(value.values()))) not in ROW_KINDS or not _TEXT.issuperset(map(type, value)):
            return None
        rows = self._columns(list(value.values()), depth)
        return None if rows is None else CBORTag(Own.PACKED_DICT, [list(value), rows])

    def add_segment(self, buffer: Buffer) -> object:
        """Return what stands for these bytes: themselves, or the number of a segment if they are many."""
        view = memoryview(buffer)
        if self._inline is not None:
            if view.nbytes > self._inline:
                raise Refusal("is too large to be sent here")
            return bytes(view)
        if view.nbytes < SEGMENT_THRESHOLD:
            return bytes(view)
        self.segments.append(view.cast("B"))
        return CBORTag(Own.SEGMENT, len(self.segments) - 1)

    def check_bytes(self, size: int) -> None:
        """Refuse an array of so many bytes before it is copied: a view may have more of them than there is memory."""
        largest = self._largest if self._inline is None else self._inline
        if largest is not None and size > largest:
            raise Refusal(f"is an array of {size} bytes; the limit is {largest}")

    def spend(self, objects: int) -> None:
        """Count objects that the receiver will make of packed bytes."""
        if self._objects is not None:
            self._objects -= objects
            if self._objects < 0:
                raise Refusal("has more items than may be sent at once; send a numpy array")

    def lower_small(self, value: object, depth: int, limit: int) -> tuple[object, int]:
        """Lower a value that is sent within the body, if it can be sent at all; returns its size, too.

        Raises:
            Refusal: If it cannot be sent, or is larger than so many bytes.
        """
        trial = Encoder(self._persistent, self._max_depth)
        trial._errors = self._errors
        trial._inline = limit
        plain = trial.lower(value, depth)
        try:
            size = len(dumps(plain))
        except Exception as error:  # noqa: BLE001 - whatever cbor2 refuses
            raise Refusal(f"cannot be sent: {error}") from None
        if size > limit or (size > MAX_INTEGER_BITS // 8 and find_refusal(plain, "") is not None):
            raise Refusal("is too large to be sent here")
        return plain, size

    def _bytes(self, value: bytes, depth: int) -> object:
        return value if len(value) < SEGMENT_THRESHOLD else CBORTag(Own.BYTES, self.add_segment(value))

    def _unknown(self, value: UnknownTypeValue, depth: int) -> CBORTag:
        if value.type_kind is NamedKind.ARRAY:
            raise Refusal("is an array that this program could not read; numpy is needed to send it on")
        module, _, qualname = value.type_name.partition(":")
        if value.type_kind is NamedKind.LIBRARY:
            if module == "zoneinfo":
                return CBORTag(Own.ZONE, value.fields["key"])
            return CBORTag(Own.LIBRARY, [f"{module}.{qualname}", self.lower(value.fields, depth)])
        if value.type_kind is NamedKind.ENUM:
            acting = next((cls.__name__ for cls in (int, float, str, bytes, tuple) if isinstance(value, cls)), "")
            plain = self.lower(value.fields["value"], depth + 1)
            return CBORTag(Own.ENUM, [module, qualname, value.fields["name"], plain, acting])
        tag = Own.NAMED_TUPLE if value.type_kind is NamedKind.NAMED_TUPLE else Own.DATACLASS
        return lower_fields(self, tag, module, qualname, list(value.fields.items()), depth)

    def lower_error(self, error: BaseException, depth: int) -> object:
        """Lower an exception; whatever is in it, it can be sent."""
        if self._errors is None:
            self._errors = ErrorEncoder(self, self._max_depth)
        return self._errors.lower(error, depth)

    def _lower_named(self, value: Any, depth: int) -> object:
        """Lower a value whose type is none of Python's own."""
        if arrays.is_numpy_itself(type(value)):  # as is usual, and nothing else needs to be looked at
            return self._lower_foreign(value, depth)
        if self._persistent is not None:
            plain = self._persistent(value)
            if plain is not None:
                return CBORTag(Own.PERSISTENT, self.lower(plain, depth))
        cls = type(value)
        if issubclass(cls, Enum):
            return self._member(value, depth)
        if issubclass(cls, BaseException):
            return self.lower_error(value, depth)
        names = field_names(cls)
        if names is not None:
            return lower_named_tuple(self, value, names, depth)
        names = dataclass_fields(cls)
        if names is None and dataclasses.is_dataclass(cls):
            names = tuple(field.name for field in dataclasses.fields(value))
        if names is not None:
            if isinstance(value, _WITH_CONTENT):
                raise Refusal(
                    f": {type_name(value)} cannot be sent: it has fields and items; send its fields, and {_hint(value)}"
                )
            return lower_dataclass(self, value, names, depth)
        return self._lower_foreign(value, depth)

    def _member(self, member: Enum, depth: int) -> CBORTag:
        """Lower a member of an enum, each once: a list may have one member, of a large value, a million times."""
        if self._members is None:
            self._members = {}
        found = self._members.get((id(member), depth))
        if found is None:
            found = (member, lower_enum(self, member, depth))  # held, so that no other one gets its id
            self._members[id(member), depth] = found
        return found[1]

    def _lower_foreign(self, value: object, depth: int) -> object:
        """Lower a value of a library."""
        found = arrays.lower_numpy(self, value)
        if found is None:
            found = lower_library(self, value, depth)
        if found is None:
            found = lower_zone_info(value)
        if found is None:
            raise Refusal(f": {type_name(value)} cannot be sent; {_hint(value) or _WHAT_CAN}")
        return found


_METHODS: dict[type, Callable[[Encoder, Any, int], object]] = {
    list: Encoder.items, dict: Encoder._dict, bytes: Encoder._bytes,
    **dict.fromkeys(UNKNOWN_TYPES, Encoder._unknown), **BY_TYPE,
}  # fmt: skip


def _hint(value: object) -> str | None:
    """Say what to send instead, without anything that would be lost by that."""
    cls = type(value)
    for names in _PARTS:
        if all(hasattr(cls, name) for name in names):
            return f"send {' and '.join(f'value.{name}' for name in names)}, each by itself"
    numpy = arrays.loaded_numpy()
    if numpy is not None and isinstance(value, numpy.ndarray):
        return "send numpy.asarray(value), and beside it what the class adds to that"
    if isinstance(value, memoryview):
        return "send bytes(value)" if value.ndim == 1 and value.itemsize == 1 else "send numpy.asarray(value)"
    if hasattr(cls, "__attrs_attrs__"):
        return "send attrs.asdict(value)"
    if hasattr(cls, "model_dump") and hasattr(cls, "model_fields"):
        return "send value.model_dump()"
    if cls.__module__ == "ipaddress":
        return "send str(value)"
    if hasattr(cls, "_from_sequence"):
        return "send pandas.Series(value)"
    if hasattr(cls, "is_compatible_with"):  # a unit of pint
        return "send 1 * value"
    return next((hint for base, hint in _HINTS if isinstance(value, base)), None)


def _shown(key: object) -> str:
    try:
        return exceptions.cut(repr(key), 80)
    except Exception:  # noqa: BLE001 - user's code, or an integer of too many digits
        return f"<{type_name(key)}>"


_SEQUENCES = (Own.TUPLE, Own.FROZENSET, SET)
"""The tags whose list is one of items of the value; that of any other has its parts, which have no place."""


def find_refusal(plain: object, name: str) -> Refusal | None:
    """Say which part of a lowered value cbor2 refused to write, and why; also integers that are too long."""
    if type(plain) is str:
        try:
            plain.encode()
        except UnicodeEncodeError as error:
            return Refusal(f"contains {plain[error.start]!r}, half of a surrogate pair, which is no character", name)
        return None
    if type(plain) is int and plain.bit_length() > MAX_INTEGER_BITS:
        return Refusal(f"is an integer of {plain.bit_length()} bits; the limit is {MAX_INTEGER_BITS}", name)
    found = (find_refusal(item, path) for item, path in _parts(plain, name))
    return next((refusal for refusal in found if refusal is not None), None)


def _parts(plain: object, name: str) -> Iterator[tuple[object, str]]:
    """Yield the parts of a lowered value, with their places in the value of the user."""
    if type(plain) is CBORTag and plain.tag in (Own.NAMED_TUPLE, Own.DATACLASS):
        for field, item in zip(plain.value[2::2], plain.value[3::2], strict=True):
            yield item, f"{name}.{field}"
    elif type(plain) is CBORTag and plain.tag == Own.PACKED_DICT and type(plain.value[1]) is list:
        yield plain.value[0], f"{name} (a key)"
        yield from ((item, f"{name}[...][{index}]") for index, item in enumerate(plain.value[1]))
    elif type(plain) is dict or (type(plain) is CBORTag and plain.tag == Own.DICT):
        flat = plain.value if isinstance(plain, CBORTag) else [part for pair in plain.items() for part in pair]
        pairs = zip(flat[::2], flat[1::2], strict=True)
        for key, item in pairs:
            yield key, f"{name} (a key)"
            yield item, f"{name}[{_shown(key)}]"
    elif type(plain) is CBORTag and type(plain.value) is list and plain.tag not in _SEQUENCES:
        yield from ((item, name) for item in plain.value)
    elif type(plain) is CBORTag:
        yield plain.value, name
    elif type(plain) is list:
        yield from ((item, f"{name}[{index}]") for index, item in enumerate(plain))
