"""``qmi log``: what contexts have logged, once or on and on."""

from __future__ import annotations

import threading
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from qmi.errors import QMI_Exception, QMI_UnknownRpcException, QMI_UsageException
from qmi.names import is_valid_name
from qmi.runtime.flags import Flag, take
from qmi.tools.cli.errors import EXIT_FAILED, EXIT_OK, CommandError
from qmi.tools.cli.log_text import since_text
from qmi.tools.cli.options import CommandParser
from qmi.tools.cli.terminal import Terminal

if TYPE_CHECKING:
    from qmi.core.context import LogBatch
    from qmi.tools.cli.log_text import Since
    from qmi.tools.cli.log_view import LogView
    from qmi.tools.cli.session import Laboratory

DESCRIPTION = """
Show the last records of the log of contexts, which their programs keep in memory: up to 2,000 each, of the
loggers and levels that they are configured for. What is older is in their log files.

With -f, go on with each record that comes, until Ctrl-C; when a program is started again, its log goes on.
At a site, that is what contexts publish there, with what its servers have kept; so it is of a program that runs
no more.
Times are UTC, as in log files. What is not kept any more is said on standard error.
"""

_PAGE = 1000
_FOLLOWED = 20
_WAIT = 30.0
_RETRY = 0.5


def add_arguments(parser: CommandParser) -> None:
    """Add what the command takes."""
    parser.add_argument("contexts", nargs="+", metavar="CONTEXT", help="whose log")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is logged from now on")
    parser.add_argument("-n", "--lines", type=_count, metavar="N",
                        help=f"the last N records (all that are kept; with -f {_FOLLOWED})")  # fmt: skip
    parser.add_argument("--level", type=_level, default=0, metavar="LEVEL",
                        help="the lowest level: DEBUG, INFO, WARNING, ERROR or CRITICAL")  # fmt: skip
    parser.add_argument("--since", type=_since, metavar="TIME",
                        help="only later ones: 10m, 2h, 3d, 14:30, '2026-11-26 14:30' (UTC)")  # fmt: skip


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"must be a number from 1 on, got {text!r}")
    return int(text)


def _level(text: str) -> int:
    from qmi.actors.log_records import level_number

    try:
        return level_number(text)
    except QMI_UsageException as error:
        raise ArgumentTypeError(str(error).removeprefix("level ")) from None


def _since(text: str) -> Since:
    try:
        return since_text(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code: 1 if a context cannot be asked."""
    names = list(dict.fromkeys(arguments.contexts))
    for name in names:
        if not is_valid_name(name):
            raise QMI_UsageException(f"a context is named lab; got {name!r}")
    from qmi.tools.cli.log_view import LogView
    from qmi.tools.cli.session import laboratory

    view = LogView(terminal, several=len(names) > 1)
    with laboratory(arguments) as lab:
        if arguments.follow:
            return _follow(lab, names, arguments, view)
        return _show(lab, names, arguments, view)


# Once


def _show(lab: Laboratory, names: list[str], arguments: Namespace, view: LogView) -> int:
    from qmi.tools.cli.threads import each

    one_at_a_time = threading.Lock()
    notes: dict[str, str] = {}

    def kept(name: str) -> list[LogBatch] | QMI_Exception:
        try:
            return list(_pages(partial(_ask, lab, name), arguments))
        except QMI_Exception as error:
            with one_at_a_time:
                batches = _kept_by_the_site(lab, name, arguments)
            if not batches:
                return error
            notes[name] = f"{error}. These records are what the site has kept"
            return batches

    code, found = EXIT_OK, []
    for name, batches in zip(names, each(kept, names), strict=True):
        if isinstance(batches, QMI_Exception):
            if len(names) == 1:
                raise batches
            view.terminal.error(str(batches))
            code = EXIT_FAILED
            continue
        if name in notes:
            view.terminal.note(notes[name])
        for batch in batches:
            view.tell_gap(name, batch)
            found += [(record.time, record.number, name, record) for record in batch.records]
    found.sort(key=lambda entry: entry[:2])
    for _, _, name, record in found[-arguments.lines :] if arguments.lines else found:
        view.show(name, record)
    return code


def _kept_by_the_site(lab: Laboratory, name: str, arguments: Namespace) -> list[LogBatch]:
    """What the servers of a site have of a context that does not answer; nothing without a site."""
    if not lab.config.site.enabled or _ask_site(lab, name, after=0, limit=1) is None:
        return []

    def read(**request: Any) -> LogBatch:
        batch = _ask_site(lab, name, **request)
        assert batch is not None  # it is known now, and stays so
        return batch

    return list(_pages(read, arguments))


def _ask_site(lab: Laboratory, name: str, **request: Any) -> LogBatch | None:
    """Read the log of a context at the site; None if there is none, or it knows of none."""
    if not lab.config.site.enabled:
        return None
    from qmi.actors.future import call_blocking
    from qmi.contexts.site_logs import read_site_log

    core = lab.context.async_context
    batch: LogBatch | None = call_blocking(core.run(partial(read_site_log, core, name, **request)), None)
    return batch


def _ask(lab: Laboratory, name: str, **request: Any) -> LogBatch:
    from qmi.core.context import LogBatch

    try:
        return LogBatch.from_plain(lab.call_context(name, "read_log", **request))
    except QMI_UnknownRpcException as error:
        raise _too_old(name) from error


def _too_old(name: str) -> CommandError:
    return CommandError(
        f"context {name!r} runs an older version, which keeps no log records in memory: look into its log file, or "
        f"into its output with 'qmi proc logs {name}'"
    )


def _pages(read: Callable[..., LogBatch], arguments: Namespace) -> Iterator[LogBatch]:
    """All that is kept and wanted, read page by page."""
    level, since, lines = arguments.level, arguments.since, arguments.lines
    if since is None and lines is not None and lines <= _PAGE:
        yield read(after=None, level=level, limit=lines)
        return
    after, run = 0, ""
    while True:
        batch = read(after=after, level=level, limit=_PAGE, run=run)
        yield since.filter(batch) if since is not None else batch
        if len(batch.records) < _PAGE and not batch.more:
            return
        after, run = batch.last, batch.run


# On and on


def _follow(lab: Laboratory, names: list[str], arguments: Namespace, view: LogView) -> int:
    over = Flag()
    steps: SimpleQueue[Callable[[], object] | QMI_Exception] = SimpleQueue()
    try:
        _ = lab.context  # once, before several threads want it
        for name in names:
            follower = Follower(lab, name, arguments, view, steps.put, over)
            threading.Thread(target=follower.run, name=f"log of {name}", daemon=True).start()
        left = len(names)
        while left:
            step = take(steps)
            if isinstance(step, QMI_Exception):
                if len(names) == 1:
                    raise step
                view.terminal.error(str(step))
                left -= 1
            else:
                step()
    except KeyboardInterrupt:
        return EXIT_OK
    finally:
        over.set()
    return EXIT_FAILED


class Follower:
    """Follows the log of one context, in a thread.

    Args:
        lab: The contexts.
        name: The context.
        arguments: The command line.
        view: What shows the records; used by the main thread alone.
        put: Takes what the main thread is to do, or why this ends.
        over: Set when nobody wants it any more.
    """

    def __init__(
        self,
        lab: Laboratory,
        name: str,
        arguments: Namespace,
        view: LogView,
        put: Callable[[Callable[[], object] | QMI_Exception], object],
        over: Flag,
    ) -> None:
        self._lab = lab
        self._name = name
        self._level: int = arguments.level
        self._lines: int | None = arguments.lines
        self._since: Since | None = arguments.since
        self._view = view
        self._put = put
        self._over = over
        self._after: int | None = None
        self._run = ""
        self._lost = ""

    def run(self) -> None:
        """Go on until the context is no more to be followed."""
        try:
            self._begin()
            while not self._over.is_set():
                try:
                    self._read_on()
                except QMI_UnknownRpcException:  # an older version was started in its place
                    raise _too_old(self._name) from None
                except QMI_Exception as error:
                    self._link_is_lost(error)
        except QMI_Exception as error:
            self._put(error)

    def _begin(self) -> None:
        lines = self._lines or (_FOLLOWED if self._since is None else None)
        for batch in _pages(self._ask, Namespace(level=self._level, since=self._since, lines=lines)):
            self._show(batch)

    def _ask(self, **request: Any) -> LogBatch:
        from qmi.core.context import LogBatch

        by_site = _ask_site(self._lab, self._name, **request)
        if by_site is not None:
            return by_site
        own = self._lab.connect(self._name)
        read: Any = own.make_peer_context_proxy(self._name).read_log
        try:
            batch: LogBatch = LogBatch.from_plain(read(**request))
        except QMI_UnknownRpcException as error:
            raise _too_old(self._name) from error
        return batch

    def _read_on(self) -> None:
        batch = self._ask(after=self._after, level=self._level, limit=_PAGE, wait=_WAIT, run=self._run)
        if self._lost:
            self._lost = ""
            again = "was started again" if batch.run != self._run else "is connected again"
            self._say(f"context {self._name!r} {again}")
        self._show(batch)

    def _show(self, batch: LogBatch) -> None:
        self._after, self._run = batch.last, batch.run
        self._put(lambda: self._view.show_batch(self._name, batch))

    def _link_is_lost(self, error: QMI_Exception) -> None:
        if not self._lost and not self._over.is_set():
            self._lost = str(error)
            self._say(f"the log of context {self._name!r} goes on when it is connected again: {error}")
        self._lab.forget(self._name)
        self._over.wait(_RETRY)

    def _say(self, text: str) -> None:
        self._put(lambda: self._view.terminal.note(text))
