"""What the tutorial's text means: sections, what is typed at prompts and what that prints, files and commands.

The text stays where it is, beside the repository; the tests type and run what they read there.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field

_UNDERLINE = re.compile(r"([-=~^])\1{2,}\Z")
_FILE_NAME = re.compile(r"``([\w.-]+\.(?:py|conf))``")
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?\Z")


@dataclass(frozen=True)
class Step:
    """One statement as typed at a prompt.

    Attributes:
        line: Where it is in the tutorial.
        source: Its lines.
        printed: The lines that it prints, as far as the tutorial shows them.
    """

    line: int
    source: tuple[str, ...]
    printed: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The statement as one text."""
        return "\n".join(self.source)


@dataclass(frozen=True)
class Session:
    """Statements that stand together."""

    steps: tuple[Step, ...]

    def replace(self, old: str, new: str) -> Session:
        """The same with a change; it must change something."""
        steps = tuple(
            Step(step.line, tuple(line.replace(old, new) for line in step.source), step.printed) for step in self.steps
        )
        assert steps != self.steps, f"{old!r} is not in this session"
        return Session(steps)


@dataclass(frozen=True)
class Literal:
    """A script, a configuration or a command.

    Attributes:
        line: Where it is in the tutorial.
        text: What it says, without the indentation.
        names: Names of files in the paragraph before it; the last one is what it is about.
    """

    line: int
    text: str
    names: tuple[str, ...]


@dataclass
class Section:
    """What stands below a title, up to the next one."""

    title: str
    sessions: list[Session] = field(default_factory=list)
    literals: list[Literal] = field(default_factory=list)

    def file(self, name: str) -> str:
        """The text of a file that the tutorial has its reader create; of several versions the last one."""
        found = [literal.text for literal in self.literals if literal.names[-1:] == (name,)]
        assert found, f"section {self.title!r} has no file {name!r}"
        return found[-1]

    def literal(self, part: str) -> str:
        """The one literal text with this part in it."""
        (found,) = (literal.text for literal in self.literals if part in literal.text)
        return found

    @property
    def configuration(self) -> str:
        """The one configuration file in this section."""
        (found,) = (literal.text for literal in self.literals if literal.text.startswith("{"))
        return found

    @property
    def commands(self) -> list[str]:
        """What is typed at the shell."""
        texts = [literal.text.strip() for literal in self.literals]
        return [text for text in texts if re.match(r"(python3|qmi_proc)\s", text) and "\n" not in text]


class Tutorial:
    """The whole text, read.

    Args:
        text: The tutorial, in reStructuredText.
    """

    def __init__(self, text: str) -> None:
        self.sections: dict[str, Section] = {}
        self._lines = text.expandtabs().splitlines()
        self._section = Section("")
        self._read()

    def __getitem__(self, title: str) -> Section:
        assert title in self.sections, f"the tutorial has no section {title!r}; it has {list(self.sections)}"
        return self.sections[title]

    def _read(self) -> None:
        at = 0
        paragraph: list[str] = []
        while at < len(self._lines):
            line = self._lines[at]
            if _UNDERLINE.match(line) and paragraph:
                title = paragraph[-1].strip()
                self._section = self.sections.setdefault(title, Section(title))
                paragraph = []
            elif line.lstrip().startswith(">>>"):
                end = self._end_of_paragraph(at)
                self._section.sessions.append(_read_session(self._lines[at:end], at + 1))
                at = end
                continue
            elif line.strip():
                paragraph = [*paragraph, line] if at and self._lines[at - 1].strip() else [line]
                if line.endswith("::") and not line.lstrip().startswith(".. "):
                    at = self._read_literal(at, paragraph)
                    continue
            at += 1

    def _end_of_paragraph(self, at: int) -> int:
        while at < len(self._lines) and self._lines[at].strip():
            at += 1
        return at

    def _read_literal(self, at: int, paragraph: list[str]) -> int:
        margin = _indentation(self._lines[at])
        begin = at = at + 1
        while at < len(self._lines) and (not self._lines[at].strip() or _indentation(self._lines[at]) > margin):
            at += 1
        text = textwrap.dedent("\n".join(self._lines[begin:at])).strip("\n") + "\n"
        names = tuple(_FILE_NAME.findall(" ".join(paragraph)))
        self._section.literals.append(Literal(begin + 1, text, names))
        return at


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _read_session(lines: list[str], first: int) -> Session:
    steps: list[Step] = []
    for number, raw in enumerate(textwrap.dedent("\n".join(lines)).splitlines(), first):
        prompt, rest = raw[:3], raw[3:]
        last = steps[-1] if steps else None
        if prompt == ">>>":
            source = rest.removeprefix(" ")
            # The tutorial is not strict: it has ">>>" before the rest of a block and before results, too.
            if last is not None and (not source or source[0] == " "):
                steps[-1] = Step(last.line, (*last.source, source), last.printed)
            elif last is not None and _NUMBER.match(source):
                steps[-1] = Step(last.line, last.source, (*last.printed, source))
            else:
                steps.append(Step(number, (source,)))
        elif last is None:
            raise ValueError(f"line {number} of the tutorial is no prompt: {raw!r}")
        elif prompt == "..." and not last.printed:
            steps[-1] = Step(last.line, (*last.source, rest.removeprefix(" ")), ())
        else:
            steps[-1] = Step(last.line, last.source, (*last.printed, raw))
    return Session(tuple(steps))
