"""Stand-ins: they take the place of a driver, note its calls and answer what they were told."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar, cast

from qmi.actors.interface import Kind, Placement, method_kind, published_functions
from qmi.actors.parameters import is_made_for_parameter
from qmi.actors.rpc_object import check_class
from qmi.core.exceptions import QMI_UsageException
from qmi.core.instrument import QMI_Instrument
from qmi.parameters.declared import declared_of
from qmi.testing.stand_in_parameters import declarations, methods_of_parameters

D = TypeVar("D", bound=QMI_Instrument)

_OWN_STATE = frozenset({"open", "close", "is_open"})


class RecordedCall(NamedTuple):
    """A call that a stand-in got; equal to a plain tuple of the same three.

    Attributes:
        method: The name of the method.
        args: As the caller wrote them.
        kwargs: As the caller wrote them.
    """

    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class StandInInstrument(Generic[D]):
    """Takes the place of a driver in tests: it records each call and returns what was set.

    It has the published methods, signatures, constants and signals of the driver, but runs none of its code: no
    constructor opens a port. ``open``, ``close`` and ``is_open`` work as in every instrument. A method whose result is
    annotated otherwise than ``None`` must be told what it answers. Answers are given in the event loop, so they do not
    block, and stand-ins live in virtual time as well::

        >>> import qmi
        >>> from qmi.instruments.dummy.noisy_sine_generator import NoisySineGenerator
        >>> from qmi.testing import StandInInstrument
        >>> stand_in = StandInInstrument(NoisySineGenerator)
        >>> stand_in.returns("get_sample", 1.5)
        >>> stand_in.raises("set_noise", ValueError("too loud"))
        >>> with qmi.start("test", None):
        ...     nsg = qmi.make_instrument("nsg", stand_in.driver)
        ...     nsg.set_amplitude(3.0)
        ...     nsg.get_sample()
        1.5
        >>> stand_in.calls == [("set_amplitude", (3.0,), {}), ("get_sample", (), {})]
        True

    Parameters are those of the driver, with their units and limits, and keep what they are set to. Readings are told,
    by the names of their methods: ``stand_in.returns("get_current", 0.2)``, of a channel
    ``stand_in.returns("outputs[1].get_current", 0.2)``. Nothing is polled.

    Args:
        driver: The class of the driver.

    Attributes:
        driver: The class to make the instrument from; a subclass of the driver, of the same name.
        calls: The calls so far, oldest first.

    Raises:
        QMI_UsageException: If the class is no driver.
    """

    def __init__(self, driver: type[D]) -> None:
        check_class(driver, QMI_Instrument, "A stand-in")
        self._of_parameters = methods_of_parameters(driver)
        self._methods = {
            name: method
            for name, method in published_functions(driver).items()
            if _is_own(name, method) and not is_made_for_parameter(method)
        }
        self._answers: dict[str, Callable[..., object]] = {}
        self._kept: dict[str, object] = {}
        self.calls: list[RecordedCall] = []
        self.driver = self._make_class(driver)

    def returns(self, method: str, value: object) -> None:
        """Have a method return a value each time; a stream gives the items of the value.

        Raises:
            QMI_UsageException: If the driver has no such method.
        """
        self.does(method, lambda *_, **__: value)

    def returns_each(self, method: str, values: Iterable[object]) -> None:
        """Have a method return one value after the other; a call beyond the last one is an error.

        Raises:
            QMI_UsageException: If the driver has no such method.
        """
        rest = iter(values)

        def following(*_: object, **__: object) -> object:
            for value in rest:
                return value
            raise QMI_UsageException(f"The stand-in was called more often than it has answers: {method}()")

        self.does(method, following)

    def raises(self, method: str, error: BaseException) -> None:
        """Have a method raise an error.

        Raises:
            QMI_UsageException: If the driver has no such method.
        """

        def fail(*_: object, **__: object) -> object:
            raise error

        self.does(method, fail)

    def does(self, method: str, function: Callable[..., object]) -> None:
        """Have a method return what a function returns that gets the same arguments, without ``self``.

        Raises:
            QMI_UsageException: If the driver has no such method.
        """
        if method not in self._methods and method not in self._of_parameters:
            known = ", ".join(sorted([*self._methods, *self._of_parameters]))
            raise QMI_UsageException(f"{self.driver.__name__} has no published method {method!r}; it has {known}")
        self._answers[method] = function

    def calls_of(self, method: str) -> list[RecordedCall]:
        """The calls of one method, oldest first."""
        return [call for call in self.calls if call.method == method]

    def _answer(self, instance: object, method: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        original = self._methods.get(method)
        signature = None if original is None else _signature_of(original)
        if signature is not None:
            _check_arguments(f"{self.driver.__name__}.{method}()", signature, instance, *args, **kwargs)
        self.calls.append(RecordedCall(method, args, kwargs))
        if method in self._answers:
            return self._answers[method](*args, **kwargs)
        if method in _OWN_STATE:
            return getattr(QMI_Instrument, method)(instance)
        if name := self._of_parameters.get(method):
            return self._keep(name, method, (*args, *kwargs.values()))
        if signature is not None and signature.return_annotation not in (None, "None", inspect.Signature.empty):
            raise _untold(method)
        return None

    def _keep(self, name: str, method: str, given: tuple[object, ...]) -> object:
        """Set a parameter that no answer was told for, or say what it was set to."""
        if method.rpartition(".")[2].startswith("set_"):
            self._kept[name] = given[0]
            return None
        if name not in self._kept:
            raise _untold(method)
        return self._kept[name]

    def _make_class(self, driver: type[D]) -> type[D]:
        def begin(instrument: QMI_Instrument, context: object, name: str, *args: object, **kwargs: object) -> None:
            signature = inspect.signature(driver.__init__)
            _check_arguments(f"{driver.__name__}()", signature, instrument, context, name, *args, **kwargs)
            QMI_Instrument.__init__(instrument, context, name)

        def release(instrument: QMI_Instrument) -> object:
            return QMI_Instrument.release_rpc_object(instrument)

        namespace: dict[str, object] = {
            "__doc__": driver.__doc__,
            "__module__": driver.__module__,
            "__qualname__": driver.__qualname__,
            "__init__": begin,
            "_rpc_placement": Placement.LOOP,
            "simulator": False,  # there is no device to be simulated
            "release_rpc_object": release,
            "__rpc_polls__": lambda instrument: {},
            **declarations(declared_of(driver), self._answer),
        }
        for name, function in self._methods.items():
            namespace[name] = self._make_method(name, function)
        return cast("type[D]", type(driver.__name__, (driver,), namespace))

    def _make_method(self, name: str, original: Callable[..., object]) -> Callable[..., object]:
        """A method of the same kind as the original: what calling it gives must not change."""
        answer = self._answer

        def plain(instrument: QMI_Instrument, *args: object, **kwargs: object) -> object:
            return answer(instrument, name, args, kwargs)

        async def awaited(instrument: QMI_Instrument, *args: object, **kwargs: object) -> object:
            value = answer(instrument, name, args, kwargs)
            return await value if inspect.isawaitable(value) else value

        def generator(instrument: QMI_Instrument, *args: object, **kwargs: object) -> Iterator[object]:
            yield from _items(answer(instrument, name, args, kwargs))

        async def async_generator(instrument: QMI_Instrument, *args: object, **kwargs: object) -> AsyncIterator[object]:
            items = answer(instrument, name, args, kwargs)
            if isinstance(items, AsyncIterable):
                async for item in items:
                    yield item
            else:
                for item in _items(items):
                    yield item

        kinds: dict[Kind, Callable[..., object]] = {
            Kind.PLAIN: plain,
            Kind.ASYNC: awaited,
            Kind.GENERATOR: generator,
            Kind.ASYNC_GENERATOR: async_generator,
        }
        function = kinds[method_kind(original)]
        function.__name__, function.__doc__ = name, original.__doc__
        function.__signature__ = _signature_of(original)  # type: ignore[attr-defined]
        return function


def _untold(method: str) -> QMI_UsageException:
    return QMI_UsageException(
        f"The stand-in does not know what {method}() answers; tell it by stand_in.returns({method!r}, ...)"
    )


def _check_arguments(what: str, signature: inspect.Signature, /, *args: object, **kwargs: object) -> None:
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from None


def _is_own(name: str, method: object) -> bool:
    # What every object has works in a stand-in as everywhere; only open() and its like are noted.
    where = getattr(method, "__func__", method)
    return name in _OWN_STATE or not getattr(where, "__module__", "").startswith("qmi.actors.")


def _items(answer: object) -> Iterable[object]:
    if answer is None:
        return ()
    if not isinstance(answer, Iterable):
        raise QMI_UsageException(f"A stream gives the items of its answer, which must be iterable; got {answer!r}")
    return answer


def _signature_of(method: Callable[..., object]) -> inspect.Signature:
    """The signature of a method as a plain one has it, with ``self``."""
    if inspect.isfunction(method):
        return inspect.signature(method)
    bound = inspect.signature(bind(object(), object) if (bind := getattr(method, "__get__", None)) else method)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    return bound.replace(parameters=[this, *bound.parameters.values()])
