"""What is remembered of the programs that were started here: one small file each, ``<qmi_home>/.qmi_proc/<name>.json``.

The home directory of the configuration is the same for every login of a machine, unlike the directories that a desktop
session sets; and a program of another configuration with the same name has its own file where it has its own home.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from qmi.config.files import make_private_dirs, open_private, read_file
from qmi.config.paths import qmi_home_dir
from qmi.config.schema import CfgQmi
from qmi.errors import QMI_RuntimeException
from qmi.proc.process import ProcessIdentity
from qmi.records import asdict

try:
    import fcntl
except ImportError:  # pragma: no cover - on Windows, two starts at a time are not kept apart

    def _lock(handle: int) -> None:
        pass
else:

    def _lock(handle: int) -> None:
        if sys.platform != "win32":  # for the type checker
            fcntl.flock(handle, fcntl.LOCK_EX)


_MAX_SIZE = 65536
MARK = "QMI_PROC_START"
"""The variable with the mark of a start."""


class Record(Struct):
    """A program that was started from here.

    Attributes:
        pid: Its process.
        born: Start time of the process, as in `ProcessIdentity`.
        module: The program.
        output: File with its output.
        ended: How it ended at its start; empty if it got further.
        mark: What only the processes of this start have in their environment (see `MARK`), to find a program by whose
            number could not be written down any more.
    """

    pid: int
    born: str
    module: str
    output: str
    ended: str = ""
    mark: str = ""

    @property
    def identity(self) -> ProcessIdentity:
        """The process that was started, whether it still runs or not."""
        return ProcessIdentity(self.pid, self.born)


class Records:
    """The files about the programs of one configuration."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def of(cls, config: CfgQmi) -> Records:
        """The files that belong to a configuration."""
        return cls(Path(qmi_home_dir(config, "qmi_proc")) / ".qmi_proc")

    def read(self, name: str) -> Record | None:
        """Return what is remembered of a context; None if nothing is, or nothing usable."""
        try:
            found = json.loads(read_file(self._path(name), _MAX_SIZE, follow=False).decode())
            texts = [found["born"], found["module"], found["output"], found.get("ended", ""), found.get("mark", "")]
            record = Record(found["pid"], *texts)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        good = isinstance(record.pid, int) and all(isinstance(text, str) for text in texts)
        return record if good else None

    def write(self, name: str, record: Record) -> None:
        """Remember a program; what was there before is replaced as a whole or not at all.

        Raises:
            QMI_RuntimeException: If the file cannot be written.
        """
        import tempfile

        path = self._path(name)
        part = ""
        try:
            make_private_dirs(self.directory)
            handle, part = tempfile.mkstemp(prefix=f".{name}-", dir=self.directory)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(record), file)
            os.replace(part, path)
        except OSError as exc:
            if part:
                with contextlib.suppress(OSError):
                    os.unlink(part)
            raise QMI_RuntimeException(f"Cannot write {path}, where the process is remembered: {exc.strerror}") from exc

    def forget(self, name: str) -> None:
        """Drop what is remembered of a context."""
        with contextlib.suppress(OSError):
            self._path(name).unlink()

    @contextlib.contextmanager
    def guard(self, name: str, *, needed: bool = True) -> Iterator[None]:
        """Keep other starts and stops of this context waiting, also those of other programs.

        Args:
            name: The context.
            needed: Whether to go on without if the file for that cannot be made: a stop over a link needs no file.

        Raises:
            QMI_RuntimeException: If it is needed and cannot be made.
        """
        path = self.directory / f".{name}.lock"
        try:
            make_private_dirs(self.directory)
            file = os.fdopen(open_private(path, os.O_WRONLY | os.O_CREAT), "wb")
        except OSError as exc:
            if not needed:
                yield
                return
            raise QMI_RuntimeException(f"Cannot write {path}, which guards start and stop: {exc.strerror}") from exc
        with file:
            # A file system without locks must not keep programs from being started.
            with contextlib.suppress(OSError):
                _lock(file.fileno())
            yield

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.json"
