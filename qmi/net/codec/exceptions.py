"""How an exception travels: its type by name, its arguments, its attributes, and its traceback as text.

An exception always arrives, whatever is in it: what cannot be sent is replaced by its text, what is too long is cut.
"""

from __future__ import annotations

import builtins
import traceback
from typing import Any, cast

from qmi.config.rules import printable, printable_lines
from qmi.errors import QMI_RemoteException
from qmi.net.codec.named_types import ABSENT, find_type, static_lookup

MAX_TEXT = 16 << 10
MAX_TRACEBACK = 64 << 10
MAX_STATE = 256 << 10

_BASE = BaseException.__dict__
_BUILTIN = frozenset(v for v in vars(builtins).values() if isinstance(v, type) and issubclass(v, BaseException))
_MEMBERS = {ImportError: ("name", "path"), NameError: ("name",), AttributeError: ("name",)}


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
    except Exception as error:  # noqa: BLE001 - user's code; its error becomes part of the text
        return f"<{type(value).__qualname__} that cannot be printed: {type(error).__name__}>"


def traceback_of(error: BaseException) -> str:
    """Return the formatted traceback, with causes and notes."""
    try:
        return cut("".join(traceback.format_exception(error)), MAX_TRACEBACK)
    except Exception as fault:  # noqa: BLE001 - user's code; the error itself must still arrive
        return f"{type(error).__qualname__} (its traceback cannot be printed: {type(fault).__name__})\n"


def arguments_of(error: BaseException) -> tuple[Any, ...]:
    """Return what rebuilds the exception; an OSError keeps its file names apart from its ``args``."""
    args = tuple(_BASE["args"].__get__(error))
    if isinstance(error, OSError) and len(args) == 2 and error.filename is not None:
        extra = (error.filename,) if error.filename2 is None else (error.filename, None, error.filename2)
        return args + extra
    return args


def attributes_of(error: BaseException) -> dict[str, Any]:
    """Return the exception's attributes, notes among them."""
    found = dict(_BASE["__dict__"].__get__(error))
    for base, names in _MEMBERS.items():
        if isinstance(error, base):
            found.update((name, base.__dict__[name].__get__(error)) for name in names)
    return found


def rebuild_exception(name: tuple[str, str], text: str, trace: str, args: list[Any], state: dict[str, Any]) -> Any:
    """Return the exception of this name with its traceback attached, or a stand-in.

    A type that does not derive from ``Exception`` (KeyboardInterrupt, SystemExit) always becomes a stand-in: it must
    not end the program that receives it.
    """
    # All these texts go to terminals and logs. What a terminal would obey must not get there.
    text, trace = printable_lines(text), printable_lines(trace)
    args = [printable_lines(arg) if type(arg) is str else arg for arg in args]
    if type(notes := state.get("__notes__")) is list:
        state = {**state, "__notes__": [printable_lines(note) if type(note) is str else note for note in notes]}
    cls = find_type(*name)
    error = _make(cls, args) if cls is not None and issubclass(cls, Exception) else None
    if error is None:
        full = printable(name[1] if name[0] == "builtins" else ".".join(name))
        error = QMI_RemoteException(f"{full}: {text}" if text else full, full)
        state = {key: value for key, value in state.items() if key == "__notes__"}
    _set_state(error, state)
    _BASE["__cause__"].__set__(error, RemoteTraceback(trace))
    return error


def _make(cls: type, args: list[Any]) -> Exception | None:
    """Make the exception through the builtin type that it is made of, never through its own code."""
    base: Any = next(base for base in type.__dict__["__mro__"].__get__(cls) if base in _BUILTIN)
    try:
        error: Any = base.__new__(cls, *args)
        if type(error) is not cls:
            return None
        base.__init__(error, *args)
    except (TypeError, ValueError, OverflowError):
        return None
    return cast(Exception, error)


def _set_state(error: BaseException, state: dict[str, Any]) -> None:
    rest = _BASE["__dict__"].__get__(error)
    for name, value in state.items():
        owner = next((base for base in _MEMBERS if name in _MEMBERS[base] and isinstance(error, base)), None)
        if owner is not None:
            owner.__dict__[name].__set__(error, value)
        elif name != "__notes__" or (type(value) is list and all(type(note) is str for note in value)):
            declared = static_lookup(type(error), name)
            if declared is ABSENT or static_lookup(type(declared), "__set__") is ABSENT:  # else it may be a property
                rest[name] = value
