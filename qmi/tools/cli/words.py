"""Times, classes and locks as they stand in a table: as :mod:`qmi.actors.status_words` has them."""

from qmi.actors.status_words import (
    busy_words,
    duration,
    error_words,
    late_words,
    lock_words,
    short_class,
    short_time,
)

__all__ = ["busy_words", "duration", "error_words", "late_words", "lock_words", "short_class", "short_time"]
