"""``qmi get``, ``set``, ``snapshot`` and ``restore``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmi.core.context import QMI_Context
from tests.support.cli import Cli, serving, shared_laboratory, write_lab
from tests.support.shell_driver import Mode, ShellSupply


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def served(config: Path) -> Iterator[QMI_Context]:
    with serving(config) as context, shared_laboratory(config, "qmi.tools.cli.parameters"):
        context.make_instrument("psu", ShellSupply)
        yield context


@pytest.fixture
def psu(served: QMI_Context) -> Any:
    proxy = served.get_instrument("lab.psu")
    proxy.restore({"voltage": 1.5, "current": 100.0, "mode": Mode.VOLTAGE, "output": False, "label": "hello"})
    proxy.outputs[2].voltage = 0.0
    return proxy


@pytest.mark.parametrize(
    ("paths", "printed"),
    [
        (["voltage"], "1.5 V\n"),
        (["mode"], "VOLTAGE\n"),
        (["output"], "False\n"),
        (["label"], "hello\n"),
        (["temperature"], "41.5 degC\n"),
        (["outputs[2].voltage"], "0.0 V\n"),
        (["voltage", "current"], "NAME             VALUE\nlab.psu.voltage  1.5 V\nlab.psu.current  100.0 mA\n"),
        (["temp*"], "NAME                 VALUE\nlab.psu.temperature  41.5 degC\n"),
    ],
)
def test_get_prints_values_with_their_units(cli: Cli, psu: Any, paths: list[str], printed: str) -> None:
    done = cli("get", *(f"lab.psu.{path}" for path in paths))
    assert (done.code, done.out, done.err) == (0, printed, "")


def test_get_with_a_pattern_prints_all_that_fit(cli: Cli, psu: Any) -> None:
    names = [line.split()[0] for line in cli("get", "lab.psu.*").out.splitlines()[1:]]
    own = ["voltage", "current", "mode", "output", "label", "temperature", "pressure"]
    assert names == [f"lab.psu.{name}" for name in [*own, "outputs[1].voltage", "outputs[2].voltage"]]
    assert cli("get", "lab.psu.outputs[*].voltage", "--json").json == {
        "lab.psu.outputs[1].voltage": {"value": 0.0, "unit": "V"},
        "lab.psu.outputs[2].voltage": {"value": 0.0, "unit": "V"},
    }


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("lab.psu", "; got 'lab.psu'; 'lab.psu.*' are all parameters of lab.psu"),
        ("lab", "; got 'lab'"),
        ("lab.*", "; got 'lab.*'"),
    ],
)
def test_get_of_an_object_says_how_all_of_it_is_read(cli: Cli, psu: Any, path: str, said: str) -> None:
    done = cli("get", path)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"qmi: it is written CONTEXT.OBJECT.NAME, such as lab.psu.voltage{said}\n"


def test_get_prints_json(cli: Cli, psu: Any) -> None:
    done = cli("get", "lab.psu.voltage", "lab.psu.mode", "--json")
    assert done.json == {
        "lab.psu.voltage": {"value": 1.5, "unit": "V"},
        "lab.psu.mode": {"value": "VOLT", "member": "VOLTAGE"},
    }


def test_get_prints_what_it_has_when_something_fails(cli: Cli, psu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object) -> float:
        raise ValueError("no sensor")

    monkeypatch.setattr(ShellSupply.temperature, "getter", broken)
    done = cli("get", "lab.psu.voltage", "lab.psu.temp*", "lab.psu.mode")
    assert (done.code, done.err) == (1, "qmi: lab.psu.temperature failed: ValueError: no sensor\n")
    assert "lab.psu.mode     VOLTAGE\n" in done.out
    everything = cli("get", "lab.psu.*")
    assert everything.code == 1
    assert everything.err.count("\n") == 1
    assert "1.5 V" in everything.out


@pytest.mark.parametrize(
    ("path", "words", "value"),
    [
        ("voltage", ["5"], 5.0),
        ("voltage", ["5", "V"], 5.0),
        ("voltage", ["5V"], 5.0),
        ("voltage", ["300 mV"], 0.3),
        ("current", ["0.2", "A"], 200.0),
        ("current", ["1e2"], 100.0),
        ("mode", ["CURRENT"], Mode.CURRENT),
        ("mode", ["current"], Mode.CURRENT),
        ("mode", ["CURR"], Mode.CURRENT),
        ("output", ["on"], True),
        ("label", ["two", "words"], "two words"),
        ("label", ["5"], "5"),
        ("outputs[2].voltage", ["7"], 7.0),
    ],
)
def test_set_sets_the_value(cli: Cli, psu: Any, path: str, words: list[str], value: object) -> None:
    done = cli("set", f"lab.psu.{path}", *words)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert psu.parameters[path].get() == value
    if path != "label":
        # What is printed can be given again.
        printed = cli("get", f"lab.psu.{path}").out.rstrip("\n")
        assert cli("set", f"lab.psu.{path}", printed).code == 0
        assert psu.parameters[path].get() == value


@pytest.mark.parametrize(
    ("command", "path", "words", "code", "said"),
    [
        ("set", "voltage", ["abc"], 2, "lab.psu.voltage must be a number from 0 to 30 V, got 'abc'"),
        ("set", "voltage", ["-5V"], 2, "voltage of psu must be from 0 to 30 V, got -5.0 V"),
        ("set", "voltage", ["5 A"], 2, "'A' cannot be converted to that"),
        ("set", "mode", ["POWER"], 2, "lab.psu.mode must be VOLTAGE or CURRENT, got 'POWER'"),
        ("set", "output", ["5"], 2, "lab.psu.output must be on or off"),
        ("set", "temperature", ["5"], 1, "lab.psu.temperature can only be read"),
        ("set", "volt", ["5"], 1, "lab.psu has no parameter 'volt'. Did you mean 'voltage'?"),
        ("set", "vol*", ["5"], 2, "only one value is set at a time"),
        ("set", "outputs[3].voltage", ["5"], 1, "lab.psu has no parameter 'outputs[3].voltage'"),
        ("set", "echo", ["5"], 1, "lab.psu.echo is a method and no value: qmi call lab.psu.echo"),
        ("get", "sig_told", [], 1, "lab.psu.sig_told is a signal and no value: qmi monitor lab.psu.sig_told"),
        ("get", "set_voltage", [], 1, "lab.psu.set_voltage is a method and no value: qmi call"),
        ("get", "x*", [], 1, "lab.psu has no value that fits 'x*'; it has voltage, current"),
        ("get", "", [], 2, "such as lab.psu.voltage"),
    ],
)
def test_wrong_names_and_values_are_told_in_a_line(
    cli: Cli, psu: Any, command: str, path: str, words: list[str], code: int, said: str
) -> None:
    done = cli(command, f"lab.psu.{path}", *words)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert said in done.err
    assert psu.voltage == 1.5


def test_snapshot_shows_what_is_known_and_update_asks(cli: Cli, psu: Any) -> None:
    assert cli("snapshot", "lab.psu").out.startswith("Snapshot of lab.psu (tests.support.shell_driver.ShellSupply)")
    taken = cli("snapshot", "lab.psu", "--update", "--json").json
    assert taken["readings"]["temperature"]["value"] == 41.5
    some = cli("snapshot", "lab.psu", "--update", "outputs[2].*", "--json").json
    assert list(some["readings"]) == ["outputs[2].voltage"]


def test_snapshot_is_kept_compared_and_restored(cli: Cli, psu: Any, tmp_path: Path) -> None:
    file = str(tmp_path / "psu.json")
    kept = cli("snapshot", "lab.psu", "--update", "-o", file)
    assert (kept.code, kept.out, kept.err) == (0, "", f"qmi: 9 parameters of lab.psu are kept in {file}\n")
    assert cli("snapshot", "lab.psu", "--diff", file).out == ""
    psu.voltage, psu.mode = 5, Mode.CURRENT
    changes = "voltage: 1.5 V -> 5.0 V\nmode: VOLTAGE -> CURRENT\n"
    assert cli("snapshot", "lab.psu", "--diff", file).out == changes
    assert cli("snapshot", "lab.psu", "--diff", file, "--json").json[1] == {
        "name": "mode", "before": "VOLTAGE", "after": "CURRENT", "unit": "",
    }  # fmt: skip
    back = "voltage: 5.0 V -> 1.5 V\nmode: CURRENT -> VOLTAGE\n"
    assert cli("restore", "lab.psu", file, "--dry-run").out == back
    assert psu.voltage == 5.0
    assert cli("restore", "lab.psu", file, "mode").out == "mode: CURRENT -> VOLTAGE\n"
    assert cli("restore", "lab.psu", file).out == "voltage: 5.0 V -> 1.5 V\n"
    same = cli("restore", "lab.psu", file)
    assert (same.out, same.err) == ("", f"qmi: nothing to set: what can be set of lab.psu is as in {file}\n")
    assert cli("restore", "lab.psu", file, "--dry-run").err == same.err
    assert psu.voltage == 1.5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        ("{}", "There is no snapshot in"),
        ("nonsense", "There is no snapshot in"),
    ],
)
def test_file_without_a_snapshot_is_refused(cli: Cli, psu: Any, tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "psu.json"
    if content is not None:
        file.write_text(content)
    for command in (["restore", "lab.psu", str(file)], ["snapshot", "lab.psu", "--diff", str(file)]):
        done = cli(*command)
        assert done.code in (1, 2)
        assert said in done.err
