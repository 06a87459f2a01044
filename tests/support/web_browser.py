"""What tests of the pages do in a browser."""

from __future__ import annotations

from urllib.parse import quote

from playwright.sync_api import Page

from tests.support.web_lab import Pages


def log_in(page: Page, pages: Pages, path: str = "/") -> None:
    """Show a page to somebody who may change things."""
    page.goto(f"{pages.url}login?next={quote(path)}#token={pages.token}")
    page.wait_for_url(pages.url + path.lstrip("/"))


def until(page: Page, condition: str) -> None:
    """Wait until something is true in a page. Playwright's own way needs eval, which the pages forbid."""
    waiting = (
        "async () => {{ const end = Date.now() + 20000; while (!({})) {{ if (Date.now() > end) throw Error('{}'); "
    )
    waiting += "await new Promise((done) => setTimeout(done, 20)); }} }}"
    page.evaluate(waiting.format(condition, "it does not become true"))


def log_in_as(page: Page, pages: Pages, user: str, password: str, path: str = "/") -> None:
    """Show a page to a user of the file of users."""
    page.goto(f"{pages.url}login?next={quote(path)}")
    page.get_by_label("Name").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(pages.url + path.lstrip("/"))
