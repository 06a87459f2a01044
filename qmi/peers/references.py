"""How proxies travel, as the address and the interface of their object; and descriptions of signals."""

from __future__ import annotations

import marshal
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from qmi.actors.call import Router
from qmi.actors.interface import Interface, full_name
from qmi.actors.interface_plain import interface_from_plain, interface_to_plain
from qmi.actors.proxy import loaded_class, make_proxy, proxy_parts
from qmi.actors.pubsub.signal import SignalDescription
from qmi.names import Address

PARAMETERS_SINCE = 1
"""The minor version of the protocol since which interfaces may say what parameters and channels there are."""


class References:
    """How proxies travel: as the address and interface of their object.

    Args:
        router: Makes proxies work at this end; None: there are none.
        interfaces: What is known of interfaces; all links of a context share it.
    """

    def __init__(self, router: Router | None, interfaces: Interfaces | None = None) -> None:
        self._router = router
        self._interfaces = interfaces or Interfaces()
        self.parameters: bool = True  # whether the other side knows of declared parameters; see PARAMETERS_SINCE
        self._there: dict[str, str] = {}
        self._here: dict[str, str] = {}

    def call_otherwise(self, name: str, known_as: str) -> None:
        """The other side is known here by another name, since a third program has its own: translate between them."""
        # That third one has a name there, too, or its objects would be taken for those of the other side.
        self._there = {known_as: name, name: f"{name}(1)"}
        self._here = {there: here for here, there in self._there.items()}

    def chain_there(self, chain: tuple[str, ...]) -> tuple[str, ...]:
        """The objects that wait for a call, by the names that they have at the other side."""
        return tuple(_renamed(address, self._there) for address in chain)

    def chain_here(self, chain: tuple[str, ...]) -> tuple[str, ...]:
        """The same, by the names that they have here."""
        return tuple(_renamed(address, self._here) for address in chain)

    def lower(self, value: object) -> object:
        """Plain values for a proxy or an interface, None for anything else."""
        if isinstance(value, Interface):
            return ["interface", interface_to_plain(value, self.parameters)]
        if isinstance(value, SignalDescription):
            return ["signal", value.name, [full_name(kind) for kind in value.arg_types]]
        parts = proxy_parts(value)
        if parts is None:
            return None
        address, interface = parts
        context = self._there.get(address.context, address.context)
        return ["proxy", [context, address.object], interface_to_plain(interface, self.parameters)]

    def restore(self, plain: object) -> object:
        """The proxy or interface that the plain values stand for.

        Raises:
            ValueError: If they make no sense.
        """
        if type(plain) is list and len(plain) == 2 and plain[0] == "interface":
            return self._interfaces.of(plain[1])
        if type(plain) is list and len(plain) == 3 and plain[0] == "proxy" and _is_address(plain[1]):
            if self._router is None:
                raise ValueError("a proxy would lead nowhere here")
            context, name = plain[1]
            address = Address(self._here.get(context, context), name)
            return make_proxy(self._router, address, self._interfaces.of(plain[2]))
        if type(plain) is list and len(plain) == 3 and plain[0] == "signal" and _are_texts([plain[1], plain[2]]):
            return SignalDescription(plain[1], tuple(map(_type_of_name, plain[2])))
        raise ValueError("neither a proxy nor an interface")


class Interfaces:
    """Interfaces by their content: of many proxies of one class, the first is checked and gets a class of its own."""

    _MAX_BYTES = 16 << 20
    """So many bytes of memory are taken up by interfaces that are kept, as far as :meth:`_cost` knows."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._found: OrderedDict[bytes, Interface] = OrderedDict()
        self._size = 0

    def of(self, plain: Any) -> Interface:
        """The interface that the plain values stand for.

        Raises:
            ValueError: If they make no sense.
        """
        try:
            key = marshal.dumps(plain, 2)  # which tells apart what Python's own types tell apart, and never refers back
        except ValueError:  # a constant of some other type
            return interface_from_plain(plain)
        with self._mutex:
            interface = self._found.get(key)
            if interface is not None:
                self._found.move_to_end(key)
                return interface
        interface = interface_from_plain(plain)
        with self._mutex:
            if key not in self._found and self._cost(key) <= self._MAX_BYTES // 8:
                self._found[key] = interface
                self._size += self._cost(key)
                while self._size > self._MAX_BYTES:
                    self._size -= self._cost(self._found.popitem(last=False)[0])
        return interface

    @staticmethod
    def _cost(key: bytes) -> int:
        # The class of its proxies takes up most of it.
        return 8192 + 4 * len(key)


def _renamed(address: str, names: Mapping[str, str]) -> str:
    context, dot, name = address.partition(".")
    return names.get(context, context) + dot + name


def _are_texts(plain: list[object]) -> bool:
    name, types = plain
    return type(name) is str and type(types) is list and all(type(text) is str for text in types)


def _type_of_name(name: str) -> type:
    """The type of a signal's argument; an empty class of that name where this program does not have it."""
    found = loaded_class(name)
    if found is not None:
        return found
    return _unknown_type(name)


@lru_cache(256)
def _unknown_type(name: str) -> type:
    module, _, short = name.rpartition(".")
    return type(short, (), {"__module__": module})


def _is_address(plain: object) -> bool:
    return (
        type(plain) is list
        and len(plain) == 2
        and all(type(part) is str and part.isprintable() and part for part in plain)
    )
