"""``qmi call``, with an instrument of this process and one of another program."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest

from qmi.core.context import QMI_Context
from tests.support.cli import Cli, serving, shared_laboratory, write_lab
from tests.support.shell_driver import ShellSupply


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module", autouse=True)
def lab(config: Path) -> Iterator[QMI_Context]:
    with serving(config) as context:
        context.make_instrument("psu", ShellSupply)
        yield context


@pytest.fixture(scope="module", autouse=True)
def one_laboratory(lab: QMI_Context, config: Path) -> Iterator[None]:
    """Let all commands use one connection; to make a new one takes longer than a command."""
    with shared_laboratory(config, "qmi.tools.cli.call"):
        yield


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["set_voltage", "5"], ""),
        (["set_voltage", "3 mV"], ""),
        (["get_temperature"], "41.5\n"),
        (["get_mode"], "VOLTAGE\n"),
        (["echo", "5"], "5\n"),
        (["echo", "-5"], "-5\n"),
        (["echo", "-1e-3"], "-0.001\n"),
        (["echo", "hello there"], "hello there\n"),
        (["echo", "[1, [2, 3]]"], "1\n[2, 3]\n"),
        (["echo", "None"], ""),
        (["echo", "--", "--json"], "--json\n"),
        (["echo", "value=5"], "5\n"),
        (["echo", "a=b"], "a=b\n"),
        (["choose", "current"], "Mode\nCURRENT\nslow\n1\n"),
        (["choose", "CURR", "fast", "times=3"], "Mode\nCURRENT\nfast\n3\n"),
        (["pulse", "{width: 2, mode: 'CURRENT'}"], "Pulse 2.0 CURRENT\n"),
        (["total", "[1, 2, 3]"], "6.0\n"),
        (["raw", "0x010203"], "3\n"),
        (["trace"], "[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, ..., 99.0] (100 float64)\n"),
        (["points"], "X    Y\n1.0  2.0\n3.0  4.0\n"),
        (["state"], "NAME   VALUE\non     True\nmode   CURRENT\nvolts  1.5\n"),
        (["count", "3"], "0\n1\n2\n"),
        (["outputs[2].ramp", "5", "rate=2"], "channel 2 to 5.0 at 2.0\n"),
        (["outputs[1].set_voltage", "-0 V"], ""),
    ],
)
def test_call_prints_the_result(cli: Cli, arguments: list[str], printed: str) -> None:
    done = cli("call", f"lab.psu.{arguments[0]}", *arguments[1:])
    assert (done.code, done.out, done.err) == (0, printed, "")


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["get_temperature"], 41.5),
        (["set_voltage", "2"], None),
        (["echo", "[1, {a: null}]"], [1, {"a": None}]),
        (["points"], [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": 4.0}]),
        (["trace", "3"], [0.0, 1.0, 2.0]),
    ],
)
def test_call_prints_json(cli: Cli, arguments: list[str], printed: object) -> None:
    assert cli("call", "--json", f"lab.psu.{arguments[0]}", *arguments[1:]).json == printed


def test_call_prints_items_of_a_stream_as_lines_of_json(cli: Cli) -> None:
    done = cli("call", "lab.psu.count", "2", "--json")
    assert [json.loads(line) for line in done.out.splitlines()] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["psu.set_voltage", "abc"], 2, "'value' of lab.psu.set_voltage must be a number from 0 to 30 V, got 'abc'"),
        (["psu.set_current", "5 V"], 2, "must be a number from 0 to 500 mA, got '5 V': it is in mA, and 'V' cannot be"),
        (["psu.outputs[1].set_voltage", "x"], 2, "must be a number from 0 to 30 V, got 'x'"),
        (["psu.set_voltage", "31"], 2, "voltage of psu must be from 0 to 30 V, got 31.0 V"),
        (["psu.set_voltage"], 2, "lab.psu.set_voltage needs its argument 'value'"),
        (["psu.set_voltage", "1", "2"], 2, "takes value: float, and got one more: '2'"),
        (["psu.choose", "POWER"], 2, "must be VOLTAGE or CURRENT, got 'POWER'"),
        (["psu.choose", "CURR", "medium"], 2, "must be 'fast' or 'slow', got 'medium'"),
        (["psu.set_volt", "1"], 1, "lab.psu has no method 'set_volt'. Did you mean 'set_voltage'?"),
        (["psu.voltage"], 1, "lab.psu.voltage is a value and no method: qmi get lab.psu.voltage"),
        (["psu.sig_told"], 1, "lab.psu.sig_told is a signal and no method: qmi monitor lab.psu.sig_told"),
        (["psu.lock"], 1, "lab.psu.lock is no method of the object: qmi lock lab.psu"),
        (["psu.fail"], 1, "lab.psu.fail() failed: ValueError: the fuse is blown"),
        (["pus.fail"], 1, "pus"),
        (["psu.outputs[3].ramp", "1"], 2, "outputs of lab.psu has the numbers 1 to 2; got 3"),
    ],
)  # fmt: skip
def test_call_tells_in_a_line_what_is_wrong(cli: Cli, arguments: list[str], code: int, said: str) -> None:
    done = cli("call", f"lab.{arguments[0]}", *arguments[1:])
    assert done.code == code
    assert said in done.err
    assert done.err.count("\n") == 1


def test_call_without_a_method_lists_them(cli: Cli) -> None:
    done = cli("call", "lab.psu")
    assert "set_voltage(value: float) -> None" in done.out
    assert re.search(r"outputs\[1\]\.ramp\(target: float, rate: float = 1\.0\) -> str +Go to a voltage", done.out)
    listed = {method["name"]: method for method in cli("call", "lab.psu", "--json").json["methods"]}
    assert listed["choose"]["parameters"][1]["default"] == "'slow'"


def test_help_of_a_method_is_its_documentation(cli: Cli) -> None:
    done = cli("call", "lab.psu.echo", "--help")
    assert done.code == 0
    assert done.out.startswith("lab.psu.echo(value)\n\nGive back what came.\n")
    assert "in V." in cli("call", "lab.psu.set_voltage", "--help").out
    assert "qmi call lab.psu.set_voltage 5" in cli("call", "--help").out


def test_result_is_written_to_a_file(cli: Cli, tmp_path: Path) -> None:
    trace, table, counted = (tmp_path / name for name in ("t.npy", "t.csv", "c.csv"))
    assert cli("call", "lab.psu.trace", "3", "-o", str(trace)).err == f"qmi: an array of shape 3 written to {trace}\n"
    assert numpy.load(trace).tolist() == [0.0, 1.0, 2.0]
    cli("call", "lab.psu.points", "-o", str(table))
    assert table.read_text() == "x,y\n1.0,2.0\n3.0,4.0\n"
    cli("call", "lab.psu.count", "2", "-o", str(counted))
    assert counted.read_text() == "0\n1\n"
    cli("call", "lab.psu.echo", "[[1, 2], [3, 4]]", "-o", str(counted))
    assert counted.read_text() == "1,2\n3,4\n"


def test_result_that_has_no_place_in_a_file_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("call", "lab.psu.set_voltage", "1", "-o", str(tmp_path / "t.npy")).code == 1
    refused = cli("call", "lab.psu.trace", "-o", "t.txt")
    assert (refused.code, refused.err) == (2, "qmi: --output must be a file that ends in .npy or .csv, got 't.txt'\n")


def test_call_says_who_holds_the_lock(cli: Cli, lab: QMI_Context) -> None:
    proxy = lab.get_instrument("lab.psu")
    with proxy.locked(reason="alignment"):
        done = cli("call", "lab.psu.get_voltage")
    assert done.code == 1
    assert "lab.psu is held by context 'lab'" in done.err
    assert "for 'alignment'" in done.err


def test_call_gives_up_after_its_timeout(cli: Cli) -> None:
    done = cli("call", "lab.psu.nap", "0.05", "--timeout", "0.01")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "nap" in done.err
