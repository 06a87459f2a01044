"""What strangers may send: plain CBOR values, nothing that a tag makes of them.

Before the handshake is done, and over UDP, nobody has proven anything. Of their bytes no named type, array, exception
or proxy is made, and no integer beyond 64 bits: the decoder closes every tag before its payload is read.
"""

from __future__ import annotations

from typing import Any

from qmi.net.limits import ProtocolError
from qmi.runtime.random_bytes import random_bytes

_PACKET_DEPTH = 5
"""The seal's list, the packet, its map, and two levels more for what a newer version may add to it."""
_MAP_DEPTH = 2
# cbor2 ignores what follows the first item. An item that nobody can foresee, put behind the body, shows trailing bytes.
_SEAL = random_bytes(8)
_SEALED = b"\x48" + _SEAL


def _closed(tag: int) -> Any:
    raise ValueError(f"no tag has a meaning here, not even {tag}")


class _NoTags(dict[int, Any]):
    __missing__ = staticmethod(_closed)


_NO_TAGS = _NoTags()


def decode(payload: bytes | bytearray, *, padded: bool = False) -> object:
    """Decode one plain value.

    Args:
        payload: CBOR.
        padded: Whether it is a map alone, and anything may follow it.

    Raises:
        ProtocolError: If it is anything else.
    """
    from cbor2 import loads  # a context without links needs it only when it is asked who it is

    try:
        found = loads(
            bytes(payload) if padded else b"".join((b"\x82", payload, _SEALED)),
            semantic_decoders=_NO_TAGS,
            max_depth=_MAP_DEPTH if padded else _PACKET_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except Exception as error:  # anybody can send anything here; whatever it does to cbor2 is junk
        raise ProtocolError(
            f"only plain values may come before the handshake is done: {type(error).__name__}"
        ) from error
    if padded:
        return found
    value, seal = found
    if type(seal) is not bytes or seal != _SEAL:
        raise ProtocolError("a frame has bytes behind its value")
    return value
