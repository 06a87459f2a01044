"""A program with many contexts, each connected to context "bench": that one has as many links as there are."""

from __future__ import annotations

import resource
import sys
from typing import Any

from qmi.core.context import QMI_Context


def main(arguments: list[str]) -> None:
    """Connect, say so, and stay until the input ends."""
    address, count = arguments
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    contexts: list[Any] = []
    for number in range(int(count)):
        context = _context(f"peer{number}")
        context.start()
        context.connect_to_peer("bench", address)
        contexts.append(context)
    print("connected", flush=True)
    sys.stdin.read()


def _context(name: str) -> Any:
    from qmi.core.config_defs import CfgQmi

    try:
        from qmi.core.config_defs import CfgDiscovery
    except ImportError:
        return QMI_Context(name, CfgQmi())
    return QMI_Context(name, CfgQmi(discovery=CfgDiscovery(enabled=False)))
