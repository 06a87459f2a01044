"""``qmi scan``: scans are seen, steered and begun."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import qmi.data
from qmi.core.context import QMI_Context
from qmi.core.exceptions import QMI_UnknownRpcException
from qmi.core.task import QMI_LoopTask
from qmi.names import Address
from qmi.scan import ScanHandle, ScanInfo, ScanQueue, readable, repeat, scan
from qmi.scan.description import description_of
from qmi.tools.cli.candidates import answer
from qmi.tools.cli.completion_cache import Cache
from qmi.tools.cli.scan_follow import follow_scan
from qmi.tools.cli.scan_list import SeenScan, SeenScans, blocks
from qmi.tools.cli.session import Laboratory
from qmi.tools.cli.terminal import Terminal
from tests.support import cli_terminal
from tests.support.cli import Cli, serving, shared_laboratory, write_lab
from tests.support.shell_driver import ShellSupply
from tests.support.waiting import wait_until

pytest.importorskip("h5netcdf")


class Idle(QMI_LoopTask[None, None]):
    """Is no queue."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    path = write_lab(folder)
    content = json.loads(path.read_text(encoding="utf-8"))
    content |= {"datastore": str(folder / "data"), "qmi_home": str(folder)}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def served(config: Path) -> Iterator[QMI_Context]:
    with serving(config) as context:
        context.make_instrument("psu", ShellSupply).open()
        context.make_task("scans", ScanQueue).start()
        context.make_task("idle", Idle)
        yield context


@pytest.fixture(autouse=True)
def shared(served: QMI_Context, config: Path) -> Iterator[None]:
    with shared_laboratory(config, "qmi.tools.cli.session", "qmi.tools.cli.scan_run"):
        yield
    queue = served.get_task("lab.scans")
    for info in queue.list_scans():
        if info.ended is None:
            queue.abort_scan(info.id)
            queue.get_outcome(info.id)
    queue.resume_queue()


@pytest.fixture
def paused(served: QMI_Context) -> Any:
    queue = served.get_task("lab.scans")
    queue.pause_queue("helium is low")
    return queue


def given(cli: Cli, *arguments: str) -> str:
    """Give a scan to the queue; its id."""
    return str(cli("scan", "run", "lab.psu.voltage", *arguments, "--queue", "lab.scans", "--json").json["scan"])


class NightShift(ScanQueue):
    """A queue by another name."""


class NoScanQueue(QMI_LoopTask[None, None]):
    """Is no queue, in spite of its name."""


def test_queue_is_found_whatever_its_class_is_called(cli: Cli, served: QMI_Context) -> None:
    night = served.make_task("night", NightShift)
    none = served.make_task("none", NoScanQueue)
    try:
        night.pause_queue("it is day")
        told = {queue["address"]: queue["paused"] for queue in cli("scan", "ls", "--json").json["queues"]}
        assert sorted(told) == ["lab.night", "lab.scans"]
        assert "it is day" in told["lab.night"]
    finally:
        served.remove_rpc_object(night)
        served.remove_rpc_object(none)


@pytest.mark.parametrize("missing", ["list_queues", "get_pause_reason"])
def test_queue_of_an_older_version_is_found_by_its_class(
    cli: Cli, served: QMI_Context, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    asked = Laboratory.call_object

    def call_object(self: Laboratory, address: Address, method: str, /, *args: object, **options: Any) -> Any:
        if method == missing:
            raise QMI_UnknownRpcException(f"{address} has no method {method!r}")
        return asked(self, address, method, *args, **options)

    monkeypatch.setattr(Laboratory, "call_object", call_object)
    done = cli("scan", "ls", "--json")
    assert done.code == 0
    expected = ["lab.scans"] if missing == "list_queues" else []
    assert [queue["address"] for queue in done.json["queues"]] == expected


# run


def test_scan_is_carried_out_and_its_rows_are_printed(cli: Cli, served: QMI_Context) -> None:
    done = cli(
        "scan", "run", "lab.psu.voltage", "0", "500mV", "3", "--measure", "lab.psu.temperature", "-m",
        "p=lab.psu.pressure", "--finally", "lab.psu.voltage=1 V", "--settle", "1ms",
    )  # fmt: skip
    assert done.code == 0, done.err
    heads, *rows = done.out.splitlines()
    assert heads.split() == ["time", "psu_voltage", "[V]", "psu_temperature", "[degC]", "p", "[mbar]"]
    assert [row.split()[2:] for row in rows] == [[volts, "41.5", "7.5"] for volts in ("0", "0.25", "0.5")]
    assert re.fullmatch(r"qmi: 3 of 3 points, .* per s, done after 0:00\n", done.err)
    assert served.get_instrument("lab.psu").voltage == 1.0


def test_rows_are_kept_in_a_run_where_the_configuration_says(cli: Cli, config: Path) -> None:
    done = cli("scan", "run", "lab.psu.voltage", "--values", "1,2 mV", "--run", "iv", "--tag", "A12", "--json")
    assert done.code == 0, done.err
    *rows, end = [json.loads(line) for line in done.out.splitlines()]
    assert [row["values"]["psu_voltage"] for row in rows] == [1.0, 0.002]
    assert (end["state"], end["points"], end["length"]) == ("done", 2, 2)
    (info,) = qmi.data.runs("iv", folder=config.parent / "data" / "runs")
    assert (info.run_id, info.rows, info.tags) == (end["run_id"], 2, ("A12",))


def test_all_parameters_that_a_pattern_fits_are_measured(cli: Cli) -> None:
    done = cli("scan", "run", "lab.psu.voltage", "1", "1", "1", "-m", "lab.psu.*ure", "--json")
    assert sorted(json.loads(done.out.splitlines()[0])["values"]) == ["psu_pressure", "psu_temperature", "psu_voltage"]


def test_scan_that_fails_is_told_in_a_line_and_its_end_is_done(cli: Cli, served: QMI_Context) -> None:
    done = cli("scan", "run", "lab.psu.voltage", "0", "2000", "3", "--finally", "lab.psu.voltage=2")
    assert done.code == 1
    assert re.search(r"^qmi: 0 of 3 points, .*failed", done.err, re.MULTILINE)
    assert done.err.splitlines()[-1] == (
        "qmi: the scan has failed: voltage of psu must be from 0 to 30 V, got 1000.0 V "
        "(value 2 of 3 of the scan, which has set nothing yet)"
    )
    assert served.get_instrument("lab.psu").voltage == 2.0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "lab.psu.voltage", "0", "5"], 2, "give START STOP NUMBER, such as 0 5 51, or --values 0,1,5; got 0 5"),
        (["run", "lab.psu.voltage", "0", "5", "x"], 2, "NUMBER must be a whole number from 1 on, got 'x'"),
        (["run", "lab.psu.voltage", "0", "5", "3", "--values", "1"], 2, "got both"),
        (["run", "lab.psu.voltage", "0", "5 A", "3"], 2, "lab.psu.voltage must be"),
        (["run", "lab.psu.label", "a", "b", "3"], 2, "has no numbers between 'a' and 'b'"),
        (["run", "lab.psu.temperature", "0", "5", "3"], 1, "lab.psu.temperature can only be read"),
        (["run", "lab.psu.voltag", "0", "5", "3"], 1, "Did you mean 'voltage'?"),
        (["run", "lab.psu.*", "0", "5", "3"], 2, "one parameter is set, got 'lab.psu.*'"),
        (["run", "lab.psu", "0", "5", "3"], 2, "such as lab.psu.voltage"),
        (["run", "lab.psu.voltage", "0", "5", "3", "-m", "x=lab.psu.*"], 2, "leave 'x' out"),
        (["run", "lab.psu.voltage", "0", "5", "3", "-m", "lab.psu.nothing"], 1, "has no parameter 'nothing'"),
        (["run", "lab.psu.voltage", "0", "5", "3", "--finally", "lab.psu.voltage"], 2, "written lab.psu.voltage=0"),
        (["run", "lab.psu.voltage", "0", "5", "3", "--ramp", "5"], 2, "--ramp goes with --finally"),
        (["run", "lab.psu.voltage", "0", "5", "3", "--settle", "-1"], 2, "must be a duration such as"),
        (["run", "lab.psu.voltage", "0", "5", "3", "--tag", "A"], 2, "tags are those of a run"),
        (["run", "lab.psu.voltage", "0", "5", "3", "--run", "a/b"], 2, "the name of a run must be"),
        (["run", "lab.psu.voltage", "0", "5", "3", "--follow"], 2, "--follow goes with --queue"),
        (["run", "lab.psu.voltage", "0", "5", "3", "--queue", "lab.idle"], 2, "A scan is given to a queue"),
        (["run", "lab.psu.voltage", "0", "5", "3", "--queue", "lab.none"], 1, "none"),
        (["pause", "nothing"], 1, "no scan 'nothing' goes on or waits in lab"),
        (["follow", "nothing", "--context", "lab"], 1, "no scan 'nothing' goes on or waits in lab"),
        (["stop", "x", "--context", "nowhere"], 1, "context 'nowhere' of workgroup 'cli' was not found"),
        (["ls", "nowhere"], 1, "context 'nowhere' of workgroup 'cli' was not found"),
        (["queue", "lab.idle", "ls"], 1, "lab.idle is no queue of scans"),
        (["queue", "lab.scans", "remove"], 2, "'remove' takes the ID of a scan that waits"),
        (["queue", "lab.scans", "ls", "x"], 2, "'ls' takes no ID, got 'x'"),
        (["queue", "lab.scans", "ls", "--reason", "x"], 2, "--reason goes with pause"),
        (["queue", "lab.scans", "remove", "x"], 1, "'x'"),
        (["queue", "lab"], 2, "an object is written CONTEXT.OBJECT"),
        (["shake"], 2, "there is no command 'shake' of 'qmi scan': there are ls, pause, "),
    ],
)
def test_wrong_arguments_are_told_in_a_line(cli: Cli, arguments: list[str], code: int, said: str) -> None:
    done = cli("scan", *arguments)
    assert (done.code, done.err.count("\n")) == (code, 1), done.err
    assert said in done.err


# ls and queue


def test_scans_that_wait_are_listed_with_whom_they_are_for(cli: Cli, paused: Any) -> None:
    first = given(cli, "0", "5", "51", "-m", "lab.psu.temperature", "--comment", "for Ada", "--settle", "2")
    second = given(cli, "--values", "1")
    done = cli("scan", "ls")
    assert done.code == 0
    reason, heads, *rows = done.out.splitlines()
    assert reason.startswith("lab.scans begins no scan: paused by context ")
    assert reason.endswith(": helium is low")
    assert heads.split() == ["SCAN", "IN", "STATE", "POINTS", "LEFT", "WHAT", "FOR", "SINCE", "RUN", "COMMENT"]
    assert re.match(rf"{first} +lab\.scans +waiting +0/51 +scan of psu_voltage, 51 points, measures ", rows[0])
    assert rows[0].endswith("for Ada")
    assert [row.split()[0] for row in rows] == [first, second]
    told = cli("scan", "ls", "lab", "--json").json
    assert [entry["id"] for entry in told["scans"]] == [first, second]
    assert told["queues"][0]["address"] == "lab.scans"
    assert told["scans"][0] | {"user": "", "state": "waiting", "queue": "lab.scans"} == {
        **told["scans"][0], "user": ""
    }  # fmt: skip


def test_settle_of_the_command_line_reaches_the_queue(cli: Cli, paused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def note(plain: object) -> Any:
        seen.append(description_of(plain))
        return seen[-1]

    monkeypatch.setattr("qmi.scan.queue.description_of", note)
    given(cli, "1", "2", "2", "--settle", "200ms", "--finally", "lab.psu.voltage=0", "--ramp", "5")
    assert (seen[0].settle, seen[0].ending[0].ramp, seen[0].points.parts) == (0.2, 5.0, (1.0, 2.0))


def test_queue_is_steered(cli: Cli, paused: Any) -> None:
    ids = [given(cli, "--values", value) for value in ("1", "2", "3")]

    def waiting() -> list[str]:
        told = cli("scan", "queue", "lab.scans", "--json").json
        return [entry["id"] for entry in told["scans"] if entry["state"] == "waiting"]

    assert cli("scan", "queue", "lab.scans", "first", ids[2]).err == f"qmi: {ids[2]} is the next one\n"
    assert waiting() == [ids[2], ids[0], ids[1]]
    assert cli("scan", "queue", "lab.scans", "remove", ids[0]).code == 0
    assert cli("scan", "stop", ids[1], "--json").json == {"scan": ids[1], "asked": "stop"}
    assert waiting() == [ids[2]]
    assert cli("scan", "queue", "lab.scans", "pause", "--reason", "lunch").code == 0
    assert cli("scan", "queue", "lab.scans", "ls", "--json").json["paused"].endswith(": lunch")
    assert cli("scan", "queue", "lab.scans", "resume").err == "qmi: lab.scans goes on\n"
    assert paused.get_outcome(ids[2]).state == "done"
    assert cli("scan", "ls", "lab").out == "no scan goes on or waits\n"
    assert ids[2] in cli("scan", "ls", "lab", "--all").out


@pytest.mark.parametrize(("contexts", "text"), [(["lab"], "no scans"), ([], "no context answers")])
def test_empty_list_says_whether_somebody_has_answered(contexts: list[str], text: str) -> None:
    assert list(map(str, blocks(SeenScans([], [], contexts, {}), ended=True, width=80))) == [text]


def test_scan_of_a_script_is_seen_and_steered(cli: Cli, served: QMI_Context, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def measure() -> float:
        reached.set()
        assert go_on.wait(20)
        return 1.0

    # As in a script that has this context: nothing of it is in a queue.
    made = scan([], repeat([()])).measure(readable(measure, name="x"))
    thread = threading.Thread(target=made.run)
    monkeypatch.setattr("qmi.scan.running.active_context", lambda: served)
    try:
        thread.start()
        assert reached.wait(20)
        assert re.search(rf"^{made.id} +lab +running +0 ", cli("scan", "ls").out, re.MULTILINE)
        assert "is to wait" in cli("scan", "pause", made.id).err
        go_on.set()
        wait_until(lambda: made.state == "paused")
        assert cli("scan", "ls", "--json").json["scans"][0]["state"] == "paused"
        assert cli("scan", "resume", made.id).code == 0
        assert cli("scan", "abort", made.id).code == 0
        thread.join(20)
        done = cli("scan", "pause", made.id)
        assert (done.code, done.err.count("\n")) == (1, 1)
    finally:
        go_on.set()
        made.abort()


def test_time_left_is_told_by_the_clock_of_the_scan() -> None:
    info = ScanInfo("a", "scan of x", "running", points=10, length=40, started=1000.0)
    assert SeenScan("lab", "", 1020.0, info).left == 60.0
    for other in (info._replace(points=0), info._replace(length=None), info._replace(state="done")):
        assert SeenScan("lab", "", 1020.0, other).left is None


def test_id_that_several_contexts_have_is_asked_for_with_its_context() -> None:
    info = ScanInfo("scans-1", "scan of x", "waiting")
    one, other = SeenScan("lab", "lab.scans", 0.0, info), SeenScan("bench", "bench.scans", 0.0, info)
    with pytest.raises(Exception, match="there are scans 'scans-1' in lab, bench: say --context"):
        SeenScans([], [one, other], ["lab", "bench"], {}).find("scans-1")
    ended = other._replace(info=info._replace(state="done"))
    assert SeenScans([], [one, ended], ["lab", "bench"], {}).find("scans-1") == one
    with pytest.raises(Exception, match="Did you mean 'scans-1'"):
        SeenScans([], [one], ["lab"], {}).find("scan-1")


# follow


def test_follow_prints_the_rows_of_a_scan_and_how_it_has_ended(cli: Cli, served: QMI_Context) -> None:
    done = cli("scan", "run", "lab.psu.voltage", "0", "1", "3", "--run", "iv", "--queue", "lab.scans", "--follow")
    assert done.code == 0, done.err
    heads, *rows = done.out.splitlines()
    assert heads.split() == ["time", "psu_voltage", "[V]"]
    assert [row.split()[2] for row in rows] == ["0", "0.5", "1"]
    assert re.search(r"^qmi: scans-\d+, scan of psu_voltage, 3 points: done, 3 of 3 points$", done.err, re.MULTILINE)
    scan_id = served.get_task("lab.scans").list_scans()[-1].id
    again = cli("scan", "follow", scan_id, "--first", "2", "--json")
    states = [json.loads(line) for line in again.out.splitlines()]
    assert [entry["values"] for entry in states if "values" in entry] == [{"psu_voltage": 1.0}]
    assert (states[-1]["state"], states[-1]["points"]) == ("done", 3)


def test_follow_of_a_scan_without_a_run_tells_its_points(cli: Cli) -> None:
    scan_id = given(cli, "--values", "1,2")
    done = cli("scan", "follow", scan_id)
    assert (done.code, done.out) == (0, "")
    assert f"qmi: {scan_id}, scan of psu_voltage, 2 points: done, 2 of 2 points\n" in done.err


def test_follow_waits_with_the_queue_and_fails_where_the_scan_is_removed(
    cli: Cli, paused: Any, served: QMI_Context, capsys: pytest.CaptureFixture[str]
) -> None:
    scan_id = given(cli, "--values", "1")
    terminal = Terminal(json=True)
    assert follow_scan(ScanHandle(paused, scan_id), terminal, sleep=lambda _: paused.remove_scan(scan_id)) == 1
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert states == ["waiting", "removed"]


# Completion


def test_ids_of_scans_are_completed(cli: Cli, paused: Any, config: Path) -> None:
    scan_id = given(cli, "--values", "1")
    printed = answer(["fish", "--config", str(config), "scan", "pause", "sc"], lambda *_: Cache())
    assert printed.splitlines() == [scan_id]
    printed = answer(["fish", "--config", str(config), "scan", "queue", "lab.scans", "first", ""], lambda *_: Cache())
    assert printed.splitlines() == [scan_id]
    printed = answer(["fish", "--config", str(config), "scan", "queue", "lab.scans", "p"], lambda *_: Cache())
    assert printed.splitlines() == ["pause"]


# In a terminal


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 200])
def test_scans_in_a_terminal(cli: Cli, paused: Any, config: Path, width: int) -> None:
    scan_id = given(cli, "0", "5", "51", "--comment", "for Ada, who wants to see what her sample does")
    code, printed = cli_terminal.ended(cli_terminal.spawn(config, "scan", "ls", "lab", width=width))
    assert code == 0
    assert scan_id in printed
    assert all(len(line) <= width for line in printed.splitlines())


@pytest.mark.slow
def test_ctrl_c_finishes_the_point_and_the_end(config: Path, served: QMI_Context) -> None:
    terminal = cli_terminal.spawn(
        config, "scan", "run", "lab.psu.voltage", "1", "30", "1000", "--settle", "50ms", "--finally",
        "lab.psu.voltage=3", width=80,
    )  # fmt: skip
    terminal.expect(r"2 of 1000 points")
    terminal.sendintr()
    code, printed = cli_terminal.ended(terminal)
    assert code == 130
    assert re.search(r"qmi: \d+ of 1000 points, .*stopped after", printed)
    assert served.get_instrument("lab.psu").voltage == 3.0
