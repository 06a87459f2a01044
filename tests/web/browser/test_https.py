"""The pages by HTTPS in a Chromium that trusts the laboratory's own authority, and in one that does not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from qmi.tools.certs import main
from qmi.web.options import Options
from tests.support.web_browser import log_in
from tests.support.web_lab import Pages, served_lab
from tests.support.web_pictures import CHROMIUM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the documentation has people make."""
    folder = tmp_path_factory.mktemp("certificates")
    assert main(["-d", str(folder), "ca"]) == 0
    assert main(["-d", str(folder), "cert", "web", "--host", "localhost", "--host", "127.0.0.1"]) == 0
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Pages]:
    """The pages of a laboratory by HTTPS, where reading needs a login."""
    folder = tmp_path_factory.mktemp("pages")
    options = Options(
        bind="127.0.0.1:0", certificate=str(certificates / "web.pem"), key=str(certificates / "web.key"),
        public_reading=False, dashboards=str(folder / "boards"),
    )  # fmt: skip
    with served_lab(folder, options) as served:
        yield served


@pytest.fixture(scope="module")
def trusting(chromium: Browser, tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Browser]:
    """A Chromium of somebody who trusts the authority of the laboratory."""
    if not shutil.which("certutil"):
        pytest.skip("needs certutil (libnss3-tools), by which people have Chromium trust an authority")
    home = tmp_path_factory.mktemp("home")
    store = home / ".pki" / "nssdb"
    store.mkdir(parents=True)
    certutil = ["certutil", "-d", f"sql:{store}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True)
    subprocess.run([*certutil, "-A", "-t", "C,,", "-n", "lab", "-i", str(certificates / "ca.pem")], check=True)
    environment: dict[str, str | float | bool] = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    found = chromium.browser_type.launch(executable_path=CHROMIUM, args=["--no-sandbox"], env=environment)
    yield found
    found.close()


def test_chromium_that_trusts_the_authority_shows_and_changes(trusting: Browser, pages: Pages) -> None:
    page = trusting.new_page(reduced_motion="reduce")
    page.set_default_timeout(20_000)
    page.goto(pages.url)
    assert "/login" in page.url
    log_in(page, pages, "/o/lab/spare")
    assert page.evaluate("window.isSecureContext")
    assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    (cookie,) = page.context.cookies()
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    row = page.get_by_role("row", name="voltage Voltage to hold")
    row.get_by_role("button", name="Change").or_(row.get_by_role("button", name="—")).click()
    row.get_by_label("voltage in V").fill("2")
    row.get_by_label("voltage in V").press("Enter")
    expect(row.get_by_role("button", name="voltage: 2 V. Change")).to_be_focused()
    assert pages.lab.get_instrument("spare").parameters.voltage.get() == 2
    pages.lab.get_instrument("spare").parameters.voltage.set(3)
    expect(row).to_contain_text("3 V")  # by a push


def test_chromium_that_does_not_trust_it_shows_nothing(page: Page, pages: Pages) -> None:
    with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        page.goto(pages.url)
