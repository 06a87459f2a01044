"""Decoding imports nothing and runs no code of the types it meets, and survives any bytes."""

from __future__ import annotations

import builtins
import enum
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cbor2
import numpy as np
import pytest
from cbor2 import CBORTag, dumps
from hypothesis import given
from hypothesis import strategies as st

from qmi.errors import (
    QMI_ConfigurationException,
    QMI_ObjectLockedException,
    QMI_RemoteException,
    QMI_ValueNotSendableException,
)
from qmi.net.codec import Codec
from qmi.net.codec.exceptions import RemoteTraceback
from qmi.net.codec.named_types import find_type
from qmi.net.codec.tags import Own
from qmi.net.codec.unknown import UnknownTuple, UnknownTypeValue
from qmi.net.limits import ProtocolError
from tests.support.examples import examples

CODEC = Codec()
RAN: list[str] = []
HERE = __name__


def trap(name: str) -> Any:
    def run(*args: Any, **kwargs: Any) -> Any:
        RAN.append(name)
        raise AssertionError(f"{name} ran")

    return run


class Meta(type):
    def __call__(cls, *args: Any) -> Any:
        RAN.append("metaclass")
        return super().__call__(*args)


class TrapEnum(enum.Enum):
    A = 1

    @classmethod
    def _missing_(cls, value: object) -> Any:
        RAN.append("_missing_")


class TrapFlag(enum.Flag):
    A = 1
    B = 2

    @classmethod
    def _missing_(cls, value: object) -> Any:
        RAN.append("_missing_")
        return super()._missing_(value)


class HashFlag(enum.Enum):
    A = 1

    def __hash__(self) -> int:
        RAN.append("hash")
        return 1


@dataclass
class TrapData:
    x: int

    def __post_init__(self) -> None:
        RAN.append("post_init")

    def __setattr__(self, name: str, value: Any) -> None:
        RAN.append("setattr")
        object.__setattr__(self, name, value)

    def __setstate__(self, state: Any) -> None:
        RAN.append("setstate")

    def __init_subclass__(cls) -> None:
        RAN.append("init_subclass")

    def __new__(cls, *args: Any) -> Any:
        RAN.append("new")
        return object.__new__(cls)

    def __getattribute__(self, name: str) -> Any:
        RAN.append("getattribute")
        return object.__getattribute__(self, name)

    def __hash__(self) -> int:
        RAN.append("hash")
        return 1


@dataclass
class PropertyData:
    x: int


PropertyData.x = property(trap("getter"), trap("setter"))  # type: ignore[assignment]


@dataclass
class Finalized:
    x: int

    def __del__(self) -> None:
        RAN.append("del")


@dataclass
class MetaData(metaclass=Meta):
    x: int


class TrapTuple(NamedTuple("TrapTuple", [("a", int)])):
    def __new__(cls, *args: Any) -> Any:
        RAN.append("new")
        return tuple.__new__(cls, args)

    def __hash__(self) -> int:
        RAN.append("hash")
        return 1


class TrapError(Exception):
    def __new__(cls, *args: Any) -> Any:
        RAN.append("new")
        return Exception.__new__(cls, *args)

    def __init__(self, *args: Any) -> None:
        RAN.append("init")
        super().__init__(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        RAN.append("setattr")
        super().__setattr__(name, value)

    def __setstate__(self, state: Any) -> None:
        RAN.append("setstate")

    danger = property(trap("getter"), trap("setter"))


class TrapOSError(OSError):
    def __init__(self, code: int) -> None:
        RAN.append("init")
        super().__init__(code, "text", "file")


class LazyModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        RAN.append("module getattr")
        raise AttributeError(name)


def named(tag: Own, qualname: str, *fields: Any, module: str = HERE) -> bytes:
    return dumps(CBORTag(tag, [module, qualname, *fields]))


def failed(
    qualname: str,
    text: str,
    trace: str,
    args: Any,
    state: Any,
    members: Any = None,
    module: str = HERE,
    whole: Any = True,
) -> bytes:
    return named(Own.EXCEPTION, qualname, text, trace, args, state, members or {}, whole, module=module)


@pytest.fixture(autouse=True)
def no_code_ran() -> Any:
    RAN.clear()
    yield
    assert RAN == []


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (named(Own.ENUM, "TrapEnum", "A", 1, ""), TrapEnum),
        (named(Own.ENUM, "TrapEnum", "Z", 9, ""), UnknownTypeValue),
        (named(Own.ENUM, "TrapFlag", "A|B", 3, ""), TrapFlag),
        (named(Own.ENUM, "TrapData", "x", 3, ""), UnknownTypeValue),
        (named(Own.DATACLASS, "TrapData", "x", 3), TrapData),
        (named(Own.DATACLASS, "TrapData", "y", 3), UnknownTypeValue),
        (named(Own.DATACLASS, "PropertyData", "x", 3), UnknownTypeValue),
        (named(Own.DATACLASS, "Finalized", "x", 3), UnknownTypeValue),
        (named(Own.DATACLASS, "MetaData", "x", 3), UnknownTypeValue),
        (named(Own.DATACLASS, "TrapTuple", "a", 3), UnknownTypeValue),
        (named(Own.DATACLASS, "TrapData.__init__", "x", 3), UnknownTypeValue),
        (named(Own.DATACLASS, "nothing.x", "x", 3), UnknownTypeValue),
        (named(Own.NAMED_TUPLE, "TrapTuple", "a", 3), TrapTuple),
        (named(Own.NAMED_TUPLE, "TrapTuple", "b", 3), UnknownTuple),
        (named(Own.NAMED_TUPLE, "TrapData", "x", 3), UnknownTuple),
        (named(Own.DATACLASS, "Popen", "args", 3, module="subprocess"), UnknownTypeValue),
        (named(Own.DATACLASS, "antigravity", module="antigravity"), UnknownTypeValue),
        (named(Own.DATACLASS, "Thing", "x", 1, module="qmi_lazy_test"), UnknownTypeValue),
        (failed("TrapError", "text", "trace", [1, 2], {"danger": 1, "note": 2}), TrapError),
        (failed("TrapOSError", "text", "trace", [2, "no"], {}), TrapOSError),
        (failed("TrapData", "text", "trace", [], {}), QMI_RemoteException),
        (failed("NoSuchError", "text", "trace", [], {}), QMI_RemoteException),
        (failed("SystemExit", "3", "trace", [3], {}, module="builtins"), QMI_RemoteException),
        (failed("KeyboardInterrupt", "", "", [], {}, module="builtins"), QMI_RemoteException),
        (failed("UnicodeDecodeError", "t", "", [1], {}, module="builtins"), QMI_RemoteException),
        (failed("OSError", "t", "", [2, "no"], {}, module="builtins"), OSError),
    ],
)  # fmt: skip
def test_named_types_are_rebuilt_without_their_code(
    payload: bytes, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "qmi_lazy_test", LazyModule("qmi_lazy_test"))
    monkeypatch.setattr(builtins, "__import__", trap("import"))
    before = set(sys.modules)
    found = CODEC.decode(payload)
    assert set(sys.modules) == before
    monkeypatch.undo()
    assert type(found) is kind


@pytest.mark.parametrize(
    "payload",
    [
        dumps(CBORTag(258, [CBORTag(Own.ENUM, [HERE, "HashFlag", "A", 1, ""])])),
        dumps(CBORTag(Own.DICT, [CBORTag(Own.DATACLASS, [HERE, "TrapData", "x", 1]), 1])),
        dumps(CBORTag(Own.FROZENSET, [CBORTag(Own.NAMED_TUPLE, [HERE, "TrapTuple", "a", 1])])),
        dumps(CBORTag(258, [k * (2**61 - 1) for k in range(1, 200)])),
        dumps(CBORTag(258, [[1]])),
    ],
)
def test_keys_whose_hash_is_code_or_chosen_to_collide_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"cannot be a key|same hash"):
        CODEC.decode(payload)


def test_own_exceptions_are_found_without_their_public_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qmi.core.exceptions", None)
    error = CODEC.decode(CODEC.encode(QMI_ObjectLockedException("locked")).payload)
    assert type(error) is QMI_ObjectLockedException
    assert find_type("qmi.errors", "no_such") is None


class Local(Exception):
    def __init__(self, code: int, *, extra: str) -> None:
        super().__init__(f"code {code}")
        self.code = code
        self.extra = extra
        self.handle = open  # cannot be sent, and must not keep the error from being sent


def raised(error: BaseException) -> Any:
    try:
        raise error
    except BaseException as caught:
        return CODEC.decode(CODEC.encode(caught, "error").payload)


def test_an_exception_brings_its_attributes_notes_and_traceback() -> None:
    error = Local(3, extra="e")
    error.add_note("a note")
    error.__cause__ = KeyError("the cause")
    back = raised(error)
    assert type(back) is Local
    assert (back.args, back.code, back.extra) == (("code 3",), 3, "e")
    assert back.__notes__ == ["a note"]
    assert not hasattr(back, "handle")
    assert isinstance(back.__cause__, RemoteTraceback)
    shown = str(back.__cause__)
    assert "KeyError: 'the cause'" in shown
    assert "in raised" in shown
    assert "a note" in shown


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def trap_notes(_: object) -> Any:
    raise RuntimeError("no notes")


class Unformattable(Exception):
    __notes__ = property(trap_notes)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (FileNotFoundError(2, "gone", "a.txt"), FileNotFoundError, "[Errno 2] gone: 'a.txt'"),
        (OSError(18, "no", "a", None, "b"), OSError, "[Errno 18] no: 'a' -> 'b'"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), UnicodeDecodeError, "bad"),
        (ImportError("no", name="mod", path="p"), ImportError, "no"),
        (QMI_ConfigurationException("bad", ["one"]), QMI_ConfigurationException, "bad"),
        (ExceptionGroup("many", [ValueError("v"), KeyError("k")]), ExceptionGroup, "many (2 sub-exceptions)"),
        (KeyboardInterrupt(), QMI_RemoteException, "KeyboardInterrupt"),
        (SystemExit(3), QMI_RemoteException, "SystemExit: 3"),
        (ValueError("x" * 1_000_000), ValueError, "characters left out"),
        (ValueError("\ud800"), ValueError, "\\ud800"),
        (ValueError(["y" * 300_000]), ValueError, "characters left out"),
        (ValueError(*["z" * 10_000] * 40), ValueError, "zzz"),
        (ValueError(open, ["\ud800"]), ValueError, "open"),
        (ValueError(KeyError("inner")), ValueError, "inner"),
        (Unprintable(), QMI_RemoteException, "Unprintable that cannot be printed: RuntimeError"),
        (ValueError(Unprintable()), ValueError, "ValueError that cannot be printed: RuntimeError"),
        (Unformattable(), QMI_RemoteException, "Unformattable"),
    ],
    ids=lambda value: str(type(value)),
)  # fmt: skip
def test_fault_12_any_exception_arrives(error: BaseException, kind: type, text: str | None) -> None:
    back: Any = raised(error)
    assert type(back) is kind
    if text is not None:
        assert text in str(back)
        assert len(str(back)) < 100_000 or len(error.args) == 40
    assert len(str(vars(BaseException)["__cause__"].__get__(back))) > 10


def test_details_of_builtin_exceptions_survive() -> None:
    assert raised(ImportError("no", name="mod", path="p")).name == "mod"
    assert raised(QMI_ConfigurationException("bad", ["one"])).faults == ("one",)
    inner = raised(ExceptionGroup("many", [ValueError("v"), KeyError("k")])).exceptions
    assert [type(error) for error in inner] == [ValueError, KeyError]
    local = type("Local2", (Exception,), {"__module__": "nowhere"})("text")
    local.add_note("n")
    found = raised(local)
    assert (found.type_name, str(found), found.__notes__) == ("nowhere.Local2", "nowhere.Local2: text", ["n"])


def array(tag: int, data: bytes) -> CBORTag:
    return CBORTag(tag, data)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\xff", b"\x9f\xff", b"\x01\x02", dumps(1) + dumps(None), b"\x83\x01", b"\x9b" + b"\x7f" * 8,
        b"\xa2\x61a\x01\x61a\x02", dumps({1: 2}), b"\x61\xff", b"\x81" * 10_000 + b"\x01", b"\xd8\x1c\x81\xd8\x1d\x00",
        dumps(CBORTag(35, "(a+)+$")), dumps(CBORTag(4, [10**9, 1])), dumps(CBORTag(30, [1, 0])), dumps(CBORTag(0,
        "2020")),
        dumps(CBORTag(Own.FRACTION, [1, 0])), dumps(CBORTag(Own.FRACTION, [1, 1.5])), dumps(CBORTag(Own.FRACTION, [1])),
        dumps(CBORTag(Own.FRACTION, [1, 1 << 70_000])), dumps(CBORTag(Own.DECIMAL, "x")), dumps(CBORTag(Own.UUID,
        b"x")),
        dumps(CBORTag(Own.DECIMAL, "1" * 70_000)), dumps(CBORTag(Own.DATE, [2020, 13, 1])), dumps(1 << 600_000),
        dumps(CBORTag(Own.DATETIME, [1] * 10)), dumps(CBORTag(Own.TIME, [1, 2, 3, "x", 0, None, None])),
        dumps(CBORTag(Own.DICT, [1])), dumps(CBORTag(Own.TUPLE, "x")), dumps(CBORTag(Own.RANGE, [1, 2, 0])),
        dumps(CBORTag(Own.ENUM, [1, 2, 3, 4])), dumps(CBORTag(Own.ENUM, ["m", "q", 3, 4])), named(Own.DATACLASS, "X",
        "a"),
        named(Own.DATACLASS, "X", "a", 1, "a", 2), named(Own.DATACLASS, "X", 1, 1), dumps(CBORTag(Own.DATACLASS, [])),
        failed("X", "t", "t", [], []), failed("X", "t", "t", [], {b"k": 1}),
        dumps(CBORTag(Own.SEGMENT, 0)), dumps(CBORTag(Own.BYTES, CBORTag(Own.SEGMENT, 0))), dumps(CBORTag(Own.BYTES,
        3)),
        dumps(array(86, b"1234567")), dumps(array(86, b"")) + b"x", dumps(CBORTag(40, [[2], array(86, b"")])),
        dumps(CBORTag(40, [[-1], array(86, b"")])), dumps(CBORTag(40, [[0] * 33, array(86, b"")])),
        dumps(CBORTag(40, [[1], [1]])), dumps(CBORTag(40, [["1"], array(64, b"x")])), dumps(CBORTag(40, [3])),
        dumps(CBORTag(Own.MAPPING_PROXY, [1])),
        dumps(CBORTag(Own.ARRAY, ["|O", b"12345678"])), dumps(CBORTag(Own.ARRAY, ["i4,O", b"12345678"])),
        dumps(CBORTag(Own.ARRAY, [["s", 8, [["a", "|O", 0]]], b"12345678"])), dumps(CBORTag(Own.ARRAY, [3, b""])),
        dumps(CBORTag(Own.ARRAY, [["s", 8, 3], b"12345678"])), dumps(CBORTag(Own.ARRAY, ["|V0", b"12345678"])),
        dumps(CBORTag(Own.ARRAY, [["x", 8, []], b"12345678"])), dumps(CBORTag(Own.SCALAR, ["<f8", b""])),
        dumps(CBORTag(Own.ARRAY, [["s", 4, [["a", "<i4", 9]]], b"12345678"])),
        dumps(CBORTag(Own.ARRAY, ["<m8[0s]", b"12345678"])), dumps(CBORTag(Own.ARRAY, ["<M8[q]", b"12345678"])),
        dumps(CBORTag(Own.ARRAY, ["<U1", b"\xff\xff\xff\x7f"])), dumps(CBORTag(Own.ARRAY, ["<M8", b"12345678"])),
        dumps(CBORTag(Own.ARRAY, [["s", 4, [["a", "<U1", 0]]], b"\x00\x00\x11\x00"])),
        dumps(CBORTag(Own.SCALAR, ["<U1", b"\x00\x00\x11\x00"])),
        dumps(CBORTag(Own.ARRAY, [["s", 8, [["a", "<i4", 0, {"t": 1}]]], b"12345678"])),
        dumps(CBORTag(Own.ARRAY, [["s", 8, [[1, "<i4", 0]]], b"12345678"])),
        dumps(CBORTag(Own.ARRAY, [["s", 8, [["a", "<i4"]]], b"12345678"])),
        *(failed("ValueError", "t", "", [], {name: 1}, module="builtins")
          for name in ("with_traceback", "args", "__cause__", "__class__", "add_note", "__reduce__", "__str__")),
        failed("ValueError", "t", "", [], {"__notes__": "no list"}, module="builtins"),
        dumps(CBORTag(Own.PACKED, ["q", None, b"1234567"])), dumps(CBORTag(Own.PACKED, ["x", None, b""])),
        dumps(CBORTag(Own.PACKED, ["z", None, b"12345678"])), dumps(CBORTag(Own.PACKED, ["d", None, b"1"])),
        *(dumps(CBORTag(Own.PACKED, ["b", width, b"123"])) for width in (0, -1, 2, 65, None, True, 1.0, "1")),
        *(dumps(CBORTag(Own.PACKED, ["B", sizes, b"123"])) for sizes in (None, [], [4], [-1, 4], [3.0], [True, 2])),
        dumps(CBORTag(Own.PACKED, ["?", None, b"\x03"])), dumps(CBORTag(Own.PACKED, ["s", "a", b"x"])),
        dumps(CBORTag(Own.PACKED, ["s", "\0", b"\xff"])), dumps(CBORTag(Own.PACKED, ["i", None, b"12345"])),
        *(dumps(CBORTag(Own.PACKED, [form, None, data])) for form in ("m", "B") for data in
          (b"", b"\x01", b"\x91", b"\x91\x91\x01", b"\x91\x80", b"\x92\x01\x01\x01", b"\x81\xa1a\x01", b"\x91\xc1",
           b"\xdd\xff\xff\xff\xff\x01", b"\xdc\x00", b"\x91\xd6\xff\0\0\0\0", b"\x91\xc7\x01\x05a", b"\x91\xa1\xff",
           b"\x91\xdb\xff\xff\xff\xffa", b"\x91\xc4\x01")),
        dumps(CBORTag(Own.PACKED, ["m", None, b"\x91\xc4\x01a"])),
        dumps(CBORTag(Own.PACKED, ["B", None, b"\x91\xa1a"])),
        *(dumps(CBORTag(Own.PACKED, ["m", sizes, b"\x91\x01\x91\x02"]))
          for sizes in ([], [2], [2, 3], [4], [1, 3], [2, 2, 0], [5, -1], [True, 3], [2.0, 2.0], "ab", 4)),
        *(dumps(CBORTag(Own.PACKED, ["R", detail, b"\x92\x91\x01\x91\x02"])) for detail in
          (None, [], ["t", 2, 2], ["x", 2, 2, None], ["d", 2, 2, None], ["t", 3, 2, None], ["t", 1, 2, None],
           ["t", 2, -1, None], ["t", 2, 1 << 70, None], ["t", 2.0, 2, None], ["t", 2, True, None], [1, 2, 2, None],
           ["t", 2, 2, [4]], ["t", 2, 2, [3, 2]])),
        *(dumps(CBORTag(Own.PACKED, ["R", ["t", 1, 100, None], b"\x91\xdc\x00\x64" + inner * 100])) for inner in
          (b"\x90", b"\x80", b"\x91\x01", b"\xc1")),
        dumps(CBORTag(Own.PACKED, ["R", ["t", 1, 1, None], b"\x91\xdc\x00\x64" + bytes(100)])),
        *(dumps(CBORTag(Own.PACKED, ["R", ["d", 1, 1, None], b"\x91" + row])) for row in
          (b"\x81\x01\x01", b"\x81\xa1a\x90", b"\x91\x01", b"\x81\xc0\x01", b"\xdf\xff\xff\xff\xff\xa1a\x01")),
        *(dumps(CBORTag(Own.PACKED, ["N", detail, b"\x92\x91\x01\x91\x91\x02"])) for detail in
          (None, ["t", 2, "x", None], ["x", 2, "t", None], ["t", 3, "t", None], ["t", 2, "d", None],
           ["d", 2, "t", None], ["t", 2.0, "t", None], ["t", 2, None, None], ["t", 2, "t", [3, 4]], ["t", 2, "t"])),
        *(dumps(CBORTag(Own.PACKED, ["N", ["l", 1, "l", None], data])) for data in
          (b"\x91\x91\x91\x91\x01", b"\x91\x91\x80", b"\x91\x01", b"\x91\x91\xc4\x01a")),
        *(dumps(CBORTag(Own.PACKED, ["D", kind, data])) for kind, data in
          (("s", b"\x82\xa1a\x01\xa1a\x02"), ("i", b"\x82\x01\x01\x01\x02"), ("s", b"\x81\x01\x01"),
           ("i", b"\x81\xa1a\x01"), ("i", b"\x81\xcb\x7f\xf8\0\0\0\0\0\0\x01"), ("f", b"\x81\x01\x01"),
           (None, b"\x81\x01\x01"), ("s", b"\x91\x01"), ("s", b"\x81\xa1a\x90"), ("i", b"\xdf\xff\xff\xff\xff\x01"))),
        dumps(CBORTag(Own.PACKED, ["n", "|O", b"x"])),
        dumps(CBORTag(Own.PACKED_DICT, [[1, 2], [3]])), dumps(CBORTag(Own.PACKED_DICT, [[1, 1], [3, 4]])),
        dumps(CBORTag(Own.PACKED_DICT, [[[]], [1]])), dumps(CBORTag(Own.PATH, ["Path", "x"])),
        dumps(CBORTag(Own.MAPPING, ["defaultdict", "exec", {}])), dumps(CBORTag(Own.MAPPING, ["Counter", None, []])),
        dumps(CBORTag(Own.DEQUE, [-1, []])), dumps(CBORTag(Own.DEQUE, [1 << 70, []])),
        dumps(CBORTag(Own.ZONE, "../../etc/passwd")), dumps(CBORTag(Own.ZONE, "/etc/localtime")),
        dumps(CBORTag(Own.TIMEZONE, [10**15, None])), dumps(CBORTag(Own.NUMBERS, ["q", 3, b""])),
        dumps(CBORTag(Own.NUMBERS, ["hi", 2, b""])), dumps(CBORTag(Own.NUMBERS, ["", 2, b""])),
        dumps(CBORTag(Own.NAMESPACE, {"__class__": 1})), dumps(CBORTag(Own.NAMESPACE, {1: 1})),
        dumps(CBORTag(Own.LIBRARY, ["os.system", {}])), dumps(CBORTag(Own.LIBRARY, ["pandas.DataFrame", []])),
    ],
    ids=lambda payload: payload[:12].hex(),
)  # fmt: skip
def test_fault_08_malformed_payloads_are_protocol_errors(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        CODEC.decode(payload)


def test_a_closed_tag_is_refused_before_its_payload_is_read() -> None:
    with pytest.raises(ProtocolError, match="CBOR tag 1234 is not used"):
        CODEC.decode(dumps(CBORTag(1234, CBORTag(35, "("))))


def test_each_segment_is_used_exactly_once() -> None:
    tag = CBORTag(Own.BYTES, CBORTag(Own.SEGMENT, 0))
    assert CODEC.decode(dumps(tag), [bytearray(b"abc")]) == b"abc"
    with pytest.raises(ProtocolError, match="used twice"):
        CODEC.decode(dumps([tag, tag]), [bytearray(b"abc")])
    with pytest.raises(ProtocolError, match="1 segments of the frame are not used"):
        CODEC.decode(dumps([tag]), [bytearray(b"abc"), bytearray(b"d")])
    with pytest.raises(ProtocolError, match="not used"):
        CODEC.decode(dumps(CBORTag(Own.SEGMENT, 0)), [bytearray(b"abc")])


@examples(300)
@given(st.binary(max_size=60))
def test_fault_08_any_bytes_are_a_value_or_a_protocol_error(data: bytes) -> None:
    try:
        CODEC.decode(data)
    except ProtocolError:
        return
    assert cbor2.loads(data, tag_hook=lambda tag, _: None) is not NotImplemented


SAMPLES = [
    CODEC.encode(value).payload
    for value in (
        [1, "a", {"k": (1, 2.5)}, {3: {4}}],
        [TrapEnum.A, np.arange(6).reshape(2, 3), np.zeros(2, [("a", "i4"), ("b", "f8")]), np.float32(1)],
        [ValueError("x"), range(3), slice(1), 2**80, frozenset({1, 2}), 1j],
        [(1, 2.5, "a")] * 5,
        [{"a": 1, "b": None}] * 5,
        [{"a": (1, 2)}] * 5,
        {f"{n}": n for n in range(60)},
        dict.fromkeys(range(60)),
        [1.5, None] * 40,
        ["a", 1, None] * 30,
        [b"ab"] * 70,
    )
]


@examples(400)
@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), min_size=1, max_size=4))
def test_fault_08_mutated_payloads_are_values_or_protocol_errors(sample: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(sample)
    for place, byte in changes:
        data[place % len(data)] = byte
    before = set(sys.modules)
    try:
        value = CODEC.decode(bytes(data))
    except ProtocolError:
        return
    assert set(sys.modules) == before
    try:
        CODEC.encode(value)
    except QMI_ValueNotSendableException:
        return


def test_codec_uses_no_pickle_no_import_and_no_eval() -> None:
    room = Path(sys.modules["qmi.net"].__file__ or "").parent
    for file in room.rglob("*.py"):
        for word in ("pickle", "importlib", "eval(", "exec(", "__import__", "__reduce__"):
            if (file.name, word) != ("loading.py", "importlib"):  # whose names are fixed
                assert word not in file.read_text(encoding="utf-8"), (file.name, word)
