"""Where runs are: the folder with their logs, their files and the index; and what makes files of logs left behind.

::

    <folder>/open/20261126-140501_cooldown.qmirun    the log, while the run lasts
    <folder>/2026/20261126-140501_cooldown.nc        the file, when it has ended
    <folder>/index.sqlite                            the index
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from qmi.data import run_file, run_log
from qmi.data.column_values import check_name
from qmi.data.file_lock import is_locked
from qmi.data.log_contents import Head
from qmi.data.run_index import RunIndex, RunInfo, info_of
from qmi.data.run_log import LogContents, RunLog
from qmi.data.run_metadata import active_context
from qmi.errors import QMI_InvalidValueException, QMI_RecordingException

if TYPE_CHECKING:
    from qmi.config.schema import CfgQmi

_logger = logging.getLogger("qmi.data")

_MAX_NAME: Final = 100
_TOLD: Final = 5
"""How many runs a message names."""


def default_folder() -> Path:
    """The folder of runs, as the configuration of the context, or the one that would be read, says."""
    from qmi.config.loader import load_config

    context = active_context()
    return folder_of(load_config(""), "") if context is None else folder_of(context.get_config(), context.name)


def folder_of(config: CfgQmi, context: str) -> Path:
    """The folder of runs of a context with a configuration."""
    from qmi.config.paths import Places

    places = Places(config, context)
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
        self.path: Path = (default_folder() if path is None else _checked(path).expanduser()).absolute()
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

    def forget(self, run_id: str) -> None:
        """Take a run out of the index that has not begun after all."""
        try:
            if self.index.find(run_id=run_id):
                self.index.drop(run_id)
        except QMI_RecordingException as error:
            _logger.warning("Run %s, which has not begun, is in the index: %s", run_id, error)

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
                if (info := self._recover_one(run_id, log)) is not None:
                    found.append(info)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one log, others are recovered, runs begin
                if not (isinstance(error, PermissionError) and is_locked(path)):  # a run of another user
                    failed.append(f"{path.name}: {error}")
        return found, failed

    def _recover_one(self, run_id: str, log: RunLog) -> RunInfo | None:
        """Make the file of a log that was left behind; None if there is nothing to recover."""
        file = self.file_of(run_id)
        try:
            if (begun := self._has_begun(log.path)) is None:
                raise QMI_RecordingException("it is no log of a run, or nothing in it is whole; it is left as it is")
            if not begun:
                log.remove()
                return None
            if file.exists():  # only the log could not be deleted, since somebody read it, or in the last step
                self.enter(info_of(run_file.read_attributes(file), file))
                log.remove()
                return None
            info = self.end(run_id, log)
        finally:
            log.close()  # its lock would keep others from recovering it
        _logger.warning("Run %s was cut short; its %d rows are in %s", run_id, info.rows, info.file)
        return info

    def log_of(self, run_id: str) -> Path:
        """The log that a run has while it lasts."""
        return self._open / f"{run_id}{run_log.ENDING}"

    def is_running(self, run_id: str) -> bool:
        """Whether somebody still writes the log of a run. One that was left behind is recovered."""
        path = self.log_of(run_id)
        try:
            log = RunLog.take(path)
            if log is None:
                return path.exists()
            self._recover_one(run_id, log)
        except PermissionError:  # a reader's rights do; somebody else may recover it
            return is_locked(path)
        except OSError as error:
            _logger.warning("Run %s was cut short and could not be recovered: %s", run_id, error)
        return False

    def locate(self, run: object, *, ended: bool = False) -> str | None:
        """The id of a run, from its id, or from its name for the newest one of it; None if there is none.

        Args:
            run: The id or the name.
            ended: Whether only runs count that have ended.
        """
        if not isinstance(run, str) or not run or not all(letter.isalnum() or letter in "_-.+" for letter in run):
            return None
        try:
            if self._is_there(run, ended):
                return run
        except OSError:  # too long for a name of a file
            return None
        try:
            infos = self.index.find(name=run) + self.index.find(name=f"{run}_*")
        except QMI_RecordingException as error:  # then what is in the folder has to do
            _logger.warning("%s", error)
            infos = []
        names = {info.run_id: info.name for info in infos}
        found = [run_id for run_id, name in names.items() if name == run]
        for path in (
            *self._open.glob(f"*_{run}*{run_log.ENDING}"),
            *self.path.glob(f"[0-9]*/*_{run}*{run_file.ENDING}"),
        ):
            run_id = path.name.removesuffix(path.suffix)
            if (
                run_id not in names
                and (like := re.fullmatch(rf"[0-9]{{8}}-[0-9]{{6}}_{re.escape(run)}(_[0-9]+)?", run_id))
                # "sweep_2" may be the second run of that second with the name "sweep", or the first one of its name.
                and ((like[1] is None and not re.search(r"_[0-9]+$", run)) or _name_in(path) == run)
            ):
                found.append(run_id)
        found = [run_id for run_id in found if self._is_there(run_id, ended)]
        return max(reversed(found), key=lambda run_id: run_id[: len("20261126-140501")], default=None)

    def _is_there(self, run_id: str, ended: bool) -> bool:
        return self.file_of(run_id).exists() or (not ended and self.log_of(run_id).exists())

    def why_not_there(self, run: object) -> str:
        """What to say of a run that is not there."""
        open_ = sorted(path.name.removesuffix(run_log.ENDING) for path in self._open.glob(f"*{run_log.ENDING}"))
        text = f"there is no run with the id or name {run!r} in {self.path}"
        if open_:
            return f"{text}; running now: {', '.join(open_[-_TOLD:])}"
        try:
            latest = [info.run_id for info in self.index.find(limit=_TOLD)]
        except QMI_RecordingException:
            latest = []
        return f"{text}; nothing is recorded there now" + (
            f", the latest runs are {', '.join(latest)}" if latest else ""
        )

    def _has_begun(self, path: Path) -> bool | None:
        """Whether a log has more than was written before the program died in the first step of the run.

        None if that cannot be known, since no record in it is whole.
        """
        if path.stat().st_size == 0:
            return False
        contents = LogContents(path)
        if next(iter(contents), None) is not None:
            return True
        return False if contents.is_cut_short else None

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


def _checked(path: object) -> Path:
    if not isinstance(path, str | os.PathLike) or not os.fspath(path) or "\0" in str(path):
        raise QMI_InvalidValueException(f"folder must be the path of a folder, got {path!r}")
    return Path(path)


def _name_in(path: Path) -> str:
    """The name of the run that a log or a file has; empty if that cannot be read."""
    try:
        if path.suffix == run_file.ENDING:
            return str(run_file.read_attributes(path)["title"])
        return Head.from_record(next(iter(LogContents(path)), None)).name
    except (OSError, KeyError, ValueError, QMI_RecordingException):
        return ""
