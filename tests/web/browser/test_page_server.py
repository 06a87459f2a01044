"""What a person sees when the server of the pages is killed or frozen, in a browser."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.served_pages import served, until_said

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_page_says_that_its_server_is_away_and_comes_back_with_another_one(
    page: Page, home: Path, how: signal.Signals
) -> None:
    with served(home) as (lab, out):
        until_said(out, "lab: pages at http")
        page.goto(str(lab.client.base_url))
        connection = page.locator("#connection")
        expect(connection).to_have_attribute("data-state", "live")
        os.kill(lab.pages(), how)
        expect(connection).to_contain_text("Not connected since", timeout=60_000)
        until_said(out, "lab: pages at http")
        expect(connection).to_contain_text("Was away for", timeout=60_000)
        expect(page.get_by_role("row", name="counter")).to_contain_text("running")
