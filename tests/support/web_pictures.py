"""Pictures of the pages, for their documentation: ``python -m tests.support.web_pictures FOLDER [--all]``."""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.web_lab import Pages, served_lab

CHROMIUM = "/usr/bin/chromium"
WIDE, NARROW = (1280, 800), (390, 800)
DOCUMENTED = {"web-laboratory": "/", "web-instrument": "/o/lab/supply"}


@contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium of this computer, for the length of the block."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield found
        finally:
            found.close()


def picture(found: Browser, pages: Pages, path: str, file: Path, size: tuple[int, int], scheme: str = "light") -> None:
    """Take a picture of a page when it shows what it has, for somebody who is logged in."""
    page = found.new_page(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    failed: list[str] = []
    page.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.goto(f"{pages.url}login?next={quote(path)}#token={pages.token}")
    page.wait_for_url(pages.url + path.lstrip("/"))
    settle(page)
    page.screenshot(path=file, full_page=True)
    page.close()
    for text in failed:
        print(f"{file.name}: {text}")


def settle(page: Page) -> None:
    """Wait until a page shows live values."""
    page.wait_for_timeout(2500)


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", nargs="+", metavar="PATH", help="these pages, wide and narrow, light and dark")
    arguments = parser.parse_args()
    logging.getLogger().addHandler(logging.NullHandler())  # the log of the laboratory is shown, not printed
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served_lab(Path(folder)) as pages, browser() as found:
        if arguments.all:
            for path in arguments.all:
                name = path.strip("/").replace("/", "-") or "site"
                for size in (WIDE, NARROW):
                    for scheme in ("light", "dark"):
                        file = arguments.folder / f"{name}-{size[0]}-{scheme}.png"
                        picture(found, pages, path, file, size, scheme)
            return
        for name, path in DOCUMENTED.items():
            picture(found, pages, path, arguments.folder / f"{name}.png", WIDE)


if __name__ == "__main__":
    main()
