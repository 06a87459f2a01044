"""Pictures of the pages, for their documentation: ``python -m tests.support.web_pictures FOLDER [--all]``."""

from __future__ import annotations

import argparse
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.web_bench import Bench, bench_program
from tests.support.web_lab import Pages, served_lab

CHROMIUM = "/usr/bin/chromium"
WIDE, NARROW = (1280, 800), (390, 800)
TALLEST = 1100
"""What is below this is cut off, in pixels."""
_PLOTS = (
    "/plots?plot=bench.source.voltage,bench.meter.current@10&value=lab.supply.current&value=bench.source.voltage"
    "&plot=lab.hold.sig_temperature[0],!lab.hold.sig_temperature[1]@10w"
)
DOCUMENTED = {
    "web-laboratory": ("/", "light"),
    "web-instrument": ("/o/bench/source", "light"),
    "web-scans": ("/scans", "light"),
    "web-run": ("/runs/{live}?context=bench", "dark"),
    "web-plots": (_PLOTS, "dark"),
}
"""The pictures of the documentation: which page, and in which colours."""


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
    if "/o/bench/" in path:
        page.get_by_role("button", name="Plot load").click()
    settle(page)
    height = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST)
    page.screenshot(path=file, full_page=True, clip={"x": 0, "y": 0, "width": size[0], "height": height})
    page.close()
    for text in failed:
        print(f"{file.name}: {text}")


def settle(page: Page) -> None:
    """Wait until a page shows live values."""
    page.wait_for_timeout(9000 if "/plots" in page.url else 3000)


def measure(bench: Bench) -> str:
    """Have the other program scan, with more scans behind that, and keep the traffic; returns the id of the run."""
    bench.make(
        "qmi.context().get_rpc_object('bench.$traffic').start_traffic('source')\n"
        "slow_scan(source, meter, 20, 0.0, run='test').submit('bench.scans', comment='wiring').wait()\n"
        "live = slow_scan(source, meter, 200, 0.1).submit('bench.scans', comment='first cooldown', tags=['A12'])\n"
        "for name in ('second cooldown', 'third cooldown'):\n"
        "    slow_scan(source, meter, 400, 0.1).submit('bench.scans', comment=name)\n"
    )
    bench.wait_until("live.info().points > 20")
    return str(bench.run("live.info().run_id"))


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", nargs="+", metavar="PATH", help="these pages, wide and narrow, light and dark")
    arguments = parser.parse_args()
    logging.getLogger().addHandler(logging.NullHandler())  # the log of the laboratory is shown, not printed
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home
        with served_lab(Path(home)) as pages, bench_program(pages.config, Path(home)) as bench, browser() as found:
            live = measure(bench)
            for path in arguments.all or ():
                name = re.sub(r"[^a-z0-9.]+", "-", path).strip("-")[:40] or "site"
                for size in (WIDE, NARROW):
                    for scheme in ("light", "dark"):
                        file = arguments.folder / f"{name}-{size[0]}-{scheme}.png"
                        picture(found, pages, path.format(live=live), file, size, scheme)
            for name, (path, scheme) in () if arguments.all else DOCUMENTED.items():
                picture(found, pages, path.format(live=live), arguments.folder / f"{name}.png", WIDE, scheme)


if __name__ == "__main__":
    main()
