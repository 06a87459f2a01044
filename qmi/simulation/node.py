"""What a simulated device keeps of one simulator: its place, its time, and where its readings come from."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from qmi.names import nearest
from qmi.simulation.scpi_errors import ErrorQueue
from qmi.simulation.sources import Source, evaluate

T = TypeVar("T")


class Node:
    """The place of a simulator in its device.

    Args:
        simulator: The simulator.

    Attributes:
        root: The place of the instrument; for an instrument, itself.
        channels: The places of an instrument's channels.
        number: The number of the channel; None for an instrument.
        now: The time, in seconds; that of the instrument counts.
        errors: The error queue; that of the instrument counts.
        sources: Where readings come from, by their names, unless the class of the simulator says it.
        own: Names that the base class of simulators has for itself, with what it has there.
        begun: What the constructor of the simulator has given its settings.
    """

    def __init__(self, simulator: object, own: dict[str, object]) -> None:
        self._simulator = simulator
        self.root: Node = self
        self.channels: list[Node] = []
        self.number: int | None = None
        self.now: float = 0.0
        self.errors: ErrorQueue = ErrorQueue()
        self.sources: dict[str, object] = {}
        self.own = own
        self.begun: dict[str, object] = {}
        self._settings: dict[str, Callable[[object, str], object]] = {}
        self._states: dict[tuple[int, str], object] = {}

    @property
    def simulator(self) -> Any:
        """The simulator."""
        return self._simulator

    def take_setting(self, name: str, convert: Callable[[object, str], object]) -> None:
        """Keep a setting, whose values are of one type from now on.

        Args:
            name: Its name.
            convert: Makes a value of the type of what is written to it; the second argument is what it is called.
        """
        self._settings[name] = convert
        if name in vars(self._simulator):
            self.begun[name] = vars(self._simulator)[name]

    def converted(self, name: str, value: object) -> object:
        """What an attribute becomes that is given a value: if it is a setting, one of the type of the parameter.

        Raises:
            QMI_InvalidValueException: If the value is of another type.
        """
        convert = self._settings.get(name)
        return value if convert is None else convert(value, f"{type(self._simulator).__name__}.{name}")

    def read(self, name: str) -> Any:
        """The value of an attribute now: as it was set, or as its method or source gives it."""
        simulator = self._simulator
        if name in self.sources and name not in vars(simulator) and self.is_unsaid(name):
            return evaluate(self.sources[name], simulator)
        value = getattr(simulator, name)
        return value() if callable(value) else value

    def measure(self, name: str) -> Any:
        """The same, but what a setting with a source of its own measures, and not what was set."""
        source = self.sources.get(name)
        if source is not None and name in vars(self._simulator):
            return evaluate(source, self._simulator)
        return self.read(name)

    def has(self, name: str) -> bool:
        """Whether there is an attribute or a reading of this name."""
        return name in self.sources or hasattr(self._simulator, name)

    def declared(self, name: str) -> Any:
        """What the class of the simulator says under a name; None if it says nothing of its own."""
        return None if self.is_unsaid(name) else inspect.getattr_static(type(self._simulator), name, None)

    def is_unsaid(self, name: str) -> bool:
        """Whether the class of the simulator says nothing of its own under a name, also one that all of them have."""
        found = inspect.getattr_static(type(self._simulator), name, None)
        return found is None or found is self.own.get(name)

    def kept(self, source: object, what: str, make: Callable[[], T]) -> T:
        """What a source remembers for this simulator."""
        state: Any = self._states.get((id(source), what))
        if state is None:
            state = self._states[id(source), what] = make()
        return state  # type: ignore[no-any-return]

    def forget(self) -> None:
        """Have sources begin anew."""
        self._states.clear()

    def changed(self) -> None:
        """A setting of the device has another value: sources that remember are told, wherever they are."""
        for node in (self.root, *self.root.channels):
            for source in node._remembering:
                source.changed(node.simulator)

    def check_names(self) -> None:
        """Refuse sources that are made of what there is not.

        Raises:
            AttributeError: Says which source, and which name.
        """
        for where, source in self._named_sources().items():
            for name in source.names():
                if not (self._knows(name) or self.root._knows(name)):
                    near = nearest(name, (*self._settings, *self.sources, *self.root._settings, *self.root.sources))
                    hint = f"; did you mean {near!r}?" if near else ""
                    cls = type(self._simulator).__name__
                    raise AttributeError(
                        f"{cls} simulates no {name!r}{hint} (the {type(source).__name__} {cls}.{where} is made of it)",
                        name=name,
                        obj=self._simulator,
                    )

    def _knows(self, name: str) -> bool:
        is_own = name in self._settings or name in self.sources or name in vars(self._simulator)
        return is_own or inspect.getattr_static(type(self._simulator), name, None) is not None

    def _named_sources(self) -> dict[str, Source]:
        found = {**_sources_of(type(self._simulator)), **self.sources}
        return {name: source for name, source in found.items() if isinstance(source, Source)}

    @functools.cached_property
    def _remembering(self) -> list[Source]:
        return list(self._named_sources().values())


def _sources_of(cls: type) -> dict[str, object]:
    found = {
        name: value for base in reversed(cls.__mro__) for name, value in vars(base).items() if isinstance(value, Source)
    }
    return {name: value for name, value in found.items() if inspect.getattr_static(cls, name, None) is value}
