"""Laboratories that come up from their configuration file, by ``qmi_proc`` in real programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qmi.proc.cli import Environment, run
from qmi.proc.control_client import SocketLink
from qmi.proc.launch import Times
from qmi.proc.network_scan import NetworkDiscovery
from tests.support.lab import DISCOVERY_PORT, LOOPBACK_BROADCAST
from tests.support.ports import free_port
from tests.support.proc import ROOT

OUTSIDE = Environment(SocketLink, NetworkDiscovery, times=Times(ask=10.0))


def configure(home: Path, **contexts: dict[str, Any]) -> Path:
    """Write a configuration of contexts that ``qmi_proc`` may start."""
    path = home / "qmi.conf"
    common = {"host": "127.0.0.1", "enabled": True, "python_path": str(ROOT)}
    content = {
        "discovery": {"port": DISCOVERY_PORT, "broadcast_addresses": [LOOPBACK_BROADCAST]},
        "contexts": {name: {**common, "tcp_server_port": free_port(), **own} for name, own in contexts.items()},
    }
    path.write_text(json.dumps(content))
    return path


def says(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run ``qmi_proc``: its exit code, and all that it prints."""
    code = run(OUTSIDE, list(arguments))
    return code, "".join(capsys.readouterr())
