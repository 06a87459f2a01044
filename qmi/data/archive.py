"""The runs that there are: finding them, and reading them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from qmi.data import run_file
from qmi.data.link_archive import load_from, runs_of
from qmi.data.run_folder import RunFolder
from qmi.data.run_index import RunInfo
from qmi.data.run_list import RunList
from qmi.errors import QMI_InvalidValueException, QMI_RecordingException, QMI_UnknownNameException

if TYPE_CHECKING:
    import xarray


def runs(
    name: str | None = None,
    *,
    tag: str | None = None,
    since: str | datetime | timedelta | None = None,
    until: str | datetime | timedelta | None = None,
    state: str | None = None,
    limit: int | None = None,
    context: str | None = None,
    folder: str | Path | None = None,
) -> RunList:
    """Find runs, oldest first. Those that were cut short are recovered first.

    Args:
        name: Only those of this name; ``*`` stands for anything.
        tag: Only those with this tag.
        since: Only those that began then or later: a time, its text such as ``"2026-11-26 14:00"``, or how long ago as
            a ``timedelta``. A time without a time zone is in local time.
        until: Only those that began before; likewise.
        state: Only those that are "running", "done", "failed" or "interrupted".
        limit: Only the latest ones, so many.
        context: Those of the computer of another context, which is connected to if need be.
        folder: Where the runs are; as for :func:`run`.

    Raises:
        QMI_InvalidValueException: If a condition cannot be understood.
        QMI_RecordingException: If the index cannot be read.
        QMI_UnknownNameException: If the other context does not tell of runs.
    """
    conditions = {"name": name, "tag": tag, "since": since, "until": until, "state": state, "limit": limit}
    if context is not None:
        return RunList(runs_of(context, folder, conditions))
    place = RunFolder(folder)
    place.recover_quietly()
    return RunList(place.index.find(**conditions))


def load(run: str | RunInfo, *, context: str | None = None, folder: str | Path | None = None) -> xarray.Dataset:
    """Read a run into memory.

    The columns are variables with their units, along the dimension ``row``; the coordinate ``time`` has the times of
    the rows in UTC (``row_time`` if there is a column ``time``). ``load(run_id).to_pandas()`` makes a table; where
    there are columns of arrays, of the other ones: ``load(run_id)[["T", "V"]].to_pandas()``. Where two coordinates make
    a grid, ``load(run_id).set_index(row=["x", "y"]).unstack("row")`` has a dimension for each of them.

    Args:
        run: The id of a run; or a name, for the latest run of that name that has ended; or an entry of :func:`runs`.
        context: The context that has recorded it, or another one of that computer; its file is copied to memory.
        folder: Where the runs are; as for :func:`run`.

    Raises:
        QMI_UnknownNameException: If there is no such run, or it still lasts.
        QMI_RecordingException: If its file cannot be read.
        QMI_MissingLibraryException: If a library of ``qmi-trio[data]`` is not installed.
    """
    if context is not None:
        return load_from(context, folder, run)
    return run_file.read(file_of_run(run, folder))


def file_of_run(run: str | RunInfo, folder: str | Path | None) -> Path:
    """The file of a run that has ended.

    Args:
        run: The run, as for :func:`load`.
        folder: Where the runs are; as for :func:`run`.

    Raises:
        QMI_UnknownNameException: If there is no such run, or it still lasts.
    """
    if isinstance(run, RunInfo):
        if not run.file.exists():
            raise QMI_UnknownNameException(
                f"{run.file}, the file of run {run.run_id}, is not there; a run of another computer is loaded by the "
                "context that told of it: qmi.data.load(run, context=...)"
            )
        return run.file
    if not isinstance(run, str):
        raise QMI_InvalidValueException(f"run must be the id or the name of a run, got {run!r}")
    place = RunFolder(folder)
    place.recover_quietly()
    if (run_id := place.locate(run, ended=True)) is not None:
        return place.file_of(run_id)
    if place.locate(run) is not None:
        raise QMI_UnknownNameException(f"run {run} still lasts: that can be done when it has ended")
    raise QMI_UnknownNameException(
        f"there is no run with the id or name {run!r} in {place.path} that has ended; qmi.data.runs() lists them"
    )


def recover(folder: str | Path | None = None) -> RunList:
    """Make files of runs that were cut short, because their program was killed or the disk was full.

    That happens by itself when the next run begins, and by :func:`runs` and :func:`load`. This also enters runs into
    the index that it lacks, such as those copied from another computer.

    Args:
        folder: Where the runs are; as for :func:`run`.

    Returns:
        The runs that were recovered.

    Raises:
        QMI_RecordingException: If some could not be, with all of the reasons; the others are recovered.
    """
    place = RunFolder(folder)
    found, failed = place.recover()
    if failed:
        raise QMI_RecordingException(
            f"{len(failed)} of the runs that were cut short cannot be recovered: {'; '.join(failed)}"
        )
    if place.path.exists():
        place.mend_index()
    return RunList(found)
