"""``%load_ext qmi``: the commands of ``qmi`` in IPython and in a real kernel."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import qmi
from qmi.config.loader import load_config
from qmi.config.schema import CfgContext
from qmi.contexts.default import get_default, set_default
from qmi.core.context import QMI_Context
from qmi.runtime.sigint import ProgramEnd
from qmi.runtime.wakeup import ASYNCIO
from qmi.tools.ipython_cells import CellRunner, install, remove
from tests.support.cli import serving, write_lab
from tests.support.notebook import Notebook
from tests.support.ports import free_port
from tests.support.shell_driver import ShellSupply

UsageError = pytest.importorskip("IPython.core.error").UsageError
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


@pytest.fixture(scope="module")
def shell() -> Iterator[Any]:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    make: Any = InteractiveShell
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.warn_venv = False
    made = make(config=config)
    made.extension_manager.load_extension("qmi")
    yield made
    made.extension_manager.unload_extension("qmi")
    assert not ASYNCIO.allowed


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = write_lab(tmp_path_factory.mktemp("lab"), lab={"host": "127.0.0.1", "tcp_server_port": free_port()})
    with serving(path) as context:
        context.make_instrument("psu", ShellSupply)
        yield path


@pytest.fixture(scope="module")
def session(shell: Any, config: Path) -> Iterator[Any]:
    """IPython with a context of its own."""
    with qmi.start("session", str(config), init_logging=False):
        yield shell


def test_magic_does_what_the_command_does(session: Any, capsys: pytest.CaptureFixture[str]) -> None:
    session.run_line_magic("qmi", "get lab.psu.voltage")
    assert "1.5" in capsys.readouterr().out
    session.run_line_magic("qmi", "ls lab --json")
    assert json.loads(capsys.readouterr().out)[0]["name"] == "lab"
    session.run_line_magic("qmi", "call lab.psu.echo 'two words'")
    assert "two words" in capsys.readouterr().out
    session.run_line_magic("qmi", "")
    assert "usage: qmi COMMAND" in capsys.readouterr().out
    session.run_line_magic("qmi", "get --help")
    assert "usage: qmi get" in capsys.readouterr().out
    assert session.user_ns["_exit_code"] == 0


def test_magic_uses_the_context_and_the_proxies_of_the_session(session: Any) -> None:
    psu: Any = qmi.get_instrument("lab.psu", auto_connect=True)
    session.user_ns["psu"] = psu
    session.run_line_magic("qmi", "lock lab.psu")
    info = psu.lock_info()
    assert info.context == "session"
    assert psu.get_voltage() == 1.5
    session.run_line_magic("qmi", "unlock lab.psu")
    assert not psu.is_locked()
    assert qmi.context().is_running


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("nothing", "there is no command 'nothing'"),
        ("get lab.psu.nothing", "no parameter 'nothing'"),
        ("get", "required"),
        ("get 'lab.psu", "No closing quotation"),
        ("shell", "for a terminal"),
        ("serve lab", "for a terminal"),
        ("ls --nonsense", "unrecognized"),
    ],
)
def test_magic_tells_errors_in_a_line(session: Any, line: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        session.run_line_magic("qmi", line)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("get lab.psu.voltage", 0),
        ("get lab.psu.nothing", 1),
        ("get --help", 0),
        ("nothing", 2),
        ("get 'lab.psu", 2),
        ("call lab.psu.fail", 1),
        ("shell", 2),
    ],
)
def test_magic_notes_how_a_command_has_ended(session: Any, line: str, code: int) -> None:
    session.user_ns["_exit_code"] = None
    with suppress(UsageError):
        session.run_line_magic("qmi", line)
    assert session.user_ns["_exit_code"] == code


def test_magic_notes_the_stop_button(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("qmi.tools.ipython.carry_out", pressed)
    with pytest.raises(KeyboardInterrupt):
        session.run_line_magic("qmi", "ls")
    assert session.user_ns["_exit_code"] == 130


@pytest.fixture
def bare(shell: Any, config: Path) -> Iterator[Any]:
    """IPython with a context that listens nowhere."""
    settings = load_config(str(config))
    before = get_default()
    with QMI_Context("bare", replace(settings, contexts={**settings.contexts, "bare": CfgContext()})) as context:
        context.make_instrument("own", ShellSupply)
        set_default(context)
        try:
            yield shell
        finally:
            set_default(before)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("ls bare", "own "),
        ("ls", "bare"),
        ("ls bare --json", '"name": "own"'),
        ("ls bare.own", "set_voltage"),
        ("get bare.own.voltage", "1.5 V"),
        ("call bare.own.echo word", "word"),
        ("log bare", ""),
    ],
)
def test_magic_looks_at_a_context_that_has_no_port(
    bare: Any, line: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bare.run_line_magic("qmi", line)
    printed = capsys.readouterr().out
    assert text in printed
    if line.startswith("ls"):
        assert "not running" not in printed
        assert "no port" not in printed
    assert bare.user_ns["_exit_code"] == 0


def completions(shell: Any, text: str) -> set[str]:
    shell.Completer.use_jedi = False
    return set(shell.Completer.complete(line_buffer=text, cursor_pos=len(text))[1])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("%qmi l", {"ls", "log", "lock"}),
        ("%qmi ls --w", {"--watch", "--workgroup"}),
        ("%qmi ls la", {"lab"}),
        ("%qmi get lab.p", {"lab.psu."}),
        ("%qmi get lab.psu.vol", {"lab.psu.voltage"}),
        ("qmi get lab.psu.vol", {"lab.psu.voltage"}),
    ],
)
def test_magic_is_completed_as_the_command_is(session: Any, text: str, found: set[str]) -> None:
    assert found <= completions(session, text)


def interrupt_once() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "ends"),
    [("ProgramEnd(15)", True), ("SystemExit(1)", False), ("KeyboardInterrupt", False), ("ValueError", False)],
)
def test_shell_ends_with_a_cell_that_a_signal_has_ended(
    session: Any, monkeypatch: pytest.MonkeyPatch, error: str, ends: bool
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(type(session), "ask_exit", lambda self: asked.append(True), raising=False)
    monkeypatch.setattr("IPython.get_ipython", lambda: session)
    session.user_ns["ProgramEnd"] = ProgramEnd
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # IPython says how to leave it
        session.run_cell(f"raise {error}")
    assert asked == [True] * ends


def test_cell_of_a_terminal_that_is_interrupted_is_cancelled() -> None:
    noted: list[str] = []

    async def cell(rest: float, again: bool) -> str:
        asyncio.get_running_loop().call_soon(interrupt_once)
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError as error:
            noted.append(str(error))
            if again:
                asyncio.get_running_loop().call_soon(interrupt_once)
            await asyncio.sleep(rest)
        return "result"

    run = CellRunner()
    assert run(cell(0.0, False)) == "result"
    with pytest.raises(KeyboardInterrupt):
        run(cell(60.0, True))
    assert noted == ["interrupted by Ctrl-C"] * 2

    async def stuck() -> None:
        asyncio.get_running_loop().call_soon(interrupt_once)
        await asyncio.sleep(60.0)

    async def own() -> None:
        interrupt_once()

    for kind in (stuck, own):
        with pytest.raises(KeyboardInterrupt):
            run(kind())


def test_cells_of_a_terminal_alone_are_run_otherwise(shell: Any) -> None:
    class TerminalInteractiveShell:
        loop_runner_map = shell.loop_runner_map
        loop_runner = shell.loop_runner_map["asyncio"][0]

    terminal: Any = TerminalInteractiveShell()
    install(terminal)
    install(terminal)
    assert isinstance(terminal.loop_runner, CellRunner)
    assert terminal.loop_runner_map["asyncio"] == (terminal.loop_runner, True)
    remove(terminal)
    remove(terminal)
    assert terminal.loop_runner is shell.loop_runner_map["asyncio"][0]
    assert terminal.loop_runner_map is shell.loop_runner_map
    terminal.loop_runner = trio = shell.loop_runner_map["trio"][0]  # "%autoawait trio" was before
    install(terminal)
    assert terminal.loop_runner is trio
    remove(terminal)
    assert terminal.loop_runner is trio
    install(shell)
    assert not isinstance(shell.loop_runner, CellRunner)


def test_extension_that_is_unloaded_leaves_nothing(session: Any) -> None:
    def state() -> tuple[bool, bool, set[str]]:
        found = session.find_line_magic("qmi") is not None
        return ASYNCIO.allowed, found, completions(session, "%qmi get lab.psu.vol")

    nothing: set[str] = set()
    loaded = (True, True, {"lab.psu.voltage"})
    assert state() == loaded
    try:
        for _ in range(2):
            assert session.extension_manager.unload_extension("qmi") is None
            assert state() == (False, False, nothing)
            session.extension_manager.load_extension("qmi")
            assert state() == loaded
    finally:
        session.extension_manager.load_extension("qmi")


def test_magic_without_a_context_connects_by_itself(
    shell: Any, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = get_default()
    set_default(None)
    try:
        shell.run_line_magic("qmi", f"--config {config} get lab.psu.label")
    finally:
        set_default(before)
    assert "hello" in capsys.readouterr().out


@pytest.mark.slow
def test_magic_in_a_kernel_ends_by_the_stop_button(config: Path, tmp_path: Path) -> None:
    notebook = Notebook(tmp_path)
    try:
        assert (
            notebook.run(f"import qmi\nqmi.start('kernel', {str(config)!r}, init_logging=False)\n%load_ext qmi")[1]
            == ""
        )
        output, error = notebook.run("%qmi get lab.psu.voltage")
        assert (error, "1.5" in output) == ("", True)
        cell = notebook.begin("get_ipython().run_line_magic('qmi', 'monitor lab.psu.voltage')")
        assert "1.5" in notebook.printed(cell)
        notebook.interrupt()
        assert notebook.end(cell)[1] == ""
        assert "lab.psu." in notebook.complete("%qmi get lab.p")
        assert notebook.run("psu = qmi.get_instrument('lab.psu')\nawait psu.rpc_async.voltage") == ("1.5\n", "")
        assert "locked" in notebook.run("psu")[0]
        assert notebook.run("qmi.stop()")[1] == ""
    finally:
        notebook.close()
