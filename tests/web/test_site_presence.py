"""Pages of a laboratory with a site: its servers say who is there, also where the network is not asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qmi.config.loader import load_config
from qmi.contexts.default import open_context
from qmi.site.attendance import Attendance
from qmi.site.presence import Announcement
from qmi.web.options import Options
from tests.support.ports import free_port
from tests.support.site_lab import site, write_site
from tests.support.web import pushed, web_of

pytestmark = pytest.mark.slow


MEMBER = """
import sys
import qmi
qmi.start("member", sys.argv[1])
print("here", flush=True)
sys.stdin.read()
"""


def _elsewhere(config: Path) -> Path:
    """The configuration of a computer whose questions to the network nobody hears."""
    content = json.loads(config.read_text())
    content["discovery"]["port"] = free_port()
    path = config.with_name("elsewhere.conf")
    path.write_text(json.dumps(content))
    return path


async def test_context_of_the_site_is_shown_wherever_it_is_and_one_that_is_killed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = {"host": "127.0.0.1", "tcp_server_port": 0}
    config = write_site(tmp_path, contexts={"srv": served, "member": served})
    with site(config):
        here = _elsewhere(config)
        options = Options(bind="127.0.0.1:0", dashboards=str(tmp_path / "boards"))
        async with (
            open_context("lab", config=load_config(str(here)), init_logging=False) as lab,
            web_of(here, lab, options) as web,
            pushed(web, "site") as browser,
        ):

            def state(found: Any) -> str:
                return next((str(seen["state"]) for seen in found if seen["name"] == "member"), "")

            command = [sys.executable, "-c", MEMBER, str(config)]
            with subprocess.Popen(command, stdin=subprocess.PIPE) as program:
                await browser.until("site", lambda found: state(found) == "running")
                # It is asked no more by and by: the servers of the site tell.
                monkeypatch.setattr("qmi.web.site.ASK_EVERY", 600.0)
                program.kill()
                await browser.until("site", lambda found: state(found) == "not running")


@pytest.mark.parametrize(("relay", "state", "address"), [(False, "out of reach", "None"), (True, "running", "relay ")])
async def test_context_of_the_site_without_a_route_is_shown_out_of_reach_or_by_its_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relay: bool, state: str, address: str
) -> None:
    of_this_computer = Attendance._announcement

    def announcement(attendance: Attendance) -> Announcement:
        said = of_this_computer(attendance)
        return said._replace(machine="another") if said.context == "far" else said

    monkeypatch.setattr(Attendance, "_announcement", announcement)
    config = write_site(tmp_path, contexts={"far": {"host": "127.0.0.1", "tcp_server_port": 0}}, site={"relay": relay})
    with site(config):
        here = _elsewhere(config)
        content = json.loads(here.read_text())
        del content["contexts"]["far"]
        here.write_text(json.dumps(content))
        options = Options(bind="127.0.0.1:0", dashboards=str(tmp_path / "boards"))
        async with (
            open_context("lab", config=load_config(str(here)), init_logging=False) as lab,
            web_of(here, lab, options) as web,
            pushed(web, "site") as browser,
        ):

            def seen(found: Any) -> tuple[str, str]:
                return next(
                    ((str(one["state"]), str(one["address"])) for one in found if one["name"] == "far"), ("", "")
                )

            async with open_context("far", config=load_config(str(config)), init_logging=False):
                found = await browser.until("site", lambda found: seen(found)[0] == state)
                assert seen(found)[1].startswith(address)
                (told,) = [one for one in (await web.client.get("/api/contexts")).json() if one["name"] == "far"]
                assert (told["state"], told["status"] is None) == (state, not relay)
            await browser.until("site", lambda found: seen(found)[0] == "not running")
