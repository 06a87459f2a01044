"""A lock that two people want, each with a browser: who holds it sees who asks, and who asks sees what came of that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from qmi.web.options import Options
from qmi.web.users import Users
from tests.support.waiting import wait_until
from tests.support.web_browser import log_in_as
from tests.support.web_lab import Laser, Pages, served_lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """The pages of a laboratory that two users may change."""
    folder = tmp_path_factory.mktemp("pages")
    users = Users(folder / "users")
    users.add("alice", "correct horse")
    users.add("bob", "battery staple")
    options = Options(bind="127.0.0.1:0", users=str(users.path), dashboards=str(folder / "boards"))
    with served_lab(folder, options) as served:
        yield served


@pytest.fixture
def other(chromium: Browser) -> Iterator[Page]:
    """The browser of somebody else."""
    context = chromium.new_context(reduced_motion="reduce")
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


def ask(page: Page, reason: str) -> None:
    page.get_by_role("region", name="Lock", exact=True).get_by_role("button", name="Ask for it").click()
    page.get_by_role("dialog").get_by_label("Why").fill(reason)
    page.get_by_role("dialog").get_by_role("button", name="Ask", exact=True).click()


def test_holder_of_a_lock_is_shown_who_asks_and_unlocks_or_keeps_it(page: Page, other: Page, pages: Pages) -> None:
    alice, bob = page, other
    log_in_as(alice, pages, "alice", "correct horse", "/o/lab/spare")
    lock = alice.get_by_role("region", name="Lock", exact=True)
    lock.get_by_label("Reason").fill("alignment")
    lock.get_by_role("button", name="Lock").click()
    expect(lock.get_by_role("button", name="Release")).to_be_visible()
    alice.goto(f"{pages.url}runs")  # wherever she is
    expect(alice.locator("#connection")).to_have_attribute("data-state", "live")
    log_in_as(bob, pages, "bob", "battery staple", "/o/lab/spare")
    wanted = bob.get_by_role("region", name="Lock", exact=True)
    ask(bob, "calibration at noon")
    asked = alice.locator("#asked")
    expect(asked).to_contain_text("bob asks for the lock on lab.spare: “calibration at noon” since")
    expect(wanted.get_by_role("status")).to_contain_text("It was shown to alice at")
    asked.get_by_role("button", name="Keep lab.spare").click()
    expect(asked).to_be_hidden()
    expect(wanted.get_by_role("status")).to_contain_text("alice keeps it")
    ask(bob, "now, please")
    expect(asked).to_contain_text("now, please")
    asked.get_by_role("button", name="Unlock lab.spare now").click()
    expect(asked).to_be_hidden()
    expect(wanted).to_contain_text("Nobody has locked it")


def test_holder_without_a_page_is_shown_what_was_asked_when_there_is_one(page: Page, other: Page, pages: Pages) -> None:
    alice, bob = page, other
    log_in_as(alice, pages, "alice", "correct horse", "/o/lab/supply")
    alice.get_by_role("region", name="Lock", exact=True).get_by_role("button", name="Lock").click()
    expect(alice.get_by_role("button", name="Release")).to_be_visible()
    alice.goto("about:blank")
    log_in_as(bob, pages, "bob", "battery staple", "/o/lab/supply")
    ask(bob, "")
    told = bob.get_by_role("region", name="Lock", exact=True).get_by_role("status")
    expect(told).to_contain_text("It has not been shown to alice yet")
    alice.goto(pages.url)
    expect(alice.locator("#asked")).to_contain_text("bob asks for the lock on lab.supply")
    expect(told).to_contain_text("It was shown to alice at")
    bob.get_by_role("button", name="Take over").click()
    bob.get_by_role("dialog").get_by_label("Why").fill("the water is off")
    bob.get_by_role("dialog").get_by_role("button", name="Take over").click()
    expect(alice.locator("#asked")).to_contain_text("bob has taken the lock on lab.supply: “the water is off”")
    alice.get_by_role("button", name="Close what is said of lab.supply").click()
    expect(alice.locator("#asked")).to_be_hidden()
    bob.get_by_role("button", name="Release").click()
    expect(bob.get_by_role("region", name="Lock", exact=True)).to_contain_text("Nobody has locked it")


def test_program_that_holds_a_lock_is_told_and_the_page_says_no_more_than_that(page: Page, pages: Pages) -> None:
    mirror = pages.optics.make_instrument("mirror", Laser)
    requests: list[object] = []
    pages.optics.on_lock_request(requests.append)
    mirror.reserve("alignment until 18:00")
    log_in_as(page, pages, "bob", "battery staple", "/o/optics/mirror")
    ask(page, "a quick look")
    told = page.get_by_role("region", name="Lock", exact=True).get_by_role("status")
    expect(told).to_contain_text("was told at")
    expect(told).to_contain_text("whether somebody sees it is not known")
    assert "a quick look (bob)" in str(wait_until(lambda: requests)[0])
    mirror.unlock()
    pages.optics.remove_rpc_object(mirror)
