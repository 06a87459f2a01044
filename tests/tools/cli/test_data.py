"""``qmi data``: runs are found, shown, followed and exported."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import qmi.data
from qmi.core.context import QMI_Context
from qmi.data.recording import Run
from qmi.tools.cli.candidates import answer
from qmi.tools.cli.completion_cache import Cache
from tests.support import cli_terminal
from tests.support.cli import Cli, serving, shared_laboratory, write_lab
from tests.support.followed import recorder
from tests.support.recorded import Supply

pytest.importorskip("h5netcdf")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    path = write_lab(folder)
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "datastore": str(folder / "data")}), encoding="utf-8")
    return path


@pytest.fixture(scope="module", autouse=True)
def folder(config: Path) -> Path:
    """The runs: one of each state, and one that goes on."""
    found = config.parent / "data" / "runs"
    with qmi.data.run("cooldown", {"T": "K", "V": "V"}, tags=["A12"], coordinates=["V"], folder=found) as run:
        for step in range(5):
            run.add(T=300.0 - step, V=0.5 * step)
        run.comment("the pump\nwas loud")
    with contextlib.suppress(ValueError), qmi.data.run("sweep", {"f": "Hz", "trace": "V"}, folder=found) as run:
        run.add(f=1.0, trace=[1.0, math.nan, 3.0])
        raise ValueError("it is broken")
    return found


@pytest.fixture
def served(config: Path) -> Iterator[QMI_Context]:
    with serving(config) as context, shared_laboratory(config, "qmi.tools.cli.session"):
        yield context


@pytest.fixture
def running(folder: Path) -> Iterator[Run]:
    with qmi.data.run("night", {"x": "mV"}, folder=folder, tags=["long"]) as run:
        run.add(x=1.0)
        run.comment("quiet")
        run.add(x=2.0)
        yield run


# ls


def test_runs_are_listed_oldest_first(cli: Cli) -> None:
    done = cli("data", "ls", "[cs]*", "--until", "2100-01-01")
    assert (done.code, done.out) == (0, "")  # only * is a pattern
    done = cli("data", "ls", "--tag", "A12")
    heads, row = done.out.splitlines()
    assert heads.split() == ["RUN", "STARTED", "TOOK", "STATE", "ROWS", "TAGS", "COMMENT"]
    assert re.fullmatch(r"\d{8}-\d{6}_cooldown +[-\d]{10} [:\d]{8} +0:0\d +done +5 +A12 +the pump / was loud", row)


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (["--state", "failed"], ["sweep"]),
        (["sw*"], ["sweep"]),
        (["--name", "cooldown", "--since", "1h"], ["cooldown"]),
        (["--since", "2d", "-n", "1", "--state", "failed"], ["sweep"]),
        (["--until", "2000-01-01"], []),
        (["--since", "2100-01-01 12:00"], []),
    ],
)
def test_conditions_are_those_of_the_library(cli: Cli, conditions: list[str], names: list[str]) -> None:
    found = cli("data", "ls", *conditions, "--json").json
    assert [info["name"] for info in found] == names


def test_run_that_goes_on_has_no_number_of_rows(cli: Cli, running: Run) -> None:
    (info,) = cli("data", "ls", "--state", "running", "--json").json
    assert (info["run_id"], info["rows"], info["ended"], info["tags"]) == (running.run_id, None, None, ["long"])


def test_no_runs_are_no_error(cli: Cli, tmp_path: Path) -> None:
    done = cli("data", "ls", "--folder", str(tmp_path))
    assert (done.code, done.out, done.err) == (0, "", f"qmi: no runs in {tmp_path}\n")
    assert cli("data", "ls", "--folder", str(tmp_path), "--json").json == []


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (["colldown"], "goes with name colldown. Did you mean 'cooldown'?"),
        (["--name", "xyzzy"], "goes with name xyzzy"),
        (["--tag", "A99"], "goes with --tag A99"),
        (["--until", "2000-01-01"], "goes with --until"),
        (["cooldown", "--state", "failed"], "goes with name cooldown, --state failed"),
    ],
)
def test_no_runs_of_a_kind_are_not_told_as_no_runs(cli: Cli, conditions: list[str], said: str) -> None:
    done = cli("data", "ls", *conditions)
    assert (done.code, done.out, done.err.count("\n")) == (0, "", 1)
    assert done.err.startswith("qmi: no run in ")
    assert done.err.endswith(f" {said}\n")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        *(
            (words, 1, "there is no folder /nothing/here")
            for words in (
                ["ls", "--folder", "/nothing/here"],
                ["show", "cooldown", "--folder", "/nothing/here"],
                ["recover", "--folder", "/nothing/here"],
            )
        ),
        (["plot", "cooldown", "--file", "a.xyz"], 2, "file must end with one of "),
        (["plot", "cooldown", "--file", "a."], 2, "got 'a.'"),
        (
            ["ls", "--since", "soon"],
            2,
            "must be a time such as '2026-11-26 14:00', or a duration such as 2d, got 'soon'",
        ),
        (["ls", "--since", "999999999d"], 2, "or a duration such as 2d, got '999999999d'"),
        (["ls", "--state", "ended"], 2, "must be one of running, done, failed, interrupted, got 'ended'"),
        (["ls", "-n", "0"], 2, "must be a whole number from 1 on, got '0'"),
        (["ls", "a", "--name", "b"], 2, "give one of them"),
        (["ls", "--folder", "x", "--context", "lab"], 2, "--folder and --context do not go together"),
        (["ls", "--context", "nowhere"], 1, "context 'nowhere' of workgroup 'cli' was not found"),
        (["show", "nothing"], 1, "there is no run with the id or name 'nothing'"),
        (["show", "../x"], 1, "there is no run with the id or name '../x'"),
        (["follow", "nothing"], 1, "there is no run with the id or name 'nothing'"),
        (["follow", "cooldown", "--first", "-1"], 2, "must be the number of a row, 0 or more, got '-1'"),
        (["follow", "cooldown", "--wait", "x"], 2, "must be a duration such as 90s, 30m or 2h, got 'x'"),
        (["export", "nothing", "a.csv"], 1, "there is no run with the id or name 'nothing'"),
        (["export", "cooldown", "a.xls"], 2, "file must end with one of '.csv'"),
        (["plot", "cooldown", "--term", "-y", "W"], 2, "'W'"),
        (["plot", "cooldown", "--json"], 2, "there is no JSON of a plot"),
        (["recover", "x"], 2, "unrecognized arguments: x"),
        (["lst"], 2, "did you mean 'ls'? There are ls, show, plot, export, "),
        ([], 2, "'qmi data' needs a command: ls, show, plot, "),
    ],
)
def test_wrong_arguments_are_told_in_a_line(cli: Cli, arguments: list[str], code: int, said: str) -> None:
    done = cli("data", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert said in done.err


# show


def test_show_tells_what_is_known(cli: Cli) -> None:
    out = cli("data", "show", "cooldown", "--rows", "2").out
    assert re.search(r"^\d{8}-\d{6}_cooldown  done$", out, re.MULTILINE)
    assert re.search(r"^began [-\d]{10} [:\d]{8}, took 0:0\d, 5 rows$", out, re.MULTILINE)
    assert re.search(r"^tags A12$", out, re.MULTILINE)
    assert re.search(r"^comment of [-\d]{10} [:\d]{8}: the pump / was loud$", out, re.MULTILINE)
    assert re.search(r"^T +K +float$", out, re.MULTILINE)
    assert re.search(r"^V +V +float +coordinate$", out, re.MULTILINE)
    assert re.search(r"^time +T \[K\] +V \[V\]\n.* 300 +0\n.* 299 +0\.5$", out, re.MULTILINE)


def test_show_of_a_failed_run_says_why(cli: Cli) -> None:
    out = cli("data", "show", "sweep").out
    assert re.search(r"_sweep  failed: .*it is broken$", out, re.MULTILINE)
    assert re.search(r"^trace +V +float x 3$", out, re.MULTILINE)


def test_show_of_a_run_that_goes_on(cli: Cli, running: Run) -> None:
    told = cli("data", "show", "night", "--json", "--rows", "9").json
    assert (told["run_id"], told["state"], told["ended"], told["rows"]) == (running.run_id, "running", None, 2)
    assert [comment["text"] for comment in told["comments"]] == ["quiet"]
    assert told["first_rows"] == [{"x": 1.0}, {"x": 2.0}]


def test_show_tells_what_changed_during_the_run(cli: Cli, served: QMI_Context, folder: Path) -> None:
    supply = served.make_instrument("psu", Supply)
    supply.open()
    supply.voltage = 1.0
    supply.outputs[1].level = 4.0
    with qmi.data.run("ramp", {"x": ""}, folder=folder, instruments=[supply]):
        supply.voltage = 2.5
    out = cli("data", "show", "ramp").out
    assert re.search(r"^lab\.psu +Supply +2 of 4 parameters +voltage: 1(\.0)? V -> 2\.5 V$", out, re.MULTILINE), out


def test_show_follow_and_export_of_another_computer(
    cli: Cli, served: QMI_Context, running: Run, tmp_path: Path
) -> None:
    infos = cli("data", "ls", "--context", "lab", "--json").json
    assert {"cooldown", "sweep", "night"} <= {info["name"] for info in infos}
    told = cli("data", "show", "night", "--context", "lab", "--json").json
    assert (told["state"], told["rows"], told["comments"][0]["text"]) == ("running", 2, "quiet")
    told = cli("data", "show", "cooldown", "--context", "lab", "--json", "--rows", "1").json
    assert (told["state"], told["rows"], told["first_rows"]) == ("done", 5, [{"T": 300.0, "V": 0.0}])
    rows = cli("data", "follow", "cooldown", "--context", "lab", "--json").out.splitlines()
    assert [json.loads(row)["values"]["V"] for row in rows] == [0.0, 0.5, 1.0, 1.5, 2.0]
    file = tmp_path / "cooldown.csv"
    assert cli("data", "export", "cooldown", str(file), "--context", "lab").code == 0
    assert file.read_text(encoding="utf-8").splitlines()[0] == "time,V [V],T [K]"


@pytest.mark.parametrize("context", [[], ["--context", "lab"]], ids=["here", "context"])
def test_export_of_a_run_that_still_lasts_has_the_rows_so_far(
    cli: Cli, served: QMI_Context, running: Run, tmp_path: Path, context: list[str]
) -> None:
    file = tmp_path / "night.csv"
    done = cli("data", "export", "night", str(file), *context)
    assert (done.code, done.out) == (0, "")
    assert done.err == f"qmi: {file} is written with the rows so far: run {running.run_id} still lasts\n"
    head, *lines = file.read_text(encoding="utf-8").splitlines()
    assert head == "time,x [mV]"
    assert lines
    told = cli("data", "export", "night", str(file), "--force", "--json", *context).json
    assert told == {"file": str(file), "running": running.run_id}


# follow, export, plot, recover


def test_follow_prints_all_rows(cli: Cli) -> None:
    done = cli("data", "follow", "cooldown", "--first", "3")
    heads, *rows = done.out.splitlines()
    assert heads.split() == ["time", "T", "[K]", "V", "[V]"]
    assert [row.split()[2:] for row in rows] == [["297", "1.5"], ["296", "2"]]
    assert (done.code, done.err) == (0, "")


def test_follow_of_a_failed_run_fails(cli: Cli) -> None:
    done = cli("data", "follow", "sweep", "--json")
    assert json.loads(done.out)["values"] == {"f": 1.0, "trace": [1.0, None, 3.0]}
    assert done.code == 1
    assert re.fullmatch(r"qmi: run \d{8}-\d{6}_sweep has failed\n", done.err)


def test_export_writes_a_file_and_replaces_none(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "cooldown.csv"
    assert cli("data", "export", "cooldown", str(file)).err == f"qmi: {file} is written\n"
    with open(file, newline="", encoding="utf-8") as stream:
        assert len(list(csv.reader(stream))) == 6
    done = cli("data", "export", "cooldown", str(file))
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "already: give another name, or --force" in done.err
    assert cli("data", "export", "cooldown", str(file), "--force", "--json").json == {"file": str(file)}


def test_plot_in_a_pipe_is_drawn_once(cli: Cli) -> None:
    done = cli("data", "plot", "cooldown", "--term", "-y", "T")
    assert done.code == 0
    assert "cooldown" in done.out.splitlines()[0]
    assert "T [K]" in done.out


def test_recover_shows_what_it_has_recovered(cli: Cli, tmp_path: Path) -> None:
    with recorder(tmp_path) as program:
        program.add(3)
        program.kill()
    (info,) = cli("data", "recover", "--folder", str(tmp_path), "--json").json
    assert (info["state"], info["rows"]) == ("interrupted", 3)
    done = cli("data", "recover", "--folder", str(tmp_path))
    assert (done.code, done.out) == (0, "")
    assert done.err == f"qmi: no run in {tmp_path} was cut short; the index is complete\n"


# Completion


def completed(config: Path, *words: str) -> list[str]:
    printed = answer(["fish", "--config", str(config), *words], lambda *_: Cache())
    return [line.partition("\t")[0] for line in printed.splitlines()]


def test_names_of_runs_are_completed(config: Path, folder: Path) -> None:
    assert completed(config, "data", "show", "co") == ["cooldown"]
    assert set(completed(config, "data", "ls", "")) >= {"cooldown", "sweep"}
    run_id = next(folder.glob("*/*_cooldown.nc")).stem
    assert run_id in completed(config, "data", "export", run_id[:8])
    assert completed(config, "data", "export", "cooldown", "") == [":files"]
    assert completed(config, "data", "ls", "--state", "f") == ["failed"]


# In a terminal


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 200])
def test_runs_in_a_terminal(config: Path, width: int) -> None:
    code, printed = cli_terminal.ended(cli_terminal.spawn(config, "data", "ls", "--tag", "A12", width=width))
    assert code == 0
    assert "_cooldown" in re.sub(r"\s", "", printed)
    assert all(len(line) <= width for line in printed.splitlines())


@pytest.mark.slow
def test_follow_in_a_terminal_prints_rows_as_they_come_until_ctrl_c(tmp_path: Path, config: Path) -> None:
    with recorder(tmp_path) as program:
        program.add(1)
        terminal = cli_terminal.spawn(config, "data", "follow", "cooldown", "--folder", str(tmp_path), width=80)
        terminal.expect(r"x \[V\] +text\r\n.* 0 +n0\r\n")
        program.add(1)
        terminal.expect(r" 1\r\n")
        terminal.sendintr()
        assert cli_terminal.ended(terminal)[0] == 0
        following = cli_terminal.spawn(config, "data", "follow", "cooldown", "--folder", str(tmp_path), width=80)
        following.expect(r" 1\r\n")
        program.end()
        assert cli_terminal.ended(following)[0] == 0


def test_data_annotate_adds_to_a_run_and_takes_tags_away(cli: Cli) -> None:
    info = cli("data", "annotate", "cooldown", "--comment", "a leak", "--tag", "leak", "--untag", "A12", "--json").json
    assert (info[0]["tags"], info[0]["comment"].splitlines()[-1]) == (["leak"], "a leak")
    assert "a leak" in cli("data", "show", "cooldown").out
    assert "leak" in cli("data", "ls", "--tag", "leak").out
    done = cli("data", "annotate", "cooldown")
    assert (done.code, "give --comment TEXT" in done.err) == (2, True)
    assert cli("data", "annotate", "cooldown", "--untag", "A12").code == 2
