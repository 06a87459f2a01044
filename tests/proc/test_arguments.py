from __future__ import annotations

import pytest

from qmi.proc.arguments import COMMANDS, parse_arguments


@pytest.mark.parametrize(
    "line",
    [
        "start a b --config F --json",
        "--config F start a b --json",
        "--json start a --config F b",
        "start --json --config=F a b",
    ],
)
def test_options_stand_before_or_behind_the_command(line: str) -> None:
    found = parse_arguments(line.split())
    assert (found.command, found.names, found.config, found.json) == ("start", ("a", "b"), "F", True)
    assert not any((found.all, found.locals, found.watch, found.follow, found.output))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "say what to do, and with which contexts"),
        ("--all", "say what to do"),
        ("begin", "command: must be one of start, stop, restart, status, logs, ps, server, systemd, got 'begin'"),
        ("start --nonsense", "unrecognized arguments: --nonsense"),
        ("server a", "a context name does not go with 'server'"),
        ("server --all", "--all does not go with 'server', only with start, stop"),
        ("start a --watch", "--watch does not go with 'start', only with status"),
        ("status -f", "--follow does not go with 'status'"),
        ("logs", "logs needs the name of one context"),
        ("logs a b", "logs needs the name of one context"),
        ("logs a --json", "--json does not go with 'logs'"),
        ("status --watch --json", "either --watch or --json"),
        ("status --output x", "--output does not go with 'status'"),
    ],
)
def test_arguments_that_make_no_sense_have_exit_code_2(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(line.split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(f"  {command} " in text for command in COMMANDS)
