"""The page of an object in a browser: values, methods, locks, tasks."""

from __future__ import annotations

import logging
import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.web_browser import log_in
from tests.support.web_lab import Hold, Laser, Pages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_value_is_set_and_the_error_stands_beside_it(page: Page, pages: Pages) -> None:
    log_in(page, pages, "/o/lab/spare")
    row = page.get_by_role("row", name="voltage Voltage to hold")
    expect(row).to_contain_text("0 … 30 V")
    row.get_by_role("button", name="Change").click()
    field = row.get_by_label("voltage in V")
    expect(field).to_be_focused()
    field.fill("31")
    field.press("Enter")
    expect(row.get_by_role("alert")).to_contain_text("30")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("300 mV")
    field.press("Enter")
    expect(row.get_by_role("button", name="voltage: 300 mV. Change")).to_be_focused()
    assert pages.lab.get_instrument("spare").parameters.voltage.get() == 0.3


def test_value_that_is_set_elsewhere_is_shown(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.url}o/lab/spare")
    row = page.get_by_role("row", name="limit Greatest current")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    spare = pages.lab.get_instrument("spare")
    spare.parameters.limit.set(1.5)
    expect(row).to_contain_text("1.5 A")
    spare.parameters.limit.set(0.5)
    expect(row).to_contain_text("500 mA")
    expect(row.get_by_role("button", name="500 mA")).to_be_disabled()


def test_method_is_called_by_its_form(page: Page, pages: Pages) -> None:
    log_in(page, pages, "/o/lab/supply")
    page.get_by_text("ramp(target").click()
    form = page.locator("details[open]")
    expect(form).to_contain_text("How long it takes, in seconds.")
    expect(form.get_by_label("duration")).to_have_attribute("placeholder", "1.0")
    form.get_by_label("regulation").select_option("current")
    form.get_by_label("target").fill("10")
    form.get_by_role("button", name="Call").click()
    expect(form.locator("output")).to_contain_text("[0, 2.5, 5, 7.5, 10]")
    form.get_by_label("target").fill("much")
    form.get_by_role("button", name="Call").click()
    expect(form.get_by_role("alert")).to_contain_text("target")
    expect(form.get_by_label("target")).to_be_focused()


def test_object_is_asked_once_though_pushes_come_first(page: Page, pages: Pages) -> None:
    # It was asked twice then, and the second answer replaced the form that somebody had unfolded since.
    asked: list[Route] = []
    page.route("**/api/objects/lab/supply", lambda route: asked.append(route))
    log_in(page, pages, "/o/lab/supply")
    expect(page.get_by_role("region", name="State")).to_contain_text("Calls")
    for route in asked:
        route.continue_()
    expect(page.get_by_text("ramp(target")).to_be_visible()
    assert len(asked) == 1


SHOW_AGAIN = """async () => {
  const script = document.querySelector('script[src*="object"]').src;
  const { showMethods } = await import(new URL("./methods.js", script));
  const get = (what) => fetch(`/api/objects/lab/supply${what}`).then((answer) => answer.json());
  const [found, infos] = [await get(""), await get("/parameters")];
  const methods = found.methods.filter(({ name }) => name !== "trip");
  showMethods(document.getElementById("method-list"), "lab", "supply", methods, infos);
}"""


def test_form_stays_when_the_object_is_shown_again(page: Page, pages: Pages) -> None:
    log_in(page, pages, "/o/lab/supply")
    page.get_by_text("ramp(target").click()
    form = page.locator("details[open]")
    form.get_by_label("target").fill("12")
    page.evaluate(SHOW_AGAIN)
    expect(page.get_by_text("trip()", exact=True)).to_have_count(0)
    assert form.get_by_label("target").input_value() == "12"


def test_error_of_a_driver_is_shown_with_its_type(page: Page, pages: Pages) -> None:
    log_in(page, pages, "/o/lab/supply")
    page.get_by_text("trip()", exact=True).click()
    page.locator("details[open]").get_by_role("button", name="Call").click()
    expect(page.locator("details[open]").get_by_role("alert")).to_have_text("RuntimeError: the interlock is open")
    expect(page.get_by_role("region", name="State")).to_contain_text("the interlock is open")


def test_lock_of_somebody_else_is_shown_asked_for_and_taken_over(page: Page, pages: Pages) -> None:
    mirror = pages.optics.make_instrument("mirror", Laser)
    mirror.reserve("alignment until 18:00")
    log_in(page, pages, "/o/optics/mirror")
    lock = page.get_by_role("region", name="Lock")
    expect(lock).to_contain_text("alignment until 18:00")
    lock.get_by_role("button", name="Ask for it").click()
    page.get_by_role("dialog").get_by_label("Why").fill("a quick look")
    page.get_by_role("dialog").get_by_role("button", name="Ask").click()
    lock.get_by_role("button", name="Take over").click()
    dialog = page.get_by_role("dialog", name="Take optics.mirror over?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    expect(lock).to_contain_text("alignment until 18:00")
    lock.get_by_role("button", name="Take over").click()
    dialog.get_by_label("Why").fill("the water is off")
    dialog.get_by_role("button", name="Take over").click()
    expect(lock).to_contain_text("the water is off")
    lock.get_by_role("button", name="Release").click()
    expect(lock).to_contain_text("Nobody has locked it")
    pages.optics.remove_rpc_object(mirror)


def test_task_is_started_set_and_stopped(page: Page, pages: Pages) -> None:
    pages.lab.make_task("warm", Hold, loop_period=0.05)
    log_in(page, pages, "/o/lab/warm")
    task = page.get_by_role("region", name="Task")
    expect(task.get_by_role("button", name="Stop")).to_be_disabled()
    task.get_by_role("button", name="Start").click()
    expect(task).to_contain_text("running")
    page.reload()
    expect(task).to_contain_text("target float, in °C, default 21.5")
    expect(task.get_by_label("target")).to_have_accessible_description("The temperature to hold, in degrees Celsius.")
    task.get_by_label("regulation").select_option("CURRENT")
    task.get_by_label("target").fill("warm")
    task.get_by_role("button", name="Set").click()
    expect(task.get_by_role("alert")).to_contain_text("target")
    task.get_by_label("target").fill("23.5")
    task.get_by_role("button", name="Set").click()
    expect(task.get_by_role("status")).to_have_text("Set")
    page.reload()
    expect(task.get_by_label("target")).to_have_value("23.5")
    expect(task.get_by_label("regulation")).to_have_value("CURRENT")
    histogram = task.get_by_role("table", name="Iterations by how late they began")
    expect(histogram.get_by_role("row").nth(1)).to_contain_text(re.compile(r"≤ [\d.]+ (ns|µs|ms|s)\s*\d+"))
    expect(task).to_contain_text(re.compile(r"Iterations\s*[1-9]"))
    expect(task).to_contain_text(re.compile(r"\(median\).*\(worst\)"))
    task.get_by_role("button", name="Stop").click()
    expect(task).to_contain_text("ended")
    expect(task.get_by_role("button", name="Start")).to_be_disabled()


LOSE_THE_STREAM = """
import(performance.getEntriesByType("resource").map(({ name }) => name).find((name) => name.includes("/push.js")))
  .then((module) => module.pushes.source.dispatchEvent(new Event("error")))
"""


def test_page_says_since_when_it_is_away_and_comes_back(page: Page, pages: Pages) -> None:
    page.goto(pages.url)
    connection = page.locator("#connection")
    expect(connection).to_have_attribute("data-state", "live")
    page.evaluate(LOSE_THE_STREAM)
    expect(connection).to_contain_text("Not connected since")
    expect(connection).to_contain_text("Was away for")
    expect(connection).to_have_attribute("data-state", "back")


def test_page_that_was_away_says_how_many_values_it_has_missed(page: Page, pages: Pages) -> None:
    address = f"{pages.url}o/lab/spare"
    other = page.context.new_page()  # while somebody looks, the server counts
    other.goto(address)
    page.goto(address)
    spare = pages.lab.get_instrument("spare")
    spare.parameters.limit.set(1.0)
    for each in (page, other):
        expect(each.get_by_role("row", name="limit Greatest current")).to_contain_text("1 A")
    page.route("**/api/events*", lambda route: route.abort())
    page.evaluate(LOSE_THE_STREAM)
    connection = page.locator("#connection")
    expect(connection).to_contain_text("Not connected since")
    for step in range(11, 16):
        spare.parameters.limit.set(step / 10)
    expect(other.get_by_role("row", name="limit Greatest current")).to_contain_text("1.5 A")
    page.unroute("**/api/events*")
    expect(connection).to_contain_text("4 values were left out")
    expect(page.get_by_role("row", name="limit Greatest current")).to_contain_text("1.5 A")


def test_record_of_a_log_stands_there_once_though_its_stream_breaks(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.url}logs")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    logger = logging.getLogger("qmi.test")
    for number in range(3):
        logger.warning("the pump has made noise %d", number)
        if number < 2:
            expect(page.locator("#records")).to_contain_text(f"made noise {number}")
            page.evaluate(LOSE_THE_STREAM)
            expect(page.locator("#connection")).to_have_attribute("data-state", "back")
    page.get_by_label("Context").select_option("lab")
    expect(page.locator("#records")).to_contain_text("made noise 2")
    for number in range(3):
        expect(page.locator("#records tr", has_text=f"made noise {number}")).to_have_count(1)


def test_page_of_what_was_never_there_does_not_say_that_it_was(page: Page, pages: Pages) -> None:
    log_in(page, pages, "/o/lab/nothing")
    lost = page.locator("#lost")
    expect(lost).to_have_text("There is no lab.nothing. The page shows it as soon as it is there.")
    expect(page.locator("#lock")).to_be_hidden()
    expect(page.locator("#problem")).to_contain_text("Context 'lab' has no object named 'nothing'. It has ")


def test_page_that_does_not_exist_is_one_of_who_has_logged_in(page: Page, pages: Pages) -> None:
    log_in(page, pages, "/nothing")
    expect(page.locator("#content")).to_contain_text("There is no page /nothing")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def test_duration_is_told_in_a_unit_in_which_it_is_not_0(page: Page, pages: Pages) -> None:
    log_in(page, pages, "/")
    told = {
        0: "0 ms", 3.2e-8: "32 ns", 5.12e-7: "512 ns", 1e-6: "1 µs", 5.2e-4: "520 µs", 0.0337: "34 ms", 1.25: "1.3 s",
        3900: "1 h 5 min",
    }  # fmt: skip
    shown = page.evaluate(
        "async (all) => { const { duration } = await import('/static/dom.js'); return all.map(duration); }", list(told)
    )
    assert shown == list(told.values())
