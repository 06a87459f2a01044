"""``qmi config`` and ``qmi devices``."""

from __future__ import annotations

from pathlib import Path

import pytest

from qmi.config.positions import line_of, positions
from qmi.devices import discovery
from qmi.devices.discovery import FoundTransport
from qmi.tools.cli.config import check
from tests.support.cli import Cli

FILE = """# mine
{
    workgroup: "x",  // a name
    'contexts': {
        "lab": {"host": "127.0.0.1",
            "tcp_server_port": 0,
            /* several
               lines */ "instruments": {"a": {"driver": "m:X", "args": [1,
                {"b": [2]}]}},
        },
    },
}
"""


def test_lines_of_settings_are_found() -> None:
    known = positions(FILE)
    assert known["workgroup",] == 3
    assert known["contexts", "lab", "host"] == 5
    assert known["contexts", "lab", "tcp_server_port"] == 6
    assert known["contexts", "lab", "instruments", "a", "args", 1, "b", 0] == 9
    assert line_of(("contexts", "lab", "program_args"), known) == 5
    assert line_of(("logging",), known) is None


@pytest.mark.parametrize("text", ["{}", "[]", "3", "{'a\\u0062': {}}", '{"a": [], "b": [[], [1]]}'])
def test_lines_of_any_content_are_found(text: str) -> None:
    assert set(positions(text).values()) <= {1}


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (FILE, []),
        ('{\n"workgroup": 3,\n"hots": 1,\n"contexts": {\n"lab": {"tcp_server_port": "x"}}}',
         [(2, "workgroup: "), (3, "hots: unknown key"), (5, "contexts.lab.tcp_server_port: expected a port")]),
        ('{\n"a": [1,}', [(2, "column 9: expected a value or ']'")]),
        ('{\n"datastore": "${nothing}"}', [(2, "datastore")]),
        ('{"a": 1,\n"a": 2}', [(None, "a")]),
    ],
)  # fmt: skip
def test_all_faults_of_a_file_are_told_with_their_lines(
    content: str, faults: list[tuple[int | None, str]], tmp_path: Path, cli: Cli
) -> None:
    file = tmp_path / "other.conf"
    file.write_text(content)
    path, found = check(str(file))
    assert path == str(file)
    assert len(found) == len(faults), found
    for fault, (line, text) in zip(found, faults, strict=True):
        assert text in fault.text
        assert line is None or fault.line == line
    printed = cli("config", "check", str(file))
    assert printed.code == (2 if faults else 0)
    assert len(printed.out.splitlines()) == max(len(faults), 1)
    assert cli("config", "check", "--json", str(file)).json["faults"] == [fault._asdict() for fault in found]


def test_file_that_is_not_there_is_an_error(cli: Cli, tmp_path: Path) -> None:
    printed = cli("config", "check", str(tmp_path / "no.conf"))
    assert printed.code == 2
    assert "does not exist" in printed.err


def test_settings_in_force_are_shown_with_their_origin(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "other.conf"
    file.write_text(FILE)
    monkeypatch.setenv("QMI_HOME", str(tmp_path))
    monkeypatch.setenv("QMI_DEBUG", "1")
    settings = {entry["name"]: entry for entry in cli("config", "show", str(file), "--json").json}
    assert settings["workgroup"] == {"name": "workgroup", "value": "x", "origin": f"{file}:3", "full": ""}
    assert settings["contexts.lab.instruments.a.args"]["origin"] == f"{file}:8"
    assert settings["qmi_home"]["origin"] == "$QMI_HOME"
    assert settings["logging.loglevel"]["origin"] == "$QMI_DEBUG"
    assert settings["discovery.port"]["origin"] == "default"
    assert settings["log_dir"]["full"] == str(tmp_path)
    shown = cli("config", "show", "--set", str(file)).out
    assert "discovery.port" not in shown
    assert f"{file}:3" in shown


def test_devices_are_shown_with_what_to_type(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [FoundTransport("serial:usb=0403:6001", "/dev/ttyUSB0: a cable")]
    monkeypatch.setattr(discovery, "list_transports", lambda network=False: found if not network else [])
    printed = cli("devices")
    assert "serial:usb=0403:6001" in printed.out
    assert "add the baud rate" in printed.err
    assert cli("devices", "--json").json == [found[0]._asdict()]
    assert "no serial port" in cli("devices", "--network").err
