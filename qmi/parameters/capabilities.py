"""What tools can ask of whatever they are given: something that can be read, moved, triggered, or that has limits.

These are protocols: nothing has to be derived from them. A handle of a parameter has the methods of what that parameter
can do, and a proxy those that its driver publishes, so that ``isinstance(thing, Movable)`` is the question. The same
protocols serve blocking, non-blocking and awaited handles and proxies; what a method returns is then the result, a
future, or something to await.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Readable(Protocol):
    """Something that has a value which can be read, such as ``proxy.parameters.voltage``."""

    @property
    def address(self) -> str:
        """Where its object lives: ``"context.object"``."""

    def get(self) -> Any:
        """Read it."""


@runtime_checkable
class Movable(Protocol):
    """Something that can be set to a value, such as ``proxy.parameters.voltage``; it is there when this returns."""

    @property
    def address(self) -> str:
        """Where its object lives: ``"context.object"``."""

    def set(self, value: Any, /) -> Any:
        """Set it.

        Args:
            value: The value, in its unit.
        """


@runtime_checkable
class HasLimits(Protocol):
    """Something that takes numbers only between two ends, such as ``proxy.parameters.voltage``."""

    @property
    def address(self) -> str:
        """Where its object lives: ``"context.object"``."""

    def limits(self) -> Any:
        """The least and the greatest value that it can be set to now; None where there is no limit."""


@runtime_checkable
class Triggerable(Protocol):
    """Something that can be told to begin, such as a proxy of a camera whose driver publishes ``trigger()``."""

    @property
    def address(self) -> str:
        """Where its object lives: ``"context.object"``."""

    def trigger(self) -> Any:
        """Begin; the measurement is over when this returns."""


for _public in (Readable, Movable, HasLimits, Triggerable):
    _public.__module__ = "qmi.core.driver"
