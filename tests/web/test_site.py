"""Where the pages find contexts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from qmi.config.loader import load_config
from qmi.contexts.default import open_context
from qmi.web import site as site_module
from qmi.web.site import Site
from tests.support.cli import write_lab
from tests.support.ports import free_port


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
