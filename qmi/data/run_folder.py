"""Where runs are: the folder with their logs, their files and the index; and what makes files of logs left behind.

::

    <folder>/open/20261126-140501_cooldown.qmirun    the log, while the run lasts
    <folder>/2026/20261126-140501_cooldown.nc        the file, when it has ended
    <folder>/index.sqlite                            the index
"""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from qmi.data import run_file, run_log
from qmi.data.column_values import check_name
from qmi.data.run_index import RunIndex, RunInfo, info_of
from qmi.data.run_log import LogContents, RunLog
from qmi.data.run_metadata import active_context
from qmi.errors import QMI_InvalidValueException, QMI_RecordingException

_logger = logging.getLogger("qmi.data")

_MAX_NAME: Final = 100


def default_folder() -> Path:
    """The folder of runs, as the configuration of the context, or the one that would be read, says."""
    from qmi.config.loader import load_config
    from qmi.config.paths import Places

    context = active_context()
    places = Places(load_config(""), "") if context is None else Places(context.get_config(), context.name)
    if places.config.datastore is None:
        return Path(places.qmi_home(), "qmi_data", "runs")
    return Path(places.datastore(), "runs")


def check_run_name(name: object) -> str:
    """Refuse a name that cannot be part of the name of a file.

    Raises:
        QMI_InvalidValueException: If it is none.
    """
    check_name(name, "a run")
    assert isinstance(name, str)
    if len(name) > _MAX_NAME or not all(letter.isalnum() or letter in "_-.+" for letter in name):
        raise QMI_InvalidValueException(
            f"the name of a run must be at most {_MAX_NAME} letters, digits and '_', '-', '.', '+', got {name!r}"
        )
    return name


class RunFolder:
    """A folder of runs.

    Args:
        path: The folder; None takes the one of the configuration.

    Attributes:
        path: The folder.
        index: Its index.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path: Path = (default_folder() if path is None else Path(path).expanduser()).absolute()
        self.index: RunIndex = RunIndex(self.path)
        self._open = self.path / "open"

    def file_of(self, run_id: str) -> Path:
        """The file that a run has when it has ended."""
        return self.path / run_id[:4] / f"{run_id}{run_file.ENDING}"

    def new_log(self, name: str, started: datetime) -> tuple[str, RunLog]:
        """Make the log of a new run, and its id, which no other run has: its time in UTC and its name.

        Raises:
            QMI_RecordingException: If nothing can be written there.
        """
        try:
            self._open.mkdir(parents=True, exist_ok=True)
            self._check_writable(self.path / str(started.year))
            number = 1
            while True:
                run_id = f"{started:%Y%m%d-%H%M%S}_{name}" + (f"_{number}" if number > 1 else "")
                log = RunLog.create(self._open / f"{run_id}{run_log.ENDING}")
                if log is not None:
                    # Whoever ends a run makes its file before the log goes: one of the two is always there.
                    if not self.file_of(run_id).exists():
                        return run_id, log
                    log.remove()
                number += 1
        except OSError as error:
            reason = error.strerror or error
            raise QMI_RecordingException(
                f"No run can be written to {self.path}: {reason}. Give a folder in which this user may make files: as "
                '"datastore" in the configuration, or as qmi.data.run(..., folder=...)'
            ) from error

    def _check_writable(self, folder: Path) -> None:
        """Find out now whether the file can be made when the run has ended."""
        folder.mkdir(exist_ok=True)
        effective = os.access in os.supports_effective_ids
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
            raise PermissionError(13, "Permission denied", str(folder))

    def end(self, run_id: str, log: RunLog) -> RunInfo:
        """Make the file of a run of its log, enter it into the index, and delete the log.

        Raises:
            QMI_RecordingException: If the file cannot be made; the log stays.
        """
        try:
            if log.is_lost:
                run_id = self._put_back(run_id, log)
            file = self.file_of(run_id)
            info = replace(info_of(attributes := run_file.build(log.path, file), file), run_id=run_id)
            self.enter(info)
            if attributes["damaged"]:
                kept = log.path.with_name(f"{log.path.name}.damaged")
                log.keep_as(kept)
                _logger.warning(
                    "The log of run %s was damaged; what was whole is in %s, the log is kept as %s", run_id, file, kept
                )
            else:
                log.remove()
        finally:
            log.close()
        return info

    def _put_back(self, run_id: str, log: RunLog) -> str:
        """Write a log anew that somebody has taken away, with the folder mostly.

        Returns:
            The id of the run, which is another one if another run has taken it meanwhile.

        Raises:
            QMI_RecordingException: If it cannot be written there; it is elsewhere then.
        """
        lost = log.path
        try:
            number, found = 1, run_id
            while self.file_of(found).exists() or not log.put_back(lost.with_name(f"{found}{run_log.ENDING}")):
                number += 1
                found = f"{run_id}_{number}"
            self.file_of(found).parent.mkdir(exist_ok=True)
        except OSError as error:
            kept = Path(tempfile.mkdtemp(prefix="qmi-run-"), lost.name)
            log.put_back(kept)
            raise QMI_RecordingException(
                f"{lost} was taken away while the run lasted, and cannot be written again: {error}. Its rows are whole "
                f"in {kept}: move that file into {self._open}, then call qmi.data.recover()"
            ) from error
        _logger.warning("%s was taken away while the run lasted, and has been written again", lost)
        return found

    def enter(self, info: RunInfo) -> None:
        """Enter a run into the index; data do not depend on it, so what fails there is only logged."""
        try:
            self.index.put(info)
        except QMI_RecordingException as error:
            _logger.warning("Run %s is not in the index: %s", info.run_id, error)

    def recover(self) -> tuple[list[RunInfo], list[str]]:
        """Make files of the logs that programs have left behind.

        Returns:
            The runs, and what failed.
        """
        found: list[RunInfo] = []
        failed: list[str] = []
        for path in sorted(self._open.glob(f"*{run_log.ENDING}")):
            try:
                log = RunLog.take(path)
                if log is None:  # it lasts, or somebody else recovers it
                    continue
                run_id = path.name.removesuffix(run_log.ENDING)
                if not self._has_begun(path):
                    log.remove()
                    continue
                info = self.end(run_id, log)
                _logger.warning("Run %s was cut short; its %d rows are in %s", run_id, info.rows, info.file)
                found.append(info)
            except OSError as error:
                failed.append(f"{path.name}: {error}")
        return found, failed

    def _has_begun(self, path: Path) -> bool:
        """Whether a log has more than was written before the program died in the first step of the run."""
        return path.stat().st_size > 0 and next(iter(LogContents(path)), None) is not None

    def recover_quietly(self) -> None:
        """The same where somebody wants something else: what fails is logged."""
        for failure in self.recover()[1]:
            _logger.warning("A run that was cut short could not be recovered: %s", failure)

    def mend_index(self) -> None:
        """Enter the runs that the index lacks, and take out those of which there is nothing.

        Raises:
            QMI_RecordingException: If the index cannot be written.
        """
        known = {info.run_id: info for info in self.index.find()}
        for file in sorted(self.path.glob(f"[0-9]*/*{run_file.ENDING}")):
            run_id = file.name.removesuffix(run_file.ENDING)
            if run_id not in known or known[run_id].state == "running":
                try:
                    self.index.put(info_of(run_file.read_attributes(file), file))
                except (OSError, KeyError, ValueError) as error:
                    _logger.warning("%s is no file of a run: %s", file, error)
            known.pop(run_id, None)
        for run_id in known:
            if not (self._open / f"{run_id}{run_log.ENDING}").exists() and not self.file_of(run_id).exists():
                self.index.drop(run_id)
