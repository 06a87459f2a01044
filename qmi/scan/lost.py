"""Which errors mean that an instrument is lost and may come back, and how long a scan waits for it."""

from __future__ import annotations

import logging
import math
from typing import Final

from qmi.data.run_metadata import active_context
from qmi.errors import (
    QMI_ConnectionException,
    QMI_ContextStoppedException,
    QMI_InvalidOperationException,
    QMI_InvalidValueException,
    QMI_NotDeliveredException,
    QMI_ObjectLockedException,
    QMI_ObjectRemovedException,
    QMI_OutcomeUnknownException,
    QMI_RecordingException,
    QMI_TimeoutException,
    QMI_TransportLostException,
    QMI_UnknownNameException,
    QMI_UsageException,
)

_logger = logging.getLogger("qmi.scan")

NEVER: Final = (
    QMI_RecordingException,  # a full disk: an OSError, too
    QMI_ObjectLockedException,  # somebody has it, and says so
    QMI_UsageException,
    QMI_InvalidValueException,
)
"""Errors that have other reasons, also where they belong to one of the classes below."""

LOST: Final = (
    QMI_NotDeliveredException,  # there is no link
    QMI_OutcomeUnknownException,  # the link was lost in the midst of the call
    QMI_ConnectionException,
    QMI_ContextStoppedException,  # its program ends, perhaps to begin again
    QMI_ObjectRemovedException,  # it is made anew, as by "qmi_proc restart"
    QMI_TransportLostException,  # the device is unplugged, or switched off
    ConnectionError,  # the same, from a driver's own library
)
"""Errors that mean that an instrument is lost."""

RETURNING: Final = (
    QMI_InvalidOperationException,  # it is there again, and not open yet
    QMI_UnknownNameException,  # its program is there again, and has not made it yet
    QMI_TimeoutException,  # it is switched on again, and does not answer yet
    OSError,
)
"""Errors that mean it is not back yet, if it was lost before. Without that they have other reasons."""

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 2.0
"""Seconds between two attempts; each wait is twice as long as the one before."""


def lost_text(error: Exception) -> str:
    """Why a scan waits for an instrument."""
    return f"suspended: an instrument is lost ({type(error).__name__}: {error})"


def is_lost(error: BaseException, *, lost_before: bool = False) -> bool:
    """Whether an error means that an instrument is lost, or still is.

    Args:
        error: The error of a call.
        lost_before: Whether the attempt before this one failed for that.
    """
    if isinstance(error, NEVER):
        return False
    return isinstance(error, (*LOST, *RETURNING) if lost_before else LOST)


class Patience:
    """How long a scan waits for instruments that are lost.

    Args:
        seconds: How long at most, for each loss.

    Attributes:
        attempts: How often the point has failed since it was lost.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds: float = seconds
        self.attempts: int = 0
        self._since: float | None = None
        self._delay = FIRST_DELAY

    def delay(self, error: BaseException, now: float) -> float | None:
        """For how many seconds to wait before the point is tried again; None if the error is to end the scan.

        Args:
            error: What the point failed with.
            now: The time, in seconds of a clock that does not jump.
        """
        if not is_lost(error, lost_before=self._since is not None):
            return None
        if self._since is None:
            self._since = now
        left = self._since + self.seconds - now
        if left <= 0:
            error.add_note(f"The scan has waited {self.seconds:g} s for it to come back (wait_when_lost)")
            return None
        self.attempts += 1
        delay, self._delay = min(self._delay, left), min(2 * self._delay, LONGEST_DELAY)
        return delay

    def delay_after(self, error: Exception, now: float) -> float | None:
        """The same as :meth:`delay`, told in the log once for each loss; an end of this program is none."""
        if isinstance(error, QMI_ContextStoppedException) and active_context() is None:  # it is our own one
            return None
        delay = self.delay(error, now)
        if delay is not None and self.attempts == 1:
            _logger.warning("%s; the scan waits for it (wait_when_lost)", lost_text(error))
        return delay

    def of_part(self) -> Patience:
        """That of a part of the end, which has a deadline of its own. What is lost by now is lost there, too."""
        found = Patience(math.inf)
        found._since = self._since
        return found

    def over(self) -> None:
        """A point was measured: nothing is lost."""
        self._since, self._delay, self.attempts = None, FIRST_DELAY, 0
