from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qmi.actors.context_object import ContextObject, RpcObjectDescriptor
from qmi.actors.future import call_blocking
from qmi.actors.interface import Interface
from qmi.config.loader import load_config
from qmi.config.schema import CfgContext, CfgDiscovery, CfgQmi
from qmi.core.context import QMI_Context
from qmi.core.rpc import QMI_RpcObject
from qmi.errors import QMI_RuntimeException, QMI_UnknownRpcException
from qmi.names import Address, HostPort
from qmi.net.discovery.packets import reply_to
from qmi.proc.control_client import SocketLink
from qmi.proc.control_protocol import FoundContext
from qmi.proc.network_scan import NetworkDiscovery
from tests.support.ports import free_port
from tests.support.site_lab import site, write_site

DESCRIPTOR = RpcObjectDescriptor(Address("srv", "nsg"), "instrument", Interface("my.module.Driver"))


class Plain(QMI_RpcObject):
    """An object."""


@pytest.fixture
def config_of_lab() -> CfgQmi:
    """A configuration for a context that only this test sees."""
    discovery = CfgDiscovery(port=free_port(), broadcast_addresses=["127.255.255.255"], timeout=0.1)
    return CfgQmi(contexts={"srv": CfgContext(host="127.0.0.1", tcp_server_port=0)}, discovery=discovery)


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


def test_call_of_an_unknown_method_says_so_and_any_other_error_stays_one_of_the_link(
    config_of_lab: CfgQmi,
) -> None:
    link = SocketLink(config_of_lab)
    with QMI_Context("srv", config_of_lab) as context:
        where = HostPort("127.0.0.1", context.get_tcp_server_port())
        with pytest.raises(QMI_UnknownRpcException):
            link.call("srv", where, "no_such_method", timeout=10)
        with pytest.raises(QMI_RuntimeException, match="It failed there"):
            link.call("srv", where, "get_version", timeout=10, nonsense=1)


def test_context_of_an_older_version_says_what_is_in_it(config_of_lab: CfgQmi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ContextObject, "list_objects")
    with QMI_Context("srv", config_of_lab) as context:
        context.make_rpc_object("nsg", Plain)
        [seen] = NetworkDiscovery(config_of_lab).find("default", timeout=10)
    assert seen.objects == (("nsg", f"{__name__}.Plain"),)


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


@pytest.mark.slow
def test_contexts_of_the_site_are_found_with_those_of_the_network(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    silent = {"enabled": False, "port": free_port(), "broadcast_addresses": [], "timeout": 0.05}
    config = load_config(write_site(tmp_path, discovery=silent))
    with site(config), QMI_Context("srv", config) as context:
        membership = context.async_context.at_site.membership
        assert membership is not None
        context.make_rpc_object("plain", Plain)
        assert call_blocking(context.async_context.run(membership.attendance._announce), 20.0)
        (there,) = NetworkDiscovery(config).find("lab1", timeout=10.0)
        assert (there.name, there.address.port) == ("srv", context.get_tcp_server_port())
        assert there.objects is not None
        assert "plain" in dict(there.objects)
        assert NetworkDiscovery(config).find("another", timeout=10.0) == []
    assert NetworkDiscovery(config).find("lab1", timeout=10.0) == []
    assert "The site was not asked for contexts" in caplog.text
