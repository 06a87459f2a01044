"""A laboratory with a site on loopback: its configuration, certificates, and servers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from qmi.config.loader import load_config
from qmi.config.schema import CfgQmi, CfgSecurity
from qmi.proc.process import wait_gone
from qmi.proc.site_server import SiteServer, servers_here
from qmi.tools.certs import make_ca, make_certificate
from tests.support.ports import free_port

WORKGROUP = "lab1"


def make_certificates(folder: Path, *names: str, workgroup: str = WORKGROUP) -> None:
    """Make certificates for contexts (``*``: for any), and the authority if there is none."""
    if not (folder / "ca.pem").exists():
        make_ca(folder)
    for name in names:
        make_certificate(folder, name, workgroup=workgroup)


def files_of(folder: Path, stem: str) -> CfgSecurity:
    """The files for TLS of one certificate."""
    return CfgSecurity(
        ca=str(folder / "ca.pem"), certificate=str(folder / f"{stem}.pem"), key=str(folder / f"{stem}.key")
    )


def write_site(folder: Path, *, servers: int = 1, tls: bool = False, **sections: object) -> Path:
    """Write a configuration with a site on free ports.

    Args:
        folder: Where to.
        servers: How many servers the site has.
        tls: Whether certificates tell who is who; they are those in the folder.
        sections: Further sections; those of ``site`` are added to the servers.
    """
    site = {"servers": [f"nats://127.0.0.1:{free_port()}" for _ in range(servers)]}
    site.update(sections.pop("site", {}))  # type: ignore[call-overload]
    content: dict[str, object] = {
        "workgroup": WORKGROUP,
        "qmi_home": str(folder / "home"),
        "logging": {"console_loglevel": "CRITICAL", "logfile": None},
        "discovery": {"port": free_port(), "broadcast_addresses": ["127.255.255.255"], "timeout": 0.1},
        "contexts": {"srv": {"host": "127.0.0.1", "tcp_server_port": 0}},
        "site": site,
        **sections,
    }
    if tls:
        content["security"] = {"ca": "ca.pem", "certificate": "${context}.pem", "key": "${context}.key"}
    path = folder / "qmi.conf"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@contextmanager
def site(config: Path | CfgQmi) -> Iterator[Sequence[SiteServer]]:
    """The servers of a configuration, started, and what they keep made; ended by their process ids."""
    loaded = config if isinstance(config, CfgQmi) else load_config(config)
    servers = [SiteServer(loaded, address) for address in servers_here(loaded)]
    try:
        for server in servers:
            server.start()
        assert servers[-1].make_streams(30.0)
        yield servers
    finally:
        for server in servers:
            kill(server)


def kill(server: SiteServer) -> None:
    """End a server as a power cut would."""
    process = server.process()
    if process is not None:
        os.kill(process.pid, signal.SIGKILL)
        assert wait_gone(process, 30.0)
        assert server.wait_free(30.0)
