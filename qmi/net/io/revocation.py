"""Which certificates are refused although the authority made them: a list of serial numbers, one in a line.

A line is a serial number in hexadecimal digits; what follows ``#`` is for people. The list is read again when it has
changed, so that a lost computer is shut out without a restart. A list that cannot be read any more is no reason to let
in whom it named: the last good one stays in force.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from qmi.config.files import read_file
from qmi.config.validators import printable
from qmi.errors import QMI_ConfigurationException

_logger = logging.getLogger("qmi.core.messaging")

_MAX_SIZE = 16 << 20


def parse_revoked(text: str) -> frozenset[int]:
    """Return the serial numbers of a list.

    Raises:
        ValueError: If a line is no serial number; the message has its number.
    """
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        serial = line.partition("#")[0].strip()
        if not serial:
            continue
        try:
            found.add(parse_serial(serial))
        except ValueError:
            raise ValueError(f"line {number}: expected a serial number, found {printable(serial[:60])!r}") from None
    return frozenset(found)


def parse_serial(text: str) -> int:
    """Return a serial number that is written in hexadecimal digits, with or without colons.

    Raises:
        ValueError: If it is none.
    """
    digits = text.strip().replace(":", "").lower().removeprefix("0x")
    if not digits or len(digits) > 64 or not all(digit in "0123456789abcdef" for digit in digits):
        raise ValueError(f"expected a serial number in hexadecimal digits, got {printable(text[:60])!r}")
    return int(digits, 16)


def read_revoked(path: str) -> frozenset[int]:
    """Read a list.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no list.
    """
    return parse_revoked(read_file(path, _MAX_SIZE).decode())


class RevocationList:
    """The list in a file.

    Args:
        path: The file.

    Raises:
        QMI_ConfigurationException: If it cannot be read, or is no list.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        try:
            self._seen = self._look()
            self._serials = read_revoked(path)
        except (OSError, ValueError) as error:
            raise QMI_ConfigurationException(
                f"The list of revoked certificates {path} cannot be used: {error}"
            ) from error

    def _look(self) -> tuple[int, int, int]:
        found = os.stat(self._path)
        return found.st_mtime_ns, found.st_size, found.st_ino

    def serials(self) -> frozenset[int]:
        """The serial numbers that are refused now."""
        try:
            seen = self._look()
            if seen != self._seen:
                self._serials, self._seen = read_revoked(self._path), seen
        except (OSError, ValueError) as error:
            if self._seen is not None:
                _logger.error(
                    "The list of revoked certificates %s cannot be used (%s); what it said before holds on",
                    self._path, error,
                )  # fmt: skip
                self._seen = None
        return self._serials

    def check(self, certificate: Mapping[str, object] | None) -> None:
        """Refuse a certificate that is on the list.

        Args:
            certificate: What ``SSLObject.getpeercert()`` returned, after the TLS handshake.

        Raises:
            PermissionError: If it is.
        """
        # OpenSSL writes whole bytes, so that there may be a zero in front.
        serial = int(str((certificate or {}).get("serialNumber", "")) or "0", 16)
        if serial and serial in self.serials():
            raise PermissionError(f"the certificate of the other side (serial number {serial:x}) is revoked")
