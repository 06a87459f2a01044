"""The file of the users: a name and the hash of a password in each line."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from qmi.config.files import make_private_dirs
from qmi.data.file_lock import changing
from qmi.data.whole_files import write_whole
from qmi.errors import QMI_ConfigurationException, QMI_InvalidValueException

_NAME = re.compile(r"[\w.@+-]{1,64}")
_LEAST = 8
"""No password is shorter."""


def check_name(name: str) -> None:
    """See whether a user can be called so.

    Raises:
        QMI_InvalidValueException: If not.
    """
    if not _NAME.fullmatch(name):
        raise QMI_InvalidValueException(
            f"the name of a user has letters, digits and . _ @ + -, at most 64 of them; got {name!r}"
        )


def check_password(password: str) -> None:
    """See whether a password will do.

    Raises:
        QMI_InvalidValueException: If not.
    """
    if len(password) < _LEAST:
        raise QMI_InvalidValueException(f"a password must have {_LEAST} characters or more, got {len(password)}")


class Users:
    """The users of a file, which is read again when it changes.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hasher = PasswordHasher()
        self._read: tuple[tuple[int, int, int], dict[str, str]] | None = None

    @cached_property
    def _nobody(self) -> str:
        """For names that are not there: the answer takes as long as for one that is."""
        return self._hasher.hash("nobody has this password")

    def names(self) -> list[str]:
        """Their names.

        Raises:
            QMI_ConfigurationException: If the file cannot be read.
        """
        return sorted(self._hashes())

    def proof_of(self, name: str) -> str:
        """What a user is known by, which changes with the password; empty if there is no such user.

        Raises:
            QMI_ConfigurationException: If the file cannot be read.
        """
        return self._hashes().get(name, "")

    def is_password_of(self, name: str, password: str) -> bool:
        """Whether that is the password of a user. This takes a while on purpose; from any thread.

        Raises:
            QMI_ConfigurationException: If the file cannot be read.
        """
        known, nobody = self._hashes().get(name), self._nobody
        try:
            self._hasher.verify(known or nobody, password)
        except (Argon2Error, InvalidHashError):
            return False
        return known is not None

    def add(self, name: str, password: str) -> None:
        """Add a user, or give one another password.

        Raises:
            QMI_InvalidValueException: If the name or the password will not do.
            QMI_ConfigurationException: If the file cannot be read or written.
        """
        check_name(name)
        check_password(password)
        value = self._hasher.hash(password)  # which takes a while: before others have to wait
        with self._changing():
            self._write({**self._hashes(missing_ok=True), name: value})

    def remove(self, name: str) -> bool:
        """Remove a user; False if there was none of that name.

        Raises:
            QMI_ConfigurationException: If the file cannot be read or written.
        """
        self._hashes()
        with self._changing():
            hashes = self._hashes()
            if name not in hashes:
                return False
            self._write({other: value for other, value in hashes.items() if other != name})
        return True

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Of several programs that change the file, one at a time, so that none writes what it has read too early."""
        try:
            make_private_dirs(self.path.parent)
            held = ExitStack()
            held.enter_context(changing(self.path.resolve()))
        except OSError as error:
            why = error.strerror or error
            raise QMI_ConfigurationException(f"The file of users {self.path} cannot be changed: {why}") from error
        with held:
            self._read = None  # the time of a file may be too coarse to tell two changes apart
            yield

    def _hashes(self, *, missing_ok: bool = False) -> dict[str, str]:
        try:
            told = self.path.stat()
            version = (told.st_mtime_ns, told.st_size, told.st_ino)
            if self._read is None or self._read[0] != version:
                if os.name == "posix" and told.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                    raise QMI_ConfigurationException(
                        f"The file of users {self.path} can be changed by others: chmod go-w {self.path}"
                    )
                self._read = version, _parsed(self.path.read_text("utf-8"), self.path)
        except FileNotFoundError:
            if missing_ok:
                return {}
            raise QMI_ConfigurationException(
                f"There is no file of users {self.path}: 'qmi web user add NAME --users {self.path}' makes it"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise QMI_ConfigurationException(f"The file of users {self.path} cannot be read: {error}") from error
        return self._read[1]

    def _write(self, hashes: dict[str, str]) -> None:
        text = "".join(f"{name}:{value}\n" for name, value in sorted(hashes.items()))
        try:
            # A link to the file stays one: the file that it leads to is replaced.
            write_whole(self.path.resolve(), text.encode(), overwrite=True, mode=0o600)
        except OSError as error:
            raise QMI_ConfigurationException(f"The file of users {self.path} cannot be written: {error}") from error
        self._read = None


def _parsed(text: str, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name) or not value.startswith("$argon2"):
            raise QMI_ConfigurationException(f"{path}:{number}: expected NAME:HASH, as 'qmi web user add' writes it")
        found[name] = value.strip()
    return found
