"""Where the values of readings come from: constants, functions, noise, and settling after a setting has changed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qmi.errors import QMI_UsageException
from qmi.parameters.rules import is_number


class Source:
    """What gives the value of a reading; stands in the class of a simulator, or in ``parameter(..., simulate=...)``.

    A subclass writes :meth:`value`. In the code of a simulator, ``self.current`` is the value as it is now.
    """

    if TYPE_CHECKING:

        def __get__(self, simulator: object, owner: type | None = None) -> Any: ...

    else:

        def __get__(self, simulator, owner=None):
            return self if simulator is None else self.value(simulator)

    def value(self, simulator: Any) -> Any:
        """The value now; the time is ``simulator.now()``."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its value is")

    def names(self) -> tuple[str, ...]:
        """Names of the settings and readings that it is made of; they are looked up when the device is made."""
        return ()

    def changed(self, simulator: Any) -> None:
        """A setting has just got its first value, or another one; for sources that remember."""


class Constant(Source):
    """A value that stays.

    Args:
        constant: The value.
    """

    def __init__(self, constant: object) -> None:
        self._constant = constant

    def value(self, simulator: Any) -> Any:
        """The value."""
        return self._constant


class Noise(Source):
    """A value with normally distributed noise on it.

    The noise is the same in each run, so that tests are repeatable::

        class SupplySimulator(Simulator):
            current = Noise(lambda self: self.voltage / 50.0, 1e-3)

    Args:
        of: The value without noise: a number, the name of a setting, a function of the simulator, or another source.
        sigma: Standard deviation, in the unit of the value.
        seed: Which noise it is; each seed gives another sequence.

    Raises:
        QMI_UsageException: If sigma is no number >= 0.
    """

    def __init__(self, of: object, sigma: float, *, seed: int = 0) -> None:
        self._of = _origin("Noise", of)
        self._sigma = _number("sigma of Noise", sigma)
        self._seed = seed

    def value(self, simulator: Any) -> Any:
        """The value with noise."""
        generator = simulator.__node__.kept(self, "noise", lambda: random.Random(self._seed))
        return evaluate(self._of, simulator) + generator.gauss(0.0, self._sigma)

    def names(self) -> tuple[str, ...]:
        """What the noise is on."""
        return _names_in(self._of)

    def changed(self, simulator: Any) -> None:
        """What the noise is on may remember."""
        if isinstance(self._of, Source):
            self._of.changed(simulator)


class Settling(Source):
    """A value that follows a setting exponentially, as the temperature of an oven does.

    Args:
        of: What it settles to: the name of a setting, a number, a function of the simulator, or another source.
        seconds: Time constant: after so many seconds it has come 63 % of the way. A number, the name of a setting, or a
            function of the simulator.
        start: Where it begins; None begins at the first value of ``of``.

    Raises:
        QMI_UsageException: If the time constant is no number >= 0.
    """

    def __init__(self, of: object, seconds: object, *, start: float | None = None) -> None:
        self._of = _origin("Settling", of)
        if isinstance(seconds, str) and _is_number(of) and start is None:
            raise QMI_UsageException(
                f"Settling({of!r}, {seconds!r}) stays where it is: what it settles to comes first, and then the time "
                f"constant in seconds, as in Settling({seconds!r}, {of!r}); or say where it begins, start="
            )
        is_named = isinstance(seconds, str) or callable(seconds)
        self._seconds = seconds if is_named else _number("seconds of Settling", seconds)
        if start is not None and not _is_number(start):
            raise QMI_UsageException(f"start of Settling must be a number or None, got {start!r}")
        self._start = start

    def value(self, simulator: Any) -> Any:
        """The value on its way."""
        now, target = simulator.__node__.root.now, float(evaluate(self._of, simulator))
        seconds = float(evaluate(self._seconds, simulator))
        state: list[float] = simulator.__node__.kept(
            self, "settling", lambda: [now, target if self._start is None else self._start, target, seconds]
        )
        # Until now it went to where the target was at the last look, and each setting of a value is one.
        before, at, towards, constant = state
        at = towards + (at - towards) * math.exp(-(now - before) / constant) if constant else target
        state[:] = now, at, target, seconds
        return at

    def names(self) -> tuple[str, ...]:
        """What it settles to, and what its time constant is."""
        return (*_names_in(self._of), *_names_in(self._seconds))

    def changed(self, simulator: Any) -> None:
        """Go on towards another value from here."""
        self.value(simulator)


def evaluate(source: object, simulator: Any) -> Any:
    """The value of whatever may stand for one: a source, the name of a setting, a function, or the value itself."""
    if isinstance(source, Source):
        return source.value(simulator)
    if isinstance(source, str):
        node = simulator.__node__
        # A channel may follow a setting of its instrument.
        return (node if node.has(source) else node.root).read(source)
    if callable(source):
        function: Callable[[Any], Any] = source
        return function(simulator)
    return source


def _names_in(source: object) -> tuple[str, ...]:
    if isinstance(source, Source):
        return source.names()
    return (source,) if isinstance(source, str) else ()


def _origin(kind: str, of: object) -> object:
    if isinstance(of, str | Source) or callable(of) or _is_number(of):
        return of
    raise QMI_UsageException(
        f"{kind} is of a number, the name of a setting, a function of the simulator, or another source; got {of!r}"
    )


def _is_number(value: object) -> bool:
    return is_number(value) and math.isfinite(value)


def _number(name: str, value: object) -> float:
    if is_number(value) and 0 <= value < math.inf:
        return float(value)
    raise QMI_UsageException(f"{name} must be a number >= 0, got {value!r}")


for _class in (Noise, Settling, Source):
    _class.__module__ = "qmi.core.driver"
