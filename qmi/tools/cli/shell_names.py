"""What ``qmi shell`` calls the contexts and objects of a laboratory: names that hide nothing."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from qmi import html
from qmi.errors import QMI_Exception
from qmi.tools.cli.errors import CommandError

if TYPE_CHECKING:
    from qmi.tools.cli.session import Laboratory

OF_IPYTHON: Final = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open", "display"})
"""Names that IPython gives a meaning."""


class Chosen(NamedTuple):
    """The names of a session.

    Attributes:
        contexts: Variable -> context.
        objects: Variable -> context and object.
        hidden: Context or ``"context.object"`` -> why it has no variable.
    """

    contexts: dict[str, str]
    objects: dict[str, tuple[str, str]]
    hidden: dict[str, str]


def choose(found: Mapping[str, Collection[str]], taken: Collection[str]) -> Chosen:
    """Choose the variables of a session: one for each context, and one for each object whose name is unique.

    Args:
        found: Context -> its objects.
        taken: Names that the session has otherwise.
    """
    contexts: dict[str, str] = {}
    hidden: dict[str, str] = {}
    for context in found:
        why = _unfit(context, taken)
        if why:
            hidden[context] = why
        else:
            contexts[context] = context
    owners: dict[str, list[str]] = {}
    for context, objects in found.items():
        for name in objects:
            owners.setdefault(name, []).append(context)
    chosen: dict[str, tuple[str, str]] = {}
    for name, where in owners.items():
        why = f"there are {len(where)} of that name" if len(where) > 1 else _unfit(name, (*taken, *contexts))
        if why:
            hidden.update({f"{context}.{name}": why for context in where})
        else:
            chosen[name] = (where[0], name)
    return Chosen(contexts, chosen, hidden)


def _unfit(name: str, taken: Collection[str]) -> str:
    """Why something cannot be a variable of this name; empty if it can."""
    if keyword.iskeyword(name) or not name.isidentifier():
        return "that is no name in Python"
    if hasattr(builtins, name) or name in OF_IPYTHON or name.startswith("_"):
        return f"Python has a {name!r} of its own"
    return f"{name!r} is something else here" if name in taken else ""


class ContextNames:
    """A context in a session: its objects are attributes. One that is away is connected to when it is used.

    Args:
        lab: The laboratory.
        name: The context.
        objects: The objects that it is known to have.
        why: Why it is away; empty if it is there.
    """

    def __init__(self, lab: Laboratory, name: str, objects: Collection[str] = (), why: str = "") -> None:
        self._lab = lab
        self._name = name
        self._objects = sorted(objects)
        self._why = why
        self._proxies: dict[str, object] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # shells look for what they know
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Any:
        self._connect()
        if name not in self._proxies:
            self._proxies[name] = self._lab.proxy(f"{self._name}.{name}")
            self._objects = sorted({*self._objects, name})
        return self._proxies[name]

    def _connect(self) -> None:
        # Its link may be restored at this moment; then the call itself says how that went.
        if self._lab.context.has_peer_context(self._name):
            self._why = ""
            return
        self._lab.forget(self._name)  # it may be elsewhere
        try:
            self._lab.connect(self._name)
        except QMI_Exception as error:
            self._why = str(error)
            raise CommandError(self._why) from None  # how that was found out is of no use to who types
        self._why = ""

    def _ask(self) -> None:
        """Learn again what it has."""
        try:
            self._connect()
            status = self._lab.context.get_status(self._name, timeout=self._lab.timeout)
        except QMI_Exception as error:
            self._why = str(error)
            return
        self._objects = sorted(entry.name for entry in status.objects)
        self._status = status

    def __dir__(self) -> list[str]:
        return [name for name in self._objects if name.isidentifier()]

    def _ipython_key_completions_(self) -> list[str]:
        return self._objects

    def __repr__(self) -> str:
        linked = self._lab.context.has_peer_context(self._name)  # by a command or a proxy, perhaps
        away = "" if linked else self._why or "the link is lost"
        what = f"away: {away}" if away else ", ".join(self._objects) or "no objects"
        return f"<context {self._name}: {what}>"

    def _repr_html_(self) -> str:
        return html.shown_or(self._as_html, self)

    def _as_html(self) -> str:
        self._ask()
        if self._why:
            return html.card(self._name, "context", [html.mark(f"away: {self._why}", html.BAD)])
        return self._status._repr_html_()


def state_of(context: ContextNames) -> tuple[list[str], str]:
    """The objects that a context is known to have, and why it is away, if it is.

    No attributes of it, since those are its objects.
    """
    return context._objects, context._why
