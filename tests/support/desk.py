"""A user's desk: a fresh home directory, real prompts and shells in pseudo-terminals, and scripts."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import pexpect

from tests.support.tutorial import Session, Step

HARD_LIMIT = 30.0
"""How long anything may take, in seconds; nothing waits so long unless something is broken."""

CONTEXT = r"QMI_context\(name='[^']*'\)"
NUMBER = r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?"
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
ANYTHING = r"(?s:.*)"
LOG_LINES = rf"({STAMP} \| (DEBUG|INFO|WARNING) +\| .*\n?)+"


class Desk:
    """Where a user sits: a home directory that was empty at first, and whatever was started from there.

    Args:
        home: An empty directory; it is the current directory too.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._running: list[Program] = []
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("QMI_")}
        self.environment |= {
            "HOME": str(home),
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]),
            "PYTHON_BASIC_REPL": "1",  # the coloured prompt of Python 3.13 redraws what is typed
            "PYTHON_COLORS": "0",
            "TERM": "dumb",
        }

    def write(self, name: str, text: str) -> Path:
        """Save a file in the home directory."""
        path = self.home / name
        path.write_text(text, encoding="utf-8")
        return path

    def prompt(self) -> Prompt:
        """Start Python and wait for its prompt."""
        prompt = Prompt(self)
        self._running.append(prompt)
        return prompt

    def program(self, command: str) -> Program:
        """Start what is typed at a shell, in a terminal of its own."""
        program = Program(self, command)
        self._running.append(program)
        return program

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run what is typed at a shell until it ends."""
        return subprocess.run(
            self.arguments(command),
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HARD_LIMIT,
        )

    def arguments(self, command: str) -> list[str]:
        """The words of a command; ``python3`` is the Python that runs the tests."""
        words = shlex.split(command)
        return [sys.executable, *words[1:]] if words[0] == "python3" else words

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in self._running:
            program.child.close(force=True)


class Program:
    """Something that runs in a terminal.

    Attributes:
        child: The process.
    """

    def __init__(self, desk: Desk, command: str) -> None:
        words = desk.arguments(command)
        self.child = pexpect.spawn(
            words[0],
            words[1:],
            cwd=str(desk.home),
            env=desk.environment,
            timeout=HARD_LIMIT,
            encoding="utf-8",
            codec_errors="replace",  # Ctrl-C may cut a character in two
            dimensions=(50, 1000),
        )
        self.child.delaybeforesend = None

    def expect(self, pattern: str) -> str:
        """Wait until something is printed that fits the regular expression, and return all up to its end."""
        self.child.expect(pattern)
        return _plain(self.child.before + self.child.after)

    def send(self, line: str) -> None:
        """Type a line."""
        self.child.sendline(line)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.child.sendintr()

    def wait(self) -> tuple[int | None, str]:
        """Wait for the end: the exit code, and what was printed until then."""
        self.child.expect(pexpect.EOF)
        printed = _plain(self.child.before)
        self.child.close()
        return self.child.exitstatus, printed


class Prompt(Program):
    """Python at a terminal, waiting for what is typed."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk, "python3")
        self._expect_prompt()

    def type(self, source: str) -> str:
        """Type a statement, and return what it prints before the next prompt."""
        printed = ""
        for line in source.split("\n"):
            printed = self._type_line(line)
        while self.child.match[1] == "... ":
            printed = self._type_line("")
        return printed

    def leave(self) -> tuple[int | None, str]:
        """Leave Python; the exit code, and what was printed on the way."""
        self.child.sendeof()
        return self.wait()

    def _type_line(self, line: str) -> str:
        self.child.sendline(line)
        self.child.expect_exact(f"{line}\r\n")
        return self._expect_prompt()

    def _expect_prompt(self) -> str:
        self.child.expect(r"(?:\A|(?<=\n))(>>> |\.\.\. )")
        return _plain(self.child.before)


def _plain(printed: str) -> str:
    return printed.replace("\r\n", "\n")


def follow(prompt: Prompt, session: Session, prints: dict[str, str] | None = None) -> None:
    """Type a session of the tutorial, and check that it prints what the tutorial says.

    Numbers and times may differ. The tutorial does not show everything that is printed; what else may be is listed in
    ``DECIDED`` and here.

    Args:
        prompt: Where to type.
        session: What to type.
        prints: Part of a statement to a regular expression for what it prints, where the tutorial does not show that.
    """
    for step in session.steps:
        printed = prompt.type(step.text).rstrip("\n")
        expected = expectation(step, prints or {})
        assert re.fullmatch(expected, printed), (
            f"line {step.line} of the tutorial, {step.text!r}, printed\n{printed}\nand should print\n{expected}"
        )


# Where DESIGN.md or the tutorial itself decides otherwise, or says in words what is printed.
DECIDED = {
    # The value is the context, so that "with qmi.start(...) as context:" works.
    "qmi.start(": CONTEXT,
    "nsg.get_sample()": NUMBER,
}
OTHER_TEXT = {
    # There is one form of a proxy's repr, that of the section on locking.
    r"(\w+)\.Proxy\(\w+\(context_id='(\w+)', object_id='(\w+)'\)\)": r"<rpc proxy for \2.\3 (%.\1)>",
}


def expectation(step: Step, prints: dict[str, str]) -> str:
    """The regular expression for what a statement prints."""
    if not step.printed:
        patterns = [pattern for part, pattern in [*prints.items(), *DECIDED.items()] if part in step.text]
        return patterns[0] if patterns else ""
    return "\n".join(_line_patterns(list(step.printed)))


def _line_patterns(lines: list[str]) -> list[str]:
    if "Traceback (most recent call last):" not in lines:
        return [_line_pattern(line) for line in lines]
    begin = lines.index("Traceback (most recent call last):")
    # Whose file is in which line of a traceback is no promise; the last line is: its text, and what may follow.
    # A more special exception than the tutorial's is one, too.
    kind, message = lines[-1].split(": ", 1)
    module = re.escape(kind.rpartition(".")[0])
    last = rf"{module}\.QMI_\w+Exception: {re.escape(message)}.*"
    return [*map(_line_pattern, lines[:begin]), re.escape(lines[begin]), rf"(  .*\n)+{last}"]


def _line_pattern(line: str) -> str:
    for old, new in OTHER_TEXT.items():
        line = re.sub(old, new, line)
    pattern = re.escape(line).replace("%", r"[\w.]+")
    pattern = re.sub(r"\d{4}\\-\d\d\\-\d\d\\ \d\d:\d\d:\d\d\\\.\d{3}", lambda _: STAMP, pattern)
    return re.sub(r"(\\-)?\d+\\\.\d{4,}", lambda _: NUMBER, pattern)
