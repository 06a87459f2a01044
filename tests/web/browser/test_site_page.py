"""The page of the laboratory in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.support.web_lab import Pages


@pytest.mark.slow
def test_site_page_shows_contexts_and_finds_objects(page: Page, pages: Pages) -> None:
    page.goto(pages.url)
    lab = page.get_by_role("region", name="lab", exact=True)
    expect(lab).to_contain_text("running")
    chiller = lab.get_by_role("row", name="chiller")
    expect(chiller).to_contain_text("failed")
    expect(chiller).to_contain_text("the chiller does not answer")
    cryostat = page.get_by_role("region", name="cryostat")
    expect(cryostat).to_contain_text("not running")
    expect(cryostat).to_contain_text("nothing listens there")
    laser = page.get_by_role("region", name="optics").get_by_role("row", name="laser")
    expect(laser).to_contain_text("alignment until 18:00")

    page.keyboard.press("/")
    page.keyboard.type("align")
    expect(laser).to_be_visible()
    expect(lab).to_have_count(0)
    expect(page.get_by_text(re.compile(r"^1 of \d+ objects"))).to_be_visible()
    page.get_by_label("Search").fill("")

    page.get_by_role("button", name="failed").click()
    expect(page.get_by_role("button", name="failed")).to_have_attribute("aria-pressed", "true")
    expect(chiller).to_be_visible()
    expect(lab.get_by_role("row", name="supply")).to_have_count(0)
