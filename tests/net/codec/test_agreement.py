"""What the encoder lets through, a receiver that imported nothing can decode; what is damaged fails alone."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import io
import ipaddress
import pathlib
import re
import threading
import traceback
import urllib.error
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from email.message import Message
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from qmi.errors import QMI_ValueNotSendableException
from qmi.net.codec import Codec, Encoded
from qmi.net.codec.encode import Encoder
from qmi.net.limits import Limits
from tests.support.bare_decoder import BareDecoder
from tests.support.examples import examples
from tests.support.values import Color, Level, Mode, Point, Settings, same, values

CODEC = Codec()


@pytest.fixture(scope="module")
def bare() -> Iterator[BareDecoder]:
    decoder = BareDecoder()
    yield decoder
    decoder.close()


@dataclasses.dataclass(frozen=True)
class Spec:
    gain: float
    steps: tuple[int, ...] = ()


@dataclasses.dataclass(eq=False)
class Holder:
    data: Any
    lock: Any = None


class Channel(enum.Enum):
    """Members whose values are no keys, cannot be sent, or are too large."""

    A = Spec(1.0)
    B = [1, 2]  # noqa: RUF012
    C = {"gain": [1.0]}  # noqa: RUF012
    D = threading.Lock()
    E = Holder(np.zeros(100_000))
    F = Holder(np.zeros(100_000), threading.Lock())
    G = "\ud800"
    H = 1 << 600_000
    I = ValueError("x")  # noqa: E741
    J = Color.RED


class Wide(enum.IntFlag):
    A = 1
    B = 2


class Kept(enum.Flag, boundary=enum.KEEP):
    A = 1
    B = 4


class Loose(enum.IntEnum):
    A = 1

    @classmethod
    def _missing_(cls, value: object) -> Any:
        made = int.__new__(cls, value)  # type: ignore[call-overload]
        made._name_, made._value_ = f"UNKNOWN_{value}", value
        return made


class Scaled(float, enum.Enum):
    HALF = 0.5


class Label(str, enum.Enum):  # noqa: UP042
    ON = "on"


class Wire(bytes, enum.Enum):
    STX = b"\x02"


class Pair(tuple[int, int], enum.Enum):
    AB = (1, 2)


class Coded(enum.Enum):
    X = (1, "ex")

    def __new__(cls, code: int, text: str) -> Any:
        made = object.__new__(cls)
        made._value_ = code
        made.text = text  # type: ignore[attr-defined]
        return made


class Meta(enum.EnumType):
    def __len__(cls) -> int:
        return 99


class Own(enum.Enum, metaclass=Meta):
    A = 1


class Nested(NamedTuple):
    channel: Channel
    mode: Any


def deep_dtype(depth: int) -> Any:
    found: Any = np.dtype("f8")
    for _ in range(depth):
        found = np.dtype([("x", found)])
    return found


def strange_text() -> np.ndarray[Any, Any]:
    return np.frombuffer(b"\xff\xff\xff\x7f", "<U1")


AWKWARD: list[Any] = [
    {Channel.A: 1.0}, {Channel.B: 1.0, Channel.C: 2.0}, {Channel.A, Channel.B}, {(Channel.A, 1): 2}, list(Channel),
    frozenset({Channel.C}), {Nested(Channel.A, 1): 1}, [Nested(Channel.F, [1])], {Color.RED: {Channel.B: 1}},
    ValueError({Channel.A: 1}), ExceptionGroup("g", [KeyError(Channel.B)]), MappingProxyType({Channel.A: 1}),
    collections.OrderedDict({Channel.A: 1}), collections.deque([Channel.B], maxlen=3),
    [Wide(7), Wide(1 << 70), ~Wide.A],
    [Kept(63), Kept.A | Kept.B], [Loose.A, Loose(9)], {Loose(9): 1}, [Scaled.HALF, Label.ON, Wire.STX, Pair.AB],
    {Scaled.HALF: 1, Label.ON: 2, Wire.STX: 3, Pair.AB: 4, Wide(6): 5}, [Coded.X, Own.A], {Own.A, Coded.X},
    np.zeros((1,) * 32), np.zeros((1,) * 33), np.zeros((1,) * 64), np.zeros(2, deep_dtype(8)),
    np.zeros(2, deep_dtype(9)), np.zeros(2, deep_dtype(100)), np.zeros(1, ("f8", (1,) * 30)), np.void(b""),
    np.zeros(1, "V4")[0], np.zeros(1, [("a", "U2")])[0], np.str_(""), np.bytes_(b""), np.str_("ab"), np.zeros(0, "U0"),
    np.zeros(2, "S0"), np.datetime64("NaT"), np.timedelta64(5), np.zeros(1, "m8[25s]")[0], np.zeros(2, "m8[3D]"),
    strange_text(), strange_text()[:0], np.zeros(2, "M8"), np.array(["NaT"], "M8"),
    np.zeros((2**40, 0)), [np.float32(i) for i in range(300)],
    [np.datetime64(i, "s") for i in range(300)], [np.str_(i) for i in range(300)],
    [np.bool_(i % 2) for i in range(300)],
    [np.longdouble(i) for i in range(300)], [np.complex64(i) for i in range(300)],
    [float(i) for i in range(300)], list(range(300)), [1 << i for i in range(300)], [i % 2 == 0 for i in range(300)],
    [f"n{i}" for i in range(300)], [f"\0\x1f\ue000\U0010fffd{i}" for i in range(300)], ["\0"] * 300, [""] * 300,
    [None] * 300, [(None, 1, 2.5, "x", True, 1 << 80)[i % 6] for i in range(600)],
    tuple(float(i) for i in range(300)),
    set(range(300)), {f"k{i}": i for i in range(300)}, {i: [i] for i in range(300)},
    {float(i): None for i in range(300)},
    {i % 2 == 0 if i < 2 else i: i for i in range(300)}, {f"k{i}": Channel.A for i in range(300)},
    [float(i) for i in range(30_000)], {f"k{i}": float(i) for i in range(30_000)}, [[1.5] * 200, ["a"] * 200],
    pathlib.Path("/a/b"), pathlib.PureWindowsPath("C:/x"), {pathlib.PurePosixPath("x"): 1},
    collections.defaultdict(list, {1: [2]}), collections.Counter("aab"), collections.deque([1], 5),
    SimpleNamespace(a=1),
    timezone(timedelta(hours=1), "X"), UTC, timezone.min, zoneinfo.ZoneInfo("Europe/Amsterdam"), array.array("i", [1]),
    array.array("d", range(9000)), array.array("u", "ab"),
    datetime(2020, 7, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo")),
    Decimal("sNaN"), slice([1], {2: 3}), np.ma.masked_array([1, 2], [False, True]), np.ma.masked,
    np.recarray(2, [("a", "i4")]),
    np.ones((1, 1)).view(np.matrix), np.recarray(2, [("a", "i4")])[0], [[[[]]]], {"a": {1: {(2,): [3]}}},
]  # fmt: skip


def nest(wrap: Any, depth: int, core: Any = ()) -> Any:
    for _ in range(depth):
        core = wrap(core)
    return core


DEEP = [
    lambda v: [v], lambda v: (v,), lambda v: {"k": v}, lambda v: {1: v}, lambda v: MappingProxyType({1: v}),
    lambda v: Point(1.0, v), lambda v: Settings(1.0, [], v), lambda v: collections.OrderedDict({1: v}),
    lambda v: collections.deque([v]), lambda v: SimpleNamespace(a=v), lambda v: collections.defaultdict(None, {1: v}),
    lambda v: ValueError(v), lambda v: slice(v), lambda v: [v] + [1.0] * 200, lambda v: {0: v, 1: 1},
    lambda v: ExceptionGroup("g", [v if isinstance(v, Exception) else ValueError(v)]), lambda v: frozenset({v}),
]  # fmt: skip


def check(bare: BareDecoder, value: Any) -> None:
    """Either the sender refuses it, with a text, or the receiver gets a value that can be shown and sent on."""
    refusal = ""
    try:
        encoded = CODEC.encode(value, "result")
    except QMI_ValueNotSendableException as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith("result"), refusal
        return
    answer = bare.decode(encoded.payload, encoded.segments)
    assert answer.outcome == "value", answer.text


@pytest.mark.parametrize(
    "value", AWKWARD, ids=[f"{number} {type(value).__name__}" for number, value in enumerate(AWKWARD)]
)
def test_awkward_value_is_refused_by_the_sender_or_arrives(bare: BareDecoder, value: Any) -> None:
    check(bare, value)
    check(bare, [value, {"a": (value,)}])


@pytest.mark.parametrize("wrap", DEEP, ids=range(len(DEEP)))
@pytest.mark.parametrize("depth", [61, 62, 63, 64, 65, 200])
def test_deep_value_is_refused_by_the_sender_or_arrives(bare: BareDecoder, wrap: Any, depth: int) -> None:
    cores = [(), Channel.A] if wrap is DEEP[-1] else [(), np.zeros((2, 2)), [1.5] * 200, Channel.A, KeyError(1), {1: 2}]
    for core in cores:
        check(bare, nest(wrap, depth, core))


@pytest.mark.parametrize("wrap", [lambda v: [v, v], lambda v: {1: v, 2: v}, lambda v: Retried("x", v, "list")])
def test_value_that_shares_its_parts_does_not_keep_the_encoder_busy_for_ever(wrap: Any) -> None:
    value = nest(wrap, 60)
    if isinstance(value, Retried):
        assert type(CODEC.decode(CODEC.encode(value).payload)) is Retried
        return
    with pytest.raises(QMI_ValueNotSendableException, match="too many lists, dicts or named values"):
        Codec(Limits(objects=200_000)).encode(value)


@examples(200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(values)
def test_any_value_survives_a_receiver_that_imported_nothing(bare: BareDecoder, value: Any) -> None:
    encoded = CODEC.encode(value)
    answer = bare.decode(encoded.payload, encoded.segments)
    assert answer.outcome == "value", answer.text
    assert answer.again is not None
    payload, segments = answer.again
    assert same(value, CODEC.decode(payload, [bytearray(segment) for segment in segments]))


SAMPLES: list[Encoded] = []
for _value in AWKWARD:
    try:
        _encoded = CODEC.encode(_value)
    except QMI_ValueNotSendableException:
        continue
    if len(_encoded.payload) < 4000:
        SAMPLES.append(Encoded(_encoded.payload, [memoryview(bytes(part[:64])) for part in _encoded.segments]))


@examples(400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_payload_fails_alone(bare: BareDecoder, sample: Encoded, changes: list[tuple[int, int]]) -> None:
    data = bytearray(sample.payload)
    for place, byte in changes:
        data[place % len(data)] = byte
    answer = bare.decode(bytes(data), sample.segments)
    assert answer.outcome != "broken" or answer.text.startswith("a frame "), answer.text


# -- what stands for a value acts as one


@pytest.fixture
def nothing_imported(monkeypatch: pytest.MonkeyPatch) -> Any:
    def forget() -> None:
        import sys

        monkeypatch.setitem(sys.modules, __name__, None)
        monkeypatch.setitem(sys.modules, "tests.support.values", None)

    return forget


def test_unknown_value_acts_as_the_number_text_or_tuple_that_it_is(nothing_imported: Any) -> None:
    sent = [Wide(7), Level.HIGH, Scaled.HALF, Label.ON, Wire.STX, Pair.AB, Point(1.5, "p"), Kept(63), Loose(9)]
    encoded = CODEC.encode([*sent, {Level.HIGH: "high", Label.ON: "on"}])
    nothing_imported()
    flags, level, half, label, stx, pair, point, kept, loose, table = CODEC.decode(encoded.payload)
    assert (int(flags), flags & 2, flags | 8, flags == 7, f"{flags}", flags.value) == (7, 2, 15, True, "7", 7)
    assert (int(level), level == 2, level + 1, [10, 20, 30][level], level.name) == (2, True, 3, 30, "HIGH")
    assert (half * 2, float(half), half < 1) == (1.0, 0.5, True)
    assert (label.upper(), label == "on", str(label), {"on": 1}[label]) == ("ON", True, "on", 1)
    assert (stx + b"a", stx[0], len(stx)) == (b"\x02a", 2, 1)
    assert (pair[0], pair == (1, 2)) == (1, True)
    x, name = point
    assert (x, name, point[1], point.x, point.label, len(point), point == (1.5, "p")) == (
        1.5,
        "p",
        "p",
        1.5,
        "p",
        2,
        True,
    )
    assert (kept & 4, loose + 1, loose.name) == (4, 10, "UNKNOWN_9")
    assert (table[2], table["on"]) == ("high", "on")
    assert all(text in repr(flags) for text in ("Wide", "7", "a type that this program has not imported"))


class Fielded(NamedTuple):
    count: int  # type: ignore[assignment]
    index: int  # type: ignore[assignment]


def test_unknown_named_tuple_has_its_fields_also_where_tuples_have_methods(nothing_imported: Any) -> None:
    encoded = CODEC.encode(Fielded(3, 4))
    nothing_imported()
    found = CODEC.decode(encoded.payload)
    assert (found.count, found.index, found[0]) == (3, 4, 3)


@pytest.mark.parametrize(
    "member",
    [Wide(7), Wide(0), Wide(1 << 70), ~Wide.A, Kept(63), Kept.A | Kept.B, Mode.A | Mode.C, Loose.A, Scaled.HALF,
     Label.ON, Wire.STX, Pair.AB, Coded.X, Own.A, Channel.A, Channel.D, Channel.H],
    ids=lambda member: f"{type(member).__name__}.{member.name}",
)  # fmt: skip
def test_enum_member_arrives_as_itself_where_its_type_is(member: Any) -> None:
    encoded = CODEC.encode([member])
    (found,) = CODEC.decode(encoded.payload)
    assert type(found) is type(member)
    assert found == member
    if member not in (Wide(1 << 70),):
        assert found is member


class Picky(enum.IntFlag):
    A = 1
    B = 2

    @classmethod
    def _missing_(cls, value: object) -> Any:
        raise AssertionError("ran")


def test_unknown_combination_is_told_apart_from_an_unknown_type() -> None:
    class Local(enum.IntEnum):
        A = 1

    text = repr(CODEC.decode(CODEC.encode(Loose(77)).payload))
    assert "this program's type has no such member" in text or "UNKNOWN_77" in text
    assert "not imported" in repr(CODEC.decode(CODEC.encode(Local.A).payload))


def test_combinations_of_flags_that_a_peer_sends_do_not_pile_up() -> None:
    class Many(enum.IntFlag):
        A = 1

    globals()["Many"] = Many
    Many.__qualname__ = "Many"
    try:
        for value in range(6000):
            payload = CODEC.encode(Wide.A).payload.replace(b"dWide", b"dMany").replace(b"aA", b"bAB")
            payload = payload.replace(b"bAB\x01", b"bAB\x19" + value.to_bytes(2))
            assert int(CODEC.decode(payload)) == value
        assert len(Many._value2member_map_) < 5000
    finally:
        del globals()["Many"]


# -- errors


class Slotted(Exception):
    __slots__ = ("code", "where")

    def __init__(self, code: int, where: str) -> None:
        super().__init__(f"code {code}")
        self.code, self.where = code, where


class Needy(Exception):
    """Its text needs what cannot be sent."""

    def __init__(self, device: Any) -> None:
        super().__init__()
        self.device = device

    def __str__(self) -> str:
        return f"device {self.device.name} failed"


class Telling(Exception):
    """Its text is its own, of what can be sent."""

    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


class PortError(OSError):
    def __init__(self, port: str) -> None:
        super().__init__(5, "port is gone", port)
        self.port = port


class Bundle(ExceptionGroup[Exception]):
    def __new__(cls, code: int, errors: list[Exception]) -> Bundle:
        made = super().__new__(cls, f"bundle {code}", errors)
        made.code = code  # type: ignore[attr-defined]
        return made


class Device:
    name = "laser"

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Meddling(Exception):
    def close(self) -> str:
        return "closed"


def meddled() -> Meddling:
    error = Meddling("text")
    error.close = threading.Lock()  # type: ignore[assignment, method-assign]
    error.with_traceback = 1  # type: ignore[assignment, method-assign]
    return error


def http_error() -> urllib.error.HTTPError:
    error = urllib.error.HTTPError("http://lab/x", 404, "Not Found", Message(), None)
    error.close()
    return error


def bundle() -> Bundle:
    return Bundle(7, [ValueError("v"), OSError(2, "gone", "f"), Bundle(8, [KeyError("k")])])


ERRORS: list[tuple[BaseException, str, dict[str, Any]]] = [
    (Slotted(3, "here"), "code 3", {"code": 3, "where": "here"}),
    (Needy(Device()), "device laser failed", {}),
    (Telling(code=4), "code 4", {"code": 4}),
    (PortError("/dev/x"), "port is gone", {"errno": 5, "filename": "/dev/x", "port": "/dev/x"}),
    (http_error(), "HTTP Error 404: Not Found", {"code": 404, "msg": "Not Found"}),
    (urllib.error.URLError("no route"), "no route", {"reason": "no route"}),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "bad", {"start": 0, "object": b"\xff"}),
    (UnicodeEncodeError("ascii", "\u00b5", 0, 1, "bad"), "bad", {"encoding": "ascii"}),
    (UnicodeTranslateError("\u00b5", 0, 1, "bad"), "bad", {"end": 1}),
    (bundle(), "bundle 7", {"code": 7}),
    (BaseExceptionGroup("base", [KeyboardInterrupt(), ValueError("v")]), "base", {}),
    (SyntaxError("bad", ("f.py", 3, 4, "x = (", 3, 5)), "bad", {"lineno": 3, "text": "x = (", "end_offset": 5}),
    (StopIteration(7), "7", {"value": 7}),
    (OSError("no number"), "no number", {}),
    (FileNotFoundError(2, "gone", "a.txt"), "[Errno 2] gone: 'a.txt'", {"errno": 2}),
    (OSError(18, "no", "a", None, "b"), "'a' -> 'b'", {"filename2": "b"}),
    (ImportError("no", name="mod", path="p"), "no", {"name": "mod", "path": "p"}),
    (AttributeError("no", name="attr", obj=threading.Lock()), "no", {"name": "attr"}),
    (meddled(), "text", {}),
    (KeyError("k"), "'k'", {}),
]


@pytest.mark.parametrize("known", [True, False], ids=["class known", "class unknown"])
@pytest.mark.parametrize(("error", "text", "parts"), ERRORS, ids=lambda value: type(value).__name__)
def test_fault_12_error_arrives_with_text_members_notes_and_traceback(
    error: BaseException, text: str, parts: dict[str, Any], known: bool, nothing_imported: Any
) -> None:
    import traceback

    if not hasattr(error, "__notes__"):
        error.add_note("the note")
    error.__cause__ = RuntimeError("the reason")
    encoded = CODEC.encode(error, "error")
    if not known:
        nothing_imported()
    found = CODEC.decode(encoded.payload)
    assert isinstance(found, Exception)
    assert text in str(found)
    assert repr(found)
    printed = "".join(traceback.format_exception(found))
    assert all(part in printed for part in ("the note", "the reason", "RuntimeError"))
    for name, value in parts.items():
        assert getattr(found, name) == value
    if isinstance(error, BaseExceptionGroup):
        assert isinstance(found, ExceptionGroup)
        assert len(found.exceptions) == len(error.exceptions)
        assert "ValueError: v" in printed
    assert callable(found.with_traceback)
    again = CODEC.decode(CODEC.encode(found).payload)
    assert text in str(again)


@pytest.mark.parametrize("error", [error for error, _, _ in ERRORS], ids=lambda value: type(value).__name__)
def test_fault_12_error_can_be_printed_by_a_receiver_that_imported_nothing(
    bare: BareDecoder, error: BaseException
) -> None:
    encoded = CODEC.encode(error, "error")
    answer = bare.decode(encoded.payload)
    assert answer.outcome == "value", answer.text


def test_class_of_an_error_that_arrives_whole_is_kept() -> None:
    for error in (
        Slotted(3, "here"),
        Telling(code=4),
        PortError("p"),
        bundle(),
        UnicodeDecodeError("a", b"b", 0, 1, "c"),
    ):
        assert type(CODEC.decode(CODEC.encode(error).payload)) is type(error)


class Rooted(Exception):
    def __init__(self, text: str, parent: Rooted | None = None) -> None:
        super().__init__(text)
        self.root: Any = parent.root if parent else self
        self.parent = parent


class Retried(Exception):
    def __init__(self, text: str, before: Any = None, how: str = "attribute") -> None:
        super().__init__(text, before) if how == "argument" else super().__init__(text)
        if how == "attribute":
            self.before = before
        if how == "list":
            self.before = [before, before]
        if how == "dict":
            self.before = {"errors": (before,)}


@pytest.mark.parametrize("how", ["attribute", "argument", "list", "dict", "cause", "context", "group"])
@pytest.mark.parametrize("length", [16, 60, 400])
def test_chain_of_errors_is_encoded_in_linear_time(how: str, length: int) -> None:
    calls = 0

    class Counting(Retried):
        def __str__(self) -> str:
            nonlocal calls
            calls += 1
            return "counted"

    error: BaseException = Counting("first")
    for number in range(length):
        after = Counting(f"try {number}", error, how)
        if how == "cause":
            after.__cause__ = error
        if how == "context":
            after.__context__ = error
        if how == "group":
            after.before = ExceptionGroup("g", [error])
        error = after
    payload = CODEC.encode(error, "error").payload
    assert calls < 40 * length
    assert len(payload) < 2_000_000
    assert "counted" in str(CODEC.decode(payload))


def test_error_that_contains_itself_arrives_with_its_text_in_its_place() -> None:
    top = Rooted("top")
    deepest = Rooted("deepest", Rooted("middle", top))
    found = CODEC.decode(CODEC.encode(deepest).payload)
    assert (str(found), type(found), str(found.root), str(found.parent)) == ("deepest", Rooted, "top", "middle")
    assert type(found.root) is Rooted
    assert found.parent.root == found.parent.parent == "top"
    alone = CODEC.decode(CODEC.encode(top).payload)
    assert alone.root == "top"
    looped = ValueError("a")
    looped.__context__ = KeyError("b")
    looped.__context__.__context__ = looped
    looped.args = (looped, [looped])
    assert type(CODEC.decode(CODEC.encode(looped).payload)) is ValueError


def test_same_error_twice_in_a_result_arrives_twice() -> None:
    error = ValueError("x")
    found = CODEC.decode(CODEC.encode([error, error]).payload)
    assert [type(item) for item in found] == [ValueError, ValueError]


def test_a_thousand_errors_in_one_fit_into_a_frame() -> None:
    many = ExceptionGroup("many", [ValueError("x" * 20_000 + str(number)) for number in range(1000)])
    found = CODEC.decode(CODEC.encode(many).payload)
    assert len(found.exceptions) == 1000
    assert all(type(error) is ValueError for error in found.exceptions)


# -- an author's check


@dataclasses.dataclass
class Percent:
    value: float

    def __post_init__(self) -> None:
        self.__qmi_check__()

    def __qmi_check__(self) -> None:
        if not 0 <= self.value <= 100:
            raise ValueError(f"value must be 0 to 100, got {self.value}")


class Span(NamedTuple):
    low: float
    high: float

    def __qmi_check__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got {self.low} and {self.high}")


@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"k": (v,)}])
def test_check_of_an_author_runs_on_what_arrives(wrap: Any) -> None:
    from qmi.net.codec import UndecodableValue

    assert CODEC.decode(CODEC.encode(wrap(Percent(50.0))).payload) == wrap(Percent(50.0))
    assert CODEC.decode(CODEC.encode(wrap(Span(1.0, 2.0))).payload) == wrap(Span(1.0, 2.0))
    bad = Percent(50.0)
    bad.value = 400.0
    with pytest.raises(
        UndecodableValue, match=r"Percent refuses what arrived: ValueError: value must be 0 to 100, got 400"
    ):
        CODEC.decode(CODEC.encode(wrap(bad)).payload)
    with pytest.raises(UndecodableValue, match="Span refuses what arrived: ValueError: low must not be above high"):
        CODEC.decode(CODEC.encode(wrap(Span(3.0, 2.0))).payload)


# -- errors that print themselves badly, or in exponential time


class Deep(type):
    """A metaclass that fails when an attribute of its classes is read."""

    def __getattribute__(cls, name: str) -> Any:
        if name in ("__module__", "__qualname__", "__name__"):
            raise RuntimeError(name)
        return super().__getattribute__(name)


class OfDeep(Exception, metaclass=Deep):
    pass


class Opaque(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Homeless(Exception):
    pass


Homeless.__module__ = None  # type: ignore[assignment]


class Leaving(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Interrupting(Exception):
    def __str__(self) -> str:
        raise BaseException("no Exception")


class Shouting(Exception):
    def __repr__(self) -> str:
        raise GeneratorExit


@pytest.mark.parametrize(
    "number", range(6), ids=["metaclass", "attributes", "module", "exit", "generator exit", "base"]
)
def test_error_whose_class_fails_when_it_is_read_arrives(bare: BareDecoder, number: int) -> None:
    error = (OfDeep, Opaque, Homeless, Leaving, Shouting, Interrupting)[number]("m")
    encoded = CODEC.encode(error)
    check(bare, [error])
    found = CODEC.decode(encoded.payload)
    assert isinstance(found, Exception)
    assert str(found) or repr(found)
    "".join(traceback.format_exception(found))


@pytest.mark.parametrize(
    "error",
    [ValueError(10**5000), KeyError({1: 10**5000}), OSError(10**5000, "x"), ValueError("x", [-(10**6000)]),
     ExceptionGroup("g", [ValueError(10**5000)]), SyntaxError("m", ("f", 10**5000, 1, "t"))],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_error_that_cannot_be_printed_there_can_be_printed_here(bare: BareDecoder, error: Exception) -> None:
    check(bare, error)
    found = CODEC.decode(CODEC.encode(error).payload)
    assert type(found) is type(error)
    "".join([str(found), repr(found), *traceback.format_exception(found)])


@pytest.mark.slow
def test_group_that_shares_its_members_is_not_printed_for_ever(bare: BareDecoder) -> None:
    error: Exception = ValueError("core")
    for level in range(60):
        error = ExceptionGroup(f"level {level}", [error, error])
    encoded = CODEC.encode(error)
    assert len(encoded.payload) < 1 << 20
    check(bare, error)
    assert type(CODEC.decode(encoded.payload)) is ExceptionGroup


@pytest.mark.parametrize("name", [pathlib.Path("a/b"), pathlib.PureWindowsPath("C:/x"), "a\udc80", b"\xff", 5])
def test_file_name_of_an_os_error_arrives(name: Any) -> None:
    found = CODEC.decode(CODEC.encode(FileNotFoundError(2, "no such file", name)).payload)
    shown = name.encode("utf-8", "backslashreplace").decode() if type(name) is str else name
    assert (type(found), str(found)) == (FileNotFoundError, str(FileNotFoundError(2, "no such file", shown)))


def test_value_of_an_enum_member_is_lowered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lowered = []
    original = Encoder.lower_small

    def noted(self: Encoder, *args: Any) -> Any:
        lowered.append(args)
        return original(self, *args)

    monkeypatch.setattr(Encoder, "lower_small", noted)
    assert CODEC.decode(CODEC.encode([Channel.B] * 1000 + [Channel.C]).payload) == [Channel.B] * 1000 + [Channel.C]
    assert len(lowered) == 2


# -- places and hints


@dataclasses.dataclass
class Grown(list[int]):
    gain: int = 1


@dataclasses.dataclass(init=False)
class Empty:
    gain: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, {"a": Empty()}], "result[1]['a'] cannot be sent: reading it raised AttributeError"),
        ([Grown(2)], "it has fields and items; send its fields, and send list(value)"),
        ({Spec(1.0): 2}, "send list(value.items())"),
        ([pathlib.Path("\udc80")], "result[0] contains '\\udc80'"),
        (collections.deque([1, "\udc80"]), "result[1] contains"),
        ((1, ("\udc80",)), "result[1][0] contains"),
        ({10**5000: ["\udc80"]}, "[<int>][0] contains"),
        ({10**5000: open}, "[<int>]: builtin_function_or_method cannot be sent"),
        (timezone(timedelta(hours=1), "\udc80"), "result contains"),
        (memoryview(array.array("d", [1.5])), "send numpy.asarray(value)"),
        ([np.broadcast_to(np.float64(1), (10**6, 10**6))], "result[0] is an array of 8000000000000 bytes"),
        (memoryview(b"ab"), "send bytes(value)"),
        (ipaddress.ip_address("10.0.0.1"), "send str(value)"),
        (re.compile("a"), "send value.pattern and value.flags"),
        ({1: 2}.values(), "send list(value)"),
        (collections.ChainMap({}), "send value.maps"),
        (collections.UserDict({}), "send dict(value)"),
        (io.BytesIO(b"a"), "send what is in it, as value.read()"),
        (attrs.make_class("Made", ["x"])(1), "send attrs.asdict(value)"),
    ],
)
def test_refusal_says_where_the_value_is_and_what_to_send(value: Any, text: str) -> None:
    with pytest.raises(QMI_ValueNotSendableException) as caught:
        CODEC.encode(value, "result")
    assert text in str(caught.value)
