"""What values become on a link and back: CBOR for the small, segments of raw memory for the large.

:mod:`qmi.net.codec.table` lists what travels, and ``docs/values.md`` tells users. Values come back equal and of the
same type. A named type that the receiver has not imported comes back as an
:class:`~qmi.net.codec.unknown.UnknownTypeValue` (an exception as a ``QMI_RemoteException``).

Buffers of 16 KiB and more are not copied: they are the sender's memory until they have been written, and the
receiver's array is the memory that was received into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from cbor2 import CBORDecodeError, dumps, loads

from qmi.config.validators import printable
from qmi.errors import QMI_ValueNotSendableException
from qmi.net.codec import pieces
from qmi.net.codec.budget import MAX_PER_BYTE, is_well_formed, is_within, weigh_few
from qmi.net.codec.columns import FEW_BYTES, MOST_PER_BYTE, may_have_tables
from qmi.net.codec.decode import Decoder
from qmi.net.codec.encode import Encoder, find_refusal
from qmi.net.codec.packed import PACK_FROM, has_long_integer
from qmi.net.codec.records import DICT_FROM
from qmi.net.codec.rows import SCALARS, Memory, Persistent, Refusal, Restore, typed
from qmi.net.codec.tags import MAX_INTEGER_BITS
from qmi.net.limits import SEGMENT_THRESHOLD, Limits, ProtocolError
from qmi.runtime.random_bytes import random_bytes

# cbor2 ignores what follows the first item. An item that nobody can foresee, put behind the body, shows trailing bytes.
_SEAL = random_bytes(8)
_SEALED = b"\x48" + _SEAL
_RESERVE = 256
_CONTAINERS = frozenset({list, dict})
_TEXT = frozenset({str})
OTHER: Final = object()
_SMALL = 16384
"""Up to so many bytes, what consists of scalars alone can break no limit that can be configured."""


class UndecodableValue(ProtocolError):
    """A value that is well-formed but cannot be rebuilt here: it ends its own call, not the link."""


class Encoded(NamedTuple):
    """Values that are ready to be sent.

    Attributes:
        payload: CBOR.
        segments: Large buffers, the memory of the values themselves, which must not change before they are sent.
    """

    payload: bytes
    segments: list[memoryview]


make_encoded: Callable[[tuple[bytes, list[memoryview]]], Encoded] = partial(tuple.__new__, Encoded)
"""Makes one in a third of the time that calling the class takes."""


def encode_scalars(value: object) -> bytes | None:
    """Encode what consists of scalars and needs no encoder: most of what is ever sent.

    Args:
        value: A scalar, a list of scalars, or a dict of scalars with texts as keys.

    Returns:
        CBOR; None if it is large or cannot be sent: then :class:`Codec` knows what to do, or to say.
    """
    try:
        payload = dumps(value)
    except Exception:  # noqa: BLE001 - whatever cbor2 refuses
        return None
    return payload if len(payload) <= _SMALL else None


def copy_of_scalars(value: Any) -> object:
    """Copy what consists of a few scalars, so that nobody can change it before it is encoded.

    Returns:
        The scalar, or a copy of the list, or of the dict with texts as keys; :data:`OTHER` if it is anything else, or
        has so many items that they may be packed.
    """
    kind = type(value)
    if kind in SCALARS:
        return value
    if kind is list and len(value) < PACK_FROM and SCALARS.issuperset(map(type, value)):
        return list(value)
    if kind is dict and len(value) < DICT_FROM and _TEXT.issuperset(map(type, value)):
        return dict(value) if SCALARS.issuperset(map(type, value.values())) else OTHER
    return OTHER


def encode_each(values: Iterable[object]) -> bytes | None:
    """Encode scalars one behind the other: the items of a list without its head.

    cbor2 takes longer to find out what a list is than to encode the few scalars in it.

    Returns:
        CBOR; None if it is large or cannot be sent.
    """
    try:
        payload = b"".join(map(dumps, values))
    except Exception:  # noqa: BLE001 - whatever cbor2 refuses
        return None
    return payload if len(payload) <= _SMALL else None


class Codec:
    """Encodes and decodes values. Has no state: any number of threads may use it.

    Args:
        limits: Sizes of what is sent.
        persistent: Returns plain values for an object that travels as a reference, None for any other object.
        restore: Makes an object of those plain values; raises ValueError if they make no sense.
    """

    def __init__(
        self, limits: Limits | None = None, *, persistent: Persistent | None = None, restore: Restore | None = None
    ) -> None:
        self._limits = limits or Limits()
        self._persistent = persistent
        self._restore = restore
        # What a value of that depth can take, with its envelope and an array as its leaf.
        self._max_cbor_depth = 4 * self._limits.depth + 20
        self._few = self._limits.objects // MAX_PER_BYTE
        # Below this size no limit can be broken but that of the segments.
        self._quick = min(MAX_INTEGER_BITS // 8, self._few, self._limits.body - _RESERVE)
        # Packed lists in a body without segments are no more objects than the body's size allows.
        self._plain = Decoder((), restore)

    def encode(self, value: object, name: str = "value") -> Encoded:
        """Encode one value, which a refusal calls by this name.

        Raises:
            QMI_ValueNotSendableException: If it cannot be sent; the message says where the reason sits.
        """
        # As the encoder would do it; and what is small can break no limit.
        plain = OTHER if type(value) is str and len(value) >= SEGMENT_THRESHOLD else copy_of_scalars(value)
        if plain is not OTHER and (payload := encode_scalars(plain)) is not None and len(payload) <= self._quick:
            return make_encoded((payload, []))
        encoder = self._encoder()
        plain = self._lower(encoder, value, name, 0)
        return self._write(plain, encoder, name, lambda: self._lower(self._encoder(by_columns=False), value, name, 0))

    def encode_fields(self, values: Sequence[object], names: Sequence[str]) -> Encoded:
        """Encode a list of values, each with a name for refusals. The list and a list or dict in it cost no depth.

        Raises:
            QMI_ValueNotSendableException: If one cannot be sent; the message says where the reason sits.
        """
        encoder = self._encoder()
        plain = self._lower_fields(encoder, values, names)
        return self._write(
            plain, encoder, names, lambda: self._lower_fields(self._encoder(by_columns=False), values, names)
        )

    def _encoder(self, *, by_columns: bool = True) -> Encoder:
        limits = self._limits
        return Encoder(self._persistent, limits.depth, limits.objects, limits.frame, by_columns)

    def _lower_fields(self, encoder: Encoder, values: Sequence[object], names: Sequence[str]) -> list[object]:
        plain = list(values)
        for index, value in enumerate(plain):
            # An empty list or dict, as most calls have some, stays what it is.
            if (kind := type(value)) not in SCALARS and (value or kind not in _CONTAINERS):
                plain[index] = self._lower(encoder, value, names[index], -1)
        return plain

    @staticmethod
    def _lower(encoder: Encoder, value: object, name: str, depth: int) -> object:
        try:
            return encoder.lower(value, depth)
        except Refusal as refusal:
            raise refusal.under(name).as_error() from refusal.__cause__

    def _write(
        self, plain: object, encoder: Encoder, names: str | Sequence[str], lower_by_rows: Callable[[], object]
    ) -> Encoded:
        try:
            payload = dumps(plain)
        except Exception as error:  # whatever cbor2 refuses fails this call alone
            parts = _named_parts(lower_by_rows(), names)
            _refuse_scalars(parts)
            raise QMI_ValueNotSendableException(f"{parts[-1][0]} cannot be sent: {error}") from error
        if len(payload) > self._quick or encoder.segments:
            if has_long_integer(payload):
                _refuse_scalars(_named_parts(lower_by_rows(), names))
            self._check_size(payload, encoder, _named_parts(plain, names))
        return Encoded(payload, encoder.segments)

    def _check_size(self, payload: bytes, encoder: Encoder, parts: list[tuple[str, object]]) -> None:
        if not is_within(payload, self._limits.objects - _RESERVE):
            raise QMI_ValueNotSendableException(f"{_largest(parts)} has too many objects: {_too_many(self._limits)}")
        if len(payload) > self._limits.body - _RESERVE:
            raise QMI_ValueNotSendableException(
                f"{_largest(parts)} is too large to be sent: {len(payload)} bytes besides its large buffers, the limit "
                f"is {self._limits.body - _RESERVE}; a numpy array or bytes may have {self._limits.frame}"
            )
        if encoder.segments:
            self._check_total(payload, encoder, parts)

    def _check_total(self, payload: bytes, encoder: Encoder, parts: list[tuple[str, object]]) -> None:
        count = len(encoder.segments)
        total = len(payload) + sum(segment.nbytes for segment in encoder.segments) + 8 * count
        if total > self._limits.frame - _RESERVE or count > self._limits.segments:
            raise QMI_ValueNotSendableException(
                f"{_largest(parts)} is too large to be sent: {total} bytes in {count} large buffers, "
                f"the limit is {self._limits.frame - _RESERVE} in {self._limits.segments}"
            )

    def decode(self, payload: bytes | bytearray, segments: Sequence[Memory] = ()) -> Any:
        """Decode one value; segments become part of it.

        Raises:
            UndecodableValue: If it is CBOR, but not what :meth:`encode` makes.
            ProtocolError: If it is no CBOR.
        """
        if segments:
            decoder = Decoder(segments, self._restore, self._limits.objects)
        elif len(payload) > FEW_BYTES and may_have_tables(payload):
            decoder = Decoder((), self._restore, min(self._limits.objects, MOST_PER_BYTE * len(payload)))
        else:
            decoder = self._plain
        try:
            if len(payload) > self._few and not is_within(payload, self._limits.objects):
                raise UndecodableValue(f"a message has too many objects: {_too_many(self._limits)}")
            sealed = b"".join((b"\x82", payload, _SEALED))
            at_once = len(sealed) <= pieces.SMALL or weigh_few(payload) is not None
            found, seal = (loads if at_once else pieces.decode)(
                sealed,
                semantic_decoders=decoder,
                max_depth=self._max_cbor_depth,
                allow_indefinite=False,
                allow_duplicate_keys=False,
                strict_hashable_types=True,
            )
            if segments:
                decoder.finish()
        except CBORDecodeError as error:
            cause = error.__cause__
            raise _fault(payload, f"{cause or error}") from error
        except ProtocolError:
            raise
        except Exception as error:  # whatever bytes do to cbor2 ends this call or this link alone
            raise _fault(payload, f"{type(error).__name__}: {error}") from error
        if type(seal) is not bytes or seal != _SEAL:
            raise ProtocolError("a frame has bytes behind its value")
        return found


def _refuse_scalars(parts: list[tuple[str, object]]) -> None:
    """Raise the error of a text or an integer that cannot be sent, if there is one."""
    for name, part in parts:
        refusal = find_refusal(part, name)
        if refusal is not None:
            raise refusal.as_error() from None


def _named_parts(plain: object, names: str | Sequence[str]) -> list[tuple[str, object]]:
    if isinstance(names, str):
        return [(names, plain)]
    return list(zip(names, typed(plain, list), strict=True))


def _fault(payload: bytes | bytearray, detail: str) -> ProtocolError:
    """Return the error of a payload that cannot be decoded: the value's if it is well-formed, else the link's."""
    text = printable(f"a frame cannot be decoded: {detail}"[:300])
    return UndecodableValue(text) if is_well_formed(payload) else ProtocolError(text)


def _too_many(limits: Limits) -> str:
    return (
        f"the limit is {limits.objects} (a list or dict counts 8, a named value 40, an error 120, a proxy 800); "
        "send less at once, or numpy arrays"
    )


def _largest(parts: list[tuple[str, object]]) -> str:
    """Name the part that is to blame for the size; the first if there is just one with a value in it."""
    return max(parts, key=lambda part: len(repr(type(part[1]))) if len(parts) == 1 else _weight(part[1]))[0]


def _weight(plain: object) -> int:
    try:
        return len(dumps(plain))
    except Exception:  # noqa: BLE001 - only a guess for a message
        return 0
