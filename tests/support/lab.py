"""Contexts for tests: on loopback, on free ports, with short limits, and a discovery port of their own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qmi.config.schema import CfgContext, CfgDiscovery, CfgLimits, CfgQmi, CfgSecurity
from qmi.core.context import QMI_Context
from tests.support.ports import free_port

LOOPBACK_BROADCAST = "127.255.255.255"
DISCOVERY_PORT = free_port(socket.SOCK_DGRAM)
"""Of each process that runs tests its own, and none that the system gives to others; see :mod:`tests.support.ports`."""


def config(
    name: str = "",
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    security: CfgSecurity | None = None,
    contexts: dict[str, CfgContext] | None = None,
    context: dict[str, Any] | None = None,
    workgroup: str = "default",
    **limits: Any,
) -> CfgQmi:
    """A configuration in which the named context listens on a free port."""
    own = {name: CfgContext(host=host, tcp_server_port=port, **(context or {}))} if name else {}
    return CfgQmi(
        workgroup=workgroup,
        contexts={**own, **(contexts or {})},
        limits=CfgLimits(**limits),
        discovery=CfgDiscovery(port=DISCOVERY_PORT, broadcast_addresses=[LOOPBACK_BROADCAST], timeout=0.3),
        security=security or CfgSecurity(),
    )


def make_context(name: str, **settings: Any) -> QMI_Context:
    """A context that is not started yet."""
    return QMI_Context(name, config(name, **settings))


@contextmanager
def two_contexts(**settings: Any) -> Iterator[tuple[QMI_Context, QMI_Context]]:
    """A server and a client of it, connected."""
    with make_context("server", **settings) as server, QMI_Context("client", config(**settings)) as client:
        client.connect_to_peer("server", address(server))
        yield server, client


def address(context: QMI_Context) -> str:
    """Where to connect to."""
    return f"127.0.0.1:{context.get_tcp_server_port()}"


SERVER = """
import logging, qmi, threading, time
from qmi.core.context import QMI_Context
from tests.support.lab import address, config, make_context
from tests.support.actors import actor_of
from tests.support.devices import Bench
"""
"""What other processes of these tests import."""
