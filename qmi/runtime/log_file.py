"""A log file that rotates. Only a context that writes one imports this: :mod:`logging.handlers` needs :mod:`pickle`."""

from __future__ import annotations

import logging
import os
import stat
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from typing import NoReturn

from qmi.config.files import make_private_dirs, open_private


class LogFile(RotatingFileHandler):
    """A log file for this user alone, unless it was there before; a link is not followed. New ones get its mode."""

    stream: TextIOWrapper
    _permissions: int | None = None

    def _open(self) -> TextIOWrapper:
        handle = self._opener(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        return open(handle, "a", encoding=self.encoding, errors=self.errors)

    def _opener(self, path: str, flags: int) -> int:
        try:
            handle = open_private(path, flags | os.O_EXCL, device=True)
        except FileExistsError:
            handle = open_private(path, flags, device=True)
        else:
            if self._permissions is not None and hasattr(os, "fchmod"):
                os.fchmod(handle, self._permissions)
        self._permissions = stat.S_IMODE(os.fstat(handle).st_mode)
        return handle

    def write_line(self, text: str) -> None:
        """Write a message that has been formatted, after starting a new file if this one is full."""
        self._follow()
        self.emit(logging.makeLogRecord({"msg": text}))

    def _follow(self) -> None:
        """Open the file again if somebody has moved it away, as logrotate does."""
        if os.name == "nt" or self.stream is None:
            return
        opened = os.fstat(self.stream.fileno())
        try:
            found = os.stat(self.baseFilename)
        except FileNotFoundError:
            make_private_dirs(os.path.dirname(self.baseFilename))
        else:
            if (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino):
                return
        self.stream.close()
        self.stream = self._open()

    def handleError(self, record: logging.LogRecord) -> NoReturn:
        """Leave errors to the outlet instead of printing each of them; called while one is handled."""
        raise
