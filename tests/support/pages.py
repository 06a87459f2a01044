"""Runs what the pages of the documentation show: Sybil finds the blocks, this says what each kind of block means.

Each page has a directory of its own, which is the home directory and the current one while its blocks run, and one
namespace. What a block means:

- ``>>>`` sessions are typed statement by statement, and what they print is compared with what is shown (see
  :func:`expectation`).
- Other Python is executed in the namespace of the page.
- A caption that is a file name (``:caption: demo_task.py``) saves the block under that name; a configuration is also
  checked, and Python is compiled.
- A caption ``Terminal 2`` (or higher) runs the block in another process: a Python prompt for ``>>>`` sessions, a
  program that goes on in the background for ``console`` blocks.
- The ports 30000 to 30009 stand for free ones, and contexts of a page see only each other.
- ``console`` blocks: a line that begins with ``$`` is a command, the lines after it are what it prints. ``python3`` and
  ``qmi_proc`` run in this process, ``curl`` by a shell, ``^C`` interrupts the program of its terminal. ``NAME=...`` is
  a variable of that shell; three dots stand for what a program of the page has printed behind ``name=``.

Pages that start processes are slow, and left to the slow tests.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from doctest import DocTestParser
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from sybil import Document, Example, Region
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, FencedCodeBlockLexer
from sybil.parsers.myst.lexers import DirectiveLexer
from sybil.typing import Lexer

import qmi
from qmi.config.loader import parse_config
from qmi.tools import proc
from qmi.tools.cli import main as cli
from tests.support.desk import Desk, Program, Prompt
from tests.support.ports import free_port

LONGEST_SLEEP = 0.2
"""How long all ``time.sleep()`` of a statement really take at most, in seconds: enough for a task to do something."""

RUN = {"python", "console", "pycon"}
PORT = re.compile(r"\b3000\d\b")
TERMINAL = re.compile(r"Terminal (\d+)")
STARTS_PROCESSES = re.compile(r"^:caption: Terminal [2-9]|^\$ qmi_proc (start|restart)", re.MULTILINE)

VARIABLE = re.compile(r"([A-Z]+)=(\S+)")

NUMBER = r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?"
STAMP = r"(\d{4}-\d\d-\d\d[ T]\d\d[:-]\d\d[:-]\d\d(\.\d+)?|\b\d\d:\d\d:\d\d\b)"
_FREE = re.compile(rf"(?P<stamp>{STAMP})|(?P<number>[-+]?\d+\.\d{{3,}}(e[-+]?\d+)?)")


def expectation(shown: str) -> str:
    """The regular expression for what may be printed where a page shows this.

    Numbers with three decimals or more and times may differ. ``...`` stands for anything in a line, and alone in a line
    for any lines. Of a traceback only the lines from the name of the exception on count.
    """
    return "".join(
        _line(line) + "\n" if line.strip() != "..." else r"([^\n]*\n)*" for line in shown.rstrip().splitlines()
    )


def matches(shown: str, printed: str) -> bool:
    """Whether a page may show the one where the other is printed."""
    printed = printed.rstrip()
    return re.fullmatch(expectation(shown), printed and printed + "\n") is not None


def _line(line: str) -> str:
    pattern, at = "", 0
    for found in _FREE.finditer(line):
        pattern += _words(line[at : found.start()]) + (STAMP if found["stamp"] else NUMBER)
        at = found.end()
    return pattern + _words(line[at:])


def _words(text: str) -> str:
    # Columns may be wider where a free number is longer.
    return re.sub(r"(\\ ){2,}", r" +", re.escape(text)).replace(r"\.\.\.", r"[^\n]*")


def check(source: str, shown: str, printed: str) -> None:
    """Fail if this is not what the page shows."""
    __tracebackhide__ = True
    assert matches(shown, printed), f"{source.rstrip()}\nprinted\n{printed}\nthe page shows\n{shown}"


class Page:
    """A page while its blocks run.

    Args:
        path: The page.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._directory = tempfile.TemporaryDirectory(prefix="qmi-page-")
        self.home = Path(self._directory.name).resolve()
        self.module = ModuleType("__main__")
        self._output = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        self._desk = Desk(self.home)
        self._terminals: dict[int, Program] = {}
        self._modules = set(sys.modules)
        self._discovery_port = free_port(socket.SOCK_DGRAM)
        self._ports: dict[str, str] = {}
        self._variables: dict[str, str] = {}
        self._said = ""

    def close(self) -> None:
        """End what the page has left running, and forget it."""
        with self._here(), contextlib.suppress(qmi.core.exceptions.QMI_Exception):
            qmi.stop()
        if (self.home / ".qmi_proc").exists():
            self._command("qmi_proc stop --all")
        self._desk.__exit__(None, None, None)
        for name in set(sys.modules) - self._modules:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(self.home):
                del sys.modules[name]
        self._directory.cleanup()

    def with_ports(self, text: str) -> str:
        """The text of a block with a free port in place of each one that the page shows."""
        for port in PORT.findall(text):
            self._ports.setdefault(port, str(free_port(socket.SOCK_STREAM)))
        return PORT.sub(lambda found: self._ports[found[0]], text)

    def session(self, block: str, terminal: int) -> None:
        """Type a session, and compare what it prints."""
        __tracebackhide__ = True
        for example in DocTestParser().get_examples(block):
            if terminal > 1:
                printed = self._prompt(terminal).type(example.source.rstrip("\n"))
            else:
                printed = self._statement(example.source)
            check(example.source, example.want, printed)

    def execute(self, block: str, line: int) -> None:
        """Execute Python in the namespace of the page."""
        __tracebackhide__ = True
        code = compile("\n" * (line - 1) + block, str(self.path), "exec")
        with self._here():
            exec(code, vars(self.module))

    def save(self, block: str, name: str) -> None:
        """Save a file."""
        if name.endswith(".py"):
            compile(block, name, "exec")
        elif name.endswith(".conf"):
            parse_config(block)
            block = self._alone(block)
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block, encoding="utf-8")

    def _alone(self, configuration: str) -> str:
        """Contexts of a page see only each other."""
        if '"discovery"' in configuration:
            return configuration
        discovery = f'"discovery": {{"port": {self._discovery_port}, "broadcast_addresses": ["127.255.255.255"]}}'
        head, brace, tail = configuration.rpartition("}")
        comma = "" if re.fullmatch(r"\s*\{\s*", head) or head.rstrip().endswith(",") else ","
        return f"{head.rstrip()}{comma}\n    {discovery}\n{brace}{tail}"

    def commands(self, block: str, terminal: int) -> None:
        """Type commands at a shell."""
        __tracebackhide__ = True
        for command, shown in _commands(block):
            if command == "^C":
                self._terminals[terminal].interrupt()
            elif terminal > 1:
                self._terminals[terminal] = self._desk.program(command)
            else:
                check(command, shown, self._command(command))
                continue
            for line in shown.splitlines():
                self._said += self._terminals[terminal].expect(_line(line) + (r"\s" if line.endswith("...") else ""))
            if command == "^C" and not isinstance(self._terminals[terminal], Prompt):
                self._terminals[terminal].wait()  # what comes next on the page is typed when it has ended

    def _prompt(self, terminal: int) -> Prompt:
        prompt = self._terminals.get(terminal)
        if not isinstance(prompt, Prompt):
            prompt = self._terminals[terminal] = self._desk.prompt()
        return prompt

    def _statement(self, source: str) -> str:
        with self._here():
            try:
                exec(compile(source, "<stdin>", "single"), vars(self.module))
            except Exception as error:
                traceback.print_exception(error)
        return self._printed()

    def _shell(self, command: str) -> str:
        """Set a variable, or run a command by a shell."""
        if assigned := VARIABLE.fullmatch(command):
            name, value = assigned.groups()
            told = re.findall(rf"\b{name.lower()}=(\S+)", self._said)
            self._variables[name] = told[-1] if value == "..." else value
            return ""
        variables = {**self._desk.environment, **self._variables}
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.home, env=variables, capture_output=True, text=True, timeout=40
        )
        assert done.stdout or not done.returncode, f"{command}\n{done.stderr}"
        return done.stdout

    def _command(self, command: str) -> str:
        """Run a command in this process: a process of its own would take half a second."""
        if VARIABLE.fullmatch(command) or command.startswith("curl "):
            return self._shell(command)
        name, *arguments = shlex.split(command)
        handler = signal.getsignal(signal.SIGINT)
        with self._here(), mock.patch.object(sys, "argv", [name, *arguments]):
            try:
                if name == "qmi_proc":
                    proc.main()
                elif name == "qmi":
                    cli.main()
                elif name != "python3":
                    raise AssertionError(f"a page may run python3, qmi, qmi_proc and curl, not {name!r}")
                elif arguments[0] == "-m":
                    sys.argv = arguments[1:]
                    with warnings.catch_warnings():
                        # A test may have imported the module before; it is run as a new one all the same.
                        warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
                        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
                else:
                    sys.argv = arguments
                    runpy.run_path(arguments[0], run_name="__main__")
            except SystemExit:
                pass
            finally:
                # qmi_proc ignores Ctrl-C at its end, and programs that are started here would then, too.
                signal.signal(signal.SIGINT, handler)
        return self._printed()

    def _printed(self) -> str:
        buffer = self._output.buffer
        assert isinstance(buffer, io.BytesIO)
        printed = buffer.getvalue().decode()
        buffer.seek(0)
        buffer.truncate()
        return printed

    @contextlib.contextmanager
    def _here(self) -> Iterator[None]:
        """At the page's desk: its directory, its home, its main module, its terminal."""
        directory, main, sleep = os.getcwd(), sys.modules["__main__"], time.sleep

        left = LONGEST_SLEEP

        def sleep_less(seconds: float) -> None:
            nonlocal left
            if threading.current_thread() is threading.main_thread():
                seconds = min(seconds, left)
                left -= seconds
            sleep(seconds)

        variables = {name: value for name, value in os.environ.items() if not name.startswith("QMI_")}
        with (
            mock.patch.dict(os.environ, {**variables, "HOME": str(self.home), "COLUMNS": "80"}, clear=True),
            mock.patch.object(sys, "path", [str(self.home), *sys.path]),
            mock.patch("time.sleep", sleep_less),
            contextlib.redirect_stdout(self._output),
            contextlib.redirect_stderr(self._output),
        ):
            os.chdir(self.home)
            sys.modules["__main__"] = self.module
            try:
                yield
            finally:
                sys.modules["__main__"] = main
                os.chdir(directory)


def _commands(block: str) -> Iterator[tuple[str, str]]:
    parts = re.split(r"^(\$ .*|\^C)\n", block, flags=re.MULTILINE)
    assert not parts[0].strip(), f"a console block begins with '$ command', not with {parts[0]!r}"
    for command, shown in zip(parts[1::2], parts[2::2], strict=True):
        yield command.removeprefix("$ "), shown


_LEXERS: list[Lexer] = [
    FencedCodeBlockLexer(r"[\w-]+", mapping={"language": "arguments", "source": "source"}),
    DirectiveLexer(r"code-block", r"[\w-]+"),
    DirectiveInHTMLCommentLexer(r"invisible-code-block", r"[\w-]+"),
]


def parse(document: Document) -> Iterator[Region]:
    """The parser that Sybil is given: it finds the blocks that are run."""
    for lexer in _LEXERS:
        for region in lexer(document):
            language, source = region.lexemes["arguments"], region.lexemes["source"]
            caption = region.lexemes.get("options", {}).get("caption", "")
            if language in RUN or "." in caption:
                yield Region(region.start, region.end, (language, source, caption), run)


def run(example: Example) -> None:
    """Run a block."""
    __tracebackhide__ = True
    page = example.namespace.get("page")
    if page is None:
        page = example.namespace["page"] = Page(Path(example.path))
    language, source, caption = example.parsed
    source = page.with_ports(source)
    named = TERMINAL.match(caption)
    terminal = int(named[1]) if named else 1
    if language == "console":
        page.commands(source, terminal)
    elif source.startswith(">>>"):
        page.session(source, terminal)
    elif "." in caption:
        page.save(source, caption)
    else:
        page.execute(source, example.line + 1)


def close(namespace: dict[str, Any]) -> None:
    """Sybil is done with a page."""
    page = namespace.pop("page", None)
    if page is not None:
        page.close()
