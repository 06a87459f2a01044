"""The token with which things may be changed, and the file that keeps it."""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from qmi.config.files import make_private_dirs, read_file
from qmi.data.whole_files import write_whole
from qmi.errors import QMI_ConfigurationException

_TOKEN = re.compile(r"[\w.~+/=-]{16,256}", re.ASCII)
_LARGEST = 4096


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


def kept_token(path: Path) -> str:
    """The token that a file keeps; the file is made, for its owner alone, if it is not there.

    Raises:
        QMI_ConfigurationException: If it cannot be read or written, has no token, or others may read it.
    """
    try:
        if not path.exists():
            make_private_dirs(path.parent)
            with suppress(FileExistsError):  # another program was faster
                write_whole(path, f"{new_token()}\n".encode(), overwrite=False, mode=0o600)
        mode = stat.S_IMODE(path.stat().st_mode)
        text = read_file(path, _LARGEST).decode("ascii", "replace").strip()
    except OSError as error:
        raise QMI_ConfigurationException(
            f"The file of the token {path} cannot be used: {error.strerror or error}"
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise QMI_ConfigurationException(
            f"The file of the token {path} can be used by others of this computer (mode {mode:04o}). Delete it, so "
            "that a new one is made; or, if nobody has seen it, chmod 600"
        )
    if not _TOKEN.fullmatch(text):
        raise QMI_ConfigurationException(
            f"The file {path} has no token: expected 16 letters, digits, - and _ or more. Delete it, and one is made"
        )
    return text
