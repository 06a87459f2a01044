"""What drivers and scripts read of the layer that carries messages: how large one may be, and addresses."""

from __future__ import annotations

from typing import ClassVar

from qmi.config.schema import CfgLimits
from qmi.names import Address

__all__ = ["QMI_MessageHandlerAddress"]

QMI_MessageHandlerAddress = Address


class _PeerTcpConnection:
    """Holds the limit that drivers look at before they return much at once.

    Attributes:
        MAX_MESSAGE_SIZE: The largest message, in bytes, with the defaults of the configuration.
    """

    MAX_MESSAGE_SIZE: ClassVar[int] = CfgLimits().max_frame_bytes
