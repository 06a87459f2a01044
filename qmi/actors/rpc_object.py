"""The base of everything that can be called through a proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from qmi.actors.interface import Interface, Placement, describe_class, placement_of
from qmi.actors.signals import SignalDescription, declared_signals, signal_infos
from qmi.errors import QMI_UsageException

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_BASE_MODULES = ("qmi.actors.rpc_object", "qmi.actors.instrument")


class QMI_RpcObject:
    """An object whose published methods (:func:`~qmi.core.rpc.rpc_method`) can be called through proxies.

    A class with plain methods gets a thread of its own for each object, always the same from the constructor to the
    release. A class whose methods are all ``async def`` lives in the event loop. A class that sets
    ``_rpc_placement = Placement.CALLER`` needs no thread of its own: a blocking caller without a timeout runs the
    method itself when the object is idle. That is for simulated and pure-Python objects: such a method cannot be
    left waiting in the background, so that Ctrl-C interrupts the method itself.

    Args:
        context: The context that the object belongs to.
        name: Its name there.
    """

    _rpc_constants: ClassVar[tuple[str, ...] | list[str]] = ()
    _rpc_placement: ClassVar[Placement | None] = None
    _rpc_enter: ClassVar[tuple[str, ...]] = ()
    _rpc_exit: ClassVar[tuple[str, ...]] = ()

    if TYPE_CHECKING:
        # What a proxy of the object has besides its published methods.

        @property
        def address(self) -> str:
            """Where the object lives: ``"context.object"``."""

        @property
        def rpc_nonblocking(self) -> Any:
            """The same object; here a method returns a future at once."""

        @property
        def rpc_async(self) -> Any:
            """The same object for a trio program; here a method is awaited."""

        def lock(self, timeout: float = 0.0, lock_token: str | None = None) -> bool:
            """Lock the object for this proxy alone."""

        def unlock(self, lock_token: str | None = None, context_name: str | None = None) -> bool:
            """Unlock the object."""

        def is_locked(self) -> bool:
            """Whether anybody has locked the object."""

        def force_unlock(self) -> None:
            """Unlock the object, whoever locked it."""

        def locked(self, timeout: float = 0.0, lock_token: str | None = None) -> AbstractContextManager[Any]:
            """Lock the object for the length of a ``with`` block."""

    def __init__(self, context: Any, name: str) -> None:
        self._context = context
        self._name = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}>"

    @classmethod
    def get_category(cls) -> str:
        """What kind of object this is: "instrument", "task", "context" or "object"."""
        return "object"

    def get_name(self) -> str:
        """The object's name in its context."""
        return self._name

    @classmethod
    def get_signals(cls) -> list[SignalDescription]:
        """The signals that the object publishes."""
        return declared_signals(cls)

    def _where_now(self) -> str:
        # Where the object's own code stands, if it has some that runs beside its methods; for messages.
        return ""

    def _left_behind(self, why: Exception) -> None:
        # Nobody waits any longer for the object's own code to end.
        pass

    def release_rpc_object(self) -> Any:
        """Called once before the object goes, where its methods run; may be ``async def`` in a subclass."""
        return None


QMI_RpcObject.__module__ = "qmi.core.rpc"


def interface_of(cls: type[QMI_RpcObject]) -> Interface:
    """The descriptor of a class, made when it is first needed."""
    interface = vars(cls).get("_rpc_interface")
    if not isinstance(interface, Interface):
        interface = describe_class(
            cls,
            category=cls.get_category(),
            signals=signal_infos(cls),
            enter=cls._rpc_enter,
            exit=cls._rpc_exit,
        )
        cls._rpc_interface = interface  # type: ignore[attr-defined]
        cls._rpc_placed = placement_of(cls, _BASE_MODULES)  # type: ignore[attr-defined]
    return interface


def placement_for(cls: type[QMI_RpcObject]) -> Placement:
    """Where the plain methods of a class run."""
    interface_of(cls)
    placement: Placement = vars(cls)["_rpc_placed"]
    return placement


def check_class(cls: object, base: type[QMI_RpcObject], what: str) -> None:
    """Refuse to make an object of a class that is not meant for it.

    Raises:
        QMI_UsageException: If it is no such class.
    """
    if isinstance(cls, type) and issubclass(cls, base):
        return
    if isinstance(cls, str):
        found = f"the text {cls!r}: the name comes first, then the class itself, without quotes"
    elif isinstance(cls, type):
        found = f"class {cls.__name__}"
    else:
        found = f"{cls!r}: give the class, it is made here"
    raise QMI_UsageException(f"{what} is made from a class derived from {base.__name__}; got {found}")
