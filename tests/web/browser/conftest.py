"""A laboratory, its pages, and a Chromium that shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.web_bench import Bench, bench_program
from tests.support.web_lab import Pages, served_lab
from tests.support.web_pictures import CHROMIUM, browser

# What a page shows takes a while beside a busy machine's other work.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """A Chromium of this computer."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"the pages are shown by Chromium, and there is no {CHROMIUM}")
    with browser() as found:
        yield found


@pytest.fixture(scope="package")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """The pages of a laboratory, which tests leave as it was."""
    with served_lab(tmp_path_factory.mktemp("pages")) as served:
        yield served


@pytest.fixture(scope="package")
def bench(pages: Pages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A program of its own, which those pages show; who kills it starts it again."""
    with bench_program(pages.config, tmp_path_factory.mktemp("bench")) as found:
        yield found


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page that shows nothing yet; errors of its scripts fail the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    found = context.new_page()
    errors: list[str] = []
    found.on("pageerror", lambda error: errors.append(str(error)))
    yield found
    context.close()
    assert not errors
