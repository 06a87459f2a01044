"""Queues of scans, scans that go on, and their runs, in a browser; the scans are those of a program of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.web_bench import Bench
from tests.support.web_browser import log_in, until
from tests.support.web_lab import Pages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def empty_queue(bench: Bench) -> Iterator[None]:
    """Leaves the queue without scans."""
    yield
    bench.make(
        "for info in queue.list_scans():\n"
        "    if info.ended is None:\n"
        "        queue.abort_scan(info.id)\n"
        "queue.resume_queue()\n"
    )


def submit(bench: Bench, comment: str, points: int = 400, wait: float = 0.05) -> str:
    """Give a scan to the queue; returns its id."""
    bench.make(f"made = slow_scan(source, meter, {points}, {wait}).submit('bench.scans', comment={comment!r})")
    return str(bench.run("made.id"))


def queue_of(page: Page) -> Locator:
    return page.get_by_role("region", name="bench.scans")


def test_scan_is_followed_paused_continued_and_aborted(page: Page, pages: Pages, bench: Bench) -> None:
    scan_id = submit(bench, "cooldown")
    log_in(page, pages, "/scans")
    row = queue_of(page).get_by_role("row", name="cooldown")
    expect(row).to_contain_text("running")
    expect(row).to_contain_text(re.compile(r"[1-9]\d* of 400 points, .*left"))
    row.get_by_role("button", name=f"Pause: {scan_id}").click()
    expect(row).to_contain_text("paused")
    before = bench.run(f"queue.get_scan({scan_id!r}).points")
    row.get_by_role("button", name=f"Go on: {scan_id}").click()
    expect(row).to_contain_text("running")
    bench.wait_until(f"queue.get_scan({scan_id!r}).points > {before}")

    row.get_by_role("link", name="Data").click()
    expect(page.get_by_role("main")).to_contain_text("running")
    expect(page.locator("#plot canvas")).to_be_visible()
    until(page, "document.querySelector('#about').textContent.match(/(\\d+) rows/)[1] > 20")
    rows = int(page.evaluate("Number(document.querySelector('#about').textContent.match(/(\\d+) rows/)[1])"))
    until(page, f"Number(document.querySelector('#about').textContent.match(/(\\d+) rows/)[1]) > {rows}")
    assert page.evaluate("window.qmiRun.plot.data[0].length") >= rows

    page.go_back()
    row.get_by_role("button", name=f"Abort: {scan_id}").click()
    dialog = page.get_by_role("dialog", name=f"Abort {scan_id}?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("running")
    row.get_by_role("button", name=f"Abort: {scan_id}").click()
    dialog.get_by_role("button", name="Abort").click()
    expect(queue_of(page)).to_contain_text("No scan runs, and none waits")
    queue_of(page).get_by_text("ended").first.click()
    expect(row).to_contain_text("aborted")


def test_queue_is_paused_ordered_and_emptied(page: Page, pages: Pages, bench: Bench) -> None:
    bench.make("queue.pause_queue('helium is low')")
    for name in ("first", "second", "third"):
        submit(bench, name)
    log_in(page, pages, "/scans")
    queue = queue_of(page)
    expect(queue).to_contain_text("helium is low")
    rows = queue.get_by_role("table", name="bench.scans", exact=True).locator("tbody tr")
    expect(rows).to_contain_text(["first", "second", "third"])
    later = rows.nth(0).get_by_role("button", name="Later")
    later.focus()
    page.keyboard.press("Enter")
    expect(rows).to_contain_text(["second", "first", "third"])
    expect(rows.nth(1).get_by_role("button", name="Later")).to_be_focused()
    page.keyboard.press("Enter")
    expect(rows).to_contain_text(["second", "third", "first"])
    expect(rows.nth(2).get_by_role("button", name="Earlier")).to_be_focused()
    assert [info[12] for info in bench.run("[tuple(each) for each in queue.list_scans() if each.ended is None]")] == [
        "second", "third", "first",
    ]  # fmt: skip
    rows.nth(1).get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(rows).to_contain_text(["second", "first"])
    queue.get_by_role("button", name="Go on with the queue bench.scans").click()
    expect(rows.nth(0)).to_contain_text("running")
    queue.get_by_role("button", name="Pause the queue bench.scans").click()
    page.get_by_role("dialog").get_by_label("Why").fill("lunch")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(queue).to_contain_text("lunch")
    expect(rows.nth(0)).to_contain_text("running")


def test_run_of_another_program_is_found_and_downloaded(page: Page, pages: Pages, bench: Bench, tmp_path: Path) -> None:
    bench.make(
        "made = slow_scan(source, meter, 20, 0.0, run='cool')\n"
        "made.submit('bench.scans', comment='second cooldown', tags=['A12']).wait()"
    )
    log_in(page, pages, "/runs?context=bench")
    page.get_by_label("Search").fill("a12")
    page.get_by_role("link", name="cool").first.click()
    expect(page.get_by_role("main")).to_contain_text("20 rows")
    metadata = page.get_by_role("region", name="About")
    expect(metadata).to_contain_text("source_voltage (V)")
    expect(metadata).to_contain_text("second cooldown")
    expect(metadata).to_contain_text("A12")
    expect(page.get_by_role("region", name="Metadata")).to_contain_text("host")
    page.get_by_role("checkbox", name="source_voltage").check()
    until(page, "window.qmiRun.plot.series.length === 3")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="CSV").click()
    downloading.value.save_as(tmp_path / "run.csv")
    assert "source_voltage" in (tmp_path / "run.csv").read_text()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="netCDF").click()
    downloading.value.save_as(tmp_path / "run.nc")
    assert (tmp_path / "run.nc").read_bytes()[1:4] in (b"HDF", b"DF\x01")


def test_run_is_drawn_also_while_rows_never_cease(page: Page, pages: Pages, bench: Bench) -> None:
    scan_id = submit(bench, "fast", points=20_000, wait=0.0)
    bench.wait_until(f"queue.get_scan({scan_id!r}).run_id")
    run_id = bench.run(f"queue.get_scan({scan_id!r}).run_id")
    page.goto(f"{pages.url}runs/{run_id}?context=bench")
    until(page, "window.qmiRun && window.qmiRun.plot.data[0].length > 1")
    rows = int(page.evaluate("window.qmiRun.plot.data[0].length"))
    until(page, f"window.qmiRun.plot.data[0].length > {rows}")
    assert bench.run(f"queue.get_scan({scan_id!r}).state") == "running"


def test_scans_are_steered_by_those_alone_who_have_logged_in(page: Page, pages: Pages, bench: Bench) -> None:
    submit(bench, "cooldown")
    page.goto(f"{pages.url}scans")
    expect(queue_of(page).get_by_role("row", name="cooldown")).to_contain_text("running")
    expect(page.get_by_role("button", name=re.compile("Pause|Abort"))).to_have_count(0)
