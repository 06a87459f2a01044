from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from qmi.actors.context_object import RpcObjectDescriptor
from qmi.actors.interface import Interface
from qmi.config.schema import CfgDiscovery, CfgQmi
from qmi.errors import QMI_RuntimeException
from qmi.names import Address, HostPort
from qmi.net.discovery.packets import reply_to
from qmi.proc.control_client import SocketLink
from qmi.proc.control_protocol import FoundContext
from qmi.proc.network_scan import NetworkDiscovery

DESCRIPTOR = RpcObjectDescriptor(Address("srv", "nsg"), "instrument", Interface("my.module.Driver"))


def found(monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any], packets: int = 1) -> list[FoundContext]:
    """Answer the question so many times; what the context says of itself comes from a function."""
    monkeypatch.setattr(SocketLink, "call", call)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as responder:
        responder.bind(("127.0.0.1", 0))
        responder.settimeout(10)
        port = responder.getsockname()[1]

        def respond() -> None:
            data, asker = responder.recvfrom(2000)
            responder.sendto(b"junk", asker)
            for _ in range(packets):
                answer = reply_to(
                    data, asker_host=asker[0], name="srv", workgroup="lab", host="", port=4001, version="1.0", pid=12
                )
                assert answer is not None
                responder.sendto(answer, asker)

        thread = threading.Thread(target=respond)
        thread.start()
        settings = CfgDiscovery(port=port, broadcast_addresses=["127.0.0.1", "0.0.0.1"], timeout=0.15)
        contexts = NetworkDiscovery(CfgQmi(discovery=settings)).find("lab", timeout=2.0)
        thread.join(10)
    return list(contexts)


def test_a_context_is_found_once_with_what_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = found(monkeypatch, lambda *args, **kwargs: [DESCRIPTOR], packets=3)
    expected = FoundContext("srv", HostPort("127.0.0.1", 4001), 12, "1.0", (("nsg", "my.module.Driver"),))
    assert contexts == [expected]


def refuse(*args: object, **kwargs: object) -> None:
    raise QMI_RuntimeException("no")


@pytest.mark.parametrize("call", [refuse, lambda *args, **kwargs: 7, lambda *args, **kwargs: [SimpleNamespace()]])
def test_a_context_that_does_not_tell_what_is_in_it_is_found_all_the_same(
    monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]
) -> None:
    [context] = found(monkeypatch, call)
    assert context.objects is None
    assert context.name == "srv"


def test_scan_finds_nobody_where_nobody_is() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        settings = CfgDiscovery(port=silent.getsockname()[1], broadcast_addresses=["127.0.0.1"], timeout=0.05)
        assert NetworkDiscovery(CfgQmi(discovery=settings)).find("lab", timeout=2.0) == []
