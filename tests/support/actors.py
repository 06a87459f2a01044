"""What tests look at of an actor."""

from __future__ import annotations

from typing import Any

from qmi.core.context import QMI_Context


def actor_of(context: Any, name: str) -> Any:
    core = context.async_context if isinstance(context, QMI_Context) else context
    return core.registry.get(name)


def check_idle(actor: Any) -> None:
    assert actor.mailbox.current is None
    assert len(actor.mailbox) == 0
    assert actor.lock_manager.lock.next_waiter() is None


def handle_of(proxy: Any) -> Any:
    """What a proxy makes its calls with: the :class:`~qmi.actors.call.Handle`."""
    return proxy._rpc
