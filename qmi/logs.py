"""Where log messages go: the console, and a rotating file once there is a configuration; levels and rate limits.

One handler on the root logger does it all, so that the user's own loggers are covered too. It is added beside the
handlers that others have put there, and taken away again without a trace.

Without a configuration file there is no log file: who just tries something at the prompt finds nothing new in the home
directory. ``$QMI_DEBUG``, with any value, sets the levels of console and file to DEBUG.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from typing import NamedTuple, NoReturn

from qmi.config.places import DATE_FORMAT, DATETIME_FORMAT, Places
from qmi.config.rules import LOG_LEVELS
from qmi.config.schema import CfgLogging, CfgQmi
from qmi.errors import QMI_UsageException

_logger = logging.getLogger("qmi.core.logging_init")

_FORMAT = "%(asctime)s | %(levelname)-8s | %(name)-22s | %(message)s"
_MOST_PLACES = 1000


def setup_logging(config: CfgQmi, context_name: str, *, console_loglevel: str | None = None) -> None:
    """Start to write log messages; what an earlier call set up is replaced.

    A log file that cannot be opened is no reason to stop: a warning says why there is none.

    Args:
        config: Section ``logging`` says what is logged. The log file is written if the configuration came from a file
            or names a log directory, which is made if need be.
        context_name: For ``%(context)s`` in the name of the log file.
        console_loglevel: Goes before the level for the console in the configuration.

    Raises:
        QMI_UsageException: If there is no such level.
    """
    if console_loglevel is not None and console_loglevel not in LOG_LEVELS:
        raise QMI_UsageException(f"Unknown log level {console_loglevel!r}: expected one of {', '.join(LOG_LEVELS)}")
    shutdown_logging()
    levels = _Levels.of(config.logging, console_loglevel)
    limit = None
    if config.logging.rate_limit is not None:
        limit = RateLimit(config.logging.rate_limit, config.logging.burst_limit)
    outlet = _Outlet(levels, limit)
    outlet.install()
    wanted = config.config_file is not None or config.log_dir is not None
    if wanted and config.logging.logfile is not None:
        path = _log_path(config, config.logging.logfile, context_name, _utc_now())
        try:
            outlet.file = _open_log_file(path, config.logging)
        except OSError as error:
            _logger.warning("There is no log file: %s cannot be written (%s)", path, error.strerror or error)


def shutdown_logging() -> None:
    """Undo :func:`setup_logging`: close the log file and restore the levels of loggers; harmless if there is none."""
    for handler in list(logging.getLogger().handlers):
        if isinstance(handler, _Outlet):
            handler.uninstall()


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
        place = _Place(record.name, record.levelno, str(record.msg))
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

    def wanted_in_file(self, record: logging.LogRecord) -> bool:
        """The logger's own level decides, else that of the nearest logger above it."""
        name = record.name
        while name and name not in self.loggers:
            name = name.rpartition(".")[0]
        return record.levelno >= self.loggers.get(name, self.file)


class _UtcFormatter(logging.Formatter):
    """Computers in a lab disagree about time zones and summer time, and their logs are read side by side."""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__(_FORMAT)
        self.converter = time.gmtime


class _LogFile(RotatingFileHandler):
    def write_line(self, text: str) -> None:
        """Write a message that has been formatted, after starting a new file if this one is full."""
        self.emit(logging.makeLogRecord({"msg": text}))

    def handleError(self, record: logging.LogRecord) -> NoReturn:
        """Leave errors to the outlet instead of printing each of them; called while one is handled."""
        raise


class _Outlet(logging.Handler):
    """The handler on the root logger: limits the rate, then writes to the console and the file.

    Attributes:
        file: The log file; None if there is none or it has failed.
    """

    def __init__(self, levels: _Levels, limit: RateLimit | None) -> None:
        super().__init__()
        self.setFormatter(_UtcFormatter())
        self.file: _LogFile | None = None
        self._levels = levels
        self._limit = limit
        self._file_failed = False
        self._changed: dict[str, tuple[int, int]] = {}

    def install(self) -> None:
        """Join the handlers of the root logger and set the levels of loggers."""
        # The lower of both, or a console level below the level of the file would have no effect.
        self._set_level("", self._levels.loggers.get("", min(self._levels.console, self._levels.file)))
        for name, level in self._levels.loggers.items():
            self._set_level(name, level)
        logging.getLogger().addHandler(self)

    def uninstall(self) -> None:
        """Leave the root logger; levels that somebody changed since are left alone."""
        logging.getLogger().removeHandler(self)
        for name, (before, level) in self._changed.items():
            logger = logging.getLogger(name)
            if logger.level == level:
                logger.setLevel(before)
        self.close()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the message where it belongs, unless there were too many like it."""
        suppressed = self._limit.admit(record) if self._limit is not None else 0
        if suppressed is None:
            return
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 - arguments that do not fit or cannot be printed: logging shows who passed them
            self.handleError(record)
            return
        self._write(record, _suppressed_text(text, suppressed) if suppressed else text)

    def close(self) -> None:
        """Tell what was suppressed without having been told yet, and close the log file."""
        self.acquire()
        try:
            for record in self._limit.suppressed() if self._limit is not None else ():
                self._write(record, self.format(record))
            self._limit = None
            self._close_file()
        finally:
            self.release()
        super().close()

    def _set_level(self, name: str, level: int) -> None:
        logger = logging.getLogger(name)
        self._changed.setdefault(name, (logger.level, level))
        logger.setLevel(level)

    def _write(self, record: logging.LogRecord, text: str) -> None:
        wanted = self._levels.wanted_in_file(record)
        if self.file is not None and wanted:
            try:
                self.file.write_line(text)
            except OSError as error:
                self._give_up_file(self.file.baseFilename, error)
        if record.levelno >= self._levels.console or (self._file_failed and wanted):
            _to_stderr(text)

    def _give_up_file(self, path: str, error: OSError) -> None:
        self._file_failed = True
        self._close_file()
        reason = f"The log file {path} cannot be written ({error.strerror or error}); its messages go here from now on"
        _to_stderr(self.format(logging.LogRecord(_logger.name, logging.ERROR, "", 0, reason, (), None)))

    def _close_file(self) -> None:
        if self.file is not None:
            with suppress(OSError):  # what could not be written still cannot be
                self.file.close()
            self.file = None


def _open_log_file(path: str, config: CfgLogging) -> _LogFile:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return _LogFile(
        path, maxBytes=config.max_bytes, backupCount=config.backup_count, encoding="utf-8", errors="backslashreplace"
    )


def _to_stderr(text: str) -> None:
    """Looks up standard error each time: programs and tests redirect it. It may be missing, closed or a broken pipe."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def _suppressed_text(text: str, number: int) -> str:
    return f"{text} ({number} more like this {'was' if number == 1 else 'were'} suppressed)"


def _utc_now() -> datetime:
    return datetime.now(UTC)
