"""Where the pages find contexts."""

from __future__ import annotations

from pathlib import Path

from qmi.config.loader import load_config
from qmi.contexts.default import open_context
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
