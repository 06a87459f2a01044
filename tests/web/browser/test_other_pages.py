"""Plots, logs, scans, runs, dashboards and the login in a browser."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import qmi.data
from qmi.web import pushes
from tests.support.web_browser import log_in, until
from tests.support.web_lab import Pages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PLOTTED = "lab.supply.current,lab.hold.sig_temperature[0]"


def drawings(page: Page) -> int:
    """How often the plots of a page were drawn."""
    return int(page.evaluate("window.qmiPlots.reduce((sum, plot) => sum + plot.drawings, 0)"))


def test_plot_shows_values_as_they_come_and_pauses(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.url}plots?plot={PLOTTED}@60")
    plot = page.get_by_role("region", name="Plot")
    expect(plot.get_by_role("listitem").nth(0)).to_contain_text(re.compile(r"0\.\d+ A"))
    expect(plot.get_by_role("listitem").nth(1)).to_contain_text(re.compile(r"2\d\.\d+"))
    until(page, "window.qmiPlots[0].rows[0].length > 20 && window.qmiPlots[0].drawings > 5")
    plot.get_by_role("button", name="Pause").click()
    before = drawings(page)
    rows = page.evaluate("window.qmiPlots[0].rows[0].length")
    until(page, f"window.qmiPlots[0].rows[0].length > {rows + 10}")
    assert drawings(page) == before
    plot.get_by_role("button", name="Go on").click()
    until(page, f"window.qmiPlots[0].drawings > {before}")


def test_plot_is_zoomed_and_moved_by_keys(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.url}plots?plot={PLOTTED}@60")
    until(page, "window.qmiPlots[0].drawings > 5")
    width = "window.qmiPlots[0].plot.scales.x.max - window.qmiPlots[0].plot.scales.x.min"
    page.get_by_role("img", name="Plot").focus()
    page.keyboard.press("+")
    back = page.get_by_role("button", name="Back to now")
    expect(back).to_be_visible()
    until(page, f"Math.abs({width} - 48) < 1")
    middle = page.evaluate("window.qmiPlots[0].plot.scales.x.min")
    page.keyboard.press("ArrowLeft")
    until(page, f"window.qmiPlots[0].plot.scales.x.min < {middle}")
    page.keyboard.press("Escape")
    expect(back).to_be_hidden()
    until(page, f"Math.abs({width} - 60) < 1")


LEAVE_WHEN_A_DRAWING_IS_DUE = """
new Promise((done) => {
  Object.defineProperty(document, "hidden", { get: () => window.away, configurable: true });
  const plot = window.qmiPlots[0];
  let drawings = plot.drawings;
  let rows = Infinity;
  const look = () => {
    if (plot.drawings !== drawings) [drawings, rows] = [plot.drawings, plot.rows[0].length];
    if (plot.rows[0].length < rows + 2) return requestAnimationFrame(look);
    window.away = true;
    document.dispatchEvent(new Event("visibilitychange"));
    done(drawings);
  };
  look();
})
"""


def test_plot_that_nobody_sees_is_not_drawn(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.url}plots?plot={PLOTTED}@60")
    until(page, "window.qmiPlots[0].drawings > 5")
    before, last = page.evaluate(LEAVE_WHEN_A_DRAWING_IS_DUE), page.evaluate("window.qmiPlots[0].rows[0].at(-1)")
    until(page, f"window.qmiPlots[0].rows[0].at(-1) > {last + 0.7}")  # longer than from one drawing to the next
    assert drawings(page) == before
    page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    until(page, f"window.qmiPlots[0].drawings > {before}")


def test_ten_plots_at_20_hz_take_little_of_a_processor(page: Page, pages: Pages) -> None:
    page.emulate_media(reduced_motion="no-preference")
    page.set_viewport_size({"width": 1280, "height": 3000})  # all ten are in sight
    page.goto(f"{pages.url}plots?" + "&".join(["plot=lab.hold.sig_temperature[0],lab.hold.sig_temperature[1]@10"] * 10))
    until(page, "window.qmiPlots.every((plot) => plot.isSeen && plot.rows[0].length > 20)")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})  # the processor's time: load does not move it
    counts = "window.qmiPlots.map((plot) => [plot.drawings, plot.rows[0].length])"

    def measured() -> tuple[float, float]:
        found = {entry["name"]: entry["value"] for entry in devtools.send("Performance.getMetrics")["metrics"]}
        return found["TaskDuration"], found["Timestamp"]

    (work, begin), before = measured(), page.evaluate(counts)
    page.wait_for_timeout(4000)
    (later, end), after = measured(), page.evaluate(counts)
    share = (later - work) / (end - begin)
    drawn, rows = (sum(new[at] - old[at] for old, new in zip(before, after, strict=True)) / 10 for at in (0, 1))
    print(f"10 plots: {100 * share:.0f} % of a core; {drawn:g} pictures of {rows:g} values in {end - begin:.1f} s each")
    assert drawn > 4
    assert drawn <= rows + 2, "no picture without a new value"
    assert share < 0.6


def test_log_is_filtered(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.url}logs")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    logger = logging.getLogger("laboratory")
    logger.error("the shutter is stuck")
    logger.warning("the water is warm")
    table = page.get_by_role("table", name="Log")
    expect(table).to_contain_text("the shutter is stuck")
    expect(table).to_contain_text("the water is warm")
    page.get_by_label("Level").select_option("ERROR")
    expect(table).not_to_contain_text("the water is warm")
    page.get_by_label("Search").fill("shutter")
    expect(table.get_by_text("the shutter is stuck").first).to_be_visible()
    page.get_by_label("Search").fill("shutter water")
    expect(page.get_by_text("Nothing of this level")).to_be_visible()


def test_run_is_found_plotted_and_downloaded(page: Page, pages: Pages, tmp_path: Path) -> None:
    with qmi.data.run("cooldown", columns={"T": "K", "V": "V"}, coordinates=["T"], tags=["sample A12"]) as run:
        for step in range(20):
            run.add(T=300.0 - 10 * step, V=0.125 * step)
    page.goto(f"{pages.url}runs")
    page.get_by_label("Search").fill("a12")
    page.get_by_role("link", name="cooldown").click()
    expect(page.get_by_role("main")).to_contain_text("20 rows")
    expect(page.get_by_role("table", name="Last rows")).to_contain_text("2.375")
    expect(page.locator("#plot canvas")).to_be_visible()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="CSV").click()
    downloading.value.save_as(tmp_path / "run.csv")
    assert "110" in (tmp_path / "run.csv").read_text()


def test_run_is_followed_while_it_lasts(page: Page, pages: Pages) -> None:
    with qmi.data.run("drift", columns={"V": "V"}) as run:
        run.add(V=0.5)
        page.goto(f"{pages.url}runs/{run.run_id}")
        expect(page.get_by_role("table", name="Last rows")).to_contain_text("0.5")
        link = page.get_by_role("link", name="CSV so far").element_handle()
        run.add(V=0.75)
        expect(page.get_by_role("table", name="Last rows")).to_contain_text("0.75")
        # What is replaced while somebody presses it does nothing.
        assert link.evaluate("element => element.isConnected")
    expect(page.get_by_role("link", name="netCDF")).to_be_visible()


LOSE_THE_STREAM = """
import(performance.getEntriesByType("resource").map(({ name }) => name).find((name) => name.includes("/push.js")))
  .then((module) => module.pushes.source.dispatchEvent(new Event("error")))
"""


def test_run_has_all_rows_once_though_more_have_come_than_are_kept_for_a_page(
    page: Page, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "KEPT_ITEMS", 5)
    with qmi.data.run("growing", columns={"T": "K"}) as run:
        run.add(T=0.0)
        page.goto(f"{pages.url}runs/{run.run_id}")
        expect(page.locator("#about")).to_contain_text("1 rows")
        expect(page.locator("#facts").get_by_role("link", name="CSV so far")).to_be_visible()
        expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        for gap in range(1, 3):
            page.route("**/api/events*", lambda route: route.abort())
            page.evaluate(LOSE_THE_STREAM)
            expect(page.locator("#connection")).to_contain_text("Not connected since")
            for number in range(30):
                run.add(T=float(number))
            page.unroute("**/api/events*")
            expect(page.locator("#about")).to_contain_text(f"{30 * gap + 1} rows")
            rows = page.locator("#rows tr th").all_inner_texts()
            assert rows == [str(30 * gap - back) for back in range(len(rows))]


def order(page: Page) -> list[str]:
    """The panels of a page, in their order."""
    return [str(text).split("\n")[0] for text in page.locator(".panel .body > .dim:first-child").all_inner_texts()]


def test_dashboard_is_ordered_by_keyboard_and_mouse_and_kept_so(page: Page, pages: Pages) -> None:
    names = ["lab.supply.current", "lab.spare.voltage", "lab.spare.limit"]
    log_in(page, pages, "/plots?" + "&".join(f"value={name}" for name in names))
    expect(page.locator(".panel")).to_have_count(3)
    assert order(page) == names
    grip = page.get_by_role("button", name="Move lab.supply.current")
    grip.focus()
    page.keyboard.press("ArrowRight")
    assert order(page) == [names[1], names[0], names[2]]
    expect(grip).to_be_focused()
    expect(page.locator("#said")).to_have_text("lab.supply.current is number 2 of 3")
    page.keyboard.press("End")
    assert order(page) == [names[1], names[2], names[0]]
    box, target = grip.bounding_box(), page.get_by_role("region", name=names[1]).bounding_box()
    assert box
    assert target
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(target["x"] + target["width"] / 4, target["y"] + 30, steps=8)
    page.mouse.up()
    assert order(page) == [names[0], names[1], names[2]]
    page.get_by_role("region", name=names[2]).get_by_text("Arrange").click()
    page.get_by_role("region", name=names[2]).get_by_role("button", name="Wide").click()
    page.get_by_role("region", name=names[1]).get_by_text("Arrange").click()
    page.get_by_role("button", name=f"Remove {names[1]}").click()
    expect(page.get_by_role("button", name=f"Move {names[2]}", exact=True)).to_be_focused()
    page.get_by_role("button", name="Keep").click()
    page.get_by_role("dialog").get_by_label("Name").fill("ordered")
    page.get_by_role("dialog").get_by_role("button", name="Keep").click()
    page.wait_for_url("**/dashboards/ordered")
    expect(page.locator(".panel")).to_have_count(2)
    assert order(page) == [names[0], names[2]]
    expect(page.get_by_role("region", name=names[2])).to_have_class(re.compile("wide-panel"))
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/dashboards")


def test_dashboard_whose_file_is_damaged_shows_what_it_can_and_says_so(page: Page, pages: Pages) -> None:
    folder = pages.config.parent / "dashboards"
    folder.mkdir(exist_ok=True)
    value = {"kind": "value", "text": "lab.supply.current"}
    wrong = [{"kind": "plot", "sources": 5}, None, {"kind": "value", "text": "nonsense"}]
    (folder / "damaged.json").write_text(json.dumps({"panels": [wrong[0], value, *wrong[1:]]}))
    (folder / "torn.json").write_text('{"panels": [')
    log_in(page, pages, "/dashboards/damaged")
    expect(page.locator(".panel")).to_have_count(1)
    expect(page.get_by_role("alert")).to_contain_text("panels[0].sources must be a JSON list")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#said")).to_have_text("Dashboard damaged is kept")
    assert json.loads((folder / "damaged.json").read_text()) == {"panels": [value]}
    page.goto(f"{pages.url}dashboards/torn")
    expect(page.get_by_role("alert")).to_contain_text("cannot be read")
    page.goto(f"{pages.url}plots?value=nonsense&value=lab.supply.current&plot=x@-5")
    expect(page.locator(".panel")).to_have_count(1)
    expect(page.get_by_role("alert")).to_contain_text("CONTEXT.OBJECT.NAME")
    for path in folder.iterdir():
        path.unlink()


def test_plot_keeps_what_it_has_drawn_when_panels_are_moved(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.url}plots?plot={PLOTTED}@60&value=lab.spare.voltage")
    until(page, "window.qmiPlots[0].rows[0].length > 20")
    page.get_by_role("button", name="Move lab.supply.current").press("ArrowRight")
    assert page.evaluate("window.qmiPlots[0].rows[0].length") > 20
    rows = page.evaluate("window.qmiPlots[0].rows[0].length")
    until(page, f"window.qmiPlots[0].rows[0].length > {rows}")


def test_plot_is_zoomed_and_moved_by_the_mouse(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.url}plots?plot={PLOTTED}@10")
    until(page, "window.qmiPlots[0].rows[0].length > 60")
    box = page.locator(".u-over").bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.5, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, y, steps=5)
    page.mouse.up()
    width = "(window.qmiPlots[0].plot.scales.x.max - window.qmiPlots[0].plot.scales.x.min)"
    until(page, f"Math.abs({width} - 2.5) < 0.3")
    expect(page.get_by_role("button", name="Back to now")).to_be_visible()
    begin = page.evaluate("window.qmiPlots[0].plot.scales.x.min")
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + box["width"] * 0.3, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, y, steps=5)
    page.mouse.up()
    page.keyboard.up("Shift")
    until(page, f"window.qmiPlots[0].plot.scales.x.min < {begin} - 0.5")
    until(page, f"Math.abs({width} - 2.5) < 0.3")
    page.mouse.dblclick(box["x"] + 100, y)
    until(page, f"Math.abs({width} - 10) < 0.5")
    expect(page.get_by_role("button", name="Back to now")).to_be_hidden()


def test_plot_of_what_is_not_there_says_so(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.url}plots?plot=lab.nobody.current,lab.supply.current@10")
    plot = page.get_by_role("region", name="Plot")
    expect(plot.get_by_role("listitem").nth(0)).to_contain_text("nobody")
    expect(plot.get_by_role("listitem").nth(0).locator(".bad")).not_to_be_empty()
    expect(plot.get_by_role("listitem").nth(1)).to_contain_text(re.compile(r"0\.\d+ A"))


def test_values_of_one_unit_share_an_axis_and_others_have_their_own(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.url}plots?plot=lab.supply.current,lab.hold.sig_temperature[0],!lab.hold.sig_temperature[1]@60")
    until(page, "window.qmiPlots[0].drawings > 3 && window.qmiPlots[0].plot.series.length === 4")
    until(page, "window.qmiPlots[0].plot.axes.length === 4")
    plot = page.get_by_role("region", name="Plot")
    plot.get_by_text("Arrange").click()
    plot.get_by_role("button", name="Take lab.hold.sig_temperature[1] off this plot").click()
    until(page, "window.qmiPlots[0].plot.axes.length === 3")


def test_dashboard_is_arranged_and_kept(page: Page, pages: Pages) -> None:
    log_in(page, pages, "/plots")
    value = page.get_by_label("Value to show")
    value.fill("nonsense")
    page.get_by_role("button", name="Add value").click()
    expect(page.get_by_role("alert")).to_contain_text("CONTEXT.OBJECT.NAME")
    value.fill("lab.supply.current")
    page.get_by_role("button", name="Add value").click()
    expect(page.get_by_role("region", name="lab.supply.current")).to_contain_text(re.compile(r"\d+ mA"))
    page.get_by_role("button", name="Keep").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("cooling")
    dialog.get_by_role("button", name="Keep").click()
    page.wait_for_url("**/dashboards/cooling")
    expect(page.get_by_role("region", name="lab.supply.current")).to_contain_text(re.compile(r"\d+ mA"))
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No dashboard is kept yet")).to_be_visible()


def test_login_is_asked_for_and_given_up(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.url}o/lab/spare")
    expect(page.get_by_text("Log in to change them")).to_be_visible()
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    page.get_by_label("Token").fill(pages.token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/o/lab/spare")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("Log in to change them")).to_be_visible()
