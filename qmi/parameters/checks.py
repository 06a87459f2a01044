"""What is wrong with the declarations of a class, found when the class is made."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from enum import Enum, Flag
from typing import Any, NoReturn

from qmi.errors import QMI_InvalidValueException, QMI_UsageException
from qmi.names import nearest
from qmi.parameters.blocks import Block
from qmi.parameters.channels import BaseChannel
from qmi.parameters.command_checks import check_commands
from qmi.parameters.declaration import Parameter, class_of
from qmi.parameters.declared import Declared, declared_of, type_name
from qmi.parameters.rules import is_number, shown

_ARGUMENTS = (
    *("command", "type", "unit", "limits", "values", "step", "doc", "poll", "ask", "write", "getter", "setter"),
    *("format", "parse", "scale", "simulate"),
)
_COMMANDS = ("command", "ask", "write")
_OF_THE_LIBRARY = ("qmi.actors.", "qmi.devices.")
_OF_DEVICES = (float, int, bool, str)


def check_declared(cls: type, declared: Declared, reserved: Callable[[str], str]) -> None:
    """Refuse declarations that cannot work.

    Args:
        cls: The class.
        declared: What it declares.
        reserved: Says why a parameter cannot have a name; an empty text if it can.

    Raises:
        QMI_UsageException: Saying which class and parameter, what was found and what to do.
    """
    for parameter in declared.parameters.values():
        if len(parameter.names) > 1:
            first, second, *_ = parameter.names
            raise QMI_UsageException(
                f"{second} is the declaration that {first} has already: write one parameter(...) for each name"
            )
        fault = _Fault(cls, parameter)
        _check_arguments(fault, parameter)
        if reason := reserved(parameter.name):
            fault(reason)
        _check_name(fault, cls, parameter, declared)
        _check_command(fault, cls, parameter)
        _check_type(fault, parameter)
        _check_flag(fault, parameter)
        _check_functions(fault, parameter)
        _check_limits(fault, cls, parameter)
        _check_values(fault, parameter)
        _check_numbers(fault, parameter)
        _check_texts(fault, parameter)
        if not issubclass(cls, BaseChannel):
            _check_can_exchange(cls, parameter, cls)
    check_commands(cls, declared)
    for channels in declared.channels.values():
        if issubclass(cls, BaseChannel):
            raise QMI_UsageException(
                f"Channel {cls.__qualname__} declares {channels.name}: channels have no channels of their own. Let the "
                "instrument declare them"
            )
        _check_channels(cls, channels.name, channels, reserved)


class _Fault:
    """Raises what is said of one parameter."""

    def __init__(self, cls: type, parameter: Parameter[object]) -> None:
        self._where = f"{cls.__qualname__}.{parameter.name}"

    def __call__(self, text: str) -> NoReturn:
        raise QMI_UsageException(f"Parameter {self._where} {text}")


def _check_arguments(fault: _Fault, parameter: Parameter[object]) -> None:
    if parameter.unnamed:
        values = ", ".join(map(shown, parameter.unnamed))
        fault(f"has {values} behind its command and its type: everything else has a name, as unit='V', limits=(0, 10)")
    for name in parameter.given:
        if name not in _ARGUMENTS:
            near = nearest(name, _ARGUMENTS)
            known = f"Did you mean {near}=?" if near else f"It takes {', '.join(_ARGUMENTS)}"
            fault(f"has {name}=, which parameter() does not take. {known}")


def _check_name(fault: _Fault, cls: type, parameter: Parameter[object], declared: Declared) -> None:
    name = parameter.name
    if name.startswith("_"):
        fault("begins with an underscore, and proxies show no such names: give it another name")
    for base in cls.__mro__:
        hidden = vars(base).get(name)
        if hidden is not None and not isinstance(hidden, Parameter):
            what = "method" if callable(getattr(hidden, "__func__", hidden)) else "attribute"
            fault(f"hides the {what} {base.__qualname__}.{name}: give it another name")
    for verb in ("get", "set"):
        taken = inspect.getattr_static(cls, f"{verb}_{name}", None)
        taken = getattr(taken, "__func__", taken)
        if str(getattr(taken, "__module__", "")).startswith(_OF_THE_LIBRARY) and hasattr(taken, "__qualname__"):
            fault(
                f"would have the method {verb}_{name}(), which every object of its kind has for something else "
                f"({taken.__qualname__}): give it another name"
            )
    verb, _, rest = name.partition("_")
    if verb in ("get", "set") and rest in declared.parameters:
        fault(f"has the name of the method {name}() that proxies have for {rest}: give it another name")


def _check_type(fault: _Fault, parameter: Parameter[object]) -> None:
    kind = parameter.given.get("type")
    if kind is None:
        if parameter.getter is not None:
            fault("has no type: annotate what its getter returns, or give type=")
        fault('has no type: give it after the command, as in parameter("VOLT", float)')
    if isinstance(kind, Block):
        if not isinstance(kind.dtype, str) or not kind.dtype:
            fault(f'has the type {kind!r}: write the type of one number as numpy does, such as Block("<f4")')
        return
    if isinstance(kind, str) and parameter.annotated:
        fault(
            f"has the type {kind!r}, by what its getter returns, and its module has no class of that name: give type="
        )
    found = class_of(kind)
    if found is None or not _can_be_asked(found):
        fault(
            f"has the type {shown(kind)}, which is no class: give float, int, bool, str, an enumeration or Block(...); "
            "with a getter any class"
        )
    if issubclass(found, Enum) and not len(found):
        fault(f"has the type {type_name(parameter)}, an enumeration without members: give it one for each value")
    has_own = parameter.getter or parameter.setter_function or parameter.parse or parameter.texts is not None
    if not (has_own or found in _OF_DEVICES or issubclass(found, Enum)):
        fault(
            f"has the type {type_name(parameter)}, which no device sends: use float, int, bool, str, an enumeration or "
            "Block(...), or give format= and parse="
        )


def _check_flag(fault: _Fault, parameter: Parameter[object]) -> None:
    """Refuse flags that are sent and read as members of an enumeration: of several at once there is no text."""
    if not issubclass(parameter.type, Flag) or parameter.texts is not None:
        return
    is_read_so = parameter.getter is None and parameter.ask is not None and parameter.parse is None
    is_sent_so = parameter.setter_function is None and parameter.write is not None and parameter.format is None
    if is_read_so or is_sent_so:
        fault(
            f"has the type {type_name(parameter)}, whose members can be combined, and no text for that: declare an "
            f"int, or give parse=lambda text: {type_name(parameter)}(int(text)) and format=lambda value: "
            "str(value.value)"
        )


def _can_be_asked(kind: type) -> bool:
    try:
        isinstance(None, kind)
    except TypeError:  # a protocol
        return False
    return True


def _check_command(fault: _Fault, cls: type, parameter: Parameter[object]) -> None:
    given = parameter.given
    used = [name for name in _COMMANDS if given.get(name) is not None]
    for name in used:
        text = given[name]
        if not isinstance(text, str) or not text.strip():
            fault(f"has {name}={text!r}: give the text that the device understands")
    has_functions = parameter.getter is not None or parameter.setter_function is not None
    if not used and not has_functions:
        fault("has neither a command nor a getter or setter: give the command first, or decorate the method that reads")
    if used and has_functions:
        fault(f"has both a {used[0]} and a getter or setter: leave one of them out")
    command = given.get("command")
    text = command.strip() if isinstance(command, str) else ""
    if " " in text and "?" not in text and not (given.get("ask") and given.get("write")):
        fault(f"has the command {command!r} with a blank in it: give ask= and write=, since '?' belongs before it")
    write = given.get("write")
    if isinstance(write, str) and "{value}" not in write:
        fault(f"has write={write!r}, in which {{value}} is missing: the place of the value")
    for name in used:
        _check_placeholders(fault, cls, name, str(given[name]))


def _check_placeholders(fault: _Fault, cls: type, name: str, text: str) -> None:
    allowed = {"{n}"} if issubclass(cls, BaseChannel) else set()
    if name == "write":
        allowed.add("{value}")
    rest = text
    for placeholder in allowed:
        rest = rest.replace(placeholder, "")
    if "{n}" in rest:
        fault(f"has {name}={text!r} with {{n}}, the number of a channel, but {cls.__qualname__} is no Channel")
    if "{value}" in rest:
        fault(f"has {name}={text!r} with {{value}}, which belongs into write=")


def _check_functions(fault: _Fault, parameter: Parameter[object]) -> None:
    for name, function, words in (
        ("getter", parameter.getter, ["the object"]),
        ("setter", parameter.setter_function, ["the object", "the value"]),
    ):
        if function is None:
            continue
        if not callable(function) or not hasattr(function, "__name__"):
            fault(f"has a {name} that is no method: {shown(function)}")
        _check_takes(fault, f"the {name}", function, *words)


def _check_takes(fault: _Fault, which: str, function: Callable[..., object], *words: str) -> None:
    """Refuse a function that cannot be called with so many arguments, which the words tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*words)
    except TypeError:
        name = getattr(function, "__name__", shown(function))
        fault(f"has {which} {name}{signature}, which cannot be called with {' and '.join(words)} alone")


def _check_limits(fault: _Fault, cls: type, parameter: Parameter[object]) -> None:
    limits = parameter.limits
    if limits is None:
        return
    if not _is_number_type(parameter):
        fault(f"has limits, but is no number (its type is {type_name(parameter)}): leave them out, or use values=")
    if callable(limits):
        _check_takes(fault, "in limits= the function", limits, "the object")
        return
    if not isinstance(limits, tuple) or len(limits) != 2:
        fault(f"has limits={limits!r}: give a pair (lowest, highest), with None where there is no limit")
    for end in limits:
        _check_end(fault, cls, parameter, end)
    low, high = limits
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        fault(f"has limits={limits!r}: the lower one comes first")


def _check_end(fault: _Fault, cls: type, parameter: Parameter[object], end: object) -> None:
    if callable(end):
        _check_takes(fault, "in limits= the function", end, "the object")
    elif isinstance(end, str):
        _check_other(fault, cls, parameter, end)
    elif end is not None and (not is_number(end) or _is_nan(end)):
        fault(
            f"has the limit {shown(end)}, which is no number: give a number, None, the name of a parameter or a "
            "function of the object"
        )


def _check_other(fault: _Fault, cls: type, parameter: Parameter[object], name: str) -> None:
    if name == parameter.name:
        fault("has itself as its limit")
    other = inspect.getattr_static(cls, name, None)
    if other is None and issubclass(cls, BaseChannel):
        return  # of the instrument, which is known when that class is made
    if not isinstance(other, Parameter):
        known = ", ".join(declared_of(cls).parameters)
        fault(f"has the limit {name!r}, and {cls.__qualname__} has no parameter of that name. It has {known}")
    if not other.gettable:
        fault(f"has the limit {name!r}, a parameter that cannot be read")
    if not _is_number_type(other):
        fault(f"has the limit {name!r}, a parameter that is no number")
    if other.unit and parameter.unit and other.unit != parameter.unit:
        fault(
            f"is in {parameter.unit}, and has the limit {name!r}, which is in {other.unit}: give a function that "
            "converts it, or declare both in one unit"
        )


def _is_number_type(parameter: Parameter[object]) -> bool:
    return issubclass(parameter.type, int | float) and parameter.type is not bool and parameter.block is None


def _check_values(fault: _Fault, parameter: Parameter[object]) -> None:
    given = parameter.given.get("values")
    if given is None:
        return
    if isinstance(given, str) or parameter.values is None:
        fault(f"has values={given!r}: give a tuple of values")
    if not parameter.values:
        fault("has no value that is allowed: values= is empty")
    if parameter.limits is not None or parameter.step is not None:
        fault("has values= and also limits= or step=: the values say it all")
    for value in parameter.values:
        try:
            parameter.rule.convert(value, "")
        except QMI_InvalidValueException:
            fault(f"allows the value {shown(value)}, which is not {parameter.rule.expected}")
    if parameter.texts is not None:
        if parameter.scale is not None:
            fault("has values= with what the device calls each, and also a scale: leave the scale out")
        texts = list(parameter.texts.values())
        if bad := [text for text in texts if not isinstance(text, str)]:
            fault(f"has values= with {shown(bad[0])}: what the device calls a value is a text")
        _check_distinct(fault, texts)


def _check_distinct(fault: _Fault, texts: list[str]) -> None:
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            fault(f"has two values that the device calls {text!r}: what it answers must tell them apart")
        seen.add(text)


def _check_numbers(fault: _Fault, parameter: Parameter[object]) -> None:
    step, poll, scale = parameter.step, parameter.poll, parameter.scale
    if step is not None:
        if not _is_number_type(parameter):
            fault(f"has a step, but is no number (its type is {type_name(parameter)})")
        if not _is_positive(step):
            fault(f"has step={shown(step)}: give a number greater than 0")
    if poll is not None:
        if not _is_positive(poll):
            fault(f"has poll={shown(poll)}: give the seconds from one reading to the next, more than 0")
        if not parameter.gettable:
            fault("is polled, but can only be set: leave poll= out")
    if scale is not None:
        if not _is_number_type(parameter) and parameter.block is None:
            fault(f"has a scale, but is no number (its type is {type_name(parameter)})")
        if not _is_finite(scale) or scale == 0:
            fault(f"has scale={shown(scale)}: give a number other than 0")


def _is_nan(value: object) -> bool:
    # A whole number may be greater than any float: it is not asked what a float is asked.
    return isinstance(value, float) and math.isnan(value)


def _is_finite(value: object) -> bool:
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:  # no float is that great, and the device would get one
        return False


def _is_positive(value: object) -> bool:
    return _is_finite(value) and value > 0  # type: ignore[operator]


def _check_texts(fault: _Fault, parameter: Parameter[object]) -> None:
    for name in ("unit", "doc"):
        value = parameter.given.get(name)
        if value is not None and not isinstance(value, str):
            fault(f"has {name}={shown(value)}: give a text")
    form = parameter.format
    if form is not None and not isinstance(form, str) and not callable(form):
        fault(f'has format={shown(form)}: give a format such as ".3f", or a function that makes the text')
    if parameter.parse is not None and not callable(parameter.parse):
        fault(f"has parse={shown(parameter.parse)}: give a function that makes a value of an answer")
    if callable(form):
        _check_takes(fault, "in format= the function", form, "the value")
    if parameter.parse is not None:
        _check_takes(fault, "in parse= the function", parameter.parse, "the answer")
    if parameter.texts is None and issubclass(parameter.type, Enum) and parameter.getter is None:
        _check_distinct(fault, [str(member.value) for member in parameter.type])


def _check_can_exchange(cls: type, parameter: Parameter[object], owner: type) -> None:
    for method, command in (("_read_parameter", parameter.ask), ("_write_parameter", parameter.write)):
        if command is not None and not callable(getattr(cls, method, None)):
            raise QMI_UsageException(
                f"Parameter {owner.__qualname__}.{parameter.name} has the command {command!r}, and {cls.__qualname__} "
                "cannot send one: derive it from ScpiInstrument, or declare a getter and a setter"
            )


def _check_channels(cls: type, name: str, channels: Any, reserved: Callable[[str], str]) -> None:
    where = f"Channels {cls.__qualname__}.{name}"
    if reason := reserved(name):
        raise QMI_UsageException(f"{where} {reason}")
    kind = channels.channel_class
    if not isinstance(kind, type) or not issubclass(kind, BaseChannel):
        raise QMI_UsageException(
            f"{where} are made of a class derived from Channel, which comes first: channels(Output, 1, 4); got "
            f"{shown(kind)}"
        )
    if channels.last is None:
        raise QMI_UsageException(
            f"{where} have no last number: give the class and the numbers of the first and the last, as in "
            f"channels({kind.__name__}, 1, 4)"
        )
    for number in (channels.first, channels.last):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise QMI_UsageException(f"{where} are numbered from 0 on, got {shown(number)}")
    if channels.first > channels.last:
        raise QMI_UsageException(
            f"{where} are numbered from {channels.first} to {channels.last}: the lower number comes first"
        )
    for parameter in declared_of(kind).parameters.values():
        _check_can_exchange(cls, parameter, kind)
        ends = parameter.limits if isinstance(parameter.limits, tuple) else ()
        for end in ends:
            if isinstance(end, str) and inspect.getattr_static(kind, end, None) is None:
                _check_other(_Fault(kind, parameter), cls, parameter, end)
