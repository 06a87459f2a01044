"""What somebody has typed behind the name of a method, or a program has sent, as the arguments of a call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from qmi.actors.interface import Parameter
from qmi.config.validators import printable
from qmi.errors import QMI_UsageException
from qmi.names import nearest
from qmi.presenting.annotation_types import Resolve, type_of
from qmi.presenting.argument_text import Unfit, read, read_json


class Setting(NamedTuple):
    """The argument of a method that is the value of a parameter.

    Attributes:
        name: The argument.
        unit: The unit of the parameter.
    """

    name: str = ""
    unit: str = ""


NO_SETTING: Final = Setting()


class WrongArgument(QMI_UsageException):
    """An argument that a method does not take.

    Attributes:
        argument: Its name; empty if there is none.
    """

    def __init__(self, text: str, argument: str = "") -> None:
        super().__init__(text)
        self.argument = argument


_KEYWORD = re.compile(r"([^\W\d]\w*)=(.*)", re.DOTALL)
_Kind = inspect.Parameter


def bind(
    texts: Sequence[str],
    parameters: Sequence[Parameter],
    where: str,
    *,
    resolve: Resolve = lambda name: None,
    setting: Setting = NO_SETTING,
    limits: Callable[[], str] = lambda: "",
) -> tuple[list[object], dict[str, object]]:
    """The arguments of a call.

    Args:
        texts: What somebody has typed: values, and ``name=value`` for keyword arguments.
        parameters: What the method takes.
        where: The method, for messages.
        resolve: Finds the types that annotations name.
        setting: Which argument is the value of a parameter.
        limits: Says which values that one may have now; called for a message alone.

    Returns:
        The positional arguments, and those by name.

    Raises:
        WrongArgument: If they do not fit.
    """
    return _Binding(parameters, where, resolve, setting, limits).bind(texts)


def bind_json(
    given: Sequence[object] | Mapping[str, object],
    parameters: Sequence[Parameter],
    where: str,
    *,
    resolve: Resolve = lambda name: None,
    setting: Setting = NO_SETTING,
    limits: Callable[[], str] = lambda: "",
) -> tuple[list[object], dict[str, object]]:
    """The arguments of a call that a program has sent as JSON; the same as :func:`bind` otherwise.

    Args:
        given: The arguments in their order, or by name.
        parameters: What the method takes.
        where: The method, for messages.
        resolve: Finds the types that annotations name.
        setting: Which argument is the value of a parameter.
        limits: Says which values that one may have now; called for a message alone.

    Raises:
        WrongArgument: If they do not fit.
    """
    binding = _Binding(parameters, where, resolve, setting, limits, read_json)
    return binding.bind_named(given) if isinstance(given, Mapping) else binding.bind_listed(given)


def shown(given: object) -> str:
    """What somebody has given, for a message."""
    text = repr(printable(given)) if isinstance(given, str) else printable(repr(given))
    return text if len(text) <= 200 else f"{text[:200]}..."


class _Binding:
    """How texts become the arguments of one call; see :func:`bind`."""

    def __init__(
        self,
        parameters: Sequence[Parameter],
        where: str,
        resolve: Resolve,
        setting: Setting,
        limits: Callable[[], str],
        reader: Callable[[Any, object, str], object] = read,
    ) -> None:
        self._reader = reader
        self._where, self._resolve, self._setting, self._limits = where, resolve, setting, limits
        self._slots = [item for item in parameters if item.kind <= _Kind.POSITIONAL_OR_KEYWORD]
        self._rest = next((item for item in parameters if item.kind == _Kind.VAR_POSITIONAL), None)
        self._others = next((item for item in parameters if item.kind == _Kind.VAR_KEYWORD), None)
        self._named = {
            item.name: item for item in parameters if item.kind in (_Kind.POSITIONAL_OR_KEYWORD, _Kind.KEYWORD_ONLY)
        }
        self._parameters = parameters

    def bind(self, texts: Sequence[str]) -> tuple[list[object], dict[str, object]]:
        args: list[object] = []
        kwargs: dict[str, object] = {}
        for text in texts:
            keyword = _KEYWORD.fullmatch(text)
            parameter = self._keyword(keyword[1], len(args)) if keyword else None
            if keyword is not None and parameter is not None:
                name = keyword[1]
                if name in kwargs or name in [slot.name for slot in self._slots[: len(args)]]:
                    self._refuse(f"{self._where} got its argument {name!r} twice", name)
                kwargs[name] = self._read(keyword[2], parameter, name)
                continue
            args.append(self._positional(text, len(args), kwargs))
        self._check_complete(args, kwargs)
        return args, kwargs

    def bind_listed(self, values: Sequence[object]) -> tuple[list[object], dict[str, object]]:
        args = [self._positional(value, position, {}) for position, value in enumerate(values)]
        self._check_complete(args, {})
        return args, {}

    def bind_named(self, values: Mapping[str, object]) -> tuple[list[object], dict[str, object]]:
        args: list[object] = []
        rest = dict(values)
        for slot in self._slots:  # those that have no name for the caller are given by it all the same
            if slot.kind != _Kind.POSITIONAL_ONLY or slot.name not in rest:
                break
            args.append(self._read(rest.pop(slot.name), slot, slot.name))
        kwargs: dict[str, object] = {}
        for name, value in rest.items():
            parameter = self._named.get(name) or self._others
            if parameter is None:
                self._unknown(name)
            kwargs[name] = self._read(value, parameter, name)
        self._check_complete(args, kwargs)
        return args, kwargs

    def _keyword(self, name: str, position: int) -> Parameter | None:
        if (found := self._named.get(name) or self._others) is not None:
            return found
        slot = self._slots[position] if position < len(self._slots) else self._rest
        if slot is None or type_of(slot.annotation, self._resolve) not in (str, Any):
            self._unknown(name)
        return None  # a text with an equals sign in it

    def _unknown(self, name: str) -> NoReturn:
        near = nearest(name, self._named)
        hint = f"Did you mean {near!r}?" if near else f"It takes {self._listed()}"
        self._refuse(f"{self._where} has no argument {name!r}. {hint}", name)

    def _positional(self, text: object, position: int, kwargs: Collection[str]) -> object:
        slot = self._slots[position] if position < len(self._slots) else self._rest
        if slot is None:
            self._refuse(f"{self._where} takes {self._listed()}, and got one more: {shown(text)}")
        if slot.name in kwargs and slot is not self._rest:
            self._refuse(f"{self._where} got its argument {slot.name!r} twice", slot.name)
        return self._read(text, slot, slot.name)

    def _read(self, text: object, parameter: Parameter, name: str) -> object:
        is_setting = name == self._setting.name and name != ""
        unit = self._setting.unit if is_setting else ""
        try:
            return self._reader(text, type_of(parameter.annotation, self._resolve), unit)
        except Unfit as error:
            allowed = self._limits() if is_setting else ""
            said = allowed if allowed else error.expected
            hint = f": {error.hint}" if error.hint else ""
            self._refuse(f"argument {name!r} of {self._where} must be {said}, got {shown(text)}{hint}", name)

    def _check_complete(self, args: Sequence[object], kwargs: Collection[str]) -> None:
        given = {slot.name for slot in self._slots[: len(args)]} | set(kwargs)
        single = (_Kind.POSITIONAL_ONLY, _Kind.POSITIONAL_OR_KEYWORD, _Kind.KEYWORD_ONLY)
        lacking = [
            item.name
            for item in self._parameters
            if item.kind in single and item.default is None and item.name not in given
        ]
        if lacking:
            several = f"arguments {', '.join(map(repr, lacking))}" if len(lacking) > 1 else f"argument {lacking[0]!r}"
            self._refuse(f"{self._where} needs its {several}. It takes {self._listed()}", lacking[0])

    def _listed(self) -> str:
        texts = []
        for item in self._parameters:
            stars = {int(_Kind.VAR_POSITIONAL): "*", int(_Kind.VAR_KEYWORD): "**"}.get(item.kind, "")
            kind = f": {item.annotation}" if item.annotation else ""
            texts.append(f"{stars}{item.name}{kind}{f' = {item.default}' if item.default is not None else ''}")
        return ", ".join(texts) or "no arguments"

    def _refuse(self, text: str, argument: str = "") -> NoReturn:
        raise WrongArgument(text, argument)
