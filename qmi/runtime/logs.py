"""Where log messages go: the console, and a rotating file once there is a configuration; levels and rate limits.

A handler on the root logger does it all, so that the user's own loggers are covered too. It is added beside the
handlers that others have put there, and taken away again without a trace. Where another handler shows a message on the
console already (``logging.basicConfig()``), this one leaves the console to it.

Several contexts of one process may set logging up. Each has a handler of its own, which is removed by the one that
added it, in any order; the console belongs to the oldest one, and so does a file that several of them write to.

Without a configuration file there is no log file: trying something at the prompt leaves nothing new in the home
directory. ``$QMI_DEBUG``, with any value, sets the levels of console and file to DEBUG.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from qmi.config.files import make_private_dirs
from qmi.config.paths import DATE_FORMAT, DATETIME_FORMAT, Places
from qmi.config.schema import CfgLogging, CfgQmi
from qmi.config.validators import LOG_LEVELS, printable, printable_lines
from qmi.errors import QMI_LogLevelException
from qmi.records import NamedTuple
from qmi.runtime.call_context import EXECUTION
from qmi.runtime.log_ring import LOG_RING

if TYPE_CHECKING:
    from qmi.runtime.log_file import LogFile

_logger = logging.getLogger("qmi.core.logging_init")

_FORMAT = "%(asctime)s | %(levelname)-8s | %(name)-22s | %(message)s"
_FILE_FORMAT = "%(asctime)s | %(levelname)-8s | %(origin)s[%(process)d] | %(name)-22s | %(message)s"
_MARGIN = "    "
_MARK = "| "
"""What every line of a message but its first one begins with: so no message looks like two."""
_UNCAUGHT = "qmi.uncaught"
_MOST_PLACES = 1000


class LogSetup(Protocol):
    """What :func:`setup_logging` has set up."""

    def uninstall(self) -> None:
        """Undo it; harmless if that was done before."""


def setup_logging(config: CfgQmi, context_name: str, *, console_loglevel: str | None = None) -> LogSetup:
    """Start to write log messages, until what is returned is uninstalled.

    Also written to the file are exceptions that nobody catches and Python's warnings. A log file that cannot be opened
    is no reason to stop: a warning says why there is none.

    Args:
        config: Section ``logging`` says what is logged. The log file is written if the configuration came from a file
            or names a log directory, which is made if need be.
        context_name: For the name of the log file, and for its lines.
        console_loglevel: Goes before the level for the console in the configuration.

    Raises:
        QMI_LogLevelException: If there is no such level.
    """
    if console_loglevel is not None and console_loglevel not in logging.getLevelNamesMapping():
        raise QMI_LogLevelException(f"Unknown log level {console_loglevel!r}: expected one of {', '.join(LOG_LEVELS)}")
    levels = _Levels.of(config.logging, console_loglevel)
    limit = None
    if config.logging.rate_limit is not None:
        limit = RateLimit(config.logging.rate_limit, config.logging.burst_limit)
    outlet = _Outlet(context_name, levels, limit)
    outlet.install()
    wanted = config.config_file is not None or config.log_dir is not None
    if wanted and config.logging.logfile is not None:
        path = _log_path(config, config.logging.logfile, context_name, _utc_now())
        try:
            outlet.open_file(path, config.logging)
        except OSError as error:
            _logger.warning("There is no log file: %s cannot be written (%s)", path, error.strerror or error)
    return outlet


def keep_records(context_name: str) -> LogSetup:
    """Keep log records in memory for who reads them from elsewhere, in a program with logging of its own.

    Where no handler is on the root logger, nothing is done: one more would change what Python shows without any.

    Args:
        context_name: The context that the records are said to come from.
    """
    keeper = _Keeper(context_name)
    keeper.install()
    return keeper


def shutdown_logging() -> None:
    """Undo every :func:`setup_logging`; harmless if there was none."""
    for outlet in _outlets():
        outlet.uninstall()


def log_file_name(pattern: str, context_name: str, now: datetime) -> str:
    """Fill in ``%(context)s``, ``%(date)s`` (``2021-11-30``) and ``%(datetime)s`` (``2021-11-30T14-50-55``)."""
    date, date_and_time = now.strftime(DATE_FORMAT), now.strftime(DATETIME_FORMAT)
    return os.path.expanduser(pattern % {"context": context_name, "date": date, "datetime": date_and_time})


def _log_path(config: CfgQmi, pattern: str, context_name: str, now: datetime) -> str:
    places = Places(config, context_name, now)
    # First what stands behind a dollar sign: a name that is filled in may contain anything.
    filled = places.resolve(log_file_name(pattern, context_name, now))
    return os.path.join(places.log_dir(), filled)


class RateLimit:
    """Decides which messages are too many: each place in the program has a bucket that fills at a constant rate.

    A place is a logger, a level and a format, because that is what repeats when a loop logs.

    Args:
        rate: Messages per second in the long run.
        burst: Messages that may come at once after a silence.
        clock: Current time in seconds; only differences count.
    """

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[_Place, _Bucket] = OrderedDict()

    def admit(self, record: logging.LogRecord) -> int | None:
        """Return how many messages were suppressed at this place since the last one; None suppresses this one too."""
        # "%s" is logged by code that has formatted its message itself, as Python does with its warnings.
        text = record.getMessage() if record.msg == "%s" else str(record.msg)
        place = _Place(record.name, record.levelno, text)
        now = self._clock()
        bucket = self._buckets.pop(place, _Bucket(self._burst, now, 0))
        tokens = min(self._burst, bucket.tokens + (now - bucket.since) * self._rate)
        passes = tokens >= 1
        self._buckets[place] = _Bucket(tokens - 1, now, 0) if passes else _Bucket(tokens, now, bucket.suppressed + 1)
        if len(self._buckets) > _MOST_PLACES:  # messages that were formatted by their caller, each a place of its own
            self._buckets.popitem(last=False)
        return bucket.suppressed if passes else None

    def suppressed(self) -> list[logging.LogRecord]:
        """Return a message for each place that has suppressed some without having said so."""
        return [
            logging.LogRecord(p.logger, p.level, "", 0, _suppressed_text(p.text, bucket.suppressed), (), None)
            for p, bucket in self._buckets.items()
            if bucket.suppressed
        ]


class _Place(NamedTuple):
    logger: str
    level: int
    text: str


class _Bucket(NamedTuple):
    tokens: float
    since: float
    suppressed: int


class _Levels(NamedTuple):
    """What is logged where; numbers as in :mod:`logging`."""

    console: int
    file: int
    loggers: Mapping[str, int]

    @classmethod
    def of(cls, config: CfgLogging, console_loglevel: str | None) -> _Levels:
        number = logging.getLevelNamesMapping()
        loggers = {name: number[level] for name, level in config.loglevels.items()}
        if "QMI_DEBUG" in os.environ:
            return cls(logging.DEBUG, logging.DEBUG, loggers)
        return cls(number[console_loglevel or config.console_loglevel], number[config.loglevel], loggers)

    def of_loggers(self) -> Iterator[tuple[str, int]]:
        """The levels of loggers that let through what is wanted; "" is the root logger."""
        if "" not in self.loggers:
            # The lower of both, or a console level below the level of the file would have no effect.
            yield "", min(self.console, self.file)
        yield from self.loggers.items()

    def wanted_in_file(self, record: logging.LogRecord) -> bool:
        """The logger's own level decides, else that of the nearest logger above it."""
        name = record.name
        while name and name not in self.loggers:
            name = name.rpartition(".")[0]
        return record.levelno >= self.loggers.get(name, self.file)


class _UtcFormatter(logging.Formatter):
    """Computers in a lab disagree about time zones and summer time, and their logs are read side by side."""

    default_msec_format = "%s.%03d"

    def __init__(self, layout: str = _FORMAT) -> None:
        super().__init__(layout)
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Return the message; what others have put into it can look neither like another one nor obey a terminal."""
        first, *more, trace = self._parts(record)
        lines = [_MARGIN + _MARK + line for line in more]
        # A traceback is shown as Python shows it. None of its own lines begins with a digit, as a message does.
        lines += [_MARGIN + _MARK + line if line[:1].isdigit() else line for line in trace.split("\n") if trace]
        return "\n".join([first, *lines])

    def _parts(self, record: logging.LogRecord) -> list[str]:
        """The lines of the message, and then its traceback as one text."""
        record.message = record.getMessage()
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        found = [text.rstrip("\n") for text in (record.exc_text, record.stack_info) if text]
        lines = printable_lines(self.formatMessage(record)).rstrip("\n").split("\n")
        return [*lines, printable_lines("\n".join(found))]


class _FileFormatter(_UtcFormatter):
    """Each line says which process of which context wrote it: several may write to one file, and people grep in it."""

    def __init__(self, context_name: str) -> None:
        super().__init__(_FILE_FORMAT)
        self._context_name = context_name

    def format(self, record: logging.LogRecord) -> str:
        execution = EXECUTION.get()
        record.origin = self._context_name if execution is None else execution.context.name
        first, *more, trace = self._parts(record)
        if trace:
            more += trace.split("\n")
        if not more:
            return first
        head = printable(self.formatMessage(logging.makeLogRecord({**record.__dict__, "message": ""})))
        return "\n".join([first, *(head + _MARK + line for line in more)])


class _Outlet(logging.Handler):
    """A handler on the root logger: limits the rate, then writes to the console and the file.

    Args:
        context_name: The context that it is for.
        levels: What is logged where.
        limit: Decides which messages are too many; None lets all pass.

    Attributes:
        levels: What is logged where.
        path: The log file; None if there is none.
        file: The same, open; None if another outlet writes it, or it has failed.
    """

    def __init__(self, context_name: str, levels: _Levels, limit: RateLimit | None) -> None:
        super().__init__()
        self.setFormatter(_UtcFormatter())
        self.levels = levels
        self.path: str | None = None
        self.file: LogFile | None = None
        self._context_name = context_name
        self._in_file = _FileFormatter(context_name)
        self._limit = limit
        self._file_failed = False

    def install(self) -> None:
        """Join the handlers of the root logger and set the levels of loggers."""
        logging.getLogger().addHandler(self)
        LOG_RING.feeders += 1
        _GLOBALS.adjust()

    def open_file(self, path: str, config: CfgLogging) -> None:
        """Write to a file as well; it is opened once, also if several contexts write to it."""
        make_private_dirs(os.path.dirname(path))
        self.path = os.path.realpath(path)
        if not any(outlet.file is not None and outlet.path == self.path for outlet in _outlets()):
            self.file = _open_log_file(path, config)

    def uninstall(self) -> None:
        """Leave the root logger; levels that somebody changed since are left alone."""
        if self not in logging.getLogger().handlers:
            return
        self._tell_what_ends_it()
        logging.getLogger().removeHandler(self)
        LOG_RING.feeders -= 1
        self.close()
        _GLOBALS.adjust()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message where it belongs, unless there were too many like it."""
        suppressed = self._limit.admit(record) if self._limit is not None else 0
        if suppressed is None:
            return
        try:
            record.getMessage()
        except Exception:  # noqa: BLE001 - arguments that do not fit or cannot be printed: logging shows where they come from
            if _outlets()[:1] == [self]:
                self.handleError(record)
            return
        self._write(record, suppressed)

    def close(self) -> None:
        """Report what was suppressed and not reported yet, and close the log file."""
        self.acquire()
        try:
            for record in self._limit.suppressed() if self._limit is not None else ():
                self._write(record, 0)
            self._limit = None
            self._close_file()
        finally:
            self.release()
        super().close()

    def _write(self, record: logging.LogRecord, suppressed: int) -> None:
        wanted = self.levels.wanted_in_file(record)
        if wanted:
            self.write_to_file(record, suppressed)
            self.keep(record, suppressed)
        outlets = _outlets()
        if outlets and outlets[0] is not self:
            return
        level = min((outlet.levels.console for outlet in outlets), default=self.levels.console)
        if record.levelno >= level:
            self.keep(record, suppressed)
        if (record.levelno >= level and not _is_shown_by_others(record)) or (self._file_failed and wanted):
            _to_stderr(_suppressed_text(self.format(record), suppressed))

    def write_to_file(self, record: logging.LogRecord, suppressed: int = 0) -> None:
        """Write a message to the file alone, if there is one."""
        self.acquire()
        try:
            if self.file is not None:
                self.file.write_line(_suppressed_text(self._in_file.format(record), suppressed))
        except OSError as error:
            assert self.file is not None
            self._give_up_file(self.file.baseFilename, error)
        finally:
            self.release()

    def keep(self, record: logging.LogRecord, suppressed: int = 0) -> None:
        """Keep a record for who reads the log from elsewhere."""
        _keep(record, _suppressed_text(record.getMessage(), suppressed), self._context_name)

    def _tell_what_ends_it(self) -> None:
        # "with qmi.start(...)" takes logging down before the interpreter gets to see what nobody catches.
        error = sys.exc_info()[1]
        writers = [outlet for outlet in _outlets() if outlet.file is not None and outlet.path == self.path]
        if isinstance(error, Exception | KeyboardInterrupt) and writers:
            text = f"Context {self._context_name} ends while this exception passes or is handled"
            writers[0].write_to_file(_record_of(text, error))

    def _give_up_file(self, path: str, error: OSError) -> None:
        self._file_failed = True
        self._close_file()
        reason = f"The log file {path} cannot be written ({error.strerror or error}); its messages go here from now on"
        _to_stderr(self.format(logging.LogRecord(_logger.name, logging.ERROR, "", 0, reason, (), None)))

    def _close_file(self) -> None:
        file, self.file = self.file, None
        if file is None:
            return
        for other in _outlets():
            if other is not self and other.path == self.path and not self._file_failed:
                other.file = file  # it goes on being written
                return
        with suppress(OSError):  # what could not be written still cannot be
            file.close()


class _Keeper(logging.Handler):
    """Keeps what other handlers of the program write as well."""

    def __init__(self, context_name: str) -> None:
        super().__init__()
        self._context_name = context_name

    def install(self) -> None:
        """Join the handlers of the root logger, if there are any."""
        root = logging.getLogger()
        if root.handlers:
            root.addHandler(self)
            LOG_RING.feeders += 1

    def uninstall(self) -> None:
        """Leave the root logger."""
        root = logging.getLogger()
        if self in root.handlers:
            root.removeHandler(self)
            LOG_RING.feeders -= 1

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - arguments that do not fit: another handler shows where they come from
            return
        _keep(record, message, self._context_name)


def _keep(record: logging.LogRecord, message: str, context_name: str) -> None:
    # Several handlers of one process may get the same record.
    if "qmi_kept" not in vars(record):
        record.qmi_kept = True
        execution = EXECUTION.get()
        LOG_RING.add(record, message, context_name if execution is None else execution.context.name)


def _outlets() -> list[_Outlet]:
    """The outlets that are installed, oldest first."""
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _Outlet)]


class _Globals:
    """What outlets change for the whole process: levels, hooks, warnings. Undone when the last outlet has gone."""

    def __init__(self) -> None:
        self._levels: dict[str, tuple[int, int]] = {}
        self._hooks: _Hooks | None = None
        self._mutex = threading.Lock()

    def adjust(self) -> None:
        """Fit everything to the outlets that there are now."""
        with self._mutex:
            outlets = _outlets()
            wanted: dict[str, int] = {}
            for outlet in outlets:
                for name, level in outlet.levels.of_loggers():
                    wanted[name] = min(level, wanted.get(name, level))
            if "" in wanted and not any("" in outlet.levels.loggers for outlet in outlets):
                before = self._levels.get("", (logging.getLogger().level, 0))[0]
                wanted[""] = min(wanted[""], before)  # handlers of others may need what we do not
            for name in {*self._levels, *wanted}:
                self._set_level(name, wanted.get(name))
            if outlets and self._hooks is None:
                self._hooks = _Hooks()
            elif not outlets and self._hooks is not None:
                self._hooks.undo()
                self._hooks = None

    def _set_level(self, name: str, level: int | None) -> None:
        logger = logging.getLogger(name)
        before, ours = self._levels.get(name, (logger.level, logger.level))
        changed = logger.level != ours  # by somebody else since: it is theirs
        if level is None:
            del self._levels[name]
            if not changed:
                logger.setLevel(before)
        elif not changed:
            logger.setLevel(level)
            self._levels[name] = (before, level)


class _RanCell(Protocol):
    """What IPython reports of a cell that it has run."""

    error_in_exec: BaseException | None


class _Hooks:
    """Has what nobody catches and what Python warns of written to the log files as well."""

    def __init__(self) -> None:
        self._active = True
        self._before = (sys.excepthook, threading.excepthook, sys.unraisablehook)
        sys.excepthook = self._uncaught
        threading.excepthook = self._uncaught_in_thread
        sys.unraisablehook = self._unraisable
        showwarning = warnings.showwarning
        logging.captureWarnings(True)
        self._captures = warnings.showwarning is not showwarning  # else somebody has captured them before
        # A notebook, or IPython in a terminal, shows the exceptions of its cells itself.
        self._shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        if self._shell is not None:
            self._shell.events.register("post_run_cell", self._cell_has_run)

    def undo(self) -> None:
        """Put back what was there. Where somebody has put a hook on top of ours, ours lets everything pass."""
        self._active = False
        uncaught, in_thread, unraisable = self._before
        if sys.excepthook == self._uncaught:
            sys.excepthook = uncaught
        if threading.excepthook == self._uncaught_in_thread:
            threading.excepthook = in_thread
        if sys.unraisablehook == self._unraisable:
            sys.unraisablehook = unraisable
        if self._captures:
            logging.captureWarnings(False)
        if self._shell is not None:
            with suppress(ValueError):  # somebody has reset the shell
                self._shell.events.unregister("post_run_cell", self._cell_has_run)

    def _uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        try:
            if not _is_at_a_prompt():
                self._write("An exception that nobody has caught ends the program", error)
            elif trace is not None or not issubclass(kind, SyntaxError):  # else the line was not even run
                self._write("An exception that nobody has caught ends what was typed at the prompt", error)
        finally:
            self._before[0](kind, error, trace)

    def _uncaught_in_thread(self, args: threading.ExceptHookArgs) -> None:
        try:
            if not issubclass(args.exc_type, SystemExit):
                name = args.thread.name if args.thread is not None else "(unknown)"
                self._write(f"An exception that nobody has caught ends thread {name!r}", args.exc_value)
        finally:
            self._before[1](args)

    def _cell_has_run(self, result: _RanCell) -> None:
        if isinstance(result.error_in_exec, Exception | KeyboardInterrupt):
            self._write("An exception that nobody has caught ends a cell", result.error_in_exec)

    def _unraisable(self, args: sys.UnraisableHookArgs) -> None:
        try:
            what = args.err_msg or "Exception ignored in"
            self._write(f"{what}: {_safe_repr(args.object)}" if args.object is not None else what, args.exc_value)
        finally:
            self._before[2](args)

    def _write(self, text: str, error: BaseException | None) -> None:
        record = _record_of(text, error)
        for outlet in _outlets() if self._active else ():
            if outlet.levels.wanted_in_file(record):
                outlet.write_to_file(record)
                outlet.keep(record)


_GLOBALS = _Globals()


def _record_of(text: str, error: BaseException | None) -> logging.LogRecord:
    if isinstance(error, KeyboardInterrupt):
        return logging.LogRecord(_UNCAUGHT, logging.WARNING, "", 0, f"{text}: KeyboardInterrupt", (), None)
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord(_UNCAUGHT, logging.CRITICAL, "", 0, text, (), exc_info)


def _is_at_a_prompt() -> bool:
    """Whether this program goes on after an exception that nobody catches, with the next line that somebody types."""
    return hasattr(sys, "ps1") or bool(sys.flags.inspect)  # with -i there is a prompt behind the script


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - the user's own, of an object that is being torn down
        return f"<{type(value).__name__}>"


def _is_shown_by_others(record: logging.LogRecord) -> bool:
    """Whether a handler of somebody else writes the record to the console."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        for handler in logger.handlers:
            if _writes_to_console(handler) and record.levelno >= handler.level:
                return True
        logger = logger.parent if logger.propagate else None
    return False


def _writes_to_console(handler: logging.Handler) -> bool:
    if isinstance(handler, _Outlet | logging.FileHandler):
        return False
    stream = getattr(handler, "stream", None) or getattr(getattr(handler, "console", None), "file", None)
    return stream is not None and stream in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)


def _open_log_file(path: str, config: CfgLogging) -> LogFile:
    from qmi.runtime.log_file import LogFile

    return LogFile(
        path, maxBytes=config.max_bytes, backupCount=config.backup_count, encoding="utf-8", errors="backslashreplace"
    )


def _to_stderr(text: str) -> None:
    """Looks up standard error each time: programs and tests redirect it. It may be missing, closed or a broken pipe."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def _suppressed_text(text: str, number: int) -> str:
    if not number:
        return text
    return f"{text} ({number} more like this {'was' if number == 1 else 'were'} suppressed)"


def _utc_now() -> datetime:
    return datetime.now(UTC)
