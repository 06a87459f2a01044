"""A real Chromium without a window, and how much processor time its processes take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

PROGRAM = "/usr/bin/chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium, for the length of the block."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        try:
            yield found
        finally:
            found.close()


def _processes() -> dict[str, list[psutil.Process]]:
    """The processes of the Chromium that this program runs, by what they do."""
    found: dict[str, list[psutil.Process]] = {"renderer": [], "others": []}
    for process in psutil.Process().children(recursive=True):
        command = process.cmdline()
        if command and "chrom" in command[0]:
            found["renderer" if "--type=renderer" in command else "others"].append(process)
    return found


class Usage:
    """How much of a processor a Chromium takes from here on."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._before = self._now()

    @staticmethod
    def _now() -> dict[str, float]:
        return {
            kind: sum(sum(process.cpu_times()[:2]) for process in processes) for kind, processes in _processes().items()
        }

    def shares(self) -> dict[str, float]:
        """Per cent of one processor: of what runs the page, and of what brings its pictures to the screen."""
        lasted = time.monotonic() - self._begin
        return {kind: 100.0 * (now - self._before[kind]) / lasted for kind, now in self._now().items()}


def first_paint(page: Page, url: str) -> float:
    """Show a page; milliseconds from the beginning until it shows something."""
    page.goto(url, wait_until="load")
    # There may be no picture yet when all has come.
    script = """() => new Promise((done) => {
      const name = "first-contentful-paint";
      const look = (list) => list.getEntriesByName(name).forEach((entry) => done(entry.startTime));
      new PerformanceObserver(look).observe({ type: "paint", buffered: true });
    })"""
    return float(page.evaluate(script))
