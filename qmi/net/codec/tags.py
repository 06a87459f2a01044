"""Which CBOR tag stands for what; a tag that is not listed here is closed before its payload is read.

Numbers below 60000 are registered with IANA and mean what everybody means by them. The others are this library's own;
each payload is one flat array, so that a value of a user costs at most two levels of CBOR.
"""

from __future__ import annotations

from enum import IntEnum

POSITIVE_BIGINT = 2
NEGATIVE_BIGINT = 3
ROW_MAJOR = 40
SET = 258
COLUMN_MAJOR = 1040
COMPLEX = 43000

TYPED_ARRAYS = {
    "|u1": 64, ">u2": 65, ">u4": 66, ">u8": 67, "<u2": 69, "<u4": 70, "<u8": 71,
    "|i1": 72, ">i2": 73, ">i4": 74, ">i8": 75, "<i2": 77, "<i4": 78, "<i8": 79,
    ">f2": 80, ">f4": 81, ">f8": 82, "<f2": 84, "<f4": 85, "<f8": 86,
}  # fmt: skip
"""RFC 8746: numpy's name of an element type -> tag."""


class Own(IntEnum):
    """Tags of this library."""

    SEGMENT = 60100
    TUPLE = 60101
    FROZENSET = 60102
    DICT = 60103
    BYTES = 60104
    BYTEARRAY = 60105
    DATETIME = 60106
    DATE = 60107
    TIME = 60108
    TIMEDELTA = 60109
    DECIMAL = 60110
    FRACTION = 60111
    UUID = 60112
    RANGE = 60113
    SLICE = 60114
    ARRAY = 60115
    SCALAR = 60116
    ENUM = 60117
    NAMED_TUPLE = 60118
    DATACLASS = 60119
    EXCEPTION = 60120
    PERSISTENT = 60121
    MAPPING_PROXY = 60122
    PACKED = 60123
    PACKED_DICT = 60124
    PATH = 60125
    MAPPING = 60126
    DEQUE = 60127
    TIMEZONE = 60128
    ZONE = 60129
    NUMBERS = 60130
    NAMESPACE = 60131
    LIBRARY = 60132
    COLUMNS = 60133
    TEXT = 60134


MAX_INTEGER_BITS = 1 << 19
MAX_FRACTION_BITS = 1 << 16
MAX_DECIMAL_TEXT = 1 << 16
MAX_TEXT_BYTES = 16 << 20
"""A text is decoded at once, during which no other thread has the interpreter."""
MAX_KEYS_PER_HASH = 64
"""Unequal keys with one hash that a set or dict may hold: more are made by somebody who wants to stall this side."""
