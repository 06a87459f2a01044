"""Log records as they travel: plain data for other programs, and the records that they make of it."""

import logging
from dataclasses import dataclass

from qmi.actors.plain_records import PlainRecord
from qmi.config.validators import LOG_LEVELS
from qmi.errors import QMI_InvalidValueException
from qmi.names import nearest


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LogRecordStatus(PlainRecord):
    """A record of the log of a context.

    Attributes:
        number: Those of one program are numbered from 1.
        time: When, in seconds since 1970 by the clock of its computer.
        level: As in :mod:`logging`.
        logger: Name of the logger.
        context: The context that it came from, which may be another one of the same program.
        message: The text; of several lines, perhaps.
        trace: The traceback; empty if there is none.
    """

    number: int = 0
    time: float = 0.0
    level: int = 0
    logger: str = ""
    context: str = ""
    message: str = ""
    trace: str = ""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LogBatch(PlainRecord):
    """A part of the log of a context.

    Attributes:
        records: The records, oldest first.
        last: What to read on after.
        lost: How many records before these, of any level, are not kept any more although some of them were wanted.
        run: Another one each time that the program of the context is started: then numbers begin anew.
        kept: Whether records are kept: not by a program that was started without logging.
        now: The clock of its computer.
        more: Whether there is more to be read at once, although there are fewer records than were wanted: of a later
            program.
    """

    records: tuple[LogRecordStatus, ...] = ()
    last: int = 0
    lost: int = 0
    run: str = ""
    kept: bool = True
    now: float = 0.0
    more: bool = False


for _public in (LogRecordStatus, LogBatch):
    _public.__module__ = "qmi.core.context"


def level_number(level: object) -> int:
    """A level by its name or number.

    Raises:
        QMI_InvalidValueException: If there is none.
    """
    if type(level) is int and level >= 0:
        return level
    if isinstance(level, str) and (number := logging.getLevelNamesMapping().get(level.upper())) is not None:
        return number
    near = nearest(level.upper(), LOG_LEVELS) if isinstance(level, str) else None
    expected = ", ".join(LOG_LEVELS) + (f"; did you mean {near}?" if near else "")
    raise QMI_InvalidValueException(f"level must be one of {expected}, got {level!r}")
