"""The two ends of a link, and how it ends: what is known of links before there is one."""

from __future__ import annotations

from enum import Enum, auto

FAULT = "a fault of this program"
"""Begins the reason of a loss that nobody foresaw; the other side is told no more than that."""


class Role(Enum):
    """Which side of a connection this is."""

    CONNECTING = auto()
    LISTENING = auto()


class LossKind(Enum):
    """Why a link is gone."""

    CLOSED = "closed by this side"
    GOODBYE = "closed by the other side"
    DISCONNECTED = "connection ended"
    SILENT = "no sign of life"
    REFUSED = "refused"
    PROTOCOL = "protocol error"
    FAULT = "fault of this program"
