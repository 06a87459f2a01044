"""Classes as other libraries have them, for tests of hosting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

HERE = "tests.support.hosted"


class Psu:
    """A power supply of nobody's library."""

    made: list[Psu] = []  # noqa: RUF012

    def __init__(self, port: str = "COM1", gain: float = 1.0) -> None:
        self.port = port
        self.gain = gain
        self.connections = 0
        self.threads = {threading.current_thread().name}
        self._voltage = 0.0
        self._limit = 2.0
        self.made.append(self)

    def open(self) -> None:
        self.connections += 1

    def close(self) -> None:
        self.connections -= 1

    @property
    def voltage(self) -> float:
        """The voltage that is set, in V."""
        self.threads.add(threading.current_thread().name)
        return self._voltage

    @voltage.setter
    def voltage(self, value: float) -> None:
        if value > 30:
            raise ValueError(f"{value} V is more than this supply gives")
        self._voltage = value

    @property
    def current(self) -> float:
        return self._voltage / 10

    @property
    def address(self) -> str:
        """A name that every proxy has for something else."""
        return self.port

    def get_limit(self) -> float:
        """The limit of the current."""
        return self._limit

    def set_limit(self, value: float) -> None:
        self._limit = value

    def get_sample(self, channel: int) -> list[int]:
        """A sample of a channel."""
        return [channel] * 2

    def ramp(self, to: float, *, steps: int = 2) -> Psu:
        """Go there."""
        self._voltage = to
        return self

    def connected(self) -> int:
        return self.connections

    def samples(self, count: int) -> Iterator[int]:
        yield from range(count)

    def fail(self) -> None:
        raise OSError("the cable is out")

    def handle(self) -> object:
        return threading.Lock()

    def _secret(self) -> None:
        pass


class Connected:
    """A driver that is connected when it is made."""

    alive: list[Connected] = []  # noqa: RUF012 - what was made and not closed

    def __init__(self, fail: bool = False) -> None:
        if fail:
            raise OSError("there is no device")
        self.alive.append(self)

    def idn(self) -> str:
        return "ACME"

    def disconnect(self) -> None:
        self.alive.remove(self)


class Named:
    """A driver whose constructor uses the names that ours use."""

    def __init__(
        self,
        name: str = "", context: int = 0, replace: bool = False, simulate: str = "", cls: int = 0,
        rpc_object_name: int = 0, args: int = 0, kwargs: int = 0, driver: int = 0, adapter: int = 0, **more: int,
    ) -> None:  # fmt: skip
        given = dict(locals())
        self._given = {**{key: value for key, value in given.items() if value and key not in ("self", "more")}, **more}

    def given(self) -> dict[str, Any]:
        return self._given


class Strange:
    """A driver with whatever names there may be."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    @property
    def lock(self) -> int:
        return 1

    def parameters(self) -> str:
        return "own"

    def snapshot(self) -> str:
        return "own"

    @property
    def get_x(self) -> int:
        return 1

    @property
    def x(self) -> int:
        return 2

    @property
    def only_set(self) -> None:
        raise AttributeError("it can only be set")

    @only_set.setter
    def only_set(self, value: int) -> None:
        self.log.append(value)

    def waits(self, rpc_timeout: float = 1.0) -> None:
        pass

    def instrument_self(this, self: int) -> int:
        return self

    @staticmethod
    def twice(value: int) -> int:
        return 2 * value

    @classmethod
    def kind(cls) -> str:
        return cls.__name__


class Heater:
    """Connected when it is made, with a safe state of its own."""

    made: list[Heater] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.power = 5.0
        self.made.append(self)

    def safe_state(self) -> None:
        self.power = 0.0


class Lazy:
    """Fails when it is looked at."""

    __signature__ = 5


class Namesakes:
    """Its members have names of what proxies have."""

    def reserve(self) -> str:
        return "driver's reserve"

    def locked(self) -> bool:
        return True

    def lock_info(self) -> str:
        return "driver's lock_info"

    def request_release(self) -> str:
        return "driver's request_release"

    @property
    def rpc_async(self) -> int:
        return 7

    def call(self) -> str:
        return "driver's call"
