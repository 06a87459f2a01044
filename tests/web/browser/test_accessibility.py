"""What people meet who use the pages by keyboard, with a screen reader, or on a small screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.web_bench import Bench
from tests.support.web_browser import log_in, until
from tests.support.web_lab import Pages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PATHS = [
    "/", "/o/lab/supply", "/o/lab/hold", "/o/optics/laser", "/o/bench/source",
    "/plots?plot=lab.supply.current@60&value=lab.spare.voltage", "/scans",
    "/runs?context=bench", "/runs/RUN?context=bench", "/logs", "/dashboards", "/doctor", "/login",
    "/o/lab/nothing", "/o/nothing/at_all", "/nothing",
]  # fmt: skip


@pytest.fixture(scope="module")
def busy_bench(bench: Bench) -> Iterator[Bench]:
    """The other program: it measures, more scans wait, and the traffic of an instrument is kept."""
    bench.make(
        "done = slow_scan(source, meter, 5, 0.0).submit('bench.scans', comment='first', tags=['A12'])\n"
        "done.wait()\n"
        "for name in ('second', 'third'):\n"
        "    slow_scan(source, meter, 2000, 0.1).submit('bench.scans', comment=name)\n"
        "traffic = qmi.context().get_rpc_object('bench.$traffic')\n"
        "traffic.start_traffic('source')\n"
    )
    yield bench
    bench.make(
        "for info in queue.list_scans():\n    if info.ended is None:\n        queue.abort_scan(info.id)\n"
        "traffic.stop_traffic('source')"
    )


def path_of(path: str, bench: Bench) -> str:
    """A path with the run that is meant in it."""
    return path.replace("RUN", bench.run("done.info().run_id")) if "RUN" in path else path


def faults(page: Page, *rules: str) -> list[str]:
    """What is wrong with a page, as axe finds it; without rules, by all of them."""
    found: dict[str, Any] = Axe().run(page, options={"runOnly": list(rules)} if rules else None)
    return [
        f"{each['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("path", PATHS)
def test_page_has_no_faults_that_axe_finds(page: Page, pages: Pages, busy_bench: Bench, path: str) -> None:
    log_in(page, pages, path_of(path, busy_bench))
    if path != "/login":
        expect(page.locator("#content")).not_to_be_empty()
    if path == "/doctor":
        expect(page.get_by_role("region").first).to_be_visible(timeout=60_000)
    page.wait_for_timeout(700)
    assert faults(page) == []
    page.emulate_media(color_scheme="dark")
    assert faults(page, "color-contrast") == []


_KEEP_MARK = """mark => {
    const keep = () => document.body.getAttribute(mark) === "lost" || document.body.setAttribute(mark, "lost");
    new MutationObserver(keep).observe(document.body, { attributes: true });
    keep();
}"""
"""Marks the page, whose own script takes the mark away whenever it hears from the object."""


@pytest.mark.parametrize("path", ["/", "/o/lab/supply", "/o/lab/hold", "/scans"])
@pytest.mark.parametrize("mark", ["data-lost", "data-connection"])
def test_old_values_can_be_read(page: Page, pages: Pages, busy_bench: Bench, path: str, mark: str) -> None:
    log_in(page, pages, path)
    page.wait_for_timeout(700)
    page.evaluate(_KEEP_MARK, mark)
    assert page.locator(".live").first.evaluate("each => getComputedStyle(each).fontStyle") == "italic"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert faults(page, "color-contrast") == []


@pytest.mark.parametrize("path", PATHS)
def test_page_is_no_wider_than_the_screen(page: Page, pages: Pages, busy_bench: Bench, path: str) -> None:
    log_in(page, pages, path_of(path, busy_bench))
    page.wait_for_timeout(700)
    for width in (360, 768, 1280):
        page.set_viewport_size({"width": width, "height": 700})
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width


def test_page_is_used_by_keyboard_alone(page: Page, pages: Pages) -> None:
    log_in(page, pages, "/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("spare")
    link = page.get_by_role("link", name="spare")
    for _ in range(8):
        page.keyboard.press("Tab")
        if link.evaluate("(element) => element === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/o/lab/spare")


def test_first_paint_takes_less_than_half_a_second(page: Page, pages: Pages) -> None:
    page.goto(pages.url)
    page.goto(pages.url)
    until(page, "performance.getEntriesByName('first-contentful-paint').length > 0")
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"first paint after {painted:.0f} ms")
    assert painted < 1500  # on a machine that has other things to do; alone it takes a tenth of that


def test_controls_have_names_of_their_own(page: Page, pages: Pages, busy_bench: Bench) -> None:
    for path in ("/o/bench/source", "/scans", "/plots?plot=lab.supply.current@60&value=lab.spare.voltage"):
        log_in(page, pages, path)
        page.wait_for_timeout(500)
        buttons = page.get_by_role("main").get_by_role("button")
        names = buttons.evaluate_all(
            "(all) => all.filter((each) => each.checkVisibility())"
            ".map((each) => each.ariaLabel || each.textContent.trim())"
        )
        assert all(names)
        # Read, Plot, Earlier, ... say of what.
        assert len(set(names)) == len(names), (path, names)


def test_value_is_set_by_keyboard_alone_and_what_comes_of_it_is_said(page: Page, pages: Pages) -> None:
    pages.lab.get_instrument("spare").parameters.voltage.set(1.0)
    log_in(page, pages, "/o/lab/spare")
    value = page.get_by_role("button", name="voltage: 1 V. Change")
    value.focus()
    page.keyboard.press("Enter")
    field = page.get_by_label("voltage in V")
    expect(field).to_be_focused()
    page.keyboard.type("99")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert").filter(has_text="30")
    expect(alert).to_be_visible()
    expect(field).to_have_accessible_description(alert.inner_text())
    page.keyboard.press("Control+a")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="voltage: 2 V. Change")).to_be_focused()
    expect(page.locator("#said")).to_have_text("voltage is 2 V")


def test_nothing_moves_for_those_who_want_it_calm(page: Page, pages: Pages) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{pages.url}plots?plot=lab.hold.sig_temperature[0]@10")
    until(page, "window.qmiPlots[0].drawings > 2")
    before = page.evaluate("window.qmiPlots[0].drawings")
    page.wait_for_timeout(2000)
    assert page.evaluate("window.qmiPlots[0].drawings") - before <= 5
    assert page.evaluate("document.getAnimations().length") == 0


def test_phone_shows_the_names_of_all_pages(page: Page, pages: Pages) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    log_in(page, pages, "/")
    entries = page.get_by_role("navigation").get_by_role("link").all()
    assert len(entries) == 7
    for entry in entries:
        box = entry.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("width", [390, 1280])
def test_text_of_a_card_keeps_its_distance_from_the_edge(
    page: Page, pages: Pages, busy_bench: Bench, path: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    log_in(page, pages, path_of(path, busy_bench))
    page.wait_for_timeout(700)
    found = page.evaluate(
        """() => [...document.querySelectorAll(".card p, .card td, .card th, .card label, .card summary")]
        .filter((each) => each.checkVisibility() && each.textContent.trim() && !each.closest(".unseen, thead"))
        .filter((each) => {
            const range = document.createRange();
            range.selectNodeContents(each);
            const text = range.getBoundingClientRect(), card = each.closest(".card").getBoundingClientRect();
            return text.width > 1 && text.left < card.left + 5;
        }).map((each) => each.outerHTML.slice(0, 150))"""
    )
    assert found == []
