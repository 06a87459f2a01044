from __future__ import annotations

import io
from pathlib import Path

import pytest

from qmi.errors import QMI_UsageException
from qmi.proc.control_protocol import Stranger
from qmi.proc.helper_protocol import (
    MARKER,
    MAX_LINE,
    Command,
    Cursor,
    Err,
    Ok,
    Read,
    Reply,
    Start,
    StatusQuery,
    Stop,
    piece_of,
)
from qmi.proc.helper_server import executor, serve
from qmi.proc.launch import Launcher
from qmi.proc.selection import Target
from tests.support.proc import QUICK, ScriptedLink, TextLink, config_in, dying, quiet, talker, target


def answers(text: bytes) -> list[str]:
    seen: list[Command] = []

    def execute(command: Command) -> Reply:
        seen.append(command)
        return Ok(len(seen)) if command.name != "bad" else Err("no\nsuch")

    out = io.BytesIO()
    serve(io.BytesIO(text), out, execute)
    blank, marker, *lines = out.getvalue().decode().splitlines()
    assert (blank, marker) == ("", MARKER)
    return lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"START a\nSTOP a\nSTOP a 7", ["OK 1", "OK 2", "OK 3"]),
        (b"\n \nSTART bad\nSTART a\n", ["ERR no | such", "OK 2"]),
        (b"START\nSTART a\n", ["ERR expected 'START name'", "OK 1"]),
        (b"QUIT\nSTART a\n", ["ERR unknown command 'QUIT': expected 'START name' or 'STOP name [pid]'"]),
        (b"START " + b"a" * MAX_LINE + b"\nSTART a\n", [f"ERR the line is longer than {MAX_LINE} bytes"]),
        (
            b"\x1b[A\xff\nSTART a\n",
            ["ERR unknown command '\\x1b[A\\ufffd': expected 'START name' or 'STOP name [pid]'"],
        ),
    ],
)
def test_commands_are_answered_until_there_is_another_one(text: bytes, expected: list[str]) -> None:
    assert answers(text) == expected


def test_a_reader_that_went_away_is_an_end() -> None:
    class Closed(io.BytesIO):
        def flush(self) -> None:
            raise BrokenPipeError

    source = io.BytesIO(b"START a\n")
    serve(source, Closed(), lambda command: Ok(1))
    assert source.tell() == 0


def test_the_server_starts_and_stops_programs_of_this_machine(home: Path) -> None:
    config = config_in(home, q=quiet(), bad=dying())

    def find(name: str, starting: bool) -> Target:
        if name not in config.contexts:
            raise QMI_UsageException(f"{name} is not there")
        return target(config, name)

    execute = executor(Launcher(config, TextLink(), times=QUICK), find, home / "out")
    started = execute(Start("q"))
    assert isinstance(started, Ok)
    assert execute(Start("q")) == Err(f"already running (PID={started.value}, QMI=unknown)")
    assert execute(Stop("q", started.value + 1)) == Ok(0)
    assert execute(StatusQuery("q")) == Ok(started.value)
    piece = execute(Read("q"))
    assert isinstance(piece, Ok)
    place, data = piece_of(piece)
    assert b"-m quiet" in data
    far_off = Cursor(place.stamp, 10**9)
    assert execute(Read("q", far_off)) == Ok(0, f"{place.stamp} 1000000000")
    assert execute(Stop("q")) == Ok(1)
    assert execute(StatusQuery("q")) == Ok(0)
    assert execute(Stop("q")) == Ok(0)
    assert execute(Start("x")) == Err("x is not there")
    assert isinstance(execute(Read("bad")), Err)
    failed = execute(Start("bad"))
    assert isinstance(failed, Err)
    assert "exit status 3" in failed.message


def test_a_program_that_does_not_answer_is_told_to_whoever_looks(home: Path) -> None:
    config = config_in(home, a=talker("a"))
    teapot = Launcher(config, ScriptedLink(Stranger("a teapot")), times=QUICK)
    execute = executor(teapot, lambda name, starting: target(config, name), home)
    assert execute(StatusQuery("a")) == Err(f"{target(config, 'a').address} is not this context: a teapot")
