"""Which constants of a class go out on links: one that cannot be sent is for proxies of the same program alone."""

from __future__ import annotations

import logging

from qmi.actors.interface import Interface
from qmi.errors import QMI_ValueNotSendableException

_logger = logging.getLogger("qmi.core.rpc")

_MAX_BYTES = 1 << 16
"""A constant travels with each description of its object, so that it must not be large."""


def check_constants(interface: Interface) -> None:
    """Look at the constants of a class once, and warn of those that other programs will not see.

    Args:
        interface: What the class offers; takes note of what was found.
    """
    for name, value in interface.constants.items():
        if name in interface.local:
            continue
        reason = _why_not(name, value)
        interface.local[name] = reason is not None
        if reason is not None:
            _logger.warning(
                "Constant %s of %s is not shown by proxies of other programs: %s", name, interface.class_name, reason
            )


def _why_not(name: str, value: object) -> str | None:
    from qmi.net.codec.codec import Codec  # few classes have constants

    try:
        encoded = Codec().encode(value, name)
    except QMI_ValueNotSendableException as error:
        return str(error)
    size = len(encoded.payload) + sum(segment.nbytes for segment in encoded.segments)
    if size > _MAX_BYTES:
        return f"it has {size} bytes, the limit is {_MAX_BYTES}; publish a method that returns it"
    return None
