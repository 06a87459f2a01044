"""Names, addresses and values: small helpers that scripts import from here."""

from __future__ import annotations

import threading

from qmi.actors.structures import same_structure
from qmi.names import HostPort, is_valid_name, parse_host_port

__all__ = [
    "AtomicCounter",
    "check_value_structures_equal",
    "format_address_and_port",
    "is_valid_object_name",
    "parse_address_and_port",
]


def is_valid_object_name(name: str) -> bool:
    """Whether a context or object may have this name: 1 to 63 letters, digits, ``-``, ``_``, ``(`` and ``)``."""
    return is_valid_name(name)


def format_address_and_port(address: tuple[str, int]) -> str:
    """Host and port as ``"host:port"``; an IPv6 address is put into brackets."""
    return str(HostPort(*address[:2]))


def parse_address_and_port(address: str) -> tuple[str, int]:
    """Split ``"host:port"``; brackets around an IPv6 address are taken away.

    Raises:
        QMI_InvalidValueException: If it is no host and port; that is a ``ValueError`` too.
    """
    found = parse_host_port(address)
    return found.host, found.port


def check_value_structures_equal(value1: object, value2: object) -> bool:
    """Whether two values have the same type, the same size, and items that are alike in turn."""
    return same_structure(value1, value2)


class AtomicCounter:
    """A number that threads count up and down.

    Args:
        initial_value: Where it begins.
    """

    def __init__(self, initial_value: int = 0) -> None:
        self._mutex = threading.Lock()
        self._value = initial_value

    def inc(self) -> None:
        """Add one."""
        with self._mutex:
            self._value += 1

    def dec(self) -> None:
        """Take one away."""
        with self._mutex:
            self._value -= 1

    def value(self) -> int:
        """The number."""
        return self._value
