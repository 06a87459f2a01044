"""The default context of a program behind ``qmi.start()``, and what becomes of contexts at exit and after a fork.

What only a running context needs (links, configuration) is imported when one starts, not by ``import qmi``.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

import trio

from qmi.contexts.loop_thread import PORTALS, RUNNING
from qmi.errors import QMI_NoActiveContextException, QMI_UsageException
from qmi.runtime.call_context import EXECUTION, Execution
from qmi.runtime.cells import end_with_cells
from qmi.runtime.gc_pause import importing
from qmi.runtime.sigint import INTERRUPTS
from qmi.runtime.wakeup import refuse_on_loop, refuse_outside_trio

if TYPE_CHECKING:
    from qmi.config.schema import CfgContext, CfgQmi
    from qmi.contexts.async_context import Context
    from qmi.contexts.blocking_context import QMI_Context
    from qmi.runtime.logs import LogSetup

_logger = logging.getLogger("qmi.core.context")


class _Session:
    """Which context is the default one."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.mutex = threading.RLock()
        self.default: QMI_Context | None = None
        self.logs: LogSetup | None = None


_SESSION = _Session()


def _after_fork_in_child() -> None:
    def inherited() -> Exception:
        return QMI_UsageException(
            "This process was forked from one that had a context. A context does not survive a fork: "
            "start one of your own with qmi.start()"
        )

    for core in list(RUNNING):
        core.disown(inherited)
    PORTALS.reset()
    _SESSION.reset()
    INTERRUPTS.reset()
    EXECUTION.set(None)  # what goes on here is not the code of the parent's object any more


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


@atexit.register
def _stop_at_exit() -> None:
    by = INTERRUPTS.ended_by
    INTERRUPTS.install()  # to the end of it all: a signal must not meet the steps between two contexts
    try:
        _stop_all(by)
    except KeyboardInterrupt:
        _logger.warning("Ctrl-C has broken the stop at the exit of the program off; instruments may still be open")
    finally:
        INTERRUPTS.drop_pending()
        INTERRUPTS.uninstall()
    if by is not None and not INTERRUPTS.raised_end:  # it came within a trio run, which knows KeyboardInterrupt only
        logging.shutdown()
        sys.stdout.flush()
        signal.signal(by, signal.SIG_DFL)
        signal.raise_signal(by)


def _stop_all(by: int | None) -> None:
    for context in list(PORTALS.users()):
        if not context.is_running:  # it was stopped without waiting for its end, because of Ctrl-C
            pass
        elif by is None:
            _logger.warning("Context %s still runs at the exit of the program; call qmi.stop() before", context.name)
        try:
            context.stop()
        except Exception:  # the program ends whatever happens here
            _logger.exception("Context %s could not be stopped", context.name)
    _shutdown_logging()


INTERRUPTS.overdue = _stop_all


def _shutdown_logging() -> None:
    if (logs := sys.modules.get("qmi.runtime.logs")) is not None:
        logs.shutdown_logging()


@cache
def _context_class() -> type[QMI_Context]:
    with importing():
        from qmi.config import loader, structure  # noqa: F401 - together with what else a context needs to start
        from qmi.contexts.blocking_context import QMI_Context
        from qmi.runtime import logs  # noqa: F401

    return QMI_Context


def _load_config(
    config_file: str | os.PathLike[str] | None, context_cfg: Mapping[str, Mapping[str, object] | CfgContext] | None
) -> CfgQmi:
    from qmi.config.loader import load_config
    from qmi.config.structure import add_contexts

    return add_contexts(load_config(config_file), context_cfg)


def _setup_logging(config: CfgQmi, context_name: str, console_loglevel: str | None) -> LogSetup:
    from qmi.runtime.logs import setup_logging

    return setup_logging(config, context_name, console_loglevel=console_loglevel)


def _keep_records(context_name: str) -> LogSetup:
    from qmi.runtime.logs import keep_records

    return keep_records(context_name)


def start(
    context_name: str,
    config_file: str | os.PathLike[str] | None = "",
    init_logging: bool = True,
    console_loglevel: str | None = None,
    context_cfg: Mapping[str, Mapping[str, object] | CfgContext] | None = None,
) -> QMI_Context:
    """Start the default context of this program.

    Args:
        context_name: What others call this program.
        config_file: The configuration file; "" looks at ``$QMI_CONFIG`` and then for ``qmi.conf`` in the home
            directory, None uses no file.
        init_logging: Whether to write log messages to the console, and to a file if the configuration says so.
        console_loglevel: Level for messages on the console, instead of the configured one.
        context_cfg: Settings of contexts by name, added to the configuration.

    Returns:
        The context. ``with qmi.start(...) as context:`` stops it at the end of the block.

    Raises:
        QMI_UsageException: If there is a default context already, or the name will not do.
        QMI_ConfigurationException: If the configuration is not usable; all faults are listed.
    """
    refuse_on_loop("qmi.start()", "async with qmi.open_context(...) as context:")
    with _SESSION.mutex:
        if _SESSION.default is not None:
            raise QMI_UsageException(
                f"This program already has a context, {_SESSION.default.name!r}: qmi.context() returns it. Call "
                "qmi.stop() before another start()"
            )
        make = _context_class()
        context = make(context_name, _load_config(config_file, context_cfg))
        INTERRUPTS.install()  # else Ctrl-C could come between two of the steps that follow
        try:
            _start_default(context, init_logging, console_loglevel)
        finally:
            INTERRUPTS.uninstall()
    return context


def _start_default(context: QMI_Context, init_logging: bool, console_loglevel: str | None) -> None:
    end_with_cells()
    try:
        if init_logging:
            _SESSION.logs = _setup_logging(context.get_config(), context.name, console_loglevel)
            if console_loglevel is not None:
                context.get_config().logging.console_loglevel = console_loglevel
        else:
            _SESSION.logs = _keep_records(context.name)
        context.start()
    except BaseException:
        _end_logging()
        raise
    context.on_stopped = _default_stopped
    _SESSION.default = context


def _default_stopped() -> None:
    _SESSION.default = None
    _end_logging()


def _end_logging() -> None:
    # Only what start() has set up: contexts of other kinds may run beside this one, and log.
    logs, _SESSION.logs = _SESSION.logs, None
    if logs is not None:
        logs.uninstall()


def get_default() -> QMI_Context | None:
    """The default context; None if there is none."""
    return _SESSION.default


def set_default(context: QMI_Context | None) -> None:
    """Make a context the default one; None leaves none. Nothing is started or stopped."""
    _SESSION.default = context


def stop() -> None:
    """Stop the default context: tasks first, then instruments and other objects, then the links.

    Raises:
        QMI_NoActiveContextException: If there is none.
    """
    default = _SESSION.default
    if default is None:
        raise QMI_NoActiveContextException("There is no active context to stop; qmi.start() makes one")
    default.stop()
    if _SESSION.default is default:  # one that somebody put there
        _SESSION.default = None


def context() -> QMI_Context:
    """The context of the code that calls: the one that started this thread or task, else the default one.

    Raises:
        QMI_NoActiveContextException: If there is neither.
    """
    execution = EXECUTION.get()
    if execution is not None:
        assert isinstance(execution.context, _context_class())
        return execution.context
    if _SESSION.default is None:
        raise QMI_NoActiveContextException("There is no active context; qmi.start() makes one")
    return _SESSION.default


@asynccontextmanager
async def open_context(
    context_name: str,
    config_file: str | os.PathLike[str] | None = "",
    *,
    init_logging: bool = True,
    console_loglevel: str | None = None,
    context_cfg: Mapping[str, Mapping[str, object] | CfgContext] | None = None,
    config: CfgQmi | None = None,
) -> AsyncIterator[Context]:
    """Run a context in the event loop of a trio program, for the length of an ``async with`` block.

    Args:
        context_name: What others call this program.
        config_file: As for :func:`start`.
        init_logging: As for :func:`start`.
        console_loglevel: As for :func:`start`.
        context_cfg: As for :func:`start`.
        config: The whole configuration, instead of a file.

    Raises:
        QMI_UsageException: If the name will not do.
        QMI_ConfigurationException: If the configuration is not usable; all faults are listed.
    """
    refuse_outside_trio("A context of open_context()", "qmi.start")
    make = _context_class()
    facade = make(context_name, config if config is not None else _load_config(config_file, context_cfg))
    core = facade.async_context
    logs = _setup_logging(core.config, context_name, console_loglevel) if init_logging else _keep_records(context_name)
    INTERRUPTS.install()
    try:
        async with core.running():
            token = EXECUTION.set(Execution(facade))
            try:
                with _cancelled_at_the_end_of_the_process(core):
                    yield core
            finally:
                EXECUTION.reset(token)
    finally:
        INTERRUPTS.uninstall()
        logs.uninstall()
    INTERRUPTS.end_of_body()


@contextmanager
def _cancelled_at_the_end_of_the_process(core: Context) -> Iterator[None]:
    # SIGTERM and SIGHUP come in the main thread, which may be another one than that of this loop.
    with trio.CancelScope() as scope:
        cancel = partial(core.loop.soon, scope.cancel)
        INTERRUPTS.bodies.append(cancel)
        try:
            yield
        finally:
            INTERRUPTS.bodies.remove(cancel)


for _verb in (start, stop, context, open_context):
    _verb.__module__ = "qmi"
