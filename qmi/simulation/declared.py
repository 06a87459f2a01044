"""What a simulated device knows of a driver: its parameters and channels, as they were declared."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any

from qmi.errors import QMI_Exception, QMI_InvalidValueException, QMI_UsageException
from qmi.names import nearest
from qmi.parameters.blocks import array_block, as_array, block_of, data_of_block, import_numpy
from qmi.parameters.declaration import Parameter
from qmi.parameters.declared import declared_of
from qmi.parameters.rules import shown
from qmi.parameters.scpi_text import ScpiText, scpi_text
from qmi.simulation.device import SimulatedGroup, SimulatedParameter
from qmi.simulation.headers import keywords, same_word, split_number
from qmi.simulation.simulator import SimulatedError, Simulator, commands_of
from qmi.simulation.sources import Constant, Source, evaluate

_ANY_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_MULTIPLIERS = {"": 1.0, "G": 1e9, "MA": 1e6, "K": 1e3, "M": 1e-3, "U": 1e-6, "N": 1e-9, "P": 1e-12}
_MEASURING = ("MEAS", "FETC", "READ")
_LEFT_OUT = ("SOUR", "SCAL", "DC", "LEV", "IMM", "AMPL")
_ITEMS = 100
"""How many numbers a block has for which nobody says what is in it."""


def described(parameters: Iterable[Parameter[Any]]) -> list[SimulatedParameter]:
    """Parameters as a simulated device needs them."""
    listed = list(parameters)
    return [_described(parameter, listed) for parameter in listed]


def groups_of(cls: type, driver: object) -> list[SimulatedGroup]:
    """The channels of a driver as a simulated device needs them.

    Args:
        cls: The class of the driver.
        driver: The driver itself, for the numbers of its channels.
    """
    choose: Callable[[object], Sequence[str]] = getattr(driver, "_channel_commands", lambda channel: ())
    groups: list[SimulatedGroup] = []
    for group in declared_of(cls).channels.values():
        channels = list(getattr(driver, group.name))
        choosing = {channel.number: tuple(choose(channel)) for channel in channels}
        groups.append(
            SimulatedGroup(
                group.name,
                list(choosing),
                described(declared_of(group.channel_class).parameters.values()),
                simulator_of(group.channel_class) or Simulator,
                {number: commands for number, commands in choosing.items() if commands},
            )
        )
    return groups


def simulator_of(cls: type) -> type[Simulator] | None:
    """The simulator that a driver or a channel names; None if it names none."""
    found = getattr(cls, "simulator", None)
    return found if isinstance(found, type) and issubclass(found, Simulator) else None


def misspelt(
    simulator: type[Simulator], parameters: Iterable[str], others: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """Names in a simulator that resemble a parameter of its driver which it says nothing of, with that parameter.

    Args:
        simulator: The class of the simulator.
        parameters: Names of the parameters.
        others: Names that mean something else there: channels, methods of the driver.
    """
    own = {
        name
        for base in simulator.__mro__
        if base not in Simulator.__mro__
        for name in vars(base)
        if not name.startswith("_") and name not in commands_of(simulator).values()
    }
    known = set(parameters)
    left = sorted(known - own)
    found = [(name, nearest(name, left)) for name in sorted(own - known - set(others) - set(vars(Simulator)))]
    return [(name, near) for name, near in found if near is not None]


def _described(parameter: Parameter[Any], others: Sequence[Parameter[Any]]) -> SimulatedParameter:
    text = None if parameter.block is not None else _text_of(parameter)
    is_kept = parameter.settable
    return SimulatedParameter(
        parameter.name,
        parameter.ask,
        parameter.write,
        _parser(parameter, text),
        _formatter(parameter, text),
        _checker(parameter),
        limits=lambda simulator: _extremes(parameter, simulator),
        is_number=parameter.type in (int, float),
        is_setting=is_kept,
        first=_first(parameter),
        initial=lambda simulator: _default(parameter, limits_of(parameter, simulator)),
        source=_source(parameter, is_kept, others),
        convert=lambda value, where: _converted(parameter, value, where),
        admit=lambda simulator, value, where: _admitted(parameter, simulator, value, where),
    )


def _text_of(parameter: Parameter[Any]) -> ScpiText | None:
    try:
        return scpi_text(parameter.type, values=parameter.texts, scale=parameter.scale)
    except ValueError:  # a class of the driver's own, which its functions make texts of
        return None


# What the driver sends.


def _parser(parameter: Parameter[Any], text: ScpiText | None) -> Callable[[str], Any]:
    own = parameter.parse

    def parse(sent: str) -> Any:
        if parameter.block is not None:
            try:
                return as_array(data_of_block(sent.encode("latin-1")), parameter.block.dtype)
            except (ValueError, QMI_Exception):
                raise SimulatedError(-160) from None
        readers = [text.read] if text is not None else []
        if callable(parameter.format):
            # A function made this text: the one that reads answers may read it, too.
            readers = [*([own] if own else []), *readers, lambda sent: _by_trial(parameter, sent)]
        for read in readers:
            try:
                return read(sent)
            except (ValueError, TypeError, KeyError, IndexError, QMI_Exception):
                continue
        if parameter.type not in (int, float) or parameter.texts is not None:
            raise SimulatedError(-224)
        value = _with_unit(sent, parameter.unit)
        return round(value) if parameter.type is int else value

    return parse


def _with_unit(sent: str, unit: str) -> float:
    """The number of a text with a unit behind it, such as ``500 mV``; in the unit of the parameter.

    Raises:
        SimulatedError: If it is no number, or of another unit.
    """
    found = _ANY_NUMBER.match(sent)
    if found is None:
        raise SimulatedError(-104)
    suffix, unit = sent[found.end() :].strip().upper(), unit.upper()
    if not unit or not suffix.endswith(unit):
        raise SimulatedError(-131)
    multiplier = suffix.removesuffix(unit)
    # M is milli in SCPI, but for these.
    factor = 1e6 if multiplier == "M" and unit in ("HZ", "OHM") else _MULTIPLIERS.get(multiplier)
    if factor is None:
        raise SimulatedError(-131)
    return float(f"{float(found[0]) * factor:.15G}")


def _by_trial(parameter: Parameter[Any], sent: str) -> Any:
    """The value that the driver's function makes this text of.

    Raises:
        ValueError: If it is not found.
    """
    write = parameter.format
    assert callable(write)
    kind: Any = parameter.type
    values: Sequence[Any] = parameter.values or (tuple(kind) if issubclass(kind, Enum) else ())
    values = values or ((False, True) if kind is bool else ())
    for value in values:
        if str(write(value)).strip() == sent:
            return value
    if kind in (int, float) and (found := _ANY_NUMBER.search(sent)):
        value = float(found[0]) * (parameter.scale or 1)
        return round(value) if kind is int else value
    raise ValueError(f"{sent!r} is not understood")


# What the device answers.


def _formatter(parameter: Parameter[Any], text: ScpiText | None) -> Callable[[Any], str | bytes]:
    def write(value: Any) -> str | bytes:
        try:
            return _answer(parameter, text, value)
        except (TypeError, ValueError, AttributeError) as error:
            expected = "numbers in one row" if parameter.block is not None else parameter.rule.expected
            raise QMI_UsageException(
                f"The simulator gives {shown(value)} for {parameter.name}; expected {expected}"
            ) from error

    return write


def _answer(parameter: Parameter[Any], text: ScpiText | None, value: Any) -> str | bytes:
    """The text, or the block, of an answer.

    Raises:
        TypeError: If the value is none of the parameter.
        ValueError: Likewise.
    """
    if parameter.block is not None:
        return _block(value, parameter.block.dtype)
    if isinstance(value, str) and parameter.type is not str and not _is_one_of(value, parameter):
        return value  # a simulator that says how the device answers
    candidates: list[Callable[[Any], str]] = [text.write] if text is not None else [str]
    if callable(parameter.format):
        candidates.insert(0, parameter.format)
    if parameter.parse is None:
        return candidates[-1](_plain(parameter, value))
    return _read_again(parameter.parse, candidates, value)


def _read_again(parse: Callable[[str], Any], candidates: Sequence[Callable[[Any], str]], value: Any) -> str:
    """The text that the driver's own function reads as this value."""
    made: list[str] = []
    for write in candidates:
        try:
            made.append(str(write(value)))
            if parse(made[-1]) == value:
                return made[-1]
        except Exception:  # noqa: BLE001 - functions of the driver, tried with what they may not be made for
            continue
    return made[-1] if made else str(value)


def _block(value: Any, dtype: str) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return block_of(value)
    return array_block(value, dtype)


def _is_one_of(value: object, parameter: Parameter[Any]) -> bool:
    return parameter.values is not None and value in parameter.values


def _plain(parameter: Parameter[Any], value: Any) -> Any:
    """A value as the parameter has it: an int where a function gave 1.0, a float of numpy as a plain one."""
    if parameter.type is float:
        return float(value)
    if parameter.type is int and float(value).is_integer():
        return int(value)
    return value


# What it takes and where it begins.


def limits_of(parameter: Parameter[Any], simulator: Simulator) -> tuple[float | None, float | None]:
    """The limits of a parameter as they are in the simulated device; None where there is none, or it cannot tell."""
    declared: Any = parameter.limits
    try:
        if callable(declared):
            declared = declared(simulator)
        low, high = declared or (None, None)
    except Exception:  # noqa: BLE001 - a function that is made for the driver, and not for its simulator
        return None, None
    return _end(low, simulator), _end(high, simulator)


def _extremes(parameter: Parameter[Any], simulator: Simulator) -> tuple[float | None, float | None]:
    """The least and the greatest value that can be set: what MIN and MAX stand for."""
    low, high = limits_of(parameter, simulator)
    if parameter.type is not int:
        return low, high
    return (
        None if low is None or low == -math.inf else math.ceil(low),
        None if high is None or high == math.inf else math.floor(high),
    )


def _end(end: Any, simulator: Simulator) -> float | None:
    try:
        if isinstance(end, str):
            end = evaluate(end, simulator)
        elif callable(end):
            end = end(simulator)
        return end if end is None or type(end) is int else float(end)
    except Exception:  # noqa: BLE001 - as above
        return None


def _checker(parameter: Parameter[Any]) -> Callable[[Simulator, Any], None]:
    def check(simulator: Simulator, value: Any) -> None:
        try:
            if parameter.block is None:
                parameter.rule.check(value, limits_of(parameter, simulator), parameter.name)
        except QMI_InvalidValueException:
            raise SimulatedError(-222 if parameter.values is None else -224) from None

    return check


def _converted(parameter: Parameter[Any], value: object, where: str) -> object:
    """A value of the type of the parameter.

    Raises:
        QMI_InvalidValueException: If it is of another type.
    """
    if value is None and parameter.simulate is None and _default(parameter, (None, None)) is None:
        return None  # of a class of the driver's own nobody knows a value to begin with
    if parameter.block is None:
        return parameter.rule.convert(value, where)
    try:
        data = bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None
        return as_array(
            data_of_block(array_block(value, parameter.block.dtype)) if data is None else data, parameter.block.dtype
        )
    except (TypeError, ValueError, QMI_Exception) as error:
        raise QMI_InvalidValueException(f"{where}: {error}") from None


def _admitted(parameter: Parameter[Any], simulator: Simulator, value: object, where: str) -> object:
    if parameter.block is not None or value is None:
        return _converted(parameter, value, where)
    return parameter.rule.check(value, limits_of(parameter, simulator), where)


def _first(parameter: Parameter[Any]) -> Any:
    """The value after switching on that the declaration says; None if it says none."""
    declared = parameter.simulate
    return None if callable(declared) or isinstance(declared, Source) else declared


def _default(parameter: Parameter[Any], limits: tuple[float | None, float | None]) -> Any:
    kind: Any = parameter.type
    if parameter.block is not None:
        return as_array(bytes(_ITEMS * _size_of(parameter.block.dtype)), parameter.block.dtype)
    if parameter.values:
        return parameter.values[0]
    if issubclass(kind, Enum):
        return next(iter(kind))
    if kind in (int, float):
        low, high = limits
        value = max(0.0, -math.inf if low is None else low)
        value = min(value, math.inf if high is None else high)
        return kind(value) if math.isfinite(value) else kind(0)
    return {bool: False, str: ""}.get(kind)


def _size_of(dtype: str) -> int:
    numpy: Any = import_numpy()

    return int(numpy.dtype(dtype).itemsize)


def _source(parameter: Parameter[Any], is_kept: bool, others: Sequence[Parameter[Any]]) -> Any:
    declared = parameter.simulate
    if isinstance(declared, Source):
        return declared
    if callable(declared) and not isinstance(declared, type):
        return declared
    if is_kept:
        return None
    if isinstance(declared, str) and parameter.type is not str and any(declared == other.name for other in others):
        return declared
    if declared is not None:
        return Constant(declared)
    if (measured := _measured(parameter, others)) is not None:
        return measured
    return Constant(_default(parameter, (None, None)))


def _measured(parameter: Parameter[Any], others: Sequence[Parameter[Any]]) -> str | None:
    """The setting that a reading such as ``MEAS:VOLT?`` measures: the one with ``VOLT``; None if there is none."""
    words = _words(parameter.ask)
    if len(words) < 2 or not any(same_word(measuring, words[0]) for measuring in _MEASURING):
        return None
    wanted = _without(words[1:])
    for other in others:
        if other.settable and other.write and (other.type, other.unit) == (parameter.type, parameter.unit):
            found = _without(_words(other.write))
            if len(found) == len(wanted) and all(map(same_word, found, wanted)):
                return other.name
    return None


def _words(command: str | None) -> list[str]:
    return [split_number(word.replace("{n}", ""))[0] for word in keywords((command or "").partition(" ")[0])]


def _without(words: Sequence[str]) -> list[str]:
    return [word for word in words if not any(same_word(other, word) for other in _LEFT_OUT)]
