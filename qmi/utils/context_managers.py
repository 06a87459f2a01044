"""``with`` blocks for whatever has to be started and stopped, opened and closed, locked and unlocked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from qmi.actors.lock_block import LockBlock
from qmi.core.exceptions import QMI_ObjectLockedException
from qmi.core.rpc import QMI_RpcProxy
from qmi.runtime.sigint import safe_contextmanager

if TYPE_CHECKING:
    from qmi.core.pubsub import QMI_SignalReceiver


class StartStoppable(Protocol):
    """What can be started and stopped."""

    @property
    def start(self) -> Callable[..., object]:
        """Starts it; any signature will do."""

    def stop(self) -> object:
        """Stop it."""


class StartStopJoinable(StartStoppable, Protocol):
    """What can be started and stopped, and waited for."""

    def join(self) -> object:
        """Wait until it has ended."""


class OpenClosable(Protocol):
    """What can be opened and closed."""

    def open(self) -> object:
        """Open it."""

    def close(self) -> object:
        """Close it."""


class LockUnlockable(Protocol):
    """What can be locked and unlocked."""

    @property
    def lock(self) -> Callable[..., object]:
        """Locks it; any signature will do."""

    @property
    def unlock(self) -> Callable[..., object]:
        """Unlocks it; called without arguments, or with ``lock_token``."""


class _Signal(Protocol):
    @property
    def subscribe(self) -> Callable[..., object]: ...

    @property
    def unsubscribe(self) -> Callable[..., object]: ...


S = TypeVar("S", bound=StartStoppable)
J = TypeVar("J", bound=StartStopJoinable)
C = TypeVar("C", bound=OpenClosable)
L = TypeVar("L", bound=LockUnlockable)
R = TypeVar("R")


@safe_contextmanager
def start_stop(thing: S, *args: object, **kwargs: object) -> Iterator[S]:
    """Start something for the length of a ``with`` block, and stop it also if the block fails.

    Args:
        thing: What has ``start`` and ``stop``: the module ``qmi``, a context, a task.
        args: For ``start``.
        kwargs: For ``start``.
    """
    thing.start(*args, **kwargs)
    try:
        yield thing
    finally:
        thing.stop()


@safe_contextmanager
def start_stop_join(thing: J, *args: object, **kwargs: object) -> Iterator[J]:
    """Start a task for the length of a ``with`` block; then stop it and wait until it has stopped.

    Args:
        thing: What has ``start``, ``stop`` and ``join``.
        args: For ``start``.
        kwargs: For ``start``.
    """
    thing.start(*args, **kwargs)
    try:
        yield thing
    finally:
        thing.stop()
        thing.join()


@safe_contextmanager
def open_close(thing: C) -> Iterator[C]:
    """Open an instrument for the length of a ``with`` block, and close it also if the block fails.

    Args:
        thing: What has ``open`` and ``close``.
    """
    thing.open()
    try:
        yield thing
    finally:
        thing.close()


def lock_unlock(thing: L, *args: Any, **kwargs: Any) -> AbstractContextManager[L]:
    """Lock an object for the length of a ``with`` block; a block within another one leaves the lock to that one.

    The block of a proxy belongs to the thread that entered it, as that of its method ``locked()`` does.

    Args:
        thing: A proxy.
        args: For ``lock``: ``timeout`` in seconds, ``lock_token``.
        kwargs: For ``lock``.

    Raises:
        QMI_ObjectLockedException: If the lock is not granted; the block does not run.
    """
    if isinstance(thing, QMI_RpcProxy):
        return LockBlock(thing, *args, **kwargs)
    return _lock_unlock(thing, *args, **kwargs)


@safe_contextmanager
def _lock_unlock(thing: L, *args: object, **kwargs: object) -> Iterator[L]:
    if thing.lock(*args, **kwargs) is False:  # what returns nothing raises if it fails
        raise QMI_ObjectLockedException(f"{thing!r} could not be locked: another proxy holds it")
    token = kwargs.get("lock_token", args[1] if len(args) > 1 else None)
    try:
        yield thing
    finally:
        if token is None:
            thing.unlock()
        else:
            thing.unlock(lock_token=token)


@overload
def subscribe_unsubscribe(signal: _Signal, receiver: None = None) -> AbstractContextManager[QMI_SignalReceiver]: ...
@overload
def subscribe_unsubscribe(signal: _Signal, receiver: R) -> AbstractContextManager[R]: ...
def subscribe_unsubscribe(signal: _Signal, receiver: R | None = None) -> AbstractContextManager[R | QMI_SignalReceiver]:
    """Subscribe to a signal for the length of a ``with`` block.

    Args:
        signal: A signal of a proxy.
        receiver: What gets the signals; None makes one.

    Yields:
        The receiver.
    """
    if receiver is None:
        from qmi.core.pubsub import QMI_SignalReceiver

        return _subscribed(signal, QMI_SignalReceiver())
    return _subscribed(signal, receiver)


@safe_contextmanager
def _subscribed(signal: _Signal, receiver: R) -> Iterator[R]:
    signal.subscribe(receiver)
    try:
        yield receiver
    finally:
        signal.unsubscribe(receiver)
