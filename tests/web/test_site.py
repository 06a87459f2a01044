"""Where the pages find contexts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from qmi.config.loader import load_config
from qmi.contexts.async_context import Context
from qmi.contexts.default import open_context
from qmi.errors import QMI_ConnectionException
from qmi.names import HostPort, Relay
from qmi.peers.connector import tcp_connect
from qmi.presenting.seen import Seen
from qmi.site.attendance import Attendance
from qmi.site.presence import Announcement, Present
from qmi.web import site as site_module
from qmi.web.site import Site
from tests.support.cli import write_lab
from tests.support.ports import free_port
from tests.support.site_lab import write_site


async def test_context_is_where_the_configuration_says_whoever_answers_to_its_name(tmp_path: Path) -> None:
    fixed = {"host": "127.0.0.1", "tcp_server_port": free_port()}
    config = write_lab(tmp_path, lab=fixed, spare={"tcp_server_port": 0})
    impostor = load_config(str(config))
    for context in impostor.contexts.values():
        context.tcp_server_port = 0
    async with (
        open_context("lab", config=impostor, init_logging=False),
        open_context("spare", config=impostor, init_logging=False),
        open_context("web", config=load_config(str(config)), init_logging=False) as web,
    ):
        site = Site(web)
        async with site.running():
            found = {seen.name: seen for seen in await site.look()}
            assert (await site.look_at("spare")).state == "running"
            assert (await site.look_at("lab")).state == "not running"
    assert str(found["lab"].address) == f"127.0.0.1:{fixed['tcp_server_port']}"


async def test_context_that_keeps_silent_holds_up_who_looks_first_and_nobody_after_him(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = 0.2
    monkeypatch.setattr(site_module, "NOT_LONGER", patience)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        config = write_lab(tmp_path, silent={"host": "127.0.0.1", "tcp_server_port": port})
        async with open_context("web", config=load_config(str(config)), init_logging=False) as web:
            site = Site(web)
            async with site.running():
                begin = trio.current_time()
                assert [seen.name for seen in await site.look(patience=patience)] == ["silent"]
                after = trio.current_time()
                assert after - begin > patience * 0.9
                for _ in range(20):
                    await site.look(patience=patience)
                assert trio.current_time() - after < 20 * patience


class AtTheSite:
    """Stands for the servers of a site: who is there is what a test says.

    Attributes:
        present: Who is there.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.present: list[Present] = []

        async def who(attendance: Attendance, pattern: str = "*") -> list[Present]:
            return self.present

        monkeypatch.setattr(Attendance, "is_up", True)
        monkeypatch.setattr(Attendance, "who", who)

    def announce(self, name: str, *hosts: str, port: int = 40001) -> None:
        """A context of another computer comes."""
        incarnation = f"{len(self.present):016x}"
        said = Announcement(name, incarnation, 1.5e9, hosts, port, "another", 4711, "1.0", ())
        self.present = [*self.present, Present(name, incarnation, 1.5e9, said)]


async def look(site: Site, monkeypatch: pytest.MonkeyPatch) -> dict[str, Seen]:
    """What is seen once the network and the site have been asked anew."""
    if site._discovering is not None:
        await site._discovering.wait()
    with monkeypatch.context() as patch:
        patch.setattr(site_module, "DISCOVER_EVERY", -1.0)
        await site._discover(wait=False)
    assert site._discovering is not None
    await site._discovering.wait()
    return {seen.name: seen for seen in await site.look()}


async def test_context_of_the_site_that_nothing_leads_to_is_shown_as_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunnel = free_port()
    contexts = {"near": {"tcp_server_port": 0}, "fixed": {"tcp_server_port": tunnel}, "web": {}}
    config = load_config(str(write_site(tmp_path, contexts=contexts)))
    servers = AtTheSite(monkeypatch)
    async with open_context("web", config=config, init_logging=False) as web:
        site = Site(web)
        for name in ("far", "near", "fixed", "web"):
            servers.announce(name, "127.0.0.1")
        servers.announce("desk", port=0)  # it listens nowhere: nobody connects to it
        async with site.running():
            found = await look(site, monkeypatch)
            assert {name: seen.state for name, seen in found.items()} == dict.fromkeys(
                ("far", "near", "fixed"), "out of reach"
            )
            assert "do not lead there" in found["far"].why
            assert [str(found[name].address) for name in ("far", "fixed")] == ["None", f"127.0.0.1:{tunnel}"]
            assert (found["far"].configured, found["near"].configured) == (False, True)
            with pytest.raises(QMI_ConnectionException, match="'far' is out of reach: it is at the site"):
                await site.connect("far")
            assert (await site.look_at("far")).state == "out of reach"

            servers.present = []
            found = await look(site, monkeypatch)
            assert {seen.state for seen in found.values()} == {"not running"}
            assert (found["far"].why, found["far"].since is None) == ("it has left the site", False)


async def test_context_that_was_out_of_reach_is_asked_when_something_leads_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(str(write_site(tmp_path, contexts={"srv": {"tcp_server_port": 0}, "web": {}})))
    servers = AtTheSite(monkeypatch)
    servers.announce("srv", "127.0.0.1")
    async with open_context("web", config=config, init_logging=False) as web:
        site = Site(web)
        async with site.running():
            assert (await look(site, monkeypatch))["srv"].state == "out of reach"
            async with open_context("srv", config=config, init_logging=False):
                await look(site, monkeypatch)
                seen = await site.look_at("srv")
                assert (seen.state, seen.why, seen.since) == ("running", "", None)


async def test_context_that_leaves_while_the_site_is_asked_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(str(write_site(tmp_path, contexts={"web": {}})))
    servers = AtTheSite(monkeypatch)
    servers.announce("far", "127.0.0.1")
    async with open_context("web", config=config, init_logging=False) as web:
        site = Site(web)
        async with site.running():
            assert (await look(site, monkeypatch))["far"].state == "out of reach"
            out_of_reach = Attendance.out_of_reach

            async def leave(attendance: Attendance) -> list[str]:
                answer = await out_of_reach(attendance)
                servers.present = []
                site._left("far", "0" * 16)
                return answer

            with monkeypatch.context() as patch:
                patch.setattr(Attendance, "out_of_reach", leave)
                await look(site, monkeypatch)
            if (again := site._discovering) is not None:  # look() has asked anew, as the next second would
                await again.wait()
            assert site.find("far").state == "not running"


class ByOneServer:
    """Stands for links through the servers of a site, to one context.

    Args:
        context: The context.
    """

    where = Relay("192.0.2.1", 4222)

    def __init__(self, context: Context) -> None:
        self._context = context

    async def find(self, name: str) -> Relay | None:
        return self.where

    async def only_by_it(self, pattern: str) -> list[tuple[str, Relay]]:
        return [(self._context.name, self.where)]

    async def stop(self) -> None:
        pass

    async def open(self, name: str) -> tuple[socket.socket, Relay] | None:
        return await tcp_connect(HostPort("127.0.0.1", self._context.connections.port), 5.0), self.where


async def test_context_that_only_the_servers_lead_to_is_asked_through_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_lab(tmp_path, far={"host": "127.0.0.1", "tcp_server_port": 0}, web={})
    elsewhere = load_config(str(config))
    elsewhere.discovery.port = free_port()
    async with (
        open_context("far", config=load_config(str(config)), init_logging=False) as far,
        open_context("web", config=elsewhere, init_logging=False) as web,
    ):
        web.connections.relay = ByOneServer(far)
        site = Site(web)
        async with site.running():
            await look(site, monkeypatch)
            seen = await site.look_at("far")
    assert (seen.state, seen.why, str(seen.address)) == ("running", "", "relay 192.0.2.1:4222")
    assert seen.status is not None
