"""What a word of a command line can become: commands, options, and names of the laboratory.

What an argument takes is told by its metavar, else by its name: ``CONTEXT``, ``CONTEXT.OBJECT``,
``CONTEXT.OBJECT.NAME`` (or ``METHOD``, ``PARAMETER``, ``SIGNAL``), ``FILE``, ``FOLDER``. An argument may have a
``completer``: a function of the word and of what was given with ``--config``. Names come from the cache; the
network is asked only for what is not there or is old (:mod:`qmi.tools.cli.fetch`).
"""

from __future__ import annotations

import argparse
import importlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from qmi.tools.cli.commands import GROUPS, Command, find
from qmi.tools.cli.completion_cache import KINDS, Cache, file_of, load
from qmi.tools.cli.options import TAKE_A_VALUE, make_parser, split

FILES = ":files"
"""Stands for the names of files, which shells know best."""

_FRESH = 30.0
_FRESH_MEMBERS = 300.0
_FILE_WORDS = ("FILE", "FOLDER", "DIR", "DIRECTORY", "PAGE", "PATH")
_MEMBER_WORDS = {"NAME": KINDS, **{kind[:-1].upper(): (kind,) for kind in KINDS}}


@dataclass(frozen=True)
class Candidate:
    """What a word can become.

    Attributes:
        value: The whole word; one that ends with "." goes on.
        text: What it is, in a line.
    """

    value: str
    text: str = ""


Fetch = Callable[[str, str, str, str], Cache]
"""Asks the network: for a configuration and a workgroup (as given), for all contexts, the objects of one context or the
members of one of its objects; may return less than that."""


def complete(words: Sequence[str], current: str, fetch: Fetch) -> list[Candidate]:
    """What the last word of a command line can become.

    Args:
        words: The words before it, without the name of the program.
        current: The word as far as it is typed.
        fetch: Asks the network.
    """
    before, name, rest = split([*words, ""])
    if not name:
        if before[-2:-1] and before[-2] in TAKE_A_VALUE and not before[-1]:
            return _values(_Option(before[-2]), current, _Names(before[:-2], fetch))
        return _matching(current, [*_commands(), *_options(make_parser("qmi", ""))])
    command = find(name)
    if command is None:
        return []
    parser = parser_of(name, command)
    place = _Place(parser)
    rest = rest[:-1]
    for word in rest:
        if not place.take(word):
            return []
    names = _Names([*before, *rest], fetch)
    if place.pending is not None:
        return _values(place.pending, current, names)
    if current.startswith("-") and not place.only_positionals:
        option, equals, value = current.partition("=")
        if equals:
            action = _option(place.parser, option)
            found = [] if action is None else _values(action, value, names)
            return [c if c.value == FILES else Candidate(f"{option}={c.value}", c.text) for c in found]
        return _matching(current, _options(place.parser))
    found = [] if place.positional is None else _values(place.positional, current, names)
    return found or ([] if current else _options(place.parser) if place.positional is None else [])


def parser_of(name: str, command: Command) -> argparse.ArgumentParser:
    """The parser of a command, without running it."""
    if command.parser:
        module, _, function = command.parser.partition(":")
        found: argparse.ArgumentParser = getattr(importlib.import_module(module), function)(f"qmi {name}")
        return found
    module_of_it = importlib.import_module(command.module)
    parser = make_parser(f"qmi {name}", command.help, add_help=not module_of_it.__dict__.get("OWN_HELP"))
    module_of_it.add_arguments(parser)
    return parser


def _commands() -> Iterable[Candidate]:
    for commands in GROUPS.values():
        for name, command in commands.items():
            yield Candidate(name, command.help)


def _options(parser: argparse.ArgumentParser) -> list[Candidate]:
    return [
        Candidate(max(action.option_strings, key=len), _one_line(action.help or ""))
        for action in _actions(parser)
        if action.option_strings and action.help != argparse.SUPPRESS
    ]


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    # A parser tells nobody what it was given; it is kept under this name since there is argparse.
    found: list[argparse.Action] = vars(parser)["_actions"]
    return found


def _option(parser: argparse.ArgumentParser, name: str) -> argparse.Action | None:
    return next((action for action in _actions(parser) if name in action.option_strings), None)


def _subcommands(action: argparse.Action | None) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the subcommands, if the argument is the name of one."""
    choices = action.choices if action is not None and isinstance(action.choices, dict) else {}
    return {name: parser for name, parser in choices.items() if isinstance(parser, argparse.ArgumentParser)}


def _matching(current: str, candidates: Iterable[Candidate]) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate.value.startswith(current)]


class _Option(argparse.Action):
    """One of the options before the command."""

    def __init__(self, name: str) -> None:
        super().__init__([name], name, metavar=name.strip("-").replace("config", "file").upper())

    def __call__(self, *_: object) -> None:
        """Never called."""


class _Place:
    """Where in a command line one is, after the words that were taken.

    Attributes:
        parser: The parser of the command or subcommand.
        pending: The option whose value comes next.
        only_positionals: Whether ``--`` was there.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser
        self.pending: argparse.Action | None = None
        self.only_positionals = False
        self._begin()

    def _begin(self) -> None:
        self._positionals = [action for action in _actions(self.parser) if not action.option_strings]

    @property
    def positional(self) -> argparse.Action | None:
        """What an argument would be; None if there is none to come."""
        return self._positionals[0] if self._positionals else None

    def take(self, word: str) -> bool:
        """Go on by a word; False if it makes no sense."""
        if self.pending is not None:
            self.pending = None
            return True
        if word == "--" and not self.only_positionals:
            self.only_positionals = True
            return True
        if word.startswith("-") and len(word) > 1 and not self.only_positionals:
            name, equals, _ = word.partition("=")
            action = _option(self.parser, name)
            if action is not None and action.nargs != 0 and not equals:
                self.pending = action
            return True
        action = self.positional
        subcommands = _subcommands(action)
        if subcommands:
            chosen = subcommands.get(word)
            if chosen is None:
                return False
            self.parser = chosen
            self._begin()
        elif action is not None and action.nargs not in ("*", "+", argparse.REMAINDER):
            self._positionals.pop(0)
        return True


class _Names:
    """The names of the laboratory, from the cache, and from the network where that is too old.

    Args:
        words: The command line, which may name the configuration and the workgroup.
        fetch: Asks the network.

    Attributes:
        config: As given with ``--config``.
    """

    def __init__(self, words: Sequence[str], fetch: Fetch) -> None:
        self.config = _given(words, "--config")
        self._workgroup = _given(words, "--workgroup")
        self._fetch = fetch
        self._cache = load(file_of(self.config, self._workgroup))

    def contexts(self) -> list[str]:
        if not _is_fresh(self._cache.learned, _FRESH):
            self._ask("", "")
        return list(self._cache.contexts)

    def objects(self, context: str) -> dict[str, str]:
        known = self._cache.contexts.get(context)
        if known is None or not _is_fresh(known.learned, _FRESH):
            self._ask(context, "")
        return {} if (known := self._cache.contexts.get(context)) is None else known.objects

    def members(self, context: str, name: str, kinds: Iterable[str]) -> dict[str, str]:
        known = self._cache.contexts.get(context)
        found = None if known is None else known.members.get(name)
        if found is None or not _is_fresh(found.learned, _FRESH_MEMBERS):
            self._ask(context, name)
        known = self._cache.contexts.get(context)
        found = None if known is None else known.members.get(name)
        if found is None:
            return {}
        return {entry: text for kind in kinds for entry, text in found.kinds.get(kind, {}).items()}

    def _ask(self, context: str, name: str) -> None:
        self._cache.take(self._fetch(self.config, self._workgroup, context, name))


def _is_fresh(learned: float, seconds: float) -> bool:
    return 0 <= time.time() - learned < seconds


def _given(words: Sequence[str], option: str) -> str:
    for place, word in enumerate(words):
        if word == option and place + 1 < len(words):
            return words[place + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return ""


def _values(action: argparse.Action, current: str, names: _Names) -> list[Candidate]:
    """What the value of an argument can become."""
    completer: Callable[[str, str], Iterable[str]] | None = getattr(action, "completer", None)
    if completer is not None:
        return _matching(current, map(Candidate, completer(current, names.config)))
    if subcommands := _subcommands(action):
        texts = {entry.dest: entry.help or "" for entry in vars(action).get("_choices_actions", ())}
        return _matching(current, [Candidate(name, _one_line(texts.get(name, ""))) for name in subcommands])
    if action.choices is not None:
        texts = action.choices if isinstance(action.choices, dict) else {}
        return _matching(current, [Candidate(str(name), str(texts.get(name, ""))) for name in action.choices])
    metavar = (action.metavar if isinstance(action.metavar, str) else "") or action.dest
    what = metavar.upper()
    if what.rstrip("S") in _FILE_WORDS or what in _FILE_WORDS:
        return [Candidate(FILES)]
    parts = re.sub(r"[\[\]]", "", what).split(".")
    if parts[0].rstrip("S") != "CONTEXT" or len(parts) > 3:
        return []
    return _of_lab(current, parts, names, optional="[" in what)


def _of_lab(current: str, parts: Sequence[str], names: _Names, *, optional: bool) -> list[Candidate]:
    context, dot, rest = current.partition(".")
    if not dot:
        end = "." if len(parts) > 1 and not optional else ""
        found = [Candidate(name + end) for name in names.contexts()]
        return _matching(current, found)
    if len(parts) < 2:
        return []
    name, dot, _ = rest.partition(".")
    if not dot:
        end = "." if len(parts) > 2 else ""
        return _matching(
            current, [Candidate(f"{context}.{entry}{end}", text) for entry, text in names.objects(context).items()]
        )
    if len(parts) < 3:
        return []
    kinds = _MEMBER_WORDS.get(parts[2], KINDS)
    members = names.members(context, name, kinds)
    return _matching(current, [Candidate(f"{context}.{name}.{entry}", text) for entry, text in members.items()])


def _one_line(text: str) -> str:
    return " ".join(re.sub(r" *\(?%\(\w+\)\w\)?", "", text).replace("%%", "%").split())


def answer(arguments: Sequence[str], fetch: Fetch) -> str:
    """What the script of a shell reads: a line for each candidate, with a tab before its text.

    Args:
        arguments: The shell and the words of the command line up to the cursor, without the name of the program.
        fetch: Asks the network.
    """
    shell, *words = arguments or [""]
    if shell == "bash":
        words = _joined(words)
    current = words.pop() if words else ""
    found = complete(words, current, fetch)
    if shell == "bash" and current.startswith("-") and "=" in current:  # bash has split it, and wants the last piece
        start = current.index("=") + 1
        found = [c if c.value == FILES else Candidate(c.value[start:], c.text) for c in found]
    return "".join(
        f"{FILES}\n" if c.value == FILES else f"{c.value}\t{c.text}\n" if c.text else f"{c.value}\n" for c in found
    )


def _joined(words: Sequence[str]) -> list[str]:
    """Bash makes three words of ``--config=FILE``."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].startswith("--") and (word == "=" or joined[-1].endswith("=")):
            joined[-1] += word
        else:
            joined.append(word)
    return joined
