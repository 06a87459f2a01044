"""The arithmetic of the benchmarks, and the measures' own consistency; nothing here takes time."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.draw import draw
from benchmarks.machine import BUSY, describe, warning
from benchmarks.measures import ORDER, WEB
from benchmarks.measures.loop_lateness import lateness
from benchmarks.pages import (
    BEGIN,
    END,
    PAGE,
    README,
    WEB_BEGIN,
    WEB_END,
    WEB_PAGE,
    replace_section,
    section,
    summary,
    web_summary,
)
from benchmarks.plan import Goal
from benchmarks.results import DIRECTORY, Found, Results, load_results, measure_named
from benchmarks.table import NAMES, markdown, number, text

ROUNDS = [
    {"ours": {"value": 10.0}, "upstream": {"value": 20.0}},
    {"ours": {"value": 10.0}},
    {"ours": {"value": 30.0}, "upstream": {"value": 20.0}},
    {"ours": {"value": 12.0}, "upstream": {"value": 10.0}},
]


def results() -> Results:
    found = Found([dict(figures) for figures in ROUNDS], {"pyro5": "it said no"}, 0.3)
    return Results(describe(), {"trio": "1"}, "2030-01-02", 0.0, 1.0, {"call_remote": found})


def test_a_ratio_is_made_from_two_figures_of_one_round() -> None:
    assert Goal(versus="upstream", at_most=0.5).pairs(ROUNDS) == [0.5, 1.5, 1.2]


def test_the_middle_ratio_decides() -> None:
    found = Found(ROUNDS)
    assert found.verdict(Goal(versus="upstream", at_most=1.2)).met
    assert not found.verdict(Goal(versus="upstream", at_most=1.19)).met
    assert not found.verdict(Goal(versus="upstream", at_least=1.21)).met


def test_a_figure_may_be_held_against_a_limit_of_its_own() -> None:
    verdict = Found(ROUNDS).verdict(Goal(at_most=11.0))
    assert verdict.met
    assert verdict.ratio == (11.0, 10.0, 30.0)


def test_a_goal_without_figures_is_not_reached() -> None:
    verdict = Found(ROUNDS).verdict(Goal(run="pyro5", at_most=1e9))
    assert verdict.ratio is None
    assert not verdict.met


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    results().save(path)
    assert load_results(path) == results()


def test_the_table_has_a_row_for_each_goal_and_says_who_failed() -> None:
    rows = markdown(results()).splitlines()
    assert len(rows) == 2 + len(measure_named("call_remote").goals)
    assert "qmi-trio / QMI | 1.2 (0.5 to 1.5) | ≤ 0.45 | no" in rows[2]
    assert "Pyro5: -" in rows[2]
    assert "it said no" in text(results())


def test_page_keeps_what_stands_around_the_results() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replace_section(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(ValueError, match="no lines"):
        replace_section("nothing", "new")


def test_page_and_readme_show_the_latest_results() -> None:
    latest = load_results(DIRECTORY / "latest.json")
    for page, content in ((PAGE, section(latest)), (README, summary(latest))):
        text = page.read_text(encoding="utf-8")
        assert replace_section(text, content) == text, f"make bench-pages writes {page.name} anew"


def test_pages_show_the_latest_results_of_the_pages() -> None:
    latest = load_results(DIRECTORY / "web.json")
    for page, content in ((PAGE, section(latest)), (WEB_PAGE, web_summary(latest))):
        text = page.read_text(encoding="utf-8")
        shown = replace_section(text, content, WEB_BEGIN, WEB_END)
        assert shown == text, f"make bench-pages writes {page.name} anew"


def test_summary_of_the_pages_says_what_was_measured_and_no_more() -> None:
    rounds = [{"ours:live": {"renderer": 21.0, "pictures": 19.6}}]
    found = Results(describe(), {}, "2030-01-02", 0.0, 1.0, {"web_plots": Found(rounds)})
    assert web_summary(found) == (
        "Measured on 2030-01-02: ten live plots at 20 Hz, all in sight, take 21 % of one processor of the browser, at "
        "19.6 pictures a second each. [All figures](../benchmarks.md#the-pages)."
    )


def test_summary_names_figures_of_both_and_how_many_goals_are_reached() -> None:
    assert summary(results()) == (
        "Measured beside QMI on 2030-01-02: a call between two programs takes 11 µs (QMI: 20 µs); "
        "0 of 1 goals are reached. [All figures](docs/benchmarks.md)."
    )


def test_the_section_names_neither_host_nor_path() -> None:
    content = section(results())
    assert "2030-01-02" in content
    assert Path.cwd().as_posix() not in content


def test_a_busy_machine_is_warned_of() -> None:
    processors = int(str(describe()["processors"]))
    assert warning(BUSY * processors) is None
    assert "doubtful" in (warning(BUSY * processors + 1) or "")


def test_lateness_is_counted_from_the_grid() -> None:
    times = [1.0 + 0.002 * index + 0.0001 * (index % 2) for index in range(300)]
    late = lateness(times, 0.002)
    assert min(late) == pytest.approx(0.0, abs=1e-9)
    assert max(late) == pytest.approx(0.0001, abs=1e-9)


@pytest.mark.parametrize("name", [*ORDER, *WEB])
def test_goals_speak_of_systems_that_are_measured(name: str) -> None:
    measure = measure_named(name)
    for run in measure.runs:
        assert run.partition(":")[0] in NAMES
        assert (Path("benchmarks/systems") / f"{run.partition(':')[0]}.py").is_file()
    for goal in measure.goals:
        assert goal.run in measure.runs
        assert goal.versus is None or goal.versus in measure.runs


@pytest.mark.parametrize(("value", "shown"), [(1234567.0, "1,230,000"), (0.01234, "0.0123"), (999.6, "1,000")])
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_picture_shows_goals_of_nothing_too(tmp_path: Path) -> None:
    found = {
        name: Found([{"ours": dict.fromkeys(("value", *(goal.figure for goal in goals)), value)}], {}, 0.3)
        for name, value, goals in (
            ("site_crowd", 0.0, measure_named("site_crowd").goals),
            ("million", 2.0, measure_named("million").goals),
        )
    }
    assert any(goal.at_most == 0 for name in found for goal in measure_named(name).goals)
    draw(Results(describe(), {"trio": "1"}, "2030-01-02", 0.0, 1.0, found), tmp_path / "results.png")
    assert (tmp_path / "results.png").stat().st_size > 1000


def test_measure_of_many_goals_has_one_row_that_names_what_is_missed() -> None:
    goals = measure_named("values").goals
    ours = dict.fromkeys(("value", *(goal.figure for goal in goals)), 1.0) | {"floats_10": 3.0, "rows_100": 2.2}
    upstream = dict.fromkeys(ours, 2.0)
    del upstream["dict_10"]  # it has failed there
    found = {"values": Found([{"ours": ours, "upstream": upstream}], {}, 0.3)}
    [row] = markdown(Results(describe(), {"trio": "1"}, "2030-01-02", 0.0, 1.0, found)).splitlines()[2:]
    assert "missed: dict_10 -, floats_10 1.5, rows_100 1.1 |" in row
    assert f"| {len(goals) - 3} of {len(goals)} |" in row
    assert "| 0.5 in the middle |" in row
