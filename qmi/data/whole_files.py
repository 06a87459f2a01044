"""Writing files whole or not at all: under a temporary name, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_whole(path: Path, content: bytes | bytearray | memoryview, *, overwrite: bool, mode: int = 0o666) -> None:
    """Write a file; whatever goes wrong, there is afterwards either all of it or what was there before.

    Args:
        path: The file.
        content: What it is to have.
        overwrite: Whether a file of that name is replaced.
        mode: Its mode, less what the umask takes away.

    Raises:
        FileExistsError: If it exists, and is not to be overwritten.
        OSError: If it cannot be written, such as when the disk is full.
    """
    with temporary_file(path) as temporary:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        place(temporary, path, overwrite=overwrite)


def place(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Give a file its name; without ``overwrite``, only if nothing has it: of two programs, one."""
    if overwrite:
        os.replace(temporary, path)
    else:
        _place_new(temporary, path)
    _keep_name(path.parent)


def _place_new(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise _taken(path) from None
    except (OSError, NotImplementedError):
        # No hard links on this file system: take the name with an empty file, then put the content there.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            raise _taken(path) from None
        os.replace(temporary, path)


def _taken(path: Path) -> FileExistsError:
    return FileExistsError(17, "there is such a file already", str(path))


def _keep_name(folder: Path) -> None:
    """Have the name on the disk, too. Not every system can."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """A name beside that of a file, hidden; what has it is removed in the end."""
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
