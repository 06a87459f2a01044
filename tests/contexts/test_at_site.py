"""Contexts at a site, by its real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qmi.config.loader import load_config
from qmi.core.context import QMI_Context
from qmi.core.rpc import QMI_RpcObject, rpc_method
from qmi.errors import QMI_ConnectionException, QMI_PeerNotFoundException
from qmi.proc.site_server import SiteServer
from qmi.site.server_config import SERVER_NAME
from tests.support.ports import free_port
from tests.support.site_lab import kill, make_certificates, site, write_site
from tests.support.waiting import wait_until

SILENT = {"enabled": False, "port": free_port(), "broadcast_addresses": [], "timeout": 0.05}
"""Nobody answers on the network, as across a router."""


class Psu(QMI_RpcObject):
    @rpc_method
    def get_volts(self) -> float:
        return 1.5


def context(path: Path, name: str) -> QMI_Context:
    return QMI_Context(name, load_config(path))


def said(asking: QMI_Context, name: str) -> list[str] | None:
    """Names of the objects that a context has said that it has; None if it has not said anything."""
    membership = asking.async_context.at_site.membership
    assert membership is not None
    found = asking._run("who()", membership.attendance.who, name)
    return [entry[0] for present in found if present.said is not None for entry in present.objects] or None


def is_up(one: QMI_Context) -> bool:
    membership = one.async_context.at_site.membership
    return membership is not None and membership.client.is_up


@pytest.mark.slow
def test_context_without_a_site_imports_nothing_of_it() -> None:
    program = "import sys, qmi; qmi.start('lab', None); qmi.stop(); print([m for m in sys.modules if 'qmi.site' in m])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True])
def test_context_is_found_at_the_site(tls: bool, tmp_path: Path) -> None:
    make_certificates(tmp_path, SERVER_NAME, "srv", "lab")
    contexts = {"srv": {"host": "127.0.0.1", "tcp_server_port": 0}, "lab": {}}
    path = write_site(tmp_path, tls=tls, discovery=SILENT, contexts=contexts)
    with site(path), context(path, "srv") as srv, context(path, "lab") as lab:
        srv.make_rpc_object("psu", Psu)
        wait_until(lambda: said(lab, "srv") == ["psu"])
        port = srv.get_tcp_server_port()
        assert lab.discover_peer_contexts() == [("srv", f"127.0.0.1:{port}")]
        assert lab.discover_peer_contexts(context_name_filter="x*") == []
        assert lab.discover_peer_contexts("another_workgroup") == []
        assert lab.get_rpc_object("srv.psu", auto_connect=True).get_volts() == 1.5
        srv.remove_rpc_object(srv.get_rpc_object("psu"))
        wait_until(lambda: said(lab, "srv") is None)


@pytest.mark.slow
def test_context_that_was_stopped_is_found_no_more(tmp_path: Path) -> None:
    path = write_site(tmp_path, discovery=SILENT)
    with site(path), context(path, "lab") as lab:
        with context(path, "srv"):
            wait_until(lambda: len(lab.discover_peer_contexts()) == 1)
        wait_until(lambda: lab.discover_peer_contexts() == [])
        with pytest.raises(QMI_PeerNotFoundException, match="'srv' was not found"):
            lab.connect_to_peer("srv")


@pytest.mark.slow
def test_context_goes_on_without_its_server_and_is_there_when_it_comes(tmp_path: Path) -> None:
    path = write_site(tmp_path, discovery=SILENT)
    config = load_config(path)
    server = SiteServer(config, config.site.addresses[0])
    with context(path, "srv") as srv, context(path, "lab") as lab:
        srv.make_rpc_object("psu", Psu)
        assert lab.discover_peer_contexts() == []
        try:
            server.start()
            wait_until(lambda: is_up(srv) and is_up(lab))
            assert server.make_streams(20.0)  # after everybody has connected, as at the very first start
            wait_until(lambda: len(lab.discover_peer_contexts()) == 1)
            kill(server)
            wait_until(lambda: lab.discover_peer_contexts() == [])
            server.start()
            wait_until(lambda: len(lab.discover_peer_contexts()) == 1)
        finally:
            kill(server)


@pytest.mark.slow
def test_site_that_is_required_is_named_when_it_is_not_there(tmp_path: Path) -> None:
    server = f"127.0.0.1:{free_port()}"
    path = write_site(
        tmp_path, site={"servers": [f"nats://{server}"], "required": True}, limits={"connect_timeout": 0.3}
    )
    with (
        pytest.raises(QMI_ConnectionException, match=rf"no server of its site, which is required.*{server}"),
        context(path, "srv"),
    ):
        pass
