"""What ``qmi_proc server`` does with the lines that it reads: one command after the other, until its input ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from qmi.errors import QMI_Exception
from qmi.proc.helper_protocol import (
    MARKER,
    MAX_LINE,
    MAX_PIECE,
    BadLineError,
    Command,
    Err,
    Ok,
    Read,
    Reply,
    Start,
    StatusQuery,
    UnknownCommandError,
    already_running,
    format_reply,
    parse_command,
    piece_reply,
)
from qmi.proc.launch import AlreadyRunningError, Launcher, Offline, Unresponsive
from qmi.proc.output import read_output
from qmi.proc.selection import Target


def serve(lines: BinaryIO, answers: BinaryIO, execute: Callable[[Command], Reply]) -> None:
    """Answer commands until the input ends, or a command comes that there is not.

    Args:
        lines: Where commands come from.
        answers: Where answers go. When nobody reads them any more, that is an end like any other.
        execute: Carries out one command.
    """
    try:
        # A login banner may have left the cursor in the middle of a line.
        _say(answers, f"\n{MARKER}\n".encode())
        while line := lines.readline(MAX_LINE + 1):
            try:
                command = parse_command(line)
            except BadLineError as exc:
                _say(answers, format_reply(Err(str(exc))))
                if isinstance(exc, UnknownCommandError) or len(line) > MAX_LINE:
                    return
                continue
            if command is not None:
                _say(answers, format_reply(execute(command)))
    except BrokenPipeError:
        return


def executor(
    launcher: Launcher, find: Callable[[str, bool], Target], outputs: Path | Callable[[str], Path]
) -> Callable[[Command], Reply]:
    """Return what carries out commands on this machine.

    Args:
        launcher: Starts and stops programs.
        find: Returns the context of a name, which is to be started or not; raises `QMI_Exception` if that cannot be.
        outputs: Directory with the output of programs, or what returns it for a context.
    """
    outputs_of = (lambda _: outputs) if isinstance(outputs, Path) else outputs

    def execute(command: Command) -> Reply:
        try:
            target = find(command.name, isinstance(command, Start))
            if isinstance(command, Start):
                return Ok(launcher.start(target).pid)
            if isinstance(command, StatusQuery):
                return _look(launcher, target)
            if isinstance(command, Read):
                return piece_reply(*read_output(outputs_of(target.name), target.name, command.place, size=MAX_PIECE))
            return Ok(int(launcher.stop(target, command.pid) is not None))
        except AlreadyRunningError as exc:
            return Err(already_running(exc.pid, exc.version))
        except QMI_Exception as exc:
            return Err(str(exc))

    return execute


def _look(launcher: Launcher, target: Target) -> Reply:
    found = launcher.look(target)
    if isinstance(found, Unresponsive):
        return Err(found.reason)
    return Ok(0, found.reason) if isinstance(found, Offline) else Ok(found.pid)


def _say(answers: BinaryIO, line: bytes) -> None:
    answers.write(line)
    answers.flush()
