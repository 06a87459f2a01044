"""What is known of a run besides its rows: of one that goes on, too, here and on another computer."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qmi.data import run_file, run_log
from qmi.data.follow_link import ask, connected, copied_file
from qmi.data.follow_steps import PART, Step, finish
from qmi.data.link_archive import asker
from qmi.data.log_contents import summary_of
from qmi.data.run_folder import RunFolder
from qmi.data.run_index import RunInfo, info_of
from qmi.data.run_log import LogContents
from qmi.errors import QMI_RecordingException, QMI_UnknownNameException


@dataclass(frozen=True)
class Column:
    """A column of a run.

    Attributes:
        name: Its name.
        unit: Its unit; empty if it has none.
        kind: What its values are: "float", "int", "text", ...; empty as long as there is no row.
        shape: The shape of its arrays; empty for single values.
        is_coordinate: Whether it was set rather than measured.
    """

    name: str
    unit: str
    kind: str
    shape: tuple[int, ...]
    is_coordinate: bool


@dataclass(frozen=True)
class RunDetails:
    """What is known of a run.

    Attributes:
        info: As the index has it; of a run that goes on, with the number of its rows so far.
        columns: Its columns.
        comments: Its comments, each with its time in ISO 8601.
        metadata: What was kept by itself: program, script, snapshots of instruments; see :func:`qmi.data.run`.
        recorded: The sources of a recording of signals; None of another run.
        gaps: Where signals may be missing in it.
        rows_lost: How many rows are missing, since the log was damaged.
    """

    info: RunInfo
    columns: tuple[Column, ...]
    comments: tuple[tuple[str, str], ...]
    metadata: Mapping[str, object]
    recorded: tuple[Mapping[str, object], ...] | None
    gaps: tuple[Mapping[str, object], ...]
    rows_lost: int


def details(run: str, *, context: str | None = None, folder: str | Path | None = None) -> RunDetails:
    """Look at a run without reading its rows into memory.

    Args:
        run: The id of a run, or a name for the newest run of that name.
        context: The context that has recorded it, or another one of that computer.
        folder: Where the run is on this computer; as for :func:`qmi.data.run`.

    Raises:
        QMI_UnknownNameException: If there is no such run.
        QMI_RecordingException: If its file cannot be read.
    """
    run_file.check_libraries()
    if context is None:
        return _here(run, RunFolder(folder))
    core = asker(context, folder)
    with tempfile.TemporaryDirectory(prefix="qmi-run-", ignore_cleanup_errors=True) as temporary:
        parts = Path(temporary, "run")
        is_log, where = finish(_copy(core, context, run, parts), f"details({run!r}, context={context!r})")
        return _of_log(parts, where) if is_log else _of_file(parts, where)


def copy_so_far(run: str, into: Path, *, context: str | None = None, folder: str | Path | None = None) -> Path:
    """Copy what there is of a run now: the log of one that goes on, or the file of one that has ended.

    Args:
        run: The id of a run, or a name for the newest run of that name.
        into: The folder to copy it to.
        context: The context that has recorded it, or another one of that computer.
        folder: Where the run is on this computer; as for :func:`qmi.data.run`.

    Returns:
        The copy. The file of a run of this computer is not copied: it is that file.

    Raises:
        QMI_UnknownNameException: If there is no such run.
        QMI_RecordingException: If it cannot be written.
        OSError: The same.
    """
    if context is not None:
        parts = Path(into, "run")
        is_log, _ = finish(_copy(asker(context, folder), context, run, parts), f"copy_so_far({run!r}, {context!r})")
        return parts.rename(parts.with_name(f"run{run_log.ENDING if is_log else run_file.ENDING}"))
    place = RunFolder(folder)
    place.recover_quietly()
    run_id = place.locate(run)
    if run_id is None:
        raise QMI_UnknownNameException(place.why_not_there(run))
    file = place.file_of(run_id)
    if not file.exists():
        with suppress(FileNotFoundError):  # as above, it may end just now
            return Path(shutil.copyfile(place.log_of(run_id), Path(into, f"run{run_log.ENDING}")))
    return file


def _here(run: str, place: RunFolder) -> RunDetails:
    place.recover_quietly()
    run_id = place.locate(run)
    if run_id is None:
        raise QMI_UnknownNameException(place.why_not_there(run))
    file = place.file_of(run_id)
    if not file.exists():
        try:
            return _of_log(place.log_of(run_id), file)
        except FileNotFoundError:  # it has ended just now, and its file was made before the log went
            pass
    return _of_file(file, file)


def _copy(core: Any, context: str, run: str, path: Path) -> Generator[Step, None, tuple[bool, Path]]:
    """Copy the log of a run that goes on, or the file of one that has ended.

    Returns:
        Whether it is the log; and which file the run has there, or will have.
    """
    yield from connected(core, context)
    found = yield from ask(core, context, "find", run)
    which = (found["run_id"], found["via"])
    where = Path(f"{found['run_id']}{run_file.ENDING}")
    with open(path, "wb") as log:
        while True:
            what, data = yield from ask(core, context, "read", *which, log.tell(), PART)
            log.write(data)
            if what == "gone":
                break
            if what == "ended" or len(data) < PART:  # that was all of it
                yield from ask(core, context, "leave", *which)
                return True, where
    yield from copied_file(core, context, which, path)
    return False, where


def _of_log(log: Path, file: Path) -> RunDetails:
    contents = LogContents(log)
    summary = summary_of(contents.batches())
    found = _details(run_file.attributes_of(summary, contents.skipped), file)
    if summary.end is None:
        return replace(found, info=replace(found.info, state="running", ended=None))
    return found


def _of_file(path: Path, file: Path) -> RunDetails:
    try:
        return _details(run_file.read_attributes(path), file)
    except (OSError, KeyError, ValueError) as error:
        raise QMI_RecordingException(f"{file} cannot be read: {error}") from error


def _details(attributes: Mapping[str, Any], file: Path) -> RunDetails:
    metadata = dict(json.loads(attributes["qmi_metadata"]))
    comments = tuple((str(each["time"]), str(each["text"])) for each in metadata.pop("comments", ()))
    recorded = json.loads(attributes["recorded"]) if "recorded" in attributes else None
    return RunDetails(
        info_of(attributes, file),
        tuple(
            Column(name, str(found["unit"]), str(found["kind"]), tuple(found["shape"] or ()), bool(found["coordinate"]))
            for name, found in json.loads(str(attributes.get("qmi_columns", "{}"))).items()
        ),
        comments,
        metadata,
        None if recorded is None else tuple(recorded),
        tuple(json.loads(attributes.get("gaps", "[]"))),
        int(attributes["rows_lost"]),
    )
