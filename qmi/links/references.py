"""How proxies travel: as the address and the interface of their object."""

from __future__ import annotations

from typing import Any

from qmi.actors.interface import Interface
from qmi.actors.interface_plain import interface_from_plain, interface_to_plain
from qmi.actors.proxy import make_proxy, proxy_parts
from qmi.names import Address


class References:
    """How proxies travel: as the address and interface of their object.

    Args:
        router: Makes proxies work at this end.
    """

    def __init__(self, router: Any) -> None:
        self._router = router

    def lower(self, value: object) -> Any:
        """Plain values for a proxy or an interface, None for anything else."""
        if isinstance(value, Interface):
            return ["interface", interface_to_plain(value)]
        parts = proxy_parts(value)
        if parts is None:
            return None
        address, interface = parts
        return ["proxy", [*address], interface_to_plain(interface)]

    def restore(self, plain: Any) -> Any:
        """The proxy or interface that the plain values stand for.

        Raises:
            ValueError: If they make no sense.
        """
        if type(plain) is list and len(plain) == 2 and plain[0] == "interface":
            return interface_from_plain(plain[1])
        if type(plain) is list and len(plain) == 3 and plain[0] == "proxy" and _is_address(plain[1]):
            return make_proxy(self._router, Address(*plain[1]), interface_from_plain(plain[2]))
        raise ValueError("neither a proxy nor an interface")


def _is_address(plain: Any) -> bool:
    return type(plain) is list and len(plain) == 2 and all(type(part) is str for part in plain)
