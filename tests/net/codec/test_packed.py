"""Long lists come back with the same values, each of the type that it had."""

from __future__ import annotations

import math
import sys
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from cbor2 import CBORTag, dumps
from hypothesis import given
from hypothesis import strategies as st

from qmi.errors import QMI_ValueNotSendableException
from qmi.net.codec import Codec, arrays, columns, keys, marshalled, packed, records
from qmi.net.codec.budget import weigh, weigh_few
from qmi.net.codec.packed import PACK_FROM, has_long_integer
from qmi.net.codec.tags import MAX_TEXT_BYTES, Own
from qmi.net.limits import ProtocolError
from qmi.net.protocol.memory_estimate import costs_of, foresee
from tests.support.examples import examples
from tests.support.values import Point, same

CODEC = Codec()
_ITEMS: dict[str, st.SearchStrategy[Any]] = {
    "floats": st.floats(),
    "integers of 64 bits": st.integers(-(1 << 63), (1 << 63) - 1),
    "long integers": st.integers(-(1 << 511), (1 << 511) - 1),
    "integers at the edge": st.sampled_from([(1 << 63) - 1, 1 << 63, -(1 << 63), -(1 << 63) - 1, 0]),
    "integers too long to be packed": st.sampled_from([1 << 511, -(1 << 511) - 1, 1 << 4000]),
    "bools": st.booleans(),
    "complex": st.complex_numbers(),
    "texts": st.text(max_size=3),
    "bytes": st.binary(max_size=3),
    "None": st.none(),
    "bools and None": st.booleans() | st.none(),
    "floats and None": st.floats() | st.none(),
    "floats and integers": st.floats() | st.integers(),
    "bools and integers": st.booleans() | st.integers(0, 1),
    "numpy floats": st.floats().map(np.float64),
    "numpy floats of 32 bits": st.floats(width=32).map(np.float32),
    "numpy integers": st.integers(-128, 127).map(np.int8),
    "numpy integers of 64 bits": st.integers(0, (1 << 64) - 1).map(np.uint64),
    "numpy bools": st.booleans().map(np.bool_),
    "numpy complex": st.complex_numbers(width=64).map(np.complex64),
    "numpy dates": st.integers(-(10**6), 10**6).map(lambda day: np.datetime64(day, "D")),
    "numpy dates of several units": st.sampled_from([np.datetime64(1, "D"), np.datetime64(1, "ns")]),
    "floats and numpy floats": st.floats() | st.floats().map(np.float64),
    "all of them": st.sampled_from(
        [1, 1.0, True, None, "1", b"1", 1j, np.int64(1), np.float64(1), np.bool_(True), (1,)]
    ),
}


def through(value: Any) -> Any:
    encoded = CODEC.encode(value)
    return CODEC.decode(encoded.payload, [bytearray(segment) for segment in encoded.segments])


def as_dict(items: list[Any]) -> dict[Any, Any]:
    return {f"key {index}": item for index, item in enumerate(items)}


def as_numbered_dict(items: list[Any]) -> dict[Any, Any]:
    return dict(enumerate(items))


@pytest.mark.parametrize("make", [list, tuple, as_dict, as_numbered_dict])
@pytest.mark.parametrize("items", _ITEMS.values(), ids=_ITEMS)
def test_long_list_comes_back_equal_and_of_the_same_types(
    items: st.SearchStrategy[Any], make: Callable[[list[Any]], Any]
) -> None:
    @examples(6)
    @given(st.lists(items, min_size=1, max_size=12), st.sampled_from([PACK_FROM - 1, PACK_FROM, 300]))
    def check(some: list[Any], size: int) -> None:
        value = make((some * size)[:size])
        assert same(value, through(value))

    check()


@pytest.mark.parametrize("size", [4095, 4096, 4097, 8192, 65536, 65537, 140_000])
@pytest.mark.parametrize("item", [1.5, 7, True, 1j, "ab", b"ab", 1 << 70, np.float64(2), np.bool_(True), None])
def test_list_of_any_length_comes_back_whole(item: Any, size: int) -> None:
    value = [item] * size
    value[-1] = value[size // 2] = type(item)(0) if item is not None else None
    found = through(value)
    assert len(found) == size
    assert found == value
    assert set(map(type, found)) == {type(item)}


def test_long_list_is_the_same_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    value = [complex(-0.0, number) if number % 2 else complex(math.inf, -0.0) for number in range(300)]
    encoded = CODEC.encode(value)
    monkeypatch.setitem(sys.modules, "numpy", None)
    again = CODEC.encode(value)
    assert again.payload == encoded.payload
    found = CODEC.decode(again.payload, [bytearray(segment) for segment in again.segments])
    monkeypatch.undo()
    assert same(value, found)


@pytest.mark.parametrize("place", [1, 150])
@pytest.mark.parametrize("odd", [True, 1, 1.0, None, "x", b"x", 1j, np.float64(1), np.False_, [1]])
def test_one_item_of_another_type_keeps_it(odd: Any, place: int) -> None:
    for item in (0.5, 3, True, "ab", np.float64(2), np.True_, 2j, b"ab"):
        value: list[Any] = [item] * 300
        value[place] = odd
        assert same(value, through(value))


@pytest.mark.parametrize("odd", [np.False_, True, 1, None, np.int8(1)])
def test_bools_of_numpy_are_told_by_where_they_lie(odd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    value = [np.True_, *(np.bool_(number % 3) for number in range(300)), odd, np.True_]
    usual = outcome(value)
    assert (arrays.flags_of(value) is None) == (odd is not np.False_)
    monkeypatch.setattr(arrays, "flags_of", lambda _: None)
    assert outcome(value) == usual


class Odd:
    """Not to be sent."""


class Level(IntEnum):
    ONE = 1


class Plain(Enum):
    HALF = 0.5


class Name(StrEnum):
    G = "g"


class Number(int):
    pass


class Real(float):
    __slots__ = ()


class Text(str):
    __slots__ = ()


class Pair(NamedTuple):
    a: int
    b: int


_ODD: list[Any] = [
    None, True, False, 1, -1, 1 << 31, -(1 << 31), (1 << 31) - 1, 1 << 63, 1 << 600, 0.0, -0.0, math.nan, math.inf,
    Level.ONE, Plain.HALF, Name.G, Decimal("1.5"), Decimal(1), uuid.UUID(int=1), date(2026, 1, 1), timedelta(1),
    Number(1), Real(0.5), Text("g"), Pair(1, 2), {1}, SimpleNamespace(a=1), 1 << 64, -(1 << 63) - 1, "\ud800",
    "g", b"g", bytearray(8), memoryview(b"g" * 8), np.float64(1), np.int32(1), np.bool_(True), np.zeros(1), [0.5],
    (), {}, 1j, ..., Odd(), Odd
]  # fmt: skip


def outcome(value: Any) -> object:
    """What arrives, with the types of its parts, or why it cannot be sent."""
    try:
        encoded = CODEC.encode(value)
    except QMI_ValueNotSendableException as error:
        return str(error)
    found = CODEC.decode(encoded.payload, [bytes(segment) for segment in encoded.segments])
    return repr(found), [type(item) for item in found]


@pytest.mark.parametrize("loaded", [True, False], ids=["numpy", "no numpy"])
@pytest.mark.parametrize("odd", _ODD, ids=lambda odd: f"{type(odd).__name__} {str(odd)[:12]}")
@pytest.mark.parametrize("item", [0.5, 3, True, None])
def test_list_that_is_packed_at_once_is_what_it_is_item_by_item(
    item: Any, odd: Any, loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (1, 150):
        value = [item] * 300
        value[place] = odd
        if not loaded and type(odd).__module__ == "numpy":
            continue
        with monkeypatch.context() as patch:
            if not loaded:
                patch.setitem(sys.modules, "numpy", None)
            at_once = outcome(value), outcome(tuple(value))
            patch.setattr(packed, "_AT_ONCE", {})
            assert at_once == (outcome(value), outcome(tuple(value)))


@pytest.mark.parametrize("loaded", [True, False], ids=["numpy", "no numpy"])
@pytest.mark.parametrize("odd", _ODD, ids=lambda odd: f"{type(odd).__name__} {str(odd)[:12]}")
@pytest.mark.parametrize("row", [(0.5, 1.5, 2.5), [0.5, 1.5, 2.5], (1, 2, 3), [7]], ids=str)
def test_rows_of_numbers_that_are_packed_at_once_are_what_they_are_row_by_row(
    row: Any, odd: Any, loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not loaded and type(odd).__module__ == "numpy":
        return
    for place in (0, 1, 700, 1199):
        with_odd_item = [row] * 1200
        with_odd_item[place] = type(row)([*row[:-1], odd])
        with_odd_row: list[Any] = [row] * 1200
        with_odd_row[place] = odd
        with monkeypatch.context() as patch:
            if not loaded:
                patch.setitem(sys.modules, "numpy", None)
            at_once = outcome(with_odd_item), outcome(with_odd_row)
            patch.setattr(columns, "pack_rows_of_numbers", lambda *_: None)
            assert at_once == (outcome(with_odd_item), outcome(with_odd_row))


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("form", ["d", "i"])
def test_rows_of_numbers_are_packed_at_once(kind: Any, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = list(range(-9000, 9000)) if form == "i" else [number * 0.1 for number in range(-9000, 9000)]
    value = [kind(numbers[place : place + 3]) for place in range(0, len(numbers), 3)]
    asked = []
    monkeypatch.setattr(columns, "countOf", lambda *_: asked.append(1))
    payload, segments = CODEC.encode(value)
    assert not asked, "each row was looked at"
    assert bytes((0x61, ord(form))) in payload
    assert same(value, CODEC.decode(payload, [bytes(segment) for segment in segments]))


def dict_that_had_another_key(item: Any) -> dict[Any, Any]:
    found: dict[Any, Any] = {1: item}
    found["a"] = found.pop(1)
    return found


@pytest.mark.parametrize("odd", _ODD, ids=lambda odd: f"{type(odd).__name__} {str(odd)[:12]}")
def test_types_in_rows_are_the_same_whoever_names_their_items(odd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values: list[Any] = [
        [(0.5, 1, "a"), (0.5, odd, "a")] * 3, [[0.5, "a"], [odd], []] * 3, [(), (odd,), (odd, odd)] * 3,
        [{"a": 0.5, "b": 1}, {"a": odd, "b": 1}] * 3, [dict_that_had_another_key(odd), {"b": odd}] * 3,
        [vars(SimpleNamespace(a=odd, b=1)) for _ in range(6)], [{"a": (0.5, odd)}, {"b": ()}] * 3,
        [[dict_that_had_another_key(odd)], [{"b": odd}, 1]] * 3,
    ]  # fmt: skip
    if type(odd).__hash__ is not None:
        values += [[{"a": 0.5}, {odd: 1}] * 3, [{"a": {"b": 0.5}}, {"a": {odd: 1}}] * 3, [{odd: 1, 2: odd}, {}] * 3]
    usual = [outcome(value) for value in values]
    monkeypatch.setattr(records, "get_referents", lambda *_: [])
    assert usual == [outcome(value) for value in values]


@pytest.mark.parametrize("odd", _ODD, ids=lambda odd: f"{type(odd).__name__} {str(odd)[:12]}")
def test_scalars_that_msgspec_writes_are_what_they_are_item_by_item(odd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    floats = [0.5] * 150
    values: list[Any] = [
        [None, *floats, odd, None], ["a", 1, *floats, odd, None], [b"a", *[b"b"] * 150, odd],
        [(0.5, 1), (0.5, odd)] * 3, [[0.5], [odd], []] * 3, [(0.5, [1, "a"]), (2, [odd])] * 3,
        [{"a": (1, 2)}, {"a": odd}] * 3, [[{"a": 1}], [{"b": odd}]] * 3, [{"a": 0.5, "b": 1}, {"a": odd, "b": 1}] * 3,
        {**dict.fromkeys(map(str, range(60)), 0.5), "odd": odd}, {**dict.fromkeys(range(60), 0.5), 61: odd},
    ]  # fmt: skip
    if type(odd).__hash__ is not None:
        values += [{**dict.fromkeys(map(str, range(60))), odd: 1}, [{"a": 1, odd: 1}] * 5]
    usual = [outcome(value) for value in values]
    monkeypatch.setattr(packed, "_AT_ONCE", {})
    monkeypatch.setattr(packed, "write_parts", lambda *_: None)
    monkeypatch.setattr(records, "write_parts", lambda *_: None)
    monkeypatch.setattr(records, "write", lambda _: None)
    assert usual == [outcome(value) for value in values]


@examples(200)
@given(
    st.sampled_from(["m", "B", "R", "N", "D"]),
    st.sampled_from(["t", "l", "d", "s", "i", None]),
    st.sampled_from(["t", "l", "d"]),
    st.integers(0, 3),
    st.integers(0, 40),
    st.binary(max_size=12) | st.recursive(
        st.none() | st.booleans() | st.integers(-9, 300) | st.floats() | st.text(max_size=2) | st.binary(max_size=2),
        lambda inner: st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=1) | st.integers(0, 3), inner, max_size=3),
        max_leaves=12,
    ).map(msgspec.msgpack.encode),
)  # fmt: skip
def test_fault_08_what_msgspec_reads_is_never_more_than_was_foreseen(
    form: str, kind: str | None, inner: str, rows: int, items: int, data: bytes
) -> None:
    detail = {"R": [kind, rows, items, None], "N": [kind, rows, inner, None], "D": kind}.get(form)
    payload = dumps(CBORTag(Own.PACKED, [form, detail, data]))
    try:
        found = CODEC.decode(payload)
    except ProtocolError:
        return
    assert costs_of(foresee(payload, 0)).total >= size_of(found)
    kinds = {"t": tuple, "l": list, "d": dict}
    levels: dict[str, list[Any]] = {
        "R": [list, kinds.get(kind or "")],
        "N": [list, kinds.get(kind or ""), kinds[inner]],
        "D": [dict],
    }
    check_levels(found, levels.get(form, [list]))


def size_of(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return (
        sys.getsizeof(value)
        + sum(map(size_of, parts))
        + (sum(map(sys.getsizeof, value)) if isinstance(value, dict) else 0)
    )


def check_levels(value: Any, levels: list[Any]) -> None:
    """What is in each other is of these types, from the outside; only scalars are anywhere else."""
    if type(value) in (bool, int, float, str, bytes, type(None)):
        return
    assert levels
    assert type(value) is levels[0]
    for part in value.values() if isinstance(value, dict) else value:
        check_levels(part, levels[1:])


@pytest.mark.parametrize("make", [str, int])
def test_memory_of_a_packed_dict_is_estimated(make: Callable[[Any], Any]) -> None:
    for size in (100, 349, 350, 5000, 65_000):
        value = {make(f"{number + 300}"): None for number in range(size)}
        encoded = CODEC.encode(value)
        assert b"\x83aD" in encoded.payload
        parts = sum(map(sys.getsizeof, value))
        assert costs_of(foresee(encoded.payload, sum(map(len, encoded.segments)))).total >= sys.getsizeof(value) + parts
        assert same(value, through(value))


def test_list_is_packed_item_by_item_where_marshal_writes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    values: list[Any] = [[True, None] * 150, [0.5] * 300, [7] * 300, [(0.5, 1.5)] * 600, [[7]] * 1200]
    usual = [CODEC.encode(value) for value in values]
    for version in (0, 4):
        monkeypatch.setattr(marshalled, "_VERSION", version)
        for value, (payload, segments) in zip(values, usual, strict=True):
            assert through(value) == value
            assert value[1] is not None or CODEC.encode(value) == (payload, segments)


@pytest.mark.parametrize("text", ["x", "é", "€z", "\U0001f600", "z\0"])
@pytest.mark.parametrize("around", [lambda text: text, lambda text: [text, 1], lambda text: {"a": (text, None)}])
def test_long_text_comes_back(text: str, around: Callable[[str], Any]) -> None:
    for size in (16_000, 70_000, 300_000):
        value = around(text * size)
        assert same(value, through(value))


@pytest.mark.parametrize("letter", ["x", "é", "€", "\U0001f600"])
def test_long_text_is_a_segment_and_is_estimated_as_what_it_becomes(letter: str) -> None:
    text = "x" * 40_000 + letter
    for value in (text, ["a", text, b"1"], [[b"", text]], {"a": (text, b"")}, Point(1.0, text)):
        encoded = CODEC.encode(value)
        assert len(encoded.payload) < 200
        size = sum(segment.nbytes for segment in encoded.segments)
        assert costs_of(foresee(encoded.payload, size)).total >= sys.getsizeof(text) * len(encoded.segments)
        assert same(value, through(value))
    encoded = CODEC.encode_fields([text, [text, b""], {"b": text}], ["a", "args", "kwargs"])
    assert len(encoded.segments) == 2
    assert CODEC.decode(encoded.payload, encoded.segments) == [text, [text, b""], {"b": text}]


def test_long_text_that_is_none_is_refused() -> None:
    tag = dumps(CBORTag(Own.TEXT, CBORTag(Own.SEGMENT, 0)))
    with pytest.raises(ProtocolError, match="can't decode"):
        CODEC.decode(tag, [b"\xff" * 20_000])
    with pytest.raises(ProtocolError, match="a text of 16777217 bytes; the limit is 16777216"):
        CODEC.decode(tag, [bytes(MAX_TEXT_BYTES + 1)])
    for payload in ("x", 1, [b"x"], CBORTag(Own.BYTES, b"x")):
        try:
            assert CODEC.decode(dumps(CBORTag(Own.TEXT, payload))) == "x"
        except ProtocolError:
            continue
    with pytest.raises(QMI_ValueNotSendableException, match=r"value\[1\] contains"):
        CODEC.encode([b"", "x" * 20_000 + "\ud800"])


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_body_of_few_items_weighs_what_any_body_does(value: Any) -> None:
    payload = CODEC.encode(value).payload
    if (few := weigh_few(payload)) is not None:
        assert few[0] == weigh(payload)
        assert not has_long_integer(payload)
    for cut in range(len(payload)):
        assert weigh_few(payload[:cut]) is None
    assert weigh_few(payload + b"\0") is None


def test_packed_lists_and_dicts_are_few_items() -> None:
    for value in ([0.5] * 1000, as_dict([0.5] * 1000), [1, as_dict([True] * 500), "x" * 9000]):
        payload = CODEC.encode(value).payload
        few = weigh_few(payload)
        assert few is not None
        assert few[0] == weigh(payload)
    assert weigh_few(CODEC.encode([1 << 70]).payload) is None


def test_long_text_is_not_looked_through() -> None:
    payload = dumps("\x7a" * 3_000_000)
    assert weigh_few(payload) == (0, 0, 0, "", [])
    assert costs_of(foresee(payload, 5)).arrays == 5
    assert 17 * 3_000_000 <= costs_of(foresee(payload, 5)).values <= 18 * 3_000_000


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int8, np.uint64, np.bool_, np.complex64])
def test_numpy_number_and_array_are_told_from_their_subclasses(kind: type) -> None:
    assert arrays.is_numpy_itself(kind)
    assert arrays.is_numpy_itself(np.ndarray)
    for other in (type("Own", (np.ndarray,), {}), np.matrix, np.recarray, np.generic, float, np.str_, np.datetime64):
        assert not arrays.is_numpy_itself(other)
    values: list[Any] = [kind(1), np.zeros(3, kind), [kind(1)], {"a": np.zeros((2, 3), kind)}]
    for value in values:
        assert same(value, through(value))


def test_numpy_that_is_imported_later_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_numpy_itself", frozenset())
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "numpy", None)
        assert not arrays.is_numpy_itself(np.ndarray)
    assert arrays.is_numpy_itself(np.ndarray)


@pytest.mark.parametrize("size", [3, 4, 127, 128])
def test_few_complex_numbers_come_back(size: int) -> None:
    value = [complex(number, -0.0) for number in range(size)]
    assert same(value, through(value))
    assert same((value, {"a": tuple(value)}), through((value, {"a": tuple(value)})))


@pytest.mark.parametrize("shift", [0, 60, 61, 62, 70])
@pytest.mark.parametrize("sign", [1, -1])
def test_integers_as_keys_are_refused_only_if_they_collide(shift: int, sign: int) -> None:
    value = {sign * (number << shift): number for number in range(300)}
    assert same(value, through(value))
    assert same(dict.fromkeys(value, 0.5), through(dict.fromkeys(value, 0.5)))
    colliding = {sign * number * sys.hash_info.modulus: number for number in range(300)}
    with pytest.raises(QMI_ValueNotSendableException, match="more than 64 keys have the same hash"):
        CODEC.encode(colliding)


def test_integers_of_32_bits_are_their_own_hash_and_need_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {number - 40_000: number * 0.5 for number in range(70_000)}
    monkeypatch.setattr(packed, "check_keys", lambda _: pytest.fail("they are looked at by their sender"))
    payload, segments = CODEC.encode(value)
    monkeypatch.undo()
    monkeypatch.setattr(keys, "countOf", lambda *_: pytest.fail("they are looked at one by one"))
    assert CODEC.decode(payload, [bytes(segment) for segment in segments]) == value
    monkeypatch.undo()
    assert same(value | {1 << 40: None, True: 1}, through(value | {1 << 40: None, True: 1}))


def test_nested_rows_that_are_too_large_are_not_written_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    value = [{"value": number * 0.5, "limits": (0.0, 10.0)} for number in range(10_000)]
    monkeypatch.setattr(records, "write_parts", lambda *_: pytest.fail("all rows are written"))
    payload, segments = CODEC.encode(value)
    monkeypatch.undo()
    assert CODEC.decode(payload, [bytes(segment) for segment in segments]) == value
    few = value[:100]
    assert b"\x83aN" in CODEC.encode(few).payload
    few[0] = {"value": "x" * 2000, "limits": (0.0,)}
    assert same(few, through(few))


@pytest.mark.parametrize("size", [100_000, (1 << 18) - 1, 1 << 18, (1 << 18) + 1])
def test_numbers_of_several_parts_come_back(size: int) -> None:
    for item in (0.5, 1 << 40, True):
        assert through([item] * size) == [item] * size


@pytest.mark.parametrize("value", [list(range(-20_000, 20_000)), [(1, -2)] * 9000, [[0.5, -0.0, math.inf]] * 9000])
def test_numbers_are_gathered_alike_with_numpy_and_without(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = CODEC.encode(value)
    monkeypatch.setitem(sys.modules, "numpy", None)
    without = CODEC.encode(value)
    assert (without.payload, list(map(bytes, without.segments))) == (usual.payload, list(map(bytes, usual.segments)))


def test_wide_rows_are_gathered_by_numpy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    value = [tuple(range(place, place + 17)) for place in range(100)]
    assert marshalled.numbers_in_rows(value, tuple, 17, marshalled.INTEGERS) is not None
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert marshalled.numbers_in_rows(value, tuple, 17, marshalled.INTEGERS) is None
    assert through(value) == value
