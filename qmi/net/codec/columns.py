"""Rows of a table: tuples, lists or dicts of one shape, written by columns; see :mod:`.records` for those of scalars.

A row that is written by itself costs a tag, and a call on either side, which take longer than its items. The payload
is ``[kind, count, shape, column, ...]``::

    kind    "t" tuples, "l" lists, "d" dicts
    count   how many rows there are
    shape   how many items each row has; for dicts the list of their keys; for rows of several lengths ``[how many
            items there are, the list of the lengths]``
    column  the first items of all rows, their second items, and so on; or one column for all: the items of the first
            row, those of the second, and so on

How many rows there are stands in front, so that what they take up is known before the columns are decoded; no column
is shorter than that, and none of them becomes rows before this has been compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice, pairwise, repeat
from operator import countOf, itemgetter
from typing import Any, Final, NamedTuple

from cbor2 import CBORTag

from qmi.net.codec.budget import NotWellFormed, read_head
from qmi.net.codec.packed import pack_rows_of_numbers
from qmi.net.codec.records import LETTERS, pack_records, weight_of_rows
from qmi.net.codec.rows import Decoding, Encoding, Malformed, Row, sized, texts, typed
from qmi.net.codec.tags import Own

COLUMNS_FROM: Final = 4
"""Fewer rows are written one by one as quickly."""
ROW_KINDS: Final = frozenset({tuple, list, dict})
MOST_LEVELS: Final = 4
"""How many tables may be in each other's columns: each row of each of them is memory, of the same bytes."""
MOST_PER_BYTE: Final = 96
"""What the rows of a frame may count, for each of its bytes: with so many levels they cannot be more."""
FEW_BYTES: Final = 256
"""The rows of a smaller frame need not be counted: it has room for few tables, or for few rows."""
_COLUMNS = Own.COLUMNS.to_bytes(2)
_PACKED = Own.PACKED.to_bytes(2)
_WIDEST = 512
"""Rows of more items are packed each by itself."""
_FLAT_FROM = 1024
"""So many items of one type in rows of one length are packed as one list, whose type is told more quickly."""
_PART = 1 << 14
"""So many rows are made at a time, which takes a few milliseconds."""
_LETTERS_OF_KINDS = b"tld"
_LETTER_OF_DICTS = ord("d")
_LETTERS_OF_RECORDS = b"RN"
_LETTER_OF_NESTED = ord("N")
_NUMBER, _TEXT, _ARRAY = 0, 3, 4
"""Major types of CBOR."""
_MANY_TABLES = 64
_MANY_LISTS = 1024
"""More are not looked at one by one."""
_PER_ROW = 104
_PER_DICT = 160
_PER_KEY = 64
_SLOT = 8
"""Bytes of memory: of a tuple or list, of a dict, of each of its keys, of each place in a tuple or list."""


def pack_rows(encoding: Encoding, values: Sequence[Any], depth: int) -> CBORTag | None:
    """Return what stands for rows that have ``depth`` containers around them; None if they make no table."""
    kind, count = type(values[0]), len(values)
    if (numbers := _rows_of_numbers(encoding, values, kind, depth)) is not None:
        return numbers
    if countOf(map(type, values), kind) != count:
        return None
    total = sum(map(len, values))
    encoding.enter_rows(count, total, depth)
    alike = kind is not dict and total >= _FLAT_FROM and _is_of_one_type(values[0], values[-1])
    if not alike and (records := pack_records(encoding, values, kind, total, depth)) is not None:
        return records
    if kind is dict:
        return _pack_dicts(encoding, values, depth)
    # Whatever another thread does to a list meanwhile: its items stay in their row.
    rows: Sequence[tuple[Any, ...]] = values if kind is tuple else list(map(tuple, values))
    width = len(rows[0])
    if not width or countOf(map(len, rows), width) != count:
        return _pack_ragged(encoding, rows, LETTERS[kind], depth)
    if width > _WIDEST:
        return None
    encoding.spend(weight_of_rows(count, 0))
    return _table(encoding, LETTERS[kind], rows, width, depth)


def _rows_of_numbers(encoding: Encoding, values: Sequence[Any], kind: type, depth: int) -> CBORTag | None:
    # Fast path, must equal what follows it in `pack_rows`: one look at all rows and their items, not one at each.
    count = len(values)
    if kind is dict or type(values[-1]) is not kind:
        return None
    first, last = map(tuple, (values[0], values[-1]))
    width = len(first)
    if not width * count >= _FLAT_FROM or width > _WIDEST or not _is_of_one_type(first, last):
        return None
    packed = pack_rows_of_numbers(encoding, values, kind, width, type(first[0]))
    if packed is None:
        return None
    flat, count = packed  # another thread may have added rows meanwhile, or removed some
    encoding.enter_rows(count, width * count, depth)
    encoding.spend(weight_of_rows(count, 0))
    encoding.check_depth(depth)
    return CBORTag(Own.COLUMNS, [LETTERS[kind], count, width, flat])


def _is_of_one_type(first: Sequence[object], last: Sequence[object]) -> bool:
    return len(first) == len(last) and len(set(map(type, chain(first, last)))) == 1


def _table(encoding: Encoding, letter: str, rows: Iterable[Iterable[Any]], width: int, depth: int) -> CBORTag | None:
    flat = list(chain.from_iterable(rows))
    count = len(flat) // width
    if type(flat[-1]) is type(flat[0]) and len(set(map(type, flat[:width]))) == 1:
        return CBORTag(Own.COLUMNS, [letter, count, width, encoding.items(flat, depth)])
    if width > 2 * count:
        return None
    columns = [encoding.items(flat[place::width], depth) for place in range(width)]
    return CBORTag(Own.COLUMNS, [letter, count, width, *columns])


def _pack_ragged(encoding: Encoding, rows: Sequence[tuple[Any, ...]], letter: str, depth: int) -> CBORTag | None:
    lengths = list(map(len, rows))
    total = sum(lengths)
    if total > _WIDEST * len(rows):
        return None
    encoding.spend(weight_of_rows(len(rows), 0))
    flat = list(chain.from_iterable(rows))
    shape = [total, encoding.items(lengths, depth)]
    return CBORTag(Own.COLUMNS, [letter, len(rows), shape, encoding.items(flat, depth)])


def _pack_dicts(encoding: Encoding, values: Sequence[dict[Any, Any]], depth: int) -> CBORTag | None:
    values = list(values)  # whatever another thread does to it meanwhile
    first, count = list(values[0]), len(values)
    width = len(first)
    if not 0 < width <= _WIDEST or countOf(map(type, first), str) != width or list(values[-1]) != first:
        return None
    if countOf(map(len, values), width) != count:
        return None
    keys = list(chain.from_iterable(values))
    # No row has a key twice: if the keys come round regularly, each row has just these.
    if countOf(map(type, keys), str) != count * width or keys != first * count:
        return None
    is_of_one_type = _is_of_one_type(list(values[0].values()), list(values[-1].values()))
    if width > 2 * count and not is_of_one_type:
        return None
    try:
        # Nothing is made for each row, since the garbage collector would look at all of that.
        if is_of_one_type:
            columns = [[row[key] for row in values for key in first]]
        else:
            columns = [list(map(itemgetter(key), values)) for key in first]
    except KeyError:  # another thread has changed a row
        return None
    encoding.spend(weight_of_rows(count, width))
    return CBORTag(Own.COLUMNS, ["d", count, first, *(encoding.items(column, depth) for column in columns)])


class TablesAhead(NamedTuple):
    """What the tables in a body will be.

    Attributes:
        rows: How many rows they have.
        memory: Bytes of memory that these take up, besides the items in them.
    """

    rows: int = 0
    memory: int = 0


_NONE = TablesAhead()
_MANY = TablesAhead(1 << 20, 40 << 20)
"""As many as the limit of objects leaves, by default."""


def may_have_tables(body: bytes | bytearray) -> bool:
    """Whether there is what could be the head of a table; it may also be part of something else."""
    # One byte is looked for in a fraction of the time.
    return body.find(_COLUMNS[:1]) >= 0 and body.find(_COLUMNS) >= 0


def tables_ahead(body: bytes | bytearray) -> TablesAhead:
    """Add up what the heads of tables in a body announce: at least what becomes of them, for no table has more rows."""
    if body.find(_COLUMNS[:1]) < 0:
        return _NONE
    if body.count(_COLUMNS) > _MANY_TABLES or body.count(_PACKED) > _MANY_LISTS:
        return _MANY
    rows = memory = 0
    for tag in (_COLUMNS, _PACKED):
        place = 0
        while (place := body.find(tag, place) + 2) > 1:
            ahead = table_ahead(body, place)
            rows += ahead.rows
            memory += ahead.memory
    return TablesAhead(rows, memory)


def table_ahead(body: bytes | bytearray, place: int) -> TablesAhead:
    """Return what is announced by the payload of a table that begins here; nothing if this cannot be one."""
    try:
        return _read_head_of_table(body, place)
    except (NotWellFormed, IndexError):  # something else, or what is not decoded
        return _NONE


def _read_head_of_table(body: bytes | bytearray, place: int) -> TablesAhead:
    major, _, place = read_head(body, place)
    kind, size, place = read_head(body, place)
    letter = body[place]
    if letter in _LETTERS_OF_RECORDS and (major, kind, size) == (_ARRAY, _TEXT, 1):
        return _read_head_of_records(body, place + 1, is_nested=letter == _LETTER_OF_NESTED)
    if (major, kind, size) != (_ARRAY, _TEXT, 1) or letter not in _LETTERS_OF_KINDS:
        return _NONE  # no table: the decoder takes nothing else for one
    major, count, place = read_head(body, place + 1)
    kind, shape, place = read_head(body, place)
    if major == _NUMBER and letter == _LETTER_OF_DICTS and kind == _ARRAY:
        return TablesAhead(count, count * (_PER_DICT + _PER_KEY * shape))
    if major == _NUMBER and letter != _LETTER_OF_DICTS and kind in (_NUMBER, _ARRAY):
        kind, items, place = (_NUMBER, count * shape, place) if kind == _NUMBER else read_head(body, place)
        if kind == _NUMBER:
            return TablesAhead(count, count * _PER_ROW + _SLOT * items)
    return _MANY  # whoever wrote this made the same of something else


def _read_head_of_records(body: bytes | bytearray, place: int, *, is_nested: bool) -> TablesAhead:
    major, size, place = read_head(body, place)
    kind, length, place = read_head(body, place)
    if (major, size, kind, length) != (_ARRAY, 4, _TEXT, 1):
        return _NONE  # as above
    of_dicts = body[place] == _LETTER_OF_DICTS
    major, count, place = read_head(body, place + 1)
    kind, items, place = read_head(body, place)
    if (major, kind) != (_NUMBER, _TEXT if is_nested else _NUMBER):
        return _NONE
    if is_nested:  # what is in them is known by how many bytes they have alone
        items = 0
    if of_dicts:
        return TablesAhead(count, count * _PER_DICT + _PER_KEY * items)
    return TablesAhead(count, count * _PER_ROW + _SLOT * items)


# -- rebuilding


def _rebuild(decoding: Decoding, payload: object, _: bool) -> object:
    parts = typed(payload, list)
    if len(parts) < 4:
        raise Malformed("a table has no columns")
    kind, count, shape = typed(parts[0], str), typed(parts[1], int), parts[2]
    columns = [typed(column, list) for column in parts[3:]]
    if kind == "d":
        return _rebuild_dicts(decoding, texts(shape), columns, count)
    if kind not in ("t", "l"):
        raise Malformed("the kind of the rows of a table is not known")
    if type(shape) is list:
        return _rebuild_ragged(decoding, kind, count, shape, columns)
    rows = _rows(columns, count, typed(shape, int))
    decoding.spend(weight_of_rows(count, 0))
    return _in_parts(rows if kind == "t" else map(list, rows))


def _rows(columns: list[list[Any]], count: int, width: int) -> Iterator[tuple[Any, ...]]:
    """Return the rows, which are made one by one.

    Raises:
        Malformed: If the columns are not as long as they should be.
    """
    if count < 1 or width < 1:
        raise Malformed("a table has no rows")
    if len(columns) == width:
        if any(len(column) != count for column in columns):
            raise Malformed("a column of a table is not as long as the table")
        return zip(*columns, strict=False)
    if len(columns) != 1 or len(columns[0]) != count * width:
        raise Malformed("a table does not have as many items as it has places")
    return zip(*[iter(columns[0])] * width, strict=False)


def _rebuild_ragged(decoding: Decoding, kind: str, count: int, shape: list[Any], columns: list[list[Any]]) -> list[Any]:
    total, lengths = sized(shape, 2)
    typed(lengths, list)
    (flat,) = sized(columns, 1)
    if len(lengths) != count or set(map(type, lengths)) != {int} or min(lengths) < 0:
        raise Malformed("the lengths of the rows of a table are not as many as the rows")
    if sum(lengths) != total or len(flat) != total:
        raise Malformed("the rows of a table do not have as many items as there are")
    decoding.spend(weight_of_rows(count, 0))
    make: Callable[[Any], Any] = tuple if kind == "t" else list
    if kind == "l":
        return _in_parts(flat[begin:end] for begin, end in pairwise(accumulate(lengths, initial=0)))
    return _in_parts(map(make, map(islice, repeat(iter(flat)), lengths)))


def _rebuild_dicts(
    decoding: Decoding, keys: Sequence[str], columns: list[list[Any]], count: int
) -> list[dict[str, Any]]:
    width = len(keys)
    if len(set(keys)) != width:
        raise Malformed("a key of a dict comes twice")
    _rows(columns, count, width)
    decoding.spend(weight_of_rows(count, width))
    if len(columns) != width:
        columns = [columns[0][place::width] for place in range(width)]
    # A copy with its values replaced takes half the time of a dict that is made of pairs.
    found: list[dict[str, Any]] = _in_parts(map(dict.copy, repeat(dict.fromkeys(keys), count)))
    for key, column in zip(keys, columns, strict=True):
        for made, item in zip(found, column, strict=True):
            made[key] = item
    return found


def _in_parts(rows: Iterable[Any]) -> list[Any]:
    # Other threads have the interpreter between two parts.
    each = iter(rows)
    found = list(islice(each, _PART))
    while more := list(islice(each, _PART)):
        found += more
    return found


ROWS = (Row(Own.COLUMNS, _rebuild),)
