"""``$context``: what a context tells about itself, and how it is asked to end."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from qmi._version import __version__
from qmi.actors.future import QMI_RpcFuture
from qmi.actors.interface import Interface, Placement, answered_by, direct_method
from qmi.actors.last_values import last_values
from qmi.actors.rpc_object import QMI_RpcObject
from qmi.errors import QMI_UnknownNameException
from qmi.messages import Origin
from qmi.names import Address
from qmi.records import NamedTuple
from qmi.runtime.call_context import CALLER

if TYPE_CHECKING:
    from qmi.actors.context_status import ContextStatus

_logger = logging.getLogger("qmi.core.context")

_FLUSH_TIME = 0.2


class RpcObjectDescriptor(NamedTuple):
    """What a context says about one of its objects.

    Attributes:
        address: Where it lives.
        category: "instrument", "task" or "object".
        interface: What it offers. In a list of all objects it has no more than the name of the class.
    """

    address: Address
    category: str
    interface: Interface


class ObjectListing(NamedTuple):
    """One line of a list of objects.

    Attributes:
        address: ``"context.object"``.
        category: "instrument", "task" or "object".
        class_name: Full name of its class.
        shown_class: The same; for a task that of the task itself, and not of its runner.
        state: What a task does: "new", "running" or how it ended; empty for other objects.
    """

    address: str
    category: str
    class_name: str
    shown_class: str
    state: str = ""


class ConfiguredObject(NamedTuple):
    """How an instrument or task is that the configuration lists.

    Attributes:
        name: Its name in its context.
        category: "instrument" or "task".
        class_name: Its class as configured, ``"package.module:Class"``.
        state: "waiting" before it is made, "making", "ready", "failed", or "removed" by the program.
        reason: Why it has failed; else empty.
        since: When it came into this state, in seconds since 1970.
        attempts: How often it was tried since it was last asked for.
        retry_in: Seconds until it is tried again; negative if it is not.
    """

    name: str
    category: str
    class_name: str
    state: str
    reason: str = ""
    since: float = 0.0
    attempts: int = 0
    retry_in: float = -1.0

    def __str__(self) -> str:
        return f"{self.name} {self.state}" + (f": {self.reason}" if self.reason else "")


ConfiguredObject.__module__ = "qmi.core.context"


class Configured(Protocol):
    """What brings up the objects that the configuration lists."""

    def unknown(self, name: str) -> QMI_UnknownNameException:
        """The error for a name that no object of the context has."""

    def states(self) -> list[ConfiguredObject]:
        """How they are."""

    def begin_restart(self, name: str, by: str, *, patient: bool = True) -> QMI_RpcFuture[ConfiguredObject]:
        """Begin to make one of them anew."""


class Locks(Protocol):
    """What is said of locks, and to those who hold them. Who says it is the caller."""

    def note(self, name: str, origin: Origin, words: tuple[object, ...]) -> bool:
        """Note for what somebody holds a lock."""

    def words(self, name: str) -> tuple[str, ...] | None:
        """What the holder of a lock has said."""

    def request_release(self, name: str, origin: Origin, words: tuple[object, ...]) -> QMI_RpcFuture[str | None]:
        """Tell the holder of a lock that somebody else wants it."""

    def force_unlock(self, name: str, origin: Origin, words: tuple[object, ...]) -> None:
        """Unlock an object, whoever holds it."""

    def told(self, origin: Origin, *request: object) -> None:
        """This program is asked for a lock, or has lost one."""


class Rights(Protocol):
    """What other contexts may do."""

    def check_shutdown(self, origin: Origin | None, name: str = "") -> None:
        """Raise if one may not end this one, or have an object of it made anew."""


class Owner(Protocol):
    """The context behind the object."""

    name: str

    def descriptors(self) -> list[RpcObjectDescriptor]:
        """The objects that it has, in short."""

    def descriptor(self, name: str) -> RpcObjectDescriptor | None:
        """One of them, with all that it offers."""

    def objects_here(self, category: str | None = None) -> list[ObjectListing]:
        """The objects that it has, for lists."""

    @property
    def configured_objects(self) -> Configured:
        """Those that the configuration lists."""

    def request_shutdown(self) -> None:
        """Ask it to end."""

    @property
    def origin(self) -> Origin:
        """How others know where a message came from."""

    @property
    def reservations(self) -> Locks:
        """The words to its locks."""

    @property
    def rights(self) -> Rights:
        """What others may do with it."""

    def describe_origin(self, origin: Origin | None) -> str:
        """Which context something came from, where that is, and its process."""

    def explain_busy(self, name: str) -> str:
        """What one of its objects is busy with, or an empty text."""

    def status_here(self) -> ContextStatus:
        """What it tells of itself."""

    def object_here(self, name: str) -> QMI_RpcObject:
        """One of its objects; raises if it is not there."""

    def begin_read_log(self, *request: object) -> QMI_RpcFuture[dict[str, Any]]:
        """Begin to read its log."""


class ContextObject(QMI_RpcObject):
    """What a context tells about itself, and how it is asked to end."""

    _rpc_placement = Placement.LOOP
    GUEST_METHODS: ClassVar[Collection[str]] = (
        *("describe_settings", "explain_busy", "get_category", "get_name", "get_pid", "get_readings"),
        *("get_rpc_object_descriptor", "get_rpc_object_descriptors", "get_signals", "get_status", "get_version"),
        *("list_configured", "list_objects", "lock_words", "read_log", "request_lock_release", "told_of_lock"),
    )

    def __init__(self, context: Any, name: str, owner: Owner) -> None:
        super().__init__(context, name)
        self._owner = owner

    @classmethod
    def get_category(cls) -> str:
        """What kind of object this is."""
        return "context"

    @direct_method
    def get_version(self) -> str:
        """The version of the library that the context runs on."""
        return __version__

    @direct_method
    def get_pid(self) -> int:
        """The process that the context runs in."""
        return os.getpid()

    @direct_method
    def get_rpc_object_descriptors(self) -> list[RpcObjectDescriptor]:
        """Everything that lives in the context: address, category and class of each."""
        return self._owner.descriptors()

    @direct_method
    def list_objects(self, category: str | None = None) -> list[tuple[str, ...]]:
        """The same for lists: the fields of an :class:`ObjectListing` for each.

        Args:
            category: "instrument", "task", ... or None for all.
        """
        return [tuple(entry) for entry in self._owner.objects_here(category)]

    @direct_method
    def get_rpc_object_descriptor(self, name: str) -> RpcObjectDescriptor:
        """One object of the context.

        Raises:
            QMI_UnknownNameException: If there is none of that name.
        """
        descriptor = self._owner.descriptor(name)
        if descriptor is not None:
            return descriptor
        raise self._owner.configured_objects.unknown(name)

    @direct_method
    def explain_busy(self, name: str) -> str:
        """What keeps an object from answering: with what it is busy, for how long and for whom, and where it stands.

        Args:
            name: The object.

        Returns:
            An empty text if it is idle, or not there.
        """
        return self._owner.explain_busy(name)

    @direct_method
    def get_status(self) -> dict[str, Any]:
        """All that the context tells of itself, as plain data: see :class:`.ContextStatus`.

        Nothing of an object runs, and nothing is waited for: one that is stuck is told like any other.
        """
        return self._owner.status_here().to_plain()

    @direct_method
    def get_readings(self, object_name: str) -> dict[str, tuple[object, float]]:
        """The last values of an object's parameters that were read or set, each with the time of that.

        Nothing of the object runs, and no device is asked: one that is busy or locked is told like any other.

        Args:
            object_name: The object.

        Raises:
            QMI_UnknownNameException: If there is none of that name.
        """
        return last_values(self._owner.object_here(object_name))

    @direct_method
    def describe_settings(self, object_name: str) -> dict[str, object]:
        """What the settings of a task consist of: types, units and documentation of their fields.

        Args:
            object_name: The task.

        Returns:
            ``"class"`` and ``"fields"``, as :func:`.describe_settings` has them; no fields if the class declares none.

        Raises:
            QMI_UnknownNameException: If there is none of that name.
        """
        from qmi.actors.tasks.settings_fields import describe_settings  # only who asks needs it

        return describe_settings(self._owner.object_here(object_name))

    @answered_by("_begin_read_log")
    def read_log(
        self, after: int | None = None, level: str | int = 0, limit: int = 200, wait: float = 0.0, run: str = ""
    ) -> dict[str, Any]:
        """Read the log: the records that are kept in memory, of the loggers as they are configured.

        Args:
            after: What was read last: ``last`` of the answer before. None wants the newest records.
            level: The lowest level that is wanted, such as ``"WARNING"``.
            limit: How many records are wanted at most.
            wait: How many seconds to wait until there is one; without ``after``, nothing is waited for.
            run: ``run`` of the answer before. If the program was started again since, its log is read from the
                beginning.

        Returns:
            A :class:`.LogBatch` as plain data.

        Raises:
            QMI_InvalidValueException: If an argument makes no sense.
        """
        return self._begin_read_log(after, level, limit, wait, run).wait()

    def _begin_read_log(
        self, after: int | None = None, level: str | int = 0, limit: int = 200, wait: float = 0.0, run: str = ""
    ) -> QMI_RpcFuture[dict[str, Any]]:
        return self._owner.begin_read_log(after, level, limit, wait, run)

    @direct_method
    def list_configured(self) -> list[tuple[object, ...]]:
        """How the instruments and tasks are that the configuration lists: the fields of a :class:`ConfiguredObject`."""
        return [tuple(state) for state in self._owner.configured_objects.states()]

    @answered_by("_begin_restart")
    def restart_object(self, object_name: str) -> tuple[object, ...]:
        """Remove an instrument or task that the configuration lists, and make it anew.

        Args:
            object_name: Its name in this context.

        Returns:
            The fields of a :class:`ConfiguredObject`: how that went.

        Raises:
            QMI_UnknownNameException: If the configuration lists none of that name.
            QMI_InvalidOperationException: If the configuration does not let other contexts do that.
        """
        return self._begin_restart(object_name).wait()

    def _begin_restart(self, object_name: str) -> QMI_RpcFuture[tuple[object, ...]]:
        origin = CALLER.get()
        self._owner.rights.check_shutdown(origin, object_name)
        restarted = self._owner.configured_objects.begin_restart(object_name, self._owner.describe_origin(origin))
        told: QMI_RpcFuture[tuple[object, ...]] = QMI_RpcFuture(restarted.what)

        def tell() -> None:
            if (error := restarted.error()) is not None:
                told.fail(error)
            else:
                told.set_result(tuple(restarted.result()))

        restarted.add_done_callback(tell)
        return told

    # Locks: the words to them. The locks themselves are asked of their objects.

    @direct_method
    def note_lock(self, object_name: str, reason: str, user: str = "", program: str = "", host: str = "") -> bool:
        """Note for what the caller's context holds the lock of an object.

        Args:
            object_name: The object.
            reason: For what.
            user: Who.
            program: In which program.
            host: On which computer.

        Returns:
            False if it does not hold it.
        """
        return self._owner.reservations.note(object_name, self._caller(), (reason, user, program, host))

    @direct_method
    def lock_words(self, object_name: str) -> tuple[str, ...] | None:
        """Reason, user, program and computer that were noted for the lock of an object; None if nobody holds it."""
        words = self._owner.reservations.words(object_name)
        return None if words is None else tuple(words)

    @answered_by("_begin_request_lock_release")
    def request_lock_release(
        self, object_name: str, reason: str = "", user: str = "", program: str = "", host: str = ""
    ) -> str | None:
        """Tell the holder of an object's lock that the caller wants it; see :meth:`note_lock`.

        Returns:
            Who was told; None if nobody holds it.
        """
        return self._begin_request_lock_release(object_name, reason, user, program, host).wait()

    def _begin_request_lock_release(
        self, object_name: str, reason: str = "", user: str = "", program: str = "", host: str = ""
    ) -> QMI_RpcFuture[str | None]:
        words = (reason, user, program, host)
        return self._owner.reservations.request_release(object_name, self._caller(), words)

    @direct_method
    def force_unlock_object(
        self, object_name: str, reason: str = "", user: str = "", program: str = "", host: str = ""
    ) -> None:
        """Unlock an object, whoever holds the lock, who is told so; see :meth:`note_lock`."""
        self._owner.reservations.force_unlock(object_name, self._caller(), (reason, user, program, host))

    @direct_method
    def told_of_lock(self, address: str, by: str, reason: str = "", taken: bool = False) -> None:
        """Tell this program that somebody asks for a lock that it holds, or has taken it by force.

        Args:
            address: The object.
            by: Who.
            reason: For what.
            taken: Whether it is gone already.
        """
        self._owner.reservations.told(self._caller(), address, by, reason, taken)

    def _caller(self) -> Origin:
        return CALLER.get() or self._owner.origin

    @direct_method
    def shutdown_context(self, hard: bool = False) -> None:
        """Ask the program to end.

        Args:
            hard: End its process at once, without waiting for anything.

        Raises:
            QMI_InvalidOperationException: If its configuration does not let other contexts do that.
        """
        origin = CALLER.get()
        self._owner.rights.check_shutdown(origin)
        who = self._owner.describe_origin(origin)
        _logger.warning("Context %s is asked to shut down%s by %s", self._owner.name, " hard" if hard else "", who)
        self._owner.request_shutdown()
        if hard:
            # The answer has to get out first.
            timer = threading.Timer(_FLUSH_TIME, _exit_now)
            timer.daemon = True
            timer.start()


def _exit_now() -> None:
    logging.shutdown()
    os._exit(1)
