from __future__ import annotations

import abc
import copy
import enum
import sys
import threading
import zoneinfo
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given

from qmi.errors import QMI_ValueNotSendableException
from qmi.net.codec import Codec
from qmi.net.codec.unknown import NamedKind, UnknownTypeValue
from qmi.net.limits import Limits, ProtocolError
from tests.support.examples import examples
from tests.support.values import Color, Level, Mode, Point, Settings, Slotted, same, values

CODEC = Codec()


def through(value: Any, codec: Codec = CODEC) -> Any:
    encoded = codec.encode(value)
    return codec.decode(encoded.payload, [bytearray(segment) for segment in encoded.segments])


Old = namedtuple("Old", "a b")


class Base(NamedTuple):
    a: int


@examples(250)
@given(values)
def test_any_value_comes_back_equal_and_of_the_same_type(value: Any) -> None:
    assert same(value, through(value))


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -1, 2**63, -(2**64), 2**4000, -(2**4000), 1.5, -0.0, float("inf"), "", "µ", b"", b"x" * 100_000,
        bytearray(b"y"), bytearray(b"y" * 100_000), [], (), set(), frozenset(), {}, [[]], ((),), {1: 2}, {(1, 2): [3]},
        {"b": 1, "a": 2}, {3: 1, 1: 2}, {None: 1, True: 2}, 1j, datetime(2020, 1, 2, 3, 4, 5, 6),
        datetime(2020, 1, 2, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=timezone(timedelta(hours=-3), "X")),
        datetime(2020, 10, 25, 2, 30, fold=1), date(1, 1, 1), time(1, 2, 3, 4), time(1, tzinfo=UTC), timedelta(-1, 2,
        3),
        Decimal("1.50"), Decimal("NaN"), Decimal("-Infinity"), Decimal("1E+1000"), Fraction(-1, 3), UUID(int=5),
        MappingProxyType({1: (2,)}), range(1, 9, 2), slice(None, 3, None), Color.RED, Color.ODD, Level.LOW,
        Mode.A | Mode.C, Mode(0), Point(1.0,
        "a"),
        Old([1], 2), Settings(1.0, ["x"], Settings(2.0)), Slotted(1, "b"), {Level.LOW: 1}, {np.int64(3): 1},
        np.float64(1.5), np.int8(3), np.bool_(True), np.str_("ab"), np.bytes_(b"ab"), np.datetime64("2020-01-01"),
        np.timedelta64(3, "ms"), np.complex64(1 + 2j), {Point(1.0): {1}}, {frozenset({1})},
    ],
    ids=lambda value: f"{type(value).__name__} {str(value)[:20]}",
)  # fmt: skip
def test_every_kind_of_value_survives(value: Any) -> None:
    assert same(value, through(value))


def strided() -> np.ndarray[Any, Any]:
    return np.arange(60_000.0).reshape(100, 600)[::3, ::-2]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(3), np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.array(5.0),
        np.zeros((0, 4)), np.zeros((3, 0, 2), order="F"), np.zeros(0), np.arange(9)[::-2], strided(), strided().T,
        np.arange(100_000.0).reshape(10, 20, 500), np.asfortranarray(np.arange(90_000.0).reshape(300, 300)),
        np.arange(5, dtype=">f8"), np.arange(5, dtype=">i2"), np.arange(5, dtype="<u4"), np.arange(4, dtype="f2"),
        np.array([True, False]), np.array([1 + 2j], "c8"), np.array(["a", "bcd"]), np.array([b"x", b"yz"]),
        np.array(["2020-01-01", "NaT"], "M8[D]"), np.array([1, 2], "m8[us]"), np.arange(3, dtype=np.longdouble),
        np.zeros(3, [("a", "<i4"), ("b", ">f8", (2, 2))]), np.zeros(2, np.dtype([("a", "u1"), ("b", "f8")],
        align=True)),
        np.zeros(2, [(("title", "name"), "i4"), ("x", "i4")]), np.broadcast_to(np.arange(3), (4, 3)),
        np.zeros((2, 2), [("n", [("x", "i2"), ("y", "S3")])]), np.zeros((0, 2), "S3"), np.zeros(0, [("a", "i4")]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)  # fmt: skip
def test_arrays_of_every_layout_and_byte_order_survive(array: np.ndarray[Any, Any]) -> None:
    back = through(array)
    assert same(array, back)
    assert back.flags.writeable
    if array.ndim > 1 and array.size:
        assert back.flags.c_contiguous or (back.flags.f_contiguous and array.flags.f_contiguous)


def test_arrays_are_not_copied_on_either_side() -> None:
    array = np.arange(10_000.0).reshape(100, 100)
    encoded = CODEC.encode([array, array.T])
    assert [np.shares_memory(np.frombuffer(segment), array) for segment in encoded.segments] == [True, True]
    memory = [bytearray(segment) for segment in encoded.segments]
    back = CODEC.decode(encoded.payload, memory)
    memory[0][:8] = np.float64(77).tobytes()
    assert back[0][0, 0] == 77
    assert back[1].flags.f_contiguous
    large = bytearray(50_000)
    one = CODEC.encode(large)
    received = bytearray(one.segments[0])
    assert CODEC.decode(one.payload, [received]) is received


class Money(Decimal):
    pass


class UserOrdered(OrderedDict[str, int]):
    pass


class Text(str):
    __slots__ = ()


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append([value])
    return value


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


class Loose(enum.Enum):
    A = 1

    def __hash__(self) -> int:
        return 1


@dataclass(frozen=True)
class Key:
    a: int


class Odd(np.ndarray[Any, Any]):
    pass


class Broken:
    pass


@dataclass
class Raising:
    x: int

    def __getattribute__(self, name: str) -> Any:
        if name == "x":
            raise KeyError("no x today")
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: threading.Lock(), r"result: threading.Lock cannot be sent; a dataclass, .* can; see docs/values\.md$"),
        (lambda: [1, 2, Settings(1.0, [], threading.Lock())], r"result\[2\]\.inner: threading.Lock cannot be sent"),
        (lambda: {"a": (1, {2: open})}, r"result\['a'\]\[1\]\[2\]: .* cannot be sent"),
        (lambda: (x for x in [1]), r"result: a generator cannot be sent; send list\(value\)"),
        (lambda: iter([1]), r"send list\(value\)"),
        (lambda: lambda: None, "result: a function cannot be sent"),
        (lambda: UserOrdered(a=1), r"UserOrdered cannot be sent; send dict\(value\)"),
        (lambda: defaultdict(lambda: 1), r"only by one of Python's own types; send dict\(value\)"),
        (lambda: Text("x"), r"send str\(value\)"),
        (lambda: memoryview(b"x"), r"send bytes\(value\)"),
        (lambda: sys, "a module cannot be sent"),
        (lambda: int, "a class cannot be sent"),
        (lambda: nested(65), "nested deeper than 64 levels"),
        (lambda: nested(10_000), "nested deeper than 64 levels"),
        (cyclic, "or contains itself"),
        (lambda: "a\ud800", "half of a surrogate pair"),
        (lambda: [1, {"k": ("\udfff",)}], r"result\[1\]\['k'\]\[0\] contains .* surrogate"),
        (lambda: {"\ud800": 1}, r"result \(a key\) contains"),
        (lambda: [Settings(1.0, ["\ud800"])], r"result\[0\]\.tags\[0\] contains"),
        (lambda: {1: {2: "\ud800"}}, r"result\[1\]\[2\] contains"),
        (lambda: np.zeros(2).view(Odd), r"Odd cannot be sent; send numpy\.asarray"),
        (lambda: {1: [threading.Lock()]}, r"result\[1\]\[0\]: threading"),
        (lambda: {1: {1: 2, "x": open}}, "cannot be sent"),
        (lambda: {1: nested(64)}, "nested deeper"),
        (lambda: [[Point(1.0, nested(63))]], "nested deeper"),  # type: ignore[arg-type]
        (lambda: 1 << 600_000, "an integer of 600001 bits; the limit is 524288"),
        (lambda: [Decimal("1" * 70_000)], "a Decimal of 70000 characters"),
        (lambda: Fraction(1, 1 << 70_000), "a Fraction of 70001 bits"),
        (lambda: ["x" * 17_000_000], "too large to be sent: 17000006 bytes .* limit is 4194048"),
        (lambda: "x" * 17_000_000, "too large to be sent: 17000005 bytes .* limit is 4194048"),
        (lambda: np.array([None]), "Python objects"),
        (lambda: np.zeros(3, "V0"), "have no bytes"),
        (lambda: np.zeros((1,) * 33), "has 33 dimensions, the limit is 32"),
        (lambda: np.array(["x"], np.dtypes.StringDType()), "cannot be sent"),
        (lambda: np.void(b""), "has no bytes"),
        (lambda: {Key(1): 1}, "has a key that cannot be sent: Key cannot be a key"),
        (lambda: {Loose.A}, "Loose cannot be a key"),
        (lambda: {k * (2**61 - 1) for k in range(1, 100)}, "have the same hash"),
        (lambda: time(1, tzinfo=zoneinfo.ZoneInfo("Europe/Amsterdam")), "time zone without an offset"),
        (lambda: Raising(1), "reading it raised KeyError: 'no x today'"),
        (Broken, "test_codec.Broken cannot be sent"),
    ],
)  # fmt: skip
def test_fault_10_value_that_cannot_be_sent_is_refused_with_its_place(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(QMI_ValueNotSendableException, match=text):
        CODEC.encode(make(), "result")


def test_fault_10_the_argument_to_blame_is_named() -> None:
    small = Codec(Limits(body=1000, frame=100_000))
    with pytest.raises(QMI_ValueNotSendableException, match=r"args\[1\]: threading.Lock"):
        small.encode_fields(["nsg", [1, threading.Lock()]], ["object", "args"])
    with pytest.raises(QMI_ValueNotSendableException, match=r"args\[0\] contains"):
        small.encode_fields(["nsg", ["\ud800"]], ["object", "args"])
    with pytest.raises(QMI_ValueNotSendableException, match=r"args is too large to be sent: 200.* in 1 large buffers"):
        small.encode_fields(["nsg", [np.zeros(200_000, "u1")]], ["object", "args"])
    big = Codec(Limits(body=66_000, frame=100_000))
    with pytest.raises(QMI_ValueNotSendableException, match="args is too large to be sent: 7"):
        big.encode_fields(["nsg", ["x" * 70_000, *range(20)]], ["object", "args"])  # among many: no segment
    assert len(big.encode_fields(["nsg", ["x" * 65_550, *range(20)]], ["object", "args"]).payload) > 65_536
    with pytest.raises(QMI_ValueNotSendableException, match=r"is too large to be sent: 1.* in 1 large"):
        big.encode([["x" * 65_550, *range(20)], np.zeros(50_000, "u1")])


def test_sixty_four_levels_are_fine_both_ways() -> None:
    assert through(nested(64)) == nested(64)
    for wrap in (lambda v: (v,), lambda v: {1: v}, lambda v: MappingProxyType({(1,): v}), lambda v: Point(1.0, v)):
        deep: Any = ()
        for _ in range(63):
            deep = wrap(deep)
        assert through(deep) == deep
        with pytest.raises(QMI_ValueNotSendableException, match="deeper than 64"):
            through(wrap(deep))
    assert len(CODEC.encode_fields([[nested(64)]], ["args"]).payload) > 60


def test_a_zone_comes_back_as_its_offset() -> None:
    value = datetime(2020, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Amsterdam"))
    back = through(value)
    assert back == value
    assert back.tzname() == "CEST"


class Proxy:
    def __init__(self, name: str) -> None:
        self.name = name


def test_references_go_through_the_hooks() -> None:
    def persistent(value: object) -> tuple[str, str] | None:
        return ("ctx", value.name) if isinstance(value, Proxy) else None

    def restore(plain: object) -> Proxy:
        assert isinstance(plain, tuple)
        return Proxy(plain[1])

    codec = Codec(persistent=persistent, restore=restore)
    back = through({"p": [Proxy("nsg"), Color.RED]}, codec)
    assert isinstance(back["p"][0], Proxy)
    assert back["p"][0].name == "nsg"
    with pytest.raises(ProtocolError, match="a link that has none"):
        CODEC.decode(codec.encode(Proxy("nsg")).payload)


def test_types_that_are_not_imported_become_readable_and_can_be_sent_on(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [Settings(2.5, ["t"]), Point(1.0, "p"), Color.RED, Mode.A | Mode.B, Slotted(1, "b")]
    encoded = CODEC.encode(values)
    keys = CODEC.encode({Color.RED: 1, Point(1.0): 2})
    monkeypatch.setitem(sys.modules, "tests.support.values", None)
    found = CODEC.decode(encoded.payload)
    assert all(isinstance(item, UnknownTypeValue) for item in found)
    assert (found[0].rate, found[0].tags, found[1].label, found[2].name) == (2.5, ["t"], "p", "RED")
    assert "tests.support.values.Settings(rate=2.5, tags=['t'], inner=None)" in repr(found[0])
    with pytest.raises(AttributeError, match="has no field 'nothing'"):
        _ = found[0].nothing
    relayed = CODEC.encode(found)
    table = CODEC.decode(keys.payload)
    assert [key.type_kind for key in table] == [NamedKind.ENUM, NamedKind.NAMED_TUPLE]
    relayed_table = CODEC.encode(table)
    monkeypatch.undo()
    assert CODEC.decode(relayed.payload) == values
    assert CODEC.decode(relayed_table.payload) == {Color.RED: 1, Point(1.0): 2}
    assert found[0] == CODEC.decode(CODEC.encode(found[0]).payload) or found[0] != 3


@pytest.mark.parametrize("kind", [np.longlong, np.ulonglong, np.int_, np.uint, np.intc, np.uintc])
def test_number_of_numpy_arrives_by_its_size(kind: type[np.integer[Any]]) -> None:
    """Several names are one kind of number; which ones differs between systems."""
    for value in (kind(1), kind(np.iinfo(kind).max)):
        found = CODEC.decode(CODEC.encode(value).payload)
        assert (found, found.dtype, found.tobytes()) == (value, value.dtype, value.tobytes())
        assert type(found) is np.dtype(np.dtype(kind).str).type


def test_array_without_numpy_becomes_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = CODEC.encode([np.arange(4, dtype="<i2").reshape(2, 2), np.float32(1)])
    monkeypatch.setitem(sys.modules, "numpy", None)
    array, scalar = CODEC.decode(encoded.payload)
    assert array.fields == {"dtype": "<i2", "data": bytes([0, 0, 1, 0, 2, 0, 3, 0]), "shape": (2, 2)}
    assert scalar.dtype == "<f4"
    with pytest.raises(QMI_ValueNotSendableException, match="numpy is needed"):
        CODEC.encode(array)
    missing = "numpy is not installed here, or too old: pip install 'qmi-trio[numpy]'"
    assert repr(array) == f"<numpy.ndarray(dtype='<i2', shape=(2, 2)): {missing}>"
    for use in (lambda: array[0], lambda: list(array), lambda: max(array)):
        with pytest.raises(TypeError, match=r"or too old: pip install .* has no items"):
            use()
    with pytest.raises(AttributeError, match=r"or too old: pip install .* has no field 'mean'"):
        array.mean()
    assert bool(array)
    assert copy.deepcopy(array) == array


def test_a_standin_compares_by_its_fields() -> None:
    one = UnknownTypeValue(NamedKind.DATACLASS, "m:T", {"a": 1})
    assert one == UnknownTypeValue(NamedKind.DATACLASS, "m:T", {"a": 1})
    assert one != UnknownTypeValue(NamedKind.DATACLASS, "m:T", {"a": 2})
    assert one != 3
    with pytest.raises(AttributeError):
        _ = UnknownTypeValue.__new__(UnknownTypeValue).fields
    assert copy.deepcopy(one) == one


def test_an_array_of_a_dtype_that_this_numpy_lacks_becomes_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = CODEC.encode(np.zeros(2, "<c16"))

    def refuse(*args: object) -> None:
        raise TypeError("no such dtype here")

    monkeypatch.setattr(np, "dtype", refuse)
    assert CODEC.decode(encoded.payload).fields["dtype"] == "<c16"


class Slots:
    __slots__ = ("__weakref__",)


@dataclass
class NoDict(Slots):
    __slots__ = ("hidden",)
    a: int


def test_a_dataclass_that_cannot_hold_its_fields_becomes_a_standin() -> None:
    payload = CODEC.encode(UnknownTypeValue(NamedKind.DATACLASS, f"{__name__}:NoDict", {"a": 1})).payload
    assert type(CODEC.decode(payload)) is UnknownTypeValue
    payload = CODEC.encode(UnknownTypeValue(NamedKind.DATACLASS, f"{__name__}:Abstract", {"a": 1})).payload
    assert type(CODEC.decode(payload)) is UnknownTypeValue


@dataclass
class Abstract(abc.ABC):
    a: int

    @abc.abstractmethod
    def run(self) -> None: ...


class Strict(enum.Flag, boundary=enum.STRICT):
    A = 1
    B = 8


@pytest.mark.parametrize("value", [2, -1, 1 << 70])
def test_flags_that_do_not_exist_here_become_standins(value: int) -> None:
    payload = CODEC.encode(
        UnknownTypeValue(NamedKind.ENUM, f"{__name__}:Strict", {"name": None, "value": value})
    ).payload
    assert type(CODEC.decode(payload)) is UnknownTypeValue
    assert through(Strict.A | Strict.B) is Strict.A | Strict.B


def test_floats_that_look_like_a_long_integer_on_the_wire_are_packed_all_the_same() -> None:
    heads = [
        b"\xc2\x5a\x00\x02\x00\x00\x00\x00",
        b"\xc3\x5b\x00\x00\x00\x00\x00\x02",
        b"\xc2\x5a\x00\x01\x00\x00\x00\x00",
    ]
    value: list[Any] = [None]
    for head in heads * 30_000:
        value.append(float(np.frombuffer(head, ">f8")[0]))
    encoded = CODEC.encode(value)
    assert len(encoded.payload) < 100
    assert through(value) == value
    with pytest.raises(QMI_ValueNotSendableException, match=r"\[90001\] is an integer of 600001 bits"):
        CODEC.encode([*value, 1 << 600_000])
