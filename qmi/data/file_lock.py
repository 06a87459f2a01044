"""Whether a file is in use by a program that lives: a lock that ends with the program, however it ends."""

from __future__ import annotations

import os
import sys

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
