"""Log messages of programs that set logging up themselves, without a context."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from qmi.config.schema import CfgLogging, CfgQmi
from qmi.runtime.logs import setup_logging, shutdown_logging

__all__ = ["start_logging", "stop_logging"]


def start_logging(
    loglevel: int | str = logging.INFO,
    console_loglevel: int | str = logging.WARNING,
    logfile: str | None = None,
    loglevels: Mapping[str, int | str] | None = None,
    rate_limit: float | None = None,
    burst_limit: int = 1,
    max_bytes: int = 10 * 2**30,
    backup_count: int = 5,
) -> None:
    """Write log messages to the console, and to a file if one is named; in place of what an earlier call set up.

    Args:
        loglevel: Lowest level that is logged at all, as a name or a number of :mod:`logging`.
        console_loglevel: Lowest level that is shown on the console.
        logfile: Name of the log file; None writes none.
        loglevels: Lowest level for single loggers and those below them.
        rate_limit: Messages per second that each place in the program may log in the long run; None for no limit.
        burst_limit: Messages that each place may log in quick succession.
        max_bytes: Size in bytes at which a new log file is begun.
        backup_count: Number of older log files that are kept.
    """
    shutdown_logging()
    path = None if logfile is None else os.path.abspath(logfile)
    settings = CfgLogging(
        loglevel=_name_of(loglevel),
        console_loglevel=_name_of(console_loglevel),
        logfile=None if path is None else path.replace("%", "%%").replace("$", "$$"),
        loglevels={name: _name_of(level) for name, level in (loglevels or {}).items()},
        rate_limit=rate_limit,
        burst_limit=burst_limit,
        max_bytes=max_bytes,
        backup_count=backup_count,
    )
    directory = None if path is None else os.path.dirname(path).replace("$", "$$")
    setup_logging(CfgQmi(logging=settings, log_dir=directory), "-")


def stop_logging() -> None:
    """Undo :func:`start_logging`, and whatever contexts have set up."""
    shutdown_logging()


def _name_of(level: int | str) -> str:
    if isinstance(level, str):
        return level
    # A number between two levels lets through what the next one does.
    names = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    return next((name for name in names if level <= getattr(logging, name)), "CRITICAL")
