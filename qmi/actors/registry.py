"""What lives in a context under which name, from the moment that a name is taken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from qmi.actors.actor import Actor
from qmi.errors import QMI_DuplicateNameException, QMI_ObjectRemovedException, QMI_UnknownNameException
from qmi.names import Address, nearest


class Registry:
    """The actors of one context by name. Safe for threads.

    A name belongs to whoever took it first, also while the object's constructor still runs.

    Args:
        context: Name of the context, for messages.

    Attributes:
        get: The object of a name, or None.
        on_change: Called when an object has come or gone, in the thread in which that happens.
    """

    def __init__(self, context: str) -> None:
        self._context = context
        self._mutex = threading.Lock()
        self._actors: dict[str, Actor] = {}
        self.get: Callable[[str], Actor | None] = self._actors.get
        self.on_change: Callable[[], object] = lambda: None
        self._reserved: set[str] = set()
        self._serial = 0

    def __len__(self) -> int:
        return len(self._actors)

    def __iter__(self) -> Iterator[Actor]:
        """The actors, oldest first."""
        with self._mutex:
            return iter(list(self._actors.values()))

    def everybody(self) -> list[Actor]:
        """The actors, without the mutex: for a forked child, where another thread may have held it."""
        return list(self._actors.values())

    def reserve(self, name: str) -> None:
        """Take a name.

        Raises:
            QMI_DuplicateNameException: If it is taken.
        """
        with self._mutex:
            if name in self._actors or name in self._reserved:
                raise QMI_DuplicateNameException(
                    f"Context {self._context!r} already has an object named {name!r}. get_instrument({name!r}) (or "
                    f"get_task, get_rpc_object) returns a proxy of it; make_instrument({name!r}, ..., replace=True) "
                    "removes it and makes it anew"
                )
            self._reserved.add(name)

    def free(self, name: str) -> None:
        """Give a name back that was taken in vain."""
        with self._mutex:
            self._reserved.discard(name)

    def add(self, actor: Actor) -> None:
        """Put an object under the name that was taken for it."""
        with self._mutex:
            self._reserved.discard(actor.address.object)
            self._actors[actor.address.object] = actor
        self.on_change()

    def remove(self, actor: Actor) -> bool:
        """Take an object away; False if somebody else did before."""
        with self._mutex:
            if self._actors.get(actor.address.object) is not actor:
                return False
            del self._actors[actor.address.object]
        self.on_change()
        return True

    def unknown(self, name: str) -> QMI_UnknownNameException:
        """The error for a name that nobody has, with the nearest one that somebody has."""
        with self._mutex:
            names = [key for key in self._actors if not key.startswith("$")]
        near = nearest(name, names)
        if near:
            hint = f"Did you mean {near!r}?"
        elif names:
            hint = "It has " + ", ".join(repr(name) for name in sorted(names)[:10])
        else:
            hint = "It has no objects yet"
        return QMI_UnknownNameException(f"Context {self._context!r} has no object named {name!r}. {hint}")

    def existing(self, address: Address) -> Actor:
        """The object at an address of this context.

        Raises:
            QMI_UnknownNameException: If it is not there (any more).
        """
        actor = self.get(address.object)
        if actor is None:
            raise self.gone(address)
        return actor

    def gone(self, address: Address) -> QMI_ObjectRemovedException:
        """The error for a proxy of an object that is not there (any more)."""
        return QMI_ObjectRemovedException(f"{address} was removed from its context")

    def gone_here(self, name: str) -> QMI_ObjectRemovedException:
        """The same for an object of this context."""
        return self.gone(Address(self._context, name))

    def unique_name(self, prefix: str) -> str:
        """A name that nobody has got before."""
        with self._mutex:
            while True:
                self._serial += 1
                name = f"{prefix}{self._serial}"
                if name not in self._actors and name not in self._reserved:
                    return name
