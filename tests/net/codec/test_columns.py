"""Tables come back as they were: rows of one shape, of several lengths, and what only looks like them."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pytest
from cbor2 import CBORTag, dumps
from hypothesis import given
from hypothesis import strategies as st

from qmi.errors import QMI_ValueNotSendableException
from qmi.net.codec import Codec, columns, marshalled
from qmi.net.codec.columns import COLUMNS_FROM, FEW_BYTES, MOST_LEVELS, tables_ahead
from qmi.net.codec.tags import Own
from qmi.net.limits import Limits, ProtocolError
from qmi.net.protocol.memory_estimate import costs_of, foresee, is_slow
from tests.support.examples import examples
from tests.support.values import Point, Settings, same

CODEC = Codec()
HEAD = b"\xd9" + Own.COLUMNS.to_bytes(2)


RECORDS = [b"\xd9" + Own.PACKED.to_bytes(2) + b"\x83a" + form for form in (b"R", b"N")]


def through(value: Any, codec: Codec = CODEC) -> Any:
    encoded = codec.encode(value)
    return codec.decode(encoded.payload, [bytearray(segment) for segment in encoded.segments])


def is_table(value: Any) -> bool:
    payload = CODEC.encode(value).payload
    return HEAD in payload or any(head in payload for head in RECORDS)


class Level(IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


_SCALARS = st.floats() | st.integers(-(1 << 70), 1 << 70) | st.booleans() | st.none() | st.text(max_size=2)
_ITEMS = st.one_of(
    _SCALARS,
    st.sampled_from(
        [1j, b"ab", np.float64(1.5), np.bool_(True), np.int8(3), (1, 2.0), [1], {"a": 1}, {}, [], (), Level.LOW,
         Point(1.0), {1: 2}, frozenset({1})]
    ),
)  # fmt: skip
_ROWS: dict[str, Callable[[st.SearchStrategy[Any], int], st.SearchStrategy[Any]]] = {
    "tuples": lambda items, width: st.tuples(*[items] * width),
    "lists": lambda items, width: st.tuples(*[items] * width).map(list),
    "dicts": lambda items, width: st.fixed_dictionaries({f"key {place}": items for place in range(width)}),
    "tuples of any length": lambda items, width: st.lists(items, max_size=width).map(tuple),
    "lists of any length": lambda items, width: st.lists(items, max_size=width),
    "dicts of any keys": lambda items, width: st.dictionaries(
        st.sampled_from(["a", "b", "ä", 1]), items, max_size=width
    ),
}


@pytest.mark.parametrize("make", _ROWS.values(), ids=_ROWS)
@pytest.mark.parametrize("items", [_SCALARS, _ITEMS, st.floats()], ids=["scalars", "anything", "floats"])
def test_rows_come_back_equal_and_of_the_same_types(
    make: Callable[[st.SearchStrategy[Any], int], st.SearchStrategy[Any]], items: st.SearchStrategy[Any]
) -> None:
    @examples(12)
    @given(st.integers(0, 4).flatmap(lambda width: st.lists(make(items, width), min_size=1, max_size=9)), st.booleans())
    def check(rows: list[Any], many: bool) -> None:
        value = rows * 40 if many else rows
        assert same(value, through(value))
        assert same(tuple(value), through(tuple(value)))
        named = {f"row {number}": row for number, row in enumerate(value)}
        assert same(named, through(named))

    check()


@examples(25)
@given(
    st.recursive(
        _SCALARS,
        lambda inner: st.one_of(
            st.lists(inner, min_size=4, max_size=5),
            st.tuples(inner, inner),
            st.fixed_dictionaries({"a": inner, "b": inner}),
            inner.map(lambda row: [row] * 5),
        ),
        max_leaves=20,
    )
)
def test_tables_in_tables_come_back(value: Any) -> None:
    assert same(value, through(value))
    assert same([value] * 6, through([value] * 6))


@pytest.mark.parametrize("size", [COLUMNS_FROM, 127, 128, 129, 16_384, 16_385, 40_000])
@pytest.mark.parametrize(
    "row",
    [(1.5, 2.5), [1, 2, 3], (1, 2.5, "n", True, None), {"x": 1.5, "y": 2.5}, {"x": 1.5, "n": 1, "t": "ab"}, [None],
     (1j, 2j), (b"ab", b"c"), (1, (2, 3.5)), {"a": [1, 2], "b": {"c": 1}}],
    ids=str,
)  # fmt: skip
def test_table_of_any_length_comes_back_whole(row: Any, size: int) -> None:
    value = [row] * size
    assert is_table(value)
    found = through(value)
    assert found == value
    assert same(found[0], row)
    assert same(found[-1], row)
    assert found[0] is not found[1] or type(row) is tuple


@pytest.mark.parametrize("kind", [list, tuple])
def test_rows_of_several_lengths_come_back(kind: Callable[[Any], Any]) -> None:
    for value in (
        [kind([0.5] * (number % 5)) for number in range(1000)],
        [kind(())] * 5,
        [kind([1, "a"]), kind([]), kind([None]), kind([2.5, True, 1])],
        [kind([kind([1]), kind([])]), kind([kind([2, 3])]), kind([]), kind([])],
    ):
        assert is_table(value)
        assert same(value, through(value))


class Pair(NamedTuple):
    a: int
    b: int


@pytest.mark.parametrize(
    "odd",
    [Pair(1, 2), [1, 2], (1, 2, 3), (), {"a": 1, "b": 2}, OrderedDict({"a": 1, "b": 2}), None, 1.5, Settings(1.0),
     {"b": 2, "a": 1}, {"a": 1, "c": 2}, {"a": 1}, {"a": 1, "b": 2, "c": 3}, {1: 1, "b": 2}, {"a": (1,), "b": {}},
     {}, np.array([1, 2])],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("row", [(1, 2), [1, 2], {"a": 1, "b": 2}], ids=str)
def test_one_row_that_differs_keeps_its_shape_and_type(row: Any, odd: Any) -> None:
    for place in (0, 1, 4):
        value = [row] * 5
        value[place] = odd
        assert same(value, through(value))


def test_keys_that_come_round_at_other_places_are_no_table() -> None:
    value: list[dict[str, int]] = [{"a": 1, "b": 2}, {"a": 3, "b": 4}, {"a": 5}, {"b": 6, "a": 7}, {"b": 8}]
    value.append({"a": 1, "b": 2})
    assert HEAD not in CODEC.encode(value).payload
    assert same(value, through(value))


def test_key_of_another_type_that_is_equal_is_refused_as_ever() -> None:
    for place in range(5):
        value: list[dict[str, int]] = [{"a": 1, "b": 2} for _ in range(5)]
        value[place] = {"a": 1, Text("b"): 2}
        with pytest.raises(QMI_ValueNotSendableException, match=rf"value\[{place}\] has a key that cannot be sent"):
            CODEC.encode(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([(1, 2)] * 4 + [(1, open)], "result[4][1]: builtin_function_or_method cannot be sent"),
        ([(1, 2)] * 300 + [(1, open)], "result[300][1]: builtin_function_or_method cannot be sent"),
        ([[1], [], [1, 2], [3, open]], "result[3][1]: builtin_function_or_method"),
        ([{"a": (1,)}] * 4 + [{"a": (open,)}], "result[4]['a'][0]: builtin"),
        ({f"k{n}": {"a": n, "b": open} for n in range(5)}, "result['k0']['b']: builtin"),
        ([("a", "b")] * 4 + [("a", "\ud800")], "result[4][1] contains '\\ud800'"),
        ([[], ["a"], ["b", "\ud800"], []], "result[2][1] contains '\\ud800'"),
        ([{"a": 1, "\ud800": 2}] * 5, "result[0] (a key) contains '\\ud800'"),
        ({f"k{n}": [{"a": n, "b": "\ud800"}] * 5 for n in range(5)}, "result['k0'][0]['b'] contains"),
        ([(1, 1 << 600_000)] * 5, "result[0][1] is an integer of 600001 bits"),
        ([[[[[[[[(1, open)] * 4] * 4] * 2] * 2]]]] * 4, "result[0][0][0][0][0][0][0][0][1]: builtin"),
    ],
)
def test_refusal_says_in_which_row_and_place_the_value_sits(value: Any, text: str) -> None:
    with pytest.raises(QMI_ValueNotSendableException) as caught:
        CODEC.encode(value, "result")
    assert text in str(caught.value)


def test_table_that_contains_itself_is_refused() -> None:
    for make in (lambda inner: [[inner]] * 4, lambda inner: [inner] * 8, lambda inner: [{"a": inner}] * 5):
        value: list[Any] = []
        value += make(value)
        with pytest.raises(QMI_ValueNotSendableException):
            Codec(Limits(objects=100_000)).encode(value)


def test_rows_that_share_a_large_part_are_not_listed_before_they_are_refused() -> None:
    shared = [0] * 500
    with pytest.raises(QMI_ValueNotSendableException, match=r"more items|too many"):
        Codec(Limits(objects=400_000)).encode([shared] * 100_000)


def test_row_that_is_changed_meanwhile_does_not_move_others(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Any] = [[1, b"2"], [3, b"4"], [5, b"6"], [7, b"8"]]
    table = columns._table

    def changed(*args: Any) -> Any:
        rows[0].append(9)
        rows[1].pop()
        return table(*args)

    monkeypatch.setattr(columns, "_table", changed)
    assert through(rows) == [[1, b"2"], [3, b"4"], [5, b"6"], [7, b"8"]]


@pytest.mark.parametrize(("count", "width"), [(4, 20), (10, 100), (100, 5)])
def test_dicts_of_values_of_one_type_are_one_column(count: int, width: int) -> None:
    """A column for each key would be a short list, and there would be as many as keys."""
    dicts = [{f"k{key}": np.float64(key * row) for key in range(width)} for row in range(count)]
    assert CODEC.encode(dicts).payload.startswith(HEAD + b"\x84"), "kind, count, keys, and a column"
    assert through(dicts) == dicts


@pytest.mark.parametrize("change", ["row is gone", "row has another key"])
def test_dicts_that_are_changed_meanwhile_are_what_they_were_or_are(
    monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    dicts: list[dict[str, object]] = [{"a": number, "b": b"2"} for number in range(4)]
    before = [row.copy() for row in dicts]

    def changed(key: str) -> Any:
        if change == "row is gone":
            del dicts[1:]
        else:
            dicts[0].pop("a", None)
            dicts[0]["c"] = 9
        return itemgetter(key)

    monkeypatch.setattr(columns, "itemgetter", changed)
    assert through(dicts) == (before if change == "row is gone" else dicts)
    assert dicts != before


@pytest.mark.parametrize("count", [600, 20_000])
@pytest.mark.parametrize("step", ["letters", "parts_of"])
@pytest.mark.parametrize("change", ["append", "pop", "clear"])
def test_rows_of_numbers_that_come_or_go_meanwhile_are_as_many_as_are_sent(
    monkeypatch: pytest.MonkeyPatch, change: str, step: str, count: int
) -> None:
    rows = [(1.0, 2.0)] * count
    original = getattr(marshalled, step)

    def changed(*args: Any) -> Any:
        monkeypatch.setattr(marshalled, step, original)
        getattr(rows, change)(*[(1.0, 2.0)][: change == "append"])
        return original(*args)

    monkeypatch.setattr(marshalled, step, changed)
    found = through(rows)
    assert found == [(1.0, 2.0)] * len(found)
    assert len(found) == len(rows)


# -- what it becomes is known before, and bounded


@pytest.mark.parametrize("width", [1, 2, 5, 6, 11, 23, 90])
@pytest.mark.parametrize("kind", ["tuples", "lists", "dicts", "lists of several lengths"])
@pytest.mark.parametrize("count", [1000, 20_000])
def test_memory_of_rows_is_estimated_from_what_a_table_announces(width: int, kind: str, count: int) -> None:
    if count * width > 100_000:
        count = 1000
    item = {"tuples": (True,) * width, "lists": [True] * width, "dicts": {f"k{n}": True for n in range(width)}}
    rows = [item.get(kind, [True] * width)] * count
    if kind == "lists of several lengths":
        rows[0] = []
    encoded = CODEC.encode(rows)
    assert is_table(rows)
    ahead = tables_ahead(encoded.payload)
    assert ahead.rows == count
    found = CODEC.decode(encoded.payload, [bytes(segment) for segment in encoded.segments])
    assert ahead.memory >= sum(map(sys.getsizeof, found)), "or a message takes more than was set aside for it"
    assert costs_of(foresee(encoded.payload, sum(map(len, encoded.segments)))).values >= ahead.memory
    assert is_slow(foresee(encoded.payload, 0)) == (count > 8192) or len(encoded.payload) > 4096


@pytest.mark.parametrize("row", [[1, [2, 3]], (1, (2, 3)), {"a": 1, "b": {"c": 2}}, [1, {"a": 2}]], ids=repr)
@pytest.mark.parametrize("count", [1000, 9000])
def test_rows_with_containers_in_them_are_counted_ahead(row: Any, count: int) -> None:
    """Where there are many, nobody waits for their decoding, and the garbage collector rests meanwhile."""
    encoded = CODEC.encode([row] * count)
    assert tables_ahead(encoded.payload).rows == count
    frame = foresee(encoded.payload, sum(map(len, encoded.segments)))
    assert is_slow(frame) == (count > 8192)
    found = CODEC.decode(encoded.payload, [bytes(segment) for segment in encoded.segments])
    inner = [
        item for each in found for item in (each.values() if type(each) is dict else each) if type(item) is not int
    ]
    assert len(inner) == count
    assert costs_of(frame).values >= sum(map(sys.getsizeof, [*found, *inner]))


def test_many_tables_are_estimated_together() -> None:
    value = [[[(1, b"2")] * 4, 5, "a"], [[(1, b"2")] * 4, 5, "a"], 7] * 50
    ahead = tables_ahead(CODEC.encode(value).payload)
    assert ahead.memory >= 40 << 20
    assert tables_ahead(b"\x65hello") == (0, 0)
    assert tables_ahead(HEAD) == (0, 0)
    for rest in (b"\x84", b"\x84\x61", b"\x84\x61x\x19\x7f\xff\x01", b"\x84\x62tt\x01\x01", b"\x84\x61t\x9f"):
        assert tables_ahead(HEAD + rest) == (0, 0), "what is decoded as no table counts as none"


def table(*parts: Any) -> bytes:
    return dumps(CBORTag(Own.COLUMNS, list(parts)))


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (dumps(CBORTag(Own.COLUMNS, None)), "expected list"),
        (table(), "no columns"), (table("t", 4, 1), "no columns"),
        (table("x", 1, 1, [1]), "kind of the rows"), (table(1, 1, 1, [1]), "expected str"),
        (table("t", "1", 1, [1]), "expected int"), (table("t", True, 1, [1]), "expected int"),
        (table("t", 1, 1.0, [1]), "expected int"), (table("t", 1, None, [1]), "expected int"),
        (table("t", 1, 1, 1), "expected list"), (table("t", 1, 1, b"1"), "expected list"),
        (table("t", 0, 1, []), "no rows"), (table("t", -1, 1, [1]), "no rows"), (table("t", 1, 0, []), "no rows"),
        (table("t", 1 << 70, 0, []), "no rows"), (table("t", 1, -1, [1]), "no rows"),
        (table("t", 2, 1, [1]), "as long as the table"), (table("t", 1, 1, [1, 2]), "as long as the table"),
        (table("t", 2, 2, [1, 2], [1]), "as long as the table"), (table("t", 2, 2, [1, 2, 3]), "as many items"),
        (table("t", 1 << 60, 1 << 60, [1]), "as many items"), (table("t", 2, 3, [1, 2], [3, 4]), "as many items"),
        (table("l", 2, [2], [1, 2]), "expected 2 items"), (table("l", 2, [2, 3], [1, 2]), "expected list"),
        (table("l", 2, [2, [1]], [1, 2]), "lengths"), (table("l", 2, [2, [1, 2]], [1, 2]), "as many items"),
        (table("l", 2, [3, [1, 2]], [1, 2]), "as many items"), (table("l", 2, [2, [3, -1]], [1, 2]), "lengths"),
        (table("l", 2, [2, [1.0, 1]], [1, 2]), "lengths"), (table("t", 0, [0, []], []), "lengths"),
        (table("l", 2, [2, [True, 1]], [1, 2]), "lengths"),
        (table("l", 2, [2, [1, 1]], [1, 2], [3]), "expected 1 items"),
        (table("d", 1, 1, [1]), "expected list"), (table("d", 1, [1], [1]), "list of texts"),
        (table("d", 1, [], [1]), "no rows"), (table("d", 1, ["a", "a"], [1], [1]), "twice"),
        (table("d", 2, ["a", "b"], [1], [2]), "as long as the table"), (table("d", 2, ["a"], [1]), "as long"),
    ],
)  # fmt: skip
def test_fault_08_malformed_table_is_refused(payload: bytes, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        CODEC.decode(payload)


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"\x84\x61t\x19\x03\xe8\x01",
        b"\xda\0\0" + HEAD[1:] + b"\x84\x61t\x19\x03\xe8\x01",
        b"\xdb" + bytes(6) + HEAD[1:] + b"\x84\x61t\x19\x03\xe8\x01",
        HEAD + b"\x98\x04\x61t\x19\x03\xe8\x01",
        HEAD + b"\x84\x78\x01t\x19\x03\xe8\x01",
        HEAD + b"\x84\x61t\x1b" + (1000).to_bytes(8) + b"\x01",
        HEAD + b"\x84\x61t\xc2\x42\x03\xe8\x01",
        HEAD + b"\x84\x61t\x19\x03\xe8\xc2\x41\x01",
        HEAD + b"\x84\x61l\x19\x03\xe8\x82\xc2\x42\x03\xe8" + dumps(CBORTag(Own.PACKED, ["n", "|u1", b"\1" * 1000])),
        HEAD + b"\x84\x61d\x19\x03\xe8" + dumps(CBORTag(Own.PACKED, ["s", "\0", b"a"])),
    ],
    ids=[
        "usual",
        "tag of 4",
        "tag of 8",
        "array",
        "text",
        "count",
        "big count",
        "big width",
        "big total",
        "packed keys",
    ],
)
def test_fault_08_rows_are_foreseen_however_their_head_is_written(head: bytes) -> None:
    payload = head + dumps(CBORTag(Own.PACKED, ["?", None, bytes(1000)]))
    ahead = tables_ahead(payload)
    try:
        found = CODEC.decode(payload)
    except ProtocolError:
        return
    assert len(found) == 1000
    assert ahead.rows >= 1000
    assert ahead.memory >= 1000 * 64
    with pytest.raises(ProtocolError, match="too many objects"):
        Codec(Limits(objects=5000)).decode(payload)


def test_few_bytes_cannot_become_many_rows() -> None:
    for depth in range(40):
        for size in (1, 10, 100, 200):
            payload = nested_tables(depth, size)
            if len(payload) <= FEW_BYTES:
                assert depth * size * 10 < 256 * len(payload)


def nested_tables(depth: int, size: int, kind: str = "t") -> bytes:
    """Tables of one column that is a table again: each level makes rows of the same bytes."""
    payload: Any = CBORTag(Own.PACKED, ["?", None, bytes(size)])
    for _ in range(depth):
        payload = CBORTag(Own.COLUMNS, [kind, size, ["a"] if kind == "d" else 1, payload])
    return dumps(payload)


@pytest.mark.parametrize("kind", ["t", "l", "d"])
def test_fault_08_tables_in_tables_make_no_more_rows_than_a_message_of_their_size_may(kind: str) -> None:
    assert len(CODEC.decode(nested_tables(MOST_LEVELS, 300, kind))) == 300
    with pytest.raises(ProtocolError, match="packed lists have too many objects"):
        CODEC.decode(nested_tables(30, 300, kind))
    with pytest.raises(ProtocolError, match="packed lists have too many objects"):
        Codec(Limits(objects=100_000)).decode(nested_tables(1, 15_000, kind))


@pytest.mark.parametrize("wrap", [lambda v: (v,), lambda v: [v], lambda v: {"k": v}, lambda v: [[v], []]])
def test_deep_rows_are_not_refused_by_their_receiver(wrap: Callable[[Any], Any]) -> None:
    row: Any = True
    for _ in range(12):
        row = wrap(row)
        assert same([row] * 130, through([row] * 130))


def test_limit_of_objects_is_the_same_on_both_sides() -> None:
    codec = Codec(Limits(objects=40_000))
    for row in ((True,), [True], {"a": True}, (True, 1.5), {"a": True, "b": 1}):
        texts = []
        for count in range(500, 6000, 250):
            try:
                encoded = codec.encode([row] * count)
            except QMI_ValueNotSendableException as error:
                texts.append(str(error))
                continue
            assert codec.decode(encoded.payload, [bytes(segment) for segment in encoded.segments]) == [row] * count
        assert texts
        assert all("limit" in text or "too many" in text or "more items" in text for text in texts)
