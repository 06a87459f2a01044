"""``%load_ext qmi``: the commands of ``qmi`` in IPython and notebooks, over the context that runs there.

``%qmi ls lab`` is ``qmi ls lab``, with the same arguments and the same output; it ends by the stop button as the
command does by Ctrl-C. Where no context runs, or ``--config``, ``--workgroup`` or ``--as`` is given, a command makes a
connection of its own, as at a terminal.

While it is loaded, tasks of asyncio may await proxies, in this process: cells run in such a loop.
"""

from __future__ import annotations

import os
import shlex
import weakref
from argparse import Namespace
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakKeyDictionary

from IPython.core.error import TryNext, UsageError

from qmi.actors.future import call_blocking
from qmi.actors.proxy import QMI_RpcProxy
from qmi.contexts.default import get_default
from qmi.errors import QMI_Exception
from qmi.messages import Call
from qmi.names import Address, parse_host_port
from qmi.presenting.seen import Seen
from qmi.runtime import cells
from qmi.runtime.wakeup import ASYNCIO
from qmi.tools.cli import session
from qmi.tools.cli.candidates import FILES, complete
from qmi.tools.cli.commands import find
from qmi.tools.cli.errors import EXIT_OK, EXIT_USAGE, CommandError, code_of
from qmi.tools.cli.fetch import fetch
from qmi.tools.cli.main import carry_out
from qmi.tools.cli.options import COMMON, split
from qmi.tools.cli.session import Laboratory, sharing
from qmi.tools.cli.terminal import Terminal
from qmi.tools.ipython_cells import Runners, install, remove

if TYPE_CHECKING:
    from qmi.core.context import QMI_Context

_NAME = "qmi"
_AT_A_TERMINAL = ("shell", "completion")


class _Magics(Protocol):
    """The magics of a shell."""

    magics: dict[str, dict[str, object]]


class Shell(Runners, cells.Shell, Protocol):
    """What is needed of IPython."""

    user_ns: dict[str, object]
    magics_manager: _Magics

    def register_magic_function(self, function: object, magic_kind: str, magic_name: str) -> None:
        """Have a function called for a magic."""

    def set_hook(self, name: str, hook: object, *, str_key: str) -> None:
        """Have a function called to complete a line that begins with a text."""


class _Event(Protocol):
    """What is to be completed."""

    symbol: str
    text_until_cursor: str


class RunningLaboratory(Laboratory):
    """The laboratory of the context that runs in this program already; it outlives each command.

    Args:
        context: The context.
        variables: Those of the user: a command uses the proxies that are among them.
    """

    def __init__(self, context: QMI_Context, variables: dict[str, object]) -> None:
        super().__init__(context.get_config(), reconnect=True)
        self.lasts = True
        self._running = context
        self._variables = variables
        self._kept: dict[Address, object] = {}

    @property
    def context(self) -> QMI_Context:
        """The context."""
        return self._running

    def connect(self, context: str) -> QMI_Context:
        """Connect to a context, unless that is done."""
        return self._running if context == self._running.name else super().connect(context)

    def proxy(self, address: str) -> Any:
        """A proxy of an object: that of the user, so that what a command locks is locked for it."""
        where = session.parse_object(address)
        for value in [*self._variables.values(), self._kept.get(where)]:
            if isinstance(value, QMI_RpcProxy) and self._is_for(value, where):
                self.connect(where.context)
                return value
        found = self._kept[where] = super().proxy(address)
        return found

    def seen_here(self) -> Seen:
        """The running context, which needs no port to be asked."""
        status = self._running.get_status()
        address = parse_host_port(status.address) if status.address else None
        return Seen(status.name, address, pid=status.pid, version=status.version, status=status)

    def call_object(
        self, address: Address, method: str, /, *args: object, timeout: float | None = None, **kwargs: object
    ) -> Any:
        """Call a method of an object; one of the running context directly."""
        if address.context != self._running.name:
            return super().call_object(address, method, *args, timeout=timeout, **kwargs)
        call = Call(address.object, method, args, kwargs)
        future = self._running.async_context.request(address, call)
        return call_blocking(future, self.timeout if timeout is None else timeout)

    def _is_for(self, proxy: QMI_RpcProxy, where: Address) -> bool:
        return proxy.__rpc__.address == where and proxy.__rpc__.router is self._running.async_context

    def close(self) -> None:
        """The context runs on."""


class _Magic:
    """The magic of one shell."""

    def __init__(self, shell: Shell) -> None:
        self._shell = weakref.proxy(shell)
        self._lab: RunningLaboratory | None = None
        self.loaded = False
        for key in (f"%{_NAME}", _NAME):
            shell.set_hook("complete_command", self.complete, str_key=key)

    def _laboratory(self) -> Laboratory | None:
        """Where commands go to; None if there is no context."""
        context = get_default()
        if context is None or not context.is_running:
            self._lab = None
        elif self._lab is None or self._lab.context is not context:
            self._lab = RunningLaboratory(context, self._shell.user_ns)
        return self._lab

    def qmi(self, line: str) -> None:
        """Carry out a command of qmi: ``%qmi ls lab``; ``%qmi --help`` lists them."""
        try:
            words = _words(line)
            _, name, _ = split(words)
            command = find(name)
            if name in _AT_A_TERMINAL or (command is not None and command.main):
                raise CommandError(f"that is for a terminal: !qmi {line}", EXIT_USAGE)
            lab = self._laboratory()
            terminal = Terminal()
            try:
                with nullcontext() if lab is None else sharing(lab, Namespace(**COMMON)):
                    self._shell.user_ns["_exit_code"] = carry_out(words or ["--help"], terminal)
            finally:
                terminal.flush()
        except SystemExit:  # of a parser, after --help
            self._shell.user_ns["_exit_code"] = EXIT_OK
        except QMI_Exception as error:
            self._shell.user_ns["_exit_code"] = code_of(error)
            raise UsageError(f"qmi: {error}") from None
        except BaseException as error:  # of the stop button, too
            self._shell.user_ns["_exit_code"] = code_of(error)
            raise

    def complete(self, shell: Shell, event: _Event) -> list[str]:
        """What the last word of such a line can become."""
        if not self.loaded:  # IPython forgets no hook
            raise TryNext
        typed = event.text_until_cursor
        words = typed.split()[1:]
        current = words.pop() if words and not typed[-1:].isspace() else ""
        lab = self._laboratory()
        options = []
        if lab is not None:
            options = [f"--workgroup={lab.config.workgroup}"]
            options += [f"--config={lab.config.config_file}"] if lab.config.config_file else []
        try:
            found = complete([*options, *words], current, fetch)
        except (QMI_Exception, ValueError):  # nothing is completed then
            return []
        # IPython replaces what it takes for the last word, which begins behind a bracket, too.
        before = len(current) - len(event.symbol) if current.endswith(event.symbol) else 0
        return [candidate.value[before:] for candidate in found if candidate.value != FILES]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, posix=os.name == "posix")
    except ValueError as error:  # a quote that is not closed
        raise CommandError(str(error), EXIT_USAGE) from None


_MAGICS: Final[WeakKeyDictionary[Shell, _Magic]] = WeakKeyDictionary()


def load_ipython_extension(shell: Shell) -> None:
    """Called by ``%load_ext qmi``."""
    magic = _MAGICS.get(shell) or _MAGICS.setdefault(shell, _Magic(shell))
    magic.loaded = True
    shell.register_magic_function(magic.qmi, "line", _NAME)
    install(shell)
    cells.end_with_cells(shell)
    ASYNCIO.allowed = True


def unload_ipython_extension(shell: Shell) -> None:
    """Called by ``%unload_ext qmi``."""
    if shell in _MAGICS:
        _MAGICS[shell].loaded = False
    shell.magics_manager.magics["line"].pop(_NAME, None)
    remove(shell)
    ASYNCIO.allowed = any(magic.loaded for magic in _MAGICS.values())
