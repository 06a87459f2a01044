"""What values become on a link and back; :mod:`qmi.net.codec.table` says which types travel, and how."""

from qmi.net.codec.codec import (
    OTHER,
    Codec,
    Encoded,
    UndecodableValue,
    copy_of_scalars,
    encode_each,
    encode_scalars,
    make_encoded,
)
from qmi.net.codec.rows import SCALARS, Persistent, Restore
from qmi.net.codec.unknown import UnknownTypeValue

__all__ = [
    "OTHER",
    "SCALARS",
    "Codec",
    "Encoded",
    "Persistent",
    "Restore",
    "UndecodableValue",
    "UnknownTypeValue",
    "copy_of_scalars",
    "encode_each",
    "encode_scalars",
    "make_encoded",
]
