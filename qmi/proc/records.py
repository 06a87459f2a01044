"""What is remembered of the programs that were started here: one small file each, ``<qmi_home>/.qmi_proc/<name>.json``.

The home directory of the configuration is the same for every login of a machine, unlike the directories that a desktop
session sets; and a program of another configuration with the same name has its own file where it has its own home.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from qmi.config.places import qmi_home_dir
from qmi.config.schema import CfgQmi
from qmi.errors import QMI_RuntimeException
from qmi.proc.process import ProcessIdentity

try:
    import fcntl
except ImportError:  # pragma: no cover - on Windows, two starts at a time are not kept apart

    def _lock(handle: int) -> None:
        pass
else:

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)


_MAX_SIZE = 65536


@dataclass(frozen=True)
class Record:
    """A program that was started from here.

    Attributes:
        pid: Its process.
        born: Start time of the process, as in `ProcessIdentity`.
        module: The program.
        output: File with its output.
        ended: How it ended at its start; empty if it got further.
    """

    pid: int
    born: str
    module: str
    output: str
    ended: str = ""

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
            text = self._path(name).read_text("utf-8")
            found = json.loads(text if len(text) <= _MAX_SIZE else "")
            record = Record(found["pid"], found["born"], found["module"], found["output"], found.get("ended", ""))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        good = isinstance(record.pid, int) and all(isinstance(x, str) for x in (record.born, record.module))
        good = good and isinstance(record.output, str) and isinstance(record.ended, str)
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
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    def guard(self, name: str) -> Iterator[None]:
        """Keep other starts and stops of this context waiting, also those of other programs.

        Raises:
            QMI_RuntimeException: If the file for that cannot be made.
        """
        path = self.directory / f".{name}.lock"
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = path.open("wb")
        except OSError as exc:
            raise QMI_RuntimeException(f"Cannot write {path}, which guards start and stop: {exc.strerror}") from exc
        with file:
            # A file system without locks must not keep programs from being started.
            with contextlib.suppress(OSError):
                _lock(file.fileno())
            yield

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.json"
