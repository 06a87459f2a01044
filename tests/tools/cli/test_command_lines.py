"""Wrong command lines, and errors: one line each, for scripts."""

from __future__ import annotations

import json
import signal
import socket
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from qmi.errors import QMI_InstrumentException
from qmi.tools.cli import commands
from qmi.tools.cli.commands import GROUPS, Command
from qmi.tools.cli.main import _notice_ctrl_c, main
from qmi.tools.cli.terminal import Nowhere, one_line
from tests.support.cli import Cli

Captured = pytest.CaptureFixture[str]


def test_help_of_a_command_is_that_of_the_command(capsys: Captured) -> None:
    assert main(["help", "ls"]) == 0
    assert capsys.readouterr().out.startswith("usage: qmi ls ")
    assert main(["help", "lss"]) == 2
    assert capsys.readouterr().err == "qmi: there is no command 'lss': did you mean 'ls'?\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sl", "there is no command 'sl': did you mean 'ls'?"),
        ("LS", "there is no command 'LS': did you mean 'ls'?"),
        ("--json", "there are options and no command; see 'qmi --help'"),
        ("--timeout ls", "there are options and no command; see 'qmi --help'"),
        ("ls --jsn", "there is no option '--jsn' of 'qmi ls': did you mean '--json'?"),
        ("ls --timeuot=3", "there is no option '--timeuot' of 'qmi ls': did you mean '--timeout'?"),
        ("ls -x", "unrecognized arguments: -x; see 'qmi ls --help'"),
        ("snapshot", "the following arguments are required: CONTEXT.OBJECT; see 'qmi snapshot --help'"),
        ("restore", "the following arguments are required: CONTEXT.OBJECT, FILE; see 'qmi restore --help'"),
        ("proc", "say what to do, and with which contexts; see 'qmi proc --help'"),
        ("proc status --watch --json", "give either --watch or --json, not both; see 'qmi proc --help'"),
        ("serve", "the following arguments are required: context; see 'qmi serve --help'"),
        ("certs cert", "the following arguments are required: context; see 'qmi certs cert --help'"),
        ("drivers add", "the following arguments are required: requirement; see 'qmi drivers add --help'"),
        ("driver", "'qmi driver' needs a command: new, check, simulate, docs, stub; see 'qmi driver --help'"),
        ("ls --workgroup a/b", "--workgroup takes a name of 1 to 63 letters, digits, '-', '_', '(' or ')', got 'a/b'"),
        ("ls --as \x1b[2J", "--as takes the name of a context, got '\\x1b[2J'"),
    ],
)  # fmt: skip
def test_wrong_command_line_is_one_line_of_qmi_and_code_2(line: str, said: str, capsys: Captured) -> None:
    assert main(line.split()) == 2
    assert capsys.readouterr() == ("", f"qmi: {said}\n")


@pytest.mark.parametrize(
    ("line", "code"),
    [("proc status", 2), ("serve lab", 2), ("serve lab --check", 2), ("certs show nobody", 2),
     ("drivers remove nobody", 1), ("driver check no_such_module", 1)],
)  # fmt: skip
def test_errors_of_other_tools_begin_with_qmi_too(
    line: str, code: int, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = tmp_path / "qmi.conf"
    faulty.write_text('{"contexts": 5, "workgruop": "x"}', encoding="utf-8")
    monkeypatch.setenv("QMI_CONFIG", str(faulty))
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err
    assert all(said.startswith("qmi: ") for said in printed.err.splitlines())


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """A command ``qmi try`` that fails."""

    def put(error: Exception) -> None:
        def run(*_: object) -> int:
            raise error

        module = SimpleNamespace(add_arguments=lambda parser: None, run=run)
        monkeypatch.setitem(sys.modules, "qmi_try", module)
        monkeypatch.setitem(GROUPS, "try", {"try": Command("try", "qmi_try")})
        assert commands.find("try")

    return put


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (QMI_InstrumentException("one\nqmi: two\r\x1b[2J"), "one; qmi: two\\r\\x1b[2J"),
        (QMI_InstrumentException("it has:\n  a\n\n  b"), "it has: a; b"),
        (ValueError("one\n\ntwo"), "ValueError: one; two (QMI_DEBUG=1 shows where)"),
        (FileNotFoundError(2, "No such file or directory", "/a/b.json"), "/a/b.json: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("nothing"), "OSError: nothing (QMI_DEBUG=1 shows where)"),
    ],
)
def test_error_is_one_line(failing: Callable[[Exception], None], error: Exception, said: str, capsys: Captured) -> None:
    failing(error)
    assert main(["try"]) == 1
    assert capsys.readouterr() == ("", f"qmi: {said}\n")


def test_one_line_of_nothing_is_nothing() -> None:
    assert one_line("") == one_line("\n \n") == ""


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_terminal_that_was_closed_swallows_all(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Nowhere().write("abc") == 3
    for line, code in (("--version", 0), ("nonsense", 2), ("certs --help", 0), ("certs show nobody", 2)):
        monkeypatch.setattr(sys, closed, None)
        assert main(line.split()) == code


def test_ctrl_c_where_python_ignores_exceptions_interrupts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", _notice_ctrl_c)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    class Thing:
        pass

    def ended(_: object) -> None:
        raise KeyboardInterrupt  # as the handler of the signal does wherever the program is

    things = [Thing()]
    kept = weakref.ref(things[0], ended)

    def work() -> None:
        things.clear()
        for _ in range(10**9):  # nothing that waits: a signal just before that would not end it
            pass

    with pytest.raises(KeyboardInterrupt):
        work()
    assert kept() is None


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of somebody who accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("line", ["get lab.psu.voltage", "call lab.psu.get", "lock lab.psu", "log lab", "log -f lab",
                                  "monitor lab.psu.voltage", "snapshot lab.psu", "ls lab.psu"])  # fmt: skip
def test_timeout_is_for_a_context_that_accepts_and_says_nothing_too(line: str, mute: int, cli: Cli) -> None:
    settings = json.loads(cli.config.read_text(encoding="utf-8"))
    settings["contexts"]["lab"]["tcp_server_port"] = mute
    cli.config.write_text(json.dumps(settings), encoding="utf-8")
    found = cli(*line.split(), "--timeout", "0.05")
    assert found.code == 1
    assert found.err.count("\n") == 1
    assert "within 0.05 s" in found.err


def test_serve_finds_modules_in_python_path_and_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    (tmp_path / "there").mkdir()
    for folder, name in ((tmp_path, "lamp_here"), (tmp_path / "there", "lamp_there")):
        text = "from qmi.core.instrument import QMI_Instrument\n\n\nclass Lamp(QMI_Instrument):\n    pass\n"
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    drivers = {"a": {"driver": "lamp_here:Lamp"}, "b": {"driver": "lamp_there:Lamp"}}
    config = tmp_path / "qmi.conf"
    context = {"python_path": "${config_dir}/there", "instruments": drivers}
    config.write_text(json.dumps({"contexts": {"lab": context}}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    kept = [entry for entry in sys.path if entry]
    monkeypatch.setattr(sys, "path", list(kept))
    try:
        assert main(["--config", str(config), "serve", "lab", "--check"]) == 0
        assert sys.path == [str(tmp_path), str(tmp_path / "there"), *kept]
    finally:
        for name in ("lamp_here", "lamp_there"):
            with suppress(KeyError):
                del sys.modules[name]
    assert capsys.readouterr().out == "lab: 2 classes found, and their arguments fit\n"
