"""Internal objects: what a package above publishes for each context, made when somebody first asks for it.

Like ``$context`` they are in no list, cannot be removed, and end with their context. Their names begin with ``$``, so
that no object of a user can have one; :data:`qmi.names.INTERNAL_PACKAGES` says which there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from qmi.actors.actor import Actor
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Placement
from qmi.actors.rpc_object import QMI_RpcObject, placement_for
from qmi.errors import QMI_Exception, QMI_SignalSubscriptionException, QMI_UnknownNameException, QMI_UsageException
from qmi.names import INTERNAL_PACKAGES

_CLASSES: dict[str, type[QMI_RpcObject]] = {}


def register_internal_object(name: str, cls: type[QMI_RpcObject]) -> None:
    """Say of which class the internal object of a name is, in all contexts of this program; at the import of a package.

    Args:
        name: The name, one of :data:`qmi.names.INTERNAL_PACKAGES`.
        cls: The class. Its instances live in the event loop and are made by ``cls(context, name, owner)``, the owner
            being the :class:`~qmi.contexts.base.ContextBase`. Its ``GUEST_METHODS`` say what guests may call.

    Raises:
        QMI_UsageException: If there is no such name, or the class does not live in the event loop.
    """
    if name not in INTERNAL_PACKAGES:
        raise QMI_UsageException(f"name must be one of {', '.join(INTERNAL_PACKAGES)}, got {name!r}")
    if placement_for(cls) is not Placement.LOOP:
        raise QMI_UsageException(f"An internal object lives in the event loop: {cls.__name__} needs that placement")
    _CLASSES[name] = cls


class InternalServices(Protocol):
    """What this needs of the context."""

    name: str

    def check_running(self) -> None:
        """Raise if the context does not run."""

    def make_internal(self, name: str, cls: type[QMI_RpcObject]) -> QMI_RpcFuture[Actor]:
        """Begin to make an object."""


class InternalObjects:
    """The internal objects of one context. Safe for threads.

    Args:
        services: The context.
    """

    def __init__(self, services: InternalServices) -> None:
        self._services = services
        # Several threads may be the first to ask: one of them makes the object, outside the mutex, since the
        # constructor may run in that call; the others wait for the same future.
        self._mutex = threading.Lock()
        self._made: dict[str, QMI_RpcFuture[Actor]] = {}

    def begin(self, name: str) -> QMI_RpcFuture[Actor]:
        """The object of a name, made if it is not there yet. Never blocks; every error comes with the future.

        Args:
            name: The name.

        Returns:
            A future of the caller's own, which may be cancelled.
        """
        mine: QMI_RpcFuture[Actor] = QMI_RpcFuture(f"the making of {self._services.name}.{name}")
        try:
            self._services.check_running()
            cls = self._class_of(name)
        except Exception as error:  # noqa: BLE001 - goes to the caller
            mine.fail(error)
            return mine
        with self._mutex:
            shared = self._made.get(name)
            is_first = shared is None or (shared.done() and shared.error() is not None)  # one that failed is made anew
            if shared is None or is_first:
                shared = self._made[name] = QMI_RpcFuture(mine.what)
        if is_first:
            try:
                _pass_on(self._services.make_internal(name, cls), shared)
            except Exception as error:  # noqa: BLE001 - goes to all who wait
                shared.fail(error)
        _pass_on(shared, mine)
        return mine

    def make_first(
        self, name: str, answer: QMI_RpcFuture[Any], go_on: Callable[[], object], *, subscribes: bool = False
    ) -> None:
        """Make the object of a name, then go on in the event loop.

        Args:
            name: The name.
            answer: It gets the error if that fails.
            go_on: What to do then.
            subscribes: Whether the answer is that of a subscription.
        """
        made = self.begin(name)

        def continue_() -> None:
            try:
                made.result()
                go_on()
            except QMI_Exception as error:
                answer.fail(QMI_SignalSubscriptionException(str(error)) if subscribes else error)
            except Exception as error:  # noqa: BLE001 - goes to the caller
                answer.fail(error)

        made.add_done_callback(continue_)

    def _class_of(self, name: str) -> type[QMI_RpcObject]:
        cls = _CLASSES.get(name)
        if cls is None:
            context, package = self._services.name, INTERNAL_PACKAGES.get(name)
            why = f": its program has not imported {package}" if package else ""
            raise QMI_UnknownNameException(f"Context {context!r} has no object named {name!r}{why}")
        return cls


def _pass_on(source: QMI_RpcFuture[Any], target: QMI_RpcFuture[Any]) -> None:
    # Unlike with `follow`, giving up the target does not give up the source.
    def tell() -> None:
        if (error := source.error()) is not None:
            target.fail(error)
        else:
            target.set_result(source.result())

    source.add_done_callback(tell)
