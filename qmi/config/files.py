"""How files are opened whose names others may guess, or may have prepared something under.

A folder may be shared (``/tmp``, a data disk of a laboratory). A link there leads elsewhere, a FIFO blocks whoever
opens it, a device never ends. What is written here is private: 0600, in folders that are made as 0700; what exists
keeps the mode that it has. Every refusal is an ``OSError`` whose ``strerror`` says what was found.
"""

from __future__ import annotations

import errno
import os
import stat

# What a system does not have is left out. O_BINARY is Windows: bytes are written and read as they are.
_SAFE = 0
for _flag in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):
    _SAFE |= getattr(os, _flag, 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}


def make_private_dirs(directory: str | os.PathLike[str]) -> None:
    """Make a folder and those above it, as far as they are not there, for this user alone (0700).

    Raises:
        OSError: If that is not possible.
    """
    missing = []
    path = os.path.abspath(directory)
    while not os.path.isdir(path):
        missing.append(path)
        parent = os.path.dirname(path)
        if parent == path:
            break
        path = parent
    for path in reversed(missing):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:  # another program was faster; or it is no folder
            if not os.path.isdir(path):
                raise


def open_private(path: str | os.PathLike[str], flags: int, *, device: bool = False) -> int:
    """Open a file to write to; a new one is for this user alone (0600). Links are not followed.

    Args:
        path: The file.
        flags: As for ``os.open``.
        device: Whether a device will do (``/dev/null`` as a log file).

    Returns:
        A descriptor that programs which are started do not inherit.

    Raises:
        OSError: If that is not possible, or if it is no plain file.
    """
    try:
        handle = os.open(path, flags | _SAFE | _NOFOLLOW, 0o600)
    except OSError as error:
        raise _explained(error, path) from error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) and not (device and stat.S_ISCHR(found.st_mode)):
            raise _not_a_file(found.st_mode)
        if stat.S_ISREG(found.st_mode) and _is_foreign(found, path):
            raise OSError(
                errno.EPERM, f"it belongs to another user (uid {found.st_uid}), in a folder open to everybody"
            )
    except BaseException:
        os.close(handle)
        raise
    return handle


def open_to_read(path: str | os.PathLike[str], *, follow: bool = False) -> int:
    """Open a plain file to read from; never waits for anything.

    Args:
        path: The file.
        follow: Whether it may be a link to one.

    Raises:
        OSError: If that is not possible, or if it is no plain file.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _SAFE | (0 if follow else _NOFOLLOW))
    except OSError as error:
        raise _explained(error, path) from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise _not_a_file(mode)
    return handle


def read_file(path: str | os.PathLike[str], limit: int, *, follow: bool = True) -> bytes:
    """Read a plain file as a whole.

    Args:
        path: The file.
        limit: How many bytes it may have at most.
        follow: Whether it may be a link to one.

    Raises:
        OSError: If that is not possible, if it is no plain file, or if it is too large.
    """
    with os.fdopen(open_to_read(path, follow=follow), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes")
    return data


def _explained(error: OSError, path: str | os.PathLike[str]) -> OSError:
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return error
    if error.errno in (errno.ELOOP, errno.EMLINK) and stat.S_ISLNK(mode):
        return OSError(error.errno, "it is a symbolic link, which is not followed: remove it, or name what it leads to")
    if error.errno in (errno.ENXIO, errno.EISDIR) and not stat.S_ISREG(mode):
        return _not_a_file(mode)
    return error


def _not_a_file(mode: int) -> OSError:
    if stat.S_ISDIR(mode):
        return OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    return OSError(errno.EINVAL, f"it is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file")


def _is_foreign(found: os.stat_result, path: str | os.PathLike[str]) -> bool:
    if not hasattr(os, "geteuid") or found.st_uid == os.geteuid():
        return False
    return bool(os.stat(os.path.dirname(os.path.abspath(path))).st_mode & stat.S_IWOTH)
