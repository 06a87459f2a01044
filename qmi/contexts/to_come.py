"""Requests for objects that are not there yet: internal ones, made when first asked for, and configured ones.

A program has its port before it has its instruments. Whoever asks for one of them meanwhile gets it when it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qmi.actors.future import QMI_RpcFuture
from qmi.contexts.configured import ConfiguredObjects
from qmi.contexts.internal import InternalObjects
from qmi.messages import Describe, Request, Subscribe
from qmi.names import INTERNAL_PACKAGES


class ObjectsToCome:
    """What holds back requests for such objects.

    Args:
        internal: Those that are made when first asked for.
        configured: Those of the configuration.
    """

    def __init__(self, internal: InternalObjects, configured: ConfiguredObjects) -> None:
        self._internal = internal
        self._configured = configured

    def hold_back(
        self,
        request: Request,
        answer: QMI_RpcFuture[Any],
        again: Callable[[], object],
        *,
        patient: bool = True,
        from_afar: bool = False,
    ) -> bool:
        """Call a function once an object that is not there is made, has failed, or is late. Never blocks.

        Args:
            request: What it is asked. Only requests for its interface or signals wait for one of the configuration: who
                calls it knows that it was there, and that it is gone.
            answer: It gets the error if an object that is made for this request cannot be made.
            again: Makes the request again.
            patient: Whether to wait for one of the configuration.
            from_afar: Whether another program asks.

        Returns:
            Whether there is such an object to come. If not, the function is not called.
        """
        name = request.object
        if name in INTERNAL_PACKAGES:
            self._internal.make_first(name, answer, again, subscribes=isinstance(request, Subscribe))
            return True
        waits = patient and isinstance(request, (Describe, Subscribe))
        made = self._configured.when_made(name, from_afar=from_afar) if waits else None
        if made is not None:
            made.add_done_callback(again)
        return made is not None
