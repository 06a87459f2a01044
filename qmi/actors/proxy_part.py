"""What proxies, their signals and their properties have in common: copied as they are, and never pickled."""

from __future__ import annotations

from typing import NoReturn, Self, SupportsIndex

from qmi.actors.call import Handle
from qmi.errors import QMI_ValueNotSendableException


def refuse_pickling(handle: Handle, what: str) -> NoReturn:
    """Refuse to pickle something that works in this program only.

    Args:
        handle: The object that it belongs to.
        what: What it is, for people.

    Raises:
        QMI_ValueNotSendableException: Saying what to send instead.
    """
    address = str(handle.address)
    raise QMI_ValueNotSendableException(
        f"{what} cannot be pickled, since it works only in this program. Send its address, "
        f"proxy.address, and get the proxy anew in the other one: qmi.get_rpc_object({address!r})"
    )


class ProxyPart:
    """A signal or property of an object, as a proxy shows it."""

    __slots__ = ("_name", "_rpc")

    def __init__(self, handle: Handle, name: str) -> None:
        self._rpc = handle
        self._name = name

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_pickling(self._rpc, f"{self._name} of a proxy of {self._rpc.address}")
