"""What values become on a link and back; :mod:`qmi.net.codec.table` says which types travel, and how."""

from qmi.net.codec.codec import Codec, Encoded, UndecodableValue, encode_each, encode_scalars
from qmi.net.codec.rows import SCALARS, Persistent, Restore
from qmi.net.codec.unknown import UnknownTypeValue

__all__ = [
    "SCALARS",
    "Codec",
    "Encoded",
    "Persistent",
    "Restore",
    "UndecodableValue",
    "UnknownTypeValue",
    "encode_each",
    "encode_scalars",
]
