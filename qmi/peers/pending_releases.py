"""Releases of locks that could not be sent, since the link was gone: they are sent when it is back.

The lock of a ``locked()`` block goes with its link, and so does that of a plain ``lock()``; one with a ``lock_token``
stays. When the block ends while there is no link, or when nobody knows whether the lock was granted, nobody else would
ever release it.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from qmi.actors.future import QMI_RpcFuture
from qmi.errors import QMI_NotDeliveredException, QMI_OutcomeUnknownException
from qmi.messages import Release, Token
from qmi.names import Address
from qmi.peers.rpc_client import ask

if TYPE_CHECKING:
    from qmi.net.io.link import Link


class PendingReleases:
    """What one context owes to others."""

    __slots__ = ("_mutex", "_pending")

    def __init__(self) -> None:
        # Threads that leave blocks add to it, the event loop takes from it. The mutex is not held while a message is
        # sent: what is taken out and cannot be sent is put back.
        self._mutex = threading.Lock()
        self._pending: dict[str, dict[tuple[Address, Token], None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._pending.values()))

    def add(self, address: Address, key: Token) -> None:
        """Note a grant that is to be released.

        Args:
            address: The object.
            key: What stands for the grant.
        """
        with self._mutex:
            self._pending.setdefault(address.context, {})[address, key] = None

    def flush(self, context: str, link: Link) -> None:
        """Send what is owed to a context.

        Args:
            context: Name of the context.
            link: The link to it.
        """
        with self._mutex:
            owed = self._pending.pop(context, {})
        for address, key in owed:
            answer = ask(link, f"the release of {address}", Release(address.object, key))
            answer.add_done_callback(partial(self._check, address, key, answer))

    def _check(self, address: Address, key: Token, answer: QMI_RpcFuture[bool]) -> None:
        if isinstance(answer.error(), QMI_NotDeliveredException | QMI_OutcomeUnknownException):
            self.add(address, key)

    def forget(self, context: str) -> None:
        """A context was restarted, and its locks are gone."""
        with self._mutex:
            self._pending.pop(context, None)
