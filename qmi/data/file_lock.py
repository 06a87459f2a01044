"""Whether a file is in use by a program that lives: a lock that ends with the program, however it ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 62

    def try_lock(fd: int) -> bool:
        """Lock an open file; False if another program, or another part of this one, has it."""
        at = os.lseek(fd, 0, os.SEEK_CUR)
        os.lseek(fd, _FAR, os.SEEK_SET)  # others may read what is before
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(fd, at, os.SEEK_SET)
        return True

else:

    def try_lock(fd: int) -> bool:
        """Lock an open file; False if another program, or another part of this one, has it."""
        import fcntl  # where it is lacking, only runs cannot be recorded

        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_there(fd: int, path: str) -> bool:
    """Whether an open file is still the one at a path: whoever had the lock may have taken it away."""
    try:
        there, mine = os.stat(path), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def is_locked(path: str | os.PathLike[str]) -> bool:
    """Whether a program has locked a file, for those who may only read it. False if it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return False
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)


_LOOK_EACH = 0.02


@contextmanager
def changing(path: Path, patience: float = 10.0) -> Iterator[None]:
    """Keep other programs that do the same from changing a file, for the length of the block; they wait.

    What is locked is a file beside it, since the file itself may be replaced. It is gone afterwards.

    Args:
        path: The file, which need not be there yet. Its folder is.
        patience: How long to wait for another program, in seconds.

    Raises:
        TimeoutError: If another program has it for longer than that.
        OSError: If it cannot be locked.
    """
    beside = path.with_name(f".{path.name[:200]}.lock")
    deadline = time.monotonic() + patience
    fd = _locked(beside)
    while fd is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"another program has been changing it for {patience:g} s (it has locked {beside})")
        time.sleep(_LOOK_EACH)  # flock() itself waits without limit, and Windows has no such wait
        fd = _locked(beside)
    try:
        yield
    finally:
        with suppress(OSError):  # on Windows, what is open stays
            os.unlink(beside)  # while it is locked: whoever has opened it meanwhile sees that it is not there
        os.close(fd)


def _locked(beside: Path) -> int | None:
    """The descriptor of a lock file, if nobody else has it."""
    fd = os.open(beside, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    if try_lock(fd) and is_there(fd, str(beside)):
        return fd
    os.close(fd)
    return None
