"""How an exception travels: its type by name, its arguments, its attributes, and its traceback as text.

An exception always arrives, whatever is in it: what cannot be sent is replaced by its text, what is too long is cut.
The receiver makes it of its own class only where that cannot make a printed traceback fail; else a remote exception,
which has the text and the attributes, stands for it.
"""

from __future__ import annotations

import builtins
import traceback
import types
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, cast

from cbor2 import CBORTag

from qmi.config.validators import printable, printable_lines
from qmi.errors import QMI_RemoteException, QMI_RemoteExceptionGroup
from qmi.net.codec.named_types import ABSENT, find_type, static_lookup
from qmi.net.codec.rows import Decoding, Encoding, Malformed, Row, let_ctrl_c_through, sized, typed
from qmi.net.codec.tags import Own

MAX_TEXT = 16 << 10
MAX_TRACEBACK = 64 << 10
MAX_STATE = 256 << 10
MAX_TOTAL = 768 << 10
"""Characters in an exception and all that are in it; those met later go in brief."""
_MAX_NAME = 200
_MAX_NOTES = 100
_MAX_PRINTED = 10_000
"""Errors in a group and its causes that Python is asked to print: it prints one that is met twice twice."""

_BASE = BaseException.__dict__
_MRO: types.MemberDescriptorType = type.__dict__["__mro__"]
_LAYOUT = type.__dict__["__base__"]
_BUILTIN = frozenset(v for v in vars(builtins).values() if isinstance(v, type) and issubclass(v, BaseException))
_TEXT = (str, type(None))
_NUMBER = (int, type(None))
_NAME = (str, bytes, int, type(None), PurePath)
_ANY = (object,)
_MEMBERS: Mapping[type, Mapping[str, tuple[type, ...]]] = {
    OSError: {"errno": _ANY, "strerror": _ANY, "filename": _NAME, "filename2": _NAME},
    UnicodeEncodeError: {"encoding": (str,), "object": (str,), "start": (int,), "end": (int,), "reason": (str,)},
    UnicodeDecodeError: {"encoding": (str,), "object": (bytes,), "start": (int,), "end": (int,), "reason": (str,)},
    UnicodeTranslateError: {"object": (str,), "start": (int,), "end": (int,), "reason": (str,)},
    ImportError: {"name": _TEXT, "path": _TEXT, "msg": _ANY},
    NameError: {"name": _TEXT},
    AttributeError: {"name": _TEXT},
    StopIteration: {"value": _ANY},
    SystemExit: {"code": _ANY},
    SyntaxError: {
        "msg": _ANY, "filename": _TEXT, "lineno": _NUMBER, "offset": _NUMBER, "text": _TEXT, "end_lineno": _NUMBER,
        "end_offset": _NUMBER, "print_file_and_line": _ANY,
    },
    BaseExceptionGroup: {"message": (str,), "exceptions": (list,)},
}  # fmt: skip
"""What builtin exceptions keep beside ``args`` and their dictionary, and of which types."""
_MADE_OF_MEMBERS = (UnicodeEncodeError, UnicodeDecodeError, UnicodeTranslateError, BaseExceptionGroup)
"""What cannot be made of nothing."""
_RESERVED = frozenset(dir(BaseException)) - {"__notes__"}
_METHODS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
    staticmethod, classmethod,
)  # fmt: skip


class RemoteTraceback(Exception):
    """Shown as the cause of a remote exception: where it was raised, on the other side."""

    def __str__(self) -> str:
        if not self.args:
            return ""
        # Each line is marked: however it reads, it cannot pass for what this program itself prints after it.
        marked = "".join(f"| {line}\n" for line in str(self.args[0]).splitlines())
        return f'\n"""\n{marked}"""'


def cut(text: str, limit: int) -> str:
    """Return the text without what cannot be encoded, and without its middle if it is too long."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n... ({len(text) - 2 * half} characters left out) ...\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def text_of(value: object) -> str:
    """Return ``str(value)`` of a bounded size; values that cannot be printed are named by their type."""
    try:
        return cut(str(value), MAX_TEXT)
    except BaseException as error:  # noqa: BLE001 - user's code; its error becomes part of the text
        let_ctrl_c_through(error)
        return f"<{type(value).__qualname__} that cannot be printed: {type(error).__name__}>"


def traceback_of(error: BaseException, *, chain: bool) -> str:
    """Return the formatted traceback with notes; with causes if the whole chain is asked for."""
    try:
        if _prints_too_much(error):
            frames = "".join(traceback.format_tb(_BASE["__traceback__"].__get__(error)))
            return cut(f"{frames}{type(error).__qualname__}: {text_of(error)}\n", MAX_TRACEBACK)
        return cut("".join(traceback.format_exception(error, chain=chain)), MAX_TRACEBACK)
    except BaseException as fault:  # noqa: BLE001 - user's code; the error itself must still arrive
        let_ctrl_c_through(fault)
        return f"{type(error).__qualname__} (its traceback cannot be printed: {type(fault).__name__})\n"


def _prints_too_much(error: BaseException) -> bool:
    """Whether the groups in an error, each counted as often as it is met, are too many to be printed."""
    left, found = [error], 0
    while left:
        met = left.pop()
        found += 1
        if found > _MAX_PRINTED:
            return True
        if issubclass(type(met), BaseExceptionGroup):
            left.extend(BaseExceptionGroup.__dict__["exceptions"].__get__(met))
    return False


def _name_of(error: BaseException) -> list[str]:
    """Return module and name of an exception's class, whatever the class makes of them."""
    cls = type(error)
    qualname = type.__dict__["__qualname__"].__get__(cls)
    module = type.__dict__["__module__"].__get__(cls)
    return [cut(module, _MAX_NAME) if type(module) is str else "?", cut(qualname, _MAX_NAME)]


# -- lowering: [module, qualname, text, traceback, arguments, attributes, members, whether it is whole]


class ErrorEncoder:
    """Lowers one exception and the exceptions in it, each once: one that was met before becomes its text.

    Args:
        encoding: Lowers what is no exception.
        depth: How many containers are around the outermost exception.
        max_depth: How many there may be.
    """

    def __init__(self, encoding: Encoding, max_depth: int) -> None:
        self._encoding = encoding
        self._max_depth = max_depth
        self._met: set[int] = set()
        self._left = 0

    def lower(self, error: BaseException, depth: int) -> object:
        """Lower an exception; never raises."""
        if id(error) in self._met:
            return text_of(error)
        outermost = not self._met
        if outermost:
            self._left = MAX_TOTAL
        self._met.add(id(error))
        try:
            return self._lower(error, depth, outermost=outermost)
        except BaseException as fault:  # noqa: BLE001 - user's code: a metaclass, an attribute
            let_ctrl_c_through(fault)
            text = f"<an error that cannot be read: {type(fault).__qualname__}>"
            return CBORTag(Own.EXCEPTION, [*_name_of(error), text, "", [text], {}, {}, False])
        finally:
            if outermost:
                self._met.clear()

    def _lower(self, error: BaseException, depth: int, *, outermost: bool) -> CBORTag:
        name = _name_of(error)
        if depth >= self._max_depth or self._left <= 0:
            return self.brief(error)
        text, trace = text_of(error), traceback_of(error, chain=outermost)
        self._left -= len(text) + len(trace)
        parts = _Parts(self, depth + 1)
        state = parts.attributes(error)
        members = parts.members(error)
        args = [parts.encode_or_text(arg) for arg in tuple(_BASE["args"].__get__(error))]
        if parts.size > MAX_STATE:
            args, parts.whole = [text], False
        self._left -= parts.size
        whole = parts.whole
        if not _is_printable(error):  # nor can it be there: its text stands for what it is printed from
            whole, args = False, [text]
            members = {key: found for key, found in members.items() if key in ("message", "exceptions")}
        return CBORTag(Own.EXCEPTION, [*name, text, trace, args, state, members, whole])

    def brief(self, error: BaseException) -> CBORTag:
        """Lower type and text alone."""
        name = _name_of(error)
        text = cut(text_of(error), 2 * _MAX_NAME)
        self._left -= len(text)
        return CBORTag(Own.EXCEPTION, [*name, text, "", [text], {}, {}, False])

    @property
    def is_full(self) -> bool:
        """Whether no further exception should be added, not even in brief."""
        return self._left < -MAX_TOTAL

    def lower_part(self, value: object, depth: int) -> tuple[object, int]:
        """Lower a part of an exception that is none; returns its size, too.

        Raises:
            Refusal: If it cannot be sent.
        """
        return self._encoding.lower_small(value, depth, MAX_STATE)


class _Parts:
    """The parts of one exception: how much they are together, and whether all of them can be sent as they are."""

    def __init__(self, errors: ErrorEncoder, depth: int) -> None:
        self._errors = errors
        self._depth = depth
        self.size: int = 0
        self.whole: bool = True

    def attributes(self, error: BaseException) -> dict[str, object]:
        found: dict[str, object] = {}
        notes = _BASE["__dict__"].__get__(error).get("__notes__")
        if type(notes) is list:
            texts = [cut(note, MAX_TEXT) for note in notes[:_MAX_NOTES] if isinstance(note, str)]
            found["__notes__"] = texts
        for key, value in _state_of(error).items():
            if key == "__notes__":
                continue
            if type(key) is not str or not _may_be_set(type(error), key) or self._add(found, key, value) is False:
                self.whole = False
        return found

    def members(self, error: BaseException) -> dict[str, object]:
        found: dict[str, object] = {}
        for base, names in _MEMBERS.items():
            if not issubclass(type(error), base):
                continue
            for name, kinds in names.items():
                value = base.__dict__[name].__get__(error)
                if base is BaseExceptionGroup and name == "exceptions":
                    found[name] = self._group(value)
                elif not isinstance(value, kinds):
                    self.whole = False
                elif base is BaseExceptionGroup:
                    found[name] = cut(str(value), MAX_TEXT)
                elif self._add(found, name, value) is False:
                    self.whole = False
                    if kinds is _NAME:  # a file's name that is no text: it is printed by ``repr`` anyway
                        found[name] = cut(str(value), MAX_TEXT)
        return found

    def _group(self, members: Sequence[BaseException]) -> list[object]:
        found = []
        for error in members:
            if self._errors.is_full:
                self.whole = False
                break
            plain = self._errors.lower(error, self._depth)
            found.append(self._errors.brief(error) if type(plain) is str else plain)
        return found

    def encode_or_text(self, value: object) -> object:
        """Lower an argument, or its text if that is impossible."""
        if type(value) is str:
            text = cut(value, MAX_TEXT)
            self.size += len(text)
            self.whole = self.whole and text == value
            return text
        found: dict[str, object] = {}
        if self._add(found, "", value):
            return found[""]
        self.whole = False
        text = text_of(value)
        self.size += len(text)
        return text

    def _add(self, found: dict[str, object], key: str, value: Any) -> bool:
        """Lower a part if it can be sent and is not too long."""
        if isinstance(value, BaseException):
            found[key] = self._errors.lower(value, self._depth)
            return type(found[key]) is not str
        if type(value) in (list, tuple) and any(isinstance(item, BaseException) for item in value):
            if len(value) > MAX_STATE // 16:
                return False
            items = [self.encode_or_text(item) for item in value]
            found[key] = items if type(value) is list else CBORTag(Own.TUPLE, items)
            return self.size <= MAX_STATE
        try:
            plain, size = self._errors.lower_part(value, self._depth)
        except Exception:  # noqa: BLE001 - Refusal, and user's code: the exception goes without this part
            return False
        if self.size + size > MAX_STATE:
            return False
        self.size += size
        found[key] = plain
        return True


def _state_of(error: BaseException) -> dict[str, object]:
    """Return the exception's dictionary, and what its class keeps in slots."""
    found = dict(_BASE["__dict__"].__get__(error))
    for base in _MRO.__get__(type(error)):
        if base in _BUILTIN or base is object:
            continue
        for name, slot in vars(base).items():
            if type(slot) is types.MemberDescriptorType and name not in found:
                try:
                    found[name] = slot.__get__(error)
                except AttributeError:  # not set
                    continue
    return found


def _may_be_set(cls: type, name: str) -> bool:
    """Whether a rebuilt exception may have this in its dictionary or slot: it hides no method and calls no setter."""
    if name in _RESERVED:
        return False
    declared = static_lookup(cls, name)
    if declared is ABSENT:
        return True
    if type(declared) is types.MemberDescriptorType:
        return declared.__objclass__ not in _BUILTIN
    return not isinstance(declared, _METHODS) and static_lookup(type(declared), "__set__") is ABSENT


def _is_printable(error: BaseException) -> bool:
    if _prints_too_much(error):
        return False
    try:
        str(error)
        repr(error)
        "".join(traceback.format_exception_only(error))
    except BaseException as fault:  # noqa: BLE001 - user's code: the receiver shall not meet it
        let_ctrl_c_through(fault)
        return False
    return True


# -- rebuilding


def _exception(decoding: Decoding, payload: object, _: bool) -> object:
    module, qualname, text, trace, args, state, members, whole = sized(payload, 8)
    return rebuild_exception(
        (typed(module, str), typed(qualname, str)),
        typed(text, str),
        typed(trace, str),
        typed(args, list),
        typed(state, dict),
        typed(members, dict),
        whole=typed(whole, bool),
    )


def rebuild_exception(
    name: tuple[str, str],
    text: str,
    trace: str,
    args: list[object],
    state: dict[str, Any],
    members: Mapping[str, object] | None = None,
    *,
    whole: bool = True,
) -> Any:
    """Return the exception of this name with its traceback attached, or what stands for it.

    A type that does not derive from ``Exception`` (KeyboardInterrupt, SystemExit) is always replaced: it must not end
    the program that receives it.

    Raises:
        Malformed: If an attribute would hide what every exception has.
    """
    for key, value in state.items():
        if type(key) is not str or key in _RESERVED:
            raise Malformed(f"{key!r} cannot be an attribute of an exception")
        if key == "__notes__" and (type(value) is not list or any(type(note) is not str for note in value)):
            raise Malformed("the notes of an exception are no texts")
    # All these texts go to terminals and logs. What a terminal would obey must not get there.
    text, trace = printable_lines(text), printable_lines(trace)
    args = [printable_lines(arg) if type(arg) is str else arg for arg in args]
    if "__notes__" in state:
        state = {**state, "__notes__": [printable_lines(note) for note in state["__notes__"]]}
    found = members or {}
    members = {key: _printable_member(key, value, found) for key, value in found.items() if type(key) is str}
    cls = find_type(*name)
    error = None
    if cls is not None and issubclass(cls, Exception) and (whole or _prints_safely(cls)):
        error = _make(cls, args, members)
    if error is None:
        error = _stand_in(name, text, members)
        state.pop("type_name", None)
        state = {**{key: value for key, value in members.items() if key not in ("exceptions", "message")}, **state}
    _set_state(error, state)
    _BASE["__cause__"].__set__(error, RemoteTraceback(trace))
    return error


def _printable_member(name: str, value: object, members: Mapping[str, object]) -> object:
    """Return a member as it may be printed; an OSError prints its file names by ``repr`` anyway."""
    shown = name in ("strerror", "msg", "message", "reason", "text") or (name == "filename" and "lineno" in members)
    return printable_lines(value) if shown and type(value) is str else value


def _prints_safely(cls: type) -> bool:
    """Whether an exception of this class can be printed although a part of it is missing."""
    return (
        getattr(static_lookup(cls, "__str__"), "__objclass__", None) in _BUILTIN
        and getattr(static_lookup(cls, "__repr__"), "__objclass__", None) in _BUILTIN
        and static_lookup(cls, "__getattr__") is ABSENT
        and getattr(static_lookup(cls, "__getattribute__"), "__objclass__", None) in (*_BUILTIN, object)
        and static_lookup(cls, "__notes__") is ABSENT
        and static_lookup(type(cls), "__getattribute__") is type.__getattribute__
    )


def _stand_in(name: tuple[str, str], text: str, members: Mapping[str, object]) -> Exception:
    full = printable(name[1] if name[0] == "builtins" else ".".join(name))
    inner, message = members.get("exceptions"), members.get("message")
    if type(inner) is list and inner and type(message) is str and all(isinstance(item, Exception) for item in inner):
        return QMI_RemoteExceptionGroup(f"{full}: {message}", inner, full)
    return QMI_RemoteException(f"{full}: {text}" if text else full, full)


def _make(cls: type, args: list[object], members: Mapping[str, object]) -> Exception | None:
    """Make the exception through the builtin type that it is made of, never through its own code."""
    # Of several builtin bases it is the one whose layout the class has: EOFError.__new__ makes no kind of OSError.
    base: Any = cls
    while base not in _BUILTIN:
        base = _LAYOUT.__get__(base)
    made_of = next((kind for kind in _MADE_OF_MEMBERS if issubclass(base, kind)), None)
    try:
        if made_of is not None:
            parts = [members[name] for name in _MEMBERS[made_of]]
            error: Any = base.__new__(cls, *parts)
            if made_of is not BaseExceptionGroup:
                base.__init__(error, *parts)
        else:
            error = base.__new__(cls)
            base.__init__(error)
        if type(error) is not cls:
            return None
        for kind, names in _MEMBERS.items():
            if made_of is None and issubclass(base, kind):
                _set_members(error, kind, names, members)
    except (TypeError, ValueError, OverflowError, KeyError, AttributeError):
        return None
    _BASE["args"].__set__(error, tuple(args))
    return cast(Exception, error)


def _set_members(
    error: object, kind: type, names: Mapping[str, tuple[type, ...]], members: Mapping[str, object]
) -> None:
    for name, kinds in names.items():
        if members.get(name) is not None:  # what is not set must stay so: an OSError prints it
            if not isinstance(members[name], kinds):
                raise TypeError(name)
            kind.__dict__[name].__set__(error, members[name])


def _set_state(error: BaseException, state: dict[str, object]) -> None:
    rest = _BASE["__dict__"].__get__(error)
    for name, value in state.items():
        if name == "__notes__":
            rest[name] = value
        elif _may_be_set(type(error), name):
            declared = static_lookup(type(error), name)
            if type(declared) is types.MemberDescriptorType:
                declared.__set__(error, value)
            else:
                rest[name] = value


ROWS = (Row(Own.EXCEPTION, _exception),)
