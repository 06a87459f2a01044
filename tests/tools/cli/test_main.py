from __future__ import annotations

import importlib
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from qmi.errors import QMI_ConfigurationException, QMI_Exception, QMI_InstrumentException, QMI_UsageException
from qmi.tools.cli import commands
from qmi.tools.cli.commands import GROUPS, Command
from qmi.tools.cli.errors import CommandError
from qmi.tools.cli.main import main
from qmi.tools.cli.options import CommandParser, add_common
from qmi.tools.cli.terminal import Terminal

HEAVY = {"trio", "rich", "numpy", "qmi.config.loader", "cbor2", "asyncssh", "cryptography", "attrs", "shutil"}


def modules_of(*arguments: str) -> set[str]:
    program = (
        "import sys; from qmi.tools.cli.main import main; main(sys.argv[1:])\nprint(*sys.modules, file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=30)
    return set(run.stderr.split())


@pytest.mark.parametrize("line", ["--help", "--version", "certz", pytest.param("serve --help", marks=pytest.mark.slow)])
def test_help_loads_only_what_it_needs(line: str) -> None:
    found = modules_of(*line.split())
    assert "qmi.tools.cli.commands" in found
    assert found & (HEAVY if "serve" not in line else {"numpy", "rich"}) == set()


def test_completion_needs_no_trio_for_what_commands_take_and_objects_offer() -> None:
    program = (
        "import sys; from qmi.tools.cli import candidates, commands, ls_object, overview, session\n"
        "for name in commands.names():\n"
        "    if not commands.find(name).main: candidates.parser_of(name, commands.find(name))\n"
        "print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert run.stderr == ""
    assert set(run.stdout.split()) & {"trio", "rich", "numpy", "cryptography", "asyncssh"} == set()


@pytest.mark.parametrize("name", commands.names())
def test_command_has_a_module_a_line_of_help_and_its_own_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = commands.find(name)
    assert command is not None
    module = importlib.import_module(command.module)
    assert callable(getattr(module, command.main or "run"))
    assert main([name, "--help"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"usage: qmi {name} ")
    assert printed.err == ""
    assert main(["--help"]) == 0
    assert f"  {name} " in capsys.readouterr().out


def test_help_fits_into_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 108


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("prco", "there is no command 'prco': did you mean 'proc'?"),
        ("xyzzy", "there is no command 'xyzzy'; see 'qmi --help'"),
        ("--jsn proc", "there is no option '--jsn' before the command; see 'qmi --help'"),
        ("--config", "--config needs a value; see 'qmi --help'"),
        ("try --nonsense", "unrecognized arguments: --nonsense; see 'qmi try --help'"),
        ("try --timeout 0", "argument --timeout: must be a number of seconds above 0, got '0'; see 'qmi try --help'"),
        (
            "try --timeout nan",
            "argument --timeout: must be a number of seconds above 0, got 'nan'; see 'qmi try --help'",
        ),
        ("try --conf x", "there is no option '--conf' of 'qmi try': did you mean '--config'?"),
    ],
)
def test_wrong_command_line_is_one_line_and_code_2(
    line: str, said: str, trial: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    trial(lambda given, terminal: 0)
    assert main(line.split()) == 2
    assert capsys.readouterr() == ("", f"qmi: {said}\n")


def test_no_command_at_all_is_code_2_and_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: qmi COMMAND")


def _none(parser: CommandParser) -> None:
    pass


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a function the command ``try``."""

    def use(run: Callable[[Namespace, Terminal], int], add_arguments: Callable[[CommandParser], None] = _none) -> None:
        monkeypatch.setitem(sys.modules, "trial", SimpleNamespace(run=run, add_arguments=add_arguments))
        monkeypatch.setitem(GROUPS, "tests", {"try": Command("try", "trial")})

    return use


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CommandError("no such run"), 1, "qmi: no such run\n"),
        (CommandError("no such run", 3), 3, "qmi: no such run\n"),
        (QMI_InstrumentException("it is off"), 1, "qmi: it is off\n"),
        (QMI_UsageException("not so"), 2, "qmi: not so\n"),
        (QMI_ConfigurationException("one\ntwo"), 2, "qmi: one\nqmi: two\n"),
        (QMI_Exception(""), 1, "qmi: failed\n"),
        (QMI_Exception("\x1b[31mred"), 1, "qmi: \\x1b[31mred\n"),
        (ZeroDivisionError("by 0"), 1, "qmi: ZeroDivisionError: by 0 (QMI_DEBUG=1 shows where)\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_error_of_a_command_is_a_line_and_an_exit_code(
    error: BaseException, code: int, said: str, trial: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(given: Namespace, terminal: Terminal) -> int:
        raise error

    trial(run)
    assert main(["try"]) == code
    assert capsys.readouterr() == ("", said)


def test_debugging_shows_where_an_error_was(
    trial: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(given: Namespace, terminal: Terminal) -> int:
        raise QMI_UsageException("not so")

    trial(run)
    monkeypatch.setenv("QMI_DEBUG", "1")
    assert main(["try"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "--json --timeout 2 --config c try sub --workgroup w --as me",
        "--json --timeout=2 try sub --config=c --workgroup w --as me",
        "try --json --timeout 2 sub --config c --workgroup w --as me",
        "--json --workgroup w --as me --config c --timeout 2 try sub",
    ],
)
def test_common_options_stand_anywhere(line: str, trial: Callable[..., None]) -> None:
    seen: list[Namespace] = []

    def run(given: Namespace, terminal: Terminal) -> int:
        seen.append(given)
        assert terminal.json
        return 0

    def add_arguments(parser: CommandParser) -> None:
        add_common(parser.add_subparsers().add_parser("sub"))

    trial(run, add_arguments)
    assert main(line.split()) == 0
    assert vars(seen[0]) == {"config": "c", "json": True, "timeout": 2.0, "workgroup": "w", "as_name": "me"}


def test_broken_pipe_is_quiet(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "qmi", "--help"]
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(program, stdout=write, stderr=subprocess.PIPE, timeout=30)
    os.close(write)
    assert (run.returncode, run.stderr) == (1, b"")


def test_the_package_is_the_same_command() -> None:
    run = subprocess.run([sys.executable, "-m", "qmi", "xyzzy"], capture_output=True, text=True, timeout=30)
    assert (run.returncode, run.stdout, run.stderr) == (2, "", "qmi: there is no command 'xyzzy'; see 'qmi --help'\n")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("proc status", 2, "qmi: No configuration file was found"),
        ("serve lab --config nowhere.conf", 2, "nowhere.conf"),
        ("--config nowhere.conf serve lab", 2, "nowhere.conf"),
        ("certs show nothing", 2, "There is no certificate in nothing.pem: No such file"),
        ("certs show nothing.pem", 2, "There is no certificate in nothing.pem: No such file"),
        ("certs show nothing.crt", 2, "There is no certificate in nothing.crt: No such file"),
        (f"certs show {__file__}", 2, "it has no text from -----BEGIN CERTIFICATE----- to -----END"),
        ("drivers remove nothing", 1, "qmi: "),
        ("driver check nothing_there:Nothing", 1, "qmi: "),
    ],
)
def test_other_tools_are_reached_by_their_names(
    line: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == code
    assert said in capsys.readouterr().err


def test_wrong_command_line_of_another_tool_is_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["proc", "fly"]) == 2
    assert (
        "qmi: argument command: must be one of start, stop, restart, status, logs, ps, server, systemd, got 'fly'"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("line", ["data", "scan", "config", "site", "driver", "drivers", "certs"])
def test_missing_subcommand_is_asked_for_with_those_that_there_are(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"qmi: 'qmi {line}' needs a command: ")
    # Each of those is one.
    for name in said.partition("command: ")[2].partition(";")[0].split(", "):
        assert main([*line.split(), name, "--help"]) == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("data list", "there is no command 'list' of 'qmi data': did you mean 'ls'? There are ls, show, "),
        ("data xyzzy", "there is no command 'xyzzy' of 'qmi data': there are ls, show, "),
        ("config chekc", "of 'qmi config': did you mean 'check'? There are check, show"),
        ("certs make", "there is no command 'make' of 'qmi certs': there are ca, cert, renew, revoke, show"),
        ("certs rneew", "did you mean 'renew'?"),
        ("driver chekc x", "of 'qmi driver': did you mean 'check'?"),
        ("drivers lst", "of 'qmi drivers': did you mean 'list'?"),
        ("site strat", "of 'qmi site': did you mean 'start'?"),
        ("scan rnu", "of 'qmi scan': did you mean 'run'?"),
        ("completion bsh", "argument shell: must be one of bash, fish, zsh, got 'bsh'"),
    ],
)
def test_unknown_subcommand_is_told_with_those_that_there_are(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.splitlines()) == 1
