"""What a person sees of programs that are killed, locked and traced, in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.support.web_bench import Bench
from tests.support.web_browser import log_in
from tests.support.web_lab import Laser, Pages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_program_that_is_killed_is_told_with_since_when_and_comes_back_by_itself(
    page: Page, pages: Pages, bench: Bench
) -> None:
    log_in(page, pages, "/o/bench/source")
    row = page.get_by_role("row", name="voltage Voltage")
    value = row.get_by_role("button").first
    expect(value).to_be_enabled()
    bench.kill()
    lost = page.get_by_role("alert").filter(has_text="Context bench is not running since")
    expect(lost).to_be_visible(timeout=5000)
    expect(lost).to_contain_text(re.compile(r"since \d\d:\d\d:\d\d"))
    expect(value).to_be_disabled()
    expect(page.get_by_role("button", name="Lock", exact=True)).to_be_disabled()
    other = page.context.new_page()
    other.goto(pages.url)
    card = other.get_by_role("region", name="bench", exact=True)
    expect(card).to_contain_text(re.compile(r"not running since \d\d:\d\d:\d\d"))
    bench.start()
    expect(lost).to_be_hidden()
    expect(value).to_be_enabled()
    expect(card.get_by_role("row", name="source")).to_contain_text("open")
    bench.make("source.parameters.voltage.set(4.5)")
    expect(row).to_contain_text("4.5 V")


def test_value_that_the_limits_forbid_stays_and_the_message_stands_at_the_field(
    page: Page, pages: Pages, bench: Bench
) -> None:
    bench.make("source.parameters.voltage.set(2.5)")
    log_in(page, pages, "/o/bench/source")
    row = page.get_by_role("row", name="voltage Voltage")
    row.get_by_role("button", name="voltage: 2.5 V. Change").click()
    field = row.get_by_label("voltage in V")
    for wrong, said in (("31", "30"), ("-1", "0"), ("much", "voltage"), ("1 A", "A")):
        field.fill(wrong)
        field.press("Enter")
        expect(row.get_by_role("alert")).to_contain_text(said)
        expect(field).to_have_attribute("aria-invalid", "true")
        described = field.get_attribute("aria-describedby")
        assert described
        assert said in page.locator(f"[id='{described}']").inner_text()
    assert bench.run("qmi.context().get_rpc_object('bench.source').parameters.voltage.get()") == 2.5
    field.press("Escape")
    expect(row.get_by_role("button", name="voltage: 2.5 V. Change")).to_be_focused()
    row.get_by_role("button", name="voltage: 2.5 V. Change").click()
    field.fill("3.5")
    row.get_by_role("button", name="Set").click()
    expect(row.get_by_role("button", name="voltage: 3.5 V. Change")).to_be_focused()
    assert bench.run("qmi.context().get_rpc_object('bench.source').parameters.voltage.get()") == 3.5


def test_object_that_somebody_else_locks_can_be_changed_no_more_until_it_is_taken_over(
    page: Page, pages: Pages, bench: Bench
) -> None:
    log_in(page, pages, "/o/bench/source")
    value = page.get_by_role("row", name="voltage Voltage").get_by_role("button").first
    expect(value).to_be_enabled()
    method = page.get_by_text("methods that all objects of this kind have")
    method.click()
    page.get_by_text("get_name()").click()
    call = page.get_by_role("button", name="Call").first
    expect(call).to_be_enabled()
    bench.make("source.reserve('cooldown until 18:00')")
    held = page.get_by_role("status").filter(has_text="cooldown until 18:00")
    expect(held).to_contain_text("Locked by")
    for control in (value, call, page.get_by_role("button", name="Read all")):
        expect(control).to_be_disabled()
        expect(control).to_have_attribute("title", re.compile("Locked by .*cooldown"))
    page.reload()
    expect(held).to_be_visible()
    expect(value).to_be_disabled()
    lock = page.get_by_role("region", name="Lock")
    lock.get_by_role("button", name="Take over").click()
    dialog = page.get_by_role("dialog", name="Take bench.source over?")
    dialog.get_by_label("Why").fill("the water is off")
    dialog.get_by_role("button", name="Take over").click()
    expect(held).to_be_hidden()
    expect(lock).to_contain_text("the water is off")
    expect(value).to_be_enabled()
    bench.make("own = qmi.context().get_rpc_object('bench.$context')")
    bench.wait_until("'the water is off' in str(own.read_log())")  # the holder is told
    lock.get_by_role("button", name="Release").click()
    expect(lock).to_contain_text("Nobody has locked it")


def test_page_of_a_locked_object_makes_no_errors_in_its_log(page: Page, pages: Pages) -> None:
    prism = pages.optics.make_instrument("prism", Laser)
    prism.open()
    prism.parameters.power.set(0.25)
    prism.reserve("alignment")
    before = pages.optics.get_rpc_object("optics.$context").read_log(level="WARNING")["last"]
    log_in(page, pages, "/o/optics/prism")
    expect(page.get_by_role("row", name="power")).to_contain_text("250 mW")
    expect(page.get_by_role("status").filter(has_text="alignment")).to_be_visible()
    records = pages.optics.get_rpc_object("optics.$context").read_log(after=before, level="WARNING")["records"]
    assert [record["message"] for record in records if "locked" in record["message"]] == []
    pages.optics.remove_rpc_object(prism)


def test_traffic_of_an_instrument_is_shown_when_it_is_switched_on(page: Page, pages: Pages, bench: Bench) -> None:
    log_in(page, pages, "/o/bench/source")
    traffic = page.get_by_role("region", name="Traffic", exact=True)
    expect(traffic).to_contain_text("Nothing is kept")
    switch = traffic.get_by_role("switch", name="Show")
    switch.click()
    expect(traffic).to_contain_text("since")
    bench.make("source.parameters.voltage.set(1.25)")
    expect(traffic.get_by_role("row").filter(has_text="VOLT 1.25").first).to_contain_text("written")
    bench.make("source.parameters.voltage.get()")
    expect(traffic.get_by_role("row").filter(has_text="VOLT?").first).to_contain_text("6")
    traffic.get_by_role("button", name="Pause").click()
    bench.make("source.parameters.voltage.set(2.25)")
    expect(traffic.get_by_role("button", name=re.compile(r"Go on \(\d+\)"))).to_be_visible()
    expect(traffic).not_to_contain_text("VOLT 2.25")
    traffic.get_by_role("button", name=re.compile("Go on")).click()
    expect(traffic).to_contain_text("VOLT 2.25")
    switch.click()
    expect(switch).not_to_be_checked()
    assert bench.run("qmi.context().get_rpc_object('bench.$traffic').get_traffic('source')")["on"] is False


def test_log_of_another_program_is_shown_live_and_filtered(page: Page, pages: Pages, bench: Bench) -> None:
    page.goto(f"{pages.url}logs")
    table = page.get_by_role("table", name="Log")
    page.get_by_label("Context").select_option("bench")
    bench.make("import logging\nlogging.getLogger('cryo').warning('the helium is low')")
    row = table.get_by_role("row").filter(has_text="the helium is low")
    expect(row).to_contain_text("WARNING")
    expect(row).to_contain_text("bench")
    page.get_by_label("Search").fill("cryo")
    expect(row).to_be_visible()
    expect(table.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    bench.make("logging.getLogger('cryo').error('the helium is gone')")
    page.get_by_role("button", name="Go on").click()
    expect(table).to_contain_text("the helium is gone")
    page.get_by_label("Level").select_option("ERROR")
    expect(table).not_to_contain_text("the helium is low")
    page.get_by_label("Context").select_option("lab")
    expect(table).not_to_contain_text("the helium is gone")


def test_doctor_says_what_is_wrong_and_what_to_do(page: Page, pages: Pages) -> None:
    page.goto(f"{pages.url}doctor")
    warnings = page.get_by_role("region", name=re.compile("Warnings"))
    expect(warnings.get_by_role("row", name="lab.chiller")).to_contain_text(
        "the chiller does not answer", timeout=60_000
    )
    expect(warnings.get_by_role("row", name="lab.chiller")).to_contain_text("restart")
    expect(page.get_by_role("status").filter(has_text="want attention")).to_be_visible()
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_role("button", name="Look again")).to_be_enabled(timeout=60_000)


def test_object_without_a_transport_has_no_traffic(page: Page, pages: Pages) -> None:
    log_in(page, pages, "/o/lab/spare")
    expect(page.get_by_role("row", name="voltage Voltage")).to_be_visible()
    expect(page.get_by_role("region", name="Traffic", exact=True)).to_be_hidden()
