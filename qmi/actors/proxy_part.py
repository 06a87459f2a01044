"""What proxies, their signals and their properties have in common: copied as they are, and never pickled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, Self, SupportsIndex

from qmi.actors.call import Handle
from qmi.errors import QMI_UnknownRpcException, QMI_ValueNotSendableException


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


def not_assigned(cls: type, name: str, where: str, unknown: Callable[[], str]) -> AttributeError | None:
    """Why nothing can be assigned to an attribute of a proxy; None if it can, so that setting it has failed by itself.

    Args:
        cls: The class of the proxy.
        name: The attribute.
        where: What the proxy stands for.
        unknown: Says that it has no such attribute.
    """
    found = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
    if found is None:
        return QMI_UnknownRpcException(unknown(), name=name, obj=None)
    if getattr(found, "__set__", None) is not None and getattr(found, "fset", found) is not None:
        return None
    what = "a method, which is called" if callable(found) else "always there"
    return AttributeError(f"{name} of {where} is {what}: nothing can be assigned to it")


class ProxyPart:
    """A signal or property of an object, as a proxy shows it."""

    __slots__ = ("_name", "_rpc")

    if TYPE_CHECKING:
        _rpc: Handle
        _name: str

    def __init__(self, handle: Handle, name: str) -> None:
        _set_handle(self, handle)
        _set_name(self, name)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_pickling(self._rpc, f"{self._name} of a proxy of {self._rpc.address}")


def part_of(part: ProxyPart) -> tuple[Handle, str]:
    """The object that a part of a proxy belongs to, and the name that the part has there.

    As a method it would be in the way of parameters and channels of that name.
    """
    return part._rpc, part._name


# Without the __setattr__ that some parts have.
_set_handle, _set_name = vars(ProxyPart)["_rpc"].__set__, vars(ProxyPart)["_name"].__set__
