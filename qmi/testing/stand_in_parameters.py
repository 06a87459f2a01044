"""Parameters and channels of a stand-in: declared as in the driver, with answers of the test in place of the device.

A parameter is asked for and set by the names that its methods have: what the test told for ``get_voltage`` is what
``proxy.voltage`` answers, and that of a channel is called ``outputs[1].get_voltage``. A setting that nobody told an
answer for keeps what it is set to. Type, unit, limits and allowed values are those of the driver; but limits that are
functions, or other parameters, do not count: they would be the driver's code, or calls that the test did not make.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from qmi.actors.parameters import methods_of_channel
from qmi.parameters.channels import BaseChannel, Channels
from qmi.parameters.declaration import Parameter
from qmi.parameters.declared import Declared, declared_of

Answer: TypeAlias = Callable[[object, str, tuple[object, ...], dict[str, object]], object]
"""What a method answers: who has it, its name with that of its channel, and its arguments."""

_OF_DEVICES = ("command", "ask", "write", "format", "parse", "scale", "simulate")


def methods_of_parameters(driver: type) -> dict[str, str]:
    """The methods that a stand-in answers for its parameters and channels.

    Args:
        driver: The class of the driver.

    Returns:
        Their names, with those of the channels, and for each the parameter that it sets or asks for, or an empty text.
    """
    declared = declared_of(driver)
    found = {method: name for name, parameter in declared.parameters.items() for method in _methods(name, parameter)}
    for group, channels in declared.channels.items():
        inner = _answered_by_channel(channels.channel_class)
        for channel in (f"{group}[{number}]" for number in channels.numbers):
            found |= {f"{channel}.{method}": f"{channel}.{name}" if name else "" for method, name in inner.items()}
    return found


def _methods(name: str, parameter: Parameter[object]) -> list[str]:
    return [f"get_{name}"] * parameter.gettable + [f"set_{name}"] * parameter.settable


def _answered_by_channel(cls: type) -> dict[str, str]:
    own = dict.fromkeys(methods_of_channel(cls), "")
    parameters = declared_of(cls).parameters
    return own | {method: name for name, parameter in parameters.items() for method in _methods(name, parameter)}


def declarations(declared: Declared, answer: Answer) -> dict[str, object]:
    """What the class of a stand-in declares in place of what its driver does.

    Args:
        declared: What the driver declares.
        answer: What a method answers.
    """
    found: dict[str, object] = {name: _parameter(parameter, answer) for name, parameter in declared.parameters.items()}
    for name, channels in declared.channels.items():
        numbers = channels.numbers
        found[name] = Channels(_channel_class(channels.channel_class, answer), numbers[0], numbers[-1])
    return found


def _parameter(parameter: Parameter[object], answer: Answer) -> Parameter[object]:
    name = parameter.name

    def get(instance: object) -> object:
        return answer(instance, _path(instance, f"get_{name}"), (), {})

    def set_to(instance: object, value: object) -> object:
        return answer(instance, _path(instance, f"set_{name}"), (value,), {})

    get.__name__ = set_to.__name__ = name  # not that of a method of the driver
    given: dict[str, Any] = {key: value for key, value in parameter.given.items() if key not in _OF_DEVICES}
    given["getter"] = get if parameter.gettable else None
    given["setter"] = set_to if parameter.settable else None
    limits = parameter.limits
    ends = tuple(end if isinstance(end, int | float) else None for end in limits) if isinstance(limits, tuple) else ()
    given["limits"] = ends or None
    return Parameter(given)


def _path(instance: object, method: str) -> str:
    return f"{instance.path}.{method}" if isinstance(instance, BaseChannel) else method


def _channel_class(cls: type[BaseChannel], answer: Answer) -> type[BaseChannel]:
    declared = declared_of(cls)
    made = {method for name, parameter in declared.parameters.items() for method in _methods(name, parameter)}
    namespace: dict[str, object] = {
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__init__": BaseChannel.__init__,
    }
    for name in methods_of_channel(cls):
        if name not in made:
            namespace[name] = _method_of_channel(name, answer)
    for name, parameter in declared.parameters.items():
        namespace[name] = _parameter(parameter, answer)
    found: type[BaseChannel] = type(cls.__name__, (cls,), namespace)
    return found


def _method_of_channel(name: str, answer: Answer) -> Callable[..., object]:
    def call(channel: BaseChannel, *args: object, **kwargs: object) -> object:
        return answer(channel, f"{channel.path}.{name}", args, kwargs)

    return call
