"""A class of a stub: what an awaited proxy of a driver, or of its channels, has."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from typing import get_args

from qmi.core.rpc import AsyncProxy, QMI_RpcObject
from qmi.tools.driver.members import Argument, Members, Method, is_of_every_driver, members_of
from qmi.tools.driver.stub_class import arguments_of, bases_in, hidden, property_of, texts_of, value_type
from qmi.tools.driver.stub_types import StubTypes, docstring

_TIMEOUT = Argument("rpc_timeout", inspect.Parameter.KEYWORD_ONLY, float | None, None)


class AsyncClasses:
    """The classes of awaited proxies: one for each class of the stub.

    Args:
        classes: The classes of the stub.
        types: The names in the stub.
    """

    def __init__(self, classes: Sequence[type], types: StubTypes) -> None:
        self._classes = classes
        self._types = types
        self._names: dict[type, str] = {}
        taken = {cls.__name__ for cls in classes}
        for cls in classes:
            self._names[cls] = _free(f"Async{cls.__name__}", taken)
        self._parameter = _free("AsyncParameter", taken)

    def texts(self) -> Iterator[str]:
        """The text of each class, after those that it needs."""
        classes = ["\n".join(self._class(cls)) for cls in self._classes]
        if any(self._parameter in text for text in classes):
            yield "\n".join(self._helper())
        yield from classes

    def _helper(self) -> Iterator[str]:
        """What ``proxy.voltage`` is: generic in the type that it has, and in what it takes."""
        name = self._types.name
        yield f"_Value_co = {name('typing', 'TypeVar')}('_Value_co', covariant=True)"
        yield f"_Given_contra = {name('typing', 'TypeVar')}('_Given_contra', contravariant=True)"
        yield ""
        yield f"class {self._parameter}({name('typing', 'Generic')}[_Value_co, _Given_contra]):"
        yield '    """A parameter of an awaited proxy."""'
        generator, anything = name("collections.abc", "Generator"), self._types.any()
        yield f"    def __await__(self) -> {generator}[{anything}, {anything}, _Value_co]: ..."
        yield "    async def get(self, *, rpc_timeout: float | None = None) -> _Value_co: ..."
        yield "    async def set(self, value: _Given_contra, *, rpc_timeout: float | None = None) -> None: ..."

    def _class(self, cls: type) -> Iterator[str]:
        types, bases = self._types, bases_in(cls, self._classes)
        names = [self._names[base] for base in bases]
        if not names and issubclass(cls, QMI_RpcObject):
            names = [f"{types.name('qmi.core.rpc', 'AsyncProxy')}[{cls.__name__}]"]
        offered = members_of(cls, tuple(bases))
        types.within(offered.names)
        body = [*self._values(cls, offered), *self._parameters(offered)]
        for name, method in offered.methods.items():
            if name == "parameters" and is_of_every_driver(cls, name):
                body += property_of(name, types.name("qmi.core.driver", "ProxyParameters"), method.doc, types)
            else:
                body += self._method(method)
        types.within(())
        derived = f"({', '.join(names)})" if names else ""
        yield f"class {self._names[cls]}{derived}:"
        yield f'    """{cls.__name__} for a trio program."""'
        yield from body

    def _values(self, cls: type, offered: Members) -> Iterator[str]:
        types = self._types
        for name, value in offered.constants.items():
            yield f"    {name}: {types.name('typing', 'ClassVar')}[{types.text(type(value))}]"
        for name, kind in offered.properties.items():
            yield from property_of(
                name, f"{self._parameter}[{types.text(kind)}, {types.text(kind)}]", "", types, AsyncProxy
            )
        for name in offered.signals:
            yield f"    {name}: {types.any()}{hidden(name, AsyncProxy)}"
        for name, declared in offered.channels.items():
            several = types.name("collections.abc", "Sequence")
            yield from property_of(name, f"{several}[{self._names[declared.channel_class]}]", "", types, AsyncProxy)

    def _parameters(self, offered: Members) -> Iterator[str]:
        types = self._types
        for name, declared in offered.parameters.items():
            kind = value_type(declared, types)
            given = kind + texts_of(declared, types) if declared.settable else types.name("typing", "Never")
            yield from property_of(name, f"{self._parameter}[{kind}, {given}]", "", types, AsyncProxy)
            timeout = "rpc_timeout: float | None = None"
            if declared.gettable and f"get_{name}" not in offered.methods:
                yield f"    async def get_{name}(self, *, {timeout}) -> {kind}: ..."
            if declared.settable and f"set_{name}" not in offered.methods:
                yield f"    async def set_{name}(self, value: {given}, *, {timeout}) -> None: ..."

    def _method(self, method: Method) -> Iterator[str]:
        arguments = list(method.arguments)
        at = len(arguments) - any(argument.kind is inspect.Parameter.VAR_KEYWORD for argument in arguments)
        arguments.insert(at, _TIMEOUT)
        returns, verb = method.returns, "async def"
        if method.is_stream:
            # Its items are awaited, and not the call.
            returns, verb = AsyncIterator[get_args(returns)[0]], "def"  # type: ignore[misc]
        documented = list(docstring(method.doc, "        "))
        head = f"    {verb} {method.name}({arguments_of(arguments, self._types)}) -> {self._types.text(returns)}:"
        yield f"{head}{'' if documented else ' ...'}{hidden(method.name, AsyncProxy)}"
        yield from documented


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name
